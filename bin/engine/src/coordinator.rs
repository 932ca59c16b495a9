//! The coordinator: the one place that decides what is read, when an epoch closes, and what is committed.
//!
//! It lives beside worker 0 of process 0. A start goes: list the lake → take the sink's fence → read the committed
//! frontier under it → read Kafka's watermarks → replay → hand over → commit epoch 0. After that the loop is closed:
//! an epoch is closed when the last one is committed, something has arrived and the pace is over, or once a second as
//! the fence's heartbeat; while a commit is slow, the open epoch grows instead of a queue.
//!
//! | part | does |
//! |---|---|
//! | [`flow`] | commands to the dataflow, events from it |
//! | `state` | what is known, for all phases |
//! | `start` | what happens before the first byte is read |
//! | `history`, `bounds`, `read`, `lake_read`, `prove` | epoch 0 |
//! | `commit` | the commit of an epoch |
//! | `identity` | compares the log with what is known of it |
//! | `live`, `pace`, `growth` | what comes after |

mod bounds;
mod commit;
mod flow;
mod growth;
mod history;
mod identity;
mod lake_read;
mod live;
mod pace;
mod prove;
mod read;
mod start;
mod state;

pub use flow::Flow;
pub use state::{Coordinator, Sources};

use super::error::{EngineError, Outcome};
use super::log::growth::Seen;
use super::report::Report;
use super::watch::Watch;
use crate::options::Mode;
use std::sync::Arc;

impl Coordinator {
    /// Runs to the end: for a backfill the commit of history, else until stopped or failed. What there is to say then.
    pub async fn run(mut self) -> Result<Report, EngineError> {
        let result = self.hydrate_and_follow().await;
        self.flow.end(&result);
        self.target.close().await;
        result.map(|_| self.report())
    }

    async fn hydrate_and_follow(&mut self) -> Result<Outcome, EngineError> {
        self.list().await?;
        self.claim().await?;
        let (seen, watermarks) = self.first_look().await?;
        self.find_missing_topics(&watermarks).await?;
        let watch = self.watch(seen);
        self.hydrate(watermarks, watch.as_ref()).await?;
        self.process.observer.hydrated();
        match self.options.mode {
            Mode::Run { pace } => self.follow(watch, pace).await,
            Mode::Backfill { .. } => Ok(Outcome::Finished),
        }
    }

    fn watch(&self, seen: Seen) -> Option<Watch> {
        let cluster = self.sources.cluster.as_ref().filter(|_| !self.options.is_backfill())?;
        let topics = self.options.log.topics.clone();
        let observer = Arc::clone(&self.process.observer);
        Some(Watch::start(
            Arc::clone(cluster),
            topics,
            seen,
            live::METADATA,
            observer,
        ))
    }
}
