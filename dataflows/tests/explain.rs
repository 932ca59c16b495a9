//! What is explained of results is what the dataflow is made of.

use dataflows::Results;
use dataflows::explain::Explanation;
use dataflows::sql::{Options, SqlFile, built_in};
use operators::{Per, Routing};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use timely::dataflow::operators::Input;
use timely::logging::{TimelyEvent, TimelyEventBuilder};

fn explained(name: &str) -> Explanation {
    let results = Results::built_in(&Options::default());
    results.explain(name).expect("a built-in result")
}

fn operators(explanation: &Explanation) -> Vec<&'static str> {
    explanation.parts.iter().map(|part| part.step.operator).collect()
}

#[test]
fn the_built_in_results_are_made_of_the_operators_that_were_written_for_them() {
    for (name, expected) in [
        ("popular_category_by_country", &["latest", "count", "rank"][..]),
        ("popular_category_by_year", &["latest", "count", "rank"]),
        ("popular_category_by_country_and_year", &["latest", "count", "rank"]),
        ("popular_category_by_age_group", &["latest", "count", "rank"]),
        ("top_poster_by_country", &["latest", "greatest", "rank"]),
        ("country_of_top_poster", &["latest", "greatest", "rank", "rank"]),
        ("median_followers_by_age_group", &["latest", "median"]),
        ("users_joined_by_year", &["latest", "count", "distinct_count", "gather"]),
        ("median_followers_by_join_year", &["latest", "median"]),
        ("median_followers_by_join_year_and_age_group", &["latest", "median"]),
    ] {
        assert_eq!(operators(&explained(name)), expected, "{name}");
    }
    assert_eq!(Results::built_in(&Options::default()).explain("no_such_result"), None);
}

#[test]
fn what_is_shared_is_said_of_both() {
    let shared =
        |name: &str| -> Vec<Vec<String>> { explained(name).parts.into_iter().map(|part| part.shared_with).collect() };
    let top = shared("top_poster_by_country");
    assert_eq!(top[0].len(), 9, "all results read the posts");
    assert_eq!(top[1..], [["country_of_top_poster"], ["country_of_top_poster"]]);
    let country = shared("country_of_top_poster");
    assert_eq!(country[1..3], [["top_poster_by_country"], ["top_poster_by_country"]]);
    assert_eq!(country[3], [""; 0]);
}

/// In timely's logs.
#[test]
fn operators_are_named_by_the_results_that_they_belong_to() {
    let names: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let logged = Arc::clone(&names);
    timely::execute_directly(move |worker| {
        let mut logs = worker.log_register().expect("logs are compiled in");
        logs.insert::<TimelyEventBuilder, _>("timely", move |_, events| {
            for (_, event) in events.iter().flatten() {
                if let TimelyEvent::Operates(operator) = event {
                    logged.lock().unwrap().insert(operator.name.clone());
                }
            }
        });
        drop(logs);
        let results = Results::built_in(&Options::default());
        worker.dataflow::<u64, _, _>(|scope| {
            let (_, events) = scope.new_input::<Vec<_>>();
            results.build(events, Routing::OneProcess).1
        })
    });
    let names = names.lock().unwrap();
    for expected in [
        "posts: latest",
        "popular_category_by_year: count",
        "popular_category_by_year: rank",
        "users_joined_by_year: distinct_count",
        "users_joined_by_year: distinct_count, items",
        "country_of_top_poster: rank",
        "top_poster_by_country and 1 more: greatest",
    ] {
        assert!(names.contains(expected), "{expected} is not among {names:?}");
    }
}

#[test]
fn entries_are_those_of_the_types_that_were_chosen() {
    let keeps = |name: &str, operator: &str| -> Vec<(&'static str, usize)> {
        let explanation = explained(name);
        let part = explanation.parts.iter().find(|part| part.step.operator == operator);
        let step = &part.expect("it is made of that").step;
        step.keeps.iter().map(|kept| (step.each(kept), kept.bytes)).collect()
    };
    // key of two names, and an i64
    assert_eq!(keeps("popular_category_by_country", "count"), [("group", 16)]);
    // a name and a word: the i64 is aligned
    assert_eq!(keeps("popular_category_by_year", "count"), [("group", 16)]);
    assert_eq!(keeps("top_poster_by_country", "greatest")[0], ("group", 24));
    assert_eq!(keeps("top_poster_by_country", "rank")[1], ("row", 14));
    // two names and four words, and a count
    assert_eq!(
        keeps("users_joined_by_year", "distinct_count")[0],
        ("distinct value", 28)
    );
    let post = &explained("users_joined_by_year").parts[0].step;
    assert_eq!((post.keeps[0].per, post.keeps[0].bytes), (Per::Key, 24 + 44));
}

