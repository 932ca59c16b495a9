//! The SQL of blocks: their rows, and the rows that they group, each with the hidden columns that join them.
//!
//! Hidden columns have a space in their names, which no column of a result has: `post ind` is the key of the one post
//! that a row is made of, `group 1` the values that identify a row of the outermost grouping, `group 2` of the one
//! below it, and so on. A group is one value of type record, because two records are equal where nulls stand in the
//! same places, and PostgreSQL joins them by sorting; `IS NOT DISTINCT FROM` it joins by comparing all pairs.
//!
//! # Why nothing fails
//!
//! The compiler has proved that no expression fails on the rows that pass the WHERE of its own SELECT. PostgreSQL may
//! evaluate a condition of an enclosing query earlier than that. Conditions are therefore put around two kinds of texts
//! alone: the rows that a grouping reads, where an expression that may fail is guarded by `CASE WHEN <WHERE> THEN … END`,
//! and the rows of a query, which end in `OFFSET 0` if they are filtered and such an expression stands in them or is
//! compared: PostgreSQL moves no condition past it.

use super::block::{Block, Chain, Source};
use super::walk::operands;
use crate::sql::ast::{Expr, ExprKind};
use crate::sql::bind::is_aggregate;
use crate::sql::print::{Form, Printer, quoted};
use std::collections::BTreeMap;

/// The hidden column with the key of a post.
pub(super) const POST: &str = "\"post ind\"";

/// A column of [`Text::input`].
pub(super) struct InputColumn {
    /// Its name, as it is printed.
    pub name: String,
    /// Its text.
    pub text: String,
    /// Whether a condition on it may fail.
    pub may_fail: bool,
}

/// A chain with what its text depends on.
pub(super) struct Text<'a> {
    pub chain: &'a Chain,
    /// The column that joins the cleaned tables.
    pub key: &'a str,
    /// What `{top}` stands for.
    pub top: u64,
}

/// The results that texts name: none, they are blocks of the chain.
static NOTHING: BTreeMap<String, String> = BTreeMap::new();

