//! Results as SQL: a file with one SELECT becomes a table, a typed plan, and the text that PostgreSQL runs.
//!
//! [`compile`] takes the files of a folder and a [`schema::Schema`] and gives a [`Catalog`], or every error of every
//! file with its position and a hint. Nothing here computes a result and nothing here knows which kinds of records
//! there are: that is the schema's.
//!
//! The way of a file: `parse` (tokens and comments to a syntax tree of our own, `ast`) → `bind` (names, types, and
//! the proof that no expression can fail, to a [`plan`]) → `catalog` (tables, order, hashes). `print` writes the
//! syntax tree back with all parentheses: that text is what PostgreSQL runs, so nothing that was not understood here
//! is ever run there. `why` takes the tree apart again: it derives the queries that name the posts behind a row.

mod ast;
mod bind;
mod builtin;
mod canonical;
mod catalog;
pub mod describe;
pub mod diagnostic;
pub mod eval;
mod parse;
pub mod plan;
mod print;
mod prove;
mod result_spec;
pub mod schema;
pub mod types;
pub mod why;

#[cfg(test)]
mod tests;

pub use builtin::{BUILT_IN, built_in};
pub use catalog::{Catalog, MOST_RESULTS, Options, SqlFile, compile};
pub use diagnostic::{Diagnostic, Position};
pub use parse::LONGEST_FILE;
pub use result_spec::{ColumnSpec, ResultSpec};
pub use schema::Schema;
pub use why::Why;
