//! Where the poster with the most followers of all is at home: one row, or several when they tie.

use super::columns::{COUNTRY, FOLLOWER_COUNT, POSTER_NAME};
use super::{Definition, Posts};
use differential_dataflow::VecCollection;
use operators::rank::{Keep, rank};
use operators::{Row, Table};

/// `country_of_top_poster`
pub const DEFINITION: Definition = Definition {
    table: Table {
        name: "country_of_top_poster",
        comment: "the poster or posters with the most followers of all, and their country",
        key: 2,
        columns: &[COUNTRY, POSTER_NAME, FOLLOWER_COUNT],
    },
    sql: r#"
SELECT country, poster_name, follower_count
FROM (
  SELECT country, poster_name, follower_count, rank() OVER (ORDER BY follower_count DESC) AS rank
  FROM (
    SELECT geo.country AS country, pin.poster_name, max(pin.follower_count) AS follower_count
    FROM pin_table AS pin JOIN geo_table AS geo USING (ind)
    WHERE geo.country IS NOT NULL AND pin.poster_name IS NOT NULL AND pin.follower_count IS NOT NULL
    GROUP BY 1, 2
  ) AS posters
) AS ranked
WHERE rank = 1
"#,
    dataflow,
};

fn dataflow<'s>(posts: &Posts<'s>) -> VecCollection<'s, u64, Row, isize> {
    // only those who lead their own country can lead all, and their rows are kept whatever is cut off
    let leaders = posts.top_posters().filter(|(.., rank)| *rank == 1);
    let of_all = leaders.map(|(country, poster, followers, _)| ((), ((country, poster), followers)));
    let first = rank(of_all, Keep::Leaders);
    first.map(|((), (country, poster), followers, _)| vec![country.into(), poster.into(), followers.into()])
}
