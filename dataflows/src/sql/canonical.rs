//! A plan as text that says what is computed and nothing else: equal for equal meanings as they were written, whatever
//! other results share the arena. Results are hashed over it.

use super::plan::{Agg, ExprId, Node, NodeId, Order, Plan, Scalar};
use super::schema::Schema;
use hashbrown::HashMap;
use std::fmt::Write;

/// The nodes and expressions below `root`, one a line, numbered as they are met.
pub(super) fn canonical(plan: &Plan, schema: &Schema, root: NodeId) -> String {
    let mut writer = Writer {
        plan,
        schema,
        exprs: HashMap::new(),
        nodes: HashMap::new(),
        text: String::new(),
    };
    writer.node(root);
    writer.text
}

struct Writer<'a> {
    plan: &'a Plan,
    schema: &'a Schema,
    exprs: HashMap<ExprId, u32>,
    nodes: HashMap<NodeId, u32>,
    text: String,
}

impl Writer<'_> {
    fn line(&mut self, line: std::fmt::Arguments) {
        writeln!(self.text, "{line}").expect("writing to a string cannot fail");
    }

    fn node(&mut self, id: NodeId) -> u32 {
        if let Some(number) = self.nodes.get(&id) {
            return *number;
        }
        let plan = self.plan;
        let node = plan.node(id);
        let input = node.input().map(|input| self.node(input));
        let line = match node {
            Node::Posts { join, filter } => {
                let seen: Vec<_> = self
                    .schema
                    .kinds
                    .iter()
                    .zip(&join.seen)
                    .map(|(kind, seen)| format!("{} {seen:?}", kind.table))
                    .collect();
                format!(
                    "posts {:?} [{}] where {:?}",
                    join.rows,
                    seen.join(", "),
                    self.filter(*filter)
                )
            }
            Node::Fold { key, aggregates, .. } => {
                let key = self.list(key);
                let aggregates: Vec<_> = aggregates.iter().map(|agg| self.aggregate(agg)).collect();
                format!("fold {input:?} by {key:?} of [{}]", aggregates.join(", "))
            }
            Node::Rank {
                partition,
                order,
                places,
                keep,
                ..
            } => {
                let partition = self.list(partition);
                let order: Vec<_> = order
                    .iter()
                    .map(
                        |Order {
                             by,
                             descending,
                             nulls_first,
                         }| format!("{} {descending} {nulls_first}", self.expr(*by)),
                    )
                    .collect();
                format!(
                    "rank {input:?} in {partition:?} by [{}] {places:?} {keep:?}",
                    order.join(", ")
                )
            }
            Node::Map { filter, columns, .. } => {
                let filter = self.filter(*filter);
                format!("map {input:?} where {filter:?} to {:?}", self.list(columns))
            }
        };
        let number = self.nodes.len() as u32;
        self.nodes.insert(id, number);
        self.line(format_args!("node {number}: {line}"));
        number
    }

    fn filter(&mut self, filter: Option<ExprId>) -> Option<u32> {
        filter.map(|e| self.expr(e))
    }

    fn list(&mut self, list: &[ExprId]) -> Vec<u32> {
        list.iter().map(|e| self.expr(*e)).collect()
    }

    fn aggregate(&mut self, agg: &Agg) -> String {
        let (args, filter) = (self.list(&agg.args), self.filter(agg.filter));
        format!("{:?} {args:?} where {filter:?}", agg.kind)
    }

    fn expr(&mut self, id: ExprId) -> u32 {
        if let Some(number) = self.exprs.get(&id) {
            return *number;
        }
        let plan = self.plan;
        let expr = plan.expr(id);
        let text = match &expr.scalar {
            Scalar::Field { kind, column, element } => {
                let kind = &self.schema.kinds[usize::from(*kind)];
                format!("{}.{}[{element}]", kind.table, kind.columns[usize::from(*column)].name)
            }
            scalar => {
                let scalar = scalar.map(|part| ExprId(self.expr(part)));
                format!("{scalar:?}")
            }
        };
        let number = self.exprs.len() as u32;
        self.exprs.insert(id, number);
        self.line(format_args!("expr {number}: {text} {}", expr.ty));
        number
    }
}
