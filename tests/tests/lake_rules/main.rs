//! Rules about what a lake holds and how it behaves, each played on the real program and real servers, and each broken
//! once before: a test bears the name of the rule that it protects.

mod legacy;
mod originals;
mod outage;
mod start;
mod upgrade;

use anyhow::{Result, ensure};
use pinflow_tests::{Database, LakeFolder, Pinflow, Postgres};
use serde_json::{Value, json};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
/// Pins alone.
const PINS: [&str; 2] = ["--topics", "pin=pin"];

fn pin(index: i64, category: &str) -> Value {
    json!({
        "index": index, "unique_id": format!("u{index}"), "title": "t", "description": "d",
        "poster_name": format!("p{index}"), "follower_count": "12k", "tag_list": "a", "is_image_or_video": "image",
        "image_src": "s", "downloaded": 1, "save_location": "Local save in /data/art", "category": category,
    })
}

fn backfill(lake: &LakeFolder, postgres: &Postgres, schema: &str) -> Pinflow {
    let backfill = Pinflow::new("backfill").lake(lake).postgres(postgres);
    backfill.args(PINS).args(["--schema", schema])
}

/// The rows of a query in a schema, columns separated by blanks.
fn rows(postgres: &Postgres, schema: &str, sql: &str) -> Result<Vec<String>> {
    let database = Database::connect(&postgres.url())?;
    database.run(&format!("SET search_path TO {schema}"))?;
    let text = |value: Option<String>| value.unwrap_or_else(|| "null".to_owned());
    let rows = database.rows(sql)?.into_iter();
    Ok(rows
        .map(|row| row.into_iter().map(text).collect::<Vec<_>>().join(" "))
        .collect())
}

/// Demands that `verify` and `verify --replay` of pins find nothing; `log` gives the command what it reads.
fn agrees(postgres: &Postgres, schema: &str, log: impl Fn(Pinflow) -> Pinflow) -> Result<()> {
    let verify = Pinflow::new("verify").postgres(postgres);
    let verify = log(verify.args(PINS).args(["--schema", schema]));
    verify.succeed(SOON)?;
    verify.args(["--replay"]).succeed(SOON)?;
    Ok(())
}

fn demand_rows(postgres: &Postgres, schema: &str, sql: &str, wanted: &[&str]) -> Result<()> {
    let found = rows(postgres, schema, sql)?;
    ensure!(found == wanted, "{sql}: {found:?}, not {wanted:?}");
    Ok(())
}
