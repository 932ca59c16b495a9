//! The median number of followers of the posts of users who joined in each year.

use super::columns::{JOIN_YEAR, LOWER_MEDIAN, MEDIAN, POST_COUNT};
use super::{Definition, Posts};
use differential_dataflow::VecCollection;
use operators::median::median;
use operators::{Row, Table};

/// `median_followers_by_join_year`
pub const DEFINITION: Definition = Definition {
    table: Table {
        name: "median_followers_by_join_year",
        comment: "median followers of the posts by the year their users joined",
        key: 1,
        columns: &[JOIN_YEAR, MEDIAN, LOWER_MEDIAN, POST_COUNT],
    },
    sql: r#"
SELECT EXTRACT(YEAR FROM "user".date_joined)::integer AS join_year,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY pin.follower_count) AS median_follower_count,
       percentile_disc(0.5) WITHIN GROUP (ORDER BY pin.follower_count) AS lower_median_follower_count,
       count(*) AS post_count
FROM pin_table AS pin JOIN user_table AS "user" USING (ind)
WHERE "user".date_joined IS NOT NULL AND pin.follower_count IS NOT NULL
GROUP BY 1
"#,
    dataflow,
};

fn dataflow<'s>(posts: &Posts<'s>) -> VecCollection<'s, u64, Row, isize> {
    let followers = posts.find(|post| Some((post.user()?.join_year?, post.pin()?.followers?)));
    median(followers).map(|(year, median)| {
        vec![
            i64::from(year).into(),
            median.mean.into(),
            median.lower.into(),
            median.count.into(),
        ]
    })
}
