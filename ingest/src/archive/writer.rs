//! Stores pieces exactly once.
//!
//! An object is only ever created, never written over. Where its name is taken, what stands there decides: the same
//! records (a restart, or a lost answer) mean that the work is done; fewer mean that another writer has cut earlier, and
//! the rest goes into an object that begins where the existing one ends; other records mean that this is not the log
//! that the lake was made from, and the archiver stops.

use super::cutter::Piece;
use super::error::ArchiveError;
use super::layout::Layout;
use crate::failpoint;
use crate::lake::{CONTROL_FOLDER, Encoding, Lake, LakeError, ObjectMetadata, Original, checksum, original};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use values::{Offset, Partition};

/// What storing a piece came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stored {
    /// Objects that were written.
    pub objects: u64,
    /// Records in them.
    pub records: u64,
    /// Their bytes, as stored.
    pub bytes: u64,
    /// Objects that another writer, or an earlier run, had written already.
    pub found: u64,
    /// The hashes of the keys of all of them, added up.
    pub(super) keys: u64,
}

/// Writes objects into a lake.
#[derive(Debug)]
pub struct Writer {
    /// The lake.
    pub lake: Lake,
    /// How keys are made.
    pub layout: Layout,
    /// `s3.part.size`: a larger object is uploaded in parts of this size.
    pub part_bytes: usize,
}

impl Writer {
    /// Stores a piece of a topic's partition.
    pub async fn store(&self, topic: &str, partition: Partition, mut piece: Piece) -> Result<Stored, ArchiveError> {
        for letter in std::mem::take(&mut piece.letters) {
            let offset = letter.offset;
            let key = format!("{CONTROL_FOLDER}/dead-letters/{topic}/{topic}+{partition}+{offset:010}.json");
            let content = Bytes::from(letter.content);
            let metadata = ObjectMetadata::default().to_map();
            self.lake.put_new(&key, content.clone(), &metadata, usize::MAX).await?;
        }
        let mut stored = Stored::default();
        let mut rest = Bytes::from(piece.content);
        let (mut start, mut count, mut covers) = (piece.start, piece.count, piece.covers);
        loop {
            let key = self.layout.key(topic, partition, &piece.folder, start);
            stored.keys = stored.keys.wrapping_add(key_hash(&key));
            let body = self.body(&key, rest.clone()).await?;
            let metadata = ObjectMetadata {
                end: Some(start.plus(count)),
                count: Some(count),
                covers: Some(covers.clone()),
                checksum: Some(checksum(&rest)),
                bytes: Some(body.len() as u64),
            };
            let map = metadata.to_map();
            failpoint::reach(failpoint::ARCHIVE_BEFORE_PUT);
            if self.lake.put_new(&key, body.clone(), &map, self.part_bytes).await? {
                failpoint::reach(failpoint::ARCHIVE_AFTER_PUT);
                stored.objects += 1;
                stored.records += count;
                stored.bytes += body.len() as u64;
                return Ok(stored);
            }
            stored.found += 1;
            let existing = self.compare(&key, start, count, &rest).await?;
            if existing.covers_end >= covers.end {
                return Ok(stored);
            }
            if existing.lines == 0 && existing.covers_end <= start {
                return Err(other_records(&key, start));
            }
            // another writer has cut earlier, or did not know of the hole behind its last record yet
            let lines = existing.lines.min(count);
            rest = rest.slice(end_of_line(&rest, lines)..);
            tracing::info!(key, lines, "the object is there already, continuing behind it");
            covers.start = existing.covers_end.max(covers.start);
            start = if lines < count { start.plus(lines) } else { covers.start };
            count -= lines;
        }
    }

