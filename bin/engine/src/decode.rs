//! From bytes with a place in the log to events, cleaned rows and rejects: the loop around the decoder.

use super::protocol::{Counts, EpochReport, LinesHash, ReaderReport};
use super::reader::Placing;
use dataflows::exec::Layout;
use dataflows::{Block, Chunk, Decoder, Event, Kind, Limits, Marked, Marks, Raw, Reason, Unreadable};
use ingest::kafka::Batch;
use ingest::lake::Original;
use ingest::{Offset, Partition};
use operators::{Ind, Position};
use sinks::{CleanedRow, Reject, RejectPlace};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Records a legacy object may hold: its number and a record's index share the bits of an offset.
const LEGACY_BITS: u32 = 20;

/// Rows and rejects that wait for the sink.
#[derive(Default)]
pub struct Rows {
    /// Cleaned rows and deletes.
    pub cleaned: Vec<CleanedRow>,
    /// Rejects.
    pub rejects: Vec<Reject>,
}

impl Rows {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.cleaned.is_empty() && self.rejects.is_empty()
    }

    /// How many rows wait for each cleaned table, and how many rejects.
    pub fn counted(&self) -> [u64; 4] {
        let mut counted = [0; 4];
        self.cleaned.iter().for_each(|row| counted[row.table as usize] += 1);
        counted[3] = self.rejects.len() as u64;
        counted
    }

    /// The same as reports of a live epoch.
    pub fn into_reports(self, reports: &mut Vec<ReaderReport>) {
        let rows = self.cleaned.into_iter().map(EpochReport::Row);
        reports.extend(rows.map(ReaderReport::Epoch));
        let rejects = self.rejects.into_iter();
        let rejects = rejects.map(|reject| EpochReport::Rejected(Box::new(reject)));
        reports.extend(rejects.map(ReaderReport::Epoch));
    }
}

/// A value as it came: text where it is known to be UTF-8.
#[derive(Clone, Copy)]
enum Value<'a> {
    Text(Marked<'a>),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    fn of(part: Result<Marked<'a>, &'a [u8]>) -> Value<'a> {
        part.map_or_else(Value::Bytes, Value::Text)
    }

    fn bytes(self) -> &'a [u8] {
        match self {
            Value::Text(marked) => marked.text.as_bytes(),
            Value::Bytes(bytes) => bytes,
        }
    }
}

fn raw_of<'a>(kind: Kind, position: Position, key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> Raw<'a> {
    Raw {
        kind,
        position,
        key,
        value,
    }
}

/// The decoder with what it has counted and what waits for the sink.
pub struct Decode {
    decoder: Decoder,
    marks: Marks,
    cleaned: bool,
    rows: Rows,
    hash: LinesHash,
    records: u64,
    rejected: u64,
    reported_rejected: u64,
    reasons: BTreeMap<&'static str, u64>,
}

impl Decode {
    /// A decoder with nothing counted yet.
    pub fn new(limits: Limits, layout: Arc<Layout>) -> Decode {
        Decode {
            decoder: Decoder::with_layout(limits, layout),
            marks: Marks::default(),
            cleaned: false,
            rows: Rows::default(),
            hash: LinesHash::default(),
            records: 0,
            rejected: 0,
            reported_rejected: 0,
            reasons: BTreeMap::new(),
        }
    }

    /// A pass begins: what an earlier one has gathered and counted is void.
    pub fn begin(&mut self, cleaned: bool) {
        self.cleaned = cleaned;
        self.rows = Rows::default();
        (self.records, self.rejected, self.reported_rejected) = (0, 0, 0);
        self.reasons.clear();
        self.decoder.take_unreadable();
    }

    /// Rejects counted since the pass began.
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Rows and rejects that wait.
    pub fn waiting(&self) -> usize {
        self.rows.cleaned.len() + self.rows.rejects.len()
    }

    /// Takes what waits.
    pub fn take_rows(&mut self) -> Rows {
        std::mem::take(&mut self.rows)
    }

    /// Puts back what could not be handed on.
    pub fn put_back(&mut self, rows: Rows) {
        debug_assert!(
            self.rows.is_empty(),
            "rows are put back before anything else is decoded"
        );
        self.rows = rows;
    }

    /// Drops what waits, where nothing is kept.
    pub fn forget_rows(&mut self) {
        self.rows = Rows::default();
    }

