//! The commit of an epoch.

use super::run::Run;
use crate::answer::Answer;
use crate::collect::ClosedEpoch;
use crate::error::EngineError;
use crate::process::Commit;
use crate::report::Replay;
use crate::target::{History, State};
use crate::watch::{self, Watch};
use ingest::{Offset, Partition};
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Run {
    /// Commits an epoch; `history` is given for the one that ends the replay.
    /// Live readers go on meanwhile, until `watch` sees that a topic has grown.
    pub(super) async fn commit(
        &mut self,
        answer: &mut Answer,
        closed: ClosedEpoch,
        history: Option<History>,
        watch: Option<&Watch>,
    ) -> Result<(), EngineError> {
        let live = history.is_none();
        let oldest = closed.oldest.filter(|_| live);
        let records = closed.counts.records;
        let changed: Vec<usize> = closed.results.iter().map(Vec::len).collect();
        closed.marks.iter().for_each(|(at, mark)| answer.advance(*at, mark));
        for (reason, n) in &closed.counts.reasons {
            self.process.observer.dead_letters(reason, *n);
        }
        self.totals.counts += closed.counts.clone();
        if !live {
            self.totals.replay.get_or_insert(Replay {
                records: self.totals.counts.records,
                seconds: self.began.elapsed().as_secs_f64(),
                workers: self.flow.workers(),
            });
        }
        let began = Instant::now();
        let process = Arc::clone(&self.process);
        process.observer.committing();
        let state = State {
            topics: &self.options.log.topics,
            answer,
            totals: &self.totals,
        };
        let persisted = {
            let mut committed = std::pin::pin!(self.target.commit(closed, history, &state));
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
        self.process.observer.dead_letters_dropped(persisted.dropped_rejects);
        self.process.observer.committed(persisted.number, began.elapsed());
        if live {
            self.process.observer.live_records(records);
            let changed = self.options.tables.results.definitions().iter().zip(changed);
            for (result, rows) in changed.filter(|(_, rows)| *rows > 0) {
                self.process.observer.result_rows(result.table.name, rows as u64);
            }
        }
        if let Some(oldest) = oldest {
            let now = jiff::Timestamp::now().as_millisecond();
            self.process.observer.freshness(age(oldest, now));
        }
        let mut frontier: Vec<(&str, Partition, Offset)> = Vec::with_capacity(answer.frontier.len());
        for (at, reach) in &answer.frontier {
            let topic = self.topic_name(at.topic);
            self.process.observer.frontier(topic, at.partition, reach.shown());
            frontier.push((topic, at.partition, reach.next));
        }
        self.process.observer.persisted(Commit {
            number: persisted.number,
            full_snapshot: !live,
            frontier: &frontier,
            results: persisted.results,
        });
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
