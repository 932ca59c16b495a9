//! Tables, order, notes and hashes.

use super::{file, one};
use crate::sql::Options;
use crate::sql::{Catalog, Schema, SqlFile, compile};
use operators::ColumnType;

const PLAIN: &str = "SELECT country, count(*) AS n FROM geo_table WHERE country IS NOT NULL GROUP BY 1";

fn compiled(files: &[SqlFile], top: usize) -> Catalog {
    compile(files, &Schema::cleaned(), &Options { top }).unwrap_or_else(|said| panic!("{}", said[0]))
}

#[test]
fn a_hash_is_of_the_meaning() {
    let hash = |sql: &str| one(sql).unwrap_or_else(|said| panic!("{sql}\n{}", said[0])).results[0].hash;
    let plain = hash(PLAIN);
    let same = [
        "SELECT country, -- a comment\n  count( * ) AS n /* another */\nFROM geo_table\nWHERE country IS NOT NULL\nGROUP BY country;",
        "select g.country, count(*) n from geo_table as g where (g.country is not null) group by g.country",
        "WITH t AS (SELECT country FROM geo_table) SELECT country, count(*) AS n FROM t WHERE country IS NOT NULL GROUP BY 1",
    ];
    for sql in same {
        assert_eq!(hash(sql), plain, "{sql}");
    }
    let others = [
        PLAIN.replace("AS n", "AS m"),
        PLAIN.replace("count(*)", "count(ind)"),
        PLAIN.replace("count(*)", "count(DISTINCT ind)"),
        PLAIN.replace("country IS NOT NULL", "country IS NOT NULL AND ind > 3"),
        PLAIN.replace("country IS NOT NULL", "country IS NOT NULL AND ind > 4"),
        PLAIN.replace("geo_table", "geo_table JOIN pin_table USING (ind)"),
        PLAIN.replace("geo_table", "geo_table LEFT JOIN pin_table USING (ind)"),
        PLAIN.replace("count(*)", "count(*) FILTER (WHERE ind > 3)"),
    ];
    let mut hashes: Vec<u64> = others.iter().map(|sql| hash(sql)).chain([plain]).collect();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), others.len() + 1);
}

#[test]
fn a_hash_depends_on_nothing_beside_the_result() {
    let ranked = "SELECT country, n FROM (SELECT country, count(*) AS n, rank() OVER (ORDER BY count(*)) AS r FROM geo_table \
                  WHERE country IS NOT NULL GROUP BY 1) AS t WHERE {top} = 0 OR r <= {top}";
    let hashes = |files: &[SqlFile], top| {
        let catalog = compiled(files, top);
        let hashes = catalog.results.iter().map(|result| (result.name.clone(), result.hash));
        hashes.collect::<std::collections::BTreeMap<_, _>>()
    };
    let (a, b) = (file("a", PLAIN), file("b", ranked));
    let both = hashes(&[a.clone(), b.clone()], 10);
    assert_eq!(both, hashes(&[b.clone(), a.clone()], 10));
    assert_eq!(both["a"], hashes(std::slice::from_ref(&a), 3)["a"]);
    let alone: Vec<u64> = [10, 3, 0]
        .iter()
        .map(|top| hashes(std::slice::from_ref(&b), *top)["b"])
        .collect();
    assert_eq!(alone[0], both["b"]);
    assert!(alone[0] != alone[1] && alone[1] != alone[2] && alone[0] != alone[2]);
    // the name is part of it
    assert_ne!(both["a"], hashes(&[file("c", PLAIN)], 10)["c"]);
}

