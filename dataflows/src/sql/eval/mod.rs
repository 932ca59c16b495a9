//! What a [plan](super::plan) means, computed by plain loops: the answer that the dataflow's tables are compared with,
//! by tests and by `verify --replay`.
//!
//! It shares the plan with the dataflow and nothing else. Everything here is written to be compared with PostgreSQL's
//! documentation and sources: one file for each kind of value ([`Decimal`], [`text`], [`like`], [`time`], [`float`]),
//! small pure functions, no batches and no caches beyond one row. Time is O(rows · log rows) for each node.

mod aggregate;
mod datum;
mod decimal;
pub mod float;
mod interpreter;
pub mod like;
pub(crate) mod scalar;
pub mod text;
pub mod time;

pub use datum::Datum;
pub use decimal::Decimal;
pub use interpreter::Interpreter;

use std::fmt;

/// A value that does not exist: the proof that an accepted plan cannot fail was wrong, or a row does not fit the
/// schema. PostgreSQL fails there too, or has another value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A number or time leaves its type's range.
    OutOfRange,
    /// A division by 0.
    DivisionByZero,
    /// An argument has a type that the plan does not allow there.
    WrongType,
    /// [`Interpreter::rows`] was asked for a node whose rows have no columns.
    NoColumns,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Failure::OutOfRange => "a value is out of range",
            Failure::DivisionByZero => "division by zero",
            Failure::WrongType => "a value is not of the type that the plan says",
            Failure::NoColumns => "rows of this node have no columns",
        })
    }
}

impl std::error::Error for Failure {}

/// A value or a [`Failure`].
pub type Computed<T> = Result<T, Failure>;
