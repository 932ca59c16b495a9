//! Nodes to operators, inputs first.

use super::Event;
use super::kept::Layout;
use super::layout::to_double;
use super::project::{Chosen, Projector, Rows};
use super::relations::{Base, Catalogue, Relation};
use super::row::{Packed, Post, WidePost};
use super::steps::{Cost, Step, Steps};
use super::vector::Vector;
use crate::sql::Catalog;
use crate::sql::eval::Datum;
use crate::sql::plan::{ExprId, Node, NodeId, Plan, Scalar};
use crate::sql::types::Ty;
use differential_dataflow::VecCollection;
use hashbrown::{HashMap, HashSet};
use operators::latest::latest;
use operators::{Footprint, Routing, Row, Value};
use timely::dataflow::Stream;
use timely::dataflow::operators::Input;

/// All results of a catalogue over a stream of events, whose payloads `layout` made: each row once, with the number of
/// its result in [`Catalog::results`]. With them the operators that are made, inputs first. `routing` is the same in all
/// processes.
///
/// Values are those of the columns' types: text as [`Value::Text`] or [`Value::String`], double precision as
/// [`Value::Float`], numeric as the text that PostgreSQL writes in a [`Value::String`], all others as [`Value::Int`]:
/// boolean as 0 or 1, a date in days, a timestamp in microseconds since 1970-01-01.
pub fn build<'s>(
    events: Stream<'s, u64, Vec<Event>>,
    catalog: &Catalog,
    layout: &Layout,
    routing: Routing,
) -> (VecCollection<'s, u64, (u8, Row), isize>, Vec<Step>) {
    let scope = events.scope();
    let mut steps = Steps::new(scope.worker(), catalog);
    let name = steps.add(None, ("latest", "latest records"), [post(layout)], Cost::Constant);
    let posts = if is_fixed(layout) {
        posts::<FixedPost>(events, &name, layout)
    } else {
        posts::<WidePost>(events, &name, layout)
    };
    let mut builder = Builder {
        catalogue: Catalogue {
            plan: &catalog.plan,
            layout,
        },
        used: used(catalog),
        relations: HashMap::from([(None, Relation::of_posts(posts))]),
        steps,
        routing,
    };
    for place in 0..catalog.plan.nodes().len() {
        let id = NodeId(place as u32);
        if builder.used[place].is_none() {
            continue;
        }
        match catalog.plan.node(id) {
            Node::Posts { .. } | Node::Map { .. } => {}
            Node::Fold { input, key, aggregates } => builder.fold(id, *input, key, aggregates),
            Node::Rank {
                input,
                partition,
                order,
                places,
                keep,
            } => builder.rank(id, *input, partition, order, places, keep),
        }
    }
    let mut rows = Vec::with_capacity(catalog.results.len());
    for (number, result) in (0u8..).zip(&catalog.results) {
        rows.push(builder.result(number, result.node));
    }
    for relation in std::mem::take(&mut builder.relations).into_values() {
        relation.projector.finish();
    }
    let steps = builder.steps.finish();
    (differential_dataflow::collection::concatenate(scope, rows), steps)
}

/// The operators of that dataflow, inputs first.
pub fn explain(catalog: &Catalog, layout: &Layout) -> Vec<Step> {
    let (catalog, layout) = (catalog.clone(), layout.clone());
    timely::execute_directly(move |worker| {
        worker.dataflow::<u64, _, _>(|scope| {
            let (_, events) = scope.new_input::<Vec<Event>>();
            build(events, &catalog, &layout, Routing::default()).1
        })
    })
}

fn posts<'s, R: Post + Rows>(events: Stream<'s, u64, Vec<Event>>, name: &str, layout: &Layout) -> Projector<'s> {
    Projector::new(latest::<R>(events, name, layout.shape.clone()), name)
}

/// Names and words that there is room for in the rows of posts that have a fixed size.
pub const ROOM: (usize, usize) = (5, 6);

type FixedPost = Packed<{ ROOM.0 }, { ROOM.1 }>;

/// Whether the rows of posts have the fixed size.
fn is_fixed(layout: &Layout) -> bool {
    let (names, words) = layout.size();
    names <= ROOM.0 && words <= ROOM.1
}

/// What a post takes.
pub(crate) fn post(layout: &Layout) -> Footprint {
    if is_fixed(layout) {
        operators::latest::footprint::<FixedPost>(FixedPost::heap(&layout.shape))
    } else {
        operators::latest::footprint::<WidePost>(WidePost::heap(&layout.shape))
    }
}

/// The relations built so far.
pub(super) struct Builder<'a, 's> {
    pub(super) catalogue: Catalogue<'a>,
    /// The columns of each node that are used; `None` for a node that no result is made of.
    pub(super) used: Vec<Option<Vec<bool>>>,
    pub(super) relations: HashMap<Base, Relation<'s>>,
    pub(super) steps: Steps<'s>,
    pub(super) routing: Routing,
}

