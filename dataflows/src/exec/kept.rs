//! What is kept of a record: the columns that results name, or less.
//!
//! Wide text is not kept, nor is text without a bound: only the greatest expressions over one kind's columns that hold
//! one. Of other columns what results make of them is kept where it is narrower than the column itself: of a time of
//! which only the year is asked 14 bits, of a column that is only compared with null one bit.

use super::layout::{Cell, Packer};
use super::needs::{Kept, Needs};
use super::row::{Payload, SLOTS, Shape, Span};
use crate::sql::eval::scalar::{Evaluator, Row};
use crate::sql::eval::{Computed, Datum, Failure};
use crate::sql::plan::{ExprId, Join, NodeId, Plan, Scalar};
use crate::sql::schema::Schema;
use crate::sql::types::{LONGEST_KEPT, Ty};
use hashbrown::HashMap;
use operators::{Symbol, Value};
use std::collections::BTreeSet;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_128;

/// How records become rows: what is kept of each kind, and where.
#[derive(Clone, Debug)]
pub struct Layout {
    pub(crate) schema: Schema,
    /// The expressions of the catalogue, and the keys of all kinds.
    pub(crate) plan: Plan,
    /// By kind.
    pub(crate) kinds: Vec<Vec<Kept>>,
    pub(crate) shape: Arc<Shape>,
    /// Where it is kept: (kind, number of the thing kept).
    places: HashMap<ExprId, (usize, usize)>,
    /// Columns whose nulls follow from another value that is kept.
    null_of: HashMap<(u8, u16, u8), ExprId>,
}

/// A text, or if it is long its hash behind a mark that no cleaned text holds.
fn hashed(text: &str) -> Symbol {
    if text.len() > LONGEST_KEPT as usize {
        Symbol::new(&format!("\0{:032x}", xxh3_128(text.as_bytes())))
    } else {
        Symbol::new(text)
    }
}

/// A text cut at its first space. One that is too long is known by its hash, and one without a space stands behind a
/// mark that no cleaned text holds.
pub(crate) fn halves(text: &str) -> [Symbol; 2] {
    match text.split_once(' ') {
        _ if text.len() > LONGEST_KEPT as usize => [Symbol::new(""), hashed(text)],
        Some((first, rest)) => [Symbol::new(first), Symbol::new(rest)],
        None => [Symbol::new("\0"), Symbol::new(text)],
    }
}

/// The key of a kind's records.
fn key_of(kind: usize) -> Scalar {
    Scalar::Field {
        kind: kind as u8,
        column: 0,
        element: 0,
    }
}

impl Layout {
    /// What the results of a plan need; `None` where that is more than a row can hold.
    pub fn new(schema: &Schema, plan: &Plan) -> Option<Layout> {
        let nodes = (0..plan.nodes().len()).map(|place| NodeId(place as u32)).collect();
        Layout::of_nodes(schema, plan, &nodes)
    }

    /// What some nodes of a plan need.
    pub(crate) fn of_nodes(schema: &Schema, plan: &Plan, nodes: &BTreeSet<NodeId>) -> Option<Layout> {
        assert!(
            schema.kinds.len() <= SLOTS,
            "at most {SLOTS} kinds of records are kept together"
        );
        let mut whole = plan.clone();
        for kind in 0..schema.kinds.len() {
            whole.add(key_of(kind), Ty::Int8);
        }
        let plan = &whole;
        let needs = Needs::of(schema, plan, nodes);
        let mut layout = Layout {
            schema: schema.clone(),
            plan: plan.clone(),
            kinds: Vec::new(),
            shape: Arc::default(),
            places: HashMap::new(),
            null_of: needs.null_of.clone(),
        };
        let kinds = schema.kinds.len();
        let mut order: Vec<usize> = (0..kinds).collect();
        // a payload has all words that hold bits of its kind: where those that need most come first, they share fewer
        order.sort_by_key(|kind| {
            let mut alone = Packer::default();
            needs.pack(*kind, &mut alone);
            std::cmp::Reverse(alone.bits)
        });
        let mut packer = Packer::default();
        let mut spans = vec![(0, 0, 0, 0); kinds];
        let mut present = vec![0; kinds];
        layout.kinds.resize(kinds, Vec::new());
        for kind in order {
            let (first_name, first_bit) = (packer.names, packer.bits);
            layout.kinds[kind] = needs.pack(kind, &mut packer);
            for (number, kept) in layout.kinds[kind].iter().enumerate() {
                layout.places.insert(kept.e, (kind, number));
            }
            present[kind] = packer.bits;
            packer.take(1);
            spans[kind] = (first_name, packer.names, first_bit, packer.bits);
        }
        if packer.is_full {
            return None;
        }
        let words = packer.words();
        let span = |(first_name, names, first, end): (u16, u16, u16, u16)| {
            let (from, to) = (usize::from(first / 32), usize::from(end.div_ceil(32)));
            let mask = |word: usize| {
                let bits = (0..32u16).filter(|bit| (first..end).contains(&(word as u16 * 32 + bit)));
                bits.fold(0u32, |mask, bit| mask | 1 << bit)
            };
            Span {
                names: (usize::from(first_name), usize::from(names - first_name)),
                first: from,
                masks: (from..to).map(mask).collect(),
            }
        };
        layout.shape = Arc::new(Shape {
            spans: spans.into_iter().map(span).collect(),
            present: present
                .iter()
                .map(|bit| (usize::from(bit / 32), 1 << (bit % 32)))
                .collect(),
            names: usize::from(packer.names),
            words,
        });
        Some(layout)
    }

