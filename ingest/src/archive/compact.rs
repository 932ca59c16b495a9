//! Merges small objects into large ones.
//!
//! A merged object holds the lines of consecutive objects of one folder, under a name of its own: the same start with
//! more zeros before it, which every reader takes for the same number. It is written beside the objects it replaces,
//! read back and compared, and only then are those removed; so at every moment, and after a crash at any, each offset
//! is in some object, and an offset in two is nothing to a reader. What an interrupted run has left is found by the
//! next one: an object within a larger one is compared with it line by line before it goes.
//!
//! A reader that has listed the lake wants to find what it has listed: replaced objects stay for a while (`keep`) and
//! go with a later run. `_pinflow/compact/{topic}+{partition}.json` says since when they have been replaced, by a clock
//! that the wall clock of this machine does not move (`Lake::now`): a jump of it deletes nothing early.
//!
//! Only objects that are proved to be exact are merged: where lines may be missing, start and line would no longer give
//! the offset. What goes is judged by its lines alone: while the parts of a merged object are being removed those that are
//! left have lost the neighbours that proved them exact.

mod plan;

use super::error::ArchiveError;
use super::examine::{self, Examined};
use super::line::append_of_other_writer;
use super::resume::list;
use crate::coverage::coverage;
use crate::failpoint;
use crate::lake::{
    CONTROL_FOLDER, Encoding, Lake, Object, ObjectMetadata, Place, checksum, count_lines, strip_byte_order_mark,
};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use plan::{Known, Notes, State, merged_key, noted_since, replaced, runs};
use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::time::Duration;
use values::Partition;

/// Objects read, or removed, at the same time.
const AT_ONCE: usize = 32;
/// No object with more bytes, once decompressed, is held in memory.
const MOST_BYTES: usize = 1 << 30;

/// What to merge, and how.
#[derive(Debug, Clone)]
pub struct CompactOptions {
    /// The topics' names.
    pub topics: Vec<String>,
    /// About how large merged objects become, in stored bytes of their parts.
    pub target_bytes: u64,
    /// How merged objects are stored.
    pub encoding: Encoding,
    /// A larger object is uploaded in parts of this size.
    pub part_bytes: usize,
    /// How long replaced objects stay.
    pub keep: Duration,
}

/// What a compaction has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Objects written.
    pub written: u64,
    /// Objects that are in them.
    pub merged: u64,
    /// Records that are in them.
    pub records: u64,
    /// Replaced objects removed.
    pub removed: u64,
    /// Replaced objects that stay for now.
    pub waiting: u64,
    /// Objects left as they are because they are not proved to be exact, or not what their writer recorded.
    pub left: u64,
}

/// Merges small objects of all topics.
pub async fn compact(lake: &Lake, options: &CompactOptions) -> Result<Compacted, ArchiveError> {
    let Some(_lock) = lake.lock("compact")? else {
        return Err(ArchiveError::Busy {
            url: lake.url().to_string(),
        });
    };
    lake.refuses_overwriting().await?;
    let mut objects = list(lake, &options.topics).await?.objects;
    objects.retain(|object| !object.deletes && matches!(object.place, Place::Log { .. }) && object.topic.is_some());
    let mut done = Compacted::default();
    let same = |a: &Object, b: &Object| a.topic == b.topic && partition(a) == partition(b);
    for own in objects.chunk_by(same) {
        let topic = &options.topics[usize::from(own[0].topic.unwrap_or(0))];
        PartitionObjects {
            lake,
            options,
            topic,
            partition: partition(&own[0]),
        }
        .compact(own, &mut done)
        .await?;
    }
    Ok(done)
}

fn partition(object: &Object) -> Partition {
    match object.place {
        Place::Log { partition, .. } => partition,
        Place::Legacy => Partition(-1),
    }
}

/// The objects of one partition.
struct PartitionObjects<'a> {
    lake: &'a Lake,
    options: &'a CompactOptions,
    topic: &'a str,
    partition: Partition,
}

