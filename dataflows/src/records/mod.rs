//! Records: the bytes of one JSON value become one event, or a dead letter with a reason.
//!
//! Two decoders give one meaning. `reference` accepts everything the rules accept and is the definition;
//! `fast` reads the usual shape in place and hands over whatever looks odd. [`Decoder`] puts the fast one in front.
//!
//! A field that cannot be read is no reason to drop a record: it becomes null and is counted
//! ([`Decoder::take_unreadable`]).

mod chunk;
mod fast;
mod field;
mod json;
mod kind;
mod legacy;
mod names;
mod notes;
mod reason;
mod reference;
mod scanner;

use crate::exec::{Event, Layout, Payload, Straight};
pub use chunk::{Chunk, Marked, Marks};
use fast::{Nameless, Seen};
pub use kind::{Kind, Raw};
pub use legacy::{kind_of_fields, split_values};
use names::Names;
use notes::Notes;
pub use notes::{Unreadable, Why};
use operators::{Ind, Position, Row, Symbol};
pub use reason::{Limits, Reason};
use std::fmt;
use std::sync::Arc;

/// Records of a block: enough that the memory accesses for their names overlap.
const BLOCK: usize = 64;

/// Records on their way: scanned, while their names wait to be looked up together; see [`Decoder::decode_into`].
#[derive(Default)]
pub struct Block<'a> {
    records: Vec<(Kind, Position, Ind, Nameless)>,
    names: Vec<&'a str>,
    symbols: Vec<Symbol>,
}

impl fmt::Debug for Block<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block")
            .field("records", &self.records.len())
            .finish_non_exhaustive()
    }
}

/// Decodes records. One per worker: it keeps scratch space, an index of names, and counts of unreadable fields.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    layout: Arc<Layout>,
    /// By kind; `None` where something of its records is kept that the fast path does not read.
    straight: [Option<Straight>; Kind::ALL.len()],
    names: Names,
    marks: Marks,
    notes: Box<Notes>,
}

impl Decoder {
    /// A decoder with these limits whose payloads are those of a layout; a depth above [`Limits::MAX_DEPTH`] counts as
    /// that.
    pub fn with_layout(limits: Limits, layout: Arc<Layout>) -> Decoder {
        let depth = limits.depth.min(Limits::MAX_DEPTH);
        let straight = Kind::ALL.map(|kind| Straight::new(&layout, kind as usize, &fast::columns(kind)));
        Decoder {
            limits: Limits { depth, ..limits },
            layout,
            straight,
            names: Names::default(),
            marks: Marks::default(),
            notes: Box::new(Notes::new()),
        }
    }

    /// Decodes one record, only as far as results need it. A delete is an event without a payload.
    pub fn decode(&mut self, raw: Raw<'_>) -> Result<Event, Reason> {
        let Some(value) = raw.value else {
            return self.tombstone(raw);
        };
        self.decode_text(raw.kind, raw.position, self.text(value)?)
    }

    /// [`Decoder::decode`] of a value that is known to be UTF-8.
    pub fn decode_text(&mut self, kind: Kind, position: Position, text: &str) -> Result<Event, Reason> {
        if text.len() > self.limits.record_bytes {
            return Err(Reason::TooLarge);
        }
        match self.decode_fast(kind, position, text) {
            Some(event) => Ok(event),
            None => self.decode_reference(kind, position, text),
        }
    }

