//! The results of a run: SQL files, compiled, with what is kept of records for them and their tables.

use crate::exec::{self, Event, Layout, Step};
use crate::sql::{Catalog, Diagnostic, Options, Position, ResultSpec, Schema, SqlFile, Why, built_in, compile};
use crate::{CLEANED, Decoder, Limits, cleaning};
use differential_dataflow::VecCollection;
use operators::{Routing, Row, Table};
use std::fmt;
use std::sync::{Arc, LazyLock};
use timely::dataflow::Stream;
use xxhash_rust::xxh3::xxh3_64;

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
    /// The term of how rows and payloads are numbered and packed.
    pub const THE_PLAN: &str = "the plan";

    /// Compiles files, or says everything that is wrong with them. The names of tables live as long as the process: a
    /// process compiles its results once.
    pub fn compile(files: &[SqlFile], options: &Options) -> Result<Results, Vec<Diagnostic>> {
        let schema = Schema::cleaned();
        // whatever order a folder or a list has: rows carry the number of their result between processes
        let mut files = files.to_vec();
        files.sort_by(|a, b| a.name().cmp(b.name()).then_with(|| a.path.cmp(&b.path)));
        let catalog = compile(&files, &schema, options)?;
        let Some(layout) = Layout::new(&schema, &catalog.plan) else {
            return Err(vec![too_wide(&files)]);
        };
        Ok(Results {
            layout: Arc::new(layout),
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

    /// Their tables, in the order of their numbers: by name, and each behind those that it reads.
    pub fn definitions(&self) -> &[Definition] {
        &self.definitions
    }

    /// What they are made of.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The queries that say why rows of a result are what they are, by the result's number among
    /// [`definitions`](Results::definitions); `None` for no result's.
    pub fn why(&self, result: usize) -> Option<Why<'_>> {
        self.catalog.why(result)
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

    /// All results of a stream of events, as a [`Decoder`] with this [`layout`](Results::layout) makes them. Each row
    /// comes with the number of its result. With them the operators that are made, inputs first. `routing` is
    /// [`Routing::OneProcess`] only where all workers live in this process.
    pub fn build<'s>(
        &self,
        events: Stream<'s, u64, Vec<Event>>,
        routing: Routing,
    ) -> (VecCollection<'s, u64, (u8, Row), isize>, Vec<Step>) {
        exec::build(events, &self.catalog, &self.layout, routing)
    }

    /// What two processes of one run must have in common, by name: each result with its table and text, and under names
    /// that no result has how rows and payloads are numbered and packed, and how records are cleaned.
    pub fn terms(&self, limits: &Limits) -> Vec<(String, u64)> {
        let mut terms = Vec::with_capacity(self.definitions.len() + 4);
        for of in &self.definitions {
            let text = format!("{:?}\n{}\n{:016x}", of.table, of.sql, of.hash);
            terms.push((of.table.name.to_owned(), xxh3_64(text.as_bytes())));
        }
        let order: Vec<(&str, _)> = self.catalog.results.iter().map(|of| (&*of.name, of.node)).collect();
        let (exprs, nodes) = (self.catalog.plan.exprs(), self.catalog.plan.nodes());
        let plan = format!("{order:?}\n{exprs:?}\n{nodes:?}\n{}", self.layout.described());
        terms.push((Self::THE_PLAN.to_owned(), xxh3_64(plan.as_bytes())));
        terms.push(("the cleaning".to_owned(), cleaning::VERSION.into()));
        terms.push(("limits.record_bytes".to_owned(), limits.record_bytes as u64));
        terms.push(("limits.depth".to_owned(), limits.depth as u64));
        terms
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

/// What is kept of records for the built-in results: the same whatever the options are, which say only which rows of
/// ranked tables stay.
fn built_in_layout() -> Arc<Layout> {
    static LAYOUT: LazyLock<Arc<Layout>> = LazyLock::new(|| Results::built_in(&Options::default()).layout());
    Arc::clone(&LAYOUT)
}

/// Decoders for the built-in results.
impl Decoder {
    /// A decoder with these limits for the built-in results; a depth above [`Limits::MAX_DEPTH`] counts as that.
    pub fn new(limits: Limits) -> Decoder {
        Decoder::with_layout(limits, built_in_layout())
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder::new(Limits::default())
    }
}

/// The results together keep more of a record than a row can hold.
fn too_wide(files: &[SqlFile]) -> Diagnostic {
    Diagnostic {
        file: files.last().map(|file| file.path.clone()).unwrap_or_default(),
        position: Position { line: 1, column: 1 },
        message: "the results together ask for more of a record than is kept: 65,535 bits of numbers and as many texts"
            .to_owned(),
        hint: Some("fewer different expressions over title, description and other wide text".to_owned()),
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
        assert_eq!(reversed, Results::built_in(&Options { top: 3 }));
        files.pop();
        assert_ne!(compiled(&files), reversed);
    }

    fn file(name: &str, query: &str) -> SqlFile {
        SqlFile {
            path: format!("{name}.sql"),
            text: format!("-- {name}: a result\n{query}"),
        }
    }

    #[test]
    fn processes_that_number_or_pack_rows_otherwise_have_other_terms() {
        const COUNTED: &str = "SELECT country, count(*) AS n FROM geo_table WHERE country IS NOT NULL GROUP BY country";
        let terms = |files: &[SqlFile]| {
            let compiled = Results::compile(files, &Options::default()).expect("accepted");
            compiled.terms(&Limits::default())
        };
        let b = file("b", COUNTED);
        let reads = [file("a", "SELECT country, n FROM b WHERE n > 1"), b.clone()];
        let written_out = format!("SELECT country, n FROM ({COUNTED}) AS b WHERE n > 1");
        let written_out = [file("a", &written_out), b.clone()];
        let equal = |a: &[SqlFile], b: &[SqlFile]| terms(a) == terms(b);
        // the same meanings in another order of results, or with columns that nothing asks for
        assert!(!equal(&reads, &written_out));
        let unused = format!(
            "WITH w AS (SELECT category, count(*) AS n FROM pin_table WHERE category IS NOT NULL GROUP BY category) {COUNTED}"
        );
        assert!(!equal(std::slice::from_ref(&b), &[file("b", &unused)]));
        // the order of files is none of results
        let mut reversed = built_in();
        reversed.reverse();
        assert!(equal(&built_in(), &reversed));
        let shorter = Limits {
            depth: 9,
            ..Limits::default()
        };
        let results = Results::compile(&reads, &Options::default()).expect("accepted");
        assert_ne!(results.terms(&shorter), results.terms(&Limits::default()));
    }

    #[test]
    fn more_of_a_record_than_is_kept_is_an_error_and_no_panic() {
        let query = |of: usize| {
            let items = (0..32).map(|n| format!("sum(length(title)::numeric + {}) AS s{n}", 32 * of + n));
            let items: Vec<String> = items.collect();
            format!(
                "SELECT category, {} FROM pin_table WHERE category IS NOT NULL GROUP BY category",
                items.join(", ")
            )
        };
        let files: Vec<SqlFile> = (0..15).map(|n| file(&format!("r{n}"), &query(n))).collect();
        let compiled = Results::compile(&files, &Options::default());
        let errors = compiled.expect_err("145 bits for each of 480 numerics");
        assert_eq!(errors.len(), 1);
        assert!(
            errors[0].to_string().contains("more of a record than is kept"),
            "{}",
            errors[0]
        );
        assert!(Results::compile(&files[..3], &Options::default()).is_ok());
    }
}
