//! One group's rows in an order that is chosen at run time, under changes: which are kept, and in what places.
//!
//! Places never fall along the order, so the rows to keep are the first so many: those before the **edge**, the first
//! row that is not kept. Changes at the edge and below alter nothing of what is kept. Where there are others, the rows
//! kept are looked at as they were and as they are, from the first one that changes.
//!
//! As in a [ranked group](crate::ranked_group), comparing texts costs more than all the rest, so only the **head** is
//! in full order; the **tail** below it is ordered by what is quick. A class (all rows that are equal in the quick
//! terms) lies wholly in one of them. All rows that are kept are in the head. When the edge is not found there,
//! classes move up from the tail, each in its turn; when the head has grown to several times the rows kept, classes
//! move down.

use crate::order::{Number, Order, Rules};
use crate::sorted::Sorted;
use std::cmp::Ordering;
use values::footprint::{Footprint, Per};

/// Rows beyond those kept that the head may hold before classes move down.
const SLACK: usize = 64;

/// A group of peers, as it is met on a walk.
#[derive(Clone, Copy, Default)]
struct Peers {
    rank: i64,
    dense: i64,
}

struct Entry<R> {
    row: R,
    copies: i32,
}

/// Rows that are kept, in order, each with as many numbers as there are places to give out.
struct Kept<R> {
    rows: Vec<(R, i32)>,
    numbers: Vec<i64>,
}

impl<R> Kept<R> {
    /// A row, its copies, and its places.
    fn get(&self, index: usize) -> Option<(&R, i32, &[i64])> {
        let (row, copies) = self.rows.get(index)?;
        let places = self.numbers.len() / self.rows.len();
        Some((row, *copies, &self.numbers[index * places..][..places]))
    }
}

/// A look at rows in order, from the first one.
struct Walk<'w, R, O> {
    rules: &'w Rules<O>,
    /// What lies before is passed over.
    from: &'w R,
    reached: bool,
    /// By the rules' lengths.
    peers: Vec<Peers>,
    /// Rows met so far, with their copies, and without.
    above: i64,
    met: usize,
    last: Option<R>,
    kept: Kept<R>,
}

impl<'w, R: Ord + Clone, O: Order<R>> Walk<'w, R, O> {
    fn new(rules: &'w Rules<O>, from: &'w R) -> Self {
        Walk {
            rules,
            from,
            reached: false,
            peers: vec![Peers::default(); rules.lengths.len()],
            above: 0,
            met: 0,
            last: None,
            kept: Kept {
                rows: Vec::new(),
                numbers: Vec::new(),
            },
        }
    }

    /// Goes on over more rows, and returns the first that is not kept.
    fn over<'e>(&mut self, entries: impl Iterator<Item = &'e Entry<R>>) -> Option<R>
    where
        R: 'e,
    {
        let rules = self.rules;
        let before = self.last.take();
        let mut last = before.as_ref();
        for Entry { row, copies } in entries {
            // who differ in fewer terms differ in more
            for (peers, length) in self.peers.iter_mut().zip(&rules.lengths).rev() {
                if last.is_some_and(|last| rules.order.compare(last, row, *length).is_eq()) {
                    break;
                }
                *peers = Peers {
                    rank: self.above + 1,
                    dense: peers.dense + 1,
                };
            }
            let number = |number: &Number| match number {
                Number::Rank(length) => self.peers[*length].rank,
                Number::DenseRank(length) => self.peers[*length].dense,
                Number::Row => self.above + 1,
            };
            let within = |(place, bound): &(Number, i64)| number(place) <= *bound;
            if (rules.bounds.as_ref()).is_some_and(|bounds| !bounds.iter().any(within)) {
                return Some(row.clone());
            }
            self.reached = self.reached || rules.compare(row, self.from).is_ge();
            if self.reached {
                self.kept.rows.push((row.clone(), *copies));
                self.kept.numbers.extend(rules.places.iter().map(number));
            }
            self.above += i64::from(*copies);
            self.met += 1;
            last = Some(row);
        }
        self.last = last.cloned();
        None
    }
}

/// A group's rows, and the changes that wait for its epoch's close.
pub(crate) struct OrderedGroup<R> {
    /// In full order.
    head: Sorted<Entry<R>>,
    /// In quick order. All of its classes are behind those of `head`.
    tail: Sorted<Entry<R>>,
    /// The first row not kept when there last was one, which need not be there any more: no row at it or behind it is
    /// kept. `None` while all are.
    edge: Option<R>,
    /// The rows kept.
    kept: usize,
    staged: Vec<(R, i32)>,
}

/// What a row takes that owns so many bytes.
pub(crate) fn footprint<R>(heap: usize) -> Footprint {
    let entry = size_of::<Entry<R>>();
    Footprint {
        per: Per::Row,
        bytes: entry + heap,
        // chunks are half full or fuller
        most: 2 * entry + heap,
        indexed: false,
        staged: size_of::<(R, i32)>(),
    }
}