    /// Everything that decides how a payload is packed, for comparing.
    pub(crate) fn described(&self) -> String {
        format!("{:?} {:?}", self.kinds, self.shape)
    }

    /// Names and words of a row: 4 bytes each.
    pub fn size(&self) -> (usize, usize) {
        (self.shape.names, self.shape.words)
    }

    /// Whether another layout keeps the same in the same places.
    pub fn is_like(&self, other: &Layout) -> bool {
        let cells = |layout: &Layout| -> Vec<Vec<(Cell, Ty, Option<(usize, u8)>)>> {
            let kinds = layout.kinds.iter();
            kinds
                .map(|kind| kind.iter().map(|kept| (kept.cell, kept.ty, kept.column)).collect())
                .collect()
        };
        self.shape == other.shape && cells(self) == cells(other)
    }

    /// What is kept of a cleaned row of a kind, whose values stand in the order of the cleaned table's columns.
    pub fn pack(&self, kind: usize, row: &[Value]) -> Payload {
        let mut values = self.evaluator(kind, row);
        self.fill(kind, |kept| match (kept.cell, kept.column) {
            (Cell::Halves(_), Some((column, _))) => Piece::Halves(row[column].as_str().map(halves)),
            (_, None) => Piece::of(values(kept.e), kept.hashed),
            (_, Some((column, element))) => match (&row[column], kept.ty) {
                (Value::Text(name), Ty::Text) if !kept.hashed => Piece::Name(Some(*name)),
                (value, ty) => Piece::of(field(value, ty, element).unwrap_or(Datum::Null), kept.hashed),
            },
        })
    }

    fn evaluator<'a>(&'a self, kind: usize, row: &'a [Value]) -> impl FnMut(ExprId) -> Datum + 'a {
        let mut evaluator = None;
        move |e| {
            // most layouts keep columns alone, and need no evaluator
            let evaluator = evaluator.get_or_insert_with(|| Evaluator::new(&self.plan));
            let record = Record {
                schema: &self.schema,
                kind,
                row: Some(row),
            };
            // what fails is asked for in no row that is kept
            evaluator.value(e, &record).unwrap_or(Datum::Null)
        }
    }

    /// A payload of what `piece` gives for each thing that is kept of a kind.
    pub(crate) fn fill(&self, kind: usize, mut piece: impl FnMut(&Kept) -> Piece) -> Payload {
        let span = &self.shape.spans[kind];
        // a payload has the words of the row that hold bits of its kind, and nothing before them
        let mut whole = vec![0u32; span.first + span.masks.len()];
        let (first, count) = span.names;
        let mut names = vec![None; count];
        for kept in &self.kinds[kind] {
            match (kept.cell, piece(kept)) {
                // null is zeros
                (_, Piece::Int(None)) => {}
                (Cell::Name(n), Piece::Name(name)) => names[usize::from(n) - first] = name,
                (Cell::Halves(n), Piece::Halves(halves)) => {
                    let at = usize::from(n) - first;
                    (names[at], names[at + 1]) = halves.map_or((None, None), |[a, b]| (Some(a), Some(b)));
                }
                (Cell::Int { bits, low, null }, Piece::Int(value)) => {
                    Cell::put_int(bits, low, null, value, &mut whole);
                }
                (Cell::Numeric { halves, some, scale }, Piece::Datum(value)) => {
                    let value = match value {
                        Datum::Numeric(value) => Some(value),
                        _ => None,
                    };
                    Cell::put_numeric(halves, some, scale, value, &mut whole);
                }
                // what a piece holds is the user's, and is shown nowhere
                (cell, _) => unreachable!("{:?} does not go into {cell:?}", kept.e),
            }
        }
        let (word, bit) = self.shape.present[kind];
        whole[word] |= bit;
        Payload::fill(count, span.masks.len(), |to, words| {
            to[..count].copy_from_slice(&names);
            words[..span.masks.len()].copy_from_slice(&whole[span.first..]);
        })
    }

