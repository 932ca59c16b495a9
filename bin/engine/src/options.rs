//! What a run is given, checked.

use crate::frontier::Frontier;
use crate::topics::Topics;
use dataflows::Results;
use ingest::coverage::AcceptGap;
use ingest::kafka::KafkaConfig;
use ingest::lake::{FetchOptions, Lake, LakeError, LakeObserver, LakeOptions, LakeUrl};
use sinks::PostgresConfig;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Everything that a run needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it ends.
    pub mode: Mode,
    /// What it reads.
    pub log: LogOptions,
    /// What it computes.
    pub tables: TableOptions,
    /// Where it writes.
    pub sink: SinkOptions,
    /// Which topics were named by the user: they have to exist.
    pub topics_named: [bool; 3],
    /// Topics that were named need not exist.
    pub allow_missing_topic: bool,
    /// Tables of other topics are made those of the topics that are named now.
    pub replace_topics: bool,
    /// Gaps of the log that are accepted.
    pub accept_gaps: Vec<AcceptGap>,
    /// Threads and processes.
    pub workers: Workers,
}

impl Options {
    /// Whether the run ends with history.
    pub fn is_backfill(&self) -> bool {
        matches!(self.mode, Mode::Backfill { .. })
    }
}

/// Where a run ends.
#[derive(Clone, Debug)]
pub enum Mode {
    /// Not before it is stopped: live records follow history.
    Run {
        /// The least time between two live commits.
        pace: Duration,
    },
    /// With history.
    Backfill {
        /// Stop here; none: at the end of what is there.
        upto: Option<Frontier>,
        /// Take the schema from a live run.
        takeover: bool,
    },
}

/// The log, and how it is read.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// History.
    pub lake: Option<LakeSource>,
    /// Live records, and history that the lake lacks.
    pub kafka: Option<KafkaSource>,
    /// The topics; at least one is there.
    pub topics: Topics,
    /// When a record is too large or too deep.
    pub limits: dataflows::Limits,
    /// An object that stays unreadable becomes a gap.
    pub skip_unreadable: bool,
}

impl LogOptions {
    /// How objects of the lake are read.
    pub fn fetch(&self) -> FetchOptions {
        // a chunk is decoded while it is still in the processor's cache
        let chunk_bytes = 256 << 10;
        // a wrapped line is longer than the value that it stands for
        let max_record_bytes = ingest::lake::longest_line(self.limits.record_bytes);
        let mut options = FetchOptions {
            chunk_bytes,
            max_record_bytes,
            // what is skipped leaves nothing behind
            prove_first: self.skip_unreadable,
            ..FetchOptions::default()
        };
        if let Some(lake) = &self.lake {
            options.objects_in_flight = lake.objects_in_flight;
            let chunks = lake.buffer_bytes / options.chunk_bytes;
            options.chunks = match lake.url {
                // few enough to stay in the processors' shared cache, and so many that the reader sleeps seldom: it
                // wakes when half of them are free
                LakeUrl::File(_) => chunks.min(FOLDER_CHUNKS),
                LakeUrl::S3 { .. } => chunks,
            }
            .max(2);
        }
        options
    }
}

/// Chunks of a folder that are in memory at once, at most.
const FOLDER_CHUNKS: usize = 16;

/// A lake, and how much of it is read at a time.
#[derive(Clone, Debug)]
pub struct LakeSource {
    /// Where it is.
    pub url: LakeUrl,
    /// How it is reached.
    pub options: LakeOptions,
    /// Objects read at the same time, at least 1.
    pub objects_in_flight: usize,
    /// Bytes of objects in memory at most.
    pub buffer_bytes: usize,
}

impl LakeSource {
    /// Prepares to read; `observer` is notified when the lake is unavailable.
    ///
    /// # Errors
    /// The folder of a `file://` lake cannot be read.
    pub async fn open(&self, observer: Option<LakeObserver>) -> Result<Lake, LakeError> {
        let options = LakeOptions {
            observer,
            ..self.options.clone()
        };
        Lake::open(self.url.clone(), options).await
    }
}

/// A Kafka cluster, and how much of it waits in memory.
#[derive(Clone, Debug)]
pub struct KafkaSource {
    /// Where it is and how it is reached.
    pub config: KafkaConfig,
    /// Bytes of records that wait for the workers of a process at most.
    pub buffer_bytes: usize,
}

/// What the tables are.
#[derive(Clone, Debug)]
pub struct TableOptions {
    /// The results, compiled.
    pub results: Arc<Results>,
    /// Rows kept of each ranked group; 0 = all.
    pub top: usize,
    /// Whether cleaned tables are kept.
    pub cleaned: bool,
    /// Results whose tables are dropped, when the schema holds them and they are not as defined.
    pub drop: Vec<String>,
}

impl TableOptions {
    /// The tables as the sinks take them, computed from records within `limits`.
    pub fn definition(&self, limits: &dataflows::Limits) -> sinks::Definition {
        let results = self.results.definitions().iter();
        sinks::Definition {
            results: results.map(|result| (result.table, result.sql.clone())).collect(),
            cleaned: dataflows::CLEANED.to_vec(),
            hash: self.results.hash(limits),
            keep_cleaned: self.cleaned,
            drop: self.drop.clone(),
        }
    }
}

/// Where answers go.
#[derive(Clone, Debug)]
pub enum SinkOptions {
    /// Tables.
    Postgres(PostgresConfig),
    /// One CSV file per result in this folder.
    Files(PathBuf),
}

/// How the dataflow is spread over threads and processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workers {
    /// Worker threads in each process, at least 1.
    pub threads: usize,
    /// Processes in all, at least 1.
    pub processes: usize,
    /// Which of them this one is, from 0.
    pub process: usize,
    /// host:port of each process; as many as there are processes.
    pub addresses: Vec<String>,
    /// How long a process may be silent.
    pub peer_timeout: Duration,
}

impl Workers {
    /// Workers in all processes together.
    pub fn peers(&self) -> usize {
        self.threads * self.processes
    }
}
