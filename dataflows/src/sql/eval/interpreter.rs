//! Nodes: the rows of each, from the latest cleaned rows.

use super::aggregate::Accumulator;
use super::scalar::{Evaluator, Row};
use super::{Computed, Datum, Failure};
use crate::sql::plan::{Agg, ExprId, Join, Keep, Node, NodeId, Order, Place, PlaceKind, Plan, Scalar};
use crate::sql::schema::{MOST_KINDS, Schema};
use crate::sql::types::Ty;
use hashbrown::HashMap;
use operators::{Symbol, Value};
use std::cell::RefCell;
use std::cmp::Ordering;
use std::rc::Rc;
use std::sync::Arc;

/// The rows of a plan's nodes over one state of the cleaned tables.
pub struct Interpreter<'a> {
    plan: &'a Plan,
    schema: &'a Schema,
    /// For each key its cleaned row of each kind.
    posts: HashMap<i64, [Option<&'a operators::Row>; MOST_KINDS]>,
    /// The rows of nodes that were asked for, and of those below them.
    computed: HashMap<NodeId, Rc<Vec<Vec<Datum>>>>,
    evaluator: Evaluator<'a>,
    /// Each name once, whatever rows and groups hold it.
    names: Names,
}

/// Names as values have them.
type Names = RefCell<HashMap<Symbol, Arc<str>>>;

impl<'a> Interpreter<'a> {
    /// Over empty tables.
    pub fn new(plan: &'a Plan, schema: &'a Schema) -> Interpreter<'a> {
        Interpreter {
            plan,
            schema,
            posts: HashMap::new(),
            computed: HashMap::new(),
            evaluator: Evaluator::new(plan),
            names: Names::default(),
        }
    }

    /// Sets the cleaned row of a key of a kind, in the order of the cleaned table's columns. All rows are set before
    /// the first is asked for.
    pub fn set(&mut self, kind: usize, key: i64, row: &'a operators::Row) {
        debug_assert!(self.computed.is_empty());
        self.posts.entry(key).or_default()[kind] = Some(row);
    }

    /// All rows of a node, in no order. Not of [`Node::Posts`], whose rows have no columns.
    pub fn rows(&mut self, id: NodeId) -> Computed<Rc<Vec<Vec<Datum>>>> {
        // inputs have smaller numbers: no recursion, however deep the plan is
        let mut needed = vec![id];
        while let Some(input) = self.plan.node(needed[needed.len() - 1]).input() {
            needed.push(input);
        }
        for id in needed.into_iter().rev() {
            if !self.computed.contains_key(&id) && !matches!(self.plan.node(id), Node::Posts { .. }) {
                let mut evaluator = std::mem::replace(&mut self.evaluator, Evaluator::new(self.plan));
                let rows = self.compute(id, &mut evaluator);
                self.evaluator = evaluator;
                self.computed.insert(id, Rc::new(rows?));
            }
        }
        self.computed.get(&id).cloned().ok_or(Failure::NoColumns)
    }

    /// Whether an expression was null in some row that it was computed for. Tests demand with it that each operation
    /// has met nulls.
    pub fn was_null(&self, e: ExprId) -> bool {
        self.evaluator.was_null(e)
    }

    fn compute(&self, id: NodeId, evaluator: &mut Evaluator<'a>) -> Computed<Vec<Vec<Datum>>> {
        match self.plan.node(id) {
            Node::Posts { .. } => Err(Failure::NoColumns),
            Node::Fold { input, key, aggregates } => {
                let mut fold = Fold {
                    plan: self.plan,
                    key,
                    aggregates,
                    evaluator,
                    groups: HashMap::new(),
                };
                match self.plan.node(*input) {
                    Node::Posts { join, filter } => self.fold_posts(join, *filter, &mut fold)?,
                    _ => self.input(*input)?.iter().try_for_each(|row| {
                        fold.evaluator.next_row();
                        fold.add(row)
                    })?,
                }
                fold.finish()
            }
            Node::Rank {
                input,
                partition,
                order,
                places,
                keep,
            } => self.rank(self.input(*input)?, partition, order, places, keep, evaluator),
            Node::Map { input, filter, columns } => {
                let mut rows = Vec::new();
                for row in self.input(*input)? {
                    evaluator.next_row();
                    if evaluator.holds(*filter, row)? {
                        rows.push(evaluator.values(columns, row)?);
                    }
                }
                Ok(rows)
            }
        }
    }

    fn input(&self, id: NodeId) -> Computed<&Vec<Vec<Datum>>> {
        self.computed.get(&id).map(|rows| &**rows).ok_or(Failure::NoColumns)
    }

    fn fold_posts(&self, join: &Join, filter: Option<ExprId>, fold: &mut Fold) -> Computed<()> {
        for (key, kinds) in &self.posts {
            let has = |kind: &usize| kinds[*kind].is_some();
            let present = (0..MOST_KINDS).filter(has).fold(0, |set, kind| set | 1u8 << kind);
            if !join.rows.holds(present) {
                continue;
            }
            let seen = std::array::from_fn(|kind| {
                let seen = join.seen.get(kind).is_some_and(|seen| seen.holds(present));
                kinds[kind].filter(|_| seen)
            });
            let post = Post {
                schema: self.schema,
                names: &self.names,
                key: *key,
                kinds: seen,
            };
            fold.evaluator.next_row();
            if fold.evaluator.holds(filter, &post)? {
                fold.add(&post)?;
            }
        }
        Ok(())
    }

    fn rank(
        &self,
        input: &[Vec<Datum>],
        partition: &[ExprId],
        order: &[Order],
        places: &[Place],
        keep: &Keep,
        evaluator: &mut Evaluator<'a>,
    ) -> Computed<Vec<Vec<Datum>>> {
        let mut ranked = Vec::with_capacity(input.len());
        for row in input {
            evaluator.next_row();
            let partition = evaluator.values(partition, row)?;
            let by: Vec<ExprId> = order.iter().map(|order| order.by).collect();
            ranked.push((partition, evaluator.values(&by, row)?, row));
        }
        ranked.sort_by(|(a_partition, a, _), (b_partition, b, _)| {
            a_partition.cmp(b_partition).then_with(|| in_order(order, a, b))
        });
        let mut rows = Vec::new();
        for partition in ranked.chunk_by(|(a, ..), (b, ..)| a == b) {
            let mut numbers: Vec<i64> = vec![0; places.len()];
            for (before, (_, terms, row)) in partition.iter().enumerate() {
                let last = before.checked_sub(1).map(|last| &partition[last].1);
                for (number, place) in numbers.iter_mut().zip(places) {
                    let is_peer = last.is_some_and(|last| last[..place.terms] == terms[..place.terms]);
                    *number = match place.kind {
                        PlaceKind::RowNumber => before as i64 + 1,
                        _ if is_peer => *number,
                        PlaceKind::Rank => before as i64 + 1,
                        PlaceKind::DenseRank => *number + 1,
                    };
                }
                let kept = match keep {
                    Keep::All => true,
                    Keep::Within(bounds) => bounds
                        .iter()
                        .any(|(place, bound)| numbers.get(*place).is_some_and(|number| *number as u64 <= *bound)),
                };
                if kept {
                    let numbers = numbers.iter().map(|number| Datum::Int(*number));
                    rows.push(row.iter().cloned().chain(numbers).collect());
                }
            }
        }
        Ok(rows)
    }
}