    /// Where an expression over a kind's fields is kept, if it is.
    pub(crate) fn place(&self, e: ExprId) -> Option<(usize, &Kept)> {
        let (kind, number) = *self.places.get(&e)?;
        Some((kind, &self.kinds[kind][number]))
    }

    /// The expression that is a kind's key.
    pub(crate) fn key(&self, kind: usize) -> Option<ExprId> {
        self.plan.find(&key_of(kind), Ty::Int8)
    }

    /// Something kept that is null exactly where the column is, and is not the column.
    pub(crate) fn null_of(&self, field: &Scalar) -> Option<ExprId> {
        match field {
            Scalar::Field { kind, column, element } => self.null_of.get(&(*kind, *column, *element)).copied(),
            _ => None,
        }
    }

    /// The value of an expression over one kind's fields where there is no record of it.
    pub(crate) fn unseen(&self, kind: usize, e: ExprId) -> Datum {
        let record = Record {
            schema: &self.schema,
            kind,
            row: None,
        };
        Evaluator::new(&self.plan).value(e, &record).unwrap_or(Datum::Null)
    }

    /// Whether a row of the join has a kind's fields exactly where the kind has a record.
    pub(crate) fn seen_as_present(&self, join: &Join, kind: usize) -> bool {
        let kinds = 1u8 << self.schema.kinds.len();
        (0..kinds)
            .filter(|present| join.rows.holds(*present))
            .all(|present| join.seen[kind].holds(present) == (present >> kind & 1 == 1))
    }
}

/// A value on its way into a payload.
#[derive(Debug)]
pub(crate) enum Piece {
    Name(Option<Symbol>),
    Halves(Option<[Symbol; 2]>),
    Int(Option<i64>),
    Datum(Datum),
}

impl Piece {
    fn of(value: Datum, is_identity: bool) -> Piece {
        match value {
            Datum::Text(text) if is_identity => Piece::Name(Some(hashed(&text))),
            Datum::Text(text) => Piece::Name(Some(Symbol::new(&text))),
            Datum::Numeric(_) => Piece::Datum(value),
            value => Piece::Int(super::layout::code(&value)),
        }
    }
}

/// The value of a column of a cleaned row.
fn field(value: &Value, ty: Ty, element: u8) -> Option<Datum> {
    Some(match (value, ty) {
        (Value::Null, _) => Datum::Null,
        (Value::Int(value), Ty::Int4 | Ty::Int8) => Datum::Int(*value),
        (Value::Int(value), Ty::Timestamp) => Datum::Timestamp(*value),
        (Value::Float(value), Ty::Float8) => Datum::Float(*value),
        (Value::Floats(values), Ty::Float8) => {
            let value = values.get(usize::from(element).wrapping_sub(1)).copied().flatten();
            value.map_or(Datum::Null, Datum::Float)
        }
        (value, Ty::Text) => Datum::text(value.as_str()?),
        _ => return None,
    })
}

/// A cleaned row of one kind, or that there is none.
struct Record<'a> {
    schema: &'a Schema,
    kind: usize,
    row: Option<&'a [Value]>,
}

impl Row for Record<'_> {
    fn leaf(&self, scalar: &Scalar) -> Computed<Datum> {
        let Scalar::Field { kind, column, element } = scalar else {
            return Err(Failure::WrongType);
        };
        debug_assert_eq!(usize::from(*kind), self.kind);
        let ty = self.schema.kinds[self.kind].columns[usize::from(*column)].ty;
        match self.row {
            None => Ok(Datum::Null),
            Some(row) => field(&row[usize::from(*column)], ty, *element).ok_or(Failure::WrongType),
        }
    }
}
