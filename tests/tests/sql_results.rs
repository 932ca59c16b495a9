//! The meaning of results: random results over random data, computed by the interpreter of plans, by PostgreSQL on the
//! text of the file, and by PostgreSQL on the text that `verify` runs, are the same rows, byte for byte.
//!
//! A failure prints the seed; `PINFLOW_TEST_SEED=seed` runs that case alone.

use anyhow::{Context, Result, ensure};
use dataflows::Options;
use dataflows::sql::eval::{Datum, Decimal, Interpreter};
use dataflows::sql::plan::{Node, NodeId, Output, Plan, Scalar};
use dataflows::sql::types::Ty;
use dataflows::sql::{Schema, SqlFile, compile};
use pinflow_tests::queries::{Accepted, Choices, Data, Queries, accepted, data, mutate, reduce};
use pinflow_tests::sql::Rows;
use pinflow_tests::{Database, long, postgres};
use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

/// Results of one case, over the same data.
const RESULTS: usize = 4;
/// The cases of `make test`, always the same.
const CASES: u64 = 200;
/// How long `make test-long` draws others.
const HOUR: Duration = Duration::from_secs(3_600);

/// Data and results that were drawn.
struct Case {
    data: Data,
    options: Options,
    results: Vec<Accepted>,
}

fn draw(choices: &mut Choices, schema: &Schema) -> Case {
    let data = data(choices);
    let options = Options { top: choices.below(3) };
    let mut results = Vec::new();
    for _ in 0..RESULTS {
        let mut queries = Queries {
            choices,
            schema,
            options: &options,
        };
        let result = queries.result();
        if choices.one_in(5) {
            let refused = mutate::outside(choices, &result.text);
            must_be_refused(schema, &options, &refused);
        }
        if choices.one_in(5) {
            // where it is accepted all the same, it is a result like others
            let shaken = mutate::shaken(choices, &result.text);
            let body = shaken.split_once('\n').map_or("", |(_, body)| body).to_owned();
            results.extend(accepted(schema, &options, &body));
        }
        results.push(result);
    }
    Case { data, options, results }
}

/// Demands that each error names a place of the text.
fn must_be_refused(schema: &Schema, options: &Options, text: &str) {
    let file = SqlFile {
        path: "r.sql".to_owned(),
        text: text.to_owned(),
    };
    let faults = match compile(&[file], schema, options) {
        Ok(catalog) => panic!("accepted, as {}:\n{text}", catalog.results[0].sql),
        Err(faults) => faults,
    };
    let lines: Vec<_> = text.split('\n').collect();
    for fault in faults {
        let (line, column) = (fault.position.line as usize, fault.position.column as usize);
        let in_text = line >= 1 && line <= lines.len() && column >= 1 && column <= lines[line - 1].chars().count() + 1;
        assert!(in_text, "{fault} is not a place of\n{text}");
    }
}

/// What was met by results, in words.
type Coverage = BTreeSet<String>;

/// The first disagreement of a case, in words.
fn disagreement(database: &Database, schema: &Schema, case: &Case, coverage: &mut Coverage) -> Option<String> {
    let fill = pinflow_tests::queries::data::fill(&case.data);
    database.run(&fill).expect("the data fits the tables");
    let raw = |result: &Accepted| result.text.replace("{top}", &case.options.top.to_string());
    let texts: Vec<String> = case
        .results
        .iter()
        .flat_map(|result| [raw(result), result.spec().sql.clone()])
        .collect();
    let batch: String = texts.iter().map(|text| format!("{text}\n;\n")).collect();
    let answers = match database.all_rows(&batch) {
        Ok(answers) => answers,
        // one of them failed: which one
        Err(_) => match texts.iter().find_map(|text| Some((text, database.rows(text).err()?))) {
            Some((text, error)) => return Some(format!("PostgreSQL fails: {:?}\n{text}", error.root_cause())),
            None => return Some("PostgreSQL fails on the queries together".to_owned()),
        },
    };
    for (result, answers) in case.results.iter().zip(answers.chunks_exact(2)) {
        let said = || format!("{}\n-- printed:\n{}", raw(result), result.spec().sql);
        match interpret(schema, &case.data, result, coverage) {
            Err(error) => return Some(format!("{error:#}\n{}", said())),
            Ok(rows) => {
                for (of, answer) in ["the text", "the printed text"].iter().zip(answers) {
                    let answer = sorted(answer.clone());
                    if rows != answer {
                        return Some(format!("{}\nhere: {rows:?}\nPostgreSQL, {of}: {answer:?}", said()));
                    }
                }
            }
        }
        let columns = result
            .spec()
            .columns
            .iter()
            .map(|column| (column.name.clone(), column.ty.oid()));
        match database.columns(&result.spec().sql) {
            Ok(found) if found.iter().cloned().eq(columns.clone()) => {}
            found => {
                let columns: Vec<_> = columns.collect();
                return Some(format!("{}\ncolumns here: {columns:?}\nPostgreSQL: {found:?}", said()));
            }
        }
    }
    None
}

