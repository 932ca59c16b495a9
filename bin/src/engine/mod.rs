//! The engine: one timely dataflow over all workers, and the coordinator that feeds and commits it.
//!
//! ```text
//!              commands                 events                    changes
//! coordinator ─────────▶ plan ─▶ read ─────────▶ latest ─▶ results ─────────▶ collect ─▶ coordinator ─▶ sink
//!  (process 0)          worker 0   every worker, by key          by group       worker 0
//! ```
//!
//! Every process builds the same dataflow. Only process 0 has a coordinator; the others read what they are told to
//! and end when it ends. When one process dies, all end: timely has no recovery, and the tables and the log are the
//! only state, so a supervisor simply starts them again.

mod collect;
mod coordinator;
mod decode;
mod generations;
mod hand_over;
mod plan;
mod process;
mod protocol;
mod reader;
mod staging;
mod target;

pub(crate) use coordinator::NATURAL;
pub use coordinator::Totals;
pub use process::{Observer, ProcessState};
pub use protocol::TopicPartition;
pub use staging::{Offer, Staging};
pub(crate) use target::{definition, natural_holes};

use crate::config::{Mode, RunSettings};
use coordinator::Coordinator;
use ingest::kafka::{Cluster, KafkaConfig};
use ingest::lake::{FetchOptions, Lake, LakeOptions};
use plan::{Planner, Plans};
use reader::ReaderContext;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use target::{Recorded, Target};
use timely::CommunicationConfig;
use tokio::sync::{mpsc, oneshot};

/// How a run ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// History is committed, and that was all.
    Finished,
    /// Somebody asked for the end.
    Stopped,
}

/// Why a run ended. The exit code is [`EngineError::code`].
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Anything that a human has to look at.
    #[error("{0}")]
    Failed(String),
    /// Settings that fit each other badly, found only when the servers were asked.
    #[error("{0}")]
    Usage(String),
    /// A newer run holds the tables.
    #[error("{0}")]
    Fenced(String),
    /// Somebody asked for the end while history was replayed.
    #[error("stopped before history was committed")]
    Stopped,
    /// The dataflow is gone.
    #[error("the dataflow ended by itself")]
    Gone,
    /// History has to be replayed once more.
    #[error("{reason}")]
    Again {
        /// Whether cleaned tables have to be reconciled in full then.
        full: bool,
        /// Why.
        reason: String,
    },
}

impl EngineError {
    /// An error with the chain of its causes as text.
    pub fn failed(error: impl Display) -> EngineError {
        EngineError::Failed(error.to_string())
    }

    /// The exit code.
    pub fn code(&self) -> i32 {
        match self {
            EngineError::Stopped => 0,
            EngineError::Usage(_) => 2,
            EngineError::Fenced(_) => 3,
            _ => 1,
        }
    }
}

/// What a finished run leaves for its summary.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What was counted.
    pub totals: Totals,
    /// The frontier of the last commit: topic → partition → next offset.
    pub frontier: BTreeMap<String, BTreeMap<i32, i64>>,
    /// Wall time from the start.
    pub seconds: f64,
}

/// Runs `run` or `backfill` on all workers of this process. Returns the exit code, the text to end with, and on
/// process 0 a report.
pub fn run(settings: RunSettings, observer: Arc<dyn Observer>) -> (i32, Option<String>, Option<Report>) {
    let began = Instant::now();
    let settings = Arc::new(settings);
    // the allocator spreads the state over more huge pages than it fills: measured, a third more would be resident,
    // for no time gained
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay on");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name(crate::panics::IO_THREADS)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return (1, Some(format!("cannot start the I/O threads: {error}")), None),
    };
    let process = Arc::new(ProcessState::new(settings.workers.threads, observer));
    process::install_panic_hook(Arc::clone(&process), settings.workers.addresses.clone());
    runtime.spawn(process::watch_signals(Arc::clone(&process)));

    match start(&settings, &runtime, &process) {
        Ok(report) => {
            let (code, text) = process.ended().unwrap_or((0, String::new()));
            let report = report.map(|report| Report {
                seconds: began.elapsed().as_secs_f64(),
                ..report
            });
            (code, (!text.is_empty()).then_some(text), report)
        }
        Err(error) => (error.code(), Some(error.to_string()), None),
    }
}

