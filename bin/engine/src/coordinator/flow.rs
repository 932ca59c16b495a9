//! The coordinator's side of the dataflow: commands out, events in.

use crate::collect::{ClosedEpoch, Event};
use crate::epoch::Epoch;
use crate::error::EngineError;
use crate::plan::{Plan, Planner};
use crate::protocol::{Command, Consume, Ending, ReaderReport};
use ingest::{Offset, TopicPartition};
use sinks::SinkError;
use std::collections::BTreeMap;
use tokio::sync::mpsc::UnboundedReceiver;

/// Why a replay of history did not come to its end.
#[derive(Debug)]
pub enum ReplayError {
    /// History has to be replayed once more.
    Again {
        /// Whether cleaned tables have to be reconciled in full then.
        full: bool,
        /// Why.
        reason: String,
    },
    /// The run is over.
    Failed(EngineError),
}

impl<E: Into<EngineError>> From<E> for ReplayError {
    fn from(error: E) -> ReplayError {
        match error.into() {
            EngineError::Sink(error @ (SinkError::Rehydrate { .. } | SinkError::Restage { .. })) => {
                ReplayError::Again {
                    full: false,
                    reason: causes::with_causes(&error),
                }
            }
            error => ReplayError::Failed(error),
        }
    }
}

/// See the module's head.
pub struct Flow {
    planner: Planner,
    events: UnboundedReceiver<Event>,
    workers: usize,
    pass: u32,
    /// The open one.
    epoch: Epoch,
    /// Where the readers hold; `unheld` of them have not said so yet.
    places: BTreeMap<TopicPartition, Offset>,
    unheld: usize,
}

impl Flow {
    /// A dataflow of this many workers in which nothing has happened yet.
    pub fn new(planner: Planner, events: UnboundedReceiver<Event>, workers: usize) -> Flow {
        Flow {
            planner,
            events,
            workers,
            pass: 0,
            epoch: Epoch::default(),
            places: BTreeMap::new(),
            unheld: 0,
        }
    }

    /// Workers in all processes.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// The number of the pass over history.
    pub fn pass(&self) -> u32 {
        self.pass
    }

    /// The open epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Begins to count another pass; its number.
    pub fn next_pass(&mut self) -> u32 {
        self.pass += 1;
        self.pass
    }

    /// A command for one worker.
    pub fn send_to(&self, worker: usize, command: Command) {
        self.planner.send(Plan::To(worker, command));
    }

    /// A command for every worker.
    pub fn broadcast(&self, command: Command) {
        self.planner.send(Plan::All(command));
    }

    /// Gives a range of Kafka to the worker that reads its partition.
    pub fn consume(&self, range: Consume) {
        let TopicPartition { topic, partition } = range.at;
        let owner = (partition.0 as usize * 3 + usize::from(topic)) % self.workers;
        self.send_to(owner, Command::Consume(range));
    }

    /// The next event.
    pub async fn event(&mut self) -> Result<Event, EngineError> {
        let event = self.events.recv().await.ok_or(EngineError::DataflowEnded)?;
        if let Event::Report(_, ReaderReport::Held { places }) = &event {
            self.places.extend(places.iter().copied());
            self.unheld -= 1;
        }
        Ok(event)
    }

    /// Lets no reader read on from Kafka. One that holds already says so once more.
    pub fn hold(&mut self) {
        self.broadcast(Command::Hold);
        self.unheld += self.workers;
    }

    /// Where every reader holds, once all of them do.
    pub fn held(&self) -> Option<&BTreeMap<TopicPartition, Offset>> {
        (self.unheld == 0).then_some(&self.places)
    }

    /// The next report while history is replayed; those that stop the replay are errors.
    pub async fn next_report(&mut self) -> Result<ReaderReport, ReplayError> {
        loop {
            match self.event().await? {
                Event::Report(_, ReaderReport::Stop) => return Err(EngineError::Stopped.into()),
                Event::Report(_, ReaderReport::Held { .. }) => {}
                Event::Report(_, ReaderReport::StagingLost { pass, error }) if pass == self.pass => {
                    return Err(ReplayError::Again {
                        full: false,
                        reason: format!("staging was lost: {error}"),
                    });
                }
                Event::Report(_, report) => match check_report(report)? {
                    Some(report) => return Ok(report),
                    None => continue,
                },
                Event::Closed(ClosedEpoch { epoch, .. }) => return Err(EngineError::EpochOrder { epoch }.into()),
            }
        }
    }

    /// Closes the open epoch and waits for everything that it changed.
    pub async fn close(&mut self) -> Result<EpochClose, EngineError> {
        let epoch = self.epoch;
        self.epoch = epoch.next();
        self.planner.send(Plan::Open(self.epoch));
        let (mut data, mut stop) = (false, false);
        loop {
            match self.event().await? {
                Event::Closed(closed) if closed.epoch == epoch => return Ok(EpochClose { closed, data, stop }),
                Event::Closed(ClosedEpoch { epoch, .. }) => return Err(EngineError::EpochOrder { epoch }),
                Event::Report(at, ReaderReport::Data) if at == self.epoch => data = true,
                Event::Report(_, ReaderReport::Stop) => stop = true,
                Event::Report(_, report) => drop(check_report(report)?),
            }
        }
    }

    /// Tells every process how it ended; the dataflow ends when this is dropped.
    pub fn end<T>(&self, result: &Result<T, EngineError>) {
        let ending = match result {
            Ok(_) => Ending::Done,
            Err(error) => Ending::Failed {
                class: error.class(),
                text: causes::with_causes(error),
            },
        };
        self.broadcast(Command::End(ending));
    }
}

/// What the close of an epoch has come to.
pub struct EpochClose {
    /// What it changed.
    pub closed: ClosedEpoch,
    /// Whether the next epoch holds a record already.
    pub data: bool,
    /// Whether the process was asked to stop.
    pub stop: bool,
}

/// A report that may come at any time, unless it says that a reader cannot go on.
pub fn check_report(report: ReaderReport) -> Result<Option<ReaderReport>, EngineError> {
    match report {
        ReaderReport::Broken(error) => Err(EngineError::Reader(error)),
        // of an earlier pass
        ReaderReport::StagingLost { .. } => Ok(None),
        report => Ok(Some(report)),
    }
}