impl<'a, 's> Builder<'a, 's> {
    pub(super) fn plan(&self) -> &'a Plan {
        self.catalogue.plan
    }

    /// The relation that a node's rows come from, to be given back.
    pub(super) fn relation(&mut self, node: NodeId) -> Relation<'s> {
        let base = self.catalogue.base(node);
        self.relations.remove(&base).expect("inputs are built first")
    }

    /// Gives the relation of a node back.
    pub(super) fn put_back(&mut self, node: NodeId, relation: Relation<'s>) {
        self.relations.insert(self.catalogue.base(node), relation);
    }

    /// Whether a column of a node is used.
    pub(super) fn is_used(&self, node: NodeId, column: usize) -> bool {
        self.used[node.index()].as_ref().is_some_and(|used| used[column])
    }

    fn result(&mut self, number: u8, node: NodeId) -> VecCollection<'s, u64, (u8, Row), isize> {
        let mut relation = self.relation(node);
        let filter = self.catalogue.filter(&mut relation, node);
        let columns = match self.plan().node(node) {
            Node::Map { input, columns, .. } => {
                let resolve = |e: &ExprId| self.catalogue.resolve(&mut relation, *input, *e);
                columns.iter().map(resolve).collect()
            }
            _ => relation.columns(),
        };
        let plan = &relation.projector.plan;
        let columns: Vec<(ExprId, Ty)> = columns.into_iter().map(|e| (e, plan.ty(e))).collect();
        let roots: Vec<ExprId> = columns.iter().map(|(e, _)| *e).collect();
        let make = move |chosen: &Chosen<'_>, taken: &mut Vec<_>| {
            let row = |row: &u32| {
                let of = |(e, ty): &(ExprId, Ty)| value(chosen.vectors.get(*e), *ty, *row as usize);
                (number, columns.iter().map(of).collect())
            };
            chosen.give(chosen.rows.iter().map(row), taken);
        };
        let rows = relation.projector.port(filter, roots, make);
        self.put_back(node, relation);
        rows
    }
}

/// A value as tables have it: see [`build`].
fn value(vector: &Vector, ty: Ty, row: usize) -> Value {
    match vector {
        Vector::Bools { .. } => vector.code(row).into(),
        Vector::Ints { nulls, .. } if nulls[row] => Value::Null,
        Vector::Ints { values, .. } => match ty {
            Ty::Float8 => Value::Float(to_double(values[row])),
            _ => Value::Int(values[row]),
        },
        Vector::Names(names) => names[row].map_or(Value::Null, Value::Text),
        Vector::Halves(_) => unreachable!("a text in two parts is no column of a result"),
        Vector::Data(data) => match &data[row] {
            Datum::Numeric(value) => Value::String(value.to_string().into()),
            _ => Value::Null,
        },
    }
}

/// The columns of each node that results are made of.
fn used(catalog: &Catalog) -> Vec<Option<Vec<bool>>> {
    let plan = &catalog.plan;
    let mut used: Vec<Option<Vec<bool>>> = vec![None; plan.nodes().len()];
    for result in &catalog.results {
        used[result.node.index()] = Some(vec![true; plan.outputs(result.node).len()]);
    }
    for place in (0..plan.nodes().len()).rev() {
        let Some(columns) = used[place].clone() else { continue };
        let node = &plan.nodes()[place];
        let Some(input) = node.input() else { continue };
        let mut exprs: Vec<ExprId> = Vec::new();
        let mut whole: Vec<usize> = Vec::new();
        match node {
            Node::Posts { .. } => {}
            Node::Map {
                filter, columns: of, ..
            } => {
                exprs.extend(filter);
                exprs.extend(of.iter().zip(&columns).filter(|(_, used)| **used).map(|(e, _)| e));
            }
            Node::Fold { key, aggregates, .. } => {
                exprs.extend(key);
                for (agg, _) in aggregates.iter().zip(&columns[key.len()..]).filter(|(_, used)| **used) {
                    exprs.extend(agg.args.iter().chain(&agg.filter));
                }
            }
            Node::Rank { partition, order, .. } => {
                exprs.extend(partition);
                exprs.extend(order.iter().map(|order| &order.by));
                let count = plan.outputs(input).len();
                whole.extend((0..count).filter(|column| columns[*column]));
                // what tells rows apart is needed to rank them
                whole.extend(identity(plan, input).into_iter().flatten());
            }
        }
        let of = used[input.index()].get_or_insert_with(|| vec![false; plan.outputs(input).len()]);
        if !of.is_empty() {
            let mut seen = HashSet::new();
            while let Some(e) = exprs.pop() {
                if seen.insert(e) {
                    match plan.scalar(e) {
                        Scalar::Column(column) => of[usize::from(*column)] = true,
                        scalar => exprs.extend(scalar.arguments()),
                    }
                }
            }
            whole.into_iter().for_each(|column| of[column] = true);
        }
    }
    used
}

/// Columns of a node of which no two rows have the same values; `None` where rows may be equal.
pub(super) fn identity(plan: &Plan, node: NodeId) -> Option<Vec<usize>> {
    match plan.node(node) {
        Node::Posts { .. } => None,
        Node::Fold { key, .. } => Some((0..key.len()).collect()),
        Node::Rank { input, .. } => identity(plan, *input),
        Node::Map { input, columns, .. } => {
            let find = |wanted: usize| {
                let is = |e: &ExprId| *plan.scalar(*e) == Scalar::Column(wanted as u16);
                columns.iter().position(is)
            };
            identity(plan, *input)?.into_iter().map(find).collect()
        }
    }
}
