//! Columns of a batch of rows, and the operations over whole columns.

use super::layout::{datum, from_double};
use crate::cleaning;
use crate::sql::eval::{Datum, time};
use crate::sql::plan::{Arith, CompareOp, ExprId, Plan, Scalar, TimeUnit};
use crate::sql::types::Ty;
use operators::Symbol;
use std::borrow::Cow;

/// Rows that are computed together: as many as leave the columns of a program in a cache.
pub(crate) const CHUNK: usize = 256;

/// The values of one expression in the rows of a chunk.
#[derive(Debug)]
pub(crate) enum Vector {
    /// Conditions. What stands in the place of a null means nothing.
    Bools {
        /// The truths.
        values: Vec<bool>,
        /// Which are null.
        nulls: Vec<bool>,
    },
    /// All other types but text and numeric, as [`super::layout::code`] numbers them. A null's number means nothing.
    Ints {
        /// The numbers.
        values: Vec<i64>,
        /// Which are null.
        nulls: Vec<bool>,
    },
    /// Text.
    Names(Vec<Option<Symbol>>),
    /// Text in two parts: see [`super::layout::Cell::Halves`].
    Halves(Vec<Option<[Symbol; 2]>>),
    /// Numeric.
    Data(Vec<Datum>),
}

impl Default for Vector {
    fn default() -> Vector {
        Vector::Ints {
            values: Vec::new(),
            nulls: Vec::new(),
        }
    }
}

impl Vector {
    /// A vector for values of a type, empty.
    pub(crate) fn of(ty: Ty) -> Vector {
        match ty {
            Ty::Text => Vector::Names(Vec::with_capacity(CHUNK)),
            Ty::Numeric => Vector::Data(Vec::with_capacity(CHUNK)),
            Ty::Bool => Vector::Bools {
                values: Vec::with_capacity(CHUNK),
                nulls: Vec::with_capacity(CHUNK),
            },
            _ => Vector::Ints {
                values: Vec::with_capacity(CHUNK),
                nulls: Vec::with_capacity(CHUNK),
            },
        }
    }

    /// Forgets the values.
    pub(crate) fn clear(&mut self) {
        match self {
            Vector::Bools { values, nulls } => {
                values.clear();
                nulls.clear();
            }
            Vector::Ints { values, nulls } => {
                values.clear();
                nulls.clear();
            }
            Vector::Names(names) => names.clear(),
            Vector::Halves(names) => names.clear(),
            Vector::Data(data) => data.clear(),
        }
    }

    /// Appends a value of the vector's type.
    pub(crate) fn push(&mut self, value: &Datum) {
        match self {
            Vector::Bools { .. } | Vector::Ints { .. } => self.push_code(super::layout::code(value)),
            Vector::Names(names) => names.push(match value {
                Datum::Text(text) => Some(Symbol::new(text)),
                _ => None,
            }),
            Vector::Halves(_) => unreachable!("no expression computes the two parts of a text"),
            Vector::Data(data) => data.push(value.clone()),
        }
    }

    /// Appends a value of any type but text and numeric, as [`super::layout::code`] numbers it.
    pub(crate) fn push_code(&mut self, code: Option<i64>) {
        match self {
            Vector::Bools { values, nulls } => {
                values.push(code == Some(1));
                nulls.push(code.is_none());
            }
            Vector::Ints { values, nulls } => {
                values.push(code.unwrap_or(0));
                nulls.push(code.is_none());
            }
            _ => unreachable!("texts and numerics have no code"),
        }
    }

    /// The code of a row, `None` for null.
    #[inline]
    pub(crate) fn code(&self, row: usize) -> Option<i64> {
        match self {
            Vector::Bools { values, nulls } => (!nulls[row]).then_some(i64::from(values[row])),
            Vector::Ints { values, nulls } => (!nulls[row]).then_some(values[row]),
            _ => None,
        }
    }

    /// The value of type `ty` of a row.
    pub(crate) fn datum(&self, ty: Ty, row: usize) -> Datum {
        match self {
            Vector::Bools { .. } | Vector::Ints { .. } => self.code(row).map_or(Datum::Null, |code| datum(ty, code)),
            Vector::Names(names) => names[row].map_or(Datum::Null, |name| Datum::text(name.text())),
            Vector::Halves(_) => unreachable!("a text in two parts is compared alone"),
            Vector::Data(data) => data[row].clone(),
        }
    }
}

