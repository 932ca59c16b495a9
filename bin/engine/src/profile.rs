//! What the operators of this process' workers take: time, from timely's log of when each ran, and memory, from what each
//! says it keeps.

mod graph;
mod seen;

pub use graph::{Graph, GraphNode, Place};
pub(super) use seen::Watched;

use dataflows::Results;
use dataflows::exec::Step;
use seen::{Log, Seen, locked};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The name of what is neither a part of results nor one of [`NAMED`].
const OTHER: &str = "other";
/// Operators beside those of results that are shown by their own names: they read and decode, and gather changes.
const NAMED: [&str; 2] = ["Read", "Collect"];

/// What was built on one worker.
#[derive(Debug)]
struct Built {
    worker: usize,
    parts: Vec<Part>,
    log: Arc<Mutex<Log>>,
}

/// A part of the dataflow: an operator on one worker, with what writes down its rows.
#[derive(Debug)]
struct Part {
    step: Step,
    /// The results that are made of it.
    results: Vec<usize>,
}

/// What results or operators take on this process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Taken {
    /// How long operators ran.
    pub busy: Duration,
    /// What they keep.
    pub bytes: usize,
}

/// What an operator takes on one worker.
#[derive(Clone, Debug, PartialEq)]
pub struct OperatorTaken {
    /// Its name: the result that it is made for, and what it is, as in `posts: latest`; `Read` decodes, `Collect` gathers
    /// changes, and `other` is all the rest of the dataflow.
    pub name: String,
    /// The index of the worker, counted over all processes.
    pub worker: usize,
    /// What it takes. The state of `Read`, `Collect` and `other` is not known, and given as 0.
    pub taken: Taken,
}

/// See the module's head. Shared by the workers, who fill it, and by those who ask.
#[derive(Debug, Default)]
pub struct Profile {
    results: Mutex<Vec<String>>,
    built: Mutex<Vec<Built>>,
}

impl Profile {
    /// What a worker's dataflow was built of.
    pub(super) fn built(&self, results: &Results, steps: Vec<Step>, watched: &Watched) {
        let names = results.definitions().iter().map(|of| of.table.name.to_owned());
        *locked(&self.results) = names.collect();
        let part = |step: Step| Part {
            results: results.made_of(&step),
            step,
        };
        locked(&self.built).push(Built {
            worker: watched.worker,
            parts: steps.into_iter().map(part).collect(),
            log: Arc::clone(&watched.log),
        });
    }

    /// What each result takes, by name. What several are made of counts for each in equal parts, so that all together
    /// are what the process takes for results.
    pub fn results(&self) -> Vec<(String, Taken)> {
        let names = locked(&self.results).clone();
        let mut taken: Vec<(String, Taken)> = names.into_iter().map(|name| (name, Taken::default())).collect();
        for built in locked(&self.built).iter() {
            let log = locked(&built.log);
            for part in &built.parts {
                let Taken { busy, bytes } = part.taken(&log.operators);
                let shares = part.results.len().max(1);
                for result in &part.results {
                    let (_, taken) = &mut taken[*result];
                    taken.busy += busy / shares as u32;
                    taken.bytes += bytes / shares;
                }
            }
        }
        taken
    }

    /// What each operator takes on each worker of this process: those of results, and `Read`, `Collect` and `other`, which
    /// together are how long the worker ran its dataflow. Ordered by worker and name; a name comes once a worker.
    pub fn operators(&self) -> Vec<OperatorTaken> {
        let mut all = Vec::new();
        for built in locked(&self.built).iter() {
            let worker = built.worker;
            let by_name = built.by_name();
            all.extend(
                by_name
                    .into_iter()
                    .map(|(name, taken)| OperatorTaken { name, worker, taken }),
            );
        }
        all.sort_by(|a, b| (a.worker, &a.name).cmp(&(b.worker, &b.name)));
        all
    }

    /// The dataflow as a graph: what its operators take and how many records passed between them, in all workers of this
    /// process together. Empty before the dataflow is built.
    pub fn graph(&self) -> Graph {
        let names = locked(&self.results).clone();
        let mut graph = Graph::default();
        for built in locked(&self.built).iter() {
            let log = locked(&built.log);
            let step = |part: &Part| {
                let Taken { busy, bytes } = part.taken(&log.operators);
                graph::Step {
                    name: part.name(&log.operators).to_owned(),
                    results: part.results.iter().map(|result| names[*result].clone()).collect(),
                    busy,
                    bytes,
                    made_of: part.step.made_of.clone(),
                }
            };
            graph.add(&log, built.parts.iter().map(step).collect(), &names);
        }
        graph
    }
}

impl Built {
    fn by_name(&self) -> BTreeMap<String, Taken> {
        let operators = &locked(&self.log).operators;
        let mut by_name: BTreeMap<String, Taken> = BTreeMap::new();
        let mut add = |name: &str, taken: Taken| {
            let sum = by_name.entry(name.to_owned()).or_default();
            sum.busy += taken.busy;
            sum.bytes += taken.bytes;
            taken.busy
        };
        let mut named = Duration::ZERO;
        for part in &self.parts {
            named += add(part.name(operators), part.taken(operators));
        }
        for seen in operators.values().filter(|seen| NAMED.contains(&seen.name.as_str())) {
            let busy = seen.busy;
            named += add(&seen.name, Taken { busy, bytes: 0 });
        }
        // the time of a dataflow contains that of its operators
        let all: Duration = operators
            .values()
            .filter(|seen| seen.depth == 1)
            .map(|seen| seen.busy)
            .sum();
        let busy = all.saturating_sub(named);
        add(OTHER, Taken { busy, bytes: 0 });
        by_name
    }
}

impl Part {
    /// The name that its operator was made with, among those of what it is made of: the result that it is made for, and
    /// what it is.
    fn name<'a>(&'a self, operators: &'a BTreeMap<usize, Seen>) -> &'a str {
        let own = || {
            operators
                .range(self.step.made_of.clone())
                .map(|(_, seen)| seen.name.as_str())
        };
        let end = format!(": {}", self.step.operator);
        let exact = own().find(|name| name.ends_with(&end));
        // of several workers each makes a part first
        let made = exact.or_else(|| own().find(|name| name.contains(&end)));
        made.unwrap_or(self.step.operator)
    }

    fn taken(&self, operators: &BTreeMap<usize, Seen>) -> Taken {
        let own = || operators.range(self.step.made_of.clone()).map(|(_, seen)| seen);
        let entries: Vec<usize> = own().flat_map(|seen| seen.held).flatten().collect();
        Taken {
            busy: own().map(|seen| seen.busy).sum(),
            bytes: self.step.bytes(&entries),
        }
    }
}
