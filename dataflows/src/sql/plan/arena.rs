//! Where the nodes and expressions of all results stand, each distinct one once.

use super::{Expr, ExprId, Node, NodeId, Output, Scalar};
use crate::sql::types::Ty;
use hashbrown::HashMap;

/// Nodes and expressions, in an order in which each stands behind what it reads.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    exprs: Vec<Expr>,
    depths: Vec<u32>,
    sizes: Vec<u64>,
    nodes: Vec<Node>,
    outputs: Vec<Vec<Output>>,
    written: Vec<Written>,
    expr_ids: HashMap<Expr, ExprId>,
    node_ids: HashMap<Node, NodeId>,
}

/// What PostgreSQL has in the place of a column, once it has put the subqueries without groups, places and limits into
/// the query around them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WrittenColumn {
    /// The number of its parts.
    pub size: u64,
    /// Whether none of them is a column or an aggregate.
    pub constant: bool,
}

/// A node as PostgreSQL has it.
#[derive(Clone, Debug, Default)]
struct Written {
    columns: Vec<WrittenColumn>,
    /// The number of parts of all expressions in the node and below it.
    size: u64,
}

impl Plan {
    /// All expressions; an [`ExprId`] is a place here.
    pub fn exprs(&self) -> &[Expr] {
        &self.exprs
    }

    /// All nodes; a [`NodeId`] is a place here.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// An expression.
    pub fn expr(&self, id: ExprId) -> &Expr {
        &self.exprs[id.index()]
    }

    /// An expression, without its type.
    pub fn scalar(&self, id: ExprId) -> &Scalar {
        &self.expr(id).scalar
    }

