//! Sets of offsets as sorted, disjoint, half-open ranges.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use values::Offset;

/// A set of offsets. Serialised as a list of `[from, to]` pairs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(Offset, Offset)>", into = "Vec<(Offset, Offset)>")]
pub struct RangeSet {
    /// From start to end; disjoint, and no two touch.
    ranges: BTreeMap<Offset, Offset>,
}

impl RangeSet {
    /// Adds the offsets of `range`; an empty one adds nothing.
    pub fn insert(&mut self, range: Range<Offset>) {
        let Range { mut start, mut end } = range;
        if start >= end {
            return;
        }
        // All ranges that overlap or touch melt into one.
        while let Some((&from, &to)) = self.ranges.range(..=end).next_back()
            && to >= start
        {
            start = start.min(from);
            end = end.max(to);
            self.ranges.remove(&from);
        }
        self.ranges.insert(start, end);
        debug_assert!(
            {
                let before = self.ranges.range(..start).next_back();
                let after = self.ranges.range(start.next()..).next();
                before.is_none_or(|(_, to)| *to < start) && after.is_none_or(|(from, _)| end < *from)
            },
            "the ranges beside {start}..{end} overlap it or touch it"
        );
    }

    /// The ranges in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Range<Offset>> + '_ {
        self.ranges.iter().map(|(&from, &to)| from..to)
    }

    /// Drops the first ranges until at most `most` are left.
    pub fn keep_last(&mut self, most: usize) {
        while self.ranges.len() > most {
            self.ranges.pop_first();
        }
    }

    /// Whether there is no offset.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many offsets.
    pub fn count(&self) -> u64 {
        self.iter().map(|range| range.end.abs_diff(range.start)).sum()
    }

    /// Whether `offset` is in the set.
    pub fn contains(&self, offset: Offset) -> bool {
        self.around(offset).is_some()
    }

    /// Whether all of `range` is in the set; an empty range always is.
    pub fn covers(&self, range: Range<Offset>) -> bool {
        range.is_empty() || self.around(range.start).is_some_and(|around| around.end >= range.end)
    }

    /// The range that holds `offset`.
    pub fn around(&self, offset: Offset) -> Option<Range<Offset>> {
        let (&from, &to) = self.ranges.range(..=offset).next_back()?;
        (offset < to).then_some(from..to)
    }

    /// The end of the range that holds `offset` or ends there.
    pub fn end_of(&self, offset: Offset) -> Option<Offset> {
        let (_, &to) = self.ranges.range(..=offset).next_back()?;
        (offset <= to).then_some(to)
    }

    /// The parts of `range` that are in the set, in order.
    pub fn within(&self, range: Range<Offset>) -> Vec<Range<Offset>> {
        if range.is_empty() {
            return Vec::new();
        }
        let first = self.around(range.start).map_or(range.start, |around| around.start);
        let cut = |(&from, &to): (&Offset, &Offset)| from.max(range.start)..to.min(range.end);
        self.ranges.range(first..range.end).map(cut).collect()
    }

    /// The parts of `range` that are not in the set, in order.
    pub fn missing(&self, range: Range<Offset>) -> Vec<Range<Offset>> {
        let mut missing = Vec::new();
        let mut at = range.start;
        for covered in self.within(range.clone()) {
            if at < covered.start {
                missing.push(at..covered.start);
            }
            at = covered.end;
        }
        if at < range.end {
            missing.push(at..range.end);
        }
        missing
    }

    /// The set without the offsets of another one.
    pub fn without(&self, other: &RangeSet) -> RangeSet {
        self.iter().flat_map(|range| other.missing(range)).collect()
    }

    /// The `n`-th offset that is not in the set, counted from 0, of those from `start` on.
    pub fn nth_missing(&self, start: Offset, n: u64) -> Offset {
        let (mut at, mut left) = (start, n);
        let first = self.around(start).map_or(start, |around| around.start);
        for (&from, &to) in self.ranges.range(first..) {
            let before = from.max(at).0.abs_diff(at.0);
            if left < before {
                break;
            }
            left -= before;
            at = to;
        }
        at.plus(left)
    }

    /// What lies between the ranges, in order.
    pub fn holes(&self) -> impl Iterator<Item = Range<Offset>> + '_ {
        self.iter()
            .zip(self.iter().skip(1))
            .map(|(before, after)| before.end..after.start)
    }
}

impl From<Vec<(Offset, Offset)>> for RangeSet {
    fn from(pairs: Vec<(Offset, Offset)>) -> RangeSet {
        pairs.into_iter().map(|(from, to)| from..to).collect()
    }
}

impl From<RangeSet> for Vec<(Offset, Offset)> {
    fn from(set: RangeSet) -> Vec<(Offset, Offset)> {
        set.ranges.into_iter().collect()
    }
}

impl FromIterator<Range<Offset>> for RangeSet {
    fn from_iter<I: IntoIterator<Item = Range<Offset>>>(ranges: I) -> RangeSet {
        let mut set = RangeSet::default();
        ranges.into_iter().for_each(|range| set.insert(range));
        set
    }
}

/// `16..20 151..152`; nothing for the empty set.
impl fmt::Display for RangeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, range) in self.iter().enumerate() {
            let gap = if number == 0 { "" } else { " " };
            write!(f, "{gap}{}..{}", range.start, range.end)?;
        }
        Ok(())
    }
}

/// A text that names no ranges.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid range of offsets {0:?}: expected FROM..TO")]
pub struct RangeError(String);

impl FromStr for RangeSet {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<RangeSet, RangeError> {
        let range = |text: &str| {
            let (from, to) = text.split_once("..")?;
            let range = from.parse::<Offset>().ok()?..to.parse::<Offset>().ok()?;
            Some(range).filter(|range| !range.is_empty())
        };
        let ranges = text.split_whitespace();
        ranges
            .map(|text| range(text).ok_or_else(|| RangeError(text.to_owned())))
            .collect()
    }
}
