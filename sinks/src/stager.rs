//! One stager per process: copies cleaned rows and dead letters of history into the staging tables.
//!
//! A dataflow worker must never wait for Postgres, so [`Stager::offer`] takes a batch or gives it back at once. Bytes
//! in flight are bounded; when room returns, or something ends, the stager calls `wake`. A thread of its own turns rows
//! into the binary `COPY` form and sends them over a connection of its own.
//!
//! A panic of the thread is a failure like others: every flush is answered, and nothing more is taken.
//!
//! A lost connection is final ([`SinkError::Rehydrate`]): whether its last `COPY` arrived is unknown, and the counts
//! would no longer say what the first commit needs to know.

mod copy;

use crate::changes::check_cleaned;
use crate::config::PostgresConfig;
use crate::definition::Definition;
use crate::error::{Class, SinkError};
use crate::reject_limits::Held;
use crate::reject_surplus::Surplus;
use crate::rows::{CleanedRow, Reject};
use crate::session::{Purpose, Session};
use crate::step::Staged;
use causes::with_causes;
use copy::Buffer;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// Rows for the staging tables.
#[derive(Debug, Default)]
pub struct StageBatch {
    /// Cleaned rows and deletes.
    pub cleaned: Vec<CleanedRow>,
    /// Dead letters.
    pub rejects: Vec<Reject>,
}

impl StageBatch {
    fn bytes(&self) -> usize {
        let cleaned: usize = self.cleaned.iter().map(CleanedRow::bytes).sum();
        cleaned + self.rejects.iter().map(Reject::bytes).sum::<usize>()
    }
}

/// Limits of a [`Stager`].
#[derive(Clone, Copy, Debug)]
pub struct StagerOptions {
    /// Bytes of rows accepted and not yet encoded; one batch is accepted however large it is.
    pub bytes_in_flight: usize,
    /// Bytes of encoded rows that make a `COPY`, for each table.
    pub bytes_per_copy: usize,
}

impl Default for StagerOptions {
    fn default() -> StagerOptions {
        StagerOptions {
            bytes_in_flight: 16 << 20,
            bytes_per_copy: 4 << 20,
        }
    }
}

/// What to do with the counts once everything offered so far is in Postgres.
type Flushed = Box<dyn FnOnce(Result<Staged, SinkError>) + Send>;

/// Answers a flush once, also when the thread unwinds.
struct Flush(Option<Flushed>);

impl Flush {
    fn answer(mut self, result: Result<Staged, SinkError>) {
        if let Some(done) = self.0.take() {
            done(result);
        }
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        if let Some(done) = self.0.take() {
            done(Err(ended()));
        }
    }
}

enum Message {
    Batch(StageBatch, usize),
    Flush(Flush),
}

/// The name of the stager's thread.
pub const THREAD: &str = "pinflow-stager";

struct Shared {
    in_flight: AtomicUsize,
    /// Why the thread has ended, until somebody takes it.
    failure: Mutex<Option<SinkError>>,
}

impl Shared {
    fn take_failure(&self) -> Option<SinkError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The handle of a process's stager; clones share it. The thread ends when the last clone is dropped.
#[derive(Clone)]
pub struct Stager {
    messages: mpsc::UnboundedSender<Message>,
    shared: Arc<Shared>,
    limit: usize,
}

impl Stager {
    /// Starts the thread. `fence` is the number that the coordinator took before it created the staging tables; `wake`
    /// is called from the thread when there is room again, after a flush and after a failure.
    pub fn start(
        config: PostgresConfig,
        definition: Arc<Definition>,
        fence: i64,
        options: StagerOptions,
        wake: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<Stager, SinkError> {
        #[expect(
            clippy::disallowed_methods,
            reason = "bounded in bytes by `offer`; a flush must never be refused"
        )]
        let (messages, queue) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            in_flight: AtomicUsize::new(0),
            failure: Mutex::new(None),
        });
        let thread = Thread {
            config,
            definition,
            fence,
            options,
            wake,
            shared: shared.clone(),
            queue,
        };
        let failed = |source| SinkError::Io {
            object: format!("thread {THREAD}"),
            source,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let spawned = std::thread::Builder::new()
            .name(THREAD.into())
            .spawn(move || thread.run(&runtime));
        spawned.map_err(failed)?;
        Ok(Stager {
            messages,
            shared,
            limit: options.bytes_in_flight,
        })
    }

    /// Takes a batch, or gives it back when there is no room or the stager has failed. Never waits.
    pub fn offer(&self, batch: StageBatch) -> Result<(), StageBatch> {
        let bytes = batch.bytes();
        if bytes == 0 {
            return Ok(());
        }
        let taken = self
            .shared
            .in_flight
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |in_flight| {
                (in_flight == 0 || in_flight + bytes <= self.limit).then_some(in_flight + bytes)
            });
        let Ok(before) = taken else { return Err(batch) };
        debug_assert!(
            before == 0 || before + bytes <= self.limit,
            "bytes in flight stay within the limit but for one batch that is alone"
        );
        match self.messages.send(Message::Batch(batch, bytes)) {
            Ok(()) => Ok(()),
            Err(mpsc::error::SendError(Message::Batch(batch, _))) => Err(batch),
            Err(mpsc::error::SendError(Message::Flush(_))) => Ok(()),
        }
    }

    /// Once everything offered so far is in Postgres, calls `done` on the stager's thread with the number of rows
    /// staged since the start.
    pub fn flush(&self, done: impl FnOnce(Result<Staged, SinkError>) + Send + 'static) {
        let flush = Message::Flush(Flush(Some(Box::new(done))));
        if let Err(mpsc::error::SendError(Message::Flush(flush))) = self.messages.send(flush) {
            flush.answer(Err(self.take_failure().unwrap_or_else(ended)));
        }
    }

    /// Why the stager gives every batch back: the cause to whoever asks first, later only that it has ended; `None`
    /// while it works.
    pub fn take_failure(&self) -> Option<SinkError> {
        let closed = self.messages.is_closed();
        self.shared.take_failure().or_else(|| closed.then(ended))
    }
}

