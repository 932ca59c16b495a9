//! The binary beside an oracle that shares nothing with it: `tests/oracle/oracle.py`, plain Python that was written from
//! the specification. Generated dirty lakes and real records, byte for byte; and the answers that other people recorded.

use anyhow::{Context, Result, ensure};
use pinflow_tests::answer::{tables, wait_for_frontier};
use pinflow_tests::plain::definitions;
use pinflow_tests::tables::{recorded, unpacked};
use pinflow_tests::workload::{Frontier, TOPICS};
use pinflow_tests::{Chance, Database, Kafka, LakeFolder, Message, Pinflow, Producer, long, need, root};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// What the oracle says of a lake, in this folder.
fn ask_oracle(lake: &LakeFolder, folder: &Path, top: u64) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let output = Command::new("python3")
        .arg(root().join("tests/oracle/oracle.py"))
        .args([lake.root(), folder])
        .args(["--top", &top.to_string()])
        .output()
        .context("running python3")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Demands that `backfill --out` writes the files of the oracle, byte for byte.
fn demand_files(command: &Pinflow, folder: &Path, oracle: &Path) -> Result<()> {
    let out = folder.join("out");
    command
        .clone()
        .args(["--out".as_ref(), out.as_os_str()])
        .succeed(SOON)?;
    for result in definitions() {
        let name = format!("{}.csv", result.table.name);
        let [ours, theirs] = [&out, oracle].map(|folder| std::fs::read_to_string(folder.join(&name)));
        let (ours, theirs) = (
            ours.with_context(|| name.clone())?,
            theirs.with_context(|| name.clone())?,
        );
        let differing = ours.lines().zip(theirs.lines()).find(|(ours, theirs)| ours != theirs);
        ensure!(ours == theirs, "{name} differs from the oracle's: {differing:?}");
    }
    Ok(())
}

/// Rows of a file of the oracle.
fn rows(path: &Path) -> Result<Vec<Vec<String>>> {
    let mut reader = csv::Reader::from_path(path)?;
    let rows = reader.records().map(|row| Ok(row?.iter().map(str::to_owned).collect()));
    rows.collect()
}

/// Demands that the table holds the oracle's dead letters, with their bytes, and that each record is accepted or one.
fn demand_rejects(database: &Database, schema: &str, oracle: &Path, records: u64) -> Result<usize> {
    let query = format!(
        "SELECT topic, partition, \"offset\", reason, encode(value, 'hex') FROM {schema}.rejects WHERE partition IS NOT NULL"
    );
    let text = |value: Option<String>| value.unwrap_or_default();
    let row = |row: Vec<Option<String>>| row.into_iter().map(text).collect::<Vec<_>>();
    let mut ours: Vec<_> = database.rows(&query)?.into_iter().map(row).collect();
    let mut theirs = rows(&oracle.join("rejects.csv"))?;
    ours.sort();
    theirs.sort();
    let differing = ours.iter().zip(&theirs).find(|(ours, theirs)| ours != theirs);
    ensure!(ours == theirs, "dead letters differ from the oracle's: {differing:?}");
    let counts: Value = serde_json::from_str(&std::fs::read_to_string(oracle.join("counts.json"))?)?;
    let counts = counts.as_object().context("counts by topic")?.values();
    let sum = |name: &str| counts.clone().filter_map(|of| of[name].as_u64()).sum::<u64>();
    ensure!(sum("rejected") == ours.len() as u64);
    ensure!(
        sum("accepted") + sum("rejected") == records,
        "{} accepted and {} rejected of {records} records",
        sum("accepted"),
        sum("rejected")
    );
    Ok(ours.len())
}

