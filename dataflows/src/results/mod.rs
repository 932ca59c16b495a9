//! The results: one file each, with a sentence, its SQL and its dataflow. This list is the only other place that
//! names them.

mod columns;
mod posts;

use crate::post::{Event, Post};
use crate::{CLEANED, Limits, cleaning};
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
    let posts = Posts::new(operators::latest::latest::<Post>(events, ()), *options);
    let rows = RESULTS
        .iter()
        .enumerate()
        .map(|(number, result)| (result.dataflow)(&posts).map(move |row| (number as u8, row)));
    differential_dataflow::collection::concatenate(scope, rows)
}

/// A number that changes whenever a table's shape, a result's meaning or the cleaning does, or which records are dead
/// letters for their size: equal in every process and build.
pub fn definitions_hash(options: &Options, limits: &Limits) -> u64 {
    let (bytes, depth) = (limits.record_bytes, limits.depth.min(Limits::MAX_DEPTH));
    let mut text = format!("cleaning {} limits {bytes} {depth}\n", cleaning::VERSION);
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
        other => other.name(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The names of the columns that a SELECT yields: of each item of its list the alias, or else the column.
    fn selected(sql: &str) -> Vec<String> {
        let list = sql.trim().strip_prefix("SELECT").expect("a SELECT");
        let (mut depth, mut end, mut starts) = (0, None, vec![0]);
        for (at, c) in list.char_indices() {
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                ',' if depth == 0 => starts.push(at + 1),
                'F' if depth == 0 && list[at..].starts_with("FROM") => {
                    end = Some(at);
                    break;
                }
                _ => {}
            }
        }
        starts.push(end.expect("a FROM") + 1);
        let item = |range: &[usize]| {
            let item = list[range[0]..range[1] - 1].trim();
            item.rsplit([' ', '.']).next().unwrap().trim_matches('"').to_owned()
        };
        starts.windows(2).map(item).collect()
    }

    #[test]
    fn sql_and_table_name_the_same_columns() {
        for result in RESULTS {
            let columns: Vec<_> = result.table.columns.iter().map(|column| column.name).collect();
            assert_eq!(selected(result.sql), columns, "{}", result.table.name);
        }
    }

    #[test]
    fn tables_are_as_documented() {
        let shape = |table: &Table| {
            let names: Vec<_> = table.columns.iter().map(|column| column.name).collect();
            format!("{}({})/{}", table.name, names.join(", "), table.key)
        };
        let medians = "median_follower_count, lower_median_follower_count, post_count";
        let expected = [
            "popular_category_by_country(country, category, category_count, rank)/2".to_owned(),
            "popular_category_by_year(post_year, category, category_count, rank)/2".to_owned(),
            "popular_category_by_country_and_year(country, post_year, category, category_count, rank)/3".to_owned(),
            "popular_category_by_age_group(age_group, category, category_count, rank)/2".to_owned(),
            "top_poster_by_country(country, poster_name, follower_count, rank)/2".to_owned(),
            "country_of_top_poster(country, poster_name, follower_count)/2".to_owned(),
            format!("median_followers_by_age_group(age_group, {medians})/1"),
            "users_joined_by_year(join_year, number_users_joined, user_records)/1".to_owned(),
            format!("median_followers_by_join_year(join_year, {medians})/1"),
            format!("median_followers_by_join_year_and_age_group(join_year, age_group, {medians})/2"),
        ];
        assert_eq!(
            RESULTS.iter().map(|result| shape(&result.table)).collect::<Vec<_>>(),
            expected
        );
        for column in RESULTS.iter().flat_map(|result| result.table.columns) {
            let ty = match column.name {
                "post_year" | "join_year" => ColumnType::Int4,
                "median_follower_count" => ColumnType::Float8,
                "country" | "category" | "age_group" | "poster_name" => ColumnType::Text,
                _ => ColumnType::Int8,
            };
            assert_eq!(column.ty, ty, "{}", column.name);
        }
    }

    #[test]
    fn ranked_sql_takes_top_and_the_hash_knows_it() {
        let filled: Vec<_> = RESULTS.iter().map(|result| result.sql(&Options { top: 7 })).collect();
        for (result, sql) in RESULTS.iter().zip(&filled) {
            let ranked = result.table.columns.iter().any(|column| column.name == "rank");
            assert_eq!(ranked, result.sql.contains("{top}"), "{}", result.table.name);
            assert_eq!(ranked, sql.contains("WHERE 7 = 0 OR place <= 7 OR rank = 1"), "{sql}");
            assert!(!sql.contains(['{', '}']), "{sql}");
        }
        let hash = |top, depth| {
            let limits = Limits {
                depth,
                ..Limits::default()
            };
            definitions_hash(&Options { top }, &limits)
        };
        let hashes: BTreeSet<u64> = (0..10).flat_map(|n| [hash(n, 64), hash(n, 63)]).collect();
        assert_eq!(hashes.len(), 20);
        assert_eq!(hash(3, 64), hash(3, 64));
    }
}