    /// The type of an expression.
    pub fn ty(&self, id: ExprId) -> Ty {
        self.expr(id).ty
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// The columns of a node: types, and facts that every row upholds. [`Node::Posts`] has none.
    pub fn outputs(&self, id: NodeId) -> &[Output] {
        &self.outputs[id.index()]
    }

    /// How deep an expression nests: 1 for a leaf.
    pub fn depth(&self, id: ExprId) -> u32 {
        self.depths[id.index()]
    }

    /// How many parts an expression has when equal ones are not shared; columns of nodes are one part each.
    pub(crate) fn size(&self, id: ExprId) -> u64 {
        self.sizes[id.index()]
    }

    /// A column of a node as PostgreSQL has it; `None` is one that the node does not have yet.
    pub(crate) fn written_column(&self, id: NodeId, column: usize) -> Option<WrittenColumn> {
        self.written[id.index()].columns.get(column).copied()
    }

    /// How many parts all expressions in a node and below it have in PostgreSQL.
    pub(crate) fn written_size(&self, id: NodeId) -> u64 {
        self.written[id.index()].size
    }

    /// An expression over `node`, or over kinds, as PostgreSQL has it. `known` is kept for other expressions over the
    /// same.
    pub(crate) fn written(
        &self,
        node: Option<NodeId>,
        e: ExprId,
        known: &mut HashMap<ExprId, WrittenColumn>,
    ) -> WrittenColumn {
        if let Some(known) = known.get(&e) {
            return *known;
        }
        let leaf = |constant| WrittenColumn { size: 1, constant };
        let written = match self.scalar(e) {
            Scalar::Field { .. } | Scalar::Key => leaf(false),
            Scalar::Column(column) => node
                .and_then(|node| self.written_column(node, usize::from(*column)))
                .unwrap_or(leaf(false)),
            scalar => scalar.arguments().into_iter().fold(leaf(true), |whole, part| {
                let part = self.written(node, part, known);
                WrittenColumn {
                    size: whole.size.saturating_add(part.size),
                    constant: whole.constant && part.constant,
                }
            }),
        };
        known.insert(e, written);
        written
    }

    fn written_node(&self, node: &Node, count: usize) -> Written {
        let mut known = HashMap::new();
        let input = node.input();
        let mut size = input.map_or(0, |input| self.written_size(input));
        let mut add = |e: &ExprId| {
            let written = self.written(input, *e, &mut known);
            size = size.saturating_add(written.size);
            written
        };
        let mut add_all = |exprs: &mut dyn Iterator<Item = &ExprId>| exprs.map(&mut add).collect::<Vec<_>>();
        // a group, a place or an aggregate is computed where it stands
        let computed = |constant| WrittenColumn { size: 1, constant };
        let mut columns: Vec<WrittenColumn> = match node {
            Node::Posts { filter, .. } => {
                add_all(&mut filter.iter());
                Vec::new()
            }
            Node::Fold { key, aggregates, .. } => {
                add_all(&mut aggregates.iter().flat_map(|agg| agg.args.iter().chain(&agg.filter)));
                let key = add_all(&mut key.iter());
                key.iter().map(|column| computed(column.constant)).collect()
            }
            Node::Rank {
                input,
                partition,
                order,
                ..
            } => {
                add_all(&mut partition.iter().chain(order.iter().map(|term| &term.by)));
                let columns = &self.written[input.index()].columns;
                columns.iter().map(|column| computed(column.constant)).collect()
            }
            Node::Map { filter, columns, .. } => {
                add_all(&mut filter.iter());
                add_all(&mut columns.iter())
            }
        };
        columns.resize(count, computed(false));
        Written { columns, size }
    }

    pub(crate) fn add(&mut self, scalar: Scalar, ty: Ty) -> ExprId {
        let expr = Expr { scalar, ty };
        if let Some(id) = self.expr_ids.get(&expr) {
            return *id;
        }
        let id = ExprId(self.exprs.len() as u32);
        let arguments = expr.scalar.arguments();
        debug_assert!(arguments.iter().all(|argument| *argument < id));
        let deepest = arguments.iter().map(|argument| self.depth(*argument)).max();
        self.depths.push(1 + deepest.unwrap_or(0));
        let size = arguments
            .iter()
            .fold(1u64, |size, argument| size.saturating_add(self.size(*argument)));
        self.sizes.push(size);
        self.exprs.push(expr.clone());
        self.expr_ids.insert(expr, id);
        id
    }

    /// The number of an expression, if it is there.
    pub(crate) fn find(&self, scalar: &Scalar, ty: Ty) -> Option<ExprId> {
        let expr = Expr {
            scalar: scalar.clone(),
            ty,
        };
        self.expr_ids.get(&expr).copied()
    }

    /// `outputs` is a function of `node`.
    pub(crate) fn add_node(&mut self, node: Node, outputs: Vec<Output>) -> NodeId {
        if let Some(id) = self.node_ids.get(&node) {
            debug_assert_eq!(self.outputs(*id), outputs);
            return *id;
        }
        let id = NodeId(self.nodes.len() as u32);
        self.written.push(self.written_node(&node, outputs.len()));
        self.nodes.push(node.clone());
        self.outputs.push(outputs);
        self.node_ids.insert(node, id);
        id
    }

    /// What all rows of a node have passed and can still be said of its columns: the filters of the maps that keep the
    /// columns of what they read, the innermost first.
    pub(crate) fn filters(&self, id: NodeId) -> Vec<ExprId> {
        let mut filters = Vec::new();
        let mut next = id;
        while let Node::Map { input, filter, columns } = self.node(next)
            && columns.len() == self.outputs(*input).len()
            && columns
                .iter()
                .enumerate()
                .all(|(place, e)| *self.scalar(*e) == Scalar::Column(place as u16))
        {
            filters.extend(filter);
            next = *input;
        }
        filters.reverse();
        filters
    }

    /// `e` with each part for which `replace` gives another replaced by it, from the whole to its parts, and what each
    /// part has become. Takes time in the number of distinct parts.
    pub(crate) fn rewrite(
        &mut self,
        e: ExprId,
        replace: &mut impl FnMut(ExprId, &Scalar) -> Option<ExprId>,
    ) -> (ExprId, HashMap<ExprId, ExprId>) {
        let mut done = HashMap::new();
        let new = self.rewrite_part(e, replace, &mut done);
        (new, done)
    }

    fn rewrite_part(
        &mut self,
        e: ExprId,
        replace: &mut impl FnMut(ExprId, &Scalar) -> Option<ExprId>,
        done: &mut HashMap<ExprId, ExprId>,
    ) -> ExprId {
        if let Some(known) = done.get(&e) {
            return *known;
        }
        let Expr { scalar, ty } = self.expr(e).clone();
        let new = match replace(e, &scalar) {
            Some(other) => other,
            None => {
                let scalar = scalar.map(|part| self.rewrite_part(part, replace, done));
                self.add(scalar, ty)
            }
        };
        done.insert(e, new);
        new
    }
}