    /// Decodes the lines of a chunk; `first` lines of the object came before it. Returns the number of lines.
    pub fn lines(&mut self, place: &Placing, first: u64, chunk: &[u8], emit: &mut dyn FnMut(Event)) -> u64 {
        let mut read = first;
        let mut offset = place.offset(first);
        let mut block = Block::default();
        let mut marks = std::mem::take(&mut self.marks);
        for line in Chunk::new(chunk, &mut marks).lines() {
            if offset < place.upto {
                let line = Value::of(line);
                self.hash(place, read, line.bytes());
                // what the archiver could not write as JSON is what it was
                let original = if place.ours {
                    ingest::lake::original(line.bytes())
                } else {
                    None
                };
                match original {
                    Some(Original::Value(value)) => self.alone(place, offset, None, Some(&value), emit),
                    Some(Original::Tombstone(key)) => self.alone(place, offset, key.as_deref(), None, emit),
                    None if place.deletes => self.record(&mut block, place, offset, Some(line.bytes()), None, emit),
                    None => self.record(&mut block, place, offset, None, Some(line), emit),
                }
            }
            offset = place.next(offset);
            read += 1;
        }
        self.decoder.finish(&mut block, emit);
        self.marks = marks;
        read - first
    }

    /// Hashes a line, where hashes are recorded: with its number, so that it stays the same when holes become known.
    #[inline]
    fn hash(&mut self, place: &Placing, number: u64, line: &[u8]) {
        if let Some(hashed) = place.hashed {
            let offset = place.start.plus(number);
            self.hash.add(offset, line, offset < hashed);
        }
    }

    /// Hashes of the lines decoded since the last call.
    pub fn take_hash(&mut self) -> LinesHash {
        std::mem::take(&mut self.hash)
    }

    /// Decodes a legacy object: one value, an array of values, or values one after the other. Returns their number.
    ///
    /// Records beyond [`LEGACY_BITS`] have no place in the order of the log and are rejected.
    pub fn whole(&mut self, place: &Placing, bytes: &[u8], emit: &mut dyn FnMut(Event)) -> u64 {
        let mut index = 0i64;
        let wanted = place.persisted == Offset::ZERO;
        let mut block = Block::default();
        for value in dataflows::split_values(bytes) {
            let at = index;
            index += 1;
            self.records += 1;
            let (value, kind) = match value {
                Ok(value) => (value, place.kind.or_else(|| dataflows::kind_of_fields(value))),
                Err(reason) => {
                    self.reject(place, at, None, Some(bytes), reason, wanted);
                    continue;
                }
            };
            let position = if at < 1 << LEGACY_BITS {
                Position::new(0, Offset(place.start.0 << LEGACY_BITS | at), Partition(0)).ok()
            } else {
                None
            };
            let Some(position) = position else {
                self.reject(place, at, None, Some(value), Reason::TooLarge, wanted);
                continue;
            };
            match kind {
                Some(kind) => {
                    self.decode(
                        &mut block,
                        place,
                        kind,
                        position,
                        None,
                        Some(Value::Bytes(value)),
                        wanted,
                        emit,
                    );
                }
                None => self.reject(place, at, None, Some(value), Reason::NoKey, wanted),
            }
        }
        self.decoder.finish(&mut block, emit);
        index.unsigned_abs()
    }

    /// Counts and keeps a line that was too large to be read whole.
    pub fn too_large(&mut self, place: &Placing, line: u64, prefix: Vec<u8>) {
        let offset = place.offset(line);
        if offset >= place.upto {
            return;
        }
        self.records += 1;
        self.hash(place, line, &prefix);
        let wanted = offset >= place.persisted;
        self.reject(place, offset.0, None, Some(&prefix), Reason::TooLarge, wanted);
    }

    /// Decodes a batch of Kafka records.
    pub fn batch(&mut self, place: &Placing, batch: &Batch, emit: &mut dyn FnMut(Event)) {
        let mut block = Block::default();
        let mut marks = std::mem::take(&mut self.marks);
        let chunk = Chunk::new(&batch.bytes, &mut marks);
        let bytes = |range: &Range<u32>| range.start as usize..range.end as usize;
        for record in &batch.records {
            let key = record.key.as_ref().map(|key| &batch.bytes[bytes(key)]);
            let value = record.value.as_ref().map(|value| Value::of(chunk.part(bytes(value))));
            self.record(&mut block, place, record.offset, key, value, emit);
        }
        self.decoder.finish(&mut block, emit);
        self.marks = marks;
    }

    /// Decodes a record whose bytes are not the chunk's.
    fn alone(
        &mut self,
        place: &Placing,
        offset: Offset,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        emit: &mut dyn FnMut(Event),
    ) {
        let mut block = Block::default();
        self.record(&mut block, place, offset, key, value.map(Value::Bytes), emit);
        self.decoder.finish(&mut block, emit);
    }

