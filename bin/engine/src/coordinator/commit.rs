//! The commit of an epoch.

use super::state::Coordinator;
use crate::collect::ClosedEpoch;
use crate::error::EngineError;
use crate::protocol::ReaderReport;
use crate::report::Replay;
use crate::target::{Commit, History, State};
use crate::watch::{self, Watch};
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Coordinator {
    /// Commits an epoch; `history` is given for the one that ends the replay.
    /// The readers go on meanwhile, until `watch` sees that a topic has grown.
    pub(super) async fn commit(
        &mut self,
        closed: &ClosedEpoch,
        history: Option<History>,
        watch: Option<&Watch>,
    ) -> Result<(), EngineError> {
        let mut commit = Commit {
            epoch: closed.epoch,
            results: closed.results.clone(),
            history,
            ..Commit::default()
        };
        let live = commit.history.is_none();
        let mut oldest: Option<i64> = None;
        let before = self.totals.records;
        for note in &closed.reports {
            match note {
                ReaderReport::Mark { at, mark } => self.answer.advance(*at, mark),
                ReaderReport::Stamped { oldest: stamp } => {
                    oldest = Some(oldest.map_or(*stamp, |oldest| oldest.min(*stamp)))
                }
                ReaderReport::Row(row) => commit.rows.push(row),
                ReaderReport::Rejected(reject) => commit.rejects.push(reject),
                ReaderReport::Counted {
                    records,
                    rejected,
                    reasons,
                    fields,
                } => {
                    self.totals.records += records;
                    self.totals.rejected += rejected;
                    for (reason, n) in reasons {
                        self.process.observer.dead_letters(reason, *n);
                        *self.totals.reasons.entry(reason.clone()).or_default() += n;
                    }
                    for (field, n) in fields {
                        *self.totals.fields.entry(field.clone()).or_default() += n;
                    }
                }
                other => unreachable!("{other:?} does not wait for its epoch"),
            }
        }
        if commit.history.is_some() {
            self.totals.replay.get_or_insert(Replay {
                records: self.totals.records,
                seconds: self.began.elapsed().as_secs_f64(),
                workers: self.flow.workers(),
            });
        }
        let began = Instant::now();
        let process = Arc::clone(&self.process);
        let state = State {
            topics: &self.options.log.topics,
            answer: &self.answer,
            totals: &self.totals,
        };
        let dropped = {
            let mut committed = std::pin::pin!(self.target.commit(commit, &state));
            let mut stopped = std::pin::pin!(process.stopped_for(Duration::from_secs(10)));
            let mut holding = false;
            loop {
                tokio::select! {
                    committed = &mut committed => break committed?,
                    () = &mut stopped => return Err(EngineError::Stopped),
                    () = watch::growth(watch), if !holding => {
                        self.flow.hold();
                        holding = true;
                    }
                }
            }
        };
        self.process.observer.dead_letters_dropped(dropped);
        self.process.observer.committed(began.elapsed());
        if live {
            self.process.observer.live_records(self.totals.records - before);
            let changed = self.options.tables.results.definitions().iter().zip(&closed.results);
            for (result, rows) in changed.filter(|(_, rows)| !rows.is_empty()) {
                let observer = &self.process.observer;
                observer.result_rows(result.table.name, rows.len() as u64);
            }
        }
        if let Some(oldest) = oldest.filter(|_| live) {
            let now = jiff::Timestamp::now().as_millisecond();
            self.process.observer.freshness(age(oldest, now));
        }
        for (at, reach) in &self.answer.frontier {
            let topic = self.topic_name(at.topic);
            self.process.observer.frontier(topic, at.partition, reach.next);
        }
        Ok(())
    }
}

/// How long ago `stamp` was; a producer whose clock is ahead of ours has just written.
fn age(stamp: i64, now: i64) -> Duration {
    Duration::from_millis(u64::try_from(now.saturating_sub(stamp)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_ahead_makes_no_negative_age() {
        assert_eq!(age(1_000, 1_250), Duration::from_millis(250));
        assert_eq!(age(1_000, 900), Duration::ZERO);
        assert_eq!(age(i64::MIN, 900), Duration::from_millis(i64::MAX as u64));
    }
}
