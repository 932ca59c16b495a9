//! Reads many objects at a time into one pool of buffers, for a consumer that must not block.
//!
//! A few threads take objects from a queue, each reads one at a time from its beginning to its end, so the chunks of an
//! object come in order while objects interleave. Threads, not tasks, because decompression and file reads block; the
//! connections of an S3 lake live on the async runtime and the threads wait for their bytes. One batch of small objects
//! costs a thread one visit to the queue.
//!
//! The consumer polls [`Fetcher::try_next`]; after it returned `None`, the next arrival calls `wake` once.

use super::availability::{Attempts, RequestKind};
use super::body::Waiter;
use super::check;
use super::error::{LakeError, read_error};
use super::fetched::Fetched;
use super::lines::{Cutter, Limits};
use super::listing::Object;
use super::name::{Encoding, Place};
use super::open::open;
use super::pool::{Pool, SMALL_BYTES};
use super::request_error::RequestError;
use super::store::{Lake, Store};
use super::timed::Timed;
use crossbeam_channel::{Receiver, Sender};
use std::collections::VecDeque;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::watch;
use xxhash_rust::xxh3::Xxh3;

/// Messages between the reading threads and the consumer.
const MESSAGES: usize = 1024;
/// Small objects that one thread takes at a time.
const BATCH: usize = 32;
/// Small buffers: as many objects of a record or two may wait for the consumer.
const SMALL_BUFFERS: usize = 256;
/// Deflate makes a byte of at most so many.
const GZIP_RATIO: u64 = 1032;
/// How often a damaged or replaced object is read again from its start.
const READS: u32 = 3;
/// Readers of a local folder. One copies a gigabyte in a fraction of a second; four of them, each filling buffers that
/// are not decoded yet, throw the decoder's data out of the cache (2.6 instead of 1.9 CPU s a gigabyte in all).
const FILE_THREADS: usize = 1;

/// How much a [`Fetcher`] may do and hold at once.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// Objects of an S3 lake read at the same time; a `file://` lake needs no more than a few.
    pub objects_in_flight: usize,
    /// Bytes of a chunk (at most `max_record_bytes`).
    pub chunk_bytes: usize,
    /// Chunks in memory, those that the consumer holds included. Beside them: 4 MiB of small buffers, and one line or
    /// whole object that is larger than a chunk.
    pub chunks: usize,
    /// A longer line is handed out as [`Fetched::TooLarge`].
    pub max_record_bytes: usize,
    /// A longer object of an older layout fails: these are handed out whole.
    pub max_whole_bytes: usize,
    /// An object with more bytes, once decompressed, fails.
    pub max_decompressed_bytes: u64,
    /// Whether an object of the log is read to its end, and its checks made, before any of it is handed out: nothing of
    /// an object that fails is then seen. Costs a second read of every object larger than a chunk.
    pub prove_first: bool,
}

impl Default for FetchOptions {
    fn default() -> Self {
        FetchOptions {
            objects_in_flight: 64,
            chunk_bytes: 1 << 20,
            chunks: 32,
            max_record_bytes: 8 << 20,
            max_whole_bytes: 64 << 20,
            max_decompressed_bytes: 64 << 30,
            prove_first: false,
        }
    }
}

