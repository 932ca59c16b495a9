//! The results: one file each, with a sentence, its SQL and its dataflow. This list is the only other place that
//! names them.

mod columns;
mod posts;

use crate::post::{Event, Post};
use crate::{CLEANED, cleaning};
use differential_dataflow::VecCollection;
use operators::{ColumnType, Row, Table};
pub use posts::Posts;
use timely::dataflow::Stream;
use xxhash_rust::xxh3::xxh3_64;

/// Declares the modules of the results and lists their definitions, in this order.
macro_rules! results {
    ($($name:ident),* $(,)?) => {
        $(pub mod $name;)*

        /// All results, in the order of the tables.
        pub const RESULTS: &[&Definition] = &[$(&$name::DEFINITION),*];
    };
}

results! {
    popular_category_by_country,
    popular_category_by_year,
    popular_category_by_country_and_year,
    popular_category_by_age_group,
    top_poster_by_country,
    country_of_top_poster,
    median_followers_by_age_group,
    users_joined_by_year,
    median_followers_by_join_year,
    median_followers_by_join_year_and_age_group,
}

/// What the person who runs the results may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many rows of each group a ranked table keeps at least, leaders always; 0 keeps all.
    pub top: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { top: 10 }
    }
}

/// One result: the same table, written down twice.
pub struct Definition {
    /// Name, comment, columns and primary key.
    pub table: Table,
    /// The result as SQL over `pin_table`, `geo_table` and `user_table`, with `{top}` for [`Options::top`]. It yields
    /// the table's columns, in order and of their types.
    pub sql: &'static str,
    /// The result as a dataflow: its rows, each once.
    pub dataflow: for<'s> fn(&Posts<'s>) -> VecCollection<'s, u64, Row, isize>,
}

impl Definition {
    /// The SQL with the options filled in.
    pub fn sql(&self, options: &Options) -> String {
        self.sql.replace("{top}", &options.top.to_string())
    }
}

/// All results of a stream of events: the latest records of each `ind` become a post, the posts become rows. Each
/// row comes with the number of its result in [`RESULTS`].
pub fn build<'s>(events: Stream<'s, u64, Vec<Event>>, options: &Options) -> VecCollection<'s, u64, (u8, Row), isize> {
    let scope = events.scope();
    let posts = Posts::new(operators::latest::latest::<Post>(events), *options);
    let rows = RESULTS
        .iter()
        .enumerate()
        .map(|(number, result)| (result.dataflow)(&posts).map(move |row| (number as u8, row)));
    differential_dataflow::collection::concatenate(scope, rows)
}

/// A number that changes whenever a table's shape, a result's meaning or the cleaning does: equal in every process
/// and build.
pub fn definitions_hash(options: &Options) -> u64 {
    let mut text = format!("cleaning {}\n", cleaning::VERSION);
    let results = RESULTS.iter().map(|result| (&result.table, result.sql(options)));
    for (table, sql) in CLEANED.iter().map(|table| (table, String::new())).chain(results) {
        text.push_str(&format!("{} {}\n", table.name, table.key));
        for column in table.columns {
            text.push_str(&format!("{} {}\n", column.name, type_name(column.ty)));
        }
        text.push_str(&sql);
        text.push('\0');
    }
    xxh3_64(text.as_bytes())
}

fn type_name(ty: ColumnType) -> &'static str {
    match ty {
        ColumnType::Text => "text",
        ColumnType::Int4 => "integer",
        ColumnType::Int8 => "bigint",
        ColumnType::Float8 => "double precision",
        ColumnType::Timestamp => "timestamp",
        ColumnType::Float8Array => "double precision[]",
        ColumnType::Bytes => "bytea",
    }
}
