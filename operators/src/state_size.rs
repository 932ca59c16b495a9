//! How many entries operators keep: each logs it to timely's log of the name [`LOG`], if that is registered before the
//! dataflow is built.

use std::time::Duration;
use timely::container::CapacityContainerBuilder;
use timely::logging_core::Logger;
use timely::worker::Worker;

/// The name of the log.
pub const LOG: &str = "operators/state-size";

/// The number of entries of each of the [footprints](crate::Footprint) that an operator describes, in their order: of
/// one or of two.
pub type Entries = [Option<usize>; 2];

/// What an operator keeps after it has closed an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateSize {
    /// Its number, which is the worker's.
    pub operator: usize,
    /// How many entries it keeps.
    pub entries: Entries,
}

/// What makes the log's batches.
pub type StateSizeBuilder = CapacityContainerBuilder<Vec<(Duration, StateSize)>>;

/// Logs what one operator keeps, whenever that changes.
pub(crate) struct StateReporter {
    log: Option<Logger<StateSizeBuilder>>,
    last: StateSize,
}

impl StateReporter {
    pub(crate) fn new(worker: &Worker, operator: usize, entries: Entries) -> StateReporter {
        let (log, last) = (
            worker.logger_for::<StateSizeBuilder>(LOG),
            StateSize { operator, entries },
        );
        if let Some(log) = &log {
            log.log(last);
        }
        StateReporter { log, last }
    }

    pub(crate) fn report(&mut self, entries: impl FnOnce() -> Entries) {
        let Some(log) = &self.log else { return };
        let entries = entries();
        if entries != self.last.entries {
            self.last.entries = entries;
            log.log(self.last);
        }
    }
}