/// Reads objects in the background. Dropping it stops the reading.
pub struct Fetcher {
    shared: Arc<Shared>,
    arrivals: Option<Receiver<Fetched>>,
    /// Buffers on their way back to the pool, fewer than `together`.
    returned: Vec<Vec<u8>>,
    /// So many buffers go back at once: waking a thread costs more than filling a buffer.
    together: usize,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    lake: Lake,
    waiter: Waiter,
    pool: Pool,
    limits: Limits,
    prove_first: bool,
    threads: usize,
    queue: Mutex<Queue>,
    pushed: Condvar,
    /// Objects pushed and not yet ended, as the consumer has seen it.
    open: AtomicUsize,
    /// The consumer found nothing, and wants to be woken.
    wants_wake: AtomicBool,
    wake: Arc<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct Queue {
    objects: VecDeque<(u32, Object)>,
    closed: bool,
}

impl Fetcher {
    /// Starts the reading threads. `handle` belongs to a multi-threaded runtime; `wake` is called from any thread.
    pub fn start(lake: Lake, handle: Handle, options: FetchOptions, wake: Arc<dyn Fn() + Send + Sync>) -> Fetcher {
        let record_bytes = options.max_record_bytes.max(16);
        let chunk_bytes = options.chunk_bytes.clamp(16, record_bytes);
        let threads = match lake.store {
            Store::S3(_) => options.objects_in_flight.max(1),
            Store::File(_) => options.objects_in_flight.clamp(1, FILE_THREADS),
        };
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(Shared {
            lake,
            waiter: Waiter { handle, stop: stopped },
            pool: Pool::new(chunk_bytes, options.chunks.max(1), SMALL_BUFFERS),
            limits: Limits {
                record_bytes,
                whole_bytes: options.max_whole_bytes,
                decoded_bytes: options.max_decompressed_bytes,
                chunk_bytes,
            },
            prove_first: options.prove_first,
            threads,
            queue: Mutex::default(),
            pushed: Condvar::new(),
            open: AtomicUsize::new(0),
            wants_wake: AtomicBool::new(true),
            wake,
        });
        let (sender, arrivals) = crossbeam_channel::bounded(MESSAGES);
        let start = |n: usize| {
            let (shared, sender) = (shared.clone(), sender.clone());
            let thread = std::thread::Builder::new()
                .name(format!("lake-{n}"))
                .stack_size(512 << 10);
            thread.spawn(move || shared.work(&sender))
        };
        // A machine that refuses a thread reads with fewer; without any, `push` reports it.
        let threads = (0..threads).map_while(|n| start(n).ok()).collect();
        Fetcher {
            shared,
            arrivals: Some(arrivals),
            returned: Vec::new(),
            together: (options.chunks / 2).max(1),
            stop,
            threads,
        }
    }

    /// Queues an object. The queue is as long as the caller makes it: see [`Fetcher::open`].
    pub fn push(&self, id: u32, object: Object) {
        assert!(
            !self.threads.is_empty(),
            "the system started no thread to read the lake with"
        );
        self.shared.open.fetch_add(1, Ordering::Relaxed);
        self.shared.lock().objects.push_back((id, object));
        self.shared.pushed.notify_one();
    }

    /// Objects that were pushed and have not ended in [`Fetcher::try_next`] yet.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// What has arrived; never blocks. After `None` the next arrival wakes the consumer.
    pub fn try_next(&mut self) -> Option<Fetched> {
        let arrivals = self.arrivals.as_ref()?;
        let fetched = arrivals.try_recv().ok().or_else(|| {
            self.shared.pool.give_all(self.returned.drain(..));
            self.shared.wants_wake.store(true, Ordering::SeqCst);
            // What came between the look and the wish would wake no one.
            arrivals.try_recv().ok()
        })?;
        if matches!(fetched, Fetched::Done { .. } | Fetched::Failed { .. }) {
            self.shared.open.fetch_sub(1, Ordering::Relaxed);
        }
        Some(fetched)
    }

