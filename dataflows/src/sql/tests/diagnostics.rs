//! What is said of what is not accepted, word for word: see refused.txt. A case is a file without its first line; the
//! lines behind it that begin with `! ` are what is said, without the file's name.

use super::{file, one};
use crate::sql::Options;
use crate::sql::{Schema, compile};

/// The cases of a file: what is written, and the lines behind it that begin with `mark`.
pub(super) fn cases(text: &str, mark: &str) -> Vec<(String, Vec<String>)> {
    let mut cases = Vec::new();
    let (mut sql, mut said) = (Vec::new(), Vec::new());
    for line in text.lines().chain([""]) {
        match line.strip_prefix(mark) {
            Some(line) => said.push(line.to_owned()),
            None if said.is_empty() => sql.push(line),
            None => {
                cases.push((sql.join("\n"), std::mem::take(&mut said)));
                sql = Vec::from_iter(Some(line).filter(|line| !line.is_empty()));
            }
        }
    }
    cases
}

#[test]
fn everything_refused_has_its_words() {
    let cases = cases(include_str!("refused.txt"), "! ");
    assert!(cases.len() > 120, "{}", cases.len());
    let mut wrong = Vec::new();
    for (sql, expected) in cases {
        let said: Vec<String> = match one(&sql) {
            Ok(_) => vec!["accepted".to_owned()],
            Err(said) => said
                .iter()
                .flat_map(|said| said.to_string().lines().map(str::to_owned).collect::<Vec<_>>())
                .map(|line| line.strip_prefix("results/r.sql:").unwrap_or(&line).to_owned())
                .collect(),
        };
        if said != expected {
            wrong.push(format!("{sql}\n! {}", said.join("\n! ")));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} cases say otherwise:\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
}

/// The errors of several files, with what concerns several of them.
fn said(files: &[(&str, &str)]) -> Vec<String> {
    let files: Vec<_> = files.iter().map(|(name, sql)| file(name, sql)).collect();
    match compile(&files, &Schema::cleaned(), &Options { top: 10 }) {
        Ok(_) => Vec::new(),
        Err(said) => said.iter().map(ToString::to_string).collect(),
    }
}

const PLAIN: &str = "SELECT country, count(*) AS n FROM geo_table WHERE country IS NOT NULL GROUP BY 1";

#[test]
fn errors_of_all_files_are_found_in_one_run() {
    let bad = "SELECT country, count(*) AS n FROM geo_table GROUP BY 1";
    let found = said(&[("b", bad), ("ok", PLAIN), ("a", "SELECT"), ("c", bad)]);
    let places: Vec<_> = found.iter().map(|said| said.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["results/b.sql:2:8", "results/a.sql:2:1", "results/c.sql:2:8"]);
}

#[test]
fn results_read_results_in_any_order_of_files() {
    let top = "SELECT country, n FROM middle WHERE n > 2";
    let middle = "SELECT * FROM bottom AS b WHERE n > 1";
    assert_eq!(said(&[("top", top), ("middle", middle), ("bottom", PLAIN)]), [""; 0]);
    let cycle = [
        ("a", "SELECT * FROM b"),
        ("b", "SELECT * FROM c"),
        ("c", "SELECT * FROM a"),
        ("d", "SELECT * FROM a"),
    ];
    assert_eq!(
        said(&cycle),
        [
            "results/a.sql:2:15: a reads itself: a reads b reads c reads a",
            "results/b.sql:2:15: b reads itself: b reads c reads a reads b",
            "results/c.sql:2:15: c reads itself: c reads a reads b reads c",
        ]
    );
    assert_eq!(
        said(&[("a", "SELECT * FROM a")]),
        ["results/a.sql:2:15: a reads itself: a reads a"]
    );
    // of what reads a refused result nothing can be said
    let bad = "SELECT country, count(*) AS n FROM geo_table GROUP BY 1";
    assert_eq!(
        said(&[("bad", bad), ("top", "SELECT country, nothing FROM bad")]).len(),
        1
    );
}

#[test]
fn names_of_files_are_names_of_tables() {
    let long = "x".repeat(57);
    for name in ["A", "a-b", "1a", "", "ü", "a b", "pin_table", &long] {
        let found = said(&[(name, PLAIN)]);
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        assert!(found[0].starts_with(&format!("results/{name}.sql:1:1: ")), "{found:?}");
    }
    assert_eq!(
        said(&[("a", PLAIN), ("a", PLAIN)]),
        ["results/a.sql:1:1: two files define a"]
    );
    assert_eq!(said(&[(&long[..56], PLAIN)]), [""; 0]);
}

#[test]
fn the_first_line_says_what_a_row_means() {
    let schema = Schema::cleaned();
    for first in [
        "",
        "-- other: x\n",
        "-- r\n",
        "-- r:\n",
        "-- r: \n",
        "/* r: x */\n",
        "\n-- r: x\n",
        "-- rr: x\n",
    ] {
        let mut file = file("r", "");
        file.text = format!("{first}{PLAIN}");
        let said = compile(&[file], &schema, &Options { top: 10 }).unwrap_err();
        let expected =
            "results/r.sql:1:1: the first line does not say what a row means\n  hint: -- r: what a row means";
        assert_eq!(said.len(), 1, "{first}");
        assert_eq!(said[0].to_string(), expected, "{first}");
    }
}

#[test]
fn what_is_too_large_is_refused() {
    let and = format!("{PLAIN} HAVING {}", vec!["count(*) > 1"; 1_500].join(" AND "));
    assert_eq!(said(&[("a", &and)]), [""; 0]);
    let plus = PLAIN.replace("count(*)", &vec!["count(*)"; 1_500].join(" + "));
    let deep = PLAIN.replace(
        "count(*)",
        &format!("{}count(*){}", "(".repeat(3_000), ")".repeat(3_000)),
    );
    let not = format!("{PLAIN} HAVING {} count(*) > 1", "NOT ".repeat(5_000));
    let case = PLAIN.replace(
        "count(*)",
        &format!("{}1{}", "CASE WHEN true THEN ".repeat(300), " END".repeat(300)),
    );
    let tokens = format!("{PLAIN} HAVING {}", vec!["count(*) > 1"; 9_000].join(" AND "));
    let bytes = format!("{PLAIN} -- {}", "x".repeat(70_000));
    let queries = format!(
        "SELECT * FROM {}{PLAIN}{}",
        "(SELECT * FROM ".repeat(60),
        ") AS t".repeat(60)
    );
    for sql in [plus, deep, not, case, tokens, bytes, queries] {
        let found = said(&[("a", &sql)]);
        let text = &found[0];
        // of NOT and CASE, sqlparser gives up at its limit and looks for something else
        let known = [
            "nest deeper than",
            "tokens, more than",
            "bytes, more than",
            "is not expected here",
        ];
        assert!(known.iter().any(|known| text.contains(known)), "{text}");
    }
    // each level is twice as large as the one below, written out
    let levels: Vec<_> = (0..60)
        .map(|n| match n {
            0 => format!("WITH q0 AS ({PLAIN})"),
            n => format!("q{n} AS (SELECT country, CASE WHEN n > {n} THEN n ELSE CASE WHEN n < 0 THEN n ELSE 0 END END AS n FROM q{})", n - 1),
        })
        .collect();
    let doubled = format!("{} SELECT * FROM q59", levels.join(", "));
    let found = said(&[("a", &doubled)]);
    assert!(
        found
            .iter()
            .any(|said| said.contains("too many steps") || said.contains("operands and operators")),
        "{found:?}"
    );
}

/// A condition that no row fulfils says nothing of a constant, which PostgreSQL computes before it reads a row.
#[test]
fn a_constant_is_what_it_is_whatever_the_filter_says() {
    let sql = "SELECT age, count(*) AS n, 100 / {top} AS p FROM user_table WHERE age >= 0 AND age < {top} GROUP BY age";
    let files = [file("r", sql)];
    let compiled = |top| compile(&files, &Schema::cleaned(), &Options { top });
    assert_eq!(compiled(10).map(|_| ()), Ok(()));
    let faults: Vec<_> = compiled(0).unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(faults, ["results/r.sql:2:28: division by 0"]);
    // nor of a column that is a constant in the result it is read from
    let zero = "SELECT country, count(*) AS n, 5 % 5 AS z FROM geo_table WHERE country IS NOT NULL GROUP BY 1";
    for over in [
        "SELECT country, n, 100 / z AS p FROM zero WHERE n >= 0 AND n < z",
        "SELECT country, n, CASE WHEN n < z THEN 100 / z END AS p FROM zero",
        "SELECT z, country, 100 / z AS p FROM zero WHERE n < z GROUP BY 1, 2",
        "SELECT z, country, CASE WHEN sum(n) < z THEN 100 / z END AS p FROM zero GROUP BY 1, 2",
    ] {
        let found = said(&[("zero", zero), ("over", over)]);
        assert!(found[0].contains("division by z, which can be 0"), "{over}: {found:?}");
    }
}

/// `levels` queries, each over the one before, which compute `n` from two of it.
fn doubling(levels: usize) -> Vec<String> {
    (0..levels)
        .map(|n| match n {
            0 => PLAIN.to_owned(),
            n => format!("SELECT country, n % 7 + n % 5 AS n FROM q{}", n - 1),
        })
        .collect()
}

fn with(queries: &[String], last: &str) -> String {
    let queries = queries.iter().enumerate();
    let queries: Vec<_> = queries.map(|(n, query)| format!("q{n} AS ({query})")).collect();
    format!("WITH {} {last}", queries.join(", "))
}

/// What is one expression here is many in PostgreSQL, which puts a subquery's expressions in the place of its columns.
#[test]
fn what_is_too_large_written_out_is_refused() {
    let too_large = |files: &[(&str, &str)]| {
        let found = said(files);
        found
            .first()
            .is_some_and(|said| said.contains("operands and operators"))
    };
    for filter in ["", " WHERE n > 3", " WHERE n > 3 ORDER BY n LIMIT 3"] {
        let sql = with(&doubling(41), &format!("SELECT country, n FROM q40{filter}"));
        assert!(too_large(&[("r", &sql)]), "{filter}");
    }
    let sql = with(&doubling(10), "SELECT country, n FROM q9 WHERE n > 3");
    assert_eq!(said(&[("r", &sql)]), [""; 0]);
    // the same as results, and as a subquery that a group reads
    let queries = doubling(41);
    let names: Vec<_> = (0..queries.len()).map(|n| format!("q{n}")).collect();
    let files: Vec<_> = names
        .iter()
        .map(String::as_str)
        .zip(queries.iter().map(String::as_str))
        .collect();
    assert!(too_large(&files));
    assert_eq!(said(&files[..10]), [""; 0]);
    let group = "SELECT n % 3 AS m, n % 3 + n % 3 AS o, sum(n) AS s FROM q12 GROUP BY 1";
    let files: Vec<_> = files[..13].iter().copied().chain([("over", group)]).collect();
    assert!(too_large(&files));
    // a column of a group is one, however large what is grouped
    let sql = "SELECT country, sum(ind) % 1000 + count(*) AS n FROM geo_table WHERE country IS NOT NULL GROUP BY 1";
    assert_eq!(said(&[("r", sql)]), [""; 0]);
}

/// PostgreSQL's parser fails on a text of a few thousand levels.
#[test]
fn results_over_results_nest_to_a_limit() {
    let over = |name: &str| {
        format!(
            "SELECT * FROM {}{name}{}",
            "(SELECT * FROM ".repeat(20),
            ") AS t".repeat(20)
        )
    };
    let texts: Vec<_> = (0..12)
        .map(|n| match n {
            0 => PLAIN.to_owned(),
            n => over(&format!("r{}", n - 1)),
        })
        .collect();
    let names: Vec<_> = (0..texts.len()).map(|n| format!("r{n}")).collect();
    let files: Vec<_> = names
        .iter()
        .map(String::as_str)
        .zip(texts.iter().map(String::as_str))
        .collect();
    assert_eq!(said(&files[..10]), [""; 0]);
    let found = said(&files);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("results/r10.sql:2:1: queries nest deeper than 200"),
        "{found:?}"
    );
    // queries of WITH stand in each other as well
    let chain: Vec<_> = (0..250)
        .map(|n| match n {
            0 => PLAIN.to_owned(),
            n => format!("SELECT * FROM q{}", n - 1),
        })
        .collect();
    let found = said(&[("r", &with(&chain, "SELECT * FROM q249"))]);
    assert!(found[0].contains("queries nest deeper than 200"), "{found:?}");
    assert_eq!(said(&[("r", &with(&chain[..150], "SELECT * FROM q149"))]), [""; 0]);
}