/// The vectors of all expressions of a plan.
#[derive(Debug)]
pub(crate) struct Vectors {
    all: Vec<Vector>,
    /// Rows in the chunk; vectors of constants are longer.
    pub(crate) rows: usize,
}

impl Vectors {
    /// Empty ones.
    pub(crate) fn new(plan: &Plan) -> Vectors {
        Vectors {
            all: plan.exprs().iter().map(|expr| Vector::of(expr.ty)).collect(),
            rows: 0,
        }
    }

    /// One vector.
    #[inline]
    pub(crate) fn get(&self, e: ExprId) -> &Vector {
        &self.all[e.index()]
    }

    /// One vector.
    pub(crate) fn get_mut(&mut self, e: ExprId) -> &mut Vector {
        &mut self.all[e.index()]
    }

    /// The integer of a row, `None` for null.
    #[inline]
    pub(crate) fn int(&self, e: ExprId, row: usize) -> Option<i64> {
        self.all[e.index()].code(row)
    }

    /// The text of a row, `None` for null.
    #[inline]
    pub(crate) fn name(&self, e: ExprId, row: usize) -> Option<Symbol> {
        match &self.all[e.index()] {
            Vector::Names(names) => names[row],
            _ => None,
        }
    }

    /// Whether the condition holds in a row.
    #[inline]
    pub(crate) fn holds(&self, e: ExprId, row: usize) -> bool {
        let (values, nulls) = self.bools(e);
        values[row] & !nulls[row]
    }

    /// The truths of a condition, and which are null.
    #[inline]
    pub(crate) fn bools(&self, e: ExprId) -> (&[bool], &[bool]) {
        match &self.all[e.index()] {
            Vector::Bools { values, nulls } => (&values[..self.rows], &nulls[..self.rows]),
            _ => unreachable!("{e:?} is no condition"),
        }
    }

    /// Numbers, and which are null.
    fn ints(&self, e: ExprId) -> (Cow<'_, [i64]>, &[bool]) {
        match &self.all[e.index()] {
            Vector::Ints { values, nulls } => (Cow::Borrowed(&values[..self.rows]), &nulls[..self.rows]),
            Vector::Bools { values, nulls } => (
                values[..self.rows].iter().map(|value| i64::from(*value)).collect(),
                &nulls[..self.rows],
            ),
            _ => unreachable!("{e:?} is no number"),
        }
    }

    fn names(&self, e: ExprId) -> &[Option<Symbol>] {
        match &self.all[e.index()] {
            Vector::Names(names) => &names[..self.rows],
            _ => unreachable!("{e:?} is no text"),
        }
    }

    /// Computes an expression for which [`is_vectorised`] holds. What fails is any value: rows where that matters are
    /// not kept.
    pub(crate) fn compute(&mut self, plan: &Plan, e: ExprId) {
        let mut out = std::mem::take(&mut self.all[e.index()]);
        out.clear();
        match &mut out {
            Vector::Bools { values, nulls } => self.compute_bools(plan, e, values, nulls),
            Vector::Ints { values, nulls } => self.compute_ints(plan, e, values, nulls),
            Vector::Names(names) => self.compute_names(plan, e, names),
            Vector::Halves(halves) => self.compute_halves(plan, e, halves),
            Vector::Data(_) => unreachable!("numerics are computed row by row"),
        }
        self.all[e.index()] = out;
    }

    fn compute_names(&self, plan: &Plan, e: ExprId, out: &mut Vec<Option<Symbol>>) {
        match plan.scalar(e) {
            Scalar::CollateC(a) => out.extend_from_slice(self.names(*a)),
            Scalar::Case(branches, otherwise) => {
                out.extend_from_slice(self.names(*otherwise));
                for (when, then) in branches.iter().rev() {
                    let (truth, nulls) = self.bools(*when);
                    for (((out, then), truth), null) in out.iter_mut().zip(self.names(*then)).zip(truth).zip(nulls) {
                        *out = if *truth & !*null { *then } else { *out };
                    }
                }
            }
            Scalar::Coalesce(list) => {
                out.resize(self.rows, None);
                for e in list {
                    for (out, next) in out.iter_mut().zip(self.names(*e)) {
                        *out = out.or(*next);
                    }
                }
            }
            Scalar::NullIf { value, left, right } => {
                let equal = self.names(*left).iter().zip(self.names(*right));
                out.extend(self.names(*value).iter().zip(equal).map(|(value, (left, right))| {
                    let equal = left.is_some() && left == right;
                    if equal { None } else { *value }
                }));
            }
            other => unreachable!("{other:?} is no operation over vectors of texts"),
        }
    }

