//! One group's rows in the order of their ranks, under changes.
//!
//! Rows are ordered by value descending, then by name ascending. Only the first rows are ever shown, and comparing
//! names means fetching their texts, which for a million rows costs more than all the rest. So a group has two parts:
//! the **head**, in full order, and the **tail** below it, ordered by value and then by what is cheapest to compare. A
//! tie class (all rows of one value) lies wholly in one of them. When the head has fewer rows than are shown, classes
//! move up from the tail, each in its turn; when it has grown to several times that, classes move down. A row moves up
//! only after rows above it have left and down only after rows above it have come, so a change costs O(log rows)
//! amortised.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};
use values::Packed64;
use values::footprint::{Footprint, Per};

/// What a ranked thing is called: the order of names decides among ties, its [`identity`](Name::identity) only
/// distinguishes names.
pub trait Name: Clone + Ord {
    /// Equal for equal names only, and cheap to compare. Its order means nothing.
    type Identity: Ord;

    /// What distinguishes this name from others in this process.
    fn identity(&self) -> Self::Identity;
}

impl Name for crate::Symbol {
    type Identity = u32;

    fn identity(&self) -> u32 {
        self.id()
    }
}

impl Name for i64 {
    type Identity = i64;

    fn identity(&self) -> i64 {
        *self
    }
}

impl<A: Name, B: Name> Name for (A, B) {
    type Identity = (A::Identity, B::Identity);

    fn identity(&self) -> Self::Identity {
        (self.0.identity(), self.1.identity())
    }
}

impl<const S: usize, const P: usize> Name for crate::Tuple<S, P> {
    type Identity = ([u32; S], [u32; P]);

    fn identity(&self) -> Self::Identity {
        (self.ids(), self.plain)
    }
}

/// Rows beyond what is shown that the head may hold before classes move down.
const SLACK: usize = 64;

/// A row below the head, in the tail's order: greatest value first.
struct TailRow<N> {
    value: Packed64,
    name: N,
}

impl<N: Name> TailRow<N> {
    fn new(value: i64, name: N) -> TailRow<N> {
        TailRow {
            value: value.into(),
            name,
        }
    }

    fn order(value: i64, name: &N) -> (Reverse<i64>, N::Identity) {
        (Reverse(value), name.identity())
    }
}

impl<N: Name> Ord for TailRow<N> {
    fn cmp(&self, other: &Self) -> Ordering {
        other
            .value
            .cmp(&self.value)
            .then_with(|| self.name.identity().cmp(&other.name.identity()))
    }
}

impl<N: Name> PartialOrd for TailRow<N> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<N: Name> PartialEq for TailRow<N> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<N: Name> Eq for TailRow<N> {}

/// A row as it is shown: name, value, rank.
pub(crate) type Shown<N> = (N, i64, i64);

/// A group's rows, and the changes that wait for its epoch's close.
pub(crate) struct RankedGroup<N> {
    /// Rows by value; no class is empty.
    head: BTreeMap<Reverse<i64>, BTreeSet<N>>,
    /// The number of rows in `head`.
    heads: usize,
    /// Rows whose value is below all of `head`'s.
    tail: BTreeSet<TailRow<N>>,
    staged: Vec<(i64, N, i32)>,
}

/// What a row takes. Those of the head take more, but they are few unless `all` rows are shown: then a row whose value
/// no other has takes this, and rows of one value less.
pub(crate) fn footprint<N: Name>(all: bool) -> Footprint {
    let staged = size_of::<(i64, N, i32)>();
    if !all {
        return Footprint::tree(Per::Row, size_of::<TailRow<N>>(), align_of::<TailRow<N>>()).staging(staged);
    }
    let class = size_of::<(Reverse<i64>, BTreeSet<N>)>();
    let class = Footprint::tree(Per::Row, class, align_of::<i64>());
    let names = Footprint::leaf(size_of::<N>(), align_of::<N>());
    Footprint {
        bytes: class.bytes + names,
        most: class.most + names,
        ..class.staging(staged)
    }
}

impl<N: Name> RankedGroup<N> {
    pub(crate) fn new() -> Self {
        RankedGroup {
            head: BTreeMap::new(),
            heads: 0,
            tail: BTreeSet::new(),
            staged: Vec::new(),
        }
    }