impl<R: Ord + Clone> OrderedGroup<R> {
    pub(crate) fn new() -> Self {
        OrderedGroup {
            head: Sorted::new(),
            tail: Sorted::new(),
            edge: None,
            kept: 0,
            staged: Vec::new(),
        }
    }

    /// How many different rows there are (staged changes apart).
    pub(crate) fn len(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Stages a change; `true` if it is the first since the last [`settle`](OrderedGroup::settle).
    pub(crate) fn stage(&mut self, row: R, diff: isize) -> bool {
        let diff = i32::try_from(diff).expect("more than 2^31 copies of one row");
        self.staged.push((row, diff));
        self.staged.len() == 1
    }

    /// Applies what was staged, and reports what that changes in the rows kept: row, places, copies more or less.
    pub(crate) fn settle<O: Order<R>>(&mut self, rules: &Rules<O>, report: impl FnMut(&R, &[i64], isize)) {
        let changes = self.take_staged(rules);
        let Some((first, _)) = changes.first() else {
            return;
        };
        let class = changes.iter().map(|(row, _)| row);
        let class = class.take_while(|row| rules.class(row, first).is_eq());
        let first = class.min_by(|a, b| rules.compare(a, b)).unwrap_or(first).clone();
        if (self.edge.as_ref()).is_some_and(|edge| rules.compare(&first, edge).is_ge()) {
            self.apply(rules, changes);
        } else {
            let mut before = Walk::new(rules, &first);
            before.over(self.head.iter());
            self.apply(rules, changes);
            let mut after = Walk::new(rules, &first);
            self.edge = after.over(self.head.iter());
            while self.edge.is_none() && !self.tail.is_empty() {
                let class = self.next_class(rules);
                self.edge = after.over(class.iter());
                self.head.append(class);
            }
            self.kept = after.met;
            difference(rules, &before.kept, &after.kept, report);
        }
        self.trim(rules);
    }

    /// The staged changes in quick order, added up.
    fn take_staged<O: Order<R>>(&mut self, rules: &Rules<O>) -> Vec<(R, i32)> {
        let mut changes = std::mem::take(&mut self.staged);
        changes.sort_unstable_by(|a, b| rules.quick(&a.0, &b.0));
        changes.dedup_by(|later, sum| {
            let same = later.0 == sum.0;
            if same {
                sum.1 = sum.1.checked_add(later.1).expect("more than 2^31 copies of one row");
            }
            same
        });
        changes.retain(|(_, diff)| *diff != 0);
        changes
    }

    fn apply<O: Order<R>>(&mut self, rules: &Rules<O>, changes: Vec<(R, i32)>) {
        let entry = |(row, copies)| Entry { row, copies };
        if self.is_empty() {
            debug_assert!(
                changes.iter().all(|(_, diff)| *diff > 0),
                "a row was removed that was not there"
            );
            // in quick order, as they are: what is kept moves up as it is looked for
            self.tail.append(changes.into_iter().map(entry).collect());
            return;
        }
        for change in changes {
            let low = (self.tail.iter().next()).is_some_and(|first| rules.class(&first.row, &change.0).is_le());
            if low {
                add(&mut self.tail, entry(change), |a, b| rules.quick(a, b));
            } else {
                add(&mut self.head, entry(change), |a, b| rules.compare(a, b));
            }
        }
    }

    /// Takes the first class of the tail, and puts it into full order.
    fn next_class<O: Order<R>>(&mut self, rules: &Rules<O>) -> Vec<Entry<R>> {
        let Some(first) = self.tail.iter().next().map(|entry| entry.row.clone()) else {
            return Vec::new();
        };
        // all rows are kept, so there is no need to stop at any
        let all = rules.bounds.is_none();
        let mut class = (self.tail).take_first(|entry| all || rules.class(&entry.row, &first).is_eq());
        class.sort_unstable_by(|a, b| rules.compare(&a.row, &b.row));
        class
    }

    /// Moves classes down while the head is much longer than need be.
    fn trim<O: Order<R>>(&mut self, rules: &Rules<O>) {
        let enough = self.kept.saturating_mul(2).saturating_add(SLACK);
        // a class longer than what must first come or leave again stays, or moving it might not pay
        let most = self.kept.saturating_add(SLACK);
        while self.head.len() > enough {
            let mut rows = self.head.iter().rev();
            let Some(last) = rows.next() else { break };
            let rows = 1
                + (rows.take(most))
                    .take_while(|entry| rules.class(&entry.row, &last.row).is_eq())
                    .count();
            if rows > most || self.head.len() - rows < enough {
                break;
            }
            for entry in self.head.take_last(rows) {
                add(&mut self.tail, entry, |a, b| rules.quick(a, b));
            }
        }
    }
}

/// Adds copies of a row to a list, or takes them off.
fn add<R>(rows: &mut Sorted<Entry<R>>, change: Entry<R>, compare: impl Fn(&R, &R) -> Ordering) {
    match rows.find(|entry| compare(&entry.row, &change.row)) {
        Ok(place) => {
            let copies = &mut rows.get_mut(place).copies;
            *copies = (copies.checked_add(change.copies)).expect("more than 2^31 copies of one row");
            debug_assert!(*copies >= 0, "a row was removed more often than it was added");
            if *copies == 0 {
                rows.remove(place);
            }
        }
        Err(place) => {
            debug_assert!(change.copies > 0, "a row was removed that was not there");
            rows.insert(place, change);
        }
    }
}

/// Reports how `after` differs from `before`.
fn difference<R: Ord, O: Order<R>>(
    rules: &Rules<O>,
    before: &Kept<R>,
    after: &Kept<R>,
    mut report: impl FnMut(&R, &[i64], isize),
) {
    let (mut old, mut new) = (0, 0);
    loop {
        let (before, after) = (before.get(old), after.get(new));
        let ordering = match (before, after) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => rules.compare(a.0, b.0),
        };
        let before = before.filter(|_| ordering.is_le());
        let after = after.filter(|_| ordering.is_ge());
        (old, new) = (old + usize::from(before.is_some()), new + usize::from(after.is_some()));
        match (before, after) {
            (Some((row, copies, places)), Some((_, now, same))) if places == same => {
                if copies != now {
                    report(row, places, now as isize - copies as isize);
                }
            }
            _ => {
                if let Some((row, copies, places)) = before {
                    report(row, places, -(copies as isize));
                }
                if let Some((row, copies, places)) = after {
                    report(row, places, copies as isize);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::{Keep, Place, PlaceKind};
    use std::cell::Cell;
    use std::collections::BTreeSet;
    use std::rc::Rc;

    type Row = (i64, u32);

    /// By value, greatest first, then by name; counts how often names are looked at.
    #[derive(Default)]
    struct Counted(Cell<usize>);

    impl Order<Row> for Counted {
        fn terms(&self) -> usize {
            2
        }

        fn compare(&self, a: &Row, b: &Row, terms: usize) -> Ordering {
            self.0.set(self.0.get() + usize::from(terms == 2));
            let value = if terms > 0 { b.0.cmp(&a.0) } else { Ordering::Equal };
            value.then_with(|| if terms > 1 { a.1.cmp(&b.1) } else { Ordering::Equal })
        }

        fn quick(&self) -> usize {
            1
        }
    }

    #[test]
    fn classes_move_up_and_down_and_names_below_are_not_compared() {
        const KEPT: usize = 10;
        let order = Rc::new(Counted::default());
        let row_number = Place {
            kind: PlaceKind::RowNumber,
            terms: 2,
        };
        let rules = Rules::new(Rc::clone(&order), &Keep::Within(vec![(row_number, KEPT as u64)]), &[]);
        let mut group = OrderedGroup::new();
        let (mut rows, mut shown) = (BTreeSet::new(), BTreeSet::new());
        let mut epoch = |changes: &mut dyn Iterator<Item = (Row, isize)>| {
            for (row, diff) in changes {
                group.stage(row, diff);
                if diff > 0 {
                    rows.insert((-row.0, row.1));
                } else {
                    rows.remove(&(-row.0, row.1));
                }
            }
            group.settle(&rules, |row, _, diff| {
                let row = (-row.0, row.1);
                assert!(if diff > 0 {
                    shown.insert(row)
                } else {
                    shown.remove(&row)
                });
            });
            assert!(shown.iter().eq(rows.iter().take(KEPT)));
            assert_eq!(group.head.len() + group.tail.len(), rows.len());
            let order = |a: &Entry<Row>, b: &Entry<Row>| rules.class(&a.row, &b.row);
            if let (Some(high), Some(low)) = (group.head.iter().next_back(), group.tail.iter().next()) {
                assert!(order(high, low).is_lt(), "a class in both parts");
            }
            (group.head.len(), group.tail.len())
        };
        // classes of three rows each
        let row = |n: u32| (i64::from(n / 3), n ^ 5);
        assert_eq!(epoch(&mut (0..12_000).map(|n| (row(n), 1))), (12, 11_988));
        assert!(order.0.get() < 100, "{} comparisons", order.0.get());
        // the first rows come one by one, then leave so
        for n in 12_000..12_600 {
            let (head, _) = epoch(&mut std::iter::once((row(n), 1)));
            assert!(head <= 2 * KEPT + SLACK + 3, "{head} rows in the head");
        }
        for n in (9_000..12_600).rev() {
            epoch(&mut std::iter::once((row(n), -1)));
        }
        // rows of the tail come and go without a look at names
        order.0.set(0);
        let below = epoch(&mut (0..6_000).map(|n| (row(n), -1)));
        let below = (below, epoch(&mut (0..6_000).map(|n| (row(n), 1))));
        assert_eq!(below.1.1, below.0.1 + 6_000);
        assert!(order.0.get() < 100, "{} comparisons", order.0.get());
        assert_eq!(epoch(&mut (0..9_000).map(|n| (row(n), -1))), (0, 0));
    }
}
