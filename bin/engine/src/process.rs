//! What the workers and the coordinator of one process share: the life of the run, its readers, and what it shows of
//! itself.

use super::error::EngineError;
use super::handle::Handle;
use super::profile::Profile;
use ingest::lake::LakeState;
use ingest::{Offset, Partition};
use operators::Row;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use timely::scheduling::SyncActivator;

/// What a committed transaction holds.
#[derive(Debug)]
pub struct Commit<'a> {
    /// Its number, counted over the life of the schema; 0 where files are written instead of tables.
    pub number: i64,
    /// Whether `results` holds all rows instead of changes, as the first commit of a run does.
    pub full_snapshot: bool,
    /// Per topic and partition the first offset that the tables do not contain, in the order of topics and partitions.
    pub frontier: &'a [(&'a str, Partition, Offset)],
    /// Per result, in the order of [`dataflows::Results::definitions`], net: rows that went (-1) and came (+1), at most
    /// one of each for a primary key.
    pub results: Vec<Vec<(Row, isize)>>,
}

/// Where records come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// Objects of the lake.
    Lake,
    /// Batches of Kafka.
    Kafka,
}

/// What a reader waits for while history is replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wait {
    /// The next bytes of objects that it was assigned.
    Lake,
    /// Room in the staging of the sink.
    Staging,
}

/// Where a partition stands after a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The first offset that the tables do not contain.
    pub next: Offset,
    /// The timestamp of the last record from Kafka below, in milliseconds since 1970, if it is known.
    pub newest: Option<i64>,
}

/// What a run shows while it runs: metrics, progress, health. Every method has an empty default.
///
/// Methods are called by the threads that do the work, once for each object, batch or commit: they have to be cheap and
/// must not wait.
pub trait Observer: Send + Sync {
    /// The fence was taken: a run with a smaller one commits nothing any more. The tables are at this commit.
    fn claimed(&self, _fence: i64, _commit: i64) {}
    /// History to read has been found.
    fn history(&self, _objects: u64, _bytes: u64) {}
    /// An object has been read; `bytes` as it is stored.
    fn object(&self, _records: u64, _bytes: u64, _rejected: u64) {}
    /// An object of the lake, or a batch of Kafka, was fetched.
    fn fetched(&self, _from: Source, _took: Duration) {}
    /// A chunk of an object, or a batch of Kafka, was decoded.
    fn decoded(&self, _from: Source, _took: Duration) {}
    /// So many records of a topic were read.
    fn read(&self, _topic: &str, _from: Source, _records: u64) {}
    /// What a worker's reader waits for from now on; `None` when it reads, or has nothing to read.
    fn waits(&self, _worker: usize, _on: Option<Wait>) {}
    /// The lake covers a partition up to this offset.
    fn lake_end(&self, _topic: &str, _partition: Partition, _end: Offset) {}
    /// Kafka holds these offsets of a partition.
    fn kafka(&self, _topic: &str, _partition: Partition, _held: Range<Offset>) {}
    /// A request for offsets was answered by Kafka within this time.
    fn round_trip(&self, _took: Duration) {}
    /// Epoch 0 is committed.
    fn hydrated(&self) {}
    /// A commit begins.
    fn committing(&self) {}
    /// A commit took this long; its number, 0 where files are written instead of tables.
    fn committed(&self, _number: i64, _took: Duration) {}
    /// What a commit holds, after everything else about it was reported. The next epoch waits for this to return.
    fn persisted(&self, _commit: Commit<'_>) {}
    /// A live commit took in so many records.
    fn live_records(&self, _records: u64) {}
    /// A live commit took out or put in so many rows of a result.
    fn result_rows(&self, _result: &str, _rows: u64) {}
    /// How far apart live commits are at least, as things are.
    fn pace(&self, _pace: Duration) {}
    /// How long ago the oldest record of a commit was written to Kafka when the commit was acknowledged.
    fn freshness(&self, _age: Duration) {}
    /// The committed frontier of a partition.
    fn frontier(&self, _topic: &str, _partition: Partition, _reached: Reached) {}
    /// How far behind Kafka's end a partition is.
    fn lag(&self, _topic: &str, _partition: Partition, _records: i64) {}
    /// Records were rejected.
    fn dead_letters(&self, _reason: &str, _count: u64) {}
    /// Dead letters were dropped, since their table has limits.
    fn dead_letters_dropped(&self, _count: u64) {}
    /// Offsets that are in accepted gaps.
    fn gaps(&self, _offsets: i64) {}
    /// The lake cannot be used, or can be again.
    fn lake(&self, _state: &LakeState) {}
    /// Whether a topic is absent from the lake and from Kafka alike.
    fn absent(&self, _topics: usize) {}
    /// Where to report what operators take, if anybody asks for it: noting it costs a little.
    fn profile(&self) -> Option<Arc<Profile>> {
        None
    }
}

/// Shared by everything in one process.
pub struct ProcessState {
    /// Worker threads of this process.
    pub threads: usize,
    /// What shows the run.
    pub observer: Arc<dyn Observer>,
    /// The life of the run.
    pub(crate) handle: Handle,
    readers: Mutex<Vec<SyncActivator>>,
}

impl ProcessState {
    /// The state of a process with this many worker threads.
    pub fn new(threads: usize, observer: Arc<dyn Observer>, handle: Handle) -> ProcessState {
        ProcessState {
            threads,
            observer,
            handle,
            readers: Mutex::new(Vec::new()),
        }
    }

    /// Registers a reader to be given a turn by [`ProcessState::wake_readers`].
    pub fn register_reader(&self, reader: SyncActivator) {
        self.readers
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .push(reader);
    }

    /// Gives every reader of the process a turn.
    pub fn wake_readers(&self) {
        for reader in self
            .readers
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .iter()
        {
            let _ = reader.activate();
        }
    }

    /// Gives the readers a turn when the run is asked to stop: the coordinator hears of it through the dataflow.
    pub async fn wake_readers_to_stop(&self) {
        self.handle.stopping().await;
        self.wake_readers();
    }

    /// Returns when `grace` has passed since a stop was asked for, or since the call if it was asked for before.
    pub async fn stopped_for(&self, grace: Duration) {
        self.handle.stopping().await;
        tokio::time::sleep(grace).await;
    }

    /// What comes of `work`, unless the process is asked to stop first: for what takes its time before anything is
    /// committed.
    pub async fn unless_stopped<T>(
        &self,
        work: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        tokio::select! {
            done = work => done,
            () = self.handle.stopping() => Err(EngineError::Stopped),
        }
    }
}
