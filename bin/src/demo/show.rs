//! What the demo prints: the tables' first rows, and how fresh they were.

use super::common::say;
use anyhow::Result;
use dataflows::{Options, Results};
use std::io::IsTerminal;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio_postgres::Client;

/// Rows of a table that are shown.
const SHOWN_ROWS: i64 = 5;

/// The first rows of every result table.
pub(super) fn print_tables(runtime: &Runtime, client: &Client) -> Result<()> {
    let bold = std::io::stdout().is_terminal();
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
            "SELECT {} FROM pinflow.{}{only} ORDER BY {order} LIMIT {SHOWN_ROWS}",
            columns.join(", "),
            table.name
        );
        let rows = runtime.block_on(client.query(&sql, &[]))?;
        let name = if bold {
            format!("\x1b[1m{}\x1b[0m", table.name)
        } else {
            table.name.to_owned()
        };
        println!(
            "\n{name}: {count} rows{}",
            if ranked {
                ", first rows with rank 1:"
            } else {
                ", first rows:"
            }
        );
        let mut lines = vec![
            table
                .columns
                .iter()
                .map(|column| column.name.to_owned())
                .collect::<Vec<_>>(),
        ];
        for row in &rows {
            lines.push(
                (0..row.len())
                    .map(|n| row.get::<_, Option<String>>(n).unwrap_or_default())
                    .collect(),
            );
        }
        print_aligned(&lines);
    }
    println!();
    Ok(())
}

fn print_aligned(lines: &[Vec<String>]) {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..lines.first().map_or(0, Vec::len)).map(width).collect();
    for line in lines {
        let cells: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}", width = *width))
            .collect();
        println!("  {}", cells.join("  ").trim_end());
    }
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