#[test]
fn a_change_costs_what_the_operators_say() {
    let cost = |top: usize| {
        let results = Results::built_in(&Options { top });
        let explanation = results.explain("popular_category_by_country").expect("built in");
        let costs = explanation.parts.iter().map(|part| part.step.cost.to_string());
        costs.collect::<Vec<_>>()
    };
    assert_eq!(cost(3)[..2], ["O(1)", "O(1)"]);
    assert!(cost(3)[2].starts_with("O(log rows of the partition)"), "{:?}", cost(3));
    assert_eq!(cost(0)[2], "O(rows of the partition)");
}

#[test]
fn columns_that_a_result_alone_needs_are_its_own() {
    let users = explained("users_joined_by_year");
    let own: Vec<&str> = users
        .columns
        .iter()
        .filter(|column| column.is_only_here)
        .map(|column| column.text.as_str())
        .collect();
    assert_eq!(
        own,
        ["user_name", "date_joined"],
        "of the time others need only the year"
    );
    assert_eq!(users.filled, [44, 32]);
    assert_eq!(users.post[0], users.post[1], "a post has one size up to 44 bytes");
    let posters = explained("top_poster_by_country");
    assert!(
        posters.columns.iter().all(|column| !column.is_only_here),
        "country_of_top_poster needs all of it"
    );
    assert_eq!(posters.filled, [44, 44]);
    let (names, words) = Results::built_in(&Options::default()).layout().size();
    assert_eq!(users.filled[0], 4 * (names + words));
    let bits: usize = users.columns.iter().map(|column| column.bits).sum();
    assert!(bits <= 8 * users.filled[0] && bits + 64 > 8 * users.filled[0], "{bits}");
}

#[test]
fn plans_are_trees_of_sql() {
    let lines: Vec<String> = explained("popular_category_by_country")
        .plan
        .iter()
        .map(|(depth, line)| format!("{depth} {line}"))
        .collect();
    assert_eq!(
        lines,
        [
            "0 select country, category, count(*), rank()",
            "1 rank in each country: rank() by count(*) DESC, row_number() by count(*) DESC, category; \
             kept where rank() <= 1 OR row_number() <= 10",
            "2 group by country, category: count(*)",
            "3 posts: pin_table JOIN geo_table",
            "4 where country IS NOT NULL AND category IS NOT NULL",
        ]
    );
}

/// Aggregates of every kind, over keys that no fixed size was made for.
#[test]
fn general_results_are_made_of_several_operators() {
    let sql = "-- r: all\nSELECT geo.country, date_trunc('month', geo.timestamp) AS month, users.age, \
               count(*) AS n, sum(pin.follower_count) AS s, min(pin.category COLLATE \"C\") AS least, \
               count(DISTINCT left(pin.title, 40)) AS titles, mode() WITHIN GROUP (ORDER BY pin.follower_count) AS m, \
               percentile_disc(0.9) WITHIN GROUP (ORDER BY pin.follower_count) AS p90, \
               percentile_disc(0.1) WITHIN GROUP (ORDER BY pin.follower_count) AS p10 \
               FROM geo_table AS geo LEFT JOIN pin_table AS pin USING (ind) JOIN user_table AS users USING (ind) \
               WHERE geo.country IS NOT NULL AND geo.timestamp IS NOT NULL AND users.age IS NOT NULL GROUP BY 1, 2, 3";
    let mut files = built_in();
    files.push(SqlFile {
        path: "r.sql".to_owned(),
        text: sql.to_owned(),
    });
    let results = Results::compile(&files, &Options::default()).expect("accepted");
    let explanation = results.explain("r").expect("compiled");
    let operators = operators(&explanation);
    let expected = [
        "latest",
        "fold",
        "greatest",
        "distinct_count",
        "count",
        "greatest",
        "ordered",
        "gather",
    ];
    assert_eq!(operators, expected);
    assert!(explanation.parts[1..].iter().all(|part| part.shared_with.is_empty()));
    assert_eq!(
        explanation.parts[6].step.cost.to_string(),
        "O(2 log distinct values of the group)"
    );
    let own = explanation.columns.iter().filter(|column| column.is_only_here);
    let own: Vec<&str> = own.map(|column| column.text.as_str()).collect();
    assert_eq!(
        own,
        ["left(title, 40)", "timestamp"],
        "of the time only the year was kept for others"
    );
    let posts = explanation.plan.iter().find(|(_, line)| line.starts_with("posts"));
    assert_eq!(
        posts.expect("a leaf").1,
        "posts: pin_table RIGHT JOIN geo_table JOIN user_table"
    );
    // a post has outgrown the fixed size, and lies on the heap
    let post = explanation.parts[0].step.keeps[0].bytes;
    assert!(post > 24 + explanation.filled[0], "{post} of {}", explanation.filled[0]);
}
