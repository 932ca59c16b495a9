//! Merges small objects into large ones.
//!
//! A merged object holds the lines of consecutive objects of one folder, under a name of its own: the same start with
//! more zeros before it, which every reader takes for the same number. It is written beside the objects it replaces,
//! read back and compared, and only then are those removed; so at every moment, and after a crash at any, each offset
//! is in some object, and an offset in two is nothing to a reader. What an interrupted run has left is found by the
//! next one: an object within a larger one is compared with it line by line before it goes.
//!
//! A reader that has listed the lake wants to find what it has listed: replaced objects stay for a while (`keep`) and
//! go with a later run. `_pinflow/compact/{topic}+{partition}.json` says from when on.
//!
//! Only exact objects are merged: where lines may be missing, start and line would no longer give the offset.

use super::error::ArchiveError;
use super::examine::{self, Examined};
use super::line::append_of_other_writer;
use super::resume::list;
use crate::coverage::coverage;
use crate::failpoint;
use crate::lake::{CONTROL_FOLDER, Encoding, Lake, Object, ObjectMetadata, Place, checksum};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Objects read, or removed, at the same time.
const AT_ONCE: usize = 32;
/// Digits of an offset in the name of a merged object: the sink's have ten.
const DIGITS: usize = 12;
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
    /// Objects left as they are because they are not exact, or not what their writer recorded.
    pub left: u64,
}

