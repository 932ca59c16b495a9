//! What is accepted, what it becomes, and what is said of the rest.

mod accepted;
mod built_in;
mod catalog;
mod diagnostics;
mod facts;
mod fuzz;
mod plans;
mod why;

use super::{Catalog, Diagnostic, Schema, SqlFile, compile};
use crate::sql::Options;

/// Compiles one file, `results/r.sql`, whose first line is given.
fn one(sql: &str) -> Result<Catalog, Vec<Diagnostic>> {
    compile(&[file("r", sql)], &Schema::cleaned(), &Options { top: 10 })
}

fn file(name: &str, sql: &str) -> SqlFile {
    SqlFile {
        path: format!("results/{name}.sql"),
        text: format!("-- {name}: what a row means\n{sql}"),
    }
}