/// Compares the values of two rows' order terms.
fn in_order(order: &[Order], a: &[Datum], b: &[Datum]) -> Ordering {
    let term = |(order, (a, b)): (&Order, (&Datum, &Datum))| match (a.is_null(), b.is_null()) {
        (false, false) if order.descending => b.cmp(a),
        (false, false) => a.cmp(b),
        // true is above false: the null is the greater one, unless nulls are first
        (a, b) if order.nulls_first => b.cmp(&a),
        (a, b) => a.cmp(&b),
    };
    let mut terms = order.iter().zip(a.iter().zip(b)).map(term);
    terms.find(|ordering| ordering.is_ne()).unwrap_or(Ordering::Equal)
}

/// The groups of a [`Node::Fold`].
struct Fold<'p, 'e> {
    plan: &'p Plan,
    key: &'p [ExprId],
    aggregates: &'p [Agg],
    evaluator: &'e mut Evaluator<'p>,
    groups: HashMap<Vec<Datum>, Vec<Accumulator>>,
}

impl Fold<'_, '_> {
    /// Takes in the evaluator's current row.
    fn add(&mut self, row: &impl Row) -> Computed<()> {
        let key = self.evaluator.values(self.key, row)?;
        let new = || self.aggregates.iter().map(|aggregate| Accumulator::new(aggregate.kind));
        let group = self.groups.entry(key).or_insert_with(|| new().collect());
        for (aggregate, accumulator) in self.aggregates.iter().zip(group) {
            if self.evaluator.holds(aggregate.filter, row)? {
                let arguments = self.evaluator.values(&aggregate.args, row)?;
                accumulator.add(aggregate.kind, arguments)?;
            }
        }
        Ok(())
    }

    fn finish(self) -> Computed<Vec<Vec<Datum>>> {
        let mut rows = Vec::with_capacity(self.groups.len());
        for (mut row, group) in self.groups {
            for (aggregate, accumulator) in self.aggregates.iter().zip(group) {
                let ty = aggregate.args.first().map(|argument| self.plan.ty(*argument));
                row.push(accumulator.finish(aggregate.kind, ty)?);
            }
            rows.push(row);
        }
        Ok(rows)
    }
}

/// A row of a join of kinds.
struct Post<'a> {
    schema: &'a Schema,
    names: &'a Names,
    key: i64,
    /// The cleaned row of each kind that is seen.
    kinds: [Option<&'a operators::Row>; MOST_KINDS],
}

impl Row for Post<'_> {
    fn leaf(&self, scalar: &Scalar) -> Computed<Datum> {
        let (kind, column, element) = match scalar {
            Scalar::Key => return Ok(Datum::Int(self.key)),
            Scalar::Field { kind, column, element } => (usize::from(*kind), usize::from(*column), *element),
            _ => return Err(Failure::WrongType),
        };
        let Some(row) = self.kinds.get(kind).copied().flatten() else {
            return Ok(Datum::Null);
        };
        let ty = self.schema.kinds[kind].columns[column].ty;
        Ok(match (row.get(column).ok_or(Failure::WrongType)?, ty) {
            (Value::Null, _) => Datum::Null,
            (Value::Int(value), Ty::Int4 | Ty::Int8) => Datum::Int(*value),
            (Value::Int(value), Ty::Timestamp) => Datum::Timestamp(*value),
            (value @ Value::Text(symbol), Ty::Text) => {
                let mut names = self.names.borrow_mut();
                let name = || value.as_str().unwrap_or_default().into();
                Datum::Text(names.entry(*symbol).or_insert_with(name).clone())
            }
            (value, Ty::Text) => Datum::text(value.as_str().ok_or(Failure::WrongType)?),
            (Value::Float(value), Ty::Float8) => Datum::Float(*value),
            (Value::Floats(values), Ty::Float8) => match values.get(usize::from(element).wrapping_sub(1)) {
                Some(Some(value)) => Datum::Float(*value),
                // an array that is shorter has null there, as in PostgreSQL
                Some(None) | None => Datum::Null,
            },
            _ => return Err(Failure::WrongType),
        })
    }
}
