//! One partition on its way into the lake: what is read of it, the piece that is being cut, and how far it is archived.

use super::cutter::{Cutter, Piece};
use super::durable::Durable;
use super::layout::Folders;
use super::line;
use super::options::{ArchiveOptions, NullValues};
use super::reading::Reading;
use super::resume::{Checkpoint, Resume};
use crate::kafka::{Batch, Range, Span};
use serde_json::json;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use values::{Offset, Partition};

/// The archiver of one partition.
pub(super) struct PartitionArchiver {
    topic: u8,
    name: Arc<str>,
    partition: Partition,
    cutter: Cutter,
    folders: Folders,
    reading: Reading,
    /// Where live reading ends, with `once`.
    until: Option<Offset>,
    durable: Durable,
    /// The first offset of the stretch without a hole that ends at the archived offset, once no hole is open.
    contiguous_from: Offset,
    /// The offset that was committed last, and the one of the last checkpoint.
    committed: Option<Offset>,
    checkpointed: Option<Offset>,
    /// Where Kafka's records end.
    end: Offset,
}

impl PartitionArchiver {
    /// Resumes a partition whose records end at `end` in Kafka.
    pub(super) fn new(
        options: &ArchiveOptions,
        topic: u8,
        partition: Partition,
        resume: Resume,
        end: Offset,
    ) -> PartitionArchiver {
        let next = resume.next;
        let reading = Reading::new(resume.holes, next);
        let first = reading.start().unwrap_or(next);
        let contiguous_from = if reading.is_in_hole() {
            first
        } else {
            resume.contiguous_from
        };
        let mut folders = Folders::new(&options.layout.partitioner, partition);
        PartitionArchiver {
            topic,
            name: options.topics[usize::from(topic)].as_str().into(),
            partition,
            cutter: Cutter::new(options.cut, first, folders.of(now_millis())),
            folders,
            reading,
            until: options.once.then_some(end.max(next)),
            durable: Durable::new(first, resume.keys),
            contiguous_from,
            committed: None,
            checkpointed: None,
            end,
        }
    }

    /// The topic's name.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The Kafka partition.
    pub(super) fn partition(&self) -> Partition {
        self.partition
    }

    /// Where Kafka's records end.
    pub(super) fn end(&self) -> Offset {
        self.end
    }

    /// Kafka's records end here now.
    pub(super) fn set_end(&mut self, end: Offset) {
        self.end = end;
    }

    /// Everything below is durable.
    pub(super) fn archived(&self) -> Offset {
        self.durable.archived()
    }

    /// Everything below has been seen in the stretch that is being read.
    pub(super) fn seen(&self) -> Offset {
        self.cutter.seen()
    }

    /// Bytes of the open piece.
    pub(super) fn open_bytes(&self) -> usize {
        self.cutter.open_bytes()
    }

    /// Whether everything that was to be read has been.
    pub(super) fn is_read(&self) -> bool {
        self.reading.is_done()
    }

    /// What is to be read, in order.
    pub(super) fn ranges(&self) -> Vec<Range> {
        let range = |(from, until)| Range {
            topic: self.topic,
            name: self.name.to_string(),
            partition: self.partition,
            from,
            until,
            after: None,
        };
        self.reading.stretches(self.until).into_iter().map(range).collect()
    }

    /// Cuts records; the pieces that are complete.
    pub(super) fn cut(&mut self, batch: &Batch, options: &ArchiveOptions) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut out = |piece| pieces.push(piece);
        for record in &batch.records {
            let (offset, key, value) = (record.offset, batch.key(record), batch.value(record));
            match (value, &options.null_values) {
                (None, NullValues::Ignore) => self.cutter.skip(offset, None, &mut out),
                (Some(value), _)
                    if options.dead_letters && (value.len() > options.record_bytes || !line::is_json(value)) =>
                {
                    let letter = dead_letter(&self.name, self.partition, record, key, value);
                    self.cutter.skip(offset, Some(letter), &mut out);
                }
                (value, null_values) => {
                    let folder = self.folders.of(record.timestamp);
                    let append = |line: &mut Vec<u8>| match (value, null_values) {
                        (Some(value), _) => line::append_value(value, options.record_bytes, line),
                        (None, NullValues::Write(delete)) => match key.and_then(|key| delete(batch.topic, key)) {
                            Some(delete) => {
                                line.extend_from_slice(delete.as_bytes());
                                line.push(b'\n');
                            }
                            None => line::append_tombstone(key, line),
                        },
                        (None, NullValues::Ignore) => {}
                    };
                    self.cutter.push(offset, &folder, append, &mut out);
                }
            }
        }
        self.cutter.reached(batch.next);
        pieces
    }

    /// Ends the open piece.
    pub(super) fn flush(&mut self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        self.cutter.flush(&mut |piece| pieces.push(piece));
        pieces
    }

    /// A piece is on its way; its number.
    pub(super) fn upload_begun(&mut self, piece: &Piece) -> u64 {
        self.durable.begin(piece.covers.end)
    }

    /// A piece is durable.
    pub(super) fn upload_done(&mut self, number: u64, keys: u64) {
        self.durable.complete(number, keys);
    }

    /// Everything below `next` has been handed over; whether that is the end of the stretch.
    pub(super) fn reached(&mut self, next: Offset) -> bool {
        self.cutter.reached(next);
        self.reading.ends_at(next, self.until)
    }

    /// Begins the next stretch, if there is one, when the last one has been read and flushed.
    pub(super) fn advance(&mut self, options: &ArchiveOptions) {
        // what lies between two stretches is in the lake already
        if let Some(start) = self.reading.advance() {
            self.begin(start, options);
        }
    }

    /// Begins anew behind what Kafka has dropped, when the open piece has been flushed.
    pub(super) fn skip_below(&mut self, low: Offset, options: &ArchiveOptions) {
        self.reading.skip_below(low);
        if let Some(start) = self.reading.start() {
            self.contiguous_from = start;
            self.begin(start, options);
        }
    }

    /// What lies before the stretch counts as archived once all pieces before it are.
    fn begin(&mut self, start: Offset, options: &ArchiveOptions) {
        self.cutter = Cutter::new(options.cut, start, self.folders.of(now_millis()));
        self.durable.pass(start);
    }

    /// The archived offset, if it is not the one that was committed last; it counts as committed then.
    pub(super) fn take_commit(&mut self) -> Option<Offset> {
        let archived = self.durable.archived();
        let moved = self.committed.replace(archived) != Some(archived);
        moved.then_some(archived)
    }

    /// How far everything is in place, if that is more than the last checkpoint says; it counts as written then.
    pub(super) fn take_checkpoint(&mut self) -> Option<Checkpoint> {
        let archived = self.durable.archived();
        if self.reading.is_in_hole() || self.checkpointed == Some(archived) || self.contiguous_from >= archived {
            return None;
        }
        self.checkpointed = Some(archived);
        Some(Checkpoint {
            from: self.contiguous_from,
            to: archived,
            keys: self.durable.keys(),
        })
    }
}

fn now_millis() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(0)
}

/// A record with everything that is known of it, for people.
fn dead_letter(topic: &str, partition: Partition, record: &Span, key: Option<&[u8]>, value: &[u8]) -> Vec<u8> {
    use base64::Engine;
    let text = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let letter = json!({
        "topic": topic,
        "partition": partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key_base64": key.map(text),
        "value_base64": text(value),
    });
    format!("{letter}\n").into_bytes()
}