/// Many columns, each of which takes its share of the steps.
#[test]
fn each_column_is_checked_by_itself() {
    let levels = |count: usize| {
        let queries: Vec<_> = (0..count)
            .map(|n| match n {
                0 => "SELECT country, count(*) AS n, 1 AS a, 2 AS b, 3 AS c FROM geo_table WHERE country IS NOT NULL \
                      GROUP BY country"
                    .to_owned(),
                n => {
                    let more =
                        |name: &str| format!("CASE WHEN n > {} THEN {name} + 1 ELSE {name} END AS {name}", 100 - n);
                    format!(
                        "SELECT country, n, {}, {}, {} FROM q{}",
                        more("a"),
                        more("b"),
                        more("c"),
                        n - 1
                    )
                }
            })
            .collect();
        said(&[(
            "r",
            &with(&queries, &format!("SELECT country, n, a, b, c FROM q{}", count - 1)),
        )])
    };
    assert_eq!(levels(7), [""; 0]);
    assert!(levels(12)[0].contains("operands and operators"));
}

#[test]
fn a_greater_top_than_a_bigint_keeps_everything() {
    let sql = "SELECT country, n FROM (SELECT country, count(*) AS n, rank() OVER (ORDER BY count(*)) AS r FROM geo_table \
               WHERE country IS NOT NULL GROUP BY 1) AS t WHERE {top} = 0 OR r <= {top}";
    let catalog = compile(&[file("r", sql)], &Schema::cleaned(), &Options { top: usize::MAX }).unwrap();
    assert!(
        catalog.results[0].sql.contains("9223372036854775807"),
        "{}",
        catalog.results[0].sql
    );
    assert!(!catalog.results[0].sql.contains("18446744073709551615"));
}

