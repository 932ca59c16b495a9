//! What the demo prints at its end: each table in a line, and how fresh they were.

use super::common::say;
use crate::status::grouped;
use anyhow::Result;
use dataflows::{Options, Results};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio_postgres::Client;

/// A line for every result table: how many rows it has, and the first of them, where there are ranks the first with the
/// best one.
pub(super) fn print_tables(runtime: &Runtime, client: &Client) -> Result<()> {
    let mut lines = Vec::new();
    for result in Results::built_in(&Options::default()).definitions() {
        let table = result.table;
        let count: i64 = runtime
            .block_on(client.query_one(&format!("SELECT count(*) FROM pinflow.{}", table.name), &[]))?
            .get(0);
        let order = (1..=table.key).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
        let columns: Vec<String> = table
            .columns
            .iter()
            .map(|column| format!("{}::text", column.name))
            .collect();
        let ranked = table.columns.iter().any(|column| column.name == "rank");
        let only = if ranked { " WHERE rank = 1" } else { "" };
        let sql = format!(
            "SELECT {} FROM pinflow.{}{only} ORDER BY {order} LIMIT 1",
            columns.join(", "),
            table.name
        );
        let first = runtime.block_on(client.query_opt(&sql, &[]))?;
        let first: Vec<String> = first.map_or(Vec::new(), |row| {
            let value = |n: usize| row.get::<_, Option<String>>(n).unwrap_or_default();
            (0..row.len()).map(value).collect()
        });
        lines.push((table.name, grouped(count), first.join(" | ")));
    }
    let names = lines.iter().map(|(name, ..)| name.len()).max().unwrap_or(0);
    let counts = lines.iter().map(|(_, count, _)| count.len()).max().unwrap_or(0);
    for (name, count, first) in lines {
        println!("  {name:<names$}  {count:>counts$} rows, first: {first}");
    }
    Ok(())
}

/// How long records took from the request to the tables.
pub(super) fn print_freshness(mut seen: Vec<Duration>, rate: u64) {
    if seen.is_empty() {
        return;
    }
    seen.sort_unstable();
    let at = |share: f64| seen[((seen.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    say(&format!(
        "freshness at {rate} records/s, from the request to the gateway until visible in all tables: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms ({} probes)",
        at(0.5),
        at(0.99),
        at(1.0),
        seen.len()
    ));
}
