//! The cleaned tables as Parquet files, all of one commit, for readers such as DuckDB and Spark.
//!
//! ```text
//!  PostgreSQL ── one snapshot ──▶ rows ──▶ row groups ──▶ commit-…/pin_table.parquet ─┐
//!                    │           (table)   (columns, file)          geo_table, user_table
//!                    └── commit, frontier ───────────────────────▶ manifest.json ◀────┘ last
//! ```
//!
//! An export writes a folder of its own, one file for each table, and then the manifest, which names them. Readers begin
//! with the manifest, so they see the earlier export or the new one, whole, whatever happens to its writer. Files are
//! never changed; those of an export that was replaced stay for a while, for readers that have begun.
//!
//! | module | does |
//! |---|---|
//! | `schema` | how columns of tables are stored |
//! | `columns` | the rows of a row group, column by column |
//! | `file` | one Parquet file |
//! | `table` | one table from Postgres to the target |
//! | `manifest` | what was exported, as readers find it |
//! | `target` | the folder or bucket: its manifest, and who may replace it |
//! | `retention` | removes files that no manifest names any more |

#![forbid(unsafe_code)]

mod columns;
mod error;
mod file;
mod manifest;
mod options;
mod retention;
mod schema;
mod table;
mod target;

pub use error::ExportError;
pub use manifest::{Manifest, TableFile};
pub use options::Options;

use dataflows::CLEANED;
use futures_util::FutureExt;
use manifest::MANIFEST;
use sinks::{Reader, Snapshot};
use std::collections::BTreeMap;
use std::fmt;
use table::{Stop, TableWriter};
use target::{Published, Target};
use tokio::sync::watch;

/// How an export ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exported {
    /// The manifest names it.
    Published {
        /// The target.
        url: String,
        /// What the manifest says.
        manifest: Manifest,
    },
    /// Another export that ran at the same time has published the same commit or a later one, which stays.
    Superseded {
        /// The target.
        url: String,
        /// The commit of this export.
        ours: i64,
        /// The commit of the other one.
        theirs: i64,
    },
}

impl fmt::Display for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exported::Published { url, manifest } => {
                for (table, file) in &manifest.tables {
                    writeln!(f, "{table}: {} rows, {} bytes", file.rows, file.bytes)?;
                }
                writeln!(f, "exported commit {}: {url}/{MANIFEST}", manifest.commit)
            }
            Exported::Superseded { url, ours, theirs } => writeln!(
                f,
                "another export has published commit {theirs} meanwhile: {url}/{MANIFEST}; this one was of commit {ours}"
            ),
        }
    }
}

/// Exports the cleaned tables. `true` in `stop` ends it with [`ExportError::Stopped`].
///
/// # Errors
/// What stood at the target stays, and what this export has written is removed as far as the target lets it. Where the
/// manifest was written and the answer was lost for good, it may stand, with its files.
pub fn run(options: &Options, stop: watch::Receiver<bool>) -> Result<Exported, ExportError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|source| ExportError::Start { source })?;
    runtime.block_on(export(options, stop))
}

async fn export(options: &Options, mut stop: watch::Receiver<bool>) -> Result<Exported, ExportError> {
    let schema = &options.postgres.schema;
    let target = Target::open(options).await?;
    // before the snapshot: whatever is published after this may be of a later commit
    let standing = target.standing(schema).await?;
    let snapshot = Reader::connect(&options.postgres).await?.snapshot().await?;
    let progress = snapshot.progress();
    if progress.commits == 0 {
        return Err(ExportError::NoCommit { schema: schema.clone() });
    }
    if !progress.keeps_cleaned() {
        return Err(ExportError::NotKept { schema: schema.clone() });
    }
    let mut manifest = Manifest::new(schema, progress);
    let stopped = async move {
        if stop.wait_for(|stopped| *stopped).await.is_err() {
            // no signal can arrive any more
            std::future::pending::<()>().await;
        }
    };
    let stopped = stopped.boxed().shared();
    let written = tables(&target, &snapshot, &manifest, stopped).await;
    // a snapshot keeps old rows from being cleared away
    drop(snapshot);
    manifest.tables = match written {
        Ok(tables) => tables,
        Err(error) => {
            target.discard(&manifest.folder).await;
            return Err(error);
        }
    };
    // after an error the files stay: the manifest may stand, and readers may have found them
    match target.publish(&manifest, standing).await? {
        Published::Ours { replaced } => {
            retention::clean(&target, &manifest, replaced.as_deref(), options.keep).await;
            let url = target.url();
            Ok(Exported::Published { url, manifest })
        }
        Published::Theirs { commit, may_have_stood } => {
            if !may_have_stood {
                target.discard(&manifest.folder).await;
            }
            Ok(Exported::Superseded {
                url: target.url(),
                ours: manifest.commit,
                theirs: commit,
            })
        }
    }
}

/// Writes all tables of the snapshot.
async fn tables(
    target: &Target,
    snapshot: &Snapshot,
    manifest: &Manifest,
    stop: Stop,
) -> Result<BTreeMap<String, TableFile>, ExportError> {
    let mut files = BTreeMap::new();
    for table in &CLEANED {
        let writer = TableWriter {
            target,
            snapshot,
            manifest,
            table,
        };
        let file = writer.write(stop.clone()).await?;
        tracing::info!("{}: {} rows, {} bytes", table.name, file.rows, file.bytes);
        files.insert(table.name.to_owned(), file);
    }
    Ok(files)
}
