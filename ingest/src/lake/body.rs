//! An S3 object as a plain byte stream that survives cut connections.
//!
//! [`S3Body`] is read by a thread that may block; the connection itself lives on the async runtime. A body that ends
//! early, resets or falls silent is continued with a `Range` request for the rest, held to the same object by
//! `If-Match`. A replaced object is an error here, since bytes of the old one have been given away.

use super::availability::Attempts;
use super::error::LakeError;
use super::metadata::ObjectMetadata;
use super::request_error::RequestError;
use super::s3::{Failure, S3Store, user_metadata};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use std::future::Future;
use std::io::{self, BufRead, Read};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Waits on a runtime from a thread outside of it, until told to stop.
#[derive(Debug, Clone)]
pub(crate) struct Waiter {
    pub(crate) handle: Handle,
    pub(crate) stop: watch::Receiver<bool>,
}

impl Waiter {
    /// The future's outcome, or `None` when the reader is told to stop first.
    pub(crate) fn wait<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut stop = self.stop.clone();
        self.handle.block_on(async move {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => None,
                output = future => Some(output),
            }
        })
    }
}

/// The bytes of one object, in order, each once.
#[derive(Debug)]
pub(crate) struct S3Body {
    store: Arc<S3Store>,
    waiter: Waiter,
    key: String,
    etag: Option<String>,
    metadata: Option<ObjectMetadata>,
    /// Which version of the object this is, is known.
    opened: bool,
    /// The object's length, once known.
    length: Option<u64>,
    /// Bytes received so far.
    at: u64,
    body: Option<ByteStream>,
    /// Received and not yet read.
    frame: Bytes,
    ended: bool,
    /// Since the last byte that arrived.
    attempts: Attempts,
}

impl S3Body {
    /// Opens an object; returns when its head has arrived.
    pub(crate) fn open(store: Arc<S3Store>, waiter: Waiter, key: &str) -> Result<S3Body, LakeError> {
        let mut body = S3Body {
            attempts: store.attempts("read"),
            store,
            waiter,
            key: key.to_string(),
            etag: None,
            metadata: None,
            opened: false,
            length: None,
            at: 0,
            body: None,
            frame: Bytes::new(),
            ended: false,
        };
        body.request()?;
        Ok(body)
    }

    /// The object's stored bytes, when the server has said so.
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    /// The metadata that came with the object.
    pub(crate) fn metadata(&mut self) -> Option<ObjectMetadata> {
        self.metadata.take()
    }

    /// Asks for the object from where we stand, until it answers or is given up.
    fn request(&mut self) -> Result<(), LakeError> {
        while self.body.is_none() {
            let answer = self.wait(self.store.get(&self.key, self.at, self.etag.as_deref()))?;
            match answer {
                Ok(output) => self.take(output)?,
                Err(failure) => self.failed(failure)?,
            }
        }
        Ok(())
    }

    fn take(&mut self, output: GetObjectOutput) -> Result<(), LakeError> {
        let length = output.content_length().and_then(|length| u64::try_from(length).ok());
        if !std::mem::replace(&mut self.opened, true) {
            self.etag = output.e_tag().map(str::to_string);
            self.length = length;
            self.metadata = user_metadata(&self.key, output.metadata())?;
        } else {
            // Not every server honours If-Match or Range: what continues must be the rest of the same object, whose
            // metadata have been given away.
            let starts = match self.at {
                0 => Some(0),
                _ => output.content_range().and_then(range_start),
            };
            let same = self.etag.as_deref() == output.e_tag();
            let whole = self.length.is_none() || length.is_none() || length.map(|rest| self.at + rest) == self.length;
            if !same || !whole || starts != Some(self.at) {
                return Err(LakeError::Changed {
                    object: self.key.clone(),
                });
            }
        }
        self.body = Some(output.body);
        Ok(())
    }

    /// Waits after a failure and drops the connection it happened on, or gives up.
    fn failed(&mut self, failure: Failure) -> Result<(), LakeError> {
        self.body = None;
        let (store, attempts) = (&self.store, &mut self.attempts);
        let settled = self.waiter.wait(store.settle(&self.key, failure, attempts));
        let pause = settled.ok_or_else(|| LakeError::Stopped {
            object: self.key.clone(),
        })??;
        self.wait(async move { tokio::time::sleep(pause).await })
    }

    fn wait<F: Future>(&self, future: F) -> Result<F::Output, LakeError> {
        self.waiter.wait(future).ok_or_else(|| LakeError::Stopped {
            object: self.key.clone(),
        })
    }

    /// Receives until there are bytes to read or the object has ended.
    fn receive(&mut self) -> Result<(), LakeError> {
        while self.frame.is_empty() && !self.ended {
            self.request()?;
            let Some(body) = self.body.as_mut() else { continue };
            let frame = self.waiter.wait(self.store.frame(body));
            let frame = frame.ok_or_else(|| LakeError::Stopped {
                object: self.key.clone(),
            })?;
            let complete = self.length.is_some_and(|length| self.at >= length);
            match frame {
                Some(Ok(bytes)) => {
                    self.at += bytes.len() as u64;
                    self.frame = bytes;
                    self.attempts.succeeded();
                }
                // All bytes are here, so what failed is the check at their end.
                Some(Err(source)) if complete => {
                    return Err(LakeError::Corrupt {
                        object: self.key.clone(),
                        source: source.into(),
                    });
                }
                Some(Err(cause)) => self.failed(Failure::Transient(cause))?,
                None if complete || self.length.is_none() => {
                    self.ended = true;
                    self.attempts.succeeded();
                }
                None => self.failed(Failure::Transient(RequestError::Other("the body ended early")))?,
            }
        }
        Ok(())
    }
}

/// The first byte of `bytes 10-99/100`.
fn range_start(header: &str) -> Option<u64> {
    header.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok()
}

impl BufRead for S3Body {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.receive()?;
        Ok(&self.frame)
    }

    fn consume(&mut self, amount: usize) {
        let _ = self.frame.split_to(amount);
    }
}

impl Read for S3Body {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let ready = self.fill_buf()?;
        let n = ready.len().min(out.len());
        out[..n].copy_from_slice(&ready[..n]);
        self.consume(n);
        Ok(n)
    }
}
