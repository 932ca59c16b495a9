//! Payloads of kinds of which only plain columns are kept: without a row and without an evaluator.

use super::kept::Layout;
use super::layout::{Bits, Cell, Null};
use super::row::Payload;
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

impl Int {
    /// The bits of a payload that say which value it has.
    #[inline]
    fn packed(&self, value: Option<i64>) -> u128 {
        let Some(value) = value else { return 0 };
        let value = match self.unit {
            None => value,
            Some(TimeUnit::Year) => i64::from(cleaning::year(value)),
            // cleaned times are within the years of which parts can be taken
            Some(unit) => time::extract(unit, value).unwrap_or(self.low),
        };
        let value = value.wrapping_sub(self.low) as u64;
        let (value, flag) = match self.null {
            Null::Never => (value, 0),
            Null::Zero => (value + 1, 0),
            Null::Flag(flag) => (value, 1 << flag.first()),
        };
        u128::from(value) << self.bits.first() | flag
    }
}

/// In how many forms integers of one record are kept at most: a time whole, its year, its hour.
const FORMS: usize = 4;

/// How a kind's payloads are made; see the [module](self).
#[derive(Clone, Debug)]
pub(crate) struct Straight {
    /// Which of the two texts are kept, and as which name.
    names: [Option<usize>; 2],
    ints: [Option<Int>; FORMS],
    /// The bit of a payload that says that there is a record.
    present: u128,
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
            ints: [None; FORMS],
            present: u128::from(bit) << (32 * (word - span.first)),
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
                    // one integer may be kept in several forms
                    let free = straight.ints.iter_mut().find(|int| int.is_none())?;
                    *free = Some(Int {
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
        let names = match self.names {
            [Some(0), Some(1)] => names,
            places => {
                let mut to = [None; 2];
                for (name, place) in names.into_iter().zip(places) {
                    if let Some(place) = place {
                        to[place] = name;
                    }
                }
                to
            }
        };
        // put together in registers: words that are written one by one are slow to be read as a whole
        let ints = self.ints.iter().flatten().map(|int| int.packed(ints[int.from]));
        let bits = ints.fold(self.present, |bits, int| bits | int);
        let plain = [bits as u32, (bits >> 32) as u32, (bits >> 64) as u32];
        Payload::Small(Tuple { names, plain })
    }
}