fn start(
    settings: &Arc<RunSettings>,
    runtime: &tokio::runtime::Runtime,
    process: &Arc<ProcessState>,
) -> Result<Option<Report>, EngineError> {
    let lake = match &settings.lake {
        Some(lake) => {
            let url = lake
                .url
                .parse()
                .map_err(|error: ingest::lake::LakeError| EngineError::Usage(error.to_string()))?;
            let opened = runtime.block_on(Lake::open(
                url,
                LakeOptions {
                    s3_endpoint: lake.s3_endpoint.clone(),
                    ..LakeOptions::default()
                },
            ));
            Some(opened.map_err(EngineError::failed)?)
        }
        None => None,
    };
    let kafka = settings.kafka.as_ref().map(|kafka| kafka.source());
    if let Some(kafka) = &kafka {
        kafka.check().map_err(|error| EngineError::Usage(error.to_string()))?;
    }
    let staging = settings.postgres.as_ref().map(|postgres| {
        let process = Arc::clone(process);
        let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(move || process.wake_readers());
        Staging::new(postgres.sink(), target::definition(settings), wake)
    });
    let context = ReaderContext {
        lake: lake.clone(),
        fetch: fetch_options(settings),
        kafka: kafka.clone(),
        topics: settings.topics.clone(),
        limits: settings.limits.of_records(),
        runtime: runtime.handle().clone(),
        staging,
        process: Arc::clone(process),
    };

    if settings.workers.processes == 1 {
        // symbols need no text to be routed by when no other process has to agree
        operators::route::single_process();
    }
    let leads = settings.workers.process == 0;
    let (planner_sender, planner) = oneshot::channel();
    #[expect(
        clippy::disallowed_methods,
        reason = "a closed loop: notes are of the one epoch that is open or closing"
    )]
    let (event_sender, events) = mpsc::unbounded_channel();
    let plans = Mutex::new(leads.then(|| Plans::new(move |planner| drop(planner_sender.send(planner)))));
    let event_sender = Mutex::new(leads.then_some(event_sender));
    let options = dataflows::Options { top: settings.top };
    let guards = timely::execute(timely_config(settings), move |worker| {
        let leads = worker.index() == 0;
        let plans = leads.then(|| plans.lock().expect("taken once").take()).flatten();
        let events = leads.then(|| event_sender.lock().expect("taken once").take()).flatten();
        let context = context.clone();
        worker.dataflow::<u64, _, _>(|scope| {
            let commands = plan::plan(scope, plans);
            let (decoded, notes) = reader::read(scope, commands, context);
            let changes = dataflows::build(decoded, &options);
            collect::collect(changes.inner, notes, dataflows::RESULTS.len(), events);
        });
    })
    .map_err(|error| EngineError::failed(format!("cannot start the workers: {error}")))?;

    let report = match leads {
        true => Some(runtime.block_on(lead(settings, lake, kafka, process, planner, events))),
        false => None,
    };
    for result in guards.join() {
        result.map_err(|error| EngineError::failed(format!("a worker failed: {error}")))?;
    }
    process.finish();
    report.transpose()
}

