//! Files to results: their order, their tables, the text that PostgreSQL runs, and their hashes.

use super::ast::{File, Query, RelationKind};
use super::bind::{Bound, bind};
use super::canonical::canonical;
use super::diagnostic::{Diagnostic, Fault, Position};
use super::parse::{STACK, parse};
use super::plan::{NodeId, Plan};
use super::print::{Form, Printer};
use super::result_spec::{ColumnSpec, ResultSpec};
use super::schema::Schema;
use super::why::{Chain, Why, chain};
use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use xxhash_rust::xxh3::xxh3_64;

/// The most results of one run.
pub const MOST_RESULTS: usize = 200;

/// The longest name of a result in bytes: names of tables derived from it still fit into PostgreSQL's 63.
const LONGEST_NAME: usize = 56;

/// The longest text that a result may be, once the results that it reads are written out, in bytes.
const LONGEST_SQL: usize = 1 << 20;

/// How deep queries nest once the results that they read are written out: PostgreSQL's parser has one stack.
const MOST_LEVELS: usize = 200;

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

/// A file that defines a result. The result's name is the file's, without folders and `.sql`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlFile {
    /// Its path, as messages show it.
    pub path: String,
    /// What stands in it.
    pub text: String,
}

impl SqlFile {
    /// The result's name.
    pub fn name(&self) -> &str {
        let last = self.path.rsplit('/').next().unwrap_or_default();
        last.strip_suffix(".sql").unwrap_or(last)
    }
}

/// All results of a run.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// What the results are made of, each part once.
    pub plan: Plan,
    /// The results: each behind those that it reads, else in the order of their files.
    pub results: Vec<ResultSpec>,
    /// What was accepted and has no effect.
    pub notes: Vec<Diagnostic>,
    /// The queries that each result is made of.
    chains: BTreeMap<String, Chain>,
    /// What `{top}` stands for.
    top: u64,
    /// The column that joins the cleaned tables.
    key: String,
}

impl Catalog {
    /// Why rows of one of the results are what they are, by its number in `results`; `None` for no result's.
    pub fn why(&self, result: usize) -> Option<Why<'_>> {
        let spec = self.results.get(result)?;
        Some(Why::new(spec, self.chains.get(&spec.name)?, self.top, &self.key))
    }
}

