//! The closed loop after history: an epoch closes when the last one is committed, something has arrived, and the pace
//! is over.

use super::flow::check_report;
use super::pace::Pace;
use super::phases::Live;
use crate::collect::{ClosedEpoch, Event};
use crate::error::EngineError;
use crate::log::growth::PartitionWatermarks;
use crate::protocol::ReaderReport;
use crate::report::Report;
use crate::watch;
use ingest::{Offset, Partition};
use std::time::{Duration, Instant};

/// An idle run commits an empty epoch this often: it is the fence's heartbeat.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A live step that takes longer is worth a line for those who look for it.
const SLOW: Duration = Duration::from_millis(50);
/// How often the group's offsets are committed to Kafka.
const GROUP_COMMIT_EVERY: Duration = Duration::from_secs(1);
/// How often holes that were passed are written with the frontier: they make its rows larger.
const HOLES: Duration = Duration::from_secs(10);

/// How often a topic that has to exist is asked for in the log.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Something that is due at an interval.
struct Due {
    every: Duration,
    next: Instant,
}

impl Due {
    fn every(every: Duration) -> Due {
        Due {
            every,
            next: Instant::now() + every,
        }
    }

    /// Whether it is due; then it is due again after the interval.
    fn take(&mut self) -> bool {
        let due = Instant::now() >= self.next;
        if due {
            self.next = Instant::now() + self.every;
        }
        due
    }
}

/// Why the open epoch is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Open {
    /// It is empty, and only the heartbeat closes it.
    Idle,
    /// It holds a record.
    Data,
    /// It is the last one.
    Last,
}

impl Open {
    fn of(data: bool, stop: bool) -> Open {
        match (stop, data) {
            (true, _) => Open::Last,
            (false, true) => Open::Data,
            (false, false) => Open::Idle,
        }
    }
}

impl Live<'_> {
    /// Follows Kafka until the process is asked to stop. What is left of the run then.
    pub(super) async fn follow(mut self, pace: Duration) -> Result<Report, EngineError> {
        let mut heartbeat = Due::every(HEARTBEAT);
        let (mut group_commit, mut holes) = (Due::every(GROUP_COMMIT_EVERY), Due::every(HOLES));
        let mut missing_topics_error = Due::every(WARN_EVERY);
        let mut open = Open::Idle;
        let mut pace = Pace::new(pace);
        loop {
            open = self.apply_observed(open).await?;
            if !self.missing.required.is_empty() && missing_topics_error.take() {
                self.warn_missing_topics();
            }
            if open == Open::Idle {
                open = self.wait(open, heartbeat.next).await?;
            }
            if open == Open::Idle && !heartbeat.take() {
                continue;
            }
            if open == Open::Data
                && let Some(due) = pace.due()
            {
                open = self.wait(open, due).await?;
            }
            if holes.take() || open == Open::Last {
                self.answer.write_holes();
            }
            let began = Instant::now();
            let closing = self.run.flow.close().await?;
            let closed = began.elapsed();
            let epoch = closing.closed.epoch;
            self.run
                .commit(&mut self.answer, closing.closed, None, self.watch.as_ref())
                .await?;
            pace.committed(began, Instant::now());
            self.run.process.observer.pace(pace.current());
            if began.elapsed() > SLOW {
                let committing = began.elapsed() - closed;
                tracing::debug!(epoch = epoch.0, closing = ?closed, ?committing, "a slow step");
            }
            heartbeat = Due::every(HEARTBEAT);
            if group_commit.take() || open == Open::Last {
                self.commit_group_offsets();
            }
            if open == Open::Last {
                return Ok(self.report());
            }
            open = Open::of(closing.data, closing.stop);
        }
    }

    /// What is left of the run after the last commit.
    pub(super) fn report(&self) -> Report {
        self.run.report(&self.answer)
    }

    /// Waits until then, while the open epoch takes in records. What it is afterwards: its first record ends the wait for
    /// one, a stop and growth end any.
    async fn wait(&mut self, open: Open, until: Instant) -> Result<Open, EngineError> {
        let current = self.run.flow.epoch();
        loop {
            let event = tokio::select! {
                event = self.run.flow.event() => event?,
                () = tokio::time::sleep_until(until.into()) => return Ok(open),
                () = watch::growth(self.watch.as_ref()) => return Ok(open),
            };
            match event {
                Event::Report(epoch, ReaderReport::Data) if epoch == current && open == Open::Idle => {
                    return Ok(Open::Data);
                }
                Event::Report(_, ReaderReport::Stop) => return Ok(Open::Last),
                Event::Report(_, report) => drop(check_report(report)?),
                Event::Closed(ClosedEpoch { epoch, .. }) => return Err(EngineError::EpochOrder { epoch }),
            }
        }
    }

    /// Takes in what the watch has seen: how far behind we are, new partitions, topics that were created again.
    async fn apply_observed(&mut self, mut open: Open) -> Result<Open, EngineError> {
        let Some(watch) = &self.watch else {
            return Ok(open);
        };
        let observed = watch.take();
        if let Some(watermarks) = &observed.watermarks {
            self.show_lag(watermarks);
        }
        if !observed.changes.is_empty() {
            let watermarks = observed.watermarks.unwrap_or_default();
            let seen = self.take_changes(observed.changes, &watermarks).await?;
            open = match open {
                Open::Last => Open::Last,
                open if seen == Open::Idle => open,
                _ => seen,
            };
        }
        Ok(open)
    }

    /// Says that a topic is still missing.
    fn warn_missing_topics(&self) {
        if let Some(missing_topics_error) = self.missing.error(self.run) {
            tracing::warn!("not ready: {missing_topics_error}");
        }
    }

    fn show_lag(&self, watermarks: &PartitionWatermarks) {
        for (at, marks) in watermarks {
            let next = self.answer.frontier.get(at).map_or(marks.low, |reach| reach.next);
            let behind = (marks.stable - next).max(0);
            self.run
                .process
                .observer
                .lag(self.run.topic_name(at.topic), at.partition, behind);
        }
    }

    /// Commits group offsets, which only tools that show lag read.
    fn commit_group_offsets(&self) {
        let Some(cluster) = &self.run.sources.cluster else {
            return;
        };
        let next = |at| Some(self.answer.frontier.get(at)?.next);
        let offsets = self.partitions.iter();
        let offsets: Vec<(&str, Partition, Offset)> = offsets
            .filter_map(|at| Some((self.run.topic_name(at.topic), at.partition, next(at)?)))
            .collect();
        cluster.commit_offsets(offsets);
    }
}
