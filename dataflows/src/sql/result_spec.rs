//! A result: its table, the text that PostgreSQL runs, and its node of the plan.

use super::plan::NodeId;
use super::types::Ty;
use operators::{Column, ColumnType, Table};

/// A result.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultSpec {
    /// Its name, which is its table's.
    pub name: String,
    /// What a row means.
    pub comment: String,
    /// How many of the first columns are the primary key.
    pub key: usize,
    /// Its columns.
    pub columns: Vec<ColumnSpec>,
    /// The query that PostgreSQL runs over the cleaned tables: with all parentheses, `{top}` filled in, and the results
    /// that it reads written out.
    pub sql: String,
    /// Its rows, in the catalogue's plan.
    pub node: NodeId,
    /// The results that it reads itself.
    pub reads: Vec<String>,
    /// Changes whenever its table or its meaning does, not with comments, white space or the names inside of it.
    pub hash: u64,
}

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnSpec {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Ty,
    /// Whether it can be null.
    pub nullable: bool,
    /// What it holds; empty where the file does not say.
    pub comment: String,
}

impl ResultSpec {
    /// The table as the sinks know tables. It lives as long as the process: to be called once for each result.
    pub fn table(&self) -> &'static Table {
        let leak = |text: &str| -> &'static str { Box::leak(text.to_owned().into_boxed_str()) };
        let columns = self.columns.iter().map(|column| Column {
            name: leak(&column.name),
            ty: match column.ty {
                Ty::Bool => ColumnType::Bool,
                Ty::Int4 => ColumnType::Int4,
                Ty::Int8 => ColumnType::Int8,
                Ty::Numeric => ColumnType::Numeric,
                Ty::Text => ColumnType::Text,
                Ty::Date => ColumnType::Date,
                Ty::Timestamp => ColumnType::Timestamp,
                Ty::Float8 => ColumnType::Float8,
            },
            comment: leak(&column.comment),
        });
        let columns: Vec<Column> = columns.collect();
        Box::leak(Box::new(Table {
            name: leak(&self.name),
            comment: leak(&self.comment),
            key: self.key,
            columns: Box::leak(columns.into_boxed_slice()),
        }))
    }
}
