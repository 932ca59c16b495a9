//! The latest record of each slot of each key, joined into one row.
//!
//! Several kinds of records that share a key make one row: a kind is a *slot* of the row. Because the key is the
//! same, the join is the row itself, and no join operator is needed.
//!
//! # Contract
//! - Of a (key, slot)'s events the one with the greatest [`Position`] is in force, whatever order they arrive in.
//!   Events at a position not above the one in force change nothing, so replays and overlaps are harmless. A delete
//!   is in force like any other event: what lies before it stays hidden.
//! - At each epoch's close the output accumulates to the rows that are not empty, each once. Only net changes are
//!   emitted: a row that ends an epoch as it began it is not mentioned.
//! - Keys are never forgotten, since a forgotten delete would let an old record back in.
//!
//! # Cost
//! One row is 24 bytes (key, three positions) and `R`, plus 5 to 11 bytes of index. A position that shares its
//! generation, partition and higher bits of the offset with fewer than a thousand others' takes no more; the rest are
//! kept beside the rows, some 40 bytes each.
//! What an epoch changes is kept as (row, old `R`) until its close; epoch 0, which changes everything, keeps nothing.

use crate::epochs::{CHUNK, Epochwise, Timed, Update, by_epoch};
use crate::keyed::{BLOCK, Changed, Entry, Keyed};
use crate::route::{Route, Routing};
use crate::state_size::Entries;
use differential_dataflow::{ExchangeData, VecCollection};
use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use values::footprint::{Footprint, Per};
use values::packed_positions::{PackedPositions, RegionTable};
pub use values::position::MAX_SLOTS;
use values::{Packed64, Position};

/// One record of the log: what slot `slot` of key `key` says from `position` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Event<P> {
    /// The row's key.
    pub key: i64,
    /// Where the record stands in its log; above [`Position::NONE`].
    pub position: Position,
    /// Which part of the row it replaces, below [`Slots::SLOTS`].
    pub slot: u8,
    /// What the part becomes; `None` deletes it.
    pub payload: Option<P>,
}

impl<P> Timed for Event<P> {
    fn time(&self, message: u64) -> u64 {
        message
    }
}

/// A row made of the latest record of each slot. The default is the row without any record.
pub trait Slots: Clone + Default + PartialEq + Ord + Debug + Send + 'static {
    /// The number of slots, at most [`MAX_SLOTS`].
    const SLOTS: usize;
    /// What a record says.
    type Payload: ExchangeData;
    /// Where a row has its parts, if that is known only when the dataflow is built; `()` where it is in the type.
    type Shape: 'static;

    /// Replaces slot `slot`'s part; `None` means that the slot holds no record.
    fn set(&mut self, shape: &Self::Shape, slot: u8, payload: Option<&Self::Payload>);

    /// Whether no slot holds a record.
    fn is_empty(&self, shape: &Self::Shape) -> bool;
}

/// The rows of the latest records; see the [module](self) for the contract.
///
/// ```
/// use operators::{Event, Offset, Partition, Position, Slots, latest};
/// use timely::dataflow::operators::{Capture, ToStream, capture::Extract};
///
/// /// Two numbers, each from a record of its own.
/// #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
/// struct Pair([Option<i64>; 2]);
///
/// impl Slots for Pair {
///     const SLOTS: usize = 2;
///     type Payload = i64;
///     type Shape = ();
///
///     fn set(&mut self, _: &(), slot: u8, payload: Option<&i64>) {
///         self.0[usize::from(slot)] = payload.copied();
///     }
///
///     fn is_empty(&self, _: &()) -> bool {
///         self.0 == [None, None]
///     }
/// }
///
/// let captured = timely::example(|scope| {
///     let event = |offset, slot, payload| Event {
///         key: 7,
///         position: Position::new(1, Offset(offset), Partition(0)).expect("an offset"),
///         slot,
///         payload,
///     };
///     // the record at offset 3 comes before those that it replaces
///     let events = [event(3, 0, Some(30)), event(1, 0, Some(10)), event(2, 1, Some(20))];
///     latest::<Pair>(events.to_stream(scope), "latest", ()).inner.capture()
/// });
/// let updates: Vec<_> = captured.extract().into_iter().flat_map(|(_, updates)| updates).collect();
/// assert_eq!(updates, [(Pair([Some(30), Some(20)]), 0, 1)]);
/// ```
pub fn latest<'s, R: Slots>(
    events: Stream<'s, u64, Vec<Event<R::Payload>>>,
    name: &str,
    shape: R::Shape,
) -> VecCollection<'s, u64, R, isize> {
    const { assert!(R::SLOTS <= MAX_SLOTS) };
    debug_assert!(R::default().is_empty(&shape));
    let pact = Exchange::new(|event: &Event<R::Payload>| event.key.route(Routing::default()));
    by_epoch(
        events,
        pact,
        name,
        Latest::<R> {
            shape,
            rows: Keyed::new(),
            regions: RegionTable::default(),
            changed: Changed::new(),
        },
    )
}

/// What is kept of each key; `heap` bytes are what its row owns.
pub fn footprint<R>(heap: usize) -> Footprint {
    Footprint::keyed(Per::Key, size_of::<Row<R>>() + heap)
}

/// A row of state.
struct Row<R> {
    key: Packed64,
    positions: PackedPositions,
    row: R,
}

impl<R> Entry for Row<R> {
    type Key = Packed64;

    fn key(&self) -> &Packed64 {
        &self.key
    }
}

struct Latest<R: Slots> {
    shape: R::Shape,
    rows: Keyed<Row<R>>,
    regions: RegionTable,
    changed: Changed<R>,
}

impl<R: Slots> Epochwise for Latest<R> {
    type In = Event<R::Payload>;
    type Out = R;

    fn apply(&mut self, events: &mut Vec<Self::In>) {
        let Latest {
            shape,
            rows,
            regions,
            changed,
        } = self;
        for block in events.chunks(BLOCK) {
            let keys = block.iter().map(|event| Packed64::from(event.key));
            let ids = rows.find_or_insert_block(keys, |&key| Row {
                key,
                positions: PackedPositions::default(),
                row: R::default(),
            });
            for (event, id) in block.iter().zip(ids) {
                debug_assert!(
                    (event.slot as usize) < R::SLOTS && event.position > Position::NONE,
                    "{event:?}"
                );
                let row = rows.get_mut(id);
                if event.position > regions.position(id, event.slot, &row.positions) {
                    regions.put(id, event.slot, event.position, &mut row.positions);
                    changed.note(id, || row.row.clone());
                    row.row.set(shape, event.slot, event.payload.as_ref());
                }
            }
        }
        events.clear();
    }

    fn close(&mut self) {
        self.changed.close(&self.rows);
    }

    fn emit(&mut self, time: u64, out: &mut Vec<Update<R>>) -> bool {
        while out.len() < CHUNK - 1 {
            let Some((id, before)) = self.changed.pop() else {
                self.changed.finish(&self.rows);
                return true;
            };
            let after = &self.rows.get(id).row;
            if before != *after {
                if !after.is_empty(&self.shape) {
                    out.push((after.clone(), time, 1));
                }
                if !before.is_empty(&self.shape) {
                    out.push((before, time, -1));
                }
            }
        }
        false
    }

    fn entries(&self) -> Entries {
        [Some(self.rows.len()), None]
    }
}
