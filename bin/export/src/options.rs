//! What an export is given.

use ingest::lake::{LakeOptions, LakeUrl};
use sinks::PostgresConfig;
use std::time::Duration;

/// What an export is given.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the tables are.
    pub postgres: PostgresConfig,
    /// Where the files go: a folder of its own.
    pub to: LakeUrl,
    /// How that is reached.
    pub to_options: LakeOptions,
    /// Files in S3 are uploaded in parts of this size.
    pub part_bytes: usize,
    /// How long the files of a replaced export stay.
    pub keep: Duration,
}
