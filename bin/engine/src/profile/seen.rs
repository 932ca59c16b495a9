//! What timely's log says of one worker: when each operator ran, what it says it keeps, and how many records passed between
//! two of them.

use operators::state_size::{self, Entries, StateSize, StateSizeBuilder};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use timely::logging::{
    ChannelsEvent, MessagesEvent, OperatesEvent, ScheduleEvent, StartStop, TimelyEvent, TimelyEventBuilder,
};
use timely::worker::Worker;

/// What was seen of one operator of a worker.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) name: String,
    /// How deep it is nested: 1 for the dataflow, 2 for its operators.
    pub(super) depth: usize,
    /// Its number in the scope that it is part of.
    pub(super) index: usize,
    pub(super) began: Option<Duration>,
    pub(super) busy: Duration,
    pub(super) held: Entries,
}

/// A channel between two operators of a scope.
#[derive(Clone, Debug, Default)]
pub(super) struct Channel {
    /// How deep the scope is nested: 1 for that of the dataflow.
    pub(super) depth: usize,
    /// The number of the operator that sends, and of its output.
    pub(super) source: (usize, usize),
    /// The number of the operator that receives, and of its input.
    pub(super) target: (usize, usize),
    /// How many records this worker has sent.
    pub(super) records: u64,
}

/// What was seen of one worker, by timely's numbers.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) operators: BTreeMap<usize, Seen>,
    pub(super) channels: BTreeMap<usize, Channel>,
}

pub(super) fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A worker whose operators are watched from now on.
pub(crate) struct Watched {
    pub(super) worker: usize,
    pub(super) log: Arc<Mutex<Log>>,
}

impl Watched {
    /// Has to be called before the dataflow is built: operators and channels ask for their logs when they are made.
    pub(crate) fn of(worker: &Worker) -> Watched {
        let log = Arc::<Mutex<Log>>::default();
        if let Some(mut logs) = worker.log_register() {
            let seen = Arc::clone(&log);
            logs.insert::<TimelyEventBuilder, _>("timely", move |_, events| {
                let mut seen = locked(&seen);
                for (at, event) in events.iter().flatten() {
                    seen.take(*at, event);
                }
            });
            let seen = Arc::clone(&log);
            logs.insert::<StateSizeBuilder, _>(state_size::LOG, move |_, events| {
                let mut seen = locked(&seen);
                for (_, StateSize { operator, entries }) in events.iter().flatten() {
                    seen.operators.entry(*operator).or_default().held = *entries;
                }
            });
        }
        Watched {
            worker: worker.index(),
            log,
        }
    }
}

impl Log {
    fn take(&mut self, at: Duration, event: &TimelyEvent) {
        match event {
            TimelyEvent::Operates(OperatesEvent { id, addr, name }) => {
                let operator = self.operators.entry(*id).or_default();
                (operator.name, operator.depth) = (name.clone(), addr.len());
                operator.index = addr.last().copied().unwrap_or_default();
            }
            TimelyEvent::Schedule(ScheduleEvent { id, start_stop }) => {
                self.operators.entry(*id).or_default().turn(at, *start_stop);
            }
            TimelyEvent::Channels(ChannelsEvent {
                id,
                scope_addr,
                source,
                target,
                ..
            }) => {
                let channel = self.channels.entry(*id).or_default();
                (channel.depth, channel.source, channel.target) = (scope_addr.len(), *source, *target);
            }
            TimelyEvent::Messages(MessagesEvent {
                is_send: true,
                channel,
                record_count,
                ..
            }) => {
                let sent = u64::try_from(*record_count).unwrap_or_default();
                self.channels.entry(*channel).or_default().records += sent;
            }
            _ => {}
        }
    }
}

impl Seen {
    fn turn(&mut self, at: Duration, start_stop: StartStop) {
        match start_stop {
            StartStop::Start => self.began = Some(at),
            StartStop::Stop => {
                let began = self.began.take();
                self.busy += began.map_or(Duration::ZERO, |began| at.saturating_sub(began));
            }
        }
    }
}
