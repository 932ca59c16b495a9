//! What is said of what is not accepted, word for word: see refused.txt. A case is a file without its first line; the
//! lines behind it that begin with `! ` are what is said, without the file's name.

use super::{file, one};
use crate::results::Options;
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
            .any(|said| said.contains("too many steps") || said.contains("nest deeper")),
        "{found:?}"
    );
}
