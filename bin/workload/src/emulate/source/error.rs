//! Why a source of records ended before its end.

use std::io;
use std::path::PathBuf;

/// Why a source of records ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file or folder cannot be used.
    #[error("{action} {}", path.display())]
    File {
        /// What was being done: `listing`, `opening` or `reading`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A line is not UTF-8.
    #[error("reading {}", path.display())]
    Utf8 {
        /// The file.
        path: PathBuf,
        /// Where it is not.
        #[source]
        source: std::str::Utf8Error,
    },
    /// A file is not CSV.
    #[error("reading {}", path.display())]
    Csv {
        /// The file.
        path: PathBuf,
        /// Where it is not.
        #[source]
        source: csv::Error,
    },
    /// The folder has no file of a table.
    #[error(
        "{} holds no {table}*.csv, .jsonl or .json (also .gz); leave the kind out with --topics if that is meant",
        folder.display()
    )]
    NoTable {
        /// The folder.
        folder: PathBuf,
        /// The table.
        table: &'static str,
    },
    /// A line has no bounded length.
    #[error("a line of {} is longer than 8 MiB", path.display())]
    LongLine {
        /// The file.
        path: PathBuf,
    },
    /// The classic emulator chooses from tables in memory, and these do not fit.
    #[error("the tables are too large for --classic, which holds them in memory: at most 1 GiB")]
    TooLarge,
    /// The URL of MySQL cannot be read.
    #[error("reading the URL of MySQL")]
    MySqlUrl(#[source] InvalidMySqlUrl),
    /// MySQL failed.
    #[error("{action}")]
    MySql {
        /// What was being done, with its object.
        action: String,
        /// MySQL's answer.
        #[source]
        source: mysql_async::Error,
    },
    /// PostgreSQL cannot be reached.
    #[error("connecting to the source")]
    Connect(#[source] sinks::SinkError),
    /// PostgreSQL failed.
    #[error("{action}")]
    Postgres {
        /// What was being done, with its object.
        action: String,
        /// PostgreSQL's answer.
        #[source]
        source: sinks::PostgresError,
    },
    /// The thread that reads or makes records ended by a panic.
    #[error("{thread} panicked")]
    Panicked {
        /// Which thread.
        thread: &'static str,
        /// How it ended.
        #[source]
        source: tokio::task::JoinError,
    },
}

/// A URL of MySQL that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct InvalidMySqlUrl(#[from] mysql_async::UrlError);

/// Names the action that failed: `result.map_err(mysql("connecting"))`.
pub(super) fn mysql(action: impl Into<String>) -> impl FnOnce(mysql_async::Error) -> SourceError {
    let action = action.into();
    move |source| SourceError::MySql { action, source }
}

/// Names the action that failed.
pub(super) fn postgres(action: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> SourceError {
    let action = action.into();
    move |error| SourceError::Postgres {
        action,
        source: error.into(),
    }
}

/// Names the action that failed and its file.
pub(super) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> SourceError {
    let path = path.into();
    move |source| SourceError::File { action, path, source }
}
