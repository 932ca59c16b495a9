//! The syntax tree of a file: what was written, in the terms of the subset, each part with its position.

use super::diagnostic::Position;
use super::plan::{Arith, CompareOp, JoinType, TimeUnit};
use super::types::Ty;

/// A file.
#[derive(Clone, Debug)]
pub struct File {
    /// What a row means: the first comment.
    pub comment: String,
    /// The one SELECT.
    pub query: Query,
}

/// A name as PostgreSQL sees it: folded to lower case unless it was quoted.
#[derive(Clone, Debug)]
pub struct Name {
    /// The name.
    pub text: String,
    /// Where it stands.
    pub position: Position,
}

/// A SELECT with the WITH before it.
#[derive(Clone, Debug)]
pub struct Query {
    /// Where it begins.
    pub position: Position,
    /// The queries of WITH, in order.
    pub with: Vec<(Name, Query)>,
    /// Whether it says SELECT DISTINCT.
    pub distinct: bool,
    /// The select list.
    pub items: Vec<Item>,
    /// FROM.
    pub from: Relation,
    /// What is joined to it by the key.
    pub joins: Vec<Join>,
    /// WHERE.
    pub filter: Option<Expr>,
    /// GROUP BY.
    pub group: Vec<Expr>,
    /// HAVING.
    pub having: Option<Expr>,
    /// ORDER BY.
    pub order: Vec<OrderTerm>,
    /// LIMIT or FETCH FIRST.
    pub limit: Option<Limit>,
}

/// How many rows of the whole a query keeps.
#[derive(Clone, Debug)]
pub struct Limit {
    /// So many.
    pub rows: Expr,
    /// And those that tie with the last.
    pub with_ties: bool,
}

/// An item of a select list.
#[derive(Clone, Debug)]
pub enum Item {
    /// An expression.
    Expr {
        /// The expression.
        expr: Expr,
        /// Its name.
        alias: Option<Name>,
        /// The comment behind it.
        comment: Option<String>,
    },
    /// `*` or `a.*`.
    All {
        /// Where it stands.
        position: Position,
        /// The relation, if named.
        of: Option<Name>,
    },
}

/// What stands in FROM.
#[derive(Clone, Debug)]
pub struct Relation {
    /// Where it begins.
    pub position: Position,
    /// What it is.
    pub what: RelationKind,
    /// Its name here.
    pub alias: Option<Name>,
}

/// A table or a query.
#[derive(Clone, Debug)]
pub enum RelationKind {
    /// A kind's cleaned table, a result, or a query of WITH.
    Named(Name),
    /// A query in parentheses.
    Query(Box<Query>),
}

/// JOIN … USING (…).
#[derive(Clone, Debug)]
pub struct Join {
    /// Which join.
    pub how: JoinType,
    /// What is joined.
    pub relation: Relation,
    /// The columns of USING.
    pub using: Vec<Name>,
}

/// One term of ORDER BY.
#[derive(Clone, Debug)]
pub struct OrderTerm {
    /// What is compared.
    pub expr: Expr,
    /// DESC.
    pub descending: bool,
    /// NULLS FIRST or LAST, where it was said.
    pub nulls_first: Option<bool>,
}

/// An expression.
#[derive(Clone, Debug)]
pub struct Expr {
    /// Where it begins.
    pub position: Position,
    /// What it is.
    pub kind: ExprKind,
}

/// What a value is tested for with IS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// NULL.
    Null,
    /// TRUE.
    True,
    /// FALSE.
    False,
    /// UNKNOWN: null of a boolean.
    Unknown,
}

/// What an expression is.
#[derive(Clone, Debug)]
pub enum ExprKind {
    /// `{top}`.
    Top,
    /// `NULL`.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// Digits, perhaps with a point, and with the minus before them: PostgreSQL too takes `-5` as one number.
    Number {
        /// Whether a minus stands before them.
        negative: bool,
        /// The digits.
        digits: String,
    },
    /// `'text'`.
    Text(String),
    /// `DATE 'text'`, `TIMESTAMP 'text'`.
    Typed(Ty, String),
    /// A column, perhaps with its relation.
    Column {
        /// The relation.
        relation: Option<Name>,
        /// The column.
        name: Name,
    },
    /// `column[n]`.
    Element(Box<Expr>, i64),
    /// `NOT e`.
    Not(Box<Expr>),
    /// `-e`.
    Negate(Box<Expr>),
    /// `a AND b AND …`: at least two.
    And(Vec<Expr>),
    /// `a OR b OR …`: at least two.
    Or(Vec<Expr>),
    /// Comparison.
    Compare(CompareOp, Box<Expr>, Box<Expr>),
    /// `+ - * / %`.
    Arith(Arith, Box<Expr>, Box<Expr>),
    /// `a || b`.
    Concat(Box<Expr>, Box<Expr>),
    /// `e IS [NOT] …`.
    Is {
        /// What is tested.
        expr: Box<Expr>,
        /// For what.
        test: Test,
        /// NOT.
        negated: bool,
    },
    /// `a IS [NOT] DISTINCT FROM b`.
    Distinct {
        /// a.
        left: Box<Expr>,
        /// b.
        right: Box<Expr>,
        /// NOT.
        negated: bool,
    },
    /// `e [NOT] IN (…)`.
    In {
        /// e.
        expr: Box<Expr>,
        /// What it may be.
        list: Vec<Expr>,
        /// NOT.
        negated: bool,
    },
    /// `e [NOT] BETWEEN low AND high`.
    Between {
        /// e.
        expr: Box<Expr>,
        /// The least.
        low: Box<Expr>,
        /// The greatest.
        high: Box<Expr>,
        /// NOT.
        negated: bool,
    },
    /// `e [NOT] LIKE 'pattern'`.
    Like {
        /// e.
        expr: Box<Expr>,
        /// The pattern.
        pattern: String,
        /// NOT.
        negated: bool,
    },
    /// `e::ty`.
    Cast(Box<Expr>, Ty),
    /// `EXTRACT(unit FROM e)`.
    Extract(TimeUnit, Box<Expr>),
    /// `e COLLATE "C"`.
    Collate(Box<Expr>),
    /// CASE.
    Case {
        /// What is compared with each condition, if anything.
        operand: Option<Box<Expr>>,
        /// WHEN and THEN.
        branches: Vec<(Expr, Expr)>,
        /// ELSE.
        otherwise: Option<Box<Expr>>,
    },
    /// `(a, b)`, as count(DISTINCT …) takes it.
    Row(Vec<Expr>),
    /// A function, an aggregate or a window function.
    Call(Box<Call>),
}

/// A call.
#[derive(Clone, Debug)]
pub struct Call {
    /// The function, in lower case.
    pub name: String,
    /// `f(*)`.
    pub star: bool,
    /// DISTINCT.
    pub distinct: bool,
    /// The arguments.
    pub args: Vec<Expr>,
    /// WITHIN GROUP (ORDER BY …).
    pub within: Option<OrderTerm>,
    /// FILTER (WHERE …).
    pub filter: Option<Expr>,
    /// OVER (…).
    pub over: Option<Window>,
}

/// OVER (…).
#[derive(Clone, Debug)]
pub struct Window {
    /// PARTITION BY.
    pub partition: Vec<Expr>,
    /// ORDER BY.
    pub order: Vec<OrderTerm>,
}