fn ended() -> SinkError {
    SinkError::Rehydrate {
        table: "all tables".into(),
        found: "a stager that has ended, unknown".into(),
        expected: 0,
    }
}

struct Thread {
    config: PostgresConfig,
    definition: Arc<Definition>,
    fence: i64,
    options: StagerOptions,
    wake: Arc<dyn Fn() + Send + Sync>,
    shared: Arc<Shared>,
    queue: mpsc::UnboundedReceiver<Message>,
}

impl Thread {
    fn run(mut self, runtime: &tokio::runtime::Runtime) {
        let stage = AssertUnwindSafe(|| runtime.block_on(self.stage()));
        let staged = panic::catch_unwind(stage).unwrap_or(Err(SinkError::Panicked { thread: THREAD }));
        if let Err(error) = staged {
            tracing::error!(error = %with_causes(&error), "staging history failed");
            *self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            // what waits in the queue is answered and dropped
            self.queue.close();
            while let Ok(message) = self.queue.try_recv() {
                if let Message::Flush(flush) = message {
                    flush.answer(Err(self.shared.take_failure().unwrap_or_else(ended)));
                }
            }
            (self.wake)();
        }
    }

    async fn stage(&mut self) -> Result<(), SinkError> {
        let mut session = Session::open(&self.config, Purpose::Stage).await?;
        let mut buffers = copy::buffers(&self.config.schema, self.fence, &self.definition);
        let surplus = Surplus::of(&self.config.schema, self.fence);
        while let Some(message) = self.queue.recv().await {
            match message {
                Message::Batch(batch, bytes) => {
                    self.encode(&batch, &mut buffers)?;
                    drop(batch);
                    let before = self.shared.in_flight.fetch_sub(bytes, Ordering::AcqRel);
                    debug_assert!(
                        before >= bytes,
                        "bytes that were encoded had been counted when they were offered"
                    );
                    for buffer in buffers
                        .iter_mut()
                        .filter(|buffer| buffer.bytes.len() >= self.options.bytes_per_copy)
                    {
                        buffer.copy(&mut session, &self.config).await?;
                    }
                    if let Some(rejects) = buffers.last_mut() {
                        self.limit_rejects(rejects, &surplus, &session).await?;
                    }
                    if before > self.options.bytes_in_flight / 2 {
                        (self.wake)();
                    }
                }
                Message::Flush(flush) => {
                    let mut result = Ok(());
                    for buffer in buffers.iter_mut().filter(|buffer| buffer.rows > 0) {
                        result = buffer.copy(&mut session, &self.config).await;
                        if result.is_err() {
                            break;
                        }
                    }
                    match result {
                        Ok(()) => flush.answer(Ok(copy::staged(&buffers))),
                        Err(error) => {
                            flush.answer(Err(error));
                            return Err(ended());
                        }
                    }
                    (self.wake)();
                }
            }
        }
        Ok(())
    }

    /// Moves surplus dead letters out of the staging table once half as many have been copied as there is room for.
    async fn limit_rejects(&self, rejects: &mut Buffer, surplus: &Surplus, session: &Session) -> Result<(), SinkError> {
        if rejects.rows > 0 || !rejects.unlimited.is_half(&self.config.rejects) {
            return Ok(());
        }
        match surplus.move_out(session).await {
            Ok(true) => rejects.unlimited = Held::default(),
            Ok(false) => {}
            Err(error) if error.class() == Class::Reconnect => {
                return Err(rejects.lost_connection(&error));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn encode(&self, batch: &StageBatch, buffers: &mut [Buffer]) -> Result<(), SinkError> {
        if self.definition.keep_cleaned {
            for cleaned in &batch.cleaned {
                let Some(table) = self.definition.cleaned.get(usize::from(cleaned.table)) else {
                    return Err(SinkError::Order(
                        "a cleaned row names a table that the definition does not have",
                    ));
                };
                check_cleaned(table, cleaned)?;
                buffers[usize::from(cleaned.table)].put_cleaned(table, cleaned);
            }
        }
        if let Some(buffer) = buffers.last_mut() {
            let limits = &self.config.rejects;
            batch
                .rejects
                .iter()
                .for_each(|reject| buffer.put_reject(reject, limits));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flush_that_is_dropped_is_answered() {
        let (sender, answer) = std::sync::mpsc::channel();
        drop(Flush(Some(Box::new(move |staged| drop(sender.send(staged))))));
        assert!(matches!(answer.recv(), Ok(Err(SinkError::Rehydrate { .. }))));
    }
}
