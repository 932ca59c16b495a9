//! What a compaction merges, and what it may remove: pure functions over what is known of one partition's objects.

use crate::lake::{Encoding, Moment, Object, ObjectMetadata};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::time::Duration;
use values::Offset;

/// Digits of an offset in the name of a merged object: the sink's have ten.
const DIGITS: usize = 12;

/// An object of one partition, with what is known of it.
pub(super) struct Known {
    pub(super) object: Object,
    pub(super) start: Offset,
    pub(super) lines: u64,
    pub(super) covers: Range<Offset>,
    pub(super) metadata: ObjectMetadata,
    pub(super) state: State,
}

/// What may be done with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// `start + line` is proved to be the offset of each line.
    Exact,
    /// Records may be missing inside it.
    Doubtful,
    /// It cannot be read.
    Unreadable,
}

impl Known {
    /// The offsets of its lines, when it is exact.
    pub(super) fn held(&self) -> Range<Offset> {
        self.start..self.start.plus(self.lines)
    }

    /// Whether others may be removed because it holds their lines.
    pub(super) fn may_replace(&self) -> bool {
        self.state == State::Exact && self.metadata.covers.is_some() && self.metadata.checksum.is_some()
    }

    /// Whether this stands for all that `other` does, and for more.
    pub(super) fn contains(&self, other: &Known) -> bool {
        let within =
            |inner: &Range<Offset>, outer: &Range<Offset>| outer.start <= inner.start && inner.end <= outer.end;
        let lines = other.lines == 0 || within(&other.held(), &self.held());
        let more = self.lines > other.lines || self.covers != other.covers;
        within(&other.covers, &self.covers) && lines && more
    }
}

/// Since when objects have been replaced, by the key of what replaces them.
pub(super) type Notes = BTreeMap<String, Moment>;

/// The objects that lie within a larger one that may replace them, by that one.
pub(super) fn replaced(known: &[Known]) -> BTreeMap<usize, Vec<usize>> {
    let mut replaced: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    // in order of starts, so the object that reaches furthest so far is the one that may hold the next
    let mut furthest: Option<usize> = None;
    let readable = |index: &usize| known[*index].state != State::Unreadable;
    let mut order: Vec<usize> = (0..known.len()).filter(readable).collect();
    order.sort_by_key(|index| {
        let known = &known[*index];
        (
            known.covers.start.min(known.start),
            Reverse(known.covers.end),
            Reverse(known.lines),
            known.start,
        )
    });
    for index in order {
        let this = &known[index];
        match furthest.filter(|by| known[*by].contains(this)) {
            Some(by) => replaced.entry(by).or_default().push(index),
            None if this.may_replace() && furthest.is_none_or(|by| known[by].covers.end < this.covers.end) => {
                furthest = Some(index);
            }
            None => {}
        }
    }
    replaced
}

/// Since when the objects of these keys have replaced others, those before taken over, and which of them have for long
/// enough. Where the clock is another one than before the time begins anew.
pub(super) fn noted_since(keys: &[String], before: Notes, now: &Moment, keep: Duration) -> (Notes, HashSet<String>) {
    let (mut notes, mut due) = (Notes::new(), HashSet::new());
    for key in keys {
        let known = before.get(key).and_then(|noted| Some((noted, now.since(noted)?)));
        if known.is_some_and(|(_, time)| time >= keep) {
            due.insert(key.clone());
        }
        notes.insert(key.clone(), known.map_or(now, |(noted, _)| noted).clone());
    }
    (notes, due)
}

/// Stretches of `small` (in order of starts) whose lines follow each other without a hole, each about the target's
/// size; a stretch of one is none.
pub(super) fn runs<'a>(known: &[Known], small: &'a [usize], target_bytes: u64) -> Vec<&'a [usize]> {
    let mut runs = Vec::new();
    let mut begin = 0;
    let mut bytes = 0;
    for (at, index) in small.iter().enumerate() {
        let this = &known[*index];
        let follows = at > begin && {
            let before = &known[small[at - 1]];
            let consecutive =
                before.held().end == this.start && before.covers.end == this.covers.start && this.lines > 0;
            // a hole at the end may be covered by what lies before it
            let trailing = this.lines == 0 && before.covers.end == this.covers.start;
            let folder = |known: &'_ Known| known.object.key.rsplit_once('/').map(|(folder, _)| folder.to_owned());
            before.lines > 0
                && (consecutive || trailing)
                && folder(before) == folder(this)
                && bytes + this.object.size <= target_bytes
        };
        if !follows {
            if at - begin > 1 {
                runs.push(&small[begin..at]);
            }
            (begin, bytes) = (at, 0);
        }
        bytes += this.object.size;
    }
    if small.len() - begin > 1 {
        runs.push(&small[begin..]);
    }
    runs
}

/// A name that stands for the same start and is not taken by the object that begins there.
pub(super) fn merged_key(first: &str, start: Offset, encoding: Encoding) -> String {
    let stem = first.strip_suffix(".gz").unwrap_or(first);
    let stem = stem.strip_suffix(".json").unwrap_or(stem);
    let (before, digits) = stem.rsplit_once('+').unwrap_or((stem, ""));
    let width = if digits.len() < DIGITS {
        DIGITS
    } else {
        digits.len() + 1
    };
    let suffix = if encoding == Encoding::Gzip {
        ".json.gz"
    } else {
        ".json"
    };
    format!("{before}+{start:0width$}{suffix}")
}
