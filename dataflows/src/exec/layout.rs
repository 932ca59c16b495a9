//! Where values lie in a row: names in four bytes each, everything else in as many bits as its facts need.
//!
//! The packing is canonical: equal values are equal bits, null and what is not there are zeros. So rows are compared,
//! hashed and routed as they are.

use crate::sql::eval::{Datum, Decimal, float};
use crate::sql::types::{Facts, Ty};
use operators::Symbol;
use std::cmp::Ordering;

/// Up to 64 bits somewhere in a row's words, from the lowest bit of the first word on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bits {
    at: u16,
    count: u8,
}

impl Bits {
    /// What stands there. Words that a row does not have are zeros.
    #[inline]
    pub(crate) fn get(self, words: &[u32]) -> u64 {
        let (word, shift) = (usize::from(self.at / 32), u32::from(self.at % 32));
        let part = |n: usize| u64::from(words.get(word + n).copied().unwrap_or(0));
        let mut value = (part(0) | part(1) << 32) >> shift;
        if shift + u32::from(self.count) > 64 {
            value |= part(2) << (64 - shift);
        }
        value & self.mask()
    }

    /// The same within one word, if these bits lie so.
    pub(crate) fn within(self) -> Option<Within> {
        let shift = self.at % 32;
        (self.count > 0 && shift + u16::from(self.count) <= 32).then(|| Within {
            word: usize::from(self.at / 32),
            shift: shift.into(),
            mask: self.mask() as u32,
        })
    }

    /// Writes `value` where zeros are.
    #[inline]
    pub(crate) fn put(self, words: &mut [u32], value: u64) {
        debug_assert!(value <= self.mask(), "{value} does not fit into {self:?}");
        let (word, shift) = (usize::from(self.at / 32), u32::from(self.at % 32));
        if self.count > 0 && shift + u32::from(self.count) <= 32 {
            words[word] |= (value as u32) << shift;
            return;
        }
        let mut rest = u128::from(value) << shift;
        for word in &mut words[word..] {
            if rest == 0 {
                break;
            }
            *word |= rest as u32;
            rest >>= 32;
        }
    }

    /// The first of them, from the lowest bit of the first word on.
    pub(crate) fn first(self) -> u32 {
        self.at.into()
    }

    /// Whether these are no bits at all.
    pub(crate) fn is_empty(self) -> bool {
        self.count == 0
    }

    /// The same bits of a row without its first words.
    pub(crate) fn lower(self, words: usize) -> Bits {
        Bits {
            at: self.at - 32 * words as u16,
            ..self
        }
    }

    fn mask(self) -> u64 {
        match self.count {
            0 => 0,
            count => u64::MAX >> (64 - count),
        }
    }
}

/// Bits within one word of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Within {
    word: usize,
    shift: u32,
    mask: u32,
}

impl Within {
    /// What stands there.
    #[inline]
    pub(crate) fn get(self, words: &[u32]) -> u32 {
        words[self.word] >> self.shift & self.mask
    }

    /// Writes `value` where zeros are.
    #[inline]
    pub(crate) fn put(self, words: &mut [u32], value: u32) {
        debug_assert!(value <= self.mask, "{value} does not fit into {self:?}");
        words[self.word] |= value << self.shift;
    }
}

/// How null is distinguished from a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Null {
    /// It does not occur.
    Never,
    /// It is 0, and the least value is 1.
    Zero,
    /// A bit says that there is a value: where values need all 64.
    Flag(Bits),
}

/// Where one column lies, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    /// A text: the name of this number.
    Name(u16),
    /// A text in two names, cut at its first space: see [`crate::sql::schema::SchemaColumn::halves`].
    Halves(u16),
    /// All types of 64 bits at most, as [`code`] numbers them, above `low`.
    Int {
        /// Where.
        bits: Bits,
        /// The least value.
        low: i64,
        /// How null is distinguished.
        null: Null,
    },
    /// A numeric.
    Numeric {
        /// The unscaled value's lower and upper half.
        halves: [Bits; 2],
        /// Whether there is a value.
        some: Bits,
        /// The scale, where it differs from value to value, and what to add to it.
        scale: (Bits, u16),
    },
}

/// A double as an integer of the same order. There is no NaN and no −0.
pub(crate) fn from_double(value: f64) -> i64 {
    let bits = (value + 0.0).to_bits() as i64;
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}

/// The double of an integer.
pub(crate) fn to_double(code: i64) -> f64 {
    f64::from_bits((code ^ ((code >> 63) as u64 >> 1) as i64) as u64)
}

