//! The results of a run: SQL files, compiled, with what is kept of records for them and their tables.

use crate::exec::{self, Event, Layout};
use crate::sql::{Catalog, Diagnostic, Options, ResultSpec, Schema, SqlFile, built_in, compile};
use crate::{CLEANED, Limits, cleaning};
use differential_dataflow::VecCollection;
use operators::{Row, Table};
use std::fmt;
use std::sync::{Arc, LazyLock};
use timely::dataflow::Stream;
use xxhash_rust::xxh3::xxh3_64;

/// What is kept of records for the built-in results: the same whatever the options are, which say only which rows of
/// ranked tables stay.
pub(crate) fn layout() -> Arc<Layout> {
    static LAYOUT: LazyLock<Arc<Layout>> = LazyLock::new(|| Results::built_in(&Options::default()).layout());
    Arc::clone(&LAYOUT)
}

/// One result.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Name, comment, columns and primary key.
    pub table: Table,
    /// The query over the cleaned tables that PostgreSQL runs: with all parentheses, and with the options filled in.
    pub sql: String,
    /// Changes whenever its table or its meaning does: see [`ResultSpec::hash`].
    pub hash: u64,
}

/// All results of a run. Two are equal when the same tables hold the same.
pub struct Results {
    catalog: Catalog,
    schema: Schema,
    layout: Arc<Layout>,
    definitions: Vec<Definition>,
}

impl Results {
    /// Compiles files, or says everything that is wrong with them. The names of tables live as long as the process: a
    /// process compiles its results once.
    pub fn compile(files: &[SqlFile], options: &Options) -> Result<Results, Vec<Diagnostic>> {
        let schema = Schema::cleaned();
        let catalog = compile(files, &schema, options)?;
        Ok(Results {
            layout: Arc::new(Layout::new(&schema, &catalog.plan)),
            definitions: catalog.results.iter().map(Definition::of).collect(),
            catalog,
            schema,
        })
    }

    /// The results that the program brings along.
    pub fn built_in(options: &Options) -> Results {
        let compiled = Results::compile(&built_in(), options);
        compiled.expect("the built-in results are accepted: a test says so")
    }

    /// Their tables, in the order of their numbers: each behind those that it reads.
    pub fn definitions(&self) -> &[Definition] {
        &self.definitions
    }

    /// What they are made of.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The records that they are made of.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// What is kept of records for them.
    pub fn layout(&self) -> Arc<Layout> {
        Arc::clone(&self.layout)
    }

    /// What was accepted and has no effect.
    pub fn notes(&self) -> &[Diagnostic] {
        &self.catalog.notes
    }

    /// All results of a stream of events, as a [`Decoder`](crate::Decoder) with this [`layout`](Results::layout) makes
    /// them. Each row comes with the number of its result.
    pub fn build<'s>(&self, events: Stream<'s, u64, Vec<Event>>) -> VecCollection<'s, u64, (u8, Row), isize> {
        exec::build(events, &self.catalog, &self.layout)
    }

    /// A number that changes whenever a table's shape, a result's meaning or the cleaning does, or which records are
    /// dead letters for their size: equal in every process and build, whatever the files' order and comments.
    pub fn hash(&self, limits: &Limits) -> u64 {
        let (bytes, depth) = (limits.record_bytes, limits.depth.min(Limits::MAX_DEPTH));
        let mut text = format!("cleaning {} limits {bytes} {depth}\n", cleaning::VERSION);
        for table in &CLEANED {
            text.push_str(&format!("{} {}\n", table.name, table.key));
            for column in table.columns {
                text.push_str(&format!("{} {}\n", column.name, column.ty.name()));
            }
        }
        let mut results: Vec<(&str, u64)> = self.definitions.iter().map(|of| (of.table.name, of.hash)).collect();
        results.sort_unstable();
        for (name, hash) in results {
            text.push_str(&format!("{name} {hash:016x}\n"));
        }
        xxh3_64(text.as_bytes())
    }
}

impl Definition {
    fn of(result: &ResultSpec) -> Definition {
        Definition {
            table: *result.table(),
            sql: result.sql.clone(),
            hash: result.hash,
        }
    }
}

impl PartialEq for Results {
    fn eq(&self, other: &Results) -> bool {
        let limits = Limits::default();
        self.hash(&limits) == other.hash(&limits)
    }
}

impl Eq for Results {}

impl fmt::Debug for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.definitions.iter().map(|of| of.table.name);
        f.debug_list().entries(names).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_hash_knows_top_and_limits_and_no_order_and_no_comments() {
        let hash = |top, depth| {
            let limits = Limits {
                depth,
                ..Limits::default()
            };
            Results::built_in(&Options { top }).hash(&limits)
        };
        let hashes: BTreeSet<u64> = (0..10).flat_map(|n| [hash(n, 64), hash(n, 63)]).collect();
        assert_eq!(hashes.len(), 20);
        assert_eq!(hash(3, 64), hash(3, 64));
        let compiled = |files: &[SqlFile]| Results::compile(files, &Options { top: 3 }).expect("accepted");
        let mut files = built_in();
        files.reverse();
        files[0].text.push_str("\n  -- the last one\n");
        let reversed = compiled(&files);
        assert_ne!(
            reversed.definitions()[0].table.name,
            Results::built_in(&Options { top: 3 }).definitions()[0].table.name
        );
        assert_eq!(reversed, Results::built_in(&Options { top: 3 }));
        files.pop();
        assert_ne!(compiled(&files), reversed);
    }
}