/// What a hint says in the place of an expression is accepted there, and means what was written.
#[test]
fn hints_are_accepted() {
    let expressions = [
        "\"user\".age + 1",
        "\"user\".age % 7 * (\"user\".age + 1)",
        "(\"user\".age - 1) * (\"user\".age % 7)",
        "100 / \"user\".age",
        "(\"user\".age % 7) / (\"user\".age % 5)",
        "-\"user\".age",
        "abs(\"user\".age)",
    ];
    for e in expressions {
        let sql =
            |e: &str| format!("SELECT age, {e} AS x FROM user_table AS \"user\" WHERE age IS NOT NULL GROUP BY age");
        // an expression may be doubtful for several reasons: each hint removes one
        let mut written = e.to_owned();
        for _ in 0..4 {
            let Err(found) = one(&sql(&written)) else { break };
            written = written.replacen(e, found[0].hint.as_deref().unwrap(), 1);
            assert!(found[0].message.contains("\"user\".age"), "{}", found[0]);
        }
        assert!(written != e && one(&sql(&written)).is_ok(), "{e}: {written}");
    }
}

/// PostgreSQL gives a literal no type under COLLATE.
#[test]
fn literals_are_printed_as_text_where_nothing_makes_them_text() {
    let sql = "SELECT country, mode() WITHIN GROUP (ORDER BY 'z' COLLATE \"C\") AS m FROM geo_table \
               WHERE country IS NOT NULL GROUP BY country";
    let printed = &one(sql).unwrap().results[0].sql;
    assert!(
        printed.contains("(ORDER BY (CAST('z' AS text) COLLATE \"C\") ASC)"),
        "{printed}"
    );
}