    /// A column in two parts where its kind is seen, else null.
    fn compute_halves(&self, plan: &Plan, e: ExprId, out: &mut Vec<Option<[Symbol; 2]>>) {
        let Scalar::Case(branches, _) = plan.scalar(e) else {
            unreachable!("a text in two parts is a column, or chosen where its kind is seen")
        };
        out.resize(self.rows, None);
        for (when, then) in branches.iter().rev() {
            let Vector::Halves(then) = self.get(*then) else {
                unreachable!("one column is chosen")
            };
            let (truths, nulls) = self.bools(*when);
            for (((out, then), truth), null) in out.iter_mut().zip(then).zip(truths).zip(nulls) {
                *out = if *truth & !*null { *then } else { *out };
            }
        }
    }

    fn compute_bools(&self, plan: &Plan, e: ExprId, values: &mut Vec<bool>, nulls: &mut Vec<bool>) {
        let is_text = |e: ExprId| plan.ty(e) == Ty::Text;
        match plan.scalar(e) {
            Scalar::Not(a) => {
                let (a, no_a) = self.bools(*a);
                values.extend(a.iter().map(|a| !a));
                nulls.extend_from_slice(no_a);
            }
            Scalar::And(terms) => self.all_terms(terms, false, values, nulls),
            Scalar::Or(terms) => self.all_terms(terms, true, values, nulls),
            Scalar::IsNull(a) => {
                match self.get(*a) {
                    Vector::Bools { nulls, .. } | Vector::Ints { nulls, .. } => {
                        values.extend_from_slice(&nulls[..self.rows]);
                    }
                    Vector::Names(names) => values.extend(names[..self.rows].iter().map(Option::is_none)),
                    Vector::Halves(names) => values.extend(names[..self.rows].iter().map(Option::is_none)),
                    Vector::Data(data) => values.extend(data[..self.rows].iter().map(Datum::is_null)),
                }
                nulls.resize(self.rows, false);
            }
            Scalar::IsTrue(a) => self.is(*a, true, values, nulls),
            Scalar::IsFalse(a) => self.is(*a, false, values, nulls),
            Scalar::Compare(op, a, b) if is_text(*a) => {
                let equal = *op == CompareOp::Equal;
                for (a, b) in self.names(*a).iter().zip(self.names(*b)) {
                    values.push((a == b) == equal);
                    nulls.push(a.is_none() || b.is_none());
                }
            }
            Scalar::Compare(op, a, b) => match op {
                CompareOp::Equal => self.two(*a, *b, values, nulls, |a, b| a == b),
                CompareOp::NotEqual => self.two(*a, *b, values, nulls, |a, b| a != b),
                CompareOp::Less => self.two(*a, *b, values, nulls, |a, b| a < b),
                CompareOp::LessOrEqual => self.two(*a, *b, values, nulls, |a, b| a <= b),
                CompareOp::Greater => self.two(*a, *b, values, nulls, |a, b| a > b),
                CompareOp::GreaterOrEqual => self.two(*a, *b, values, nulls, |a, b| a >= b),
            },
            Scalar::IsDistinct(a, b) if is_text(*a) => {
                let both = self.names(*a).iter().zip(self.names(*b));
                values.extend(both.map(|(a, b)| a != b));
                nulls.resize(self.rows, false);
            }
            Scalar::IsDistinct(a, b) => {
                let ((a, no_a), (b, no_b)) = (self.ints(*a), self.ints(*b));
                let both = a.iter().zip(no_a).zip(b.iter().zip(no_b));
                values.extend(both.map(|((a, no_a), (b, no_b))| no_a != no_b || !no_a && a != b));
                nulls.resize(self.rows, false);
            }
            Scalar::In(a, items) if is_text(*a) => {
                let names = self.names(*a);
                let is_item = |name: &Option<Symbol>| items.iter().any(|item| self.name(*item, 0) == *name);
                values.extend(names.iter().map(is_item));
                nulls.extend(names.iter().map(Option::is_none));
            }
            Scalar::In(a, items) => {
                let items: Vec<i64> = items.iter().filter_map(|item| self.int(*item, 0)).collect();
                self.one(*a, values, nulls, |a| items.contains(&a));
            }
            _ => {
                // the choices among values of any type
                let mut codes = Vec::with_capacity(self.rows);
                self.compute_ints(plan, e, &mut codes, nulls);
                values.extend(codes.into_iter().map(|code| code == 1));
            }
        }
    }

