//! Looks into one object without the fetcher's buffers: whether it can be read to its end, and what its first line is.

use super::availability::RequestKind;
use super::body::Waiter;
use super::bom::strip_byte_order_mark;
use super::error::{LakeError, read_error};
use super::listing::Object;
use super::metadata::ObjectMetadata;
use super::open::open;
use super::store::Lake;
use std::io::{self, BufRead, BufReader, Read};
use tokio::runtime::Handle;
use tokio::sync::watch;
use xxhash_rust::xxh3::Xxh3;

/// Bytes read at a time.
const PIECE: usize = 64 << 10;

/// Reads an object to its end: its transport, its compression and its writer's checksum prove it sound, or say why not.
pub(super) fn prove(lake: &Lake, waiter: &Waiter, object: &Object, limit: u64) -> Result<(), LakeError> {
    let key = &object.key;
    let (mut source, metadata) = open(lake, waiter, object)?;
    let expected = metadata.and_then(|metadata| metadata.checksum);
    let mut hash = expected.map(|_| Xxh3::new());
    let mut piece = vec![0; PIECE];
    let mut total = 0u64;
    loop {
        let read = match source.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(read_error(key, object.encoding, error)),
        };
        total += read as u64;
        if total > limit {
            return Err(LakeError::TooLarge {
                object: key.clone(),
                limit,
            });
        }
        if let Some(hash) = &mut hash {
            hash.update(&piece[..read]);
        }
    }
    match (hash.map(|hash| hash.digest()), expected) {
        (Some(found), Some(expected)) if found != expected => Err(LakeError::Corrupt {
            object: key.clone(),
            source: format!("its checksum is {found:016x}, its metadata says {expected:016x}").into(),
        }),
        _ => Ok(()),
    }
}

impl Lake {
    /// The first line of an object; see [`Lake::line`].
    pub async fn first_line(
        &self,
        object: &Object,
        limit: usize,
    ) -> Result<Option<(Vec<u8>, ObjectMetadata)>, LakeError> {
        self.line(object, 0, limit).await
    }

    /// A line of an object, counted from 0, without its newline, and what its writer recorded, both of the same version;
    /// `None` when it has none, or one longer than `limit`. Reads no more of the object than that takes.
    pub async fn line(
        &self,
        object: &Object,
        number: u64,
        limit: usize,
    ) -> Result<Option<(Vec<u8>, ObjectMetadata)>, LakeError> {
        // who is no longer waited for stops
        let (_waited_for, stop) = watch::channel(false);
        let (lake, key, object, handle) = (self.clone(), &object.key, object.clone(), Handle::current());
        let read = move || {
            let waiter = Waiter {
                handle: handle.clone(),
                stop: stop.clone(),
            };
            let (source, metadata) = open(&lake, &waiter, &object)?;
            let failed = |error| read_error(&object.key, object.encoding, error);
            let mut source = BufReader::with_capacity(PIECE, source);
            for _ in 0..number {
                if source.skip_until(b'\n').map_err(failed)? == 0 {
                    return Ok(None);
                }
            }
            let mut line = Vec::new();
            let read = source.take(limit as u64 + 1).read_until(b'\n', &mut line);
            read.map_err(failed)?;
            if number == 0 {
                strip_byte_order_mark(&mut line);
            }
            let ended = line.pop_if(|byte| *byte == b'\n').is_some();
            let whole = !line.is_empty() && (ended || line.len() <= limit);
            Ok(whole.then(|| (line, metadata.unwrap_or_default())))
        };
        self.repeat(RequestKind::Object, "read", key, read).await
    }
}