fn sorted(mut rows: Rows) -> Rows {
    rows.sort();
    rows
}

/// The rows of a result as texts, sorted. All values of all nodes lie within what was proved of them.
fn interpret(schema: &Schema, data: &Data, result: &Accepted, coverage: &mut Coverage) -> Result<Rows> {
    let plan = &result.catalog.plan;
    let mut interpreter = Interpreter::new(plan, schema);
    for (kind, rows) in data.iter().enumerate() {
        for row in rows {
            let operators::Value::Int(key) = row[0] else {
                unreachable!("keys are integers")
            };
            interpreter.set(kind, key, row);
        }
    }
    let mut node = Some(result.spec().node);
    while let Some(id) = node {
        node = plan.node(id).input();
        if !matches!(plan.node(id), Node::Posts { .. }) {
            let rows = interpreter.rows(id)?;
            for (column, output) in plan.outputs(id).iter().enumerate() {
                let values: Vec<&Datum> = rows.iter().map(|row| &row[column]).collect();
                within(output, &values).with_context(|| format!("column {column} of {:?}", plan.node(id)))?;
            }
        }
    }
    cover(plan, result.spec().node, &interpreter, coverage);
    let rows = interpreter.rows(result.spec().node)?;
    let mut texts = Vec::with_capacity(rows.len());
    for row in rows.iter() {
        texts.push(row.iter().map(Datum::to_text).collect::<Result<Vec<_>, _>>()?);
    }
    Ok(sorted(texts))
}

/// Demands that the facts of a column hold.
fn within(output: &Output, values: &[&Datum]) -> Result<()> {
    let facts = &output.facts;
    let mut total: u128 = 0;
    for value in values {
        ensure!(value.is_of(output.ty), "{value:?} is not {}", output.ty);
        ensure!(facts.nullable || !value.is_null(), "null, and {facts:?}");
        let number = match value {
            Datum::Bool(value) => Decimal::integer(i64::from(*value)),
            Datum::Int(value) | Datum::Timestamp(value) => Decimal::integer(*value),
            Datum::Date(value) => Decimal::integer(*value),
            Datum::Numeric(value) => *value,
            Datum::Text(text) => {
                ensure!(
                    facts.bytes.is_none_or(|bytes| text.len() <= bytes as usize),
                    "{text} and {facts:?}"
                );
                continue;
            }
            Datum::Null | Datum::Float(_) => continue,
        };
        let in_range = Decimal::integer(facts.low) <= number && number <= Decimal::integer(facts.high);
        ensure!(in_range, "{value:?} and {facts:?}");
        ensure!(!facts.nonzero || number.unscaled != 0, "0 and {facts:?}");
        if output.ty == Ty::Numeric {
            let scales = facts.scale.0..=facts.scale.1;
            ensure!(scales.contains(&number.scale), "{number} and {facts:?}");
            ensure!(
                number.unscaled.unsigned_abs() <= facts.unscaled,
                "{number} and {facts:?}"
            );
        }
        let up = Decimal {
            unscaled: number.unscaled.abs(),
            ..number
        };
        // a fraction of more digits than there are has no whole
        let one = 10i128.checked_pow(up.scale.into());
        let whole = one.map_or(0, |one| up.unscaled / one);
        total += whole.unsigned_abs() + u128::from(Decimal::integer(whole) < up);
    }
    if matches!(output.ty, Ty::Int4 | Ty::Int8 | Ty::Numeric | Ty::Bool) {
        ensure!(total <= facts.total, "a total of {total} and {facts:?}");
    }
    Ok(())
}

/// Notes which nodes read which, which aggregates have arguments of which type, and which operations met a null.
fn cover(plan: &Plan, id: NodeId, interpreter: &Interpreter, coverage: &mut Coverage) {
    let name = |debug: String| debug.split([' ', '(', '{']).next().unwrap_or_default().to_owned();
    let mut roots = Vec::new();
    let mut node = Some(id);
    while let Some(id) = node {
        let this = plan.node(id);
        node = this.input();
        if let Some(input) = node {
            coverage.insert(format!(
                "{} over {}",
                name(format!("{this:?}")),
                name(format!("{:?}", plan.node(input)))
            ));
        }
        match this {
            Node::Posts { filter, .. } => roots.extend(filter),
            Node::Map { filter, columns, .. } => roots.extend(filter.iter().chain(columns)),
            Node::Rank { partition, order, .. } => {
                roots.extend(partition);
                roots.extend(order.iter().map(|order| order.by));
            }
            Node::Fold { key, aggregates, .. } => {
                roots.extend(key);
                for aggregate in aggregates {
                    let kind = name(format!("{:?}", aggregate.kind));
                    let types: Vec<_> = aggregate
                        .args
                        .iter()
                        .map(|arg| format!("{:?}", plan.ty(*arg)))
                        .collect();
                    coverage.insert(match types.as_slice() {
                        [one] => format!("{kind} of {one}"),
                        _ => kind,
                    });
                    roots.extend(aggregate.args.iter().chain(&aggregate.filter));
                }
            }
        }
    }
    let mut seen = BTreeSet::new();
    while let Some(e) = roots.pop() {
        if !seen.insert(e) {
            continue;
        }
        let scalar = plan.scalar(e);
        let mut operation = name(format!("{scalar:?}"));
        if let Scalar::Arith(op, a, _) = scalar {
            operation = format!("{op:?} of {:?}", plan.ty(*a));
        }
        let arguments = scalar.arguments();
        if arguments.iter().any(|argument| interpreter.was_null(*argument)) {
            coverage.insert(format!("{operation} with null"));
        }
        roots.extend(arguments);
    }
}

