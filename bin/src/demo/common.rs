//! What the parts of the demo share: names, limits, and how the tables are asked.

use anyhow::{Context, Result};
use std::time::Duration;
use tokio_postgres::{Client, NoTls};

/// The topics, by the kinds' numbers.
pub(super) const TOPICS: [&str; 3] = ["pin", "geo", "user"];
/// The bucket of the lake.
pub(super) const BUCKET: &str = "demo";
/// The folder of the lake in it.
pub(super) const PREFIX: &str = "topics";
/// How long any step may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
/// Records sent again per record, in the history and live.
pub(super) const DUPLICATES: f64 = 0.053;

/// Live records in odd forms; some of them become dead letters.
pub(super) const DIRTY: f64 = 0.02;

/// Tells the user what happens.
pub(super) fn say(text: &str) {
    println!("demo: {text}");
}

/// A connection to the database of the demo.
pub(super) async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .context("connecting to PostgreSQL")?;
    tokio::spawn(connection);
    Ok(client)
}

/// The committed frontier of the three topics; 0 before the first commit.
pub(super) async fn frontier(client: &Client) -> Result<[i64; 3]> {
    let mut reached = [0; 3];
    let exists = client
        .query_one("SELECT to_regclass('pinflow.frontier') IS NOT NULL", &[])
        .await?;
    if exists.get::<_, bool>(0) {
        for row in client
            .query(
                "SELECT topic, next_offset FROM pinflow.frontier WHERE partition = 0",
                &[],
            )
            .await?
        {
            let topic: String = row.get(0);
            if let Some(kind) = TOPICS.iter().position(|name| *name == topic) {
                reached[kind] = row.get(1);
            }
        }
    }
    Ok(reached)
}

/// Flags and their values as arguments of a command.
pub(super) fn flags<const N: usize>(flags: [(&str, String); N]) -> Vec<String> {
    flags
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect()
}