#[test]
fn generated_dirty_data_gives_the_answer_of_plain_python() -> Result<()> {
    let mut chance = Chance::new(pinflow_tests::seed()?);
    let postgres = pinflow_tests::postgres()?;
    let database = Database::connect(&postgres.url())?;
    let mut rejected = 0;
    for case in 0..if long() { 100 } else { 5 } {
        let folder = tempfile::tempdir()?;
        let lake = LakeFolder::new(folder.path().join("lake"));
        let numbers = [
            ("--seed", chance.below(1 << 40).to_string()),
            ("--posts", (1 + chance.below(3_000)).to_string()),
            ("--dirty", chance.one_of(&["0.02", "0.3", "1"]).to_owned()),
            ("--deletes", chance.one_of(&["0", "0.02", "0.5"]).to_owned()),
            ("--duplicates", chance.one_of(&["0", "0.06", "0.7"]).to_owned()),
            ("--partitions", (1 + chance.below(5)).to_string()),
            (
                "--records-per-object",
                chance.one_of(&["1000", "17", "100000"]).to_owned(),
            ),
        ];
        let given = numbers.iter().flat_map(|(flag, value)| [*flag, value.as_str()]);
        let generate = Pinflow::new("generate").lake(&lake).args(given);
        let packed: &[&str] = chance.one_of(&[&[], &["--gzip"]]);
        generate.args(packed).succeed(SOON)?;
        let top = chance.one_of(&[0, 1, 10]);
        let oracle = folder.path().join("oracle");
        ask_oracle(&lake, &oracle, top)?;
        let (top, workers) = (top.to_string(), (1 + chance.below(2)).to_string());
        let summary = folder.path().join("summary.json");
        let backfill = Pinflow::new("backfill")
            .lake(&lake)
            .args(["--top", &top, "-w", &workers, "--summary"])
            .args([&summary]);
        let compared = (|| {
            demand_files(&backfill, folder.path(), &oracle)?;
            let summary: Value = serde_json::from_str(&std::fs::read_to_string(&summary)?)?;
            let records = summary["records"].as_u64().context("no number of records")?;
            let schema = format!("case_{case}");
            let into_tables = Pinflow::new("backfill").lake(&lake).postgres(&postgres);
            into_tables.args(["--schema", &schema]).succeed(SOON)?;
            rejected += demand_rejects(&database, &schema, &oracle, records)?;
            anyhow::Ok(())
        })();
        compared.with_context(|| format!("{numbers:?} {packed:?} --top {top}"))?;
    }
    ensure!(rejected > 100, "{rejected} dead letters");
    Ok(())
}

/// The recorded stream as a log of so many partitions, and its first part as a lake.
fn stream(partitions: i32) -> Result<Option<BTreeMap<(usize, i32), Vec<Vec<u8>>>>> {
    let Some(rounds) = recorded()? else { return Ok(None) };
    let mut log: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for round in rounds {
        let partition = i32::try_from(round.row % partitions as u64)?;
        for (kind, record) in round.records.iter().enumerate() {
            log.entry((kind, partition))
                .or_default()
                .push(record.to_string().into_bytes());
        }
    }
    Ok(Some(log))
}

fn archive(lake: &LakeFolder, topic: &str, partition: i32, records: &[Vec<u8>]) -> Result<()> {
    for (object, records) in records.chunks(100).enumerate() {
        let key = lake.key(topic, partition, object as i64 * 100, None);
        lake.put(&key, &[records.join(&b'\n'), b"\n".to_vec()].concat())?;
    }
    Ok(())
}

/// A recorded stream, from the lake and from Kafka.
#[test]
fn a_recorded_stream_gives_the_answer_of_plain_python() -> Result<()> {
    let Some(log) = stream(3)? else { return Ok(()) };
    let (kafka, postgres) = (Kafka::start()?, pinflow_tests::postgres()?);
    let folder = tempfile::tempdir()?;
    let [whole, part] = ["whole", "part"].map(|name| LakeFolder::new(folder.path().join(name)));
    let producer = Producer::new(&kafka.bootstrap())?;
    let mut end = Frontier::new();
    for topic in TOPICS {
        kafka.create_topic(topic, 3, &[])?;
    }
    for ((kind, partition), records) in &log {
        let topic = TOPICS[*kind];
        archive(&whole, topic, *partition, records)?;
        archive(&part, topic, *partition, &records[..records.len() * 2 / 3])?;
        for record in records {
            let message = Message {
                partition: Some(*partition),
                key: None,
                value: Some(record),
            };
            producer.send(topic, message)?;
        }
        end.insert((topic.to_owned(), *partition), records.len() as i64);
    }
    producer.flush()?;
    let oracle = folder.path().join("oracle");
    ask_oracle(&whole, &oracle, 10)?;
    demand_files(&Pinflow::new("backfill").lake(&whole), folder.path(), &oracle)?;

    // a part of it from the lake, and the rest live
    let mut run = Pinflow::new("run")
        .lake(&part)
        .kafka(&kafka)
        .postgres(&postgres)
        .start()?;
    wait_for_frontier(&postgres.url(), "pinflow", &end, SOON).with_context(|| run.tail())?;
    let (_, live) = tables(&Database::connect(&postgres.url())?, "pinflow")?;
    for (result, live) in definitions().iter().zip(live) {
        let rows = rows(&oracle.join(format!("{}.csv", result.table.name)))?;
        let mut rows: Vec<String> = rows.into_iter().map(|row| row.join("|")).collect();
        rows.sort();
        ensure!(live == rows, "{} differs from the oracle's", result.table.name);
    }
    run.terminate()?;
    run.expect(0, SOON)
}

