//! Looks at objects: what their writers recorded, and where they recorded nothing (or everything shall be read) how
//! many lines there are.

use super::error::ArchiveError;
use crate::coverage::Counted;
use crate::lake::{Class, FetchOptions, Fetched, Fetcher, Lake, LakeError, Object, ObjectMetadata};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// Objects looked at at the same time.
const AT_ONCE: usize = 64;
/// Objects given to the fetcher ahead of what it has read.
const AHEAD: usize = 512;

/// What looking at an object showed.
#[derive(Debug)]
pub(super) struct Examined {
    /// Its place among the objects that were given.
    pub(super) index: usize,
    /// Its lines: as its writer recorded them, or as they were counted.
    pub(super) lines: u64,
    /// What its writer recorded.
    pub(super) metadata: ObjectMetadata,
    /// Why it could not be read.
    pub(super) error: Option<LakeError>,
}

impl Examined {
    /// The same for coverage; `None` for objects without offsets.
    pub(super) fn counted(&self, object: &Object) -> Option<Counted> {
        let covers = self.metadata.covers.clone();
        Counted::of(object, self.index as u32, self.lines, covers)
    }
}

/// Asks for what the writers recorded; objects without records of their own are read.
pub(super) async fn recorded(
    lake: &Lake,
    objects: &[Object],
    wanted: impl IntoIterator<Item = usize>,
) -> Result<Vec<Examined>, ArchiveError> {
    let ask = |index: usize| async move {
        let object = &objects[index];
        match lake.metadata(object).await {
            Ok(metadata) => Ok((index, metadata)),
            // removed by a compaction since the listing
            Err(LakeError::Missing { .. }) => Ok((index, ObjectMetadata::default())),
            Err(error) => Err(error),
        }
    };
    let mut examined = Vec::new();
    let mut unknown = Vec::new();
    let mut answers = stream::iter(wanted.into_iter().map(ask)).buffer_unordered(AT_ONCE);
    while let Some((index, metadata)) = answers.try_next().await? {
        match metadata.count {
            Some(lines) => examined.push(Examined {
                index,
                lines,
                metadata,
                error: None,
            }),
            None => unknown.push(index),
        }
    }
    drop(answers);
    unknown.sort_unstable();
    read(lake, objects, unknown, |_, _, _| {}, |found| examined.push(found)).await?;
    Ok(examined)
}

/// Reads objects; `lines_of` is shown each chunk of lines with what the object's writer recorded, `done` each object at
/// its end.
pub(super) async fn read(
    lake: &Lake,
    objects: &[Object],
    wanted: impl IntoIterator<Item = usize>,
    mut lines_of: impl FnMut(usize, &ObjectMetadata, &[u8]),
    mut done: impl FnMut(Examined),
) -> Result<(), ArchiveError> {
    let mut wanted = wanted.into_iter().peekable();
    if wanted.peek().is_none() {
        return Ok(());
    }
    let arrived = Arc::new(Notify::new());
    let wake_channel = Arc::clone(&arrived);
    let options = FetchOptions {
        chunks: 16,
        max_record_bytes: 64 << 20,
        ..FetchOptions::default()
    };
    let lake = lake.clone();
    // starting and dropping it waits for threads
    let mut fetcher = Fetcher::start(
        lake,
        Handle::current(),
        options,
        Arc::new(move || wake_channel.notify_one()),
    );
    // what the writer of an object recorded, and its lines so far
    let mut reading: HashMap<u32, (ObjectMetadata, u64)> = HashMap::new();
    let result = loop {
        while fetcher.open() < AHEAD
            && let Some(index) = wanted.next()
        {
            fetcher.push(index as u32, objects[index].clone());
        }
        if fetcher.open() == 0 {
            break Ok(());
        }
        let Some(fetched) = fetcher.try_next() else {
            arrived.notified().await;
            continue;
        };
        let lines = fetched.lines();
        match fetched {
            Fetched::Opened { id, metadata } => {
                reading.insert(id, (metadata.map_or_else(Default::default, |metadata| *metadata), 0));
            }
            Fetched::Lines { id, bytes } | Fetched::Whole { id, bytes } => {
                let (metadata, count) = reading.entry(id).or_default();
                *count += lines;
                lines_of(id as usize, metadata, &bytes);
                fetcher.recycle(bytes);
            }
            Fetched::TooLarge { id, prefix, .. } => {
                let (metadata, count) = reading.entry(id).or_default();
                *count += lines;
                let line = [&prefix[..], b"\n"].concat();
                lines_of(id as usize, metadata, &line);
            }
            Fetched::Done { id, .. } => {
                let (metadata, lines) = reading.remove(&id).unwrap_or_default();
                done(Examined {
                    index: id as usize,
                    lines,
                    metadata,
                    error: None,
                });
            }
            Fetched::Failed { error, .. } if error.class() != Class::Damaged => break Err(error.into()),
            Fetched::Failed { id, error } => {
                reading.remove(&id);
                done(Examined {
                    index: id as usize,
                    lines: 0,
                    metadata: ObjectMetadata::default(),
                    error: Some(error),
                });
            }
        }
    };
    // its threads wait for the runtime when they are told to stop
    match tokio::task::spawn_blocking(move || drop(fetcher)).await {
        Ok(()) => result,
        Err(_) => Err(ArchiveError::Panicked),
    }
}
