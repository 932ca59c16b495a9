//! How the processes of a run are connected.
//!
//! A process connects to those before it in the host file, and is connected to by those after it, twice each: timely
//! exchanges data on the first connection, and the second one carries a beat a second ([`beat`]), by which each process
//! knows that the other is neither stopped nor cut off. Both begin with a [`greeting`], so that whoever else connects to
//! the port changes nothing.

pub(crate) mod beat;
mod greeting;

use crate::error::EngineError;
use crate::options::Workers;
use greeting::{Greeting, Kind, Refused};
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};
use timely::communication::{Config, Hooks};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

/// Between two attempts to reach a process.
const AGAIN: Duration = Duration::from_millis(250);
/// How long one attempt, or a greeting, may take.
const ATTEMPT: Duration = Duration::from_secs(5);
/// How often a process that is waited for is named.
const REMIND: Duration = Duration::from_secs(30);

/// Timely's connections, by process; none to this one itself.
pub(crate) type Sockets = Vec<Option<std::net::TcpStream>>;

/// Connections to all other processes of a run.
#[derive(Debug)]
pub(crate) struct Peers {
    pub(crate) data: Sockets,
    /// The connections for the beat, with their processes.
    pub(crate) beats: Vec<(usize, std::net::TcpStream)>,
}

/// What timely's workers are made of, and what has to outlive them.
pub(crate) type Communication = (Vec<AllocatorBuilder>, Box<dyn Any + Send>);

/// The means of exchange between the workers of this process, and by `sockets` with those of others.
pub(crate) fn communication(workers: &Workers, sockets: Option<Sockets>) -> Result<Communication, EngineError> {
    let failed = |detail: String| EngineError::Panicked {
        what: "the start of the workers",
        detail,
    };
    let Some(sockets) = sockets else {
        let config = match workers.threads {
            1 => Config::Thread,
            threads => Config::Process(threads),
        };
        return config.try_build().map_err(failed);
    };
    let hooks = Hooks::default();
    let within = ProcessBuilder::new_typed_vector(workers.threads, hooks.refill.clone(), hooks.spill.clone());
    let (builders, guard) =
        initialize_networking_from_sockets(within, sockets, workers.process, workers.threads, hooks)
            .map_err(|error| failed(error.to_string()))?;
    Ok((
        builders.into_iter().map(AllocatorBuilder::Tcp).collect(),
        Box::new(guard),
    ))
}

/// Connects this process to all others, however long it takes for them to be there.
///
/// # Errors
/// The address of this process cannot be listened on, or another process has other numbers of processes and threads.
pub(crate) async fn connect(workers: &Workers) -> Result<Peers, EngineError> {
    let own = &workers.addresses[workers.process];
    let listener = TcpListener::bind(own).await.map_err(|source| EngineError::Listen {
        address: own.clone(),
        source,
    })?;
    let workers = Arc::new(workers.clone());
    let after = async { Ok(accept_all(listener, &workers).await) };
    let (after, before) = tokio::try_join!(after, reach_all(&workers))?;
    let mut peers = Peers {
        data: (0..workers.processes).map(|_| None).collect(),
        beats: Vec::new(),
    };
    for (process, kind, stream) in before.into_iter().chain(after) {
        let stream = blocking(stream).map_err(|source| EngineError::Start {
            what: "a connection to another process",
            source,
        })?;
        match kind {
            Kind::Data => peers.data[process] = Some(stream),
            Kind::Beat => peers.beats.push((process, stream)),
        }
    }
    Ok(peers)
}

type Connection = (usize, Kind, TcpStream);

/// Connects to the processes before this one.
async fn reach_all(workers: &Workers) -> Result<Vec<Connection>, EngineError> {
    let mut connections = Vec::new();
    for process in 0..workers.process {
        for kind in Kind::ALL {
            connections.push((process, kind, reach(workers, process, kind).await?));
        }
    }
    Ok(connections)
}