/// The coordinator's life on process 0.
async fn lead(
    settings: &Arc<RunSettings>,
    lake: Option<Lake>,
    kafka: Option<KafkaConfig>,
    process: &Arc<ProcessState>,
    planner: oneshot::Receiver<Planner>,
    events: mpsc::UnboundedReceiver<collect::Event>,
) -> Result<Report, EngineError> {
    let planner = planner.await.map_err(|_| EngineError::Gone)?;
    let prepared = prepare(settings, lake, kafka).await;
    let (lake, cluster, target, accept_gaps) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            end(&planner, &Err(&error));
            return Err(error);
        }
    };
    let mut coordinator = Coordinator {
        settings: Arc::clone(settings),
        accept_gaps,
        lake,
        cluster,
        target,
        planner,
        events,
        process: Arc::clone(process),
        workers: settings.workers.peers(),
        recorded: Recorded::default(),
        fence: None,
        pass: 0,
        epoch: 0,
        objects: Vec::new(),
        counted: BTreeMap::new(),
        unreadable: BTreeMap::new(),
        legacy: None,
        frontier: BTreeMap::new(),
        gaps: Vec::new(),
        generations: BTreeMap::new(),
        fresh_boundaries: false,
        live: BTreeSet::new(),
        totals: Totals::default(),
        hydrated: None,
        identified: false,
        natural: BTreeMap::new(),
        short: BTreeMap::new(),
        details: BTreeMap::new(),
    };
    let result = coordinator.run().await;
    end(&coordinator.planner, &result.as_ref());
    coordinator.target.close().await;
    let report = coordinator.report();
    result.map(|_| report)
}

type Prepared = (
    Option<Lake>,
    Option<Arc<Cluster>>,
    Target,
    Vec<ingest::coverage::AcceptGap>,
);

async fn prepare(
    settings: &Arc<RunSettings>,
    lake: Option<Lake>,
    kafka: Option<KafkaConfig>,
) -> Result<Prepared, EngineError> {
    let accept_gaps = settings
        .accept_gaps
        .iter()
        .map(|gap| {
            gap.parse()
                .map_err(|error: ingest::coverage::AcceptGapError| EngineError::Usage(error.to_string()))
        })
        .collect::<Result<_, _>>()?;
    let cluster = match kafka {
        Some(kafka) => {
            let connected = tokio::task::spawn_blocking(move || Cluster::connect(&kafka)).await;
            Some(Arc::new(
                connected.map_err(EngineError::failed)?.map_err(EngineError::failed)?,
            ))
        }
        None => None,
    };
    let target = Target::open(settings).await?;
    Ok((lake, cluster, target, accept_gaps))
}

/// Tells every process how it ended; the dataflow ends when the planner is dropped.
fn end(planner: &Planner, result: &Result<&Outcome, &EngineError>) {
    let (code, text) = match result {
        Ok(_) => (0, String::new()),
        Err(error) => (error.code(), error.to_string()),
    };
    planner.send(plan::Plan::All(protocol::Command::End(code, text)));
}

/// How objects of the lake are read.
pub(crate) fn fetch_options(settings: &RunSettings) -> FetchOptions {
    // a chunk is decoded while it is still in the processor's cache
    let chunk_bytes = 256 << 10;
    // a wrapped line is longer than the value that it stands for
    let max_record_bytes = ingest::archive::longest_line(settings.limits.record_bytes);
    let mut options = FetchOptions {
        chunk_bytes,
        max_record_bytes,
        // what is skipped leaves nothing behind
        prove_first: settings.skip_unreadable,
        ..FetchOptions::default()
    };
    if let Some(lake) = &settings.lake {
        options.objects_in_flight = lake.objects_in_flight;
        options.chunks = (lake.buffer_bytes / options.chunk_bytes).max(2);
    }
    options
}

fn timely_config(settings: &RunSettings) -> timely::Config {
    let workers = &settings.workers;
    let communication = match (workers.processes, workers.threads) {
        (1, 1) => CommunicationConfig::Thread,
        (1, threads) => CommunicationConfig::Process(threads),
        (_, threads) => CommunicationConfig::Cluster {
            threads,
            process: workers.process,
            addresses: workers.addresses.clone(),
            report: false,
            zerocopy: false,
        },
    };
    timely::Config {
        communication,
        worker: timely::WorkerConfig::default(),
    }
}

/// Which of the two commands the engine runs.
pub(crate) fn is_backfill(settings: &RunSettings) -> bool {
    settings.mode == Mode::Backfill
}
