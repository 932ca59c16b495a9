//! The tables beside the log, by the program's own `verify`.

use crate::{Kafka, LakeFolder, Pinflow, Postgres};
use anyhow::{Context, Result};
use std::time::Duration;

/// A verification takes at most this long.
const VERDICT: Duration = Duration::from_secs(60);

/// Demands that `verify` and `verify --replay` find nothing in the schema `pinflow`.
pub fn verify_tables(lake: Option<&LakeFolder>, kafka: &Kafka, postgres: &Postgres) -> Result<()> {
    verify_schema("pinflow", lake, kafka, postgres)
}

/// The same of any schema.
pub fn verify_schema(schema: &str, lake: Option<&LakeFolder>, kafka: &Kafka, postgres: &Postgres) -> Result<()> {
    let plain = Pinflow::new("verify").postgres(postgres).args(["--schema", schema]);
    plain.succeed(VERDICT).context("verify")?;
    let replay = plain.args(["--replay"]).kafka(kafka);
    let replay = lake.into_iter().fold(replay, |replay, lake| replay.lake(lake));
    replay.succeed(VERDICT).context("verify --replay")?;
    Ok(())
}
