//! A syntax tree as the text that PostgreSQL runs: every operation in parentheses, every name in quotes, `{top}` filled
//! in, and every result that is read written out in its place. What was not understood is not in the tree, and so not
//! in the text.

use super::ast::{Call, Expr, ExprKind, Item, Join, OrderTerm, Query, Relation, RelationKind, Test};
use super::plan::JoinType;
use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// What the text depends on, beside the tree.
pub(super) struct Printer<'a> {
    /// What the text is for.
    pub form: Form,
    /// The text of each result that may be read.
    pub results: &'a BTreeMap<String, String>,
}

/// What a text is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// PostgreSQL runs it.
    Run {
        /// What `{top}` is.
        top: u64,
    },
    /// A message shows it, in the words of a file.
    Message,
    /// It is compared with another: columns stand without their relations.
    Compared,
}

impl Printer<'_> {
    /// The text of a query.
    pub fn print(&self, query: &Query) -> String {
        let mut out = String::new();
        self.query(&mut out, query).expect("writing to a string cannot fail");
        out
    }

    /// The text of an expression.
    pub fn expression(&self, expr: &Expr) -> String {
        let mut out = String::new();
        self.expr(&mut out, expr).expect("writing to a string cannot fail");
        out
    }

    /// The text of relations joined by a key.
    pub fn joined(&self, from: &Relation, joins: &[Join]) -> String {
        let mut out = String::new();
        self.from(&mut out, from, joins)
            .expect("writing to a string cannot fail");
        out
    }

    /// The text of the terms of an ORDER BY.
    pub fn terms(&self, terms: &[OrderTerm]) -> String {
        let mut out = String::new();
        self.order(&mut out, terms).expect("writing to a string cannot fail");
        out
    }

    fn name(&self, name: &str) -> String {
        match self.form {
            Form::Message | Form::Compared => as_written(name),
            Form::Run { .. } => quoted(name),
        }
    }

    fn query(&self, out: &mut String, query: &Query) -> fmt::Result {
        for (place, (name, query)) in query.with.iter().enumerate() {
            let start = if place == 0 { "WITH " } else { ", " };
            write!(out, "{start}{} AS (", self.name(&name.text))?;
            self.query(out, query)?;
            out.push_str(")\n");
        }
        out.push_str(if query.distinct { "SELECT DISTINCT " } else { "SELECT " });
        for (place, item) in query.items.iter().enumerate() {
            if place > 0 {
                out.push_str(", ");
            }
            match item {
                Item::All { of: None, .. } => out.push('*'),
                Item::All { of: Some(name), .. } => write!(out, "{}.*", self.name(&name.text))?,
                Item::Expr { expr, alias, .. } => {
                    self.expr(out, expr)?;
                    if let Some(alias) = alias {
                        write!(out, " AS {}", self.name(&alias.text))?;
                    }
                }
            }
        }
        out.push_str("\nFROM ");
        self.from(out, &query.from, &query.joins)?;
        if let Some(filter) = &query.filter {
            out.push_str("\nWHERE ");
            self.expr(out, filter)?;
        }
        if !query.group.is_empty() {
            out.push_str("\nGROUP BY ");
            self.list(out, &query.group)?;
        }
        if let Some(having) = &query.having {
            out.push_str("\nHAVING ");
            self.expr(out, having)?;
        }
        // a table's rows have no order; only with a limit does ORDER BY matter
        if let Some(limit) = &query.limit {
            out.push_str("\nORDER BY ");
            self.order(out, &query.order)?;
            if limit.with_ties {
                out.push_str("\nFETCH FIRST ");
                self.expr(out, &limit.rows)?;
                out.push_str(" ROWS WITH TIES");
            } else {
                out.push_str("\nLIMIT ");
                self.expr(out, &limit.rows)?;
            }
        }
        Ok(())
    }

    fn from(&self, out: &mut String, from: &Relation, joins: &[Join]) -> fmt::Result {
        self.relation(out, from)?;
        for join in joins {
            out.push_str(match join.how {
                JoinType::Inner => " JOIN ",
                JoinType::Left => " LEFT JOIN ",
                JoinType::Right => " RIGHT JOIN ",
                JoinType::Full => " FULL JOIN ",
            });
            self.relation(out, &join.relation)?;
            let using: Vec<_> = join.using.iter().map(|name| self.name(&name.text)).collect();
            write!(out, " USING ({})", using.join(", "))?;
        }
        Ok(())
    }

    fn relation(&self, out: &mut String, relation: &Relation) -> fmt::Result {
        let name = match &relation.what {
            RelationKind::Named(name) => {
                match self.results.get(&name.text) {
                    Some(sql) => write!(out, "(\n{sql}\n)")?,
                    None => out.push_str(&self.name(&name.text)),
                }
                relation.alias.as_ref().unwrap_or(name)
            }
            RelationKind::Query(query) => {
                out.push_str("(\n");
                self.query(out, query)?;
                out.push_str("\n)");
                relation.alias.as_ref().expect("the parser wants a name")
            }
        };
        write!(out, " AS {}", self.name(&name.text))
    }

    fn list(&self, out: &mut String, exprs: &[Expr]) -> fmt::Result {
        for (place, expr) in exprs.iter().enumerate() {
            if place > 0 {
                out.push_str(", ");
            }
            self.expr(out, expr)?;
        }
        Ok(())
    }

    fn order(&self, out: &mut String, terms: &[OrderTerm]) -> fmt::Result {
        for (place, term) in terms.iter().enumerate() {
            if place > 0 {
                out.push_str(", ");
            }
            self.expr(out, &term.expr)?;
            out.push_str(if term.descending { " DESC" } else { " ASC" });
            match term.nulls_first {
                None => {}
                Some(true) => out.push_str(" NULLS FIRST"),
                Some(false) => out.push_str(" NULLS LAST"),
            }
        }
        Ok(())
    }

    /// Operands in parentheses, with an operator between them.
    fn infix(&self, out: &mut String, left: &Expr, operator: &str, right: &Expr) -> fmt::Result {
        out.push('(');
        self.expr(out, left)?;
        write!(out, " {operator} ")?;
        self.expr(out, right)?;
        out.push(')');
        Ok(())
    }

    fn chain(&self, out: &mut String, parts: &[Expr], operator: &str) -> fmt::Result {
        out.push('(');
        for (place, part) in parts.iter().enumerate() {
            if place > 0 {
                write!(out, " {operator} ")?;
            }
            self.expr(out, part)?;
        }
        out.push(')');
        Ok(())
    }

    fn expr(&self, out: &mut String, expr: &Expr) -> fmt::Result {
        let not = |negated: bool| if negated { " NOT" } else { "" };
        match &expr.kind {
            ExprKind::Top => match self.form {
                Form::Run { top } => write!(out, "{top}"),
                Form::Message | Form::Compared => out.write_str("{top}"),
            },
            ExprKind::Null => out.write_str("NULL"),
            ExprKind::Bool(value) => write!(out, "{value}"),
            ExprKind::Number { negative, digits } => {
                if *negative {
                    write!(out, "(-{digits})")
                } else {
                    out.write_str(digits)
                }
            }
            ExprKind::Text(text) => out.write_str(&literal(text)),
            ExprKind::Typed(ty, text) => write!(out, "CAST({} AS {ty})", literal(text)),
            ExprKind::Column { relation, name } => {
                if let Some(relation) = relation.as_ref().filter(|_| !matches!(self.form, Form::Compared)) {
                    write!(out, "{}.", self.name(&relation.text))?;
                }
                out.write_str(&self.name(&name.text))
            }
            ExprKind::Element(array, index) => {
                out.push('(');
                self.expr(out, array)?;
                write!(out, ")[{index}]")
            }
            ExprKind::Not(inner) => {
                out.push_str("(NOT ");
                self.expr(out, inner)?;
                out.write_char(')')
            }
            ExprKind::Negate(inner) => {
                out.push_str("(-");
                self.expr(out, inner)?;
                out.write_char(')')
            }
            ExprKind::And(parts) => self.chain(out, parts, "AND"),
            ExprKind::Or(parts) => self.chain(out, parts, "OR"),
            ExprKind::Compare(op, left, right) => self.infix(out, left, op.sign(), right),
            ExprKind::Arith(op, left, right) => self.infix(out, left, op.sign(), right),
            ExprKind::Concat(left, right) => self.infix(out, left, "||", right),
            ExprKind::Is { expr, test, negated } => {
                out.push('(');
                self.expr(out, expr)?;
                let what = match test {
                    Test::Null => "NULL",
                    Test::True => "TRUE",
                    Test::False => "FALSE",
                    Test::Unknown => "UNKNOWN",
                };
                write!(out, " IS{} {what})", not(*negated))
            }
            ExprKind::Distinct { left, right, negated } => {
                let operator = format!("IS{} DISTINCT FROM", not(*negated));
                self.infix(out, left, &operator, right)
            }
            ExprKind::In { expr, list, negated } => {
                out.push('(');
                self.expr(out, expr)?;
                write!(out, "{} IN (", not(*negated))?;
                self.list(out, list)?;
                out.write_str("))")
            }
            ExprKind::Between {
                expr,
                low,
                high,
                negated,
            } => {
                out.push('(');
                self.expr(out, expr)?;
                write!(out, "{} BETWEEN ", not(*negated))?;
                self.expr(out, low)?;
                out.push_str(" AND ");
                self.expr(out, high)?;
                out.write_char(')')
            }
            ExprKind::Like { expr, pattern, negated } => {
                out.push('(');
                self.expr(out, expr)?;
                write!(out, "{} LIKE {})", not(*negated), literal(pattern))
            }
            ExprKind::Cast(inner, ty) => {
                out.push_str("CAST(");
                self.expr(out, inner)?;
                write!(out, " AS {ty})")
            }
            ExprKind::Extract(unit, inner) => {
                write!(out, "EXTRACT({} FROM ", unit.name())?;
                self.expr(out, inner)?;
                out.write_char(')')
            }
            ExprKind::Collate(inner) => {
                out.push('(');
                self.text(out, inner)?;
                out.write_str(" COLLATE \"C\")")
            }
            ExprKind::Case {
                operand,
                branches,
                otherwise,
            } => {
                out.push_str("(CASE");
                if let Some(operand) = operand {
                    out.push(' ');
                    self.expr(out, operand)?;
                }
                for (when, then) in branches {
                    out.push_str(" WHEN ");
                    self.expr(out, when)?;
                    out.push_str(" THEN ");
                    self.expr(out, then)?;
                }
                if let Some(otherwise) = otherwise {
                    out.push_str(" ELSE ");
                    self.expr(out, otherwise)?;
                }
                out.write_str(" END)")
            }
            ExprKind::Row(parts) => {
                out.push('(');
                for (place, part) in parts.iter().enumerate() {
                    if place > 0 {
                        out.push_str(", ");
                    }
                    self.expr(out, part)?;
                }
                out.write_char(')')
            }
            ExprKind::Call(call) => self.call(out, call),
        }
    }

    /// An expression where PostgreSQL does not make text of a literal by itself.
    fn text(&self, out: &mut String, expr: &Expr) -> fmt::Result {
        match expr.kind {
            ExprKind::Text(_) | ExprKind::Null => {
                out.push_str("CAST(");
                self.expr(out, expr)?;
                out.write_str(" AS text)")
            }
            _ => self.expr(out, expr),
        }
    }

    fn call(&self, out: &mut String, call: &Call) -> fmt::Result {
        let distinct = if call.distinct { "DISTINCT " } else { "" };
        write!(out, "{}({distinct}", call.name)?;
        if call.star {
            out.push('*');
        }
        self.list(out, &call.args)?;
        out.push(')');
        if let Some(term) = &call.within {
            out.push_str(" WITHIN GROUP (ORDER BY ");
            self.order(out, std::slice::from_ref(term))?;
            out.push(')');
        }
        if let Some(filter) = &call.filter {
            out.push_str(" FILTER (WHERE ");
            self.expr(out, filter)?;
            out.push(')');
        }
        if let Some(window) = &call.over {
            out.push_str(" OVER (");
            if !window.partition.is_empty() {
                out.push_str("PARTITION BY ");
                self.list(out, &window.partition)?;
                out.push(' ');
            }
            if !window.order.is_empty() {
                out.push_str("ORDER BY ");
                self.order(out, &window.order)?;
            }
            out.push(')');
        }
        Ok(())
    }
}

