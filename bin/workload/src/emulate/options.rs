//! What is to be sent, where to, and how.

use std::path::PathBuf;
use std::time::Duration;

/// An interface by which records are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// One object a request to `/pin/`, `/geo/` or `/user/`: the FastAPI era.
    Pin,
    /// Kafka REST Proxy v2: `/topics/{topic}`.
    Rest,
    /// Kinesis behind API Gateway: `/streams/{stream}/record`.
    Kinesis,
    /// Kafka's own protocol.
    Kafka,
}

/// Where records come from. It has no debug form: connection strings hold passwords.
#[derive(Clone)]
pub enum Source {
    /// The generator.
    Synthetic,
    /// The three tables in MySQL or MariaDB: `mysql://user:password@host:port/database`.
    MySql(String),
    /// The three tables in PostgreSQL: a connection string.
    Postgres(String),
    /// The three tables as files.
    Folder(PathBuf),
}

/// Options of `emulate::run`. They have no debug form: sources and properties hold passwords.
#[derive(Clone)]
pub struct EmulateOptions {
    /// A URL, or bootstrap servers for [`Api::Kafka`].
    pub to: String,
    /// How records are sent: each post by one of these, at least one; [`Api::Kafka`] only alone.
    pub apis: Vec<Api>,
    /// Where they come from.
    pub source: Source,
    /// The topic (or stream) of each kind; kinds without one are not sent.
    pub topics: [Option<String>; 3],
    /// Posts, rows of each table, or rounds of the classic emulator; `None`: until the source ends.
    pub posts: Option<u64>,
    /// Take no new record after this long.
    pub duration: Option<Duration>,
    /// Records a second; 0: as many as are taken.
    pub rate: u64,
    /// Where the synthetic stream begins.
    pub first_post: u64,
    /// Of the generator, or of Python's random numbers.
    pub seed: u64,
    /// Synthetic records sent again per record.
    pub duplicates: f64,
    /// Share of synthetic records in odd forms.
    pub dirty: f64,
    /// Deletes per synthetic record.
    pub deletes: f64,
    /// Rows by Python's random numbers.
    pub classic: bool,
    /// Dates with a `T`, as `.isoformat()` writes them.
    pub iso_dates: bool,
    /// Requests on their way at the same time, at least 1.
    pub connections: usize,
    /// How long one record is tried.
    pub patience: Duration,
    /// The bearer token's file.
    pub token_file: Option<PathBuf>,
    /// Certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Write the final counts here too.
    pub summary: Option<PathBuf>,
    /// librdkafka properties, for [`Api::Kafka`].
    pub properties: Vec<(String, String)>,
}
