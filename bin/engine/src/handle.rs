//! The life of a run in this process, as one state: it is joined by its other processes, asked to stop, and over.
//!
//! The engine installs no signal handlers and no panic hook: these belong to the process, and whoever runs the engine
//! has a [`Handle`] for them.

use super::protocol::Ending;
use std::sync::Arc;
use tokio::sync::watch;

/// Where a run is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// The processes of the run are not all there: nothing has been read or written.
    Joining,
    /// The dataflow runs.
    Running,
    /// Asked to stop: the run ends after a last commit.
    Stopping,
    /// The dataflow is over: what breaks from now on is the ordinary end of connections. With the coordinator's word on
    /// how it ended, if it had one.
    Over(Option<Ending>),
}

/// What a request to stop comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopRequest {
    /// The run still waits for its other processes, for as long as they do not come. It has read and written nothing, so
    /// that its process may end at once.
    NothingBegun,
    /// The run ends after a last commit, if it has not ended yet.
    AfterCommit,
}

/// Asks one run to stop and knows whether it is over; clones are of the same run.
#[derive(Clone, Debug)]
pub struct Handle(Arc<watch::Sender<Stage>>);

/// The handle of a run that has not begun.
impl Default for Handle {
    fn default() -> Handle {
        Handle(Arc::new(watch::Sender::new(Stage::Joining)))
    }
}

impl Handle {
    /// Asks the run to stop; only the first request changes something.
    pub fn stop(&self) -> StopRequest {
        let mut request = StopRequest::AfterCommit;
        self.0.send_if_modified(|stage| {
            if *stage == Stage::Joining {
                request = StopRequest::NothingBegun;
            }
            let asked = matches!(stage, Stage::Joining | Stage::Running);
            if asked {
                *stage = Stage::Stopping;
            }
            asked
        });
        request
    }

    /// Whether the dataflow is over.
    pub fn is_over(&self) -> bool {
        matches!(*self.0.borrow(), Stage::Over(_))
    }

    /// Returns when the run was asked to stop.
    pub(crate) async fn stopping(&self) {
        // the sender is held by `self`: waiting cannot fail
        let _ = self.0.subscribe().wait_for(|stage| *stage == Stage::Stopping).await;
    }

    /// Hears of a request to stop, also of one that came before.
    pub(crate) fn stop_listener(&self) -> StopListener {
        let mut stage = self.0.subscribe();
        stage.mark_changed();
        StopListener(stage)
    }

    /// Every process of the run is there.
    pub(crate) fn joined(&self) {
        self.0.send_if_modified(|stage| {
            let joining = *stage == Stage::Joining;
            if joining {
                *stage = Stage::Running;
            }
            joining
        });
    }

    /// The coordinator has said how the run ended; its first word counts.
    pub(crate) fn end(&self, ending: Ending) {
        self.0.send_if_modified(|stage| {
            let first = !matches!(stage, Stage::Over(Some(_)));
            if first {
                *stage = Stage::Over(Some(ending));
            }
            first
        });
    }

    /// The dataflow is over, whatever the coordinator has said.
    pub(crate) fn finish(&self) {
        self.0.send_if_modified(|stage| {
            let running = !matches!(stage, Stage::Over(_));
            if running {
                *stage = Stage::Over(None);
            }
            running
        });
    }

    /// How the run has ended, if the coordinator has said it.
    pub(crate) fn ending(&self) -> Option<Ending> {
        match &*self.0.borrow() {
            Stage::Over(ending) => ending.clone(),
            _ => None,
        }
    }
}

/// Tells an operator, which cannot wait, whether its run was asked to stop.
pub(crate) struct StopListener(watch::Receiver<Stage>);

impl StopListener {
    /// Whether the run was asked to stop since the last call; costs a load of an atomic while nothing has changed.
    pub(crate) fn is_asked(&mut self) -> bool {
        self.0.has_changed().unwrap_or(false) && *self.0.borrow_and_update() == Stage::Stopping
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_run_that_waits_for_its_processes_has_begun_nothing() {
        let run = Handle::default();
        assert_eq!(run.stop(), StopRequest::NothingBegun);
        run.joined();
        assert!(
            run.stop_listener().is_asked(),
            "who came meanwhile does not undo the request"
        );
    }

    #[test]
    fn a_listener_hears_of_each_request_once_and_of_one_that_came_before_it() {
        let run = Handle::default();
        let mut early = run.stop_listener();
        assert!(!early.is_asked());
        run.joined();
        assert!(!early.is_asked());
        assert_eq!(run.stop(), StopRequest::AfterCommit);
        assert!(early.is_asked() && !early.is_asked());
        assert!(run.stop_listener().is_asked());
        assert_eq!(run.stop(), StopRequest::AfterCommit);
        assert!(!early.is_asked(), "a second request says nothing new");
    }

    #[tokio::test]
    async fn waiting_ends_with_the_request() {
        let run = Handle::default();
        run.joined();
        let wait = |limit| tokio::time::timeout(limit, run.stopping());
        assert!(wait(Duration::from_millis(20)).await.is_err());
        let (waited, _) = tokio::join!(wait(Duration::from_secs(20)), async { run.stop() });
        assert!(waited.is_ok());
        assert!(wait(Duration::from_secs(20)).await.is_ok(), "also when it came before");
    }

    #[test]
    fn the_first_word_on_the_end_counts_and_nothing_stops_afterwards() {
        let run = Handle::default();
        run.joined();
        run.end(Ending::Done);
        run.finish();
        run.end(Ending::Failed {
            class: crate::error::Class::Failed,
            text: "late".into(),
        });
        assert_eq!((run.ending(), run.is_over()), (Some(Ending::Done), true));
        assert_eq!(run.stop(), StopRequest::AfterCommit);
        assert!(run.is_over() && !run.stop_listener().is_asked());
        let silent = Handle::default();
        silent.finish();
        assert_eq!((silent.ending(), silent.is_over()), (None, true));
    }
}
