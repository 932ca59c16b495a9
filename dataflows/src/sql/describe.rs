//! A plan as a tree for people: one node a line, what it reads below it, in the words of SQL.
//!
//! Columns of nodes have no names of their own; they are written as what they are.

use super::eval::{Computed, Decimal, time};
use super::plan::{
    Agg, AggKind, ExprId, Fraction, Join, JoinType, Keep, Node, NodeId, Order, Place, PlaceKind, Plan, Scalar, Side,
};
use super::schema::Schema;

/// An expression that is written out is not longer than this by much, in bytes.
const LONGEST: usize = 300;

/// A line of the tree: how deep it stands, and what it says.
pub type Line = (usize, String);

/// The nodes that `root` is made of, `root` first.
pub fn tree(plan: &Plan, schema: &Schema, root: NodeId) -> Vec<Line> {
    let words = Words { plan, schema };
    let mut lines = Vec::new();
    let mut next = Some(root);
    let mut depth = 0;
    while let Some(id) = next {
        let node = plan.node(id);
        lines.push((depth, words.head(id)));
        if let Node::Posts { filter: Some(e), .. } | Node::Map { filter: Some(e), .. } = node {
            lines.push((depth + 1, format!("where {}", words.expr(node.input(), *e))));
        }
        next = node.input();
        depth += 1;
    }
    lines
}

/// An expression over the fields of records.
pub fn over_fields(plan: &Plan, schema: &Schema, e: ExprId) -> String {
    Words { plan, schema }.expr(None, e)
}

struct Words<'a> {
    plan: &'a Plan,
    schema: &'a Schema,
}