/// Compiles the files of a run, or says everything that is wrong with them, file by file.
pub fn compile(files: &[SqlFile], schema: &Schema, options: &Options) -> Result<Catalog, Vec<Diagnostic>> {
    // long chains of operators nest deeply in the trees of sqlparser
    thread::scope(|scope| {
        let compiled = thread::Builder::new()
            .name("compile".to_owned())
            .stack_size(STACK)
            .spawn_scoped(scope, || Compiler::new(schema, options).compile(files))
            .expect("the system starts a thread");
        compiled.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

struct Compiler<'a> {
    schema: &'a Schema,
    top: u64,
    faults: Vec<Diagnostic>,
}

/// A file that was parsed.
struct Parsed<'a> {
    path: &'a str,
    name: &'a str,
    file: File,
    /// The results that it names, with each place.
    reads: Vec<(String, Position)>,
}

impl<'a> Compiler<'a> {
    fn new(schema: &'a Schema, options: &Options) -> Compiler<'a> {
        Compiler {
            schema,
            // a table has fewer rows than a bigint counts
            top: (options.top as u64).min(i64::MAX as u64),
            faults: Vec::new(),
        }
    }

    fn compile(mut self, files: &[SqlFile]) -> Result<Catalog, Vec<Diagnostic>> {
        if files.len() > MOST_RESULTS {
            let message = format!("{} results, and at most {MOST_RESULTS} run together", files.len());
            self.fault(&files[MOST_RESULTS].path, Fault::new(START, message));
            return Err(self.faults);
        }
        let names = self.names(files);
        let mut parsed = Vec::with_capacity(files.len());
        for (file, name) in files.iter().zip(names) {
            let Some(name) = name else { continue };
            match parse(name, &file.text, &self.schema.key) {
                Ok(tree) => parsed.push(Parsed {
                    path: &file.path,
                    name,
                    reads: Vec::new(),
                    file: tree,
                }),
                Err(faults) => faults.into_iter().for_each(|fault| self.fault(&file.path, fault)),
            }
        }
        let known: BTreeSet<&str> = parsed.iter().map(|parsed| parsed.name).collect();
        let reads: Vec<_> = parsed.iter().map(|parsed| reads(&parsed.file.query, &known)).collect();
        parsed
            .iter_mut()
            .zip(reads)
            .for_each(|(parsed, reads)| parsed.reads = reads);
        let catalog = self.bind(parsed);
        if self.faults.is_empty() {
            return Ok(catalog);
        }
        let order: BTreeMap<&str, usize> = files.iter().enumerate().map(|(at, file)| (&*file.path, at)).collect();
        self.faults
            .sort_by_key(|fault| (order.get(&*fault.file).copied(), fault.position));
        Err(self.faults)
    }

    fn fault(&mut self, path: &str, fault: Fault) {
        self.faults.push(fault.of(path));
    }

    /// The names of the results, `None` where one cannot be.
    fn names<'f>(&mut self, files: &'f [SqlFile]) -> Vec<Option<&'f str>> {
        let mut taken = BTreeSet::new();
        let mut names = Vec::with_capacity(files.len());
        for file in files {
            let name = file.name();
            let plain =
                |at: usize, byte: u8| byte == b'_' || byte.is_ascii_lowercase() || (at > 0 && byte.is_ascii_digit());
            let well = !name.is_empty()
                && name.len() <= LONGEST_NAME
                && name.bytes().enumerate().all(|(at, byte)| plain(at, byte));
            let fault = if !well {
                let message = format!("the file name `{name}` is not a valid table name");
                let hint = format!("a to z, 0 to 9 and _, at most {LONGEST_NAME} of them, no digit first");
                Some(Fault::new(START, message).hint(hint))
            } else if self.schema.kind(name).is_some() {
                Some(Fault::new(START, format!("{name} is the name of a cleaned table")))
            } else if !taken.insert(name) {
                Some(Fault::new(START, format!("two files define {name}")))
            } else {
                None
            };
            names.push(fault.is_none().then_some(name));
            if let Some(fault) = fault {
                self.fault(&file.path, fault);
            }
        }
        names
    }

    /// Binds each result behind those that it reads.
    fn bind(&mut self, parsed: Vec<Parsed>) -> Catalog {
        let mut catalog = Catalog {
            plan: Plan::default(),
            results: Vec::new(),
            notes: Vec::new(),
            chains: BTreeMap::new(),
            top: self.top,
            key: self.schema.key.clone(),
        };
        let mut bound: BTreeMap<String, Bound> = BTreeMap::new();
        let mut printed: BTreeMap<String, String> = BTreeMap::new();
        let mut refused: BTreeSet<String> = BTreeSet::new();
        let mut levels: BTreeMap<String, usize> = BTreeMap::new();
        let mut waiting = parsed;
        while !waiting.is_empty() {
            let done = |name: &String| bound.contains_key(name) || refused.contains(name);
            let Some(next) = waiting
                .iter()
                .position(|parsed| parsed.reads.iter().all(|(name, _)| done(name)))
            else {
                self.cycles(&waiting);
                break;
            };
            let parsed = waiting.remove(next);
            // what reads a refused result is not looked at: its columns are not known
            let reads_refused = parsed.reads.iter().any(|(name, _)| refused.contains(name));
            let spec = if reads_refused || self.too_deep(&parsed, &mut levels) {
                None
            } else {
                self.one(&parsed, &mut bound, &mut printed, &mut catalog)
            };
            match spec {
                Some(spec) => catalog.results.push(spec),
                None => drop(refused.insert(parsed.name.to_owned())),
            }
        }
        catalog
    }

    /// Whether the query has too many levels once the results that it reads are written out; records their count in
    /// `levels`.
    fn too_deep(&mut self, parsed: &Parsed, levels: &mut BTreeMap<String, usize>) -> bool {
        let count = query_levels(&parsed.file.query, levels);
        if count > MOST_LEVELS {
            let message = format!(
                "queries nest deeper than {MOST_LEVELS}, with the results that this one reads and the queries of WITH \
                 written out"
            );
            let fault = Fault::new(parsed.file.query.position, message);
            self.fault(
                parsed.path,
                fault.hint("fewer queries between the tables and this result"),
            );
        }
        levels.insert(parsed.name.to_owned(), count);
        count > MOST_LEVELS
    }

    fn one(
        &mut self,
        parsed: &Parsed,
        bound: &mut BTreeMap<String, Bound>,
        printed: &mut BTreeMap<String, String>,
        catalog: &mut Catalog,
    ) -> Option<ResultSpec> {
        let query = &parsed.file.query;
        let length: usize = parsed.reads.iter().map(|(name, _)| printed[name].len()).sum();
        if length > LONGEST_SQL {
            let message =
                format!("the results that it reads, written out, have {length} bytes, more than {LONGEST_SQL}");
            self.fault(parsed.path, Fault::new(START, message));
            return None;
        }
        let (result, notes) = match bind(query, self.schema, bound, self.top, &mut catalog.plan) {
            Ok(result) => result,
            Err(faults) => {
                faults.into_iter().for_each(|fault| self.fault(parsed.path, fault));
                return None;
            }
        };
        let notes = notes.into_iter().map(|note| note.of(parsed.path));
        catalog.notes.extend(notes);
        let printer = Printer {
            form: Form::Run { top: self.top },
            results: printed,
        };
        let sql = printer.print(query);
        let columns: Vec<_> = result
            .columns
            .iter()
            .map(|column| ColumnSpec {
                name: column.name.clone(),
                ty: column.ty,
                nullable: column.facts.nullable,
                comment: column.comment.clone().unwrap_or_default(),
            })
            .collect();
        let mut reads: Vec<_> = parsed.reads.iter().map(|(name, _)| name.clone()).collect();
        reads.sort_unstable();
        reads.dedup();
        let spec = ResultSpec {
            name: parsed.name.to_owned(),
            comment: parsed.file.comment.clone(),
            key: result.key,
            hash: self.hash(parsed.name, result.key, &columns, &catalog.plan, result.node),
            columns,
            sql: sql.clone(),
            node: result.node,
            reads,
        };
        let blocks = chain(query, self.schema, &catalog.chains);
        catalog.chains.insert(parsed.name.to_owned(), blocks);
        printed.insert(parsed.name.to_owned(), sql);
        bound.insert(parsed.name.to_owned(), result);
        Some(spec)
    }

    /// `{top}` is in the plan where it has a meaning.
    fn hash(&self, name: &str, key: usize, columns: &[ColumnSpec], plan: &Plan, node: NodeId) -> u64 {
        let mut text = format!("{name} {key}\n");
        for column in columns {
            text.push_str(&format!("{} {} {}\n", column.name, column.ty, column.nullable));
        }
        text.push_str(&canonical(plan, self.schema, node));
        xxh3_64(text.as_bytes())
    }

    /// Results that wait for each other.
    fn cycles(&mut self, waiting: &[Parsed]) {
        for parsed in waiting {
            let names: Vec<_> = waiting.iter().map(|parsed| parsed.name).collect();
            let way = way_back(parsed.name, waiting);
            let Some(way) = way else { continue };
            let position = parsed.reads.iter().find(|(name, _)| name == way[1]).map(|(_, at)| *at);
            let message = format!("{} reads itself: {}", parsed.name, way.join(" reads "));
            debug_assert!(way.iter().all(|name| names.contains(name)));
            self.fault(parsed.path, Fault::new(position.unwrap_or(START), message));
        }
    }
}

