//! How many entries operators keep, for whoever wants to know: each logs it to timely's log of the name [`LOG`], when
//! that is registered before the dataflow is built.

use std::time::Duration;
use timely::container::CapacityContainerBuilder;
use timely::logging_core::Logger;
use timely::worker::Worker;

/// The name of the log.
pub const LOG: &str = "operators/held";

/// The number of entries of each of the [footprints](crate::Footprint) that an operator describes, in their order: of
/// one or of two.
pub type Entries = [Option<usize>; 2];

/// What an operator keeps since it closed an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its number, which is the worker's.
    pub operator: usize,
    /// How much it keeps.
    pub entries: Entries,
}

/// What makes the log's batches.
pub type HeldBuilder = CapacityContainerBuilder<Vec<(Duration, Held)>>;

/// Says what one operator keeps, whenever that changes.
pub(crate) struct Teller {
    log: Option<Logger<HeldBuilder>>,
    last: Held,
}

impl Teller {
    pub(crate) fn new(worker: &Worker, operator: usize, entries: Entries) -> Teller {
        let (log, last) = (worker.logger_for::<HeldBuilder>(LOG), Held { operator, entries });
        if let Some(log) = &log {
            log.log(last);
        }
        Teller { log, last }
    }

    pub(crate) fn tell(&mut self, entries: impl FnOnce() -> Entries) {
        let Some(log) = &self.log else { return };
        let entries = entries();
        if entries != self.last.entries {
            self.last.entries = entries;
            log.log(self.last);
        }
    }
}