    fn compute_ints(&self, plan: &Plan, e: ExprId, values: &mut Vec<i64>, nulls: &mut Vec<bool>) {
        let is_text = |e: ExprId| plan.ty(e) == Ty::Text;
        let ty = plan.ty(e);
        match plan.scalar(e) {
            Scalar::Arith(op, a, b) => match op {
                Arith::Add => self.two(*a, *b, values, nulls, i64::wrapping_add),
                Arith::Subtract => self.two(*a, *b, values, nulls, i64::wrapping_sub),
                Arith::Multiply => self.two(*a, *b, values, nulls, i64::wrapping_mul),
                Arith::Divide => self.two(*a, *b, values, nulls, |a, b| if b == 0 { 0 } else { a.wrapping_div(b) }),
                Arith::Remainder => self.two(*a, *b, values, nulls, |a, b| if b == 0 { 0 } else { a.wrapping_rem(b) }),
            },
            Scalar::Negate(a) => self.one(*a, values, nulls, i64::wrapping_neg),
            Scalar::Abs(a) => self.one(*a, values, nulls, i64::wrapping_abs),
            Scalar::Cast(a) => match (plan.ty(*a), ty) {
                (Ty::Timestamp, Ty::Date) => self.one(*a, values, nulls, |a| i64::from(time::day(a).unwrap_or(0))),
                (Ty::Date, Ty::Timestamp) => self.one(*a, values, nulls, |a| time::midnight(a as i32)),
                (_, Ty::Float8) => self.one(*a, values, nulls, |a| from_double(a as f64)),
                _ => self.one(*a, values, nulls, |a| a),
            },
            Scalar::Extract(unit, a) => {
                let from_date = plan.ty(*a) == Ty::Date;
                let micros = |a: i64| if from_date { time::midnight(a as i32) } else { a };
                match unit {
                    TimeUnit::Year => self.one(*a, values, nulls, |a| i64::from(cleaning::year(micros(a)))),
                    _ => self.one(*a, values, nulls, |a| time::extract(*unit, micros(a)).unwrap_or(0)),
                }
            }
            Scalar::Truncate(unit, a) => self.one(*a, values, nulls, |a| time::truncate(*unit, a).unwrap_or(0)),
            Scalar::Case(branches, otherwise) => {
                let (otherwise, otherwise_nulls) = self.ints(*otherwise);
                values.extend_from_slice(&otherwise);
                nulls.extend_from_slice(otherwise_nulls);
                for (when, then) in branches.iter().rev() {
                    let ((truth, unknown), (then, then_null)) = (self.bools(*when), self.ints(*then));
                    let chosen = truth.iter().zip(unknown).zip(then.iter().zip(then_null));
                    for ((value, null), ((truth, unknown), (then, then_null))) in
                        values.iter_mut().zip(nulls.iter_mut()).zip(chosen)
                    {
                        let is_chosen = *truth & !*unknown;
                        *value = if is_chosen { *then } else { *value };
                        *null = if is_chosen { *then_null } else { *null };
                    }
                }
            }
            Scalar::Coalesce(list) => {
                self.choose(list, values, nulls, |_, _| false);
            }
            Scalar::Greatest(list) => self.choose(list, values, nulls, |found, next| next > found),
            Scalar::Least(list) => self.choose(list, values, nulls, |found, next| next < found),
            Scalar::NullIf { value, left, right } => {
                let (value, value_nulls) = self.ints(*value);
                values.extend_from_slice(&value);
                nulls.extend_from_slice(value_nulls);
                if is_text(*left) {
                    let equal = self.names(*left).iter().zip(self.names(*right));
                    for (null, (left, right)) in nulls.iter_mut().zip(equal) {
                        *null |= left.is_some() && left == right;
                    }
                } else {
                    let ((a, no_a), (b, no_b)) = (self.ints(*left), self.ints(*right));
                    for row in 0..self.rows {
                        nulls[row] |= !no_a[row] && !no_b[row] && a[row] == b[row];
                    }
                }
            }
            other => unreachable!("{other:?} is no operation over vectors of integers"),
        }
    }

