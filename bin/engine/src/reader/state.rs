//! What a reader is given, and what it knows.

use super::placing::Reading;
use super::read_range::ReadRange;
use crate::decode::Decode;
use crate::handle::StopListener;
use crate::log::generations::Generations;
use crate::process::{ProcessState, Wait};
use crate::protocol::{Pass, ReaderReport};
use crate::staging::{Staging, StagingError};
use crate::topics::Topics;
use ingest::TopicPartition;
use ingest::kafka::{KafkaConfig, Reader as KafkaReader};
use ingest::lake::{FetchOptions, Fetcher, Lake};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use timely::scheduling::Activator;

/// What a reader needs to know of its process.
#[derive(Clone)]
pub struct ReaderContext {
    /// The lake, if there is one, and where its fetches run.
    pub lake: Option<(Lake, tokio::runtime::Handle)>,
    /// How objects are fetched.
    pub fetch: FetchOptions,
    /// Kafka, if there is one.
    pub kafka: Option<KafkaConfig>,
    /// Bytes of Kafka records that may wait for this worker.
    pub kafka_queue_bytes: usize,
    /// The names of the topics.
    pub topics: Topics,
    /// Limits of a record.
    pub limits: dataflows::Limits,
    /// What is kept of records.
    pub layout: Arc<dataflows::exec::Layout>,
    /// The staging of this process, if the sink has one.
    pub staging: Option<Staging>,
    /// What is shared with the rest of the process.
    pub process: Arc<ProcessState>,
}

/// What a reader does at present.
pub(super) enum Phase {
    /// No pass has begun, or the run is over.
    Idle,
    /// It reads history and Kafka up to the bound of epoch 0; rows go to staging.
    Hydrating,
    /// It reads nothing, and waits until everything that it has offered is staged. Set when all of it is offered.
    Flushing(Option<Receiver<Result<(), StagingError>>>),
    /// Everything is staged, and epoch 0 has not closed yet.
    Staged,
    /// It reads Kafka; rows go with their epoch.
    Live,
    /// It reads nothing until a generation's boundary is persisted.
    Held,
    /// It cannot go on, and the coordinator knows.
    Broken,
}

/// The reader of a worker.
pub(super) struct Reader {
    pub(super) context: ReaderContext,
    pub(super) wake: Arc<dyn Fn() + Send + Sync>,
    pub(super) again: Activator,
    pub(super) phase: Phase,
    pub(super) pass: Pass,
    pub(super) fetcher: Option<Fetcher>,
    pub(super) kafka: Option<KafkaReader>,
    pub(super) decode: Decode,
    pub(super) reading: HashMap<u32, Reading>,
    pub(super) read_ranges: BTreeMap<TopicPartition, ReadRange>,
    pub(super) generations: Generations,
    pub(super) reports: Vec<ReaderReport>,
    /// Rows per cleaned table, and rejects, offered for staging in this pass.
    pub(super) staged: [u64; 4],
    pub(super) epoch: OpenEpoch,
    /// Where a request to stop comes from, until it is reported: the first reader of a process does that.
    pub(super) stop: Option<StopListener>,
    /// The index of the worker.
    pub(super) worker: usize,
    /// How many there are, in all processes.
    pub(super) workers: usize,
    /// What was shown of what it waits for.
    pub(super) waits: Option<Wait>,
}

/// What the open epoch has taken in.
#[derive(Default)]
pub(super) struct OpenEpoch {
    /// Bytes of its records, while it is a live one.
    pub(super) bytes: usize,
    /// Whether its first record has been reported.
    pub(super) reported_data: bool,
    /// The least timestamp of its records.
    pub(super) oldest: Option<i64>,
}

impl Reader {
    /// One that has been assigned nothing yet.
    pub(super) fn new(
        context: ReaderContext,
        wake: Arc<dyn Fn() + Send + Sync>,
        again: Activator,
        (worker, workers): (usize, usize),
        first: bool,
    ) -> Reader {
        let stop = first.then(|| context.process.handle.stop_listener());
        Reader {
            decode: Decode::new(context.limits, Arc::clone(&context.layout)),
            context,
            wake,
            again,
            phase: Phase::Idle,
            pass: Pass::default(),
            fetcher: None,
            kafka: None,
            reading: HashMap::new(),
            read_ranges: BTreeMap::new(),
            generations: Generations::default(),
            reports: Vec::new(),
            staged: [0; 4],
            epoch: OpenEpoch::default(),
            stop,
            worker,
            workers,
            waits: None,
        }
    }
}
