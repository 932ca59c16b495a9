//! Cuts the byte stream of one object into chunks of whole lines, in pooled buffers.
//!
//! A chunk ends at its last newline; what follows is carried to the next one. A line that does not fit a chunk may have
//! the pool's giant buffer; a line above the limit is never held: its beginning is kept, the rest is counted. The last
//! chunk is handed out only after the stream has proved whole (gzip's own check, and the writer's checksum when there
//! is one), and a small buffer that fills is exchanged for a large one first: an object of less than a chunk is handed
//! out whole and sound or not at all. The object's metadata go before its first content, once.

use super::bom::BYTE_ORDER_MARK;
use super::error::LakeError;
use super::fetched::Fetched;
use super::line::PREFIX_BYTES;
use super::metadata::ObjectMetadata;
use super::pool::{Pool, Size};
use std::io::{self, Read};
use std::ops::Deref;
use xxhash_rust::xxh3::Xxh3;

/// What one object may demand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) record_bytes: usize,
    pub(crate) whole_bytes: usize,
    pub(crate) decoded_bytes: u64,
    pub(crate) chunk_bytes: usize,
}

/// Reads one object.
pub(crate) struct Cutter<'a> {
    pub(crate) id: u32,
    pub(crate) key: &'a str,
    pub(crate) pool: &'a Pool,
    pub(crate) limits: Limits,
    /// Takes what is handed out; `false` when no more is wanted.
    pub(crate) out: &'a mut dyn FnMut(Fetched) -> bool,
    /// Scratch space for what follows a chunk's last newline.
    pub(crate) carry: &'a mut Vec<u8>,
    /// What the writer recorded about the version that is being read.
    pub(crate) metadata: Option<Box<ObjectMetadata>>,
    /// The digest of the content so far, where it is wanted.
    pub(crate) digest: Option<Xxh3>,
    /// The digest that the writer recorded.
    pub(crate) expected: Option<u64>,
    /// The metadata have been handed out, and content may have been.
    pub(crate) handed_out: bool,
    pub(crate) bytes: u64,
}

/// A buffer that goes back to the pool unless it is handed out. The first `filled` of its bytes are content; the others
/// are whatever stood there, so that nothing is cleared before it is read into.
struct Lease<'a> {
    pool: &'a Pool,
    buffer: Vec<u8>,
    filled: usize,
}

