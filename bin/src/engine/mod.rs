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

mod agree;
mod boundaries;
mod collect;
mod coordinator;
mod decode;
mod error;
mod log;
mod plan;
mod process;
mod profile;
mod protocol;
mod reader;
mod recorded;
mod staging;
mod target;
mod watch;

pub use coordinator::Totals;
pub use error::{EngineError, Outcome, TopicMissing, TopicsChanged, Trouble};
pub use log::generations::TooManyGenerations;
pub use log::hand_over::LogShorter;
pub use process::{Observer, ProcessState};
pub use profile::{Profile, Taken};
pub use protocol::TopicPartition;
pub(crate) use reader::topic_name;
pub(crate) use recorded::natural_holes;
pub use staging::{Offer, Staging};
pub(crate) use target::definition;

use crate::config::{Mode, RunSettings};
use coordinator::{Coordinator, Flow, Sources};
use ingest::kafka::{Cluster, KafkaConfig};
use ingest::lake::{FetchOptions, Lake, LakeObserver, LakeOptions};
use plan::{Planner, Plans};
use profile::Watched;
use reader::ReaderContext;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use target::Target;
use timely::CommunicationConfig;
use tokio::sync::{mpsc, oneshot};

/// How long what still waits for an answer may hold up the end of the process.
const ENDING: Duration = Duration::from_millis(500);

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
        Err(source) => {
            let what = "the I/O threads";
            return (1, Some(EngineError::Start { what, source }.to_string()), None);
        }
    };
    let process = Arc::new(ProcessState::new(settings.workers.threads, observer));
    process::install_panic_hook(Arc::clone(&process), settings.workers.addresses.clone());
    runtime.spawn(process::watch_signals(Arc::clone(&process)));

    let started = start(&settings, &runtime, &process);
    // a question to a server that does not answer is given up
    runtime.shutdown_timeout(ENDING);
    match started {
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
            let url = lake.url.parse().map_err(|source| EngineError::LakeUrl { source })?;
            let observer = Arc::clone(&process.observer);
            let options = LakeOptions {
                observer: Some(LakeObserver::new(move |state| observer.lake(&state))),
                ..lake.options()
            };
            let opened = runtime.block_on(Lake::open(url, options));
            Some(opened?)
        }
        None => None,
    };
    let kafka = settings.kafka.as_ref().map(|kafka| kafka.source());
    if let Some(kafka) = &kafka {
        kafka.check().map_err(|error| EngineError::KafkaConfig(error.into()))?;
    }
    let staging = settings.postgres.as_ref().map(|postgres| {
        let process = Arc::clone(process);
        let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(move || process.wake_readers());
        Staging::new(postgres.sink(), target::definition(settings), wake)
    });
    let context = ReaderContext {
        lake: lake.clone(),
        fetch: fetch_options(settings),
        kafka: kafka.clone().map(|kafka| KafkaConfig {
            pace: settings.pace,
            ..kafka
        }),
        topics: settings.topics.clone(),
        limits: settings.limits.of_records(),
        layout: settings.results.layout(),
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
    let results = Arc::clone(&settings.results);
    let terms = agree::terms(&results, &settings.limits.of_records());
    let (processes, threads) = (settings.workers.processes, settings.workers.threads);
    let profile = process.observer.profile();
    let guards = timely::execute(timely_config(settings), move |worker| {
        let leads = worker.index() == 0;
        let plans = leads.then(|| plans.lock().expect("taken once").take()).flatten();
        let events = leads.then(|| event_sender.lock().expect("taken once").take()).flatten();
        let context = context.clone();
        if processes > 1 {
            agree::agree(worker, &terms, worker.index() % threads == 0)?;
        }
        let watched = profile.as_ref().map(|profile| (profile, Watched::of(worker)));
        worker.dataflow::<u64, _, _>(|scope| {
            let commands = plan::plan(scope, plans);
            let (decoded, notes) = reader::read(scope, commands, context);
            let (changes, steps) = results.build(decoded);
            collect::collect(changes.inner, notes, results.definitions().len(), events);
            if let Some((profile, watched)) = &watched {
                profile.built(&results, steps, watched);
            }
        });
        Ok(())
    })
    .map_err(|detail| EngineError::Panicked {
        what: "the start of the workers",
        detail,
    })?;

    process.join();

    let report = leads.then(|| {
        // as a task it shares a thread with its connection to Postgres: an answer that arrives there needs no other
        // thread to be woken before the next statement is sent
        let leading = lead(Arc::clone(settings), lake, kafka, Arc::clone(process), planner, events);
        let led = runtime.block_on(runtime.spawn(leading));
        led.map_err(error::panicked("the coordinator")).flatten()
    });
    for result in guards.join() {
        let built: Result<(), EngineError> = result.map_err(|detail| EngineError::Panicked {
            what: "a worker",
            detail,
        })?;
        built?;
    }
    process.finish();
    report.transpose()
}

/// The coordinator's life on process 0.
async fn lead(
    settings: Arc<RunSettings>,
    lake: Option<Lake>,
    kafka: Option<KafkaConfig>,
    process: Arc<ProcessState>,
    planner: oneshot::Receiver<Planner>,
    events: mpsc::UnboundedReceiver<collect::Event>,
) -> Result<Report, EngineError> {
    let planner = planner.await.map_err(|_| EngineError::Gone)?;
    let flow = Flow::new(planner, events, settings.workers.peers());
    let prepared = tokio::select! {
        prepared = prepare(&settings, lake, kafka) => prepared,
        () = process.stopped_for(Duration::ZERO) => Err(EngineError::Stopped),
    };
    match prepared {
        Ok((accept_gaps, sources, target)) => {
            let coordinator = Coordinator::new(settings, accept_gaps, sources, target, flow, process);
            coordinator.run().await
        }
        Err(error) => {
            let ended = Err(error);
            flow.end(&ended);
            ended.map(|_: Outcome| Report::default())
        }
    }
}

type Prepared = (Vec<ingest::coverage::AcceptGap>, Sources, Target);

async fn prepare(
    settings: &Arc<RunSettings>,
    lake: Option<Lake>,
    kafka: Option<KafkaConfig>,
) -> Result<Prepared, EngineError> {
    let accept_gaps = settings.accept_gaps.iter().map(|gap| gap.parse());
    let accept_gaps = accept_gaps.collect::<Result<_, _>>()?;
    let cluster = match kafka {
        Some(kafka) => {
            let connected = tokio::task::spawn_blocking(move || Cluster::connect(&kafka)).await;
            Some(Arc::new(connected.map_err(error::panicked("connecting to Kafka"))??))
        }
        None => None,
    };
    let target = Target::open(settings).await?;
    Ok((accept_gaps, Sources { lake, cluster }, target))
}

/// How objects of the lake are read.
pub(crate) fn fetch_options(settings: &RunSettings) -> FetchOptions {
    // a chunk is decoded while it is still in the processor's cache
    let chunk_bytes = 256 << 10;
    // a wrapped line is longer than the value that it stands for
    let max_record_bytes = ingest::lake::longest_line(settings.limits.record_bytes);
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
