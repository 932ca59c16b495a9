//! The end of the dataflow, on worker 0: what each closed epoch changed, handed to the coordinator.

use super::epoch::Epoch;
use super::protocol::{Counts, EpochReport, Mark, ReaderReport};
use super::topic_partition::TopicPartition;
use operators::Row;
use sinks::{CleanedRow, Reject};
use std::collections::BTreeMap;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use tokio::sync::mpsc::UnboundedSender;

/// From the dataflow to the coordinator.
pub enum Event {
    /// A report that does not wait for its epoch, with the epoch it was made in.
    Report(Epoch, ReaderReport),
    /// Everything of an epoch, in the order of epochs.
    Closed(ClosedEpoch),
}

/// Everything that one epoch changed.
#[derive(Clone, Default)]
pub struct ClosedEpoch {
    /// The epoch.
    pub epoch: Epoch,
    /// Per result, net changes: `-1` for a row that is gone, `+1` for a new one.
    pub results: Vec<Vec<(Row, isize)>>,
    /// How far partitions have been read.
    pub marks: Vec<(TopicPartition, Mark)>,
    /// Cleaned rows and deletes.
    pub rows: Vec<CleanedRow>,
    /// Rejects.
    pub rejects: Vec<Reject>,
    /// What was counted.
    pub counts: Counts,
    /// The least timestamp of the records that Kafka gave, in milliseconds since 1970.
    pub oldest: Option<i64>,
}

impl ClosedEpoch {
    fn new(epoch: Epoch, results: usize) -> ClosedEpoch {
        ClosedEpoch {
            epoch,
            results: vec![Vec::new(); results],
            ..ClosedEpoch::default()
        }
    }

    fn take_in(&mut self, report: EpochReport) {
        match report {
            EpochReport::Mark { at, mark } => self.marks.push((at, mark)),
            EpochReport::Row(row) => self.rows.push(row),
            EpochReport::Rejected(reject) => self.rejects.push(*reject),
            EpochReport::Counted(counts) => self.counts += counts,
            EpochReport::Stamped { oldest } => {
                self.oldest = Some(self.oldest.map_or(oldest, |known| known.min(oldest)));
            }
        }
    }

    /// This epoch and an earlier one that was not committed, as one.
    pub fn after(mut self, before: ClosedEpoch) -> ClosedEpoch {
        for (rows, earlier) in self.results.iter_mut().zip(before.results) {
            rows.extend(earlier);
            differential_dataflow::consolidation::consolidate(rows);
        }
        self.marks.splice(0..0, before.marks);
        self.rows.splice(0..0, before.rows);
        self.rejects.splice(0..0, before.rejects);
        self.counts += before.counts;
        self.oldest = self.oldest.into_iter().chain(before.oldest).min();
        self
    }
}

/// Gathers `changes` (result, row) and `reports` on worker 0 and sends each epoch when it has closed everywhere.
///
/// Epochs are sent in order and without holes, the empty ones too. Nothing is sent by the other workers.
pub fn collect<'s>(
    changes: Stream<'s, u64, Vec<((u8, Row), u64, isize)>>,
    reports: Stream<'s, u64, Vec<ReaderReport>>,
    results: usize,
    to: Option<UnboundedSender<Event>>,
) {
    let mut open: BTreeMap<Epoch, ClosedEpoch> = BTreeMap::new();
    let mut next = Epoch::default();
    let closed = move |epoch| ClosedEpoch::new(epoch, results);
    let mut builder = OperatorBuilder::new("Collect".to_owned(), changes.scope());
    let mut changes = builder.new_input(changes, Exchange::new(|_| 0));
    let mut reports = builder.new_input(reports, Exchange::new(|_| 0));
    builder.build(move |_| {
        move |frontiers| {
            changes.for_each(|_, batch| {
                for ((result, row), epoch, diff) in batch.drain(..) {
                    let epoch = Epoch(epoch);
                    let epoch = open.entry(epoch).or_insert_with(|| closed(epoch));
                    epoch.results[result as usize].push((row, diff));
                }
            });
            reports.for_each(|capability, batch| {
                let epoch = Epoch(*capability.time());
                for report in batch.drain(..) {
                    match (report, &to) {
                        (ReaderReport::Epoch(report), _) => {
                            open.entry(epoch).or_insert_with(|| closed(epoch)).take_in(report);
                        }
                        (report, Some(to)) => drop(to.send(Event::Report(epoch, report))),
                        (_, None) => {}
                    }
                }
            });
            let Some(to) = &to else { return };
            // the coordinator opens the next epoch before it closes one, so an empty frontier closes nothing
            let upper = frontiers
                .iter()
                .filter_map(|frontier| frontier.frontier().first().map(|time| Epoch(*time)))
                .min();
            while upper.is_some_and(|upper| next < upper) {
                let mut epoch = open.remove(&next).unwrap_or_else(|| closed(next));
                for rows in &mut epoch.results {
                    differential_dataflow::consolidation::consolidate(rows);
                }
                let _ = to.send(Event::Closed(epoch));
                next = next.next();
            }
        }
    });
}
