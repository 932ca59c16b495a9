//! What the workers, the coordinator and the signal handlers of one process share: how it is asked to stop, how it
//! ended, and what it shows of itself.

use super::profile::Profile;
use super::protocol::Ending;
use ingest::lake::LakeState;
use operators::Row;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use timely::scheduling::SyncActivator;
use tokio::sync::Notify;

/// What a committed transaction holds.
#[derive(Debug)]
pub struct Commit<'a> {
    /// Its number, counted over the life of the schema; 0 where files are written instead of tables.
    pub number: i64,
    /// Whether `results` holds all rows instead of changes, as the first commit of a run does.
    pub full_snapshot: bool,
    /// Per topic and partition the first offset that the tables do not contain, in the order of topics and partitions.
    pub frontier: &'a [(&'a str, i32, i64)],
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
    pub next: i64,
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
    /// What a worker's reader waits for from now on; `None` when it reads, or has nothing to read.
    fn waits(&self, _worker: usize, _on: Option<Wait>) {}
    /// The lake covers a partition up to this offset.
    fn lake_end(&self, _topic: &str, _partition: i32, _end: i64) {}
    /// Kafka holds these offsets of a partition.
    fn kafka(&self, _topic: &str, _partition: i32, _held: Range<i64>) {}
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
    fn frontier(&self, _topic: &str, _partition: i32, _reached: Reached) {}
    /// How far behind Kafka's end a partition is.
    fn lag(&self, _topic: &str, _partition: i32, _records: i64) {}
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
    /// Set when the process has been asked to stop.
    pub stop: AtomicBool,
    /// What shows the run.
    pub observer: Arc<dyn Observer>,
    stopped: Notify,
    ending: Mutex<Option<Ending>>,
    finished: AtomicBool,
    joined: AtomicBool,
    readers: Mutex<Vec<SyncActivator>>,
}

impl ProcessState {
    /// The state of a process with this many worker threads.
    pub fn new(threads: usize, observer: Arc<dyn Observer>) -> ProcessState {
        ProcessState {
            threads,
            stop: AtomicBool::new(false),
            observer,
            stopped: Notify::new(),
            ending: Mutex::new(None),
            finished: AtomicBool::new(false),
            joined: AtomicBool::new(false),
            readers: Mutex::new(Vec::new()),
        }
    }

    /// Registers a reader to be woken when the process is asked to stop.
    pub fn on_stop(&self, reader: SyncActivator) {
        self.readers
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .push(reader);
    }

    /// Asks the process to stop: the coordinator hears of it through the dataflow.
    pub fn request_stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.stopped.notify_waiters();
        self.wake_readers();
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

    /// Returns when a stop was asked for and `grace` has passed since.
    pub async fn stopped_for(&self, grace: Duration) {
        let notified = self.stopped.notified();
        if !self.stop.load(Ordering::SeqCst) {
            notified.await;
        }
        tokio::time::sleep(grace).await;
    }

    /// Records how the run has ended; the first report counts.
    pub fn end(&self, ending: Ending) {
        self.finished.store(true, Ordering::SeqCst);
        let mut first = self.ending.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        first.get_or_insert(ending);
    }

    /// How the run has ended, if it has.
    pub fn ending(&self) -> Option<Ending> {
        self.ending
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone()
    }

    /// Every process of the run is there.
    pub fn join(&self) {
        self.joined.store(true, Ordering::SeqCst);
    }

    /// The dataflow is over: what breaks from now on is the ordinary end of connections.
    pub fn finish(&self) {
        self.finished.store(true, Ordering::SeqCst);
    }
}

/// Turns SIGTERM and Ctrl-C into a request to stop; a second one ends the process at once.
pub async fn watch_signals(process: Arc<ProcessState>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::warn!("cannot install signal handlers: the process will end without a last commit");
        return;
    };
    for count in 0.. {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if count > 0 {
            std::process::exit(130);
        }
        tracing::info!("stopping after a last commit");
        process.request_stop();
        if !process.joined.load(Ordering::SeqCst) {
            // it waits for its peers, and has read and written nothing
            std::process::exit(0);
        }
    }
}

static HOOKED: OnceLock<()> = OnceLock::new();

/// Ends the whole process when any thread of the dataflow panics: timely leaves the other workers hanging.
///
/// A panic of a communication thread means that a peer is gone; the message names it. Other threads are left to the hook
/// that was there before.
pub fn install_panic_hook(process: Arc<ProcessState>, addresses: Vec<String>) {
    HOOKED.get_or_init(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let thread = std::thread::current();
            let name = thread.name().unwrap_or_default();
            let peer = name
                .strip_prefix("timely:recv-")
                .or_else(|| name.strip_prefix("timely:send-"));
            if peer.is_some() && process.finished.load(Ordering::SeqCst) {
                // the connection closed after everybody had finished
                return;
            }
            match peer.and_then(|peer| peer.parse::<usize>().ok()) {
                Some(peer) => {
                    let address = addresses.get(peer).map_or("unknown", String::as_str);
                    eprintln!("error: process {peer} ({address}) is gone: all processes end together");
                    std::process::exit(1);
                }
                None if name.starts_with("timely:") || name == "main" => {
                    default(info);
                    std::process::exit(1);
                }
                None => default(info),
            }
        }));
    });
}
