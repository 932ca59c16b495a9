//! One stager per process: copies cleaned rows and dead letters of history into the staging tables.
//!
//! A dataflow worker must never wait for Postgres, so [`Stager::offer`] takes a batch or gives it back at once. Bytes
//! in flight are bounded; when room returns, or something ends, the stager calls `wake`. A thread of its own turns rows
//! into the binary `COPY` form and sends them over a connection of its own.
//!
//! A lost connection is final ([`SinkError::Rehydrate`]): whether its last `COPY` arrived is unknown, and the counts
//! would no longer say what the first commit needs to know.

use crate::config::PostgresConfig;
use crate::encode::{self, put_bool, put_bytes, put_i16, put_i32, put_i64, put_optional_bytes};
use crate::error::{Backoff, Class, SinkError};
use crate::failpoint;
use crate::history::staging_name;
use crate::schema::Definition;
use crate::session::{Purpose, Session};
use crate::sql::{self, REJECT_COLUMNS, STAGED, qualified};
use crate::step::{CleanedRow, Reject, Staged, check_cleaned};
use crate::whole::COPY_CHUNK;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::SinkExt;
use operators::Table;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
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

enum Message {
    Batch(StageBatch, usize),
    Flush(Flushed),
}

struct Shared {
    in_flight: AtomicUsize,
    /// Why the thread has ended, until somebody takes it.
    failure: Mutex<Option<SinkError>>,
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
        let failed = |source| SinkError::File {
            path: "thread pinflow-stager".into(),
            source,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let spawned = std::thread::Builder::new()
            .name("pinflow-stager".into())
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
        if taken.is_err() {
            return Err(batch);
        }
        match self.messages.send(Message::Batch(batch, bytes)) {
            Ok(()) => Ok(()),
            Err(mpsc::error::SendError(Message::Batch(batch, _))) => Err(batch),
            Err(mpsc::error::SendError(Message::Flush(_))) => Ok(()),
        }
    }

    /// Once everything offered so far is in Postgres, calls `done` on the stager's thread with the number of rows
    /// staged since the start.
    pub fn flush(&self, done: impl FnOnce(Result<Staged, SinkError>) + Send + 'static) {
        if let Err(mpsc::error::SendError(Message::Flush(done))) = self.messages.send(Message::Flush(Box::new(done))) {
            done(Err(self.take_failure().unwrap_or_else(ended)));
        }
    }

    /// Why the stager gives every batch back; once.
    pub fn take_failure(&self) -> Option<SinkError> {
        self.shared
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
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

/// Encoded rows of one staging table, on their way into one `COPY`.
struct Buffer {
    statement: String,
    table: String,
    bytes: BytesMut,
    rows: u64,
    staged: u64,
}

impl Thread {
    fn run(mut self, runtime: &tokio::runtime::Runtime) {
        if let Err(error) = runtime.block_on(self.stage()) {
            tracing::error!(%error, "staging history failed");
            *self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            // what waits in the queue is answered and dropped
            self.queue.close();
            while let Ok(message) = self.queue.try_recv() {
                if let Message::Flush(done) = message {
                    let failure = self
                        .shared
                        .failure
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .take();
                    done(Err(failure.unwrap_or_else(ended)));
                }
            }
            (self.wake)();
        }
    }

    async fn stage(&mut self) -> Result<(), SinkError> {
        let session = Session::open(&self.config, Purpose::Stage).await?;
        let mut buffers = self.buffers();
        while let Some(message) = self.queue.recv().await {
            match message {
                Message::Batch(batch, bytes) => {
                    self.encode(&batch, &mut buffers)?;
                    drop(batch);
                    let before = self.shared.in_flight.fetch_sub(bytes, Ordering::AcqRel);
                    for buffer in buffers
                        .iter_mut()
                        .filter(|buffer| buffer.bytes.len() >= self.options.bytes_per_copy)
                    {
                        buffer.copy(&session).await?;
                    }
                    if before > self.options.bytes_in_flight / 2 {
                        (self.wake)();
                    }
                }
                Message::Flush(done) => {
                    let mut result = Ok(());
                    for buffer in buffers.iter_mut().filter(|buffer| buffer.rows > 0) {
                        result = buffer.copy(&session).await;
                        if result.is_err() {
                            break;
                        }
                    }
                    match result {
                        Ok(()) => done(Ok(staged(&buffers))),
                        Err(error) => {
                            done(Err(error));
                            return Err(ended());
                        }
                    }
                    (self.wake)();
                }
            }
        }
        Ok(())
    }

    /// One buffer per cleaned table, and the last for the rejects.
    fn buffers(&self) -> Vec<Buffer> {
        let buffer = |table: &str, columns: String| {
            let staging = qualified(&self.config.schema, &staging_name(self.fence, table));
            let statement = format!("COPY {staging} ({columns}) FROM STDIN (FORMAT binary)");
            Buffer {
                statement,
                table: table.into(),
                bytes: BytesMut::new(),
                rows: 0,
                staged: 0,
            }
        };
        let cleaned = |table: &Table| {
            buffer(
                table.name,
                sql::list("", sql::names(table).chain(STAGED.iter().map(|column| column.0))),
            )
        };
        let mut buffers: Vec<Buffer> = self.definition.cleaned.iter().map(cleaned).collect();
        buffers.push(buffer(
            "rejects",
            sql::list("", REJECT_COLUMNS.iter().map(|column| column.0)),
        ));
        buffers
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
            batch.rejects.iter().for_each(|reject| buffer.put_reject(reject));
        }
        Ok(())
    }
}

fn staged(buffers: &[Buffer]) -> Staged {
    let (rejects, cleaned) = buffers.split_last().expect("the buffer of rejects");
    Staged {
        cleaned: cleaned.iter().map(|buffer| buffer.staged).collect(),
        rejects: rejects.staged,
    }
}

impl Buffer {
    fn begin_row(&mut self, fields: usize) {
        if self.rows == 0 {
            encode::put_copy_header(&mut self.bytes);
        }
        self.rows += 1;
        self.bytes.put_i16(fields as i16);
    }