    fn record<'a>(
        &mut self,
        block: &mut Block<'a>,
        place: &Placing,
        offset: Offset,
        key: Option<&'a [u8]>,
        value: Option<Value<'a>>,
        emit: &mut dyn FnMut(Event),
    ) {
        self.records += 1;
        let kind = place.kind.expect("a log record's topic tells its kind");
        match place.position(offset) {
            Ok(position) => self.decode(
                block,
                place,
                kind,
                position,
                key,
                value,
                offset >= place.persisted,
                emit,
            ),
            Err(error) => {
                tracing::error!(object = place.object, %error, "a record has no place in the order of the log");
                let wanted = offset >= place.persisted;
                self.reject(place, offset.0, key, value.map(Value::bytes), Reason::TooLarge, wanted);
            }
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one call from two places; a struct would be its only use"
    )]
    fn decode<'a>(
        &mut self,
        block: &mut Block<'a>,
        place: &Placing,
        kind: Kind,
        position: Position,
        key: Option<&'a [u8]>,
        value: Option<Value<'a>>,
        wanted: bool,
        emit: &mut dyn FnMut(Event),
    ) {
        let decoder = &mut self.decoder;
        let decoded = if self.cleaned && wanted {
            let decoded = match value {
                Some(Value::Text(text)) => decoder.decode_text_with_row(kind, position, text.text),
                Some(Value::Bytes(bytes)) => decoder.decode_with_row(raw_of(kind, position, key, Some(bytes))),
                None => decoder.decode_with_row(raw_of(kind, position, key, None)),
            };
            decoded.map(|(event, row)| {
                let (ind, row) = (Ind(event.key), row.map(|(_, row)| row));
                self.rows.cleaned.push(CleanedRow {
                    table: kind as u8,
                    ind,
                    position,
                    row,
                });
                emit(event);
            })
        } else {
            match value {
                Some(Value::Text(text)) => decoder.decode_text_into(block, kind, position, text, emit),
                Some(Value::Bytes(bytes)) => decoder.decode_into(block, raw_of(kind, position, key, Some(bytes)), emit),
                None => decoder.decode_into(block, raw_of(kind, position, key, None), emit),
            }
        };
        if let Err(reason) = decoded {
            let at = match position.generation() {
                0 => position.offset().0 & ((1 << LEGACY_BITS) - 1),
                _ => position.offset().0,
            };
            self.reject(place, at, key, value.map(Value::bytes), reason, wanted);
        }
    }

    /// Counts and keeps a dead letter; `at` is its offset, or its number in an object without offsets.
    fn reject(
        &mut self,
        place: &Placing,
        at: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        reason: Reason,
        wanted: bool,
    ) {
        self.rejected += 1;
        *self.reasons.entry(reason.as_str()).or_default() += 1;
        if wanted {
            let value = match reason {
                Reason::TooLarge => value.map(ingest::lake::kept),
                _ => value,
            };
            let object = place.object.map(str::to_owned);
            let place_of = if !place.log {
                RejectPlace::Object {
                    object: object.unwrap_or_default(),
                    index: at,
                }
            } else {
                RejectPlace::Log {
                    partition: place.at.partition.0,
                    offset: at,
                    object,
                }
            };
            self.rows.rejects.push(Reject {
                topic: place.name.to_owned(),
                place: place_of,
                reason: reason.as_str().to_owned(),
                key: key.map(<[u8]>::to_vec),
                value: value.map(<[u8]>::to_vec),
            });
        }
    }

    /// What was counted since the last call.
    pub fn take_counts(&mut self) -> Option<ReaderReport> {
        let altered = self.decoder.take_unreadable().into_iter();
        let name = |field: &Unreadable| format!("{}.{} {}", field.kind, field.field, field.why.as_str());
        let fields: BTreeMap<String, u64> = altered.map(|field| (name(&field), field.count)).collect();
        let rejected = self.rejected - std::mem::replace(&mut self.reported_rejected, self.rejected);
        let records = std::mem::take(&mut self.records);
        if records == 0 && rejected == 0 && fields.is_empty() {
            return None;
        }
        let reasons = std::mem::take(&mut self.reasons)
            .into_iter()
            .map(|(r, n)| (r.to_owned(), n))
            .collect();
        Some(ReaderReport::Epoch(EpochReport::Counted(Counts {
            records,
            rejected,
            reasons,
            fields,
        })))
    }
}
