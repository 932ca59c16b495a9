//! How many posts each category has in each country and year, ranked: what was popular where and when.

use super::columns::{CATEGORY, CATEGORY_COUNT, COUNTRY, POST_YEAR, RANK};
use super::{Definition, Posts};
use differential_dataflow::VecCollection;
use operators::count::count;
use operators::rank::rank;
use operators::{Row, Table};

/// `popular_category_by_country_and_year`
pub const DEFINITION: Definition = Definition {
    table: Table {
        name: "popular_category_by_country_and_year",
        comment: "posts per category in each country and year, the most popular first",
        key: 3,
        columns: &[COUNTRY, POST_YEAR, CATEGORY, CATEGORY_COUNT, RANK],
    },
    sql: r#"
SELECT country, post_year, category, category_count, rank
FROM (
  SELECT country, post_year, category, category_count,
         rank() OVER (PARTITION BY country, post_year ORDER BY category_count DESC) AS rank,
         row_number() OVER (PARTITION BY country, post_year ORDER BY category_count DESC, category COLLATE "C") AS place
  FROM (
    SELECT geo.country AS country, EXTRACT(YEAR FROM geo."timestamp")::integer AS post_year, pin.category, count(*) AS category_count
    FROM pin_table AS pin JOIN geo_table AS geo USING (ind)
    WHERE geo.country IS NOT NULL AND geo."timestamp" IS NOT NULL AND pin.category IS NOT NULL
    GROUP BY 1, 2, 3
  ) AS counted
) AS ranked
WHERE {top} = 0 OR place <= {top} OR rank = 1
"#,
    dataflow,
};

fn dataflow<'s>(posts: &Posts<'s>) -> VecCollection<'s, u64, Row, isize> {
    let posts_of = posts.find(|post| {
        let (pin, geo) = (post.pin()?, post.geo()?);
        Some(((geo.country?, geo.year?), pin.category?))
    });
    let counted = count(posts_of).map(|((group, category), posts)| (group, (category, posts)));
    let ranked = rank(counted, posts.keep());
    ranked.map(|((country, year), category, posts, rank)| {
        vec![
            country.into(),
            i64::from(year).into(),
            category.into(),
            posts.into(),
            rank.into(),
        ]
    })
}