impl<'a> Lease<'a> {
    fn of(pool: &'a Pool, size: Size) -> Option<Lease<'a>> {
        let mut buffer = pool.take(size)?;
        buffer.resize(buffer.capacity(), 0);
        Some(Lease {
            pool,
            buffer,
            filled: 0,
        })
    }

    fn capacity(&self) -> usize {
        self.buffer.len()
    }

    /// Lets a large buffer grow; `false` when the pool is closed.
    fn grow(&mut self, bytes: usize) -> bool {
        let grown = self.pool.grow(&mut self.buffer, bytes);
        self.buffer.resize(self.buffer.capacity(), 0);
        grown
    }

    /// Reads until there are `upto` bytes or the stream ends; whether it ended.
    fn fill(&mut self, source: &mut dyn Read, upto: usize) -> io::Result<bool> {
        while self.filled < upto {
            match source.read(&mut self.buffer[self.filled..upto]) {
                Ok(0) => return Ok(true),
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    fn push(&mut self, content: &[u8]) {
        self.buffer[self.filled..][..content.len()].copy_from_slice(content);
        self.filled += content.len();
    }

    fn truncate(&mut self, bytes: usize) {
        self.filled = self.filled.min(bytes);
    }

    fn drop_front(&mut self, bytes: usize) {
        self.buffer.copy_within(bytes..self.filled, 0);
        self.filled -= bytes;
    }

    fn strip_byte_order_mark(&mut self) {
        if self.starts_with(BYTE_ORDER_MARK) {
            self.drop_front(BYTE_ORDER_MARK.len());
        }
    }

    fn hand_out(mut self) -> Vec<u8> {
        self.buffer.truncate(self.filled);
        std::mem::take(&mut self.buffer)
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if self.buffer.capacity() > 0 {
            self.pool.give(std::mem::take(&mut self.buffer));
        }
    }
}

impl Deref for Lease<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }
}

/// A line above the limit, of which the rest is being passed over.
struct Skipped {
    prefix: Vec<u8>,
    bytes: u64,
}

impl<'a> Cutter<'a> {
    /// Hands out the stream's lines.
    pub(crate) fn lines(&mut self, source: &mut dyn Read, size: Size) -> io::Result<()> {
        let mut buffer = self.lease(size)?;
        let mut skipped: Option<Skipped> = None;
        let mut at_start = true;
        loop {
            // A giant buffer is filled step by step, so that no more than a chunk is ever carried on.
            let upto = buffer.capacity().min(buffer.len() + self.limits.chunk_bytes);
            let ended = self.fill(source, &mut buffer, upto)?;
            if std::mem::take(&mut at_start) {
                buffer.strip_byte_order_mark();
            }
            if let Some(line) = &mut skipped {
                let end = memchr::memchr(b'\n', &buffer);
                let more = end.unwrap_or(buffer.len());
                line.bytes += more as u64;
                let wanted = PREFIX_BYTES.saturating_sub(line.prefix.len()).min(more);
                line.prefix.extend_from_slice(&buffer[..wanted]);
                let rest = end.map_or(buffer.len(), |end| end + 1);
                buffer.drop_front(rest);
                if (end.is_some() || ended)
                    && let Some(Skipped { prefix, bytes }) = skipped.take()
                {
                    self.hand_out(Fetched::TooLarge {
                        id: self.id,
                        prefix,
                        bytes,
                    })?;
                }
                if !ended {
                    continue;
                }
            }
            if ended {
                self.verify()?;
                return if buffer.is_empty() {
                    Ok(())
                } else {
                    self.hand_out_lines(buffer)
                };
            }
            if buffer.capacity() < self.limits.chunk_bytes {
                buffer = self.enlarge(buffer, self.limits.chunk_bytes)?;
                continue;
            }
            match memchr::memrchr(b'\n', &buffer) {
                Some(end) => {
                    self.carry.clear();
                    self.carry.extend_from_slice(&buffer[end + 1..]);
                    buffer.truncate(end + 1);
                    self.hand_out_lines(buffer)?;
                    buffer = self.lease(Size::Large)?;
                    buffer.push(self.carry);
                }
                None if buffer.len() > self.limits.record_bytes => {
                    let prefix = buffer[..buffer.len().min(PREFIX_BYTES)].to_vec();
                    skipped = Some(Skipped {
                        prefix,
                        bytes: buffer.len() as u64,
                    });
                    drop(buffer);
                    buffer = self.lease(Size::Large)?;
                }
                None if buffer.len() < buffer.capacity() => {}
                None => buffer = self.enlarge(buffer, self.limits.record_bytes + 1)?,
            }
        }
    }

    /// Hands out the whole stream at once.
    pub(crate) fn whole(&mut self, source: &mut dyn Read, size: Size) -> io::Result<()> {
        let mut buffer = self.lease(size)?;
        loop {
            let upto = buffer.capacity();
            let ended = self.fill(source, &mut buffer, upto)?;
            if buffer.len() > self.limits.whole_bytes {
                return Err(self.too_large(self.limits.whole_bytes as u64));
            }
            if ended {
                break;
            }
            let bytes = (buffer.len() * 2).min(self.limits.whole_bytes + 1);
            buffer = self.enlarge(buffer, bytes)?;
        }
        self.verify()?;
        buffer.strip_byte_order_mark();
        let bytes = buffer.hand_out();
        self.hand_out(Fetched::Whole { id: self.id, bytes })
    }

    /// Reads until the buffer holds `upto` bytes or the stream ends; whether it ended.
    fn fill(&mut self, source: &mut dyn Read, buffer: &mut Lease<'a>, upto: usize) -> io::Result<bool> {
        let before = buffer.len();
        let ended = buffer.fill(source, upto)?;
        let read = &buffer[before..];
        self.bytes += read.len() as u64;
        if self.bytes > self.limits.decoded_bytes {
            return Err(self.too_large(self.limits.decoded_bytes));
        }
        if let Some(digest) = &mut self.digest {
            digest.update(read);
        }
        Ok(ended)
    }

    /// A larger buffer with the same content, for content that has no newline yet.
    fn enlarge(&mut self, mut buffer: Lease<'a>, bytes: usize) -> io::Result<Lease<'a>> {
        if buffer.capacity() < self.limits.chunk_bytes {
            self.carry.clear();
            self.carry.extend_from_slice(&buffer);
            drop(buffer);
            buffer = self.lease(Size::Large)?;
            buffer.push(self.carry);
        } else if !buffer.grow(bytes) {
            return Err(self.stopped());
        }
        Ok(buffer)
    }

    fn hand_out_lines(&mut self, buffer: Lease<'a>) -> io::Result<()> {
        let bytes = buffer.hand_out();
        self.hand_out(Fetched::Lines { id: self.id, bytes })
    }

    fn hand_out(&mut self, fetched: Fetched) -> io::Result<()> {
        self.open()?;
        if (self.out)(fetched) {
            Ok(())
        } else {
            Err(self.stopped())
        }
    }

    /// Hands out the metadata, unless that has been done.
    pub(crate) fn open(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.handed_out, true) {
            return Ok(());
        }
        let opened = Fetched::Opened {
            id: self.id,
            metadata: self.metadata.take(),
        };
        if (self.out)(opened) {
            Ok(())
        } else {
            Err(self.stopped())
        }
    }

    fn verify(&self) -> io::Result<()> {
        match (self.expected, &self.digest) {
            (Some(expected), Some(digest)) if digest.digest() != expected => {
                let found = digest.digest();
                let source = format!("its checksum is {found:016x}, its metadata says {expected:016x}").into();
                Err(LakeError::Corrupt {
                    object: self.key.to_string(),
                    source,
                }
                .into())
            }
            _ => Ok(()),
        }
    }

    fn lease(&self, size: Size) -> io::Result<Lease<'a>> {
        Lease::of(self.pool, size).ok_or_else(|| self.stopped())
    }

    fn too_large(&self, limit: u64) -> io::Error {
        LakeError::TooLarge {
            object: self.key.to_string(),
            limit,
        }
        .into()
    }

    fn stopped(&self) -> io::Error {
        LakeError::Stopped {
            object: self.key.to_string(),
        }
        .into()
    }
}

#[cfg(test)]
mod tests;
