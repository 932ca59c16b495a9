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
    current: Arc<Mutex<Option<(u32, Result<Stager, String>)>>>,
}

/// Why an offer was not taken.
pub enum Offer {
    /// There is no room now; the rows come back.
    Full(Rows),
    /// Staging has failed: the pass has to be repeated.
    Lost(String),
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
        if current.as_ref().is_some_and(|(number, _)| *number == pass) {
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
        *current = Some((pass, started.map_err(|error| error.to_string())));
    }

    fn stager(&self, pass: u32) -> Result<Stager, String> {
        let current = self.current.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match current.as_ref() {
            Some((number, Ok(stager))) if *number == pass => Ok(stager.clone()),
            Some((number, Err(error))) if *number == pass => Err(error.clone()),
            _ => Err("another pass has begun".to_owned()),
        }
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
                Some(error) => Offer::Lost(error.to_string()),
                None => Offer::Full(Rows {
                    cleaned: batch.cleaned,
                    rejects: batch.rejects,
                }),
            })
    }

    /// Asks for everything offered so far to be in the staging tables; the answer comes with a wake-up.
    pub fn flush(&self, pass: u32, wake: Arc<dyn Fn() + Send + Sync>) -> Receiver<Result<(), String>> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        match self.stager(pass) {
            Ok(stager) => stager.flush(move |result: Result<_, SinkError>| {
                let _ = sender.send(result.map(|_| ()).map_err(|error| error.to_string()));
                wake();
            }),
            Err(error) => drop(sender.send(Err(error))),
        }
        receiver
    }
}