impl Words<'_> {
    fn head(&self, id: NodeId) -> String {
        match self.plan.node(id) {
            Node::Posts { join, .. } => format!("posts: {}", self.join(join)),
            Node::Fold { input, key, aggregates } => {
                let key = self.list(Some(*input), key);
                let aggregates: Vec<String> = aggregates.iter().map(|agg| self.whole(*input, agg)).collect();
                match aggregates.as_slice() {
                    [] => format!("distinct: {key}"),
                    _ => format!("group by {key}: {}", aggregates.join(", ")),
                }
            }
            Node::Rank {
                input,
                partition,
                order,
                places,
                keep,
            } => {
                let given: Vec<String> = places.iter().map(|place| self.place(*input, order, place)).collect();
                let within = match partition.as_slice() {
                    [] => String::new(),
                    _ => format!(" in each {}", self.list(Some(*input), partition)),
                };
                let kept = match keep {
                    Keep::All => "all rows kept".to_owned(),
                    Keep::Within(bounds) => {
                        let bound = |(at, most): &(usize, u64)| format!("{} <= {most}", name_of(&places[*at]));
                        let bounds: Vec<String> = bounds.iter().map(bound).collect();
                        format!("kept where {}", bounds.join(" OR "))
                    }
                };
                format!("rank{within}: {}; {kept}", given.join(", "))
            }
            Node::Map { input, columns, .. } => format!("select {}", self.list(Some(*input), columns)),
        }
    }

    fn join(&self, join: &Join) -> String {
        let kinds: Vec<usize> = (0..join.seen.len())
            .filter(|kind| join.seen[*kind] != Default::default())
            .collect();
        let tables: Vec<&str> = kinds
            .iter()
            .map(|kind| self.schema.kinds[*kind].table.as_str())
            .collect();
        written(join, &kinds, &self.schema.kinds)
            .unwrap_or_else(|| format!("{} by {}", tables.join(" and "), self.schema.key))
    }

    fn place(&self, input: NodeId, order: &[Order], place: &Place) -> String {
        let terms = match place.kind {
            PlaceKind::RowNumber => order,
            _ => &order[..place.terms],
        };
        let term = |term: &Order| {
            let by = self.operand(Some(input), term.by);
            let nulls = match (self.can_be_null(input, term.by), term.nulls_first == term.descending) {
                (false, _) | (_, true) => "",
                _ if term.nulls_first => " NULLS FIRST",
                _ => " NULLS LAST",
            };
            format!("{by}{}{nulls}", if term.descending { " DESC" } else { "" })
        };
        let terms: Vec<String> = terms.iter().map(term).collect();
        format!("{} by {}", name_of(place), terms.join(", "))
    }

    fn can_be_null(&self, input: NodeId, e: ExprId) -> bool {
        match self.plan.scalar(e) {
            Scalar::Column(column) => self.plan.outputs(input)[usize::from(*column)].facts.nullable,
            _ => true,
        }
    }

    fn whole(&self, input: NodeId, agg: &Agg) -> String {
        let mut out = String::new();
        self.aggregate(input, agg, &mut out);
        out
    }

    fn aggregate(&self, input: NodeId, agg: &Agg, out: &mut String) {
        let (name, after) = match agg.kind {
            AggKind::CountRows => ("count(*", ""),
            AggKind::Count => ("count(", ""),
            AggKind::CountDistinct { row: false } => ("count(DISTINCT ", ""),
            AggKind::CountDistinct { row: true } => ("count(DISTINCT (", ")"),
            AggKind::Sum => ("sum(", ""),
            AggKind::Avg => ("avg(", ""),
            AggKind::Min => ("min(", ""),
            AggKind::Max => ("max(", ""),
            AggKind::BoolAnd => ("bool_and(", ""),
            AggKind::BoolOr => ("bool_or(", ""),
            AggKind::PercentileCont { fraction, descending } => asked(("percentile_cont", fraction, descending), out),
            AggKind::PercentileDisc { fraction, descending } => asked(("percentile_disc", fraction, descending), out),
            AggKind::Mode => ("mode(", ""),
        };
        self.call(name, Some(input), &agg.args, after, out);
        if let Some(filter) = agg.filter {
            out.push_str(" FILTER (WHERE ");
            self.write(Some(input), filter, out);
            out.push(')');
        }
    }

    /// A column of a node.
    fn column(&self, node: NodeId, column: usize, out: &mut String) {
        match self.plan.node(node) {
            Node::Posts { .. } => {}
            Node::Map { input, columns, .. } => self.write(Some(*input), columns[column], out),
            Node::Fold { input, key, aggregates } => match key.get(column) {
                Some(e) => self.write(Some(*input), *e, out),
                None => self.aggregate(*input, &aggregates[column - key.len()], out),
            },
            Node::Rank { input, places, .. } => match column.checked_sub(self.plan.outputs(*input).len()) {
                None => self.column(*input, column, out),
                Some(place) => out.push_str(name_of(&places[place])),
            },
        }
    }

    fn list(&self, input: Option<NodeId>, list: &[ExprId]) -> String {
        let items: Vec<String> = list.iter().map(|e| self.expr(input, *e)).collect();
        items.join(", ")
    }

    fn expr(&self, input: Option<NodeId>, e: ExprId) -> String {
        let mut out = String::new();
        self.write(input, e, &mut out);
        out
    }

    fn operand(&self, input: Option<NodeId>, e: ExprId) -> String {
        let mut out = String::new();
        self.write_operand(input, e, &mut out);
        out
    }

    /// The same in parentheses where it has parts that an operator around it could take.
    fn write_operand(&self, input: Option<NodeId>, e: ExprId, out: &mut String) {
        use Scalar::*;
        let is_open = out.len() <= LONGEST
            && matches!(
                self.plan.scalar(e),
                Not(_)
                    | And(_)
                    | Or(_)
                    | IsNull(_)
                    | IsTrue(_)
                    | IsFalse(_)
                    | Compare(..)
                    | IsDistinct(..)
                    | In(..)
                    | Like(..)
                    | Arith(..)
                    | Negate(_)
                    | Concat(..)
            );
        if is_open {
            out.push('(');
        }
        self.write(input, e, out);
        if is_open {
            out.push(')');
        }
    }

    /// A term of AND or OR, in parentheses where it is one of them itself.
    fn write_term(&self, input: Option<NodeId>, e: ExprId, out: &mut String) {
        match self.plan.scalar(e) {
            Scalar::And(_) | Scalar::Or(_) => self.write_operand(input, e, out),
            _ => self.write(input, e, out),
        }
    }

    fn write(&self, input: Option<NodeId>, e: ExprId, out: &mut String) {
        use Scalar::*;
        if out.len() > LONGEST {
            if !out.ends_with('…') {
                out.push('…');
            }
            return;
        }
        let plan = self.plan;
        match plan.scalar(e) {
            Field { kind, column, element } => self.field(*kind, *column, *element, out),
            Key => out.push_str(&self.schema.key),
            Column(column) => match input {
                Some(node) => self.column(node, usize::from(*column), out),
                None => out.push('?'),
            },
            Null => out.push_str("NULL"),
            Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Int(value) => out.push_str(&value.to_string()),
            Numeric { unscaled, scale } => {
                let (unscaled, scale) = (*unscaled, *scale);
                out.push_str(&Decimal { unscaled, scale }.to_string());
            }
            Text(text) => {
                out.push_str(&quoted(Ok(text.to_string())));
            }
            Date(days) => out.push_str(&quoted(time::date_text(*days))),
            Timestamp(micros) => out.push_str(&quoted(time::timestamp_text(*micros))),
            Not(a) => match plan.scalar(*a) {
                IsNull(of) => self.suffixed(input, *of, " IS NOT NULL", out),
                _ => self.prefixed("NOT ", input, *a, out),
            },
            And(all) => self.separated(input, all, " AND ", Words::write_term, out),
            Or(all) => self.separated(input, all, " OR ", Words::write_term, out),
            IsNull(a) => self.suffixed(input, *a, " IS NULL", out),
            IsTrue(a) => self.suffixed(input, *a, " IS TRUE", out),
            IsFalse(a) => self.suffixed(input, *a, " IS FALSE", out),
            Compare(op, a, b) => {
                self.separated(input, &[*a, *b], &format!(" {} ", op.sign()), Words::write_operand, out)
            }
            Arith(op, a, b) => self.separated(input, &[*a, *b], &format!(" {} ", op.sign()), Words::write_operand, out),
            IsDistinct(a, b) => self.separated(input, &[*a, *b], " IS DISTINCT FROM ", Words::write_operand, out),
            Concat(a, b) => self.separated(input, &[*a, *b], " || ", Words::write_operand, out),
            In(value, items) => {
                self.write_operand(input, *value, out);
                self.call(" IN (", input, items, "", out);
            }
            Like(a, pattern) => self.suffixed(input, *a, &format!(" LIKE {}", quoted(Ok(pattern.to_string()))), out),
            Negate(a) => self.prefixed("-", input, *a, out),
            Cast(a) => self.suffixed(input, *a, &format!("::{}", plan.ty(e)), out),
            Extract(unit, a) => {
                out.push_str(&format!("EXTRACT({} FROM ", unit.name()));
                self.suffixed(input, *a, ")", out);
            }
            Truncate(unit, a) => {
                out.push_str(&format!("date_trunc('{}', ", unit.name()));
                self.suffixed(input, *a, ")", out);
            }
            CollateC(a) => self.write(input, *a, out),
            Case(branches, otherwise) => {
                out.push_str("CASE");
                for (when, then) in branches {
                    if out.len() > LONGEST {
                        break;
                    }
                    out.push_str(" WHEN ");
                    self.write(input, *when, out);
                    out.push_str(" THEN ");
                    self.write(input, *then, out);
                }
                out.push_str(" ELSE ");
                self.write(input, *otherwise, out);
                out.push_str(" END");
            }
            NullIf { value, right, .. } => self.call("nullif(", input, &[*value, *right], "", out),
            StartsWith(a, b) => self.call("starts_with(", input, &[*a, *b], "", out),
            Abs(a) => self.call("abs(", input, &[*a], "", out),
            Sign(a) => self.call("sign(", input, &[*a], "", out),
            Round(a, decimals) => self.call("round(", input, &[*a], &format!(", {decimals}"), out),
            Coalesce(all) => self.call("coalesce(", input, all, "", out),
            Greatest(all) => self.call("greatest(", input, all, "", out),
            Least(all) => self.call("least(", input, all, "", out),
            Length(a) => self.call("length(", input, &[*a], "", out),
            Left(a, count) => self.call("left(", input, &[*a], &format!(", {count}"), out),
            Right(a, count) => self.call("right(", input, &[*a], &format!(", {count}"), out),
            Substr { text, from, count } => {
                let count = count.map_or_else(String::new, |count| format!(", {count}"));
                self.call("substr(", input, &[*text], &format!(", {from}{count}"), out);
            }
            Replace(a, b, c) => self.call("replace(", input, &[*a, *b, *c], "", out),
            SplitPart(a, b, n) => self.call("split_part(", input, &[*a, *b], &format!(", {n}"), out),
            StrPos(a, b) => self.call("strpos(", input, &[*a, *b], "", out),
            Trim(side, a, b) => {
                let name = match side {
                    Side::Both => "btrim(",
                    Side::Left => "ltrim(",
                    Side::Right => "rtrim(",
                };
                self.call(name, input, &[*a, *b], "", out);
            }
            Lower(a) => self.call("lower(", input, &[*a], "", out),
            Upper(a) => self.call("upper(", input, &[*a], "", out),
        }
    }

    fn separated(
        &self,
        input: Option<NodeId>,
        parts: &[ExprId],
        between: &str,
        write: fn(&Self, Option<NodeId>, ExprId, &mut String),
        out: &mut String,
    ) {
        for (place, part) in parts.iter().enumerate() {
            if place > 0 && out.len() <= LONGEST {
                out.push_str(between);
            }
            write(self, input, *part, out);
        }
    }

    fn prefixed(&self, prefix: &str, input: Option<NodeId>, e: ExprId, out: &mut String) {
        out.push_str(prefix);
        self.write_operand(input, e, out);
    }

    fn suffixed(&self, input: Option<NodeId>, e: ExprId, suffix: &str, out: &mut String) {
        self.write_operand(input, e, out);
        out.push_str(suffix);
    }

    /// Arguments behind `name`, which ends with what opens them, and before what stands behind them.
    fn call(&self, name: &str, input: Option<NodeId>, args: &[ExprId], after: &str, out: &mut String) {
        out.push_str(name);
        self.separated(input, args, ", ", Words::write, out);
        out.push_str(after);
        out.push(')');
    }

    /// A column of a kind, with its table where several have one of its name.
    fn field(&self, kind: u8, column: u16, element: u8, out: &mut String) {
        let of = &self.schema.kinds[usize::from(kind)];
        let name = &of.columns[usize::from(column)].name;
        let owners = self
            .schema
            .kinds
            .iter()
            .filter(|kind| kind.columns.iter().any(|column| column.name == *name));
        if owners.count() > 1 {
            out.push_str(&of.table);
            out.push('.');
        }
        out.push_str(name);
        if element > 0 {
            out.push_str(&format!("[{element}]"));
        }
    }
}

