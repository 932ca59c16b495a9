//! Real servers, the real program and an auditor: what the scenarios in `tests/` are made of.
//!
//! Nothing here is a model of anything: [`Kafka`] is Apache Kafka in a JVM, [`Postgres`] a PostgreSQL cluster,
//! [`S3Server`] speaks S3 over HTTP, [`Program`] runs the `pinflow` binary. All of them listen on 127.0.0.1, have
//! directories of their own, and are gone when the test is over, however it ends; brokers and clusters that the test has
//! not stopped are emptied and used by the next one, and end with the program.
//!
//! Everything is synchronous and fails with `anyhow`: a scenario reads from top to bottom.

pub mod answer;
pub mod api_client;
pub mod archived;
pub mod background_load;
pub mod browser;
#[cfg(test)]
mod byte_fuzz;
pub mod case;
pub mod chance;
pub mod clients;
pub mod fuzz;
pub mod iam_proxy;
pub mod kafka;
pub mod kinesis;
pub mod lake;
mod listen;
pub mod log_image;
pub mod mariadb;
pub mod need;
pub mod parquet_rows;
pub mod plain;
pub mod pool;
pub mod postgres;
pub mod postgres_proxy;
pub mod produce;
pub mod program;
pub mod queries;
pub mod receiver;
pub mod relay;
pub mod sample;
pub mod seed;
pub mod snapshot_check;
pub mod sql;
pub mod tables;
pub mod uploads;
pub mod verify;
mod versions;
pub mod watchdog;
pub mod workload;

#[cfg(test)]
mod tests;

pub use background_load::BackgroundLoad;
pub use browser::Browser;
pub use chance::Chance;
pub use iam_proxy::IamProxy;
pub use kafka::Kafka;
pub use kinesis::{Kinesis, KinesisFault, KinesisFront};
pub use lake::LakeFolder;
pub use mariadb::MariaDb;
pub use postgres::{Postgres, postgres};
pub use postgres_proxy::{Cut, PostgresProxy};
pub use produce::{Message, Producer};
pub use program::{Pinflow, Program};
pub use receiver::{ReceivedRequest, Receiver, Reply};
pub use relay::Relay;
pub use seed::seed;
pub use servers::s3::{Fault, Seen};
pub use servers::{Broker, PostgresOptions, S3Server};
pub use snapshot_check::{Auditor, SnapshotChecker};
pub use sql::Database;
pub use tables::Tables;
pub use verify::verify_tables;
pub use versions::long;

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The project's root.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(PathBuf::from)
        .unwrap_or_default()
}

/// All files below a folder.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path())
            } else {
                found.push(entry.path())
            }
        }
    }
    Ok(found)
}

/// The whole answer to a GET of our own program, whose answers are small.
#[expect(clippy::disallowed_methods, reason = "our own small answers")]
pub fn get(address: &str, path: &str) -> Result<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Writes a file that nobody else may read, as one of tokens has to be.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

/// Calls `check` until it is true, at most for `limit`.
pub fn eventually(what: &str, limit: Duration, mut check: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + limit;
    while !check().with_context(|| format!("waiting for {what}"))? {
        if Instant::now() >= deadline {
            bail!("{what} did not happen within {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Drives a future to its end on a runtime of its own.
pub(crate) fn block_on<F: Future>(future: F) -> Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.context("starting a runtime")?.block_on(future))
}
