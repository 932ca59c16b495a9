//! How many posts each category has in each age group of users, ranked: what is popular with whom.

use super::columns::{AGE_GROUP, CATEGORY, CATEGORY_COUNT, RANK};
use super::{Definition, Posts};
use differential_dataflow::VecCollection;
use operators::count::count;
use operators::rank::rank;
use operators::{Row, Table};

/// `popular_category_by_age_group`
pub const DEFINITION: Definition = Definition {
    table: Table {
        name: "popular_category_by_age_group",
        comment: "posts per category in each age group, the most popular first",
        key: 2,
        columns: &[AGE_GROUP, CATEGORY, CATEGORY_COUNT, RANK],
    },
    sql: r#"
SELECT age_group, category, category_count, rank
FROM (
  SELECT age_group, category, category_count,
         rank() OVER (PARTITION BY age_group ORDER BY category_count DESC) AS rank,
         row_number() OVER (PARTITION BY age_group ORDER BY category_count DESC, category COLLATE "C") AS place
  FROM (
    SELECT CASE WHEN "user".age <= 24 THEN '18-24' WHEN "user".age <= 35 THEN '25-35' WHEN "user".age <= 50 THEN '36-50' ELSE '50+' END AS age_group, pin.category, count(*) AS category_count
    FROM pin_table AS pin JOIN user_table AS "user" USING (ind)
    WHERE "user".age >= 18 AND pin.category IS NOT NULL
    GROUP BY 1, 2
  ) AS counted
) AS ranked
WHERE {top} = 0 OR place <= {top} OR rank = 1
"#,
    dataflow,
};

fn dataflow<'s>(posts: &Posts<'s>) -> VecCollection<'s, u64, Row, isize> {
    let posts_of = posts.find(|post| Some((post.user()?.age_group?, post.pin()?.category?)));
    let counted = count(posts_of).map(|((group, category), posts)| (group, (category, posts)));
    let ranked = rank(counted, posts.keep());
    ranked.map(|(age_group, category, posts, rank)| {
        vec![age_group.label().into(), category.into(), posts.into(), rank.into()]
    })
}
