//! Servers that the tests of a program use in turn, because emptying one takes less time than starting one.
//!
//! A test that takes a server mutably may have stopped it or started it differently: such a server ends with its test.

use anyhow::Result;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

/// Servers that no test uses at present.
pub struct Pool<T>(Mutex<Vec<T>>);

/// A server that one test uses.
pub struct Lent<T: 'static> {
    /// There until this is dropped.
    server: Option<T>,
    /// Where it goes then; it ends otherwise.
    pool: Option<&'static Pool<T>>,
}

impl<T> Default for Pool<T> {
    fn default() -> Pool<T> {
        Pool::new()
    }
}

impl<T> Pool<T> {
    /// Empty at first.
    pub const fn new() -> Pool<T> {
        Pool(Mutex::new(Vec::new()))
    }

    /// A free server, emptied, or else a new one.
    pub fn lend(&'static self, empty: impl Fn(&T) -> Result<()>, start: impl FnOnce() -> Result<T>) -> Result<Lent<T>> {
        let lent = |server| Lent {
            server: Some(server),
            pool: Some(self),
        };
        let free = || self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        while let Some(server) = free() {
            match empty(&server) {
                Ok(()) => return Ok(lent(server)),
                Err(error) => eprintln!("a server is not used again: {error:#}"),
            }
        }
        start().map(lent)
    }
}

impl<T> Lent<T> {
    /// A server for one test alone.
    pub fn own(server: T) -> Lent<T> {
        Lent {
            server: Some(server),
            pool: None,
        }
    }
}

impl<T> Deref for Lent<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.server.as_ref().expect("it is there until this is dropped")
    }
}

impl<T> DerefMut for Lent<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.pool = None;
        self.server.as_mut().expect("it is there until this is dropped")
    }
}

impl<T> Drop for Lent<T> {
    fn drop(&mut self) {
        // a test that failed may have left anything
        if let (Some(pool), Some(server), false) = (self.pool, self.server.take(), std::thread::panicking()) {
            pool.0.lock().unwrap_or_else(PoisonError::into_inner).push(server);
        }
    }
}
