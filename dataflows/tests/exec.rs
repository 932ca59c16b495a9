//! The dataflow of a catalogue against the interpreter of its plan: random results over random records, in random
//! order and random epochs, with corrections, deletes and replays, on one to three workers, have at every closed epoch
//! the rows that the interpreter computes of the latest records.
//!
//! A failure prints the seed; `PINFLOW_TEST_SEED=seed` runs that case alone.

mod common;

use common::Tables;
use common::queries::{Choices, Queries, reduce};
use common::records::{Record, records, run_catalog};
use dataflows::Options;
use dataflows::exec::Layout;
use dataflows::sql::eval::{Datum, Interpreter};
use dataflows::sql::{Catalog, Schema, SqlFile, compile};
use operators::{Row, Value};
use std::collections::HashMap;

struct Case {
    catalog: Catalog,
    texts: Vec<String>,
    epochs: Vec<Vec<Record>>,
    workers: usize,
}

fn draw(choices: &mut Choices, schema: &Schema) -> Case {
    let options = Options { top: choices.below(3) };
    let epochs = records(choices);
    let workers = 1 + choices.below(3);
    let count = 1 + choices.below(4);
    let mut files = Vec::new();
    for number in 0..count {
        let mut queries = Queries {
            choices,
            schema,
            options: &options,
        };
        let text = queries.result().text;
        let body = text.split_once('\n').map_or("", |(_, body)| body);
        files.push(SqlFile {
            path: format!("r{number}.sql"),
            text: format!("-- r{number}: a row\n{body}"),
        });
    }
    Case {
        catalog: compile(&files, schema, &options).expect("each is accepted alone"),
        texts: files.into_iter().map(|file| file.text).collect(),
        epochs,
        workers,
    }
}

fn expected(case: &Case, schema: &Schema) -> Vec<Tables> {
    let mut latest: HashMap<(u8, i64), &Record> = HashMap::new();
    let mut tables = Vec::new();
    for epoch in &case.epochs {
        for record in epoch {
            let known = latest.entry((record.kind, record.key)).or_insert(record);
            if record.position > known.position {
                *known = record;
            }
        }
        let mut interpreter = Interpreter::new(&case.catalog.plan, schema);
        for ((kind, key), record) in &latest {
            if let Some(row) = &record.row {
                interpreter.set((*kind).into(), *key, row);
            }
        }
        let rows = |result: &dataflows::sql::ResultSpec| {
            let rows = interpreter.rows(result.node).expect("no accepted expression fails");
            let mut rows: Vec<Row> = rows.iter().map(|row| row.iter().map(value).collect()).collect();
            rows.sort();
            rows
        };
        tables.push(case.catalog.results.iter().map(rows).collect());
    }
    tables
}

/// A value as [`build`] gives it.
fn value(datum: &Datum) -> Value {
    match datum {
        Datum::Null => Value::Null,
        Datum::Bool(value) => Value::Int(i64::from(*value)),
        Datum::Int(value) | Datum::Timestamp(value) => Value::Int(*value),
        Datum::Date(value) => Value::Int(i64::from(*value)),
        Datum::Numeric(value) => Value::from(value.to_string().as_str()),
        Datum::Text(value) => Value::from(&**value),
        Datum::Float(value) => Value::Float(*value + 0.0),
    }
}

fn found(case: &Case, layout: &Layout) -> Vec<Tables> {
    run_catalog(&case.catalog, layout, &case.epochs, case.workers)
}

/// The first disagreement of a case, in words.
fn disagreement(case: &Case, schema: &Schema) -> Option<String> {
    let layout = Layout::new(schema, &case.catalog.plan).expect("few columns");
    let expected = expected(case, schema);
    let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| found(case, &layout)));
    let Ok(found) = run else {
        return Some(format!("a panic\n{}", case.texts.join("\n")));
    };
    for (epoch, (found, expected)) in found.iter().zip(&expected).enumerate() {
        for (result, (found, expected)) in found.iter().zip(expected).enumerate() {
            if found != expected {
                let name = &case.catalog.results[result].name;
                let text = case
                    .texts
                    .iter()
                    .find(|text| text.starts_with(&format!("-- {name}:")))
                    .unwrap();
                return Some(format!(
                    "epoch {epoch}, {} workers\n{text}\nfound:    {found:?}\nexpected: {expected:?}",
                    case.workers
                ));
            }
        }
    }
    None
}

fn run(schema: &Schema, seed: u64) {
    let mut choices = Choices::random(seed);
    let case = draw(&mut choices, schema);
    let Some(first) = disagreement(&case, schema) else {
        return;
    };
    let fails = |record: &[u32]| disagreement(&draw(&mut Choices::replay(record), schema), schema).is_some();
    let reduced = reduce(choices.record(), 300, fails);
    let case = draw(&mut Choices::replay(&reduced), schema);
    let shown = disagreement(&case, schema).unwrap_or(first);
    let records: String = case
        .epochs
        .iter()
        .flatten()
        .map(|record| format!("{record:?}\n"))
        .collect();
    panic!("seed {seed}: {shown}\n{records}");
}

#[test]
fn random_results_are_the_interpreters() {
    let schema = Schema::cleaned();
    if let Ok(seed) = std::env::var("PINFLOW_TEST_SEED") {
        run(&schema, seed.parse().expect("a number"));
        return;
    }
    (0..common::cases(150)).for_each(|seed| run(&schema, seed));
}

/// A text that is only counted is kept in two parts, which must be no value where its kind has no record, and must be none
/// where the join does not see the record that there is.
#[test]
fn texts_in_two_parts_are_null_where_their_kind_is_not_seen() {
    let schema = Schema::cleaned();
    let from = [
        "pin_table JOIN user_table USING (ind) RIGHT JOIN geo_table USING (ind)",
        "pin_table LEFT JOIN user_table USING (ind) RIGHT JOIN geo_table USING (ind)",
        "pin_table LEFT JOIN user_table USING (ind) FULL JOIN geo_table USING (ind)",
        "geo_table LEFT JOIN user_table USING (ind)",
    ];
    let files: Vec<SqlFile> = from
        .iter()
        .enumerate()
        .map(|(number, from)| SqlFile {
            path: format!("r{number}.sql"),
            text: format!(
                "-- r{number}: a row\nSELECT country, count(DISTINCT user_name) AS users, count(DISTINCT (user_name, age)) AS \
                 persons, count(user_name) AS named FROM {from} WHERE country IS NOT NULL GROUP BY country"
            ),
        })
        .collect();
    for seed in 0..40 {
        let mut choices = Choices::random(seed);
        let case = Case {
            catalog: compile(&files, &schema, &Options::default()).expect("accepted"),
            texts: files.iter().map(|file| file.text.clone()).collect(),
            epochs: records(&mut choices),
            workers: 1 + choices.below(3),
        };
        assert_eq!(disagreement(&case, &schema), None, "seed {seed}");
    }
}
