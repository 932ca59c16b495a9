//! Where the nodes and expressions of all results stand, each distinct one once.

use super::{Expr, ExprId, Node, NodeId, Output, Scalar};
use crate::sql::types::Ty;
use hashbrown::HashMap;

/// Nodes and expressions, in an order in which each stands behind what it reads.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    exprs: Vec<Expr>,
    depths: Vec<u32>,
    nodes: Vec<Node>,
    outputs: Vec<Vec<Output>>,
    expr_ids: HashMap<Expr, ExprId>,
    node_ids: HashMap<Node, NodeId>,
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
        self.exprs.push(expr.clone());
        self.expr_ids.insert(expr, id);
        id
    }

    /// `outputs` is a function of `node`.
    pub(crate) fn add_node(&mut self, node: Node, outputs: Vec<Output>) -> NodeId {
        if let Some(id) = self.node_ids.get(&node) {
            debug_assert_eq!(self.outputs(*id), outputs);
            return *id;
        }
        let id = NodeId(self.nodes.len() as u32);
        self.nodes.push(node.clone());
        self.outputs.push(outputs);
        self.node_ids.insert(node, id);
        id
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
