//! How many posts each category has in each country, ranked: what is popular where.

use super::columns::{CATEGORY, CATEGORY_COUNT, COUNTRY, RANK};
use super::{Definition, Posts};
use differential_dataflow::VecCollection;
use operators::count::count;
use operators::rank::rank;
use operators::{Row, Table};

/// `popular_category_by_country`
pub const DEFINITION: Definition = Definition {
    table: Table {
        name: "popular_category_by_country",
        comment: "posts per category in each country, the most popular first",
        key: 2,
        columns: &[COUNTRY, CATEGORY, CATEGORY_COUNT, RANK],
    },
    sql: r#"
SELECT country, category, category_count, rank
FROM (
  SELECT country, category, category_count,
         rank() OVER (PARTITION BY country ORDER BY category_count DESC) AS rank,
         row_number() OVER (PARTITION BY country ORDER BY category_count DESC, category COLLATE "C") AS place
  FROM (
    SELECT geo.country AS country, pin.category, count(*) AS category_count
    FROM pin_table AS pin JOIN geo_table AS geo USING (ind)
    WHERE geo.country IS NOT NULL AND pin.category IS NOT NULL
    GROUP BY 1, 2
  ) AS counted
) AS ranked
WHERE {top} = 0 OR place <= {top} OR rank = 1
"#,
    dataflow,
};

fn dataflow<'s>(posts: &Posts<'s>) -> VecCollection<'s, u64, Row, isize> {
    let posts_of = posts.find(|post| Some((post.geo()?.country?, post.pin()?.category?)));
    let counted = count(posts_of).map(|((group, category), posts)| (group, (category, posts)));
    let ranked = rank(counted, posts.keep());
    ranked.map(|(country, category, posts, rank)| vec![country.into(), category.into(), posts.into(), rank.into()])
}