/// A value of any type but text and numeric as an integer of the same order; `None` for null.
pub(crate) fn code(value: &Datum) -> Option<i64> {
    match value {
        Datum::Bool(value) => Some(i64::from(*value)),
        Datum::Int(value) | Datum::Timestamp(value) => Some(*value),
        Datum::Date(value) => Some(i64::from(*value)),
        Datum::Float(value) => Some(from_double(f64::from_bits(float::identity(*value)))),
        Datum::Null | Datum::Text(_) | Datum::Numeric(_) => None,
    }
}

/// The value of type `ty` of an integer.
pub(crate) fn datum(ty: Ty, code: i64) -> Datum {
    match ty {
        Ty::Bool => Datum::Bool(code != 0),
        Ty::Int4 | Ty::Int8 => Datum::Int(code),
        Ty::Timestamp => Datum::Timestamp(code),
        Ty::Date => Datum::Date(code as i32),
        Ty::Float8 => Datum::Float(to_double(code)),
        Ty::Text | Ty::Numeric => unreachable!("{ty} has no code"),
    }
}

impl Cell {
    /// How many bits of a row it takes.
    pub(crate) fn bits(&self) -> usize {
        let count = |bits: Bits| usize::from(bits.count);
        match *self {
            Cell::Name(_) => 32,
            Cell::Halves(_) => 64,
            Cell::Int { bits, null, .. } => match null {
                Null::Flag(flag) => count(bits) + count(flag),
                Null::Never | Null::Zero => count(bits),
            },
            Cell::Numeric { halves, some, scale } => {
                halves.map(count).iter().sum::<usize>() + count(some) + count(scale.0)
            }
        }
    }

    /// The integer that stands here, of a cell that holds one.
    #[inline]
    pub(crate) fn int(bits: Bits, low: i64, null: Null, words: &[u32]) -> Option<i64> {
        let value = bits.get(words);
        match null {
            Null::Never => Some(low.wrapping_add(value as i64)),
            Null::Zero => value.checked_sub(1).map(|value| low.wrapping_add(value as i64)),
            Null::Flag(flag) => (flag.get(words) != 0).then(|| low.wrapping_add(value as i64)),
        }
    }

    /// Writes an integer where zeros are.
    #[inline]
    pub(crate) fn put_int(bits: Bits, low: i64, null: Null, value: Option<i64>, words: &mut [u32]) {
        // a failed computation in a row that is not kept may be null all the same: then it is the least value
        let Some(value) = value else { return };
        let value = value.wrapping_sub(low) as u64;
        match null {
            Null::Never => bits.put(words, value),
            Null::Zero => bits.put(words, value + 1),
            Null::Flag(flag) => {
                flag.put(words, 1);
                bits.put(words, value);
            }
        }
    }

    /// The value of a cell that holds no text.
    pub(crate) fn numeric(halves: [Bits; 2], some: Bits, scale: (Bits, u16), words: &[u32]) -> Option<Decimal> {
        (some.get(words) != 0).then(|| {
            let [low, high] = halves.map(|half| half.get(words));
            Decimal {
                unscaled: (u128::from(high) << 64 | u128::from(low)) as i128,
                scale: scale.1 + scale.0.get(words) as u16,
            }
        })
    }

    /// Writes a numeric where zeros are.
    pub(crate) fn put_numeric(
        halves: [Bits; 2],
        some: Bits,
        scale: (Bits, u16),
        value: Option<Decimal>,
        words: &mut [u32],
    ) {
        let Some(value) = value else { return };
        some.put(words, 1);
        halves[0].put(words, value.unscaled as u64);
        halves[1].put(words, (value.unscaled >> 64) as u64);
        scale.0.put(words, u64::from(value.scale.saturating_sub(scale.1)));
    }

    /// Compares the values of two rows as [`CompareOp::Less`](crate::sql::plan::CompareOp::Less) does; null is below
    /// all values.
    pub(crate) fn compare(&self, a: (&[Option<Symbol>], &[u32]), b: (&[Option<Symbol>], &[u32])) -> Ordering {
        match *self {
            Cell::Name(n) | Cell::Halves(n) => a.0[usize::from(n)].cmp(&b.0[usize::from(n)]),
            Cell::Int { bits, low, null } => Cell::int(bits, low, null, a.1).cmp(&Cell::int(bits, low, null, b.1)),
            Cell::Numeric { halves, some, scale } => {
                Cell::numeric(halves, some, scale, a.1).cmp(&Cell::numeric(halves, some, scale, b.1))
            }
        }
    }

