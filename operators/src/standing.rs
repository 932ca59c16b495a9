//! One group's rows in an order that is chosen at run time, under changes: which are kept, and in what places.
//!
//! Places never fall along the order, so the rows to keep are the first so many: those before the **edge**, the first
//! row that is not kept. Changes at the edge and below alter nothing of what is kept. Where there are others, the rows
//! kept are looked at as they were and as they are, from the first one that changes.

use crate::sorted::Sorted;
use std::cmp::Ordering;
use std::rc::Rc;

/// The order of rows, which may compare by several terms.
pub trait Order<R>: 'static {
    /// How many terms there are.
    fn terms(&self) -> usize;

    /// How two rows compare by the first `terms` terms: a total preorder, and a refinement of that by fewer terms. By
    /// none all rows are equal.
    fn compare(&self, a: &R, b: &R, terms: usize) -> Ordering;
}

/// How rows are numbered. Peers are rows that are equal in the terms of the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PlaceKind {
    /// SQL's `rank()`: 1 + the number of rows before this one and its peers.
    Rank,
    /// SQL's `dense_rank()`: 1 + the number of groups of peers before this one's.
    DenseRank,
    /// SQL's `row_number()`: 1 + the number of rows before this one. By all terms, and then by the rows' own `Ord`;
    /// copies of one row all have the number of the first of them.
    RowNumber,
}

/// One number of each row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Which.
    pub kind: PlaceKind,
    /// By how many of the order's first terms; of no account for a [`PlaceKind::RowNumber`].
    pub terms: usize,
}

/// Which rows to keep.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Keep {
    /// All.
    All,
    /// Those of which at least one of these places is not greater than its bound.
    Within(Vec<(Place, u64)>),
}

/// Where a place's number is found while rows are walked.
#[derive(Clone, Copy)]
enum Number {
    /// By the number of its terms among [`Rules::lengths`].
    Rank(usize),
    DenseRank(usize),
    Row,
}

/// What holds for all groups of an operator.
pub(crate) struct Rules<O> {
    order: Rc<O>,
    /// The numbers of terms by which peers are told apart, ascending.
    lengths: Vec<usize>,
    /// The places to give out.
    places: Vec<Number>,
    /// The places that keep a row, with their bounds; `None` keeps all.
    bounds: Option<Vec<(Number, i64)>>,
}

impl<O> Rules<O> {
    pub(crate) fn new(order: Rc<O>, keep: &Keep, places: &[Place]) -> Self {
        let bounds: &[(Place, u64)] = match keep {
            Keep::All => &[],
            Keep::Within(bounds) => bounds,
        };
        let mut lengths: Vec<usize> = (places.iter())
            .chain(bounds.iter().map(|(place, _)| place))
            .filter(|place| place.kind != PlaceKind::RowNumber)
            .map(|place| place.terms)
            .collect();
        lengths.sort_unstable();
        lengths.dedup();
        let number = |place: &Place| {
            let length = lengths.partition_point(|length| *length < place.terms);
            match place.kind {
                PlaceKind::Rank => Number::Rank(length),
                PlaceKind::DenseRank => Number::DenseRank(length),
                PlaceKind::RowNumber => Number::Row,
            }
        };
        let bound = |(place, bound): &(Place, u64)| (number(place), i64::try_from(*bound).unwrap_or(i64::MAX));
        Rules {
            places: places.iter().map(number).collect(),
            bounds: (*keep != Keep::All).then(|| bounds.iter().map(bound).collect()),
            order,
            lengths,
        }
    }

    /// The order of rows in a list: total.
    fn compare<R: Ord>(&self, a: &R, b: &R) -> Ordering
    where
        O: Order<R>,
    {
        let terms = self.order.terms();
        self.order.compare(a, b, terms).then_with(|| a.cmp(b))
    }
}

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
    fn new() -> Self {
        Kept {
            rows: Vec::new(),
            numbers: Vec::new(),
        }
    }

    /// A row, its copies, and its places.
    fn get(&self, index: usize) -> Option<(&R, i32, &[i64])> {
        let (row, copies) = self.rows.get(index)?;
        let places = self.numbers.len() / self.rows.len();
        Some((row, *copies, &self.numbers[index * places..][..places]))
    }
}

