//! Follows the commits of the engine: from the queue, and from PostgreSQL before the first one of this run and whenever
//! the queue could not keep up.

use crate::load::{Loaded, Loader};
use crate::postgres::ReadError;
use crate::queue::{Committed, Next, Queue};
use crate::shared::Shared;
use crate::state::{State, contents};
use sinks::PostgresConfig;
use std::sync::Arc;
use std::time::Duration;

/// How often PostgreSQL is asked for another commit before the first one of this run.
const POLL: Duration = Duration::from_millis(250);
/// The pauses between attempts to read the tables again: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Runs for as long as the process. `config` says where the tables are.
pub async fn follow(shared: Arc<Shared>, queue: Arc<Queue>, config: PostgresConfig) {
    let mut follower = Follower {
        loader: Loader::new(config),
        shared,
    };
    let mut live = false;
    let mut poll = tokio::time::interval(POLL);
    poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            next = queue.next() => {
                live = true;
                follower.take(next).await;
            }
            _ = poll.tick(), if !live => follower.look().await,
        }
    }
}

struct Follower {
    loader: Loader,
    shared: Arc<Shared>,
}

impl Follower {
    async fn take(&mut self, next: Next) {
        let state = self.shared.state();
        match next {
            // a look at PostgreSQL may have found it, or the next one, already
            Next::Commit(commit) if state.as_ref().is_some_and(|state| commit.number < state.commit) => {}
            Next::Commit(commit) if commit.full_snapshot => self.replace(state.as_deref(), commit),
            Next::Commit(commit) => match state {
                Some(state) if commit.number <= state.commit => {}
                Some(state) => match state.after(&self.shared.shapes, &self.shared.bounds, commit) {
                    Ok((state, delta)) => self.shared.publish(state, Some(delta)),
                    Err(_) => {
                        let commit = state.commit;
                        tracing::warn!(
                            commit,
                            "a commit does not follow the rows in memory: reading the tables again"
                        );
                        self.reload().await;
                    }
                },
                None => self.reload().await,
            },
            Next::Lost => {
                tracing::warn!("commits came faster than the API took them: reading the tables again");
                self.reload().await;
            }
        }
    }

    fn replace(&self, before: Option<&State>, commit: Committed) {
        let Shared { shapes, bounds, .. } = &*self.shared;
        let rows = contents(shapes, bounds, commit.results);
        let (state, delta) = State::replacing(before, shapes, bounds, commit.number, commit.frontier, rows);
        self.shared.publish(state, delta);
    }

    /// Shows the last commit of an earlier run, if there is one.
    async fn look(&mut self) {
        let known = self.shared.state().map(|state| state.commit);
        match self.loader.load(&self.shared.shapes, &self.shared.bounds, known).await {
            Ok(Some(loaded)) => self.show(loaded),
            Ok(None) => {}
            Err(error @ ReadError::NoResults { .. }) => self.shared.explain(&error.to_string()),
            Err(error) => {
                tracing::debug!(%error, "the tables cannot be read");
                self.shared.explain(&error.to_string());
            }
        }
    }

    /// Reads the tables until it succeeds; meanwhile requests see the state that there is.
    async fn reload(&mut self) {
        let mut pause = PAUSES.0;
        loop {
            match self.loader.load(&self.shared.shapes, &self.shared.bounds, None).await {
                Ok(loaded) => {
                    if let Some(loaded) = loaded {
                        self.show(loaded);
                    }
                    return;
                }
                Err(error) => tracing::warn!(%error, "the tables cannot be read, trying again"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    fn show(&self, loaded: Loaded) {
        let Shared { shapes, bounds, .. } = &*self.shared;
        let Loaded { head, contents } = loaded;
        let before = self.shared.state();
        let (state, delta) = State::replacing(before.as_deref(), shapes, bounds, head.commit, head.frontier, contents);
        self.shared.publish(state, delta);
    }
}
