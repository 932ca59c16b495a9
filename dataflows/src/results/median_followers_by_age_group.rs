//! The median number of followers of the posts of each age group.

use super::columns::{AGE_GROUP, LOWER_MEDIAN, MEDIAN, POST_COUNT};
use super::{Definition, Posts};
use differential_dataflow::VecCollection;
use operators::median::median;
use operators::{Row, Table};

/// `median_followers_by_age_group`
pub const DEFINITION: Definition = Definition {
    table: Table {
        name: "median_followers_by_age_group",
        comment: "median followers of the posts of each age group",
        key: 1,
        columns: &[AGE_GROUP, MEDIAN, LOWER_MEDIAN, POST_COUNT],
    },
    sql: r#"
SELECT CASE WHEN "user".age <= 24 THEN '18-24' WHEN "user".age <= 35 THEN '25-35' WHEN "user".age <= 50 THEN '36-50' ELSE '50+' END AS age_group,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY pin.follower_count) AS median_follower_count,
       percentile_disc(0.5) WITHIN GROUP (ORDER BY pin.follower_count) AS lower_median_follower_count,
       count(*) AS post_count
FROM pin_table AS pin JOIN user_table AS "user" USING (ind)
WHERE "user".age >= 18 AND pin.follower_count IS NOT NULL
GROUP BY 1
"#,
    dataflow,
};

fn dataflow<'s>(posts: &Posts<'s>) -> VecCollection<'s, u64, Row, isize> {
    let followers = posts.find(|post| Some((post.user()?.age_group?, post.pin()?.followers?)));
    median(followers).map(|(age_group, median)| {
        vec![
            age_group.label().into(),
            median.mean.into(),
            median.lower.into(),
            median.count.into(),
        ]
    })
}