    async fn body(&self, key: &str, content: Bytes) -> Result<Bytes, ArchiveError> {
        if self.layout.encoding == Encoding::Plain {
            return Ok(content);
        }
        let key = key.to_string();
        let pack = move || {
            let mut encoder = GzEncoder::new(Vec::with_capacity(content.len() / 4), Compression::default());
            encoder.write_all(&content).and_then(|()| encoder.finish())
        };
        let packed = tokio::task::spawn_blocking(pack).await;
        match packed {
            Ok(Ok(bytes)) => Ok(bytes.into()),
            Ok(Err(source)) => Err(LakeError::Io {
                action: "compress",
                object: key,
                source,
            }
            .into()),
            Err(_) => Err(LakeError::Stopped { object: key }.into()),
        }
    }

    /// Compares what stands under a key with what was to be written there.
    async fn compare(&self, key: &str, start: Offset, count: u64, ours: &[u8]) -> Result<Existing, ArchiveError> {
        let theirs = self.lake.look_at(key).await?.unwrap_or_default();
        let covers_end = |lines: u64| theirs.covers.as_ref().map_or(start.plus(lines), |covers| covers.end);
        // what its writer recorded decides without a byte of it being read, as long as it is not longer than ours
        if let (Some(lines), Some(sum)) = (theirs.count, theirs.checksum)
            && lines <= count
            && sum == checksum(&ours[..end_of_line(ours, lines)])
        {
            return Ok(Existing {
                lines,
                covers_end: covers_end(lines),
            });
        }
        // other writers may spell a character with up to three times the bytes
        let limit = 4 * ours.len() + (64 << 10);
        let prefix = self.lake.read_prefix(key, self.layout.encoding, limit).await?;
        let (mut lines, mut more) = (0, 0);
        let mut mine = ours.split_inclusive(|byte| *byte == b'\n');
        let ours = theirs.is_ours();
        for line in prefix.split_inclusive(|byte| *byte == b'\n') {
            match mine.next() {
                None => more += 1,
                Some(mine) if lines_hold_same_record(line, ours, mine) => lines += 1,
                Some(_) => return Err(other_records(key, start.plus(lines))),
            }
        }
        let covers_end = covers_end(theirs.count.unwrap_or(lines + more));
        // an object that stands for nothing cannot be continued behind
        if covers_end > start || lines == count {
            Ok(Existing { lines, covers_end })
        } else {
            Err(other_records(key, start))
        }
    }
}

fn other_records(key: &str, offset: Offset) -> ArchiveError {
    ArchiveError::OtherRecords {
        key: key.to_owned(),
        offset,
    }
}

/// What stands for a key in a sum over many.
pub(super) fn key_hash(key: &str) -> u64 {
    checksum(key.as_bytes())
}

/// What was found under the name of a piece.
struct Existing {
    /// Its lines, as far as they were compared.
    lines: u64,
    /// It stands for everything below, from its start on.
    covers_end: Offset,
}

/// The number of bytes of the first lines.
fn end_of_line(content: &[u8], lines: u64) -> usize {
    if lines == 0 {
        return 0;
    }
    let newline = memchr::memchr_iter(b'\n', content).nth(lines as usize - 1);
    newline.map_or(content.len(), |newline| newline + 1)
}