    fn put_cleaned(&mut self, table: &Table, cleaned: &CleanedRow) {
        self.begin_row(table.columns.len() + STAGED.len());
        let out = &mut self.bytes;
        for (index, column) in table.columns.iter().enumerate() {
            encode::put_cleaned(out, cleaned, index, column.ty);
        }
        put_i16(out, cleaned.position.generation().into());
        put_i32(out, cleaned.position.partition());
        put_i64(out, cleaned.position.offset());
        put_bool(out, cleaned.row.is_none());
    }

    fn put_reject(&mut self, reject: &Reject) {
        self.begin_row(REJECT_COLUMNS.len());
        let (source, position) = reject.source();
        let out = &mut self.bytes;
        put_bytes(out, source.as_bytes());
        put_i64(out, position);
        put_bytes(out, reject.topic.as_bytes());
        match reject.partition() {
            Some(partition) => put_i32(out, partition),
            None => out.put_i32(-1),
        }
        match reject.offset() {
            Some(offset) => put_i64(out, offset),
            None => out.put_i32(-1),
        }
        put_optional_bytes(out, reject.object().map(str::as_bytes));
        put_bytes(out, reject.reason.as_bytes());
        put_optional_bytes(out, reject.key.as_deref());
        put_optional_bytes(out, reject.value.as_deref());
    }

    /// Copies what is buffered. A `COPY` that the server refuses for a passing reason left nothing and is sent again.
    async fn copy(&mut self, session: &Session) -> Result<(), SinkError> {
        encode::put_copy_trailer(&mut self.bytes);
        let bytes = self.bytes.split().freeze();
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
        loop {
            let error = match self.copy_once(session, bytes.clone()).await {
                Ok(rows) if rows == self.rows => break,
                Ok(rows) => return Err(self.lost(format!("{rows} of the last COPY"))),
                Err(source) => SinkError::postgres(format!("staging {}", self.table), source),
            };
            match error.class() {
                Class::Retry => tracing::warn!(%error, "staging failed, trying again"),
                Class::Reconnect => return Err(self.lost(format!("the connection lost ({error}), unknown"))),
                Class::Stop => return Err(error),
            }
            backoff.wait().await;
        }
        self.staged += self.rows;
        self.rows = 0;
        failpoint::reach(failpoint::DURING_STAGING);
        Ok(())
    }

    fn lost(&self, found: String) -> SinkError {
        SinkError::Rehydrate {
            table: self.table.clone(),
            found,
            expected: self.staged + self.rows,
        }
    }

    async fn copy_once(&self, session: &Session, mut bytes: Bytes) -> Result<u64, tokio_postgres::Error> {
        let copy = session.client.copy_in::<_, Bytes>(&self.statement).await?;
        let mut copy = std::pin::pin!(copy);
        while !bytes.is_empty() {
            copy.send(bytes.split_to(bytes.len().min(COPY_CHUNK))).await?;
        }
        copy.finish().await
    }
}