/// A literal; what has no text was never accepted.
fn quoted(text: Computed<String>) -> String {
    format!("'{}'", text.unwrap_or_default().replace('\'', "''"))
}

/// Writes what stands before the argument of a percentile; gives what stands directly before and behind it.
fn asked((name, fraction, descending): (&str, Fraction, bool), out: &mut String) -> (&'static str, &'static str) {
    out.push_str(&format!("{name}({}", fraction.get()));
    (" of ", if descending { " DESC" } else { "" })
}

fn name_of(place: &Place) -> &'static str {
    match place.kind {
        PlaceKind::Rank => "rank()",
        PlaceKind::DenseRank => "dense_rank()",
        PlaceKind::RowNumber => "row_number()",
    }
}

/// The FROM clause that makes the join, with its kinds in the order of their numbers, if there is one.
fn written(join: &Join, kinds: &[usize], all: &[super::schema::Kind]) -> Option<String> {
    let (first, rest) = kinds.split_first()?;
    let mut known = vec![(Join::one(*first, join.seen.len()), all[*first].table.clone())];
    for kind in rest {
        let mut more = Vec::with_capacity(known.len() * 4);
        for (left, text) in &known {
            for (how, word) in [
                (JoinType::Inner, "JOIN"),
                (JoinType::Left, "LEFT JOIN"),
                (JoinType::Right, "RIGHT JOIN"),
                (JoinType::Full, "FULL JOIN"),
            ] {
                more.push((left.join(how, *kind), format!("{text} {word} {}", all[*kind].table)));
            }
        }
        known = more;
    }
    known.into_iter().find(|(made, _)| made == join).map(|(_, text)| text)
}
