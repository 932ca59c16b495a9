//! The posters of each country by the greatest number of followers seen on their posts there, ranked.

use super::columns::{COUNTRY, FOLLOWER_COUNT, POSTER_NAME, RANK};
use super::posts::TopPoster;
use super::{Definition, Posts};
use differential_dataflow::VecCollection;
use operators::{Row, Table};

/// `top_poster_by_country`
pub const DEFINITION: Definition = Definition {
    table: Table {
        name: "top_poster_by_country",
        comment: "posters of each country, those with the most followers first",
        key: 2,
        columns: &[COUNTRY, POSTER_NAME, FOLLOWER_COUNT, RANK],
    },
    sql: r#"
SELECT country, poster_name, follower_count, rank
FROM (
  SELECT country, poster_name, follower_count,
         rank() OVER (PARTITION BY country ORDER BY follower_count DESC) AS rank,
         row_number() OVER (PARTITION BY country ORDER BY follower_count DESC, poster_name COLLATE "C") AS place
  FROM (
    SELECT geo.country AS country, pin.poster_name, max(pin.follower_count) AS follower_count
    FROM pin_table AS pin JOIN geo_table AS geo USING (ind)
    WHERE geo.country IS NOT NULL AND pin.poster_name IS NOT NULL AND pin.follower_count IS NOT NULL
    GROUP BY 1, 2
  ) AS posters
) AS ranked
WHERE {top} = 0 OR place <= {top} OR rank = 1
"#,
    dataflow,
};

fn dataflow<'s>(posts: &Posts<'s>) -> VecCollection<'s, u64, Row, isize> {
    let row = |(country, poster, followers, rank): TopPoster| {
        vec![country.into(), poster.into(), followers.into(), rank.into()]
    };
    posts.top_posters().map(row)
}
