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

#![forbid(unsafe_code)]

mod agree;
mod answer;
mod archived;
mod boundaries;
#[cfg(test)]
#[path = "../../../tests/src/byte_fuzz.rs"]
mod byte_fuzz;
mod collect;
mod coordinator;
mod decode;
mod epoch;
mod error;
mod frontier;
mod handle;
mod log;
mod options;
mod peers;
mod plan;
mod process;
mod profile;
mod protocol;
mod reader;
mod recorded;
mod recorded_detail;
mod report;
mod staging;
mod target;
mod threads;
mod topics;
mod watch;

pub use boundaries::grown_topics;
pub use epoch::Epoch;
pub use error::{Class, EngineError, ReaderError, TopicMissing, TopicsChanged};
pub use frontier::Frontier;
pub use handle::{Handle, StopRequest};
pub use ingest::TopicPartition;
pub use log::generations::TooManyGenerations;
pub use log::hand_over::LogShorter;
pub use log::holes::Tail;
pub use log::sparse::{SparseObject, SparseObjects};
pub use options::{KafkaSource, LakeSource, LogOptions, Mode, Options, SinkOptions, TableOptions, Workers};
pub use process::{Commit, Observer, ProcessState, Reached, Source, Wait};
pub use profile::{Graph, GraphNode, OperatorTaken, Place, Profile, Taken};
pub use recorded_detail::{empty_offsets, lake_covered, proved_holes, sparse_objects};
pub use report::{Replay, Report, Totals};
pub use staging::{Offer, Staging};
pub use threads::DataflowThread;
pub use topics::{KINDS, Topics};

use coordinator::{Flow, Run, Sources};
use ingest::kafka::{Cluster, KafkaConfig};
use ingest::lake::{Lake, LakeObserver};
use operators::Routing;
use peers::beat::Beat;
use plan::{Planner, Plans};
use profile::Watched;
use protocol::Ending;
use reader::ReaderContext;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use target::Target;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

/// The name of the thread that commits and waits for servers.
///
/// It is one: the coordinator, its connection to Postgres and its timers wake each other several times a commit, which
/// between two threads took a quarter more processor time.
pub const IO_THREAD: &str = "pinflow:io";

/// The name of the threads that the connections to a lake live on.
const LAKE_THREADS: &str = "lake-io";

/// How long what still waits for an answer may hold up the end of the process.
const ENDING: Duration = Duration::from_millis(500);

/// Runs `run` or `backfill` on all workers of this process, to the end. The process that leads returns a report.
///
/// `handle` is of this run alone: it asks for the end, and by it the panic hook of the process knows whether the run is
/// over. The panic of a [`DataflowThread`] has to end the process.
///
/// # Errors
/// Why the run ended, in every process of it. [`EngineError::class`] says what a restart can do.
pub fn run(options: Options, observer: Arc<dyn Observer>, handle: Handle) -> Result<Option<Report>, EngineError> {
    let began = Instant::now();
    let options = Arc::new(options);
    // the allocator spreads the state over more huge pages than it fills: measured, a third more would be resident,
    // for no time gained
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay on");
    }
    let runtime = threads(IO_THREAD, 1)?;
    let lake = options
        .log
        .lake
        .as_ref()
        .map(|_| threads(LAKE_THREADS, 2))
        .transpose()?;
    let process = Arc::new(ProcessState::new(options.workers.threads, observer, handle));
    let stopped = Arc::clone(&process);
    runtime.spawn(async move { stopped.wake_readers_to_stop().await });

    let started = start(&options, &runtime, lake.as_ref(), &process);
    // a question to a server that does not answer is given up
    for runtime in lake.into_iter().chain([runtime]) {
        runtime.shutdown_timeout(ENDING);
    }
    let report = started?;
    match process.handle.ending() {
        Some(Ending::Failed { class, text }) => Err(EngineError::Led { class, text }),
        Some(Ending::Done) | None => Ok(report.map(|report| Report {
            seconds: began.elapsed().as_secs_f64(),
            ..report
        })),
    }
}

/// Threads for what waits for servers.
fn threads(name: &str, count: usize) -> Result<Runtime, EngineError> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let built = builder.worker_threads(count).thread_name(name).enable_all().build();
    built.map_err(|source| EngineError::Start {
        what: "the I/O threads",
        source,
    })
}