const START: Position = Position { line: 1, column: 1 };

/// The shortest way from a result over what it reads to itself.
fn way_back<'p>(name: &'p str, waiting: &'p [Parsed]) -> Option<Vec<&'p str>> {
    let mut ways = vec![vec![name]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            let last = way.last()?;
            let reads = waiting
                .iter()
                .filter(|parsed| parsed.name == *last)
                .flat_map(|parsed| &parsed.reads);
            for (next, _) in reads {
                if next == name {
                    return Some(way.into_iter().chain([name]).collect());
                }
                if seen.insert(next.as_str()) {
                    longer.push(way.iter().copied().chain([next.as_str()]).collect());
                }
            }
        }
        ways = longer;
    }
    None
}

/// How many queries stand in each other, with those that are named written out.
fn query_levels(query: &Query, named: &BTreeMap<String, usize>) -> usize {
    let mut with = None;
    for (name, inner) in &query.with {
        let known = with.get_or_insert_with(|| named.clone());
        known.insert(name.text.clone(), query_levels(inner, known));
    }
    let named = with.as_ref().unwrap_or(named);
    1 + match &query.from.what {
        RelationKind::Named(name) => named.get(&name.text).copied().unwrap_or(0),
        RelationKind::Query(inner) => query_levels(inner, named),
    }
}

/// The results that a query names.
fn reads(query: &Query, known: &BTreeSet<&str>) -> Vec<(String, Position)> {
    let mut found = Vec::new();
    let mut todo = vec![query];
    while let Some(query) = todo.pop() {
        todo.extend(query.with.iter().map(|(_, query)| query));
        for relation in [&query.from]
            .into_iter()
            .chain(query.joins.iter().map(|join| &join.relation))
        {
            match &relation.what {
                RelationKind::Named(name) if known.contains(name.text.as_str()) => {
                    found.push((name.text.clone(), name.position));
                }
                RelationKind::Named(_) => {}
                RelationKind::Query(query) => todo.push(query),
            }
        }
    }
    found
}
