//! The texts of why queries, and what cannot be asked. What they answer is compared on PostgreSQL (`tests/tests/why.rs`).

use super::{file, one};
use crate::sql::types::Ty;
use crate::sql::why::{Arguments, Decides, WhyError};
use crate::sql::{Options, Schema, compile};

const COUNTED: &str = "SELECT geo.country, pin.category, count(*) AS n, max(pin.follower_count) AS most,\n\
                       count(*) FILTER (WHERE pin.title IS NULL) AS untitled\n\
                       FROM pin_table AS pin JOIN geo_table AS geo USING (ind)\n\
                       WHERE geo.country IS NOT NULL AND pin.category IS NOT NULL GROUP BY geo.country, pin.category";

#[test]
fn one_grouping_of_posts_is_one_select() {
    let catalog = one(COUNTED).expect("accepted");
    let why = catalog.why(0).expect("a result");
    let posts = why
        .posts(&["country", "category"], Arguments::Numbered)
        .expect("the key");
    assert_eq!(
        posts.sql,
        "SELECT posts.\"post ind\" AS \"ind\"\n\
         FROM (\n\
         SELECT \"ind\" AS \"post ind\", \"geo\".\"country\" AS \"country\", \"pin\".\"category\" AS \"category\"\n\
         FROM \"pin_table\" AS \"pin\" JOIN \"geo_table\" AS \"geo\" USING (\"ind\")\n\
         WHERE ((\"geo\".\"country\" IS NOT NULL) AND (\"pin\".\"category\" IS NOT NULL))\n\
         ) AS posts\n\
         WHERE posts.\"country\" = $1\n  AND posts.\"category\" = $2\n  AND posts.\"post ind\" >= $3\n\
         ORDER BY posts.\"post ind\"\n\
         LIMIT $4"
    );
    assert_eq!(posts.parameters, [Ty::Text, Ty::Text, Ty::Int8, Ty::Int8]);
    assert_eq!(why.tables(), ["pin_table", "geo_table"]);
    assert_eq!(why.post_count(), Some("n"));
    let decides: Vec<_> = why.columns().map(|column| column.decides).collect();
    let expected = [
        Decides::Key,
        Decides::Key,
        Decides::EveryPost,
        Decides::Some,
        Decides::Some,
    ];
    assert_eq!(decides, expected);
}

#[test]
fn values_are_quoted() {
    let catalog = one(COUNTED).expect("accepted");
    let why = catalog.why(0).expect("a result");
    let values = ["it's $2".to_owned(), "x".to_owned(), "-5".to_owned(), "10".to_owned()];
    let posts = why
        .posts(&["country", "category"], Arguments::Literal(&values))
        .expect("the key");
    assert!(posts.sql.contains("posts.\"country\" = 'it''s $2'\n"), "{}", posts.sql);
    assert!(
        posts.sql.contains(">= CAST('-5' AS bigint)\n") && posts.sql.ends_with("LIMIT 10"),
        "{}",
        posts.sql
    );
    let posts = why.posts(&["country"], Arguments::Text).expect("a part of the key");
    assert!(
        posts
            .sql
            .contains("result.\"country\" = CAST(CAST($1 AS text) AS text)"),
        "{}",
        posts.sql
    );
}

#[test]
fn what_cannot_be_asked_is_named() {
    let catalog = one(COUNTED).expect("accepted");
    assert!(catalog.why(1).is_none());
    let why = catalog.why(0).expect("a result");
    let said = |error: WhyError| error.to_string();
    assert_eq!(
        why.posts(&["n"], Arguments::Numbered).map_err(said),
        Err("n is not a key column of r; its key is country, category".to_owned())
    );
    assert_eq!(
        why.count(&["country", "country"], Arguments::Numbered).map_err(said),
        Err("key column country of r is named twice".to_owned())
    );
    for column in ["n", "country", "nothing"] {
        assert!(
            matches!(why.deciding(column, Arguments::Numbered), Err(WhyError::Column { .. })),
            "{column}"
        );
        assert!(
            matches!(why.before(column, Arguments::Numbered), Err(WhyError::Column { .. })),
            "{column}"
        );
    }
}

#[test]
fn chains_of_results_are_derived_up_to_a_length() {
    let mut files = vec![file("r000", COUNTED)];
    for number in 1..150 {
        let below = number - 1;
        let text = format!("SELECT country, category, max(n) AS n FROM r{below:03} GROUP BY country, category");
        files.push(file(&format!("r{number:03}"), &text));
    }
    let catalog = compile(&files, &Schema::cleaned(), &Options { top: 10 }).expect("accepted");
    let why = catalog.why(59).expect("a result");
    let posts = why
        .posts(&["country", "category"], Arguments::Numbered)
        .expect("the key");
    assert!(posts.sql.len() < 1 << 20, "{} bytes", posts.sql.len());
    assert_eq!(why.post_count(), None);
    let last = catalog.why(149).expect("a result");
    for asked in [
        last.count(&[], Arguments::Numbered),
        last.row_of(Arguments::Numbered),
        last.deciding("n", Arguments::Numbered),
    ] {
        assert!(
            matches!(asked, Err(WhyError::TooLong { groupings: 150, .. })),
            "{asked:?}"
        );
    }
}
