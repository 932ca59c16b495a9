//! What the tables hold: the results with their SQL, the cleaned tables, and what is to be dropped.

use values::Table;

/// Everything of ours that Postgres shall hold.
#[derive(Clone, Debug)]
pub struct Definition {
    /// The result tables in the order of [`crate::Step::results`], each with its SQL over the cleaned tables.
    pub results: Vec<(Table, String)>,
    /// The cleaned tables in the order of [`crate::CleanedRow::table`]; the first column is the only key, a bigint.
    pub cleaned: Vec<Table>,
    /// A hash over everything that decides what the results are.
    pub hash: u64,
    /// Whether the cleaned tables are kept; the first commit empties them otherwise.
    pub keep_cleaned: bool,
    /// Results that the schema holds and shall hold no more, or not with the columns that their tables have: the next
    /// full snapshot drops their tables. Naming one that was dropped before asks for nothing.
    pub drop: Vec<String>,
}
