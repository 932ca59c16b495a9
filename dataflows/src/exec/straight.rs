//! Payloads of kinds of which only plain columns are kept: without a row and without an evaluator.

use super::kept::Layout;
use super::layout::{Bits, Cell, Null};
use super::row::{Cells, Payload};
use crate::cleaning;
use crate::sql::eval::time;
use crate::sql::plan::{Scalar, TimeUnit};
use crate::sql::types::Ty;
use operators::{Symbol, Tuple};

/// The columns of a kind that a decoder reads: two texts and two integers at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns {
    /// The names of text columns. The two parts of a text in halves count as two of one column.
    pub(crate) names: [Option<&'static str>; 2],
    /// The names of columns of integers and times.
    pub(crate) ints: [Option<&'static str>; 2],
}

/// An integer's way into a payload.
#[derive(Clone, Copy, Debug)]
struct Int {
    from: usize,
    unit: Option<TimeUnit>,
    bits: Bits,
    low: i64,
    null: Null,
}

/// How a kind's payloads are made; see the [module](self).
#[derive(Clone, Debug)]
pub(crate) struct Straight {
    /// Which of the two texts are kept, and as which name.
    names: [Option<usize>; 2],
    ints: Vec<Int>,
    /// Word and bit that say that there is a record.
    present: (usize, u32),
}

impl Straight {
    /// `None` where anything else is kept, or a payload is not a small one.
    pub(crate) fn new(layout: &Layout, kind: usize, columns: &Columns) -> Option<Straight> {
        let span = &layout.shape.spans[kind];
        let (first_name, count) = span.names;
        if count > 2 || span.masks.len() > 3 {
            return None;
        }
        let (word, bit) = layout.shape.present[kind];
        let mut straight = Straight {
            names: [None; 2],
            ints: Vec::new(),
            present: (word - span.first, bit),
        };
        for kept in &layout.kinds[kind] {
            let scalar = layout.plan.scalar(kept.e);
            let (field, unit) = match scalar {
                Scalar::Extract(unit, of) => (layout.plan.scalar(*of), Some(*unit)),
                field => (field, None),
            };
            let Scalar::Field { column, .. } = field else {
                return None;
            };
            let column = &layout.schema.kinds[kind].columns[usize::from(*column)];
            let is = |name: &Option<&str>| *name == Some(&*column.name);
            match kept.cell {
                Cell::Name(n) => {
                    let from = columns.names.iter().position(is).filter(|_| !column.halves)?;
                    straight.names[from] = Some(usize::from(n) - first_name);
                }
                Cell::Halves(n) if columns.names.iter().all(is) => {
                    let n = usize::from(n) - first_name;
                    straight.names = [Some(n), Some(n + 1)];
                }
                Cell::Int { bits, low, null } if unit.is_none() || column.ty == Ty::Timestamp => {
                    straight.ints.push(Int {
                        from: columns.ints.iter().position(is)?,
                        unit,
                        bits: bits.lower(span.first),
                        low,
                        null: match null {
                            Null::Flag(flag) => Null::Flag(flag.lower(span.first)),
                            null => null,
                        },
                    });
                }
                _ => return None,
            }
        }
        Some(straight)
    }

    /// Whether a text is kept.
    #[inline]
    pub(crate) fn keeps(&self, name: usize) -> bool {
        self.names[name].is_some()
    }

    /// The payload of a record with these values; names that are not kept are left aside.
    #[inline]
    pub(crate) fn payload(&self, names: [Option<Symbol>; 2], ints: [Option<i64>; 2]) -> Payload {
        Payload::Small(Tuple::fill(2, 3, |to, words| {
            for (name, to_place) in names.into_iter().zip(self.names) {
                if let Some(place) = to_place {
                    to[place] = name;
                }
            }
            for int in &self.ints {
                let value = ints[int.from].map(|value| match int.unit {
                    None => value,
                    Some(TimeUnit::Year) => i64::from(cleaning::year(value)),
                    // cleaned times are within the years of which parts can be taken
                    Some(unit) => time::extract(unit, value).unwrap_or(int.low),
                });
                Cell::put_int(int.bits, int.low, int.null, value, words);
            }
            words[self.present.0] |= self.present.1;
        }))
    }
}
