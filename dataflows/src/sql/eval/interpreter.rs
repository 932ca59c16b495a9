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
    /// For each row of `computed` the keys that it is made of, where they are noted.
    made_of: HashMap<NodeId, Rc<Vec<Vec<i64>>>>,
    notes_keys: bool,
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
            made_of: HashMap::new(),
            notes_keys: false,
            evaluator: Evaluator::new(plan),
            names: Names::default(),
        }
    }

    /// The same, with [`Interpreter::made_of`]. It takes eight bytes for each key and node.
    pub fn noting_keys(plan: &'a Plan, schema: &'a Schema) -> Interpreter<'a> {
        Interpreter {
            notes_keys: true,
            ..Interpreter::new(plan, schema)
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
                let (rows, made_of) = rows?.into_iter().unzip();
                self.computed.insert(id, Rc::new(rows));
                if self.notes_keys {
                    self.made_of.insert(id, Rc::new(made_of));
                }
            }
        }
        self.computed.get(&id).cloned().ok_or(Failure::NoColumns)
    }

    /// For each of the [`rows`](Interpreter::rows) of a node the keys of the cleaned rows that it is made of, in no order:
    /// of a group those of all rows in it. Only where they are [noted](Interpreter::noting_keys).
    pub fn made_of(&mut self, id: NodeId) -> Computed<Rc<Vec<Vec<i64>>>> {
        self.rows(id)?;
        self.made_of.get(&id).cloned().ok_or(Failure::NoColumns)
    }

    /// Whether an expression was null in some row that it was computed for. Tests demand with it that each operation
    /// has met nulls.
    pub fn was_null(&self, e: ExprId) -> bool {
        self.evaluator.was_null(e)
    }

    fn compute(&self, id: NodeId, evaluator: &mut Evaluator<'a>) -> Computed<Vec<Made>> {
        match self.plan.node(id) {
            Node::Posts { .. } => Err(Failure::NoColumns),
            Node::Fold { input, key, aggregates } => {
                let mut fold = Fold {
                    plan: self.plan,
                    key,
                    aggregates,
                    evaluator,
                    notes_keys: self.notes_keys,
                    groups: HashMap::new(),
                };
                match self.plan.node(*input) {
                    Node::Posts { join, filter } => self.fold_posts(join, *filter, &mut fold)?,
                    _ => self.input(*input)?.iter().enumerate().try_for_each(|(place, row)| {
                        fold.evaluator.next_row();
                        fold.add(row, self.keys(*input, place))
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
            } => {
                let ranked = self.rank(self.input(*input)?, partition, order, places, keep, evaluator)?;
                let keys = |(row, place)| (row, self.keys(*input, place).to_vec());
                Ok(ranked.into_iter().map(keys).collect())
            }
            Node::Map { input, filter, columns } => {
                let mut rows = Vec::new();
                for (place, row) in self.input(*input)?.iter().enumerate() {
                    evaluator.next_row();
                    if evaluator.holds(*filter, row)? {
                        rows.push((evaluator.values(columns, row)?, self.keys(*input, place).to_vec()));
                    }
                }
                Ok(rows)
            }
        }
    }

    fn input(&self, id: NodeId) -> Computed<&Vec<Vec<Datum>>> {
        self.computed.get(&id).map(|rows| &**rows).ok_or(Failure::NoColumns)
    }

    /// What a row of a node is made of; nothing where that is not noted.
    fn keys(&self, id: NodeId, place: usize) -> &[i64] {
        self.made_of.get(&id).map_or(&[], |made_of| &made_of[place])
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
                fold.add(&post, &[*key])?;
            }
        }
        Ok(())
    }

    /// The rows that stay, each with its place in `input`.
    fn rank(
        &self,
        input: &[Vec<Datum>],
        partition: &[ExprId],
        order: &[Order],
        places: &[Place],
        keep: &Keep,
        evaluator: &mut Evaluator<'a>,
    ) -> Computed<Vec<(Vec<Datum>, usize)>> {
        let mut ranked = Vec::with_capacity(input.len());
        for (place, row) in input.iter().enumerate() {
            evaluator.next_row();
            let partition = evaluator.values(partition, row)?;
            let by: Vec<ExprId> = order.iter().map(|order| order.by).collect();
            ranked.push((partition, evaluator.values(&by, row)?, place));
        }
        ranked.sort_by(|(a_partition, a, _), (b_partition, b, _)| {
            a_partition.cmp(b_partition).then_with(|| in_order(order, a, b))
        });
        let mut rows = Vec::new();
        for partition in ranked.chunk_by(|(a, ..), (b, ..)| a == b) {
            let mut numbers: Vec<i64> = vec![0; places.len()];
            for (before, (_, terms, at)) in partition.iter().enumerate() {
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
                    rows.push((input[*at].iter().cloned().chain(numbers).collect(), *at));
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

/// A row, and the keys that it is made of.
type Made = (Vec<Datum>, Vec<i64>);

/// The groups of a [`Node::Fold`].
struct Fold<'p, 'e> {
    plan: &'p Plan,
    key: &'p [ExprId],
    aggregates: &'p [Agg],
    evaluator: &'e mut Evaluator<'p>,
    notes_keys: bool,
    groups: HashMap<Vec<Datum>, (Vec<Accumulator>, Vec<i64>)>,
}

impl Fold<'_, '_> {
    /// Takes in the evaluator's current row, which is made of `keys`.
    fn add(&mut self, row: &impl Row, keys: &[i64]) -> Computed<()> {
        let key = self.evaluator.values(self.key, row)?;
        let new = || self.aggregates.iter().map(|aggregate| Accumulator::new(aggregate.kind));
        let (group, made_of) = self.groups.entry(key).or_insert_with(|| (new().collect(), Vec::new()));
        if self.notes_keys {
            made_of.extend_from_slice(keys);
        }
        for (aggregate, accumulator) in self.aggregates.iter().zip(group) {
            if self.evaluator.holds(aggregate.filter, row)? {
                let arguments = self.evaluator.values(&aggregate.args, row)?;
                accumulator.add(aggregate.kind, arguments)?;
            }
        }
        Ok(())
    }

    fn finish(self) -> Computed<Vec<Made>> {
        let mut rows = Vec::with_capacity(self.groups.len());
        for (mut row, (group, made_of)) in self.groups {
            for (aggregate, accumulator) in self.aggregates.iter().zip(group) {
                let ty = aggregate.args.first().map(|argument| self.plan.ty(*argument));
                row.push(accumulator.finish(aggregate.kind, ty)?);
            }
            rows.push((row, made_of));
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
