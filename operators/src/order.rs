//! Orders of rows that are chosen at run time, the places that rows have in them, and which rows are kept by those.

use std::cmp::Ordering;
use std::rc::Rc;

/// The order of rows, which may compare by several terms.
pub trait Order<R>: 'static {
    /// How many terms there are.
    fn terms(&self) -> usize;

    /// How two rows compare by the first `terms` terms: a total preorder, and a refinement of that by fewer terms. By
    /// none all rows are equal.
    fn compare(&self, a: &R, b: &R, terms: usize) -> Ordering;

    /// How many of the first terms are compared without a look at a text. Where rows need not be shown, the others are
    /// not compared at all.
    fn quick(&self) -> usize {
        self.terms()
    }

    /// Any total order of rows: it only tells them apart, and may be another in each process. Where their own `Ord`
    /// compares texts, something else is quicker.
    fn identity(&self, a: &R, b: &R) -> Ordering
    where
        R: Ord,
    {
        a.cmp(b)
    }
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
pub(crate) enum Number {
    /// By the place of its terms among [`Rules::lengths`].
    Rank(usize),
    DenseRank(usize),
    Row,
}

/// What holds for all groups of an operator.
pub(crate) struct Rules<O> {
    pub(crate) order: Rc<O>,
    /// The numbers of terms by which peers are told apart, ascending.
    pub(crate) lengths: Vec<usize>,
    /// The places to give out.
    pub(crate) places: Vec<Number>,
    /// The places that keep a row, with their bounds; `None` keeps all.
    pub(crate) bounds: Option<Vec<(Number, i64)>>,
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

    /// The order in which rows are shown: total.
    pub(crate) fn compare<R: Ord>(&self, a: &R, b: &R) -> Ordering
    where
        O: Order<R>,
    {
        let terms = self.order.terms();
        self.order.compare(a, b, terms).then_with(|| a.cmp(b))
    }

    /// The order by the quick terms alone. Rows that are equal in them are a class.
    pub(crate) fn class<R>(&self, a: &R, b: &R) -> Ordering
    where
        O: Order<R>,
    {
        self.order.compare(a, b, self.order.quick())
    }

    /// Classes in order, and the rows of a class in none that means anything: total.
    pub(crate) fn quick<R: Ord>(&self, a: &R, b: &R) -> Ordering
    where
        O: Order<R>,
    {
        self.class(a, b).then_with(|| self.order.identity(a, b))
    }
}