    /// How many rows there are (staged changes apart).
    pub(crate) fn len(&self) -> usize {
        self.heads + self.tail.len()
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Stages a change; `true` if it is the first since the last [`settle`](RankedGroup::settle).
    pub(crate) fn stage(&mut self, name: N, value: i64, diff: isize) -> bool {
        let diff = i32::try_from(diff).expect("a row of a set is added or removed once");
        self.staged.push((value, name, diff));
        self.staged.len() == 1
    }

    /// Applies what was staged, and reports what that changes in the rows shown: those of the first `top` places, and
    /// all that share the first value.
    pub(crate) fn settle(&mut self, top: usize, mut report: impl FnMut(Shown<N>, isize)) {
        let changes = self.take_staged();
        let Some(&(highest, _, _)) = changes.first() else {
            return;
        };
        if self.is_empty() {
            self.build(top, changes);
            self.leaders().for_each(|shown| report(shown, 1));
            self.others(top).for_each(|shown| report(shown, 1));
            return;
        }
        if self.floor(top).is_some_and(|floor| highest < floor) {
            self.apply(top, &changes);
            self.trim(top);
            return;
        }

        let first_before = self.first();
        let before: Vec<Shown<N>> = self.others(top).collect();
        self.apply(top, &changes);
        let first_after = self.first();
        if first_before == first_after {
            // the leaders change by what was staged among them, however many they are
            for (value, name, diff) in changes.iter().filter(|(value, ..)| Some(*value) == first_before) {
                report((name.clone(), *value, 1), *diff as isize);
            }
        } else {
            if let Some(value) = first_before {
                let staged = |name: &N| {
                    let order = TailRow::order(value, name);
                    changes
                        .binary_search_by(|(value, name, _)| TailRow::order(*value, name).cmp(&order))
                        .is_ok()
                };
                // the former leaders: those that are still there and did not just come, and those that just left
                for name in self.class(value).filter(|name| !staged(name)) {
                    report((name, value, 1), -1);
                }
                for (_, name, _) in changes.iter().filter(|(v, _, diff)| *v == value && *diff < 0) {
                    report((name.clone(), value, 1), -1);
                }
            }
            self.leaders().for_each(|shown| report(shown, 1));
        }
        let after: Vec<Shown<N>> = self.others(top).collect();
        difference(before, after, report);
        self.trim(top);
    }

    /// The staged changes in the tail's order, added up.
    fn take_staged(&mut self) -> Vec<(i64, N, i32)> {
        let mut changes = std::mem::take(&mut self.staged);
        changes.sort_unstable_by(|a, b| TailRow::order(a.0, &a.1).cmp(&TailRow::order(b.0, &b.1)));
        changes.dedup_by(|later, sum| {
            let same = later.0 == sum.0 && later.1.identity() == sum.1.identity();
            if same {
                sum.2 += later.2;
            }
            same
        });
        changes.retain(|(_, _, diff)| *diff != 0);
        debug_assert!(
            changes.iter().all(|(_, _, diff)| diff.abs() == 1),
            "the input of a rank is a set"
        );
        changes
    }

    /// Fills an empty group from changes in the tail's order: nodes are made full, without searching.
    fn build(&mut self, top: usize, changes: Vec<(i64, N, i32)>) {
        debug_assert!(
            changes.iter().all(|(_, _, diff)| *diff > 0),
            "a row was removed that was not there"
        );
        let mut rows = changes.into_iter().map(|(value, name, _)| (value, name)).peekable();
        while self.heads < top
            && let Some(&(value, _)) = rows.peek()
        {
            let class: BTreeSet<N> = std::iter::from_fn(|| rows.next_if(|row| row.0 == value))
                .map(|row| row.1)
                .collect();
            self.heads += class.len();
            self.head.insert(Reverse(value), class);
        }
        self.tail = rows.map(|(value, name)| TailRow::new(value, name)).collect();
    }

    fn apply(&mut self, top: usize, changes: &[(i64, N, i32)]) {
        for (value, name, diff) in changes {
            let (value, name) = (*value, name.clone());
            if self.tail.first().is_none_or(|low| low.value.get() < value) {
                if *diff > 0 {
                    let new = self.head.entry(Reverse(value)).or_default().insert(name);
                    debug_assert!(new, "a row was added twice");
                    self.heads += 1;
                } else if let Some(class) = self.head.get_mut(&Reverse(value)) {
                    let found = class.remove(&name);
                    debug_assert!(found, "a row was removed that was not there");
                    self.heads -= 1;
                    if class.is_empty() {
                        self.head.remove(&Reverse(value));
                    }
                } else {
                    debug_assert!(false, "a row was removed that was not there");
                }
            } else if *diff > 0 {
                let new = self.tail.insert(TailRow::new(value, name));
                debug_assert!(new, "a row was added twice");
            } else {
                let found = self.tail.remove(&TailRow::new(value, name));
                debug_assert!(found, "a row was removed that was not there");
            }
        }
        while self.heads < top
            && let Some(first) = self.tail.pop_first()
        {
            let value = first.value;
            let mut class = BTreeSet::from([first.name]);
            while self.tail.first().is_some_and(|low| low.value == value) {
                class.extend(self.tail.pop_first().map(|low| low.name));
            }
            self.heads += class.len();
            self.head.insert(Reverse(value.get()), class);
        }
    }

    /// Moves classes down while the head is much longer than need be.
    fn trim(&mut self, top: usize) {
        let enough = top.saturating_mul(2).saturating_add(SLACK);
        while let Some(last) = self.head.last_entry() {
            // a class longer than what must first come or leave again stays, or moving it might not pay
            let rows = last.get().len();
            if rows > top.saturating_add(SLACK) || self.heads - rows < enough {
                break;
            }
            let (Reverse(value), class) = last.remove_entry();
            self.heads -= rows;
            self.tail
                .extend(class.into_iter().map(|name| TailRow::new(value, name)));
        }
    }

    /// The greatest value.
    fn first(&self) -> Option<i64> {
        debug_assert!(self.heads > 0 || self.tail.is_empty());
        self.head.first_key_value().map(|(Reverse(value), _)| *value)
    }

    /// The least value of a row shown, if there is a row not shown or just as many as are to be shown.
    fn floor(&self, top: usize) -> Option<i64> {
        let mut above = 0;
        let place = |(Reverse(value), class): (&Reverse<i64>, &BTreeSet<N>)| {
            above += class.len();
            (above >= top).then_some(*value)
        };
        self.head.iter().find_map(place)
    }

    /// The names of a value that leads or led before the changes in hand.
    fn class(&self, value: i64) -> impl Iterator<Item = N> + '_ {
        // the first class is never moved down
        self.head.get(&Reverse(value)).into_iter().flatten().cloned()
    }

