//! Checked settings of `export`.

use super::archive::LEAST_PART_BYTES;
use super::forms::{check_target_url, parse_duration};
use super::layers::Effective;
use super::problem::{ConfigError, did_you_mean, nearest};
use super::reader::Reader;
use super::sources::LakeWait;
use ingest::lake::{LakeOptions, LakeUrl};
use sinks::PostgresConfig;
use std::time::Duration;

/// The formats of an export.
const FORMATS: [&str; 1] = ["parquet"];

/// What `export` needs.
#[derive(Clone, Debug)]
pub struct ExportSettings {
    /// Where the tables are.
    pub postgres: PostgresConfig,
    /// Where the files go.
    pub to: LakeUrl,
    /// How that is reached.
    pub to_options: LakeOptions,
    /// Files in S3 are uploaded in parts of this size.
    pub part_bytes: usize,
    /// How long the files of a replaced export stay.
    pub keep: Duration,
}

impl ExportSettings {
    /// Checks the settings of `export`.
    pub fn check(effective: &Effective) -> Result<ExportSettings, ConfigError> {
        let mut reader = Reader::new(effective);
        let to_options = reader.lake_options(LakeWait::AsConfigured);
        let to = reader.optional("export.to", check_target_url);
        let to = reader.need(
            "export.to",
            to,
            "`export` needs --to URL, the folder to write: file:///dir or s3://bucket/prefix".into(),
        );
        reader.optional("export.format", check_format);
        let part_bytes = reader.whole("archive.s3.part.size", LEAST_PART_BYTES, 5 << 30) as usize;
        let keep = reader.optional("export.keep", parse_duration).unwrap_or_default();
        let postgres = reader.needed_postgres("export");
        if !reader.choice("postgres.cleaned", ["postgres", "off"]) {
            reader.missing("with --cleaned off there are no cleaned tables to export".into());
        }
        let (Some(postgres), Some(to)) = (postgres, to) else {
            return reader.refuse();
        };
        reader.done(ExportSettings {
            postgres,
            to,
            to_options,
            part_bytes,
            keep,
        })
    }
}

fn check_format(text: &str) -> Result<(), String> {
    if FORMATS.contains(&text) {
        return Ok(());
    }
    let hint = did_you_mean(nearest(text, FORMATS));
    Err(format!(
        "unknown format `{text}`: expected {}{hint}",
        FORMATS.join(", ")
    ))
}
