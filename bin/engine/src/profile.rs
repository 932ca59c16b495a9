//! What the operators of this process' workers take: time, from timely's log of when each ran, and memory, from what each
//! says it keeps.

use dataflows::Results;
use dataflows::exec::Step;
use operators::state_size::{self, Entries, StateSize, StateSizeBuilder};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use timely::logging::{ScheduleEvent, StartStop, TimelyEvent, TimelyEventBuilder};
use timely::worker::Worker;

/// What was seen of one operator of a worker.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    began: Option<Duration>,
    busy: Duration,
    held: Entries,
}

/// What was seen of the operators of one worker, by their numbers.
type Operators = Arc<Mutex<BTreeMap<usize, Seen>>>;

/// A part of the dataflow: an operator on one worker, with what writes down its rows.
#[derive(Clone, Debug)]
struct Part {
    step: Step,
    /// The results that are made of it.
    results: Vec<usize>,
    operators: Operators,
}

/// What results take on this process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Taken {
    /// How long operators ran.
    pub busy: Duration,
    /// What they keep.
    pub bytes: usize,
}

/// See the module's head. Shared by the workers, who fill it, and by those who ask.
#[derive(Debug, Default)]
pub struct Profile {
    results: Mutex<Vec<String>>,
    parts: Mutex<Vec<Part>>,
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A worker whose operators are watched from now on.
pub(super) struct Watched(Operators);

impl Watched {
    /// Has to be called before the dataflow is built: operators ask for their logs when they are made.
    pub(super) fn of(worker: &Worker) -> Watched {
        let operators = Operators::default();
        if let Some(mut logs) = worker.log_register() {
            let seen = Arc::clone(&operators);
            logs.insert::<TimelyEventBuilder, _>("timely", move |_, events| {
                let mut seen = locked(&seen);
                for (at, event) in events.iter().flatten() {
                    if let TimelyEvent::Schedule(ScheduleEvent { id, start_stop }) = event {
                        let operator = seen.entry(*id).or_default();
                        match start_stop {
                            StartStop::Start => operator.began = Some(*at),
                            StartStop::Stop => {
                                let began = operator.began.take();
                                operator.busy += began.map_or(Duration::ZERO, |began| at.saturating_sub(began));
                            }
                        }
                    }
                }
            });
            let seen = Arc::clone(&operators);
            logs.insert::<StateSizeBuilder, _>(state_size::LOG, move |_, events| {
                let mut seen = locked(&seen);
                for (_, StateSize { operator, entries }) in events.iter().flatten() {
                    seen.entry(*operator).or_default().held = *entries;
                }
            });
        }
        Watched(operators)
    }
}

impl Profile {
    /// What a worker's dataflow was built of.
    pub(super) fn built(&self, results: &Results, steps: Vec<Step>, watched: &Watched) {
        let names = results.definitions().iter().map(|of| of.table.name.to_owned());
        *locked(&self.results) = names.collect();
        let part = |step: Step| Part {
            results: results.made_of(&step),
            step,
            operators: Arc::clone(&watched.0),
        };
        locked(&self.parts).extend(steps.into_iter().map(part));
    }

    /// What each result takes, by name. What several are made of counts for each in equal parts, so that all together
    /// are what the process takes for results.
    pub fn results(&self) -> Vec<(String, Taken)> {
        let names = locked(&self.results).clone();
        let mut taken: Vec<(String, Taken)> = names.into_iter().map(|name| (name, Taken::default())).collect();
        for part in locked(&self.parts).iter() {
            let Taken { busy, bytes } = part.taken();
            let shares = part.results.len().max(1);
            for result in &part.results {
                let (_, taken) = &mut taken[*result];
                taken.busy += busy / shares as u32;
                taken.bytes += bytes / shares;
            }
        }
        taken
    }
}

impl Part {
    fn taken(&self) -> Taken {
        let operators = locked(&self.operators);
        let own = || operators.range(self.step.made_of.clone()).map(|(_, seen)| seen);
        let entries: Vec<usize> = own().flat_map(|seen| seen.held).flatten().collect();
        Taken {
            busy: own().map(|seen| seen.busy).sum(),
            bytes: self.step.bytes(&entries),
        }
    }
}
