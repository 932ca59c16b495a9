//! How many posts each category has in each year, ranked: what was popular when.

use super::columns::{CATEGORY, CATEGORY_COUNT, POST_YEAR, RANK};
use super::{Definition, Posts};
use differential_dataflow::VecCollection;
use operators::count::count;
use operators::rank::rank;
use operators::{Row, Table};

/// `popular_category_by_year`
pub const DEFINITION: Definition = Definition {
    table: Table {
        name: "popular_category_by_year",
        comment: "posts per category in each year, the most popular first",
        key: 2,
        columns: &[POST_YEAR, CATEGORY, CATEGORY_COUNT, RANK],
    },
    sql: r#"
SELECT post_year, category, category_count, rank
FROM (
  SELECT post_year, category, category_count,
         rank() OVER (PARTITION BY post_year ORDER BY category_count DESC) AS rank,
         row_number() OVER (PARTITION BY post_year ORDER BY category_count DESC, category COLLATE "C") AS place
  FROM (
    SELECT EXTRACT(YEAR FROM geo."timestamp")::integer AS post_year, pin.category, count(*) AS category_count
    FROM pin_table AS pin JOIN geo_table AS geo USING (ind)
    WHERE geo."timestamp" IS NOT NULL AND pin.category IS NOT NULL
    GROUP BY 1, 2
  ) AS counted
) AS ranked
WHERE {top} = 0 OR place <= {top} OR rank = 1
"#,
    dataflow,
};

fn dataflow<'s>(posts: &Posts<'s>) -> VecCollection<'s, u64, Row, isize> {
    let posts_of = posts.find(|post| Some((post.geo()?.year?, post.pin()?.category?)));
    let counted = count(posts_of).map(|((group, category), posts)| (group, (category, posts)));
    let ranked = rank(counted, posts.keep());
    ranked.map(|(year, category, posts, rank)| vec![i64::from(year).into(), category.into(), posts.into(), rank.into()])
}
