//! How many users joined in each year: distinct users, and user records.

use super::columns::{JOIN_YEAR, USER_RECORDS, USERS_JOINED};
use super::{Definition, Posts};
use crate::post::Person;
use differential_dataflow::VecCollection;
use operators::count::count;
use operators::distinct::distinct_count;
use operators::{Row, Table};

/// `users_joined_by_year`
pub const DEFINITION: Definition = Definition {
    table: Table {
        name: "users_joined_by_year",
        comment: "users who joined in each year",
        key: 1,
        columns: &[JOIN_YEAR, USERS_JOINED, USER_RECORDS],
    },
    sql: r#"
SELECT EXTRACT(YEAR FROM date_joined)::integer AS join_year,
       count(*) AS number_users_joined,
       sum(records)::bigint AS user_records
FROM (
  SELECT user_name, age, date_joined, count(*) AS records
  FROM user_table
  WHERE date_joined IS NOT NULL
  GROUP BY user_name, age, date_joined
) AS persons
GROUP BY 1
"#,
    dataflow,
};

fn dataflow<'s>(posts: &Posts<'s>) -> VecCollection<'s, u64, Row, isize> {
    // no join: a user record counts whether or not its pin has come
    let users = distinct_count(posts.find(|post| post.user()?.person), Person::join_year);
    let records = count(posts.find(|post| post.user()?.join_year));
    users.join_map(records, |year, users, records| {
        vec![i64::from(*year).into(), (*users).into(), (*records).into()]
    })
}