/// Whether a line of an object holds the same record as one of ours: the same bytes, or the same JSON as another writer
/// prints it. `wrapped` says whether pinflow wrote the object.
pub(super) fn lines_hold_same_record(theirs: &[u8], wrapped: bool, mine: &[u8]) -> bool {
    let json = |value: &[u8]| serde_json::from_slice::<serde_json::Value>(value).ok();
    let record = |line: &[u8], wrapped: bool| {
        let original = wrapped.then(|| original(line)).flatten();
        original.unwrap_or_else(|| Original::Value(line.trim_ascii_end().to_vec()))
    };
    match (record(theirs, wrapped), record(mine, true)) {
        (Original::Value(a), Original::Value(b)) => {
            a.trim_ascii_end() == b.trim_ascii_end() || json(&a).is_some_and(|a| json(&b) == Some(a))
        }
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::Partitioner;
    use super::*;
    use crate::lake::LakeOptions;

    fn piece(start: i64, lines: &[&str], covers_end: i64) -> Piece {
        Piece {
            folder: "partition=0".into(),
            start: Offset(start),
            count: lines.len() as u64,
            covers: Offset(start)..Offset(covers_end),
            content: lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect(),
            letters: Vec::new(),
        }
    }

    async fn writer(root: &std::path::Path) -> Writer {
        let url = format!("file://{}", root.display()).parse().unwrap();
        Writer {
            lake: Lake::open(url, LakeOptions::default()).await.unwrap(),
            layout: Layout {
                topics_dir: String::new(),
                partitioner: Partitioner::Default,
                encoding: Encoding::Plain,
            },
            part_bytes: 1 << 20,
        }
    }

    fn content(root: &std::path::Path, start: i64) -> String {
        std::fs::read_to_string(root.join(format!("pin/partition=0/pin+0+{start:010}.json"))).unwrap()
    }

    #[tokio::test]
    async fn what_another_writer_has_cut_is_continued() {
        let folder = tempfile::tempdir().unwrap();
        let writer = writer(folder.path()).await;
        let store = |piece| writer.store("pin", Partition(0), piece);
        let found = |stored: Stored| (stored.objects, stored.found);
        // the same twice
        assert_eq!(found(store(piece(5, &["1", "2"], 7)).await.unwrap()), (1, 0));
        assert_eq!(found(store(piece(5, &["1", "2"], 7)).await.unwrap()), (0, 1));
        // longer than what stands there
        assert_eq!(found(store(piece(5, &["1", "2", "3"], 8)).await.unwrap()), (1, 1));
        assert_eq!(
            (content(folder.path(), 5), content(folder.path(), 7)),
            ("1\n2\n".into(), "3\n".into())
        );
        // shorter
        assert_eq!(found(store(piece(5, &["1"], 6)).await.unwrap()), (0, 1));
        // a hole behind the last record that the other did not know
        assert_eq!(found(store(piece(7, &["3"], 10)).await.unwrap()), (1, 1));
        assert_eq!(content(folder.path(), 8), "");
        let error = store(piece(5, &["1", "9"], 7)).await.unwrap_err();
        assert!(error.to_string().contains("at offset 6"), "{error}");
    }

    #[tokio::test]
    async fn objects_of_other_writers_are_compared_as_json() {
        let folder = tempfile::tempdir().unwrap();
        let writer = writer(folder.path()).await;
        let key = "pin/partition=0/pin+0+0000000003.json";
        let bytes = b"{\"b\":2,\"a\":\"\\u00e9\"}\n".to_vec();
        writer.lake.put(key, bytes, Default::default()).await.unwrap();
        let stored = writer
            .store("pin", Partition(0), piece(3, &["{\"a\":\"é\",\"b\":2}", "4"], 5))
            .await
            .unwrap();
        assert_eq!((stored.objects, stored.found), (1, 1));
        assert_eq!(content(folder.path(), 4), "4\n");
    }

    #[test]
    fn records_are_compared_as_what_they_are() {
        let theirs = b"{\"__pinflow_raw\": \"x\"}\n";
        let mut mine = Vec::new();
        super::super::line::append_value(b"{\"__pinflow_raw\":\"x\"}", 100, &mut mine);
        assert!(original(&mine).is_some());
        // another writer's line is the record itself, the same bytes in an object of ours are not
        assert!(lines_hold_same_record(theirs, false, &mine));
        assert!(!lines_hold_same_record(theirs, true, &mine));
        assert!(lines_hold_same_record(&mine, true, &mine));
        let mut tombstone = Vec::new();
        super::super::line::append_tombstone(Some(b"x"), &mut tombstone);
        assert!(
            lines_hold_same_record(&tombstone, true, &tombstone) && !lines_hold_same_record(&tombstone, true, &mine)
        );
    }
}