/// An object of one partition, with what is known of it.
struct Known {
    object: Object,
    start: i64,
    lines: u64,
    covers: Range<i64>,
    metadata: ObjectMetadata,
    exact: bool,
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
        Partition {
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

fn partition(object: &Object) -> i32 {
    match object.place {
        Place::Log { partition, .. } => partition,
        Place::Legacy => -1,
    }
}

struct Partition<'a> {
    lake: &'a Lake,
    options: &'a CompactOptions,
    topic: &'a str,
    partition: i32,
}

impl Partition<'_> {
    async fn compact(&self, objects: &[Object], done: &mut Compacted) -> Result<(), ArchiveError> {
        let known = self.know(objects).await?;
        let mut replaced = replaced(&known);
        done.left += known.iter().filter(|known| !known.exact).count() as u64;
        let gone: std::collections::HashSet<usize> = replaced.values().flatten().copied().collect();
        let small: Vec<usize> = (0..known.len())
            .filter(|index| {
                let known = &known[*index];
                known.exact && !gone.contains(index) && known.object.size < self.options.target_bytes / 2
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
        // from when on what each replaces may go
        let notes_key = format!("{CONTROL_FOLDER}/compact/{}+{}.json", self.topic, self.partition);
        let before = self.lake.get_small(&notes_key).await?;
        let before: BTreeMap<String, u64> = before
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let later = now + self.options.keep.as_secs();
        let mut notes = BTreeMap::new();
        let keys = replaced.keys().map(|index| known[*index].object.key.clone());
        for key in keys.chain(fresh.iter().map(|(key, _)| key.clone())) {
            let due = before.get(&key).map_or(later, |due| (*due).min(later));
            notes.insert(key, due);
        }
        if notes.values().any(|due| *due > now) && notes != before {
            self.note(&notes_key, &notes).await?;
        }
        failpoint::reach(failpoint::COMPACT_BEFORE_DELETE);
        let is_due = |key: &str| notes.get(key).is_some_and(|due| *due <= now);
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
            match is_due(&key) {
                true => {
                    done.removed += self.remove(&known, run).await?;
                    ended.push(key);
                }
                false => done.waiting += run.len() as u64,
            }
        }
        notes.retain(|key, _| !ended.contains(key));
        match notes.is_empty() {
            true => self.lake.delete(&notes_key).await?,
            false => self.note(&notes_key, &notes).await?,
        }
        Ok(())
    }

    async fn note(&self, key: &str, notes: &BTreeMap<String, u64>) -> Result<(), ArchiveError> {
        let bytes = serde_json::to_vec(notes).expect("names and numbers serialise");
        self.lake.put(key, bytes.clone(), BTreeMap::new()).await?;
        Ok(())
    }

    async fn know(&self, objects: &[Object]) -> Result<Vec<Known>, ArchiveError> {
        let mut examined = examine::recorded(self.lake, objects, 0..objects.len()).await?;
        examined.sort_by_key(|examined| examined.index);
        let counted: Vec<_> = examined
            .iter()
            .filter_map(|examined| examined.counted(&objects[examined.index]))
            .collect();
        let inexact: std::collections::HashSet<u32> = coverage(&counted, &self.options.topics)
            .into_values()
            .flat_map(|coverage| coverage.inexact)
            .map(|inexact| inexact.object)
            .collect();
        let known = |examined: Examined| {
            let object = objects[examined.index].clone();
            let Place::Log { start, .. } = object.place else {
                return None;
            };
            let lines = examined.lines;
            let covers = examined.metadata.covers.clone().unwrap_or(start..start + lines as i64);
            Some(Known {
                exact: examined.error.is_none() && !inexact.contains(&(examined.index as u32)),
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
            end: Some(first.start + records as i64),
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
        match found == Some(metadata) && read == content {
            true => Ok(Some((key, records))),
            false => Err(ArchiveError::Unverified { key, covers }),
        }
    }

    /// The lines of an object as they stand in one of ours, each with its newline; `None` when they are not what its
    /// writer recorded.
    async fn lines(&self, known: &Known) -> Result<Option<Vec<u8>>, ArchiveError> {
        let object = &known.object;
        let mut bytes = self.lake.read_prefix(&object.key, object.encoding, MOST_BYTES).await?;
        let sum = known.metadata.checksum;
        let altered = sum.is_some_and(|sum| sum != checksum(&bytes));
        if bytes.starts_with(b"\xef\xbb\xbf") {
            bytes.drain(..3);
        }
        if !bytes.is_empty() && !bytes.ends_with(b"\n") {
            bytes.push(b'\n');
        }
        let lines = memchr::memchr_iter(b'\n', &bytes).count() as u64;
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
            match lines.is_some_and(|lines| lines == held.unwrap_or_default()) {
                true => same.push(index),
                false => tracing::warn!(
                    "{} and {} differ, both stay: see `pinflow audit`",
                    small.object.key,
                    large.object.key
                ),
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

/// The objects that lie within a larger exact one which says what it covers, by that one.
fn replaced(known: &[Known]) -> BTreeMap<usize, Vec<usize>> {
    let mut replaced: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    // in order of starts, so the object that reaches furthest so far is the one that may hold the next
    let mut furthest: Option<usize> = None;
    let mut order: Vec<usize> = (0..known.len()).filter(|index| known[*index].exact).collect();
    order.sort_by_key(|index| {
        let known = &known[*index];
        (
            known.covers.start.min(known.start),
            std::cmp::Reverse(known.covers.end),
            known.start,
        )
    });
    for index in order {
        let this = &known[index];
        let holder = furthest.filter(|by| {
            let by = &known[*by];
            let lines = by.start..by.start + by.lines as i64;
            let own = this.start..this.start + this.lines as i64;
            by.metadata.checksum.is_some()
                && by.lines > this.lines
                && by.covers.start <= this.covers.start
                && this.covers.end <= by.covers.end
                && (own.is_empty() || (lines.start <= own.start && own.end <= lines.end))
        });
        match holder {
            Some(by) => replaced.entry(by).or_default().push(index),
            None if furthest.is_none_or(|by| known[by].covers.end < this.covers.end) => furthest = Some(index),
            None => {}
        }
    }
    replaced
}

/// Stretches of `small` (in order of starts) whose lines follow each other without a hole, each about the target's
/// size; a stretch of one is none.
fn runs<'a>(known: &[Known], small: &'a [usize], target_bytes: u64) -> Vec<&'a [usize]> {
    let mut runs = Vec::new();
    let mut begin = 0;
    let mut bytes = 0;
    for (at, index) in small.iter().enumerate() {
        let this = &known[*index];
        let follows = at > begin && {
            let before = &known[small[at - 1]];
            let end = before.start + before.lines as i64;
            let consecutive = end == this.start && before.covers.end == this.covers.start && this.lines > 0;
            // a hole at the end may be covered by what lies before it
            let trailing = this.lines == 0 && before.covers.end == this.covers.start;
            let folder = |known: &'_ Known| known.object.key.rsplit_once('/').map(|(folder, _)| folder.to_owned());
            before.lines > 0
                && (consecutive || trailing)
                && folder(before) == folder(this)
                && bytes + this.object.size <= target_bytes
        };
        if !follows {
            if at - begin > 1 {
                runs.push(&small[begin..at]);
            }
            (begin, bytes) = (at, 0);
        }
        bytes += this.object.size;
    }
    if small.len() - begin > 1 {
        runs.push(&small[begin..]);
    }
    runs
}

/// A name that stands for the same start and is not taken by the object that begins there.
fn merged_key(first: &str, start: i64, encoding: Encoding) -> String {
    let stem = first.strip_suffix(".gz").unwrap_or(first);
    let stem = stem.strip_suffix(".json").unwrap_or(stem);
    let (before, digits) = stem.rsplit_once('+').unwrap_or((stem, ""));
    let width = if digits.len() < DIGITS {
        DIGITS
    } else {
        digits.len() + 1
    };
    let suffix = if encoding == Encoding::Gzip {
        ".json.gz"
    } else {
        ".json"
    };
    format!("{before}+{start:0width$}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::cutter::Piece;
    use crate::archive::layout::{Layout, Partitioner};
    use crate::archive::line::{Original, original};
    use crate::archive::writer::Writer;
    use crate::lake::LakeOptions;

    #[test]
    fn merged_names_stand_for_the_same_start() {
        let key = merged_key("t/pin/partition=0/pin+0+0000000007.json.gz", 7, Encoding::Plain);
        assert_eq!(key, "t/pin/partition=0/pin+0+000000000007.json");
        let again = merged_key(&key, 7, Encoding::Gzip);
        assert_eq!(again, "t/pin/partition=0/pin+0+0000000000007.json.gz");
    }

    async fn lake(root: &std::path::Path, pieces: &[(i64, u64, Range<i64>)]) -> Lake {
        let url = format!("file://{}", root.display()).parse().unwrap();
        let lake = Lake::open(url, LakeOptions::default()).await.unwrap();
        let writer = Writer {
            lake: lake.clone(),
            layout: Layout {
                topics_dir: String::new(),
                partitioner: Partitioner::Default,
                encoding: Encoding::Plain,
            },
            part_bytes: 1 << 20,
        };
        for (start, count, covers) in pieces {
            let lines = (*start..*start + *count as i64).flat_map(|offset| format!("{offset}\n").into_bytes());
            let piece = Piece {
                folder: "partition=0".into(),
                start: *start,
                count: *count,
                covers: covers.clone(),
                content: lines.collect(),
                letters: Vec::new(),
            };
            writer.store("pin", 0, piece).await.unwrap();
        }
        lake
    }

    fn options(keep: u64) -> CompactOptions {
        CompactOptions {
            topics: vec!["pin".into()],
            target_bytes: 1 << 20,
            encoding: Encoding::Plain,
            part_bytes: 1 << 20,
            keep: Duration::from_secs(keep),
        }
    }

    fn names(root: &std::path::Path) -> Vec<String> {
        let names = std::fs::read_dir(root.join("pin/partition=0")).unwrap();
        let mut names: Vec<String> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.retain(|name| !name.ends_with(".meta.json"));
        names.sort();
        names
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn runs_end_at_holes_and_what_is_replaced_goes_when_it_is_due() {
        let folder = tempfile::tempdir().unwrap();
        let pieces = [
            (0, 1, 0..1),
            (1, 2, 1..3),
            (3, 1, 3..6),
            (6, 1, 6..7),
            (7, 1, 7..8),
            (9, 0, 9..10),
        ];
        let lake = lake(folder.path(), &pieces).await;
        let kept = compact(&lake, &options(3600)).await.unwrap();
        assert_eq!(
            (kept.written, kept.merged, kept.records, kept.removed, kept.waiting),
            (2, 5, 6, 0, 5)
        );
        assert_eq!(names(folder.path()).len(), 8);
        let again = compact(&lake, &options(3600)).await.unwrap();
        assert_eq!((again.written, again.removed, again.waiting), (0, 0, 5));
        let done = compact(&lake, &options(0)).await.unwrap();
        assert_eq!((done.written, done.removed, done.waiting), (0, 5, 0));
        assert_eq!(
            names(folder.path()),
            [
                "pin+0+000000000000.json",
                "pin+0+000000000006.json",
                "pin+0+0000000009.json"
            ]
        );
        let merged = std::fs::read_to_string(folder.path().join("pin/partition=0/pin+0+000000000000.json")).unwrap();
        assert_eq!(merged, "0\n1\n2\n3\n");
        let metadata = lake
            .look_at("pin/partition=0/pin+0+000000000000.json")
            .await
            .unwrap()
            .unwrap();
        assert_eq!((metadata.covers, metadata.count), (Some(0..6), Some(4)));
        assert_eq!(compact(&lake, &options(0)).await.unwrap(), Compacted::default());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_another_writer_wrote_means_the_same_when_it_is_merged() {
        let folder = tempfile::tempdir().unwrap();
        let lake = lake(folder.path(), &[(2, 1, 2..3), (3, 1, 3..4)]).await;
        // a producer's own record, which looks like one that we have wrapped
        let theirs = b"{\"__pinflow_raw\":\"{}\"}";
        for start in [0, 1] {
            let key = format!("pin/partition=0/pin+0+{start:010}.json");
            let content = [&theirs[..], b"\n"].concat();
            lake.put(&key, content, BTreeMap::new()).await.unwrap();
        }
        let kept = compact(&lake, &options(3600)).await.unwrap();
        assert_eq!((kept.written, kept.merged, kept.left), (1, 4, 0));
        let merged = "pin/partition=0/pin+0+000000000000.json";
        assert!(lake.look_at(merged).await.unwrap().unwrap().is_ours());
        let content = std::fs::read(folder.path().join(merged)).unwrap();
        let lines: Vec<&[u8]> = content.split(|byte| *byte == b'\n').collect();
        for line in &lines[..2] {
            assert_eq!(original(line), Some(Original::Value(theirs.to_vec())));
        }
        assert_eq!(lines[2..], [&b"2"[..], b"3", b""]);
        // what is replaced is compared as what it means
        let done = compact(&lake, &options(0)).await.unwrap();
        assert_eq!((done.removed, done.left), (4, 0));
        assert_eq!(names(folder.path()), ["pin+0+000000000000.json"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_differs_from_the_larger_object_stays() {
        let folder = tempfile::tempdir().unwrap();
        let lake = lake(folder.path(), &[(0, 1, 0..1), (1, 1, 1..2)]).await;
        compact(&lake, &options(3600)).await.unwrap();
        let key = "pin/partition=0/pin+0+0000000001.json";
        lake.put(key, b"other\n".to_vec(), BTreeMap::new()).await.unwrap();
        let done = compact(&lake, &options(0)).await.unwrap();
        assert_eq!((done.removed, done.left), (1, 1));
        assert_eq!(
            names(folder.path()),
            ["pin+0+000000000000.json", "pin+0+0000000001.json"]
        );
    }
}