    /// Whether the cell is null in a row.
    pub(crate) fn is_null(&self, row: (&[Option<Symbol>], &[u32])) -> bool {
        match *self {
            Cell::Name(n) | Cell::Halves(n) => row.0[usize::from(n)].is_none(),
            Cell::Int { bits, low, null } => Cell::int(bits, low, null, row.1).is_none(),
            Cell::Numeric { some, .. } => some.get(row.1) == 0,
        }
    }
}

/// Hands out places in a row.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Packer {
    /// How many names there are.
    pub(crate) names: u16,
    /// How many bits are in use.
    pub(crate) bits: u16,
    /// More was asked for than a row can hold, and places overlap: only what all results together keep of records can
    /// come to that, keys and ranked rows are bounded by the columns of one query.
    pub(crate) is_full: bool,
}

impl Packer {
    /// The words that the bits take.
    pub(crate) fn words(&self) -> usize {
        usize::from(self.bits.div_ceil(32))
    }

    /// The next name.
    pub(crate) fn name(&mut self) -> Cell {
        Cell::Name(self.more_names(1))
    }

    /// The next two names.
    pub(crate) fn halves(&mut self) -> Cell {
        Cell::Halves(self.more_names(2))
    }

    fn more_names(&mut self, count: u16) -> u16 {
        let at = self.names;
        match at.checked_add(count) {
            Some(names) => self.names = names,
            None => self.is_full = true,
        }
        at
    }

    /// The next bits.
    pub(crate) fn take(&mut self, count: u32) -> Bits {
        let at = self.bits;
        match at.checked_add(count as u16) {
            Some(bits) => self.bits = bits,
            None => self.is_full = true,
        }
        Bits { at, count: count as u8 }
    }

    /// A place for values of a type, of which this is known.
    pub(crate) fn cell(&mut self, ty: Ty, facts: &Facts) -> Cell {
        match ty {
            Ty::Text => self.name(),
            Ty::Numeric => {
                let (least, most) = facts.scale;
                Cell::Numeric {
                    halves: [self.take(64), self.take(64)],
                    some: self.take(1),
                    scale: (self.take(length(u64::from(most.saturating_sub(least)))), least),
                }
            }
            _ => {
                let (low, high) = match ty {
                    // their order is that of their codes, of which nothing is known
                    Ty::Float8 => (i64::MIN, i64::MAX),
                    _ => (bounded(facts.low), bounded(facts.high)),
                };
                let range = high.wrapping_sub(low) as u64;
                let (null, most) = match (facts.nullable, range.checked_add(1)) {
                    (false, _) => (Null::Never, range),
                    (true, Some(most)) => (Null::Zero, most),
                    (true, None) => (Null::Flag(self.take(1)), range),
                };
                Cell::Int {
                    bits: self.take(length(most)),
                    low,
                    null,
                }
            }
        }
    }
}

/// The bits of a number up to `most`.
fn length(most: u64) -> u32 {
    64 - most.leading_zeros()
}

fn bounded(value: i128) -> i64 {
    value.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn integers_are_found_again(
            before in 0u32..100,
            low in any::<i64>(), span in any::<u64>(), within in any::<u64>(), nullable: bool, null: bool,
        ) {
            let high = (i128::from(low) + i128::from(span)).min(i64::MAX.into());
            let facts = Facts::range(low.into(), high).nullable(nullable);
            let mut packer = Packer::default();
            let first = packer.take(before.min(64));
            let cell = packer.cell(Ty::Int8, &facts);
            let last = packer.take(7);
            let mut words = vec![0; packer.words()];
            first.put(&mut words, first.mask());
            last.put(&mut words, 127);
            let value = (low as i128 + within as i128 % (high - low as i128 + 1)) as i64;
            let value = (!(nullable && null)).then_some(value);
            let Cell::Int { bits, low, null } = cell else { unreachable!() };
            Cell::put_int(bits, low, null, value, &mut words);
            prop_assert_eq!(Cell::int(bits, low, null, &words), value);
            prop_assert_eq!((first.get(&words), last.get(&words)), (first.mask(), 127));
        }

        #[test]
        fn doubles_keep_their_order(a in prop::num::f64::NORMAL | prop::num::f64::ZERO, b in prop::num::f64::NORMAL) {
            prop_assert_eq!(from_double(a).cmp(&from_double(b)), a.partial_cmp(&b).unwrap());
            prop_assert_eq!(to_double(from_double(a)), a);
            prop_assert_eq!(from_double(-0.0), from_double(0.0));
        }
    }
}