impl PartitionObjects<'_> {
    async fn compact(&self, objects: &[Object], done: &mut Compacted) -> Result<(), ArchiveError> {
        let known = self.know(objects).await?;
        let mut replaced = replaced(&known);
        let gone: HashSet<usize> = replaced.values().flatten().copied().collect();
        let left = |index: &usize| known[*index].state != State::Exact && !gone.contains(index);
        done.left += (0..known.len()).filter(left).count() as u64;
        let small: Vec<usize> = (0..known.len())
            .filter(|index| {
                let known = &known[*index];
                known.state == State::Exact
                    && !gone.contains(index)
                    && known.object.size < self.options.target_bytes / 2
            })
            .collect();
        let mut fresh = Vec::new();
        for run in runs(&known, &small, self.options.target_bytes) {
            match self.merge(&known, run).await? {
                Some(written) => {
                    done.written += 1;
                    done.merged += run.len() as u64;
                    done.records += written.1;
                    fresh.push((written.0, run));
                }
                None => done.left += run.len() as u64,
            }
        }
        if replaced.is_empty() && fresh.is_empty() {
            return Ok(());
        }
        let keys = replaced.keys().map(|index| known[*index].object.key.clone());
        let keys: Vec<String> = keys.chain(fresh.iter().map(|(key, _)| key.clone())).collect();
        let notes_key = format!("{CONTROL_FOLDER}/compact/{}+{}.json", self.topic, self.partition);
        let noted = self.lake.get_small(&notes_key).await?;
        // what is not readable is no note, and the time begins anew
        let mut written: Option<Notes> = noted.map(|bytes| serde_json::from_slice(&bytes).unwrap_or_default());
        let (mut notes, due) = if self.options.keep.is_zero() {
            (Notes::new(), keys.into_iter().collect())
        } else {
            let now = self.lake.now().await?;
            noted_since(&keys, written.clone().unwrap_or_default(), &now, self.options.keep)
        };
        self.note(&notes_key, &notes, &mut written).await?;
        failpoint::reach(failpoint::COMPACT_BEFORE_DELETE);
        let is_due = |key: &str| due.contains(key);
        replaced.retain(|by, these| {
            let due = is_due(&known[*by].object.key);
            done.waiting += if due { 0 } else { these.len() as u64 };
            due
        });
        let mut ended = Vec::new();
        for (by, these) in replaced {
            let same = self.same_lines(&known, by, &these).await?;
            done.left += (these.len() - same.len()) as u64;
            done.removed += self.remove(&known, &same).await?;
            ended.push(known[by].object.key.clone());
        }
        for (key, run) in fresh {
            if is_due(&key) {
                done.removed += self.remove(&known, run).await?;
                ended.push(key);
            } else {
                done.waiting += run.len() as u64
            }
        }
        notes.retain(|key, _| !ended.contains(key));
        self.note(&notes_key, &notes, &mut written).await
    }

    /// Leaves these notes in the place of those that stand there.
    async fn note(&self, key: &str, notes: &Notes, written: &mut Option<Notes>) -> Result<(), ArchiveError> {
        let wanted = (!notes.is_empty()).then(|| notes.clone());
        if *written == wanted {
            return Ok(());
        }
        match &wanted {
            None => self.lake.delete(key).await?,
            Some(notes) => {
                let bytes = serde_json::to_vec(notes).expect("names and moments serialise");
                self.lake.put(key, bytes, BTreeMap::new()).await?;
            }
        }
        *written = wanted;
        Ok(())
    }

    async fn know(&self, objects: &[Object]) -> Result<Vec<Known>, ArchiveError> {
        let mut examined = examine::recorded(self.lake, objects, 0..objects.len()).await?;
        examined.sort_by_key(|examined| examined.index);
        let counted: Vec<_> = examined
            .iter()
            .filter_map(|examined| examined.counted(&objects[examined.index]))
            .collect();
        let doubtful: HashSet<u32> = coverage(&counted, &self.options.topics)
            .into_values()
            .flat_map(|coverage| coverage.inexact.into_iter().chain(coverage.unproved))
            .map(|object| object.object)
            .collect();
        let known = |examined: Examined| {
            let object = objects[examined.index].clone();
            let Place::Log { start, .. } = object.place else {
                return None;
            };
            let lines = examined.lines;
            let covers = examined.metadata.covers.clone().unwrap_or(start..start.plus(lines));
            Some(Known {
                state: match examined.error {
                    Some(_) => State::Unreadable,
                    // its offset is its name
                    None if lines == 1 => State::Exact,
                    None if doubtful.contains(&(examined.index as u32)) => State::Doubtful,
                    None => State::Exact,
                },
                object,
                start,
                lines,
                covers,
                metadata: examined.metadata,
            })
        };
        Ok(examined.into_iter().filter_map(known).collect())
    }

    /// Writes one object of a run's lines, and reads it back. `None` when a part is not what its writer recorded.
    async fn merge(&self, known: &[Known], run: &[usize]) -> Result<Option<(String, u64)>, ArchiveError> {
        let parts = run.iter().map(|index| &known[*index]);
        let (first, last) = (&known[run[0]], &known[run[run.len() - 1]]);
        let mut content = Vec::new();
        let mut reading = stream::iter(parts.clone())
            .map(|part| self.lines(part))
            .buffered(AT_ONCE);
        while let Some(lines) = reading.try_next().await? {
            match lines {
                Some(lines) => content.extend_from_slice(&lines),
                None => return Ok(None),
            }
        }
        drop(reading);
        let records: u64 = parts.clone().map(|part| part.lines).sum();
        let covers = first.covers.start..last.covers.end;
        let content = Bytes::from(content);
        let body = pack(content.clone(), self.options.encoding).await?;
        let metadata = ObjectMetadata {
            end: Some(first.start.plus(records)),
            count: Some(records),
            covers: Some(covers.clone()),
            checksum: Some(checksum(&content)),
            bytes: Some(body.len() as u64),
        };
        let key = merged_key(&first.object.key, first.start, self.options.encoding);
        let map = metadata.to_map();
        failpoint::reach(failpoint::COMPACT_BEFORE_PUT);
        self.lake
            .put_new(&key, body.clone(), &map, self.options.part_bytes)
            .await?;
        failpoint::reach(failpoint::COMPACT_AFTER_PUT);
        // what stands there now, whoever wrote it
        let found = self.lake.look_at(&key).await?;
        let limit = content.len() + 1;
        let read = self.lake.read_prefix(&key, self.options.encoding, limit).await?;
        if found == Some(metadata) && read == content {
            Ok(Some((key, records)))
        } else {
            Err(ArchiveError::Unverified { key, covers })
        }
    }

    /// The lines of an object as they stand in one of ours, each with its newline; `None` when they are not what its
    /// writer recorded.
    async fn lines(&self, known: &Known) -> Result<Option<Vec<u8>>, ArchiveError> {
        let object = &known.object;
        let mut bytes = self.lake.read_prefix(&object.key, object.encoding, MOST_BYTES).await?;
        let sum = known.metadata.checksum;
        let altered = sum.is_some_and(|sum| sum != checksum(&bytes));
        strip_byte_order_mark(&mut bytes);
        if !bytes.is_empty() && !bytes.ends_with(b"\n") {
            bytes.push(b'\n');
        }
        let lines = count_lines(&bytes);
        if altered || lines != known.lines {
            tracing::warn!(
                "{} is not what its writer recorded, it stays: see `pinflow audit --deep`",
                object.key
            );
            return Ok(None);
        }
        if known.metadata.is_ours() {
            return Ok(Some(bytes));
        }
        let mut ours = Vec::with_capacity(bytes.len());
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            append_of_other_writer(line.strip_suffix(b"\n").unwrap_or(line), &mut ours);
        }
        Ok(Some(ours))
    }

    /// Those of the objects whose lines the larger one holds at the same offsets.
    async fn same_lines(&self, known: &[Known], by: usize, these: &[usize]) -> Result<Vec<usize>, ArchiveError> {
        let large = &known[by];
        let Some(content) = self.lines(large).await? else {
            return Ok(Vec::new());
        };
        let ends: Vec<usize> = memchr::memchr_iter(b'\n', &content).map(|at| at + 1).collect();
        let at = |line: u64| line.checked_sub(1).map_or(0, |before| ends[before as usize]);
        let mut same = Vec::new();
        let compare = |index: usize| async move { Ok::<_, ArchiveError>((index, self.lines(&known[index]).await?)) };
        let mut reading = stream::iter(these.iter().copied()).map(compare).buffered(AT_ONCE);
        while let Some((index, lines)) = reading.try_next().await? {
            let small = &known[index];
            let first = (small.start - large.start).max(0) as u64;
            let held = (small.lines > 0).then(|| &content[at(first)..at(first + small.lines)]);
            if lines.is_some_and(|lines| lines == held.unwrap_or_default()) {
                same.push(index)
            } else {
                tracing::warn!(
                    "{} and {} differ, both stay: see `pinflow audit`",
                    small.object.key,
                    large.object.key
                )
            }
        }
        Ok(same)
    }

    async fn remove(&self, known: &[Known], these: &[usize]) -> Result<u64, ArchiveError> {
        let remove = |index: &usize| {
            let key = known[*index].object.key.clone();
            async move {
                failpoint::reach(failpoint::COMPACT_DURING_DELETE);
                self.lake.delete(&key).await
            }
        };
        let removing = stream::iter(these).map(remove).buffer_unordered(AT_ONCE);
        removing.try_for_each(async |()| Ok(())).await?;
        Ok(these.len() as u64)
    }
}

async fn pack(content: Bytes, encoding: Encoding) -> Result<Bytes, ArchiveError> {
    if encoding == Encoding::Plain {
        return Ok(content);
    }
    let pack = move || {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&content).and_then(|()| encoder.finish())
    };
    let packed = tokio::task::spawn_blocking(pack)
        .await
        .map_err(|_| ArchiveError::Panicked)?;
    // writing to memory does not fail
    packed.map(Bytes::from).map_err(|_| ArchiveError::Panicked)
}

#[cfg(test)]
mod tests;