    /// [`Decoder::decode`] where many records come at once: the event is emitted now, or with others when the block is
    /// full or [finished](Decoder::finish). Events of one block come in any order.
    pub fn decode_into<'a>(
        &mut self,
        block: &mut Block<'a>,
        raw: Raw<'a>,
        emit: &mut dyn FnMut(Event),
    ) -> Result<(), Reason> {
        let Some(value) = raw.value else {
            return self.tombstone(raw).map(emit);
        };
        let text = self.text(value)?;
        self.marks.set(value);
        let scanned = fast::scan(raw.kind, text, &self.marks, 0);
        self.put(block, raw.kind, raw.position, text, scanned, emit)
    }

    /// [`Decoder::decode_into`] of a part of a [`Chunk`].
    pub fn decode_text_into<'a>(
        &mut self,
        block: &mut Block<'a>,
        kind: Kind,
        position: Position,
        text: Marked<'a>,
        emit: &mut dyn FnMut(Event),
    ) -> Result<(), Reason> {
        let Marked { text, marks, start } = text;
        if text.len() > self.limits.record_bytes {
            return Err(Reason::TooLarge);
        }
        let scanned = fast::scan(kind, text, marks, start);
        self.put(block, kind, position, text, scanned, emit)
    }

    /// Puts a scanned record into the block, or emits what cannot wait there.
    #[inline(always)]
    fn put<'a>(
        &mut self,
        block: &mut Block<'a>,
        kind: Kind,
        position: Position,
        text: &str,
        scanned: Option<(Ind, Seen<'a>)>,
        emit: &mut dyn FnMut(Event),
    ) -> Result<(), Reason> {
        let now = match scanned.zip(self.straight[kind as usize].as_ref()) {
            Some(((key, seen), straight)) => match seen.without_names(straight, &mut block.names) {
                Ok(nameless) => {
                    block.records.push((kind, position, key, nameless));
                    if block.records.len() == BLOCK {
                        self.finish(block, emit);
                    }
                    return Ok(());
                }
                Err(seen) => seen.payload(straight, &mut self.names).map(|payload| (key, payload)),
            },
            None => None,
        };
        emit(match now {
            Some((key, payload)) => event(kind, position, key, Some(payload)),
            None => self.decode_reference(kind, position, text)?,
        });
        Ok(())
    }

    /// Emits the events that a block still holds.
    pub fn finish(&mut self, block: &mut Block<'_>, emit: &mut dyn FnMut(Event)) {
        block.symbols.clear();
        self.names.interner.intern_all(&block.names, &mut block.symbols);
        block.names.clear();
        let mut symbols = block.symbols.iter().copied();
        for (kind, position, key, nameless) in block.records.drain(..) {
            // what has been scanned has been kept
            if let Some(straight) = &self.straight[kind as usize] {
                emit(event(
                    kind,
                    position,
                    key,
                    Some(nameless.payload(straight, &mut symbols)),
                ));
            }
        }
        debug_assert!(symbols.next().is_none());
    }

    /// [`Decoder::decode`] by the definition alone, without the fast path: for tests and benchmarks.
    pub fn decode_reference(&mut self, kind: Kind, position: Position, text: &str) -> Result<Event, Reason> {
        let (key, cleaned) = reference::decode(kind, text, &self.limits, &mut self.notes)?;
        let payload = cleaned.map(|cleaned| {
            let row = cleaned.into_row(key, &mut self.names);
            self.layout.pack(kind as usize, &row)
        });
        Ok(event(kind, position, key, payload))
    }

    /// The fast path alone: `None` when it leaves the record to the reference.
    pub fn decode_fast(&mut self, kind: Kind, position: Position, text: &str) -> Option<Event> {
        let straight = self.straight[kind as usize].as_ref()?;
        self.marks.set(text.as_bytes());
        let (key, seen) = fast::scan(kind, text, &self.marks, 0)?;
        Some(event(
            kind,
            position,
            key,
            Some(seen.payload(straight, &mut self.names)?),
        ))
    }

    /// Decodes one record and its cleaned row, in the column order of [`crate::CLEANED`]; `None` for a delete.
    pub fn decode_with_row(&mut self, raw: Raw<'_>) -> Result<(Event, Option<(Ind, Row)>), Reason> {
        let Some(value) = raw.value else {
            return Ok((self.tombstone(raw)?, None));
        };
        self.decode_text_with_row(raw.kind, raw.position, self.text(value)?)
    }

    /// [`Decoder::decode_with_row`] of a value that is known to be UTF-8.
    pub fn decode_text_with_row(
        &mut self,
        kind: Kind,
        position: Position,
        text: &str,
    ) -> Result<(Event, Option<(Ind, Row)>), Reason> {
        if text.len() > self.limits.record_bytes {
            return Err(Reason::TooLarge);
        }
        let (key, cleaned) = reference::decode(kind, text, &self.limits, &mut self.notes)?;
        let Some(cleaned) = cleaned else {
            return Ok((event(kind, position, key, None), None));
        };
        let row = cleaned.into_row(key, &mut self.names);
        let payload = self.layout.pack(kind as usize, &row);
        Ok((event(kind, position, key, Some(payload)), Some((key, row))))
    }

    /// The counts of altered fields since the last call; empty when there are none.
    pub fn take_unreadable(&mut self) -> Vec<Unreadable> {
        self.notes.take()
    }

    fn tombstone(&mut self, raw: Raw<'_>) -> Result<Event, Reason> {
        let key = raw.key.ok_or(Reason::TombstoneKey)?;
        if key.len() > self.limits.record_bytes {
            return Err(Reason::TooLarge);
        }
        let key = reference::tombstone_key(key, &self.limits).ok_or(Reason::TombstoneKey)?;
        Ok(event(raw.kind, raw.position, key, None))
    }

    fn text<'a>(&self, value: &'a [u8]) -> Result<&'a str, Reason> {
        if value.len() > self.limits.record_bytes {
            return Err(Reason::TooLarge);
        }
        simdutf8::basic::from_utf8(value).map_err(|_| Reason::BadUtf8)
    }
}

fn event(kind: Kind, position: Position, ind: Ind, payload: Option<Payload>) -> Event {
    Event {
        key: ind.0,
        position,
        slot: kind as u8,
        payload,
    }
}