impl Text<'_> {
    fn printer(&self) -> Printer<'static> {
        Printer {
            form: Form::Run { top: self.top },
            results: &NOTHING,
        }
    }

    pub fn expression(&self, expr: &Expr) -> String {
        self.printer().expression(expr)
    }

    /// The first block at `at` or below whose rows are groups.
    pub fn grouping(&self, at: usize) -> Option<usize> {
        (at..self.chain.len()).find(|place| self.chain[*place].is_grouped())
    }

    /// The hidden column that identifies the rows of a block: of their group, or the post's key.
    pub fn identity(&self, at: usize) -> String {
        match self.grouping(at) {
            Some(grouping) => {
                let above = self.chain[..grouping].iter().filter(|block| block.is_grouped());
                format!("\"group {}\"", above.count() + 1)
            }
            None => POST.to_owned(),
        }
    }

    /// The rows of a block with the hidden column that identifies them, and with `more` columns, each with its name.
    pub fn rows(&self, at: usize, more: &[String]) -> String {
        let block = &self.chain[at];
        let printer = self.printer();
        let mut items: Vec<_> = block
            .items
            .iter()
            .map(|(name, expr)| format!("{} AS {}", printer.expression(expr), quoted(name)))
            .collect();
        items.push(if block.is_grouped() {
            format!("{} AS {}", self.group(block, None), self.identity(at))
        } else {
            self.handed_on(at)
        });
        items.extend_from_slice(more);
        let mut sql = self.select(at, &items, |below| self.rows(below, &[]));
        if block.is_grouped() {
            let keys: Vec<_> = block.keys.iter().map(|key| self.key_of(block, key)).collect();
            sql.push_str(&format!("\nGROUP BY {}", keys.join(", ")));
        }
        if let Some(having) = &block.having {
            sql.push_str(&format!("\nHAVING {}", printer.expression(having)));
        }
        if let Some(limit) = &block.limit {
            let (order, rows) = (printer.terms(&block.order), printer.expression(&limit.rows));
            sql.push_str(&if limit.with_ties {
                format!("\nORDER BY {order}\nFETCH FIRST {rows} ROWS WITH TIES")
            } else {
                format!("\nORDER BY {order}\nLIMIT {rows}")
            });
        }
        sql
    }

    /// The same, fenced where a condition that is moved into them could make them fail.
    pub fn fenced_rows(&self, at: usize, more: &[String]) -> String {
        self.fenced(at, more, false)
    }

    /// The rows that a grouping block groups, with the hidden column that identifies them, and with `columns`:
    /// expressions over these rows, each with its name.
    pub fn input(&self, at: usize, columns: &[InputColumn]) -> String {
        let mut items = vec![self.handed_on(at)];
        items.extend(
            columns
                .iter()
                .map(|column| format!("{} AS {}", column.text, column.name)),
        );
        let may_fail = columns.iter().any(|column| column.may_fail);
        self.select(at, &items, |below| self.fenced(below, &[], may_fail))
    }

    /// `may_fail`: whether conditions on the rows may fail themselves.
    fn fenced(&self, at: usize, more: &[String], may_fail: bool) -> String {
        let rows = self.rows(at, more);
        let blocks = &self.chain[at..];
        let filtered = blocks
            .iter()
            .any(|block| block.filter.is_some() || block.having.is_some());
        if filtered && (may_fail || blocks.iter().any(|block| may_fail_itself(block))) {
            format!("{rows}\nOFFSET 0")
        } else {
            rows
        }
    }

    /// The values that identify a group, over the rows of [`Text::input`].
    pub fn input_group(&self, at: usize) -> InputColumn {
        let block = &self.chain[at];
        InputColumn {
            name: self.identity(at),
            text: self.group(block, Some(block)),
            may_fail: block.keys.iter().any(may_fail),
        }
    }

    /// An expression over the rows of [`Text::input`], as a column of this name.
    pub fn input_column(&self, at: usize, name: String, expr: &Expr) -> InputColumn {
        InputColumn {
            name,
            text: self.guarded(&self.chain[at], expr),
            may_fail: may_fail(expr),
        }
    }

    fn guarded(&self, block: &Block, expr: &Expr) -> String {
        let text = self.expression(expr);
        match &block.filter {
            Some(filter) if may_fail(expr) => format!("CASE WHEN {} THEN {text} END", self.expression(filter)),
            _ => text,
        }
    }

    fn group(&self, block: &Block, guard: Option<&Block>) -> String {
        let values = block.keys.iter().filter(|key| !is_constant(key));
        let values: Vec<_> = values
            .map(|key| match guard {
                Some(block) => self.guarded(block, key),
                None => self.expression(key),
            })
            .collect();
        // constants alone: one group
        format!(
            "ROW({})",
            if values.is_empty() {
                "1".to_owned()
            } else {
                values.join(", ")
            }
        )
    }

    /// A term of GROUP BY: an item by its number, because PostgreSQL takes no constant there.
    fn key_of(&self, block: &Block, key: &Expr) -> String {
        let text = self.expression(key);
        let place = block.items.iter().position(|(_, item)| self.expression(item) == text);
        place.map_or(text, |place| (place + 1).to_string())
    }

    /// The hidden column of what a block reads.
    fn handed_on(&self, at: usize) -> String {
        match &self.chain[at].source {
            Source::Posts { .. } => format!("{} AS {POST}", quoted(self.key)),
            Source::Below(alias) => format!("{}.{}", quoted(alias), self.identity(at + 1)),
        }
    }

    /// SELECT, FROM and WHERE.
    fn select(&self, at: usize, items: &[String], below: impl Fn(usize) -> String) -> String {
        let block = &self.chain[at];
        let from = match &block.source {
            Source::Posts { from, joins } => self.printer().joined(from, joins),
            Source::Below(alias) => format!("(\n{}\n) AS {}", below(at + 1), quoted(alias)),
        };
        let filter = block
            .filter
            .iter()
            .map(|filter| format!("\nWHERE {}", self.expression(filter)));
        let filter: String = filter.collect();
        format!("SELECT {}\nFROM {from}{filter}", items.join(", "))
    }
}

/// Whether an expression of a block may fail.
fn may_fail_itself(block: &Block) -> bool {
    block
        .items
        .iter()
        .map(|(_, expr)| expr)
        .chain(&block.keys)
        .any(may_fail)
}

/// Whether an expression may fail for some values, as far as its form tells.
fn may_fail(expr: &Expr) -> bool {
    const NEVER: [&str; 15] = [
        "btrim",
        "coalesce",
        "greatest",
        "least",
        "left",
        "length",
        "lower",
        "ltrim",
        "nullif",
        "replace",
        "right",
        "rtrim",
        "starts_with",
        "strpos",
        "upper",
    ];
    let itself = match &expr.kind {
        ExprKind::Arith(..) | ExprKind::Negate(_) => true,
        ExprKind::Cast(inner, _) => !matches!(inner.kind, ExprKind::Extract(..)),
        ExprKind::Call(call) => call.over.is_none() && !is_aggregate(&call.name) && !NEVER.contains(&&*call.name),
        _ => false,
    };
    itself || operands(expr).into_iter().any(may_fail)
}

fn is_constant(expr: &Expr) -> bool {
    matches!(
        expr.kind,
        ExprKind::Top
            | ExprKind::Null
            | ExprKind::Bool(_)
            | ExprKind::Number { .. }
            | ExprKind::Text(_)
            | ExprKind::Typed(..)
    )
}