#[test]
fn a_result_over_a_result_is_written_out_and_shares_its_nodes() {
    let over = "SELECT country, n * 2 AS twice FROM a WHERE n > 3";
    let catalog = compiled(&[file("z", over), file("a", PLAIN)], 10);
    let names: Vec<_> = catalog.results.iter().map(|result| &*result.name).collect();
    assert_eq!(names, ["a", "z"]);
    let [a, z] = catalog.results.as_slice() else {
        unreachable!()
    };
    assert_eq!((a.reads.len(), z.reads.as_slice()), (0, [String::from("a")].as_slice()));
    assert!(z.sql.contains(&format!("FROM (\n{}\n) AS \"a\"", a.sql)), "{}", z.sql);
    assert_eq!(catalog.plan.node(z.node).input(), Some(a.node));
    // the same, written otherwise, is the same nodes
    let twins = compiled(&[file("a", PLAIN), file("b", PLAIN)], 10);
    assert_eq!(twins.results[0].node, twins.results[1].node);
}

#[test]
fn comments_belong_to_the_item_before_them() {
    let sql = "SELECT country, -- where\n  -- more of it\n  count(*) AS n, /* not this */ max(ind) -- inside\n    AS m, min(ind) AS o FROM\n \
               -- not a column's\n geo_table -- nor this\n WHERE country IS NOT NULL -- nor that\n GROUP BY 1";
    let catalog = one(sql).unwrap();
    let result = &catalog.results[0];
    let comments: Vec<_> = result.columns.iter().map(|column| &*column.comment).collect();
    assert_eq!(comments, ["more of it", "", "inside", ""]);
    assert_eq!(result.comment, "what a row means");
    // what `*` selects of a result keeps its comments
    let over = compiled(&[file("r", sql), file("s", "SELECT * FROM r")], 10);
    assert_eq!(over.results[0].columns, over.results[1].columns);
}

#[test]
fn an_order_that_has_no_effect_is_noted() {
    let catalog = one(&format!("{PLAIN} ORDER BY n")).unwrap();
    let notes: Vec<_> = catalog.notes.iter().map(ToString::to_string).collect();
    let expected = "results/r.sql:2:92: a table has no order: ORDER BY is ignored\n  hint: ORDER BY where you read";
    assert_eq!(notes, [expected]);
    assert!(!catalog.results[0].sql.contains("ORDER"));
}

#[test]
fn every_type_is_one_of_a_table() {
    let table = one(PLAIN).unwrap().results[0].table();
    assert_eq!((table.name, table.key, table.columns.len()), ("r", 1, 2));
    for (item, ty) in [
        ("sum(ind)", ColumnType::Numeric),
        ("bool_or(ind > 3)", ColumnType::Bool),
        ("max(\"timestamp\"::date)", ColumnType::Date),
        ("max(\"timestamp\")", ColumnType::Timestamp),
    ] {
        let sql = PLAIN.replace("count(*)", item);
        assert_eq!(one(&sql).unwrap().results[0].table().columns[1].ty, ty, "{item}");
    }
}

/// What a subquery says of its rows is known whether or not another result has the same rows.
#[test]
fn a_result_does_not_depend_on_files_that_it_does_not_read() {
    let r1 = file("r1", "SELECT country, n FROM q WHERE n % 3 = 1");
    let r2 = file("r2", "SELECT n % 3 AS m, count(*) AS c FROM r1 GROUP BY 1");
    let inner = "SELECT n % 3 AS m, count(*) AS c FROM (SELECT * FROM q WHERE n % 3 = 1) AS t GROUP BY 1";
    let (q, r3) = (file("q", PLAIN), file("r3", inner));
    let of = |files: &[&SqlFile], name: &str| {
        let files: Vec<_> = files.iter().map(|file| (*file).clone()).collect();
        let catalog = compiled(&files, 10);
        let result = catalog.results.iter().find(|result| result.name == name).unwrap();
        let facts = catalog.plan.outputs(result.node)[0].facts;
        (result.hash, result.columns.clone(), facts)
    };
    let (two, three) = (of(&[&q, &r1, &r2], "r2"), of(&[&q, &r3], "r3"));
    assert_eq!((two.2.low, two.2.high), (1, 1));
    assert_eq!(two.2, three.2);
    for files in [[&q, &r1, &r2, &r3], [&q, &r3, &r1, &r2], [&r3, &r2, &r1, &q]] {
        assert_eq!(of(&files, "r2"), two);
        assert_eq!(of(&files, "r3"), three);
    }
}