fn start(
    options: &Arc<Options>,
    runtime: &Runtime,
    lake_runtime: Option<&Runtime>,
    process: &Arc<ProcessState>,
) -> Result<Option<Report>, EngineError> {
    let lake = match options.log.lake.as_ref().zip(lake_runtime) {
        Some((lake, runtime)) => {
            let observer = Arc::clone(&process.observer);
            let observer = LakeObserver::new(move |state| observer.lake(&state));
            Some((runtime.block_on(lake.open(Some(observer)))?, runtime.handle().clone()))
        }
        None => None,
    };
    let kafka = options.log.kafka.as_ref();
    if let Some(kafka) = kafka {
        kafka
            .config
            .check()
            .map_err(|error| EngineError::KafkaConfig(error.into()))?;
    }
    let staging = match &options.sink {
        SinkOptions::Postgres(postgres) => {
            let process = Arc::clone(process);
            let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(move || process.wake_readers());
            let definition = options.tables.definition(&options.log.limits);
            Some(Staging::new(postgres.clone(), definition, wake))
        }
        SinkOptions::Files(_) => None,
    };
    let pace = match options.mode {
        Mode::Run { pace } => pace,
        Mode::Backfill { .. } => Duration::ZERO,
    };
    let context = ReaderContext {
        lake: lake.clone(),
        fetch: options.log.fetch(),
        kafka: kafka.map(|kafka| KafkaConfig {
            pace,
            ..kafka.config.clone()
        }),
        kafka_queue_bytes: kafka.map_or(0, |kafka| kafka.buffer_bytes / options.workers.threads),
        topics: options.log.topics.clone(),
        limits: options.log.limits,
        layout: options.tables.results.layout(),
        staging,
        process: Arc::clone(process),
    };

    // symbols need no text to be routed by when no other process has to agree
    let routing = if options.workers.processes == 1 {
        Routing::OneProcess
    } else {
        Routing::ManyProcesses
    };
    let leads = options.workers.process == 0;
    let (planner_sender, planner) = oneshot::channel();
    #[expect(
        clippy::disallowed_methods,
        reason = "a closed loop: reports are of the one epoch that is open or closing"
    )]
    let (event_sender, events) = mpsc::unbounded_channel();
    let plans = Mutex::new(leads.then(|| Plans::new(move |planner| drop(planner_sender.send(planner)))));
    let event_sender = Mutex::new(leads.then_some(event_sender));
    let results = Arc::clone(&options.tables.results);
    let terms = agree::terms(&results, &options.log.limits);
    let (processes, threads) = (options.workers.processes, options.workers.threads);
    let profile = process.observer.profile();
    let peers = match processes {
        1 => None,
        _ => Some(runtime.block_on(peers::connect(&options.workers))?),
    };
    let (sockets, beats) = peers.map(|peers| (peers.data, peers.beats)).unzip();
    let (builders, guard) = peers::communication(&options.workers, sockets)?;
    let beat = beats.map(|beats| Beat::start(beats, options.workers.peer_timeout));
    let beat = beat.transpose().map_err(|source| EngineError::Start {
        what: "the beat between processes",
        source,
    })?;
    let config = timely::WorkerConfig::default();
    let guards = timely::execute::execute_from(builders, guard, config, move |worker| {
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
            let (decoded, reports) = reader::read(scope, commands, context);
            let (changes, steps) = results.build(decoded, routing);
            collect::collect(changes.inner, reports, results.definitions().len(), events);
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

    process.handle.joined();

    let report = leads.then(|| {
        // as a task it shares a thread with its connection to Postgres: an answer that arrives there needs no other
        // thread to be woken before the next statement is sent
        let lake = lake.map(|(lake, _)| lake);
        let leading = lead(Arc::clone(options), lake, Arc::clone(process), planner, events);
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
    process.handle.finish();
    drop(beat);
    report.transpose()
}

/// The coordinator's life on process 0.
async fn lead(
    options: Arc<Options>,
    lake: Option<Lake>,
    process: Arc<ProcessState>,
    planner: oneshot::Receiver<Planner>,
    events: mpsc::UnboundedReceiver<collect::Event>,
) -> Result<Report, EngineError> {
    let planner = planner.await.map_err(|_| EngineError::DataflowEnded)?;
    let flow = Flow::new(planner, events, options.workers.peers());
    match process.unless_stopped(prepare(&options, lake)).await {
        Ok((sources, target)) => coordinator::lead(Run::new(options, sources, target, flow, process)).await,
        Err(error) => {
            let ended = Err(error);
            flow.end(&ended);
            ended
        }
    }
}

async fn prepare(options: &Options, lake: Option<Lake>) -> Result<(Sources, Target), EngineError> {
    let cluster = match options.log.kafka.clone() {
        Some(kafka) => {
            let connected = tokio::task::spawn_blocking(move || Cluster::connect(&kafka.config)).await;
            Some(Arc::new(connected.map_err(error::panicked("connecting to Kafka"))??))
        }
        None => None,
    };
    let target = Target::open(options).await?;
    Ok((Sources { lake, cluster }, target))
}
