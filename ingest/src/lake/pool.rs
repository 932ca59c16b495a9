//! A fixed set of buffers that everything in flight shares, so that bytes in memory are bounded and pages are not
//! faulted in again for every chunk.
//!
//! Three sizes: *small* for objects of a record or two, *large* for chunks, and one *giant* for the rare line or object
//! that is larger than a chunk. A buffer's class is known by its capacity. Whoever waits for a large or small buffer
//! holds none, and the holder of the giant one waits for nothing but its consumer: hence no deadlock, as long as the
//! consumer gives every buffer back.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The capacity of a small buffer.
pub(crate) const SMALL_BYTES: usize = 16 << 10;

/// Which buffer is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    Small,
    Large,
}

#[derive(Debug)]
pub(crate) struct Pool {
    chunk_bytes: usize,
    state: Mutex<State>,
    small_freed: Condvar,
    large_freed: Condvar,
    giant_freed: Condvar,
}

#[derive(Debug)]
struct State {
    small: Class,
    large: Class,
    giant_taken: bool,
    closed: bool,
}

#[derive(Debug)]
struct Class {
    free: Vec<Vec<u8>>,
    /// Buffers that were not needed yet.
    unmade: usize,
    bytes: usize,
    /// Threads that wait for one.
    waiting: usize,
}

impl Class {
    fn take(&mut self) -> Option<Vec<u8>> {
        if let Some(buffer) = self.free.pop() {
            return Some(buffer);
        }
        self.unmade = self.unmade.checked_sub(1)?;
        Some(vec![0; self.bytes])
    }
}

impl Pool {
    pub(crate) fn new(chunk_bytes: usize, chunks: usize, smalls: usize) -> Pool {
        let class = |bytes, unmade| Class {
            free: Vec::with_capacity(unmade),
            unmade,
            bytes,
            waiting: 0,
        };
        Pool {
            chunk_bytes,
            state: Mutex::new(State {
                small: class(SMALL_BYTES, smalls),
                large: class(chunk_bytes, chunks),
                giant_taken: false,
                closed: false,
            }),
            small_freed: Condvar::new(),
            large_freed: Condvar::new(),
            giant_freed: Condvar::new(),
        }
    }

    /// The size for content of about `bytes`.
    pub(crate) fn size_for(&self, bytes: u64) -> Size {
        // Strictly less, so that one read that fills the content also meets its end.
        if bytes < SMALL_BYTES as u64 && SMALL_BYTES < self.chunk_bytes {
            Size::Small
        } else {
            Size::Large
        }
    }

    /// A buffer with any content, as soon as one is free; `None` when the pool is closed. The caller holds no other buffer.
    pub(crate) fn take(&self, size: Size) -> Option<Vec<u8>> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            let (class, freed) = match size {
                Size::Small => (&mut state.small, &self.small_freed),
                Size::Large => (&mut state.large, &self.large_freed),
            };
            if let Some(buffer) = class.take() {
                return Some(buffer);
            }
            class.waiting += 1;
            state = freed.wait(state).unwrap_or_else(PoisonError::into_inner);
            match size {
                Size::Small => state.small.waiting -= 1,
                Size::Large => state.large.waiting -= 1,
            }
        }
    }

    /// Lets `buffer`, a large one, grow to `bytes`: waits until no other buffer is that large. `false` when closed.
    pub(crate) fn grow(&self, buffer: &mut Vec<u8>, bytes: usize) -> bool {
        if self.is_giant(buffer) {
            buffer.reserve_exact(bytes.saturating_sub(buffer.len()));
            return true;
        }
        let mut state = self.lock();
        while state.giant_taken && !state.closed {
            state = self.giant_freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return false;
        }
        state.giant_taken = true;
        // The large buffer leaves its class: another one may be made in its place.
        state.large.unmade += 1;
        drop(state);
        self.large_freed.notify_one();
        buffer.reserve_exact(bytes.max(self.chunk_bytes + 1) - buffer.len());
        true
    }

    /// Takes a buffer back.
    pub(crate) fn give(&self, buffer: Vec<u8>) {
        self.give_all(std::iter::once(buffer));
    }

    /// Takes buffers back, and wakes as many threads as can continue.
    pub(crate) fn give_all(&self, buffers: impl Iterator<Item = Vec<u8>>) {
        let mut state = self.lock();
        let (mut small, mut large, mut giant) = (0, 0, false);
        for buffer in buffers {
            if self.is_giant(&buffer) {
                (state.giant_taken, giant) = (false, true);
            } else if buffer.capacity() >= self.chunk_bytes {
                state.large.free.push(buffer);
                large += 1;
            } else if buffer.capacity() >= SMALL_BYTES {
                state.small.free.push(buffer);
                small += 1;
            }
        }
        // a notification costs a system call even where no thread waits
        let (small, large) = (small.min(state.small.waiting), large.min(state.large.waiting));
        drop(state);
        (0..small).for_each(|_| self.small_freed.notify_one());
        (0..large).for_each(|_| self.large_freed.notify_one());
        if giant {
            self.giant_freed.notify_one();
        }
    }

    /// Wakes all waiting threads, for good.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.small_freed.notify_all();
        self.large_freed.notify_all();
        self.giant_freed.notify_all();
    }

    fn is_giant(&self, buffer: &Vec<u8>) -> bool {
        buffer.capacity() > self.chunk_bytes
    }

    /// Nothing that holds the lock can panic half-way, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