    /// Gives the bytes of a `Lines` or `Whole` back. The very same vectors: reading stops when they do not return.
    pub fn recycle(&mut self, bytes: Vec<u8>) {
        self.returned.push(bytes);
        if self.returned.len() >= self.together {
            self.shared.pool.give_all(self.returned.drain(..));
        }
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.pushed.notify_all();
        self.shared.pool.close();
        let _ = self.stop.send(true);
        self.arrivals = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// A reading thread.
    fn work(&self, sender: &Sender<Fetched>) {
        let mut carry = Vec::new();
        let mut batch = Vec::new();
        let mut out = |fetched| {
            let sent = sender.send(fetched).is_ok();
            if self.wants_wake.swap(false, Ordering::SeqCst) {
                (self.wake)();
            }
            sent
        };
        while self.pop(&mut batch) {
            for (id, object) in batch.drain(..) {
                let read = AssertUnwindSafe(|| self.read(id, &object, &mut carry, &mut out));
                let ended = panic::catch_unwind(read).unwrap_or_else(|_| Fetched::Failed {
                    id,
                    error: LakeError::Panicked {
                        object: object.key.clone(),
                    },
                });
                if !out(ended) {
                    return;
                }
                if carry.capacity() > 4 * SMALL_BYTES {
                    carry = Vec::new();
                }
            }
        }
    }

    /// Waits for work: an object, or a fair share of small ones. `false` when there will be none.
    fn pop(&self, batch: &mut Vec<(u32, Object)>) -> bool {
        let mut queue = self.lock();
        while queue.objects.is_empty() && !queue.closed {
            queue = self.pushed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        if queue.closed {
            return false;
        }
        let share = (queue.objects.len() / self.threads).clamp(1, BATCH);
        let mut small = true;
        while batch.len() < share && small {
            let Some(object) = queue.objects.pop_front() else { break };
            small = object.1.size < SMALL_BYTES as u64;
            batch.push(object);
        }
        true
    }

    /// Reads one object to its end, again from its start if that can help; the message that ends it.
    fn read(&self, id: u32, object: &Object, carry: &mut Vec<u8>, out: &mut dyn FnMut(Fetched) -> bool) -> Fetched {
        let mut reads = 1;
        let mut attempts = Attempts::new(&self.lake.availability, "read");
        loop {
            let mut cutter = Cutter {
                id,
                key: &object.key,
                pool: &self.pool,
                limits: self.limits,
                out: &mut *out,
                carry: &mut *carry,
                metadata: None,
                digest: None,
                expected: None,
                handed_out: false,
                bytes: 0,
            };
            let proved = if self.prove_first { self.prove(object) } else { Ok(()) };
            let error = match proved.and_then(|()| self.read_once(object, &mut cutter)) {
                Ok(took) => {
                    attempts.succeeded();
                    return Fetched::Done {
                        id,
                        bytes: cutter.bytes,
                        digest: cutter.digest.map(|digest| digest.digest()),
                        took,
                    };
                }
                Err(error) => error,
            };
            let again = !cutter.handed_out && reads < READS && error.is_worth_another_read();
            let pause = match self.lake.settle(RequestKind::Object, &object.key, error, &mut attempts) {
                // a part of it was handed out: it cannot be read again from its start
                Ok(_) if cutter.handed_out => {
                    Err(attempts.given_up(&object.key, RequestError::Other("reading it broke off")))
                }
                Ok(pause) => Ok(pause),
                // the object, or its sidecar, may have been replaced between two looks
                Err(error) if again => {
                    tracing::debug!(error = %causes::with_causes(&error), "reading again");
                    reads += 1;
                    Ok(self.lake.availability.retries.pause(reads))
                }
                Err(error) => Err(error),
            };
            let paused = pause.and_then(|pause| {
                let paused = self.waiter.wait(async move { tokio::time::sleep(pause).await });
                paused.ok_or_else(|| LakeError::Stopped {
                    object: object.key.clone(),
                })
            });
            if let Err(error) = paused {
                return Fetched::Failed { id, error };
            }
        }
    }

    /// Reads one object to its end; how long opening it and reading its bytes took.
    fn read_once(&self, object: &Object, cutter: &mut Cutter<'_>) -> Result<Duration, LakeError> {
        let began = Instant::now();
        let (source, metadata) = open(&self.lake, &self.waiter, object)?;
        let mut source = Timed::new(source, began.elapsed());
        cutter.expected = metadata.as_ref().and_then(|metadata| metadata.checksum);
        cutter.metadata = metadata.map(Box::new);
        let wanted = cutter.expected.is_some() || matches!(object.place, Place::Legacy);
        cutter.digest = wanted.then(Xxh3::new);
        let size = self.pool.size_for(object.size);
        let read = match object.place {
            Place::Log { .. } => cutter.lines(&mut source, size),
            Place::Legacy => cutter.whole(&mut source, size),
        };
        // an object without lines has metadata too
        let opened = read.and_then(|()| cutter.open());
        opened.map_err(|error| read_error(&object.key, object.encoding, error))?;
        Ok(source.took())
    }

    /// Reads an object to its end without handing anything out, when it may fill more than one chunk.
    fn prove(&self, object: &Object) -> Result<(), LakeError> {
        let most = match object.encoding {
            Encoding::Plain => object.size,
            Encoding::Gzip => object.size.saturating_mul(GZIP_RATIO),
        };
        match object.place {
            Place::Log { .. } if most > self.limits.chunk_bytes as u64 => {
                check::prove(&self.lake, &self.waiter, object, self.limits.decoded_bytes)
            }
            _ => Ok(()),
        }
    }

    /// Nothing that holds the lock can panic half-way, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