/// A name in quotes.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A name as a file has to write it: in quotes where they are needed.
pub(super) fn as_written(name: &str) -> String {
    let plain = |at: usize, byte: u8| byte == b'_' || byte.is_ascii_lowercase() || (at > 0 && byte.is_ascii_digit());
    let plain = !name.is_empty()
        && name.bytes().enumerate().all(|(at, byte)| plain(at, byte))
        && !RESERVED.split_ascii_whitespace().any(|word| word == name);
    if plain { name.to_owned() } else { quoted(name) }
}

/// The words that PostgreSQL does not take for a name, or not everywhere.
const RESERVED: &str = "all analyse analyze and any array as asc asymmetric authorization between bigint binary bit boolean \
    both case cast char character check coalesce collate collation column concurrently constraint create cross \
    current_catalog current_date current_role current_schema current_time current_timestamp current_user dec decimal \
    default deferrable desc distinct do else end except exists extract false fetch float for foreign freeze from full \
    grant greatest group grouping having ilike in initially inner inout int integer intersect interval into is isnull \
    join lateral leading least left like limit localtime localtimestamp national natural nchar none normalize not \
    notnull null nullif numeric offset on only or order out outer overlaps overlay placing position precision primary \
    real references returning right row select session_user setof similar smallint some substring symmetric \
    system_user table tablesample then time timestamp to trailing treat trim true union unique user using values \
    varchar variadic verbose when where window with";

/// A text literal.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