async fn reach(workers: &Workers, process: usize, kind: Kind) -> Result<TcpStream, EngineError> {
    let address = &workers.addresses[process];
    let mut reminder = Reminder::new();
    loop {
        let attempt = async {
            let mut stream = TcpStream::connect(address).await?;
            Greeting::of(workers, kind).say(&mut stream).await?;
            Ok::<_, greeting::Error>(stream)
        };
        let reason = match timeout(ATTEMPT, attempt).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(greeting::Error::Refused(Refused { processes, threads }))) => {
                return Err(EngineError::OtherWorkers {
                    process,
                    address: address.clone(),
                    theirs: (processes, threads),
                    ours: (workers.processes, workers.threads),
                });
            }
            Ok(Err(greeting::Error::Io(error))) => error.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        if reminder.is_due() {
            tracing::info!("waiting for process {process} ({address}): {reason}");
        }
        sleep(AGAIN).await;
    }
}

/// Waits for the processes after this one. Of two connections for the same purpose the one that was accepted later counts,
/// whichever greeting is heard first: the process was started again meanwhile.
async fn accept_all(listener: TcpListener, workers: &Arc<Workers>) -> Vec<Connection> {
    let mut connections: BTreeMap<_, (u64, TcpStream)> = BTreeMap::new();
    let mut accepted_before = 0;
    // greetings are read concurrently: a connection that sends nothing delays no other
    let (greeted, mut arrivals) = mpsc::channel(16);
    let mut reminder = Reminder::new();
    let first_missing = |connections: &BTreeMap<_, _>| {
        let awaited =
            (workers.process + 1..workers.processes).flat_map(|process| Kind::ALL.map(|kind| (process, kind)));
        let mut missing = awaited.filter(|connection| !connections.contains_key(connection));
        missing.next()
    };
    while let Some((missing, _)) = first_missing(&connections) {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let (workers, greeted) = (Arc::clone(workers), greeted.clone());
                    let number = accepted_before;
                    accepted_before += 1;
                    tokio::spawn(async move {
                        if let Some(connection) = greet(stream, &workers).await {
                            // the receiver is dropped once all processes are connected
                            let _ = greeted.send((number, connection)).await;
                        }
                    });
                }
                // too many open files, or a connection that ended before it was accepted
                Err(error) => {
                    tracing::debug!(%error, "a connection was not accepted");
                    sleep(AGAIN).await;
                }
            },
            Some((number, (process, kind, mut stream))) = arrivals.recv() => {
                let purpose = (process, kind);
                let is_latest = connections.get(&purpose).is_none_or(|(known, _)| *known < number);
                // accepted here, so that a process that connects for its next purpose has been counted for this one
                if is_latest && greeting::accept(&mut stream).await.is_ok() {
                    connections.insert(purpose, (number, stream));
                }
            }
            () = sleep(AGAIN) => {}
        }
        if reminder.is_due() {
            let address = &workers.addresses[missing];
            tracing::info!("waiting for process {missing} ({address}) to connect");
        }
    }
    let connections = connections.into_iter();
    connections
        .map(|((process, kind), (_, stream))| (process, kind, stream))
        .collect()
}

/// What a new connection is for, not answered yet; none when it is not of this run.
async fn greet(mut stream: TcpStream, workers: &Workers) -> Option<Connection> {
    match timeout(ATTEMPT, Greeting::hear(&mut stream, workers)).await {
        Ok(Ok((process, kind))) => Some((process, kind, stream)),
        Ok(Err(greeting::Error::Refused(Refused { processes, threads }))) => {
            tracing::warn!(
                "a process of a run with {processes} processes of {threads} threads was refused: this run has {} of {}",
                workers.processes,
                workers.threads
            );
            None
        }
        Ok(Err(greeting::Error::Io(error))) => {
            tracing::debug!(%error, "a connection that is not of this run was closed");
            None
        }
        Err(_) => None,
    }
}

/// As timely and the beat want it.
fn blocking(stream: TcpStream) -> std::io::Result<std::net::TcpStream> {
    stream.set_nodelay(true)?;
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// When to say what is waited for: not at once, and not all the time.
struct Reminder(Instant);

impl Reminder {
    fn new() -> Reminder {
        Reminder(Instant::now() + Duration::from_secs(2))
    }

    fn is_due(&mut self) -> bool {
        let due = Instant::now() >= self.0;
        if due {
            self.0 = Instant::now() + REMIND;
        }
        due
    }
}

#[cfg(test)]
mod tests;
