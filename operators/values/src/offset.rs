//! The offset of a record within its partition.

use crate::number::{parse_as_number, print_as_number};
use serde::{Deserialize, Serialize};
use std::ops::{Range, Sub};

/// The offset of a record within its partition of a topic, as Kafka numbers it.
///
/// Offsets are compared, counted on and subtracted; what else is an `i64` (a timestamp, a count, a number of a commit) is
/// not an offset. It is printed and serialised as the number it is.
///
/// ```
/// use values::Offset;
///
/// assert_eq!(Offset(7).next(), Offset(8));
/// assert_eq!(Offset(9) - Offset(4), 5);
/// assert!(Offset::range(4..9).contains(&Offset(8)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(pub i64);

impl Offset {
    /// Where the log of a partition begins.
    pub const ZERO: Offset = Offset(0);
    /// Above every record.
    pub const MAX: Offset = Offset(i64::MAX);

    /// The offset after this one.
    #[inline]
    pub const fn next(self) -> Offset {
        self.plus(1)
    }

    /// The offset before this one.
    #[inline]
    pub const fn previous(self) -> Offset {
        Offset(self.0.saturating_sub(1))
    }

    /// The offset that many records further on; [`Offset::MAX`] when there is no such number.
    #[inline]
    pub const fn plus(self, records: u64) -> Offset {
        Offset(self.0.saturating_add_unsigned(records))
    }

    /// How many offsets lie between two, whichever is the greater.
    #[inline]
    pub const fn abs_diff(self, other: Offset) -> u64 {
        self.0.abs_diff(other.0)
    }

    /// The offsets of these numbers.
    #[inline]
    pub const fn range(numbers: Range<i64>) -> Range<Offset> {
        Offset(numbers.start)..Offset(numbers.end)
    }

    /// Each offset of a range, in order.
    pub fn each(range: Range<Offset>) -> impl DoubleEndedIterator<Item = Offset> {
        (range.start.0..range.end.0).map(Offset)
    }
}

/// How many offsets lie from one to another: negative when the first one is the lower.
impl Sub for Offset {
    type Output = i64;

    #[inline]
    fn sub(self, other: Offset) -> i64 {
        self.0 - other.0
    }
}

parse_as_number!(Offset);
print_as_number!(Offset);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_printed_parsed_and_serialised_as_its_number() {
        assert_eq!(format!("{} {:?}", Offset(-3), Offset::range(4..9)), "-3 4..9");
        assert_eq!(format!("{:020}", Offset(7)), "00000000000000000007");
        assert_eq!("12".parse(), Ok(Offset(12)));
        for wrong in ["", "1 2", "-1", "+1", "9223372036854775808"] {
            assert!(wrong.parse::<Offset>().is_err(), "{wrong}");
        }
        assert_eq!(serde_json::to_string(&Offset(5)).unwrap(), "5");
        assert_eq!(serde_json::from_str::<Offset>("5").unwrap(), Offset(5));
    }

    #[test]
    fn ends_at_the_greatest_number() {
        assert_eq!(Offset::MAX.next(), Offset::MAX);
        assert_eq!(Offset(5).plus(u64::MAX), Offset::MAX);
        assert_eq!(Offset(i64::MIN).previous(), Offset(i64::MIN));
    }

    #[test]
    fn is_counted_on_and_subtracted() {
        assert_eq!((Offset(7).next(), Offset(7).previous()), (Offset(8), Offset(6)));
        assert_eq!(Offset(7).plus(5), Offset(12));
        assert_eq!((Offset(9) - Offset(4), Offset(4) - Offset(9)), (5, -5));
        assert_eq!((Offset(9).abs_diff(Offset(4)), Offset(4).abs_diff(Offset(9))), (5, 5));
        let each: Vec<Offset> = Offset::each(Offset::range(4..7)).collect();
        assert_eq!(each, [4, 5, 6].map(Offset));
    }
}