    #[inline]
    fn one<T: Default>(&self, a: ExprId, values: &mut Vec<T>, nulls: &mut Vec<bool>, f: impl Fn(i64) -> T) {
        let (a, no_a) = self.ints(a);
        // what stands in the place of a null is any number, and functions of times do not take any
        values.extend(
            a.iter()
                .zip(no_a)
                .map(|(a, null)| if *null { T::default() } else { f(*a) }),
        );
        nulls.extend_from_slice(no_a);
    }

    #[inline]
    fn two<T>(&self, a: ExprId, b: ExprId, values: &mut Vec<T>, nulls: &mut Vec<bool>, f: impl Fn(i64, i64) -> T) {
        let ((a, no_a), (b, no_b)) = (self.ints(a), self.ints(b));
        values.extend(a.iter().zip(&*b).map(|(a, b)| f(*a, *b)));
        nulls.extend(no_a.iter().zip(no_b).map(|(a, b)| a | b));
    }

    fn is(&self, a: ExprId, wanted: bool, values: &mut Vec<bool>, nulls: &mut Vec<bool>) {
        let (a, no_a) = self.bools(a);
        values.extend(a.iter().zip(no_a).map(|(a, null)| (*a == wanted) & !null));
        nulls.resize(self.rows, false);
    }

    /// AND and OR: `decisive` when any term is, else null when any is null, else the other one.
    fn all_terms(&self, terms: &[ExprId], decisive: bool, values: &mut Vec<bool>, nulls: &mut Vec<bool>) {
        // how often a term decides is hard to foresee: there are no branches, and values first say what is decided
        values.resize(self.rows, false);
        nulls.resize(self.rows, false);
        for term in terms {
            let (term, unknown) = self.bools(*term);
            let terms = term.iter().zip(unknown);
            for ((decided, null), (term, unknown)) in values.iter_mut().zip(nulls.iter_mut()).zip(terms) {
                *decided |= (*term == decisive) & !*unknown;
                *null |= *unknown;
            }
        }
        for (value, null) in values.iter_mut().zip(nulls) {
            *null &= !*value;
            *value = *value == decisive;
        }
    }

    /// The first value that is not null, or one that `better` prefers to it.
    fn choose(&self, list: &[ExprId], values: &mut Vec<i64>, nulls: &mut Vec<bool>, better: impl Fn(i64, i64) -> bool) {
        values.resize(self.rows, 0);
        nulls.resize(self.rows, true);
        for e in list {
            let (next, no_next) = self.ints(*e);
            for row in 0..self.rows {
                if !no_next[row] && (nulls[row] || better(values[row], next[row])) {
                    (values[row], nulls[row]) = (next[row], false);
                }
            }
        }
    }
}

/// Whether an expression is computed over vectors, `vectorised` saying so of its arguments. What remains is computed
/// row by row from the columns that it names.
pub(crate) fn is_vectorised(plan: &Plan, e: ExprId, vectorised: impl Fn(ExprId) -> bool) -> bool {
    let ty = |e: ExprId| plan.ty(e);
    // a text that is computed need not become a name, unless it is a result
    let plain = |e: &ExprId| ty(*e) != Ty::Numeric && (ty(*e) != Ty::Text || vectorised(*e));
    if ty(e) == Ty::Numeric {
        return false;
    }
    match plan.scalar(e) {
        Scalar::Not(_) | Scalar::And(_) | Scalar::Or(_) | Scalar::IsTrue(_) | Scalar::IsFalse(_) => true,
        Scalar::IsNull(a) => vectorised(*a) || plain(a),
        Scalar::Compare(op, a, b) => {
            let has_order = ty(*a) != Ty::Text || matches!(op, CompareOp::Equal | CompareOp::NotEqual);
            has_order && plain(a) && plain(b)
        }
        Scalar::IsDistinct(a, b) => plain(a) && plain(b),
        Scalar::In(a, _) => plain(a),
        Scalar::Arith(..) | Scalar::Negate(_) | Scalar::Abs(_) | Scalar::Extract(..) | Scalar::Truncate(..) => true,
        Scalar::Cast(a) => ty(e) != Ty::Text && ty(*a) != Ty::Numeric,
        Scalar::Case(..) | Scalar::Coalesce(_) => true,
        Scalar::NullIf { left, right, .. } => plain(left) && plain(right),
        Scalar::Greatest(_) | Scalar::Least(_) => ty(e) != Ty::Text,
        Scalar::CollateC(a) => plain(a),
        _ => false,
    }
}
