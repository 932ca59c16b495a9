//! The median number of followers of the posts of users who joined in each year, by age group.

use super::columns::{AGE_GROUP, JOIN_YEAR, LOWER_MEDIAN, MEDIAN, POST_COUNT};
use super::{Definition, Posts};
use differential_dataflow::VecCollection;
use operators::median::median;
use operators::{Row, Table};

/// `median_followers_by_join_year_and_age_group`
pub const DEFINITION: Definition = Definition {
    table: Table {
        name: "median_followers_by_join_year_and_age_group",
        comment: "median followers of the posts by the year their users joined and their age group",
        key: 2,
        columns: &[JOIN_YEAR, AGE_GROUP, MEDIAN, LOWER_MEDIAN, POST_COUNT],
    },
    sql: r#"
SELECT EXTRACT(YEAR FROM "user".date_joined)::integer AS join_year, CASE WHEN "user".age <= 24 THEN '18-24' WHEN "user".age <= 35 THEN '25-35' WHEN "user".age <= 50 THEN '36-50' ELSE '50+' END AS age_group,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY pin.follower_count) AS median_follower_count,
       percentile_disc(0.5) WITHIN GROUP (ORDER BY pin.follower_count) AS lower_median_follower_count,
       count(*) AS post_count
FROM pin_table AS pin JOIN user_table AS "user" USING (ind)
WHERE "user".date_joined IS NOT NULL AND "user".age >= 18 AND pin.follower_count IS NOT NULL
GROUP BY 1, 2
"#,
    dataflow,
};

fn dataflow<'s>(posts: &Posts<'s>) -> VecCollection<'s, u64, Row, isize> {
    let followers = posts.find(|post| {
        let (user, pin) = (post.user()?, post.pin()?);
        Some(((user.join_year?, user.age_group?), pin.followers?))
    });
    median(followers).map(|((year, age_group), median)| {
        vec![
            i64::from(year).into(),
            age_group.label().into(),
            median.mean.into(),
            median.lower.into(),
            median.count.into(),
        ]
    })
}
