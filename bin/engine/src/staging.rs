//! The staging of this process, shared by its workers: cleaned rows and rejects of history on their way to Postgres.

use super::decode::Rows;
use sinks::{Definition, PostgresConfig, SinkError, StageBatch, Stager, StagerOptions};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};

/// See the module's head. Clones share it.
#[derive(Clone)]
pub struct Staging {
    config: PostgresConfig,
    definition: Arc<Definition>,
    wake: Arc<dyn Fn() + Send + Sync>,
    current: Arc<Mutex<Option<Current>>>,
}

/// The staging of a pass.
struct Current {
    pass: u32,
    stager: Result<Stager, StagingError>,
}

/// Why staging has failed: the pass has to be repeated.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StagingError {
    /// The sink could not take the rows.
    #[error(transparent)]
    Sink(Arc<SinkError>),
    /// Another pass has begun.
    #[error("another pass has begun")]
    OtherPass,
    /// The task that writes the rows has ended without an answer.
    #[error("the staging task is gone")]
    TaskGone,
}

impl From<SinkError> for StagingError {
    fn from(error: SinkError) -> StagingError {
        StagingError::Sink(Arc::new(error))
    }
}

/// Why an offer was not taken.
pub enum Offer {
    /// There is no room now; the rows come back.
    Full(Rows),
    /// The pass has to be repeated.
    Lost(StagingError),
}

impl Staging {
    /// A staging that nobody has begun yet. `wake` is called when there is room again.
    pub fn new(config: PostgresConfig, definition: Definition, wake: Arc<dyn Fn() + Send + Sync>) -> Staging {
        Staging {
            config,
            definition: Arc::new(definition),
            wake,
            current: Arc::default(),
        }
    }

    /// A worker begins a pass; the first one of a process starts the stager, and ends the one before it.
    pub fn begin(&self, pass: u32, fence: i64) {
        let mut current = self.current.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if current.as_ref().is_some_and(|current| current.pass == pass) {
            return;
        }
        let options = StagerOptions::default();
        let started = Stager::start(
            self.config.clone(),
            Arc::clone(&self.definition),
            fence,
            options,
            Arc::clone(&self.wake),
        );
        *current = Some(Current {
            pass,
            stager: started.map_err(StagingError::from),
        });
    }

    fn stager(&self, pass: u32) -> Result<Stager, StagingError> {
        let current = self.current.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let current = current.as_ref().filter(|current| current.pass == pass);
        current.ok_or(StagingError::OtherPass)?.stager.clone()
    }

    /// Offers rows of a pass; never waits.
    pub fn offer(&self, pass: u32, rows: Rows) -> Result<(), Offer> {
        let stager = self.stager(pass).map_err(Offer::Lost)?;
        stager
            .offer(StageBatch {
                cleaned: rows.cleaned,
                rejects: rows.rejects,
            })
            .map_err(|batch| match stager.take_failure() {
                Some(error) => Offer::Lost(error.into()),
                None => Offer::Full(Rows {
                    cleaned: batch.cleaned,
                    rejects: batch.rejects,
                }),
            })
    }

    /// Asks for everything offered so far to be in the staging tables; the answer comes with a wake-up.
    pub fn flush(&self, pass: u32, wake: Arc<dyn Fn() + Send + Sync>) -> Receiver<Result<(), StagingError>> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        match self.stager(pass) {
            Ok(stager) => stager.flush(move |result: Result<_, SinkError>| {
                let _ = sender.send(result.map(|_| ()).map_err(StagingError::from));
                wake();
            }),
            Err(error) => drop(sender.send(Err(error))),
        }
        receiver
    }
}