    /// The rows of the greatest value, in order.
    fn leaders(&self) -> impl Iterator<Item = Shown<N>> + '_ {
        let first = self.head.first_key_value();
        first
            .into_iter()
            .flat_map(|(Reverse(value), class)| class.iter().map(|name| (name.clone(), *value, 1)))
    }

    /// The other rows of the first `top` places, in order.
    fn others(&self, top: usize) -> impl Iterator<Item = Shown<N>> + '_ {
        let leaders = self.head.first_key_value().map_or(0, |(_, class)| class.len());
        let mut above = leaders;
        let classes = self.head.iter().skip(1).map(move |(Reverse(value), class)| {
            let rank = above as i64 + 1;
            above += class.len();
            (*value, class, rank)
        });
        let rows = classes.flat_map(|(value, class, rank)| class.iter().map(move |name| (name.clone(), value, rank)));
        rows.take(top.saturating_sub(leaders))
    }
}

/// Reports how `after` differs from `before`, both in order.
fn difference<N: Name>(before: Vec<Shown<N>>, after: Vec<Shown<N>>, mut report: impl FnMut(Shown<N>, isize)) {
    let order = |a: &Shown<N>, b: &Shown<N>| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0));
    let (mut before, mut after) = (before.into_iter().peekable(), after.into_iter().peekable());
    loop {
        let ordering = match (before.peek(), after.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => order(a, b),
        };
        let old = if ordering.is_le() { before.next() } else { None };
        let new = if ordering.is_ge() { after.next() } else { None };
        if old != new {
            old.into_iter().for_each(|shown| report(shown, -1));
            new.into_iter().for_each(|shown| report(shown, 1));
        }
    }
}
