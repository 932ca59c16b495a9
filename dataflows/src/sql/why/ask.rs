//! What is asked of a result and what is answered: parameters, queries, and what cannot be asked.

use crate::sql::print::literal;
use crate::sql::types::Ty;
use thiserror::Error;

/// About the longest query in bytes. Each grouping adds the text of all that stands below it.
pub(super) const LONGEST_SQL: usize = 1 << 20;

/// A query with parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhyQuery {
    /// Its text.
    pub sql: String,
    /// The types of its parameters, in the order of their numbers.
    pub parameters: Vec<Ty>,
}

/// How parameters stand in a query.
#[derive(Clone, Copy, Debug)]
pub enum Arguments<'v> {
    /// As `$1`, `$2`, …
    Numbered,
    /// As `$1`, `$2`, … for clients that send every value as text: each is cast from text to its type.
    Text,
    /// As literals: for each parameter its value in PostgreSQL's text form. Those missing stand as `$n`.
    Literal(&'v [String]),
}

/// Which posts of a row decide a column's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decides {
    /// The column is part of the key or computed from it: it is the same for all posts of the row.
    Key,
    /// Every post of the row takes part: `count(*)`.
    EveryPost,
    /// Those that `deciding` answers.
    Some,
}

/// A column of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnWhy<'a> {
    /// Its name.
    pub name: &'a str,
    /// Which posts decide it.
    pub decides: Decides,
    /// Whether it is a place among other rows, which `before` answers.
    pub place: bool,
}

/// What cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WhyError {
    /// A column that is not part of the key.
    #[error("{column} is not a key column of {table}; its key is {key}")]
    NotKey {
        /// The result.
        table: String,
        /// The column.
        column: String,
        /// The key columns, separated by commas.
        key: String,
    },
    /// A column named twice.
    #[error("key column {column} of {table} is named twice")]
    Twice {
        /// The result.
        table: String,
        /// The column.
        column: String,
    },
    /// So many groupings stand in each other that PostgreSQL would spend its time on the plan.
    #[error(
        "{table} groups groups {groupings} times: the queries for its posts would be longer than {LONGEST_SQL} bytes"
    )]
    TooLong {
        /// The result.
        table: String,
        /// How many groupings stand in each other.
        groupings: usize,
    },
    /// A column that is none of the result's, or has nothing of the kind that was asked for.
    #[error("{column} is not {wanted} of {table}")]
    Column {
        /// The result.
        table: String,
        /// The column.
        column: String,
        /// What it should be.
        wanted: &'static str,
    },
}

impl Arguments<'_> {
    /// The parameter at `place`, from 0.
    pub(super) fn show(&self, place: usize, ty: Ty) -> String {
        let value = match self {
            Arguments::Numbered => None,
            Arguments::Text => return format!("CAST(CAST(${} AS text) AS {ty})", place + 1),
            Arguments::Literal(values) => values.get(place),
        };
        match value {
            None => format!("${}", place + 1),
            Some(value) if ty.is_integer() && value.bytes().all(|byte| byte.is_ascii_digit()) => value.clone(),
            Some(value) if ty == Ty::Text => literal(value),
            Some(value) => format!("CAST({} AS {ty})", literal(value)),
        }
    }
}
