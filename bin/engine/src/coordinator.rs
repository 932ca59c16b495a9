//! The coordinator: the one place that decides what is read, when an epoch closes, and what is committed.
//!
//! It lives beside worker 0 of process 0. A start goes: list the lake → take the sink's fence → read the committed
//! frontier under it → read Kafka's watermarks → replay → hand over → commit epoch 0. After that the loop is closed:
//! an epoch is closed when the last one is committed, something has arrived and the pace is over, or once a second as
//! the fence's heartbeat; while a commit is slow, the open epoch grows instead of a queue.
//!
//! Each phase of a run is a type of its own, on the [`Run`] that all of them share.
//!
//! | part | does |
//! |---|---|
//! | [`flow`] | commands to the dataflow, events from it |
//! | `run`, `phases` | what is known in all phases, and in each |
//! | `start`, `missing` | what happens before the first byte is read |
//! | `history`, `bounds`, `read`, `lake_read`, `kafka_read`, `prove`, `probe` | epoch 0 |
//! | `commit` | the commit of an epoch |
//! | `identity` | compares the log with what is known of it |
//! | `live`, `pace`, `growth` | what comes after |

mod bounds;
mod commit;
mod flow;
mod growth;
mod history;
mod identity;
mod kafka_read;
mod lake_read;
mod live;
mod missing;
mod pace;
mod phases;
mod probe;
mod prove;
mod read;
mod run;
mod sparse;
mod start;

pub use flow::Flow;
pub use run::{Run, Sources};

use super::error::EngineError;
use super::report::Report;
use crate::options::Mode;
use phases::Listed;

/// Leads a run to its end: for a backfill the commit of history, else until stopped or failed. What is left of it then.
pub async fn lead(mut run: Run) -> Result<Report, EngineError> {
    let result = all_phases(&mut run).await;
    run.flow.end(&result);
    run.target.close().await;
    result
}

async fn all_phases(run: &mut Run) -> Result<Report, EngineError> {
    let claimed = Listed::list(run).await?.claim().await?;
    let live = claimed.survey().await?.hydrate().await?;
    live.run.process.observer.hydrated();
    match live.run.options.mode {
        Mode::Run { pace } => live.follow(pace).await,
        Mode::Backfill { .. } => Ok(live.report()),
    }
}