/// A recorded notebook: tables with a role, columns and rows.
struct Notebook(Vec<Value>);

impl Notebook {
    fn open(name: &str) -> Result<Option<Notebook>> {
        let Some(path) = need::data(name) else { return Ok(None) };
        let mut notebook: Value = serde_json::from_str(&unpacked(&path)?)?;
        match notebook["tables"].take() {
            Value::Array(tables) => Ok(Some(Notebook(tables))),
            _ => anyhow::bail!("{name} holds no tables"),
        }
    }

    /// The rows of the last table of this role, as objects.
    fn rows(&self, role: &str) -> Result<Vec<BTreeMap<String, Value>>> {
        let table = self
            .0
            .iter()
            .rfind(|table| table["role"] == role)
            .with_context(|| role.to_owned())?;
        let columns = table["columns"].as_array().context("columns")?;
        let row = |row: &Value| {
            let names = columns.iter().filter_map(|name| name.as_str().map(str::to_owned));
            row.as_array()
                .map(|row| names.zip(row.iter().cloned()).collect())
                .context("a row")
        };
        table["rows"].as_array().context("rows")?.iter().map(row).collect()
    }
}

/// As a file of results holds it.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) if text == "+50" => "50+".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.as_f64().map(|number| number.to_string()).unwrap_or_default(),
        other => other.to_string(),
    }
}

/// The raw tables of a notebook, through the binary: the answers that it recorded, cell for cell.
#[test]
fn a_recorded_notebook_is_answered_as_it_was() -> Result<()> {
    let Some(notebook) = Notebook::open("golden_AdamBreeze1.json.gz")? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let lake = LakeFolder::new(folder.path().join("lake"));
    for (topic, role) in TOPICS.into_iter().zip(["raw_pin", "raw_geo", "raw_user"]) {
        let rows = notebook.rows(role)?;
        let lines = rows
            .iter()
            .map(|row| Ok(serde_json::to_vec(row)?))
            .collect::<Result<Vec<_>>>()?;
        archive(&lake, topic, 0, &lines)?;
    }
    let oracle = folder.path().join("oracle");
    ask_oracle(&lake, &oracle, 0)?;
    let backfill = Pinflow::new("backfill").lake(&lake).args(["--top", "0"]);
    demand_files(&backfill, folder.path(), &oracle)?;
    let category = ["country", "category", "category_count"];
    let of_age = ["age_group", "category", "category_count"];
    // the task, the notebook's columns, and ours; this notebook took medians by percentile_approx, the lower one
    let answers: [(&str, &[&str], &str, &[&str], bool); 5] = [
        ("T4", &category, "popular_category_by_country", &category, false),
        ("T7", &of_age, "popular_category_by_age_group", &of_age, true),
        (
            "T8",
            &["age_group", "median_follower_count"],
            "median_followers_by_age_group",
            &["age_group", "lower_median_follower_count"],
            false,
        ),
        (
            "T9",
            &["year_joined", "number_users_joined"],
            "users_joined_by_year",
            &["join_year", "user_records"],
            false,
        ),
        (
            "T10",
            &["year_joined", "median_follower_count"],
            "median_followers_by_join_year",
            &["join_year", "lower_median_follower_count"],
            false,
        ),
    ];
    for (task, theirs, table, ours, leaders) in answers {
        let recorded = notebook.rows(task)?;
        let mut expected: Vec<Vec<String>> = recorded
            .iter()
            .map(|row| theirs.iter().map(|column| text(&row[*column])).collect())
            .collect();
        let mut reader = csv::Reader::from_path(folder.path().join("out").join(format!("{table}.csv")))?;
        let names: Vec<String> = reader.headers()?.iter().map(str::to_owned).collect();
        let place = |name: &str| {
            names
                .iter()
                .position(|column| column == name)
                .with_context(|| name.to_owned())
        };
        let places = ours.iter().map(|name| place(name)).collect::<Result<Vec<_>>>()?;
        let mut actual = Vec::new();
        for row in reader.records() {
            let row = row?;
            if !leaders || row[place("rank")?] == *"1" {
                actual.push(places.iter().map(|place| row[*place].to_owned()).collect::<Vec<_>>());
            }
        }
        expected.sort();
        actual.sort();
        // a notebook names a leader once, also where the file has it with several columns that it does not show
        expected.dedup();
        actual.dedup();
        ensure!(actual == expected, "{task}: {actual:?} instead of {expected:?}");
    }
    Ok(())
}