/// What the cases of `make test` have to meet.
fn demanded() -> Coverage {
    let mut demanded = Coverage::new();
    let ordered = ["Int4", "Int8", "Numeric", "Text", "Date", "Timestamp", "Float8"];
    for ty in ordered {
        for kind in ["Count", "Min", "Max", "PercentileDisc", "Mode"] {
            demanded.insert(format!("{kind} of {ty}"));
        }
        if ty != "Float8" {
            demanded.insert(format!("CountDistinct of {ty}"));
        }
    }
    for ty in ["Int4", "Int8", "Numeric"] {
        demanded.extend(["Sum", "Avg"].map(|kind| format!("{kind} of {ty}")));
    }
    for (ty, operations) in [
        ("Int4", &["Multiply", "Remainder"][..]),
        ("Int8", &["Add", "Subtract", "Divide", "Remainder"]),
        ("Numeric", &["Add", "Subtract", "Multiply", "Divide", "Remainder"]),
    ] {
        demanded.extend(operations.iter().map(|op| format!("{op} of {ty} with null")));
    }
    demanded.extend(["Count", "CountDistinct", "BoolAnd", "BoolOr", "Mode"].map(|kind| format!("{kind} of Bool")));
    demanded.extend(["CountRows", "CountDistinct", "PercentileCont of Float8"].map(str::to_owned));
    demanded.extend(
        [
            "Not",
            "And",
            "Or",
            "IsNull",
            "IsTrue",
            "IsFalse",
            "Compare",
            "IsDistinct",
            "In",
            "Like",
            "StartsWith",
            "Negate",
            "Abs",
            "Round",
            "Cast",
            "Extract",
            "Truncate",
            "Case",
            "Coalesce",
            "NullIf",
            "Greatest",
            "Least",
            "Length",
            "Left",
            "Right",
            "Substr",
            "Replace",
            "SplitPart",
            "StrPos",
            "Trim",
            "Concat",
            "Lower",
            "Upper",
            "CollateC",
        ]
        .map(|operation| format!("{operation} with null")),
    );
    for (above, below) in [
        ("Fold", "Posts"),
        ("Fold", "Fold"),
        ("Fold", "Map"),
        ("Fold", "Rank"),
        ("Map", "Fold"),
        ("Map", "Rank"),
        ("Rank", "Fold"),
        ("Rank", "Map"),
        ("Rank", "Rank"),
    ] {
        demanded.insert(format!("{above} over {below}"));
    }
    demanded
}

/// Runs the case of a seed; a disagreement is reduced and shown.
fn run(database: &Database, schema: &Schema, seed: u64, coverage: &mut Coverage) {
    let mut choices = Choices::random(seed);
    let case = draw(&mut choices, schema);
    let Some(first) = disagreement(database, schema, &case, coverage) else {
        return;
    };
    let fails = |record: &[u32]| {
        let case = draw(&mut Choices::replay(record), schema);
        disagreement(database, schema, &case, &mut Coverage::new()).is_some()
    };
    let reduced = reduce(choices.record(), 400, fails);
    let case = draw(&mut Choices::replay(&reduced), schema);
    let shown = disagreement(database, schema, &case, &mut Coverage::new()).unwrap_or(first);
    let rows: String = case.data.iter().flatten().map(|row| format!("{row:?}\n")).collect();
    panic!("seed {seed}: {shown}\n{rows}");
}

#[test]
fn random_results_are_those_of_postgresql() -> Result<()> {
    let server = postgres()?;
    let database = Database::connect(&server.url())?;
    database.run(&pinflow_tests::queries::data::create())?;
    let schema = Schema::cleaned();
    let mut coverage = Coverage::new();
    if let Ok(seed) = std::env::var("PINFLOW_TEST_SEED") {
        run(&database, &schema, seed.parse()?, &mut coverage);
        return Ok(());
    }
    for seed in 0..CASES {
        run(&database, &schema, seed, &mut coverage);
    }
    let missing: Vec<_> = demanded().difference(&coverage).cloned().collect();
    ensure!(missing.is_empty(), "no case has {missing:?}");

    let end = Instant::now() + if long() { HOUR } else { Duration::ZERO };
    let mut seed = SystemTime::UNIX_EPOCH.elapsed()?.as_nanos() as u64;
    loop {
        run(&database, &schema, seed, &mut coverage);
        seed = seed.wrapping_add(1);
        if Instant::now() >= end {
            return Ok(());
        }
    }
}
