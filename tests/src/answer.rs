//! The result tables beside the rows that they should hold.

use crate::plain::definitions;
use crate::workload::{Frontier, Rejected, Workload};
use crate::{Database, eventually};
use anyhow::{Context, Result, ensure};
use operators::Row;
use std::time::{Duration, Instant};

/// The recorded frontier, and every result table as its sorted rows of texts, in one snapshot.
pub fn tables(database: &Database, schema: &str) -> Result<(Frontier, Vec<Vec<String>>)> {
    database.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
    let mut frontier = Frontier::new();
    for row in database.rows(&format!("SELECT topic, partition, next_offset FROM {schema}.frontier"))? {
        let [Some(topic), Some(partition), Some(next)] = row.as_slice() else {
            anyhow::bail!("a null in the frontier")
        };
        frontier.insert((topic.clone(), partition.parse()?), next.parse()?);
    }
    let mut tables = Vec::new();
    for result in definitions() {
        let columns: Vec<&str> = result.table.columns.iter().map(|column| column.name).collect();
        let sql = format!("SELECT {} FROM {schema}.{}", columns.join(", "), result.table.name);
        let text = |value: Option<String>| value.unwrap_or_default();
        let row = |row: Vec<Option<String>>| row.into_iter().map(text).collect::<Vec<_>>().join("|");
        let mut rows: Vec<String> = database.rows(&sql)?.into_iter().map(row).collect();
        rows.sort();
        tables.push(rows);
    }
    database.run("ROLLBACK")?;
    Ok((frontier, tables))
}

/// Rows as [`tables`] reads them.
pub fn texts(answer: &[Vec<Row>]) -> Vec<Vec<String>> {
    let table = |(rows, result): (&Vec<Row>, &dataflows::Definition)| {
        let value = |(value, column): (&operators::Value, &operators::Column)| {
            sinks::text::value(value, column.ty).unwrap_or_default()
        };
        let row = |row: &Row| {
            row.iter()
                .zip(result.table.columns)
                .map(value)
                .collect::<Vec<_>>()
                .join("|")
        };
        let mut rows: Vec<String> = rows.iter().map(row).collect();
        rows.sort();
        rows
    };
    answer.iter().zip(definitions()).map(table).collect()
}

/// Waits until the recorded frontier has reached `wanted`; returns the snapshot that shows it.
pub fn wait_for_frontier(
    url: &str,
    schema: &str,
    wanted: &Frontier,
    limit: Duration,
) -> Result<(Frontier, Vec<Vec<String>>)> {
    let deadline = Instant::now() + limit;
    loop {
        let reached = (|| {
            let database = Database::connect(url)?;
            let exists = database
                .value(&format!("SELECT to_regclass('{schema}.frontier')"))?
                .is_some();
            if !exists {
                return Ok(None);
            }
            let (frontier, tables) = tables(&database, schema)?;
            let at = |place: &(String, i32)| frontier.get(place).copied().unwrap_or(0);
            anyhow::Ok(
                wanted
                    .iter()
                    .all(|(place, next)| at(place) >= *next)
                    .then_some((frontier, tables)),
            )
        })();
        match reached {
            Ok(Some(reached)) => return Ok(reached),
            other => ensure!(
                Instant::now() < deadline,
                "the frontier {wanted:?} was not reached within {limit:?} ({:?})",
                other.context("reading the frontier")
            ),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits for so many more commits. The tables may still be made, and the server be down: how far they were is known before
/// more is asked for.
pub fn wait_for_commits(url: &str, more: i64, limit: Duration) -> Result<()> {
    let count = || Database::connect(url)?.number("SELECT coalesce(max(commits), 0) FROM pinflow.progress");
    let mut before = None;
    eventually("a number of commits", limit, || {
        before = count().ok();
        Ok(before.is_some())
    })?;
    let wanted = before.context("a number")? + more;
    eventually("a commit", limit, || Ok(count().is_ok_and(|count| count >= wanted)))
}

/// Demands that the tables are the answer for the workload's whole log, by the plain evaluator, cell for cell, and that
/// each record is either a part of it or a dead letter, with its key and its bytes (I6).
pub fn demand_answer(workload: &Workload, url: &str, schema: &str, top: usize, limit: Duration) -> Result<()> {
    let rejected = demand_results(workload, url, schema, top, limit)?;
    demand_rejected(&Database::connect(url)?, schema, &rejected)
}

/// The same of the results alone, where the log does not hold all records any more; returns what is rejected.
pub fn demand_results(
    workload: &Workload,
    url: &str,
    schema: &str,
    top: usize,
    limit: Duration,
) -> Result<Vec<Rejected>> {
    let wanted = workload.frontier();
    let (frontier, tables) = wait_for_frontier(url, schema, &wanted, limit)?;
    ensure!(
        frontier == wanted,
        "the frontier is {frontier:?}, the log ends at {wanted:?}"
    );
    let (answer, rejected) = workload.evaluate(&frontier, top)?;
    let expected = texts(&answer);
    for ((result, actual), expected) in definitions().iter().zip(&tables).zip(&expected) {
        let differing = actual
            .iter()
            .filter(|row| !expected.contains(row))
            .chain(expected.iter().filter(|row| !actual.contains(row)));
        let differing: Vec<&String> = differing.take(10).collect();
        ensure!(
            actual == expected,
            "{} differs, for example in {differing:?}",
            result.table.name
        );
    }
    Ok(rejected)
}

/// Bytes that are kept of a dead letter's key, and of its value.
const KEPT: usize = 4096;

/// Demands that these are the dead letters, each with its reason and its bytes. A record of the lake has no key.
fn demand_rejected(database: &Database, schema: &str, expected: &[Rejected]) -> Result<()> {
    let actual = database.rows(&format!(
        "SELECT topic, partition, \"offset\", reason, key, value, object FROM {schema}.rejects \
         ORDER BY topic COLLATE \"C\", partition, \"offset\""
    ))?;
    let hex = |bytes: &[u8]| -> String {
        let digits = bytes.iter().take(KEPT).map(|byte| format!("{byte:02x}"));
        format!("\\x{}", digits.collect::<String>())
    };
    let mut expected: Vec<&Rejected> = expected.iter().collect();
    expected.sort_by_key(|rejected| (&rejected.topic, rejected.partition, rejected.offset));
    let count = (actual.len(), expected.len());
    ensure!(count.0 == count.1, "{} dead letters instead of {}", count.0, count.1);
    for (actual, expected) in actual.iter().zip(expected) {
        let from_lake = actual[6].is_some();
        let wanted = [
            Some(expected.topic.clone()),
            Some(expected.partition.to_string()),
            Some(expected.offset.to_string()),
            Some(expected.reason.clone()),
            (!from_lake).then(|| hex(&expected.key)),
            expected.value.as_deref().map(hex),
        ];
        ensure!(
            actual[..6] == wanted,
            "a dead letter is {actual:?} instead of {wanted:?}"
        );
    }
    Ok(())
}