/// A group's rows, and the changes that wait for its epoch's close.
pub(crate) struct Standing<R> {
    rows: Sorted<Entry<R>>,
    /// The first row not kept when there last was one, which need not be there any more: no row at it or behind it is
    /// kept. `None` while all are.
    edge: Option<R>,
    staged: Vec<(R, i32)>,
}

impl<R: Ord + Clone> Standing<R> {
    pub(crate) fn new() -> Self {
        Standing {
            rows: Sorted::new(),
            edge: None,
            staged: Vec::new(),
        }
    }

    /// Whether no row is left (staged changes apart).
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Puts a change by; `true` if it is the first since the last [`settle`](Standing::settle).
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
        if (self.edge.as_ref()).is_some_and(|edge| rules.compare(first, edge).is_ge()) {
            self.apply(rules, changes);
            return;
        }
        let first = first.clone();
        let (before, _) = self.kept(rules, &first);
        self.apply(rules, changes);
        let (after, edge) = self.kept(rules, &first);
        self.edge = edge;
        difference(rules, &before, &after, report);
    }

    /// The staged changes in order, added up.
    fn take_staged<O: Order<R>>(&mut self, rules: &Rules<O>) -> Vec<(R, i32)> {
        let mut changes = std::mem::take(&mut self.staged);
        changes.sort_unstable_by(|a, b| rules.compare(&a.0, &b.0));
        changes.dedup_by(|later, sum| {
            let same = later.0 == sum.0;
            if same {
                sum.1 += later.1;
            }
            same
        });
        changes.retain(|(_, diff)| *diff != 0);
        changes
    }

    fn apply<O: Order<R>>(&mut self, rules: &Rules<O>, changes: Vec<(R, i32)>) {
        if self.rows.is_empty() {
            debug_assert!(
                changes.iter().all(|(_, diff)| *diff > 0),
                "a row was removed that was not there"
            );
            self.rows = Sorted::of(changes.into_iter().map(|(row, copies)| Entry { row, copies }));
            return;
        }
        for (row, diff) in changes {
            match self.rows.find(|entry| rules.compare(&entry.row, &row)) {
                Ok(place) => {
                    let copies = &mut self.rows.get_mut(place).copies;
                    *copies = copies.checked_add(diff).expect("more than 2^31 copies of one row");
                    debug_assert!(*copies >= 0, "a row was removed more often than it was added");
                    if *copies == 0 {
                        self.rows.remove(place);
                    }
                }
                Err(place) => {
                    debug_assert!(diff > 0, "a row was removed that was not there");
                    self.rows.insert(place, Entry { row, copies: diff });
                }
            }
        }
    }

    /// Walks the rows that are kept: those from `first` on, with their places, and the first row that is not kept.
    fn kept<O: Order<R>>(&self, rules: &Rules<O>, first: &R) -> (Kept<R>, Option<R>) {
        let mut kept = Kept::new();
        let mut peers = vec![Peers::default(); rules.lengths.len()];
        let (mut above, mut last, mut changed) = (0i64, None, false);
        for Entry { row, copies } in self.rows.iter() {
            // who differ in fewer terms differ in more
            for (peers, length) in peers.iter_mut().zip(&rules.lengths).rev() {
                if last.is_some_and(|last| rules.order.compare(last, row, *length).is_eq()) {
                    break;
                }
                *peers = Peers {
                    rank: above + 1,
                    dense: peers.dense + 1,
                };
            }
            let number = |number: &Number| match number {
                Number::Rank(length) => peers[*length].rank,
                Number::DenseRank(length) => peers[*length].dense,
                Number::Row => above + 1,
            };
            let within = |(place, bound): &(Number, i64)| number(place) <= *bound;
            if (rules.bounds.as_ref()).is_some_and(|bounds| !bounds.iter().any(within)) {
                return (kept, Some(row.clone()));
            }
            changed = changed || rules.compare(row, first).is_ge();
            if changed {
                kept.rows.push((row.clone(), *copies));
                kept.numbers.extend(rules.places.iter().map(number));
            }
            above += i64::from(*copies);
            last = Some(row);
        }
        (kept, None)
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
