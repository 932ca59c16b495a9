//! The dataflow as a graph: the body of `GET /api/dataflow`.
//!
//! From left to right: where records come from, a node for each topic and source; `Read`, which decodes them; the operators
//! of results; the results; `Collect`, which gathers their changes; and the commit. Times and bytes are of this process'
//! workers. Rates count records and changes as they were passed on: a row that went and one that came are two.

use super::rounded::rounded;
use super::sampled::Sampled;
use engine::{Graph, GraphNode, Place, Source};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// The body of `GET /api/dataflow`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataflowBody {
    /// How many workers of this process are in it.
    pub workers: usize,
    /// How many seconds shares and rates are of: 10, and fewer in the beginning.
    pub window_seconds: f64,
    /// The nodes, inputs first.
    pub operators: Vec<DataflowOperator>,
    /// What passes between them.
    pub edges: Vec<DataflowEdge>,
}

/// What a node of the graph is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    /// A topic in the lake, or in Kafka.
    Source,
    /// It reads and decodes.
    Read,
    /// An operator of results.
    Operator,
    /// A result.
    Result,
    /// It gathers the changes of all results.
    Collect,
    /// The commit to PostgreSQL.
    Commit,
}

/// A node of the graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataflowOperator {
    /// The same as long as the run lasts.
    pub id: String,
    /// What it is for people; operators are named as in `/api/status`.
    pub name: String,
    /// What it is.
    pub kind: NodeKind,
    /// How many edges the longest way from a source to it has.
    pub stage: usize,
    /// The results that are made of it; none where it is for all of them.
    pub results: Vec<String>,
    /// How many workers it keeps busy: the share of the time that it ran, added up over the workers; of the commit, the
    /// share of the time in which one was under way.
    pub busy: f64,
    /// Its state, where that is known, else 0.
    pub bytes: usize,
}

/// An edge of the graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataflowEdge {
    /// The node that passes records on.
    pub from: String,
    /// The node that takes them.
    pub to: String,
    /// How many.
    pub records_per_second: f64,
}

/// A sum that only grows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sum {
    Read(Source, String),
    Busy(Place),
    Passed(Place, Place),
    Written,
}

/// What the graph is made of beside the engine's.
#[derive(Debug)]
pub(super) struct Dataflow {
    /// Records that were read, by source and topic.
    read: BTreeMap<Source, BTreeMap<String, u64>>,
    /// Rows of results that commits took out or put in.
    written: u64,
    samples: Sampled<Sum>,
}

impl Dataflow {
    pub(super) fn new() -> Dataflow {
        Dataflow {
            read: BTreeMap::new(),
            written: 0,
            samples: Sampled::new(),
        }
    }

    /// So many records of a topic were read; with 0 of them it is known that there may be some.
    pub(super) fn read(&mut self, topic: &str, from: Source, records: u64) {
        let topics = self.read.entry(from).or_default();
        match topics.get_mut(topic) {
            Some(sum) => *sum += records,
            None => drop(topics.insert(topic.to_owned(), records)),
        }
    }

    /// A commit took out or put in so many rows of results.
    pub(super) fn written(&mut self, rows: u64) {
        self.written += rows;
    }

    /// Whether another sample is to be taken.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.samples.is_due(now)
    }

    /// Takes a sample.
    pub(super) fn sample(&mut self, graph: &Graph, now: Instant) {
        self.samples.take(self.sums(graph), now);
    }

    fn sources(&self) -> impl Iterator<Item = (Source, &String, u64)> {
        self.read
            .iter()
            .flat_map(|(source, topics)| topics.iter().map(|(topic, records)| (*source, topic, *records)))
    }

    fn sums(&self, graph: &Graph) -> BTreeMap<Sum, f64> {
        let read = self
            .sources()
            .map(|(source, topic, records)| (Sum::Read(source, topic.clone()), records as f64));
        let busy = graph
            .nodes
            .iter()
            .map(|(place, node)| (Sum::Busy(*place), node.busy.as_secs_f64()));
        let passed = graph
            .edges
            .iter()
            .map(|((from, to), records)| (Sum::Passed(*from, *to), *records as f64));
        let written = [(Sum::Written, self.written as f64)];
        read.chain(busy).chain(passed).chain(written).collect()
    }

    /// The body, with the share of the time in which a commit was under way.
    pub(super) fn body(&self, graph: &Graph, commit_share: f64, now: Instant) -> DataflowBody {
        let rates = self.samples.rates(self.sums(graph), now);
        let rate = |sum: &Sum| rates.get(sum).copied().unwrap_or(0.0);
        let id = |place: &Place| id_of(*place, &graph.nodes);
        let mut operators = Vec::new();
        let mut edges = Vec::new();
        let mut pass = |from: String, to: String, sum: &Sum| {
            edges.push(DataflowEdge {
                from,
                to,
                records_per_second: rounded(rate(sum), 1),
            });
        };
        for (source, topic, _) in self.sources() {
            let (id_of_source, name) = match source {
                Source::Lake => (format!("lake/{topic}"), format!("{topic} (lake)")),
                Source::Kafka => (format!("kafka/{topic}"), format!("{topic} (Kafka)")),
            };
            operators.push(node(id_of_source.clone(), name, NodeKind::Source));
            if graph.nodes.contains_key(&Place::Read) {
                pass(id_of_source, id(&Place::Read), &Sum::Read(source, topic.clone()));
            }
        }
        for (place, of) in &graph.nodes {
            operators.push(DataflowOperator {
                results: of.results.clone(),
                busy: rounded(rate(&Sum::Busy(*place)), 4),
                bytes: of.bytes,
                ..node(id(place), of.name.clone(), kind(*place))
            });
        }
        for (from, to) in graph.edges.keys() {
            pass(id(from), id(to), &Sum::Passed(*from, *to));
        }
        if graph.nodes.contains_key(&Place::Collect) {
            pass(id(&Place::Collect), COMMIT.to_owned(), &Sum::Written);
        }
        operators.push(DataflowOperator {
            busy: rounded(commit_share, 4),
            ..node(COMMIT.to_owned(), "PostgreSQL".to_owned(), NodeKind::Commit)
        });
        stage(&mut operators, &edges);
        DataflowBody {
            workers: graph.workers,
            window_seconds: rounded(self.samples.seconds(now), 3),
            operators,
            edges,
        }
    }
}

/// The id of the commit.
const COMMIT: &str = "commit";

fn node(id: String, name: String, kind: NodeKind) -> DataflowOperator {
    DataflowOperator {
        id,
        name,
        kind,
        stage: 0,
        results: Vec::new(),
        busy: 0.0,
        bytes: 0,
    }
}

fn kind(place: Place) -> NodeKind {
    match place {
        Place::Read => NodeKind::Read,
        Place::Step(_) => NodeKind::Operator,
        Place::Result(_) => NodeKind::Result,
        Place::Collect => NodeKind::Collect,
    }
}

fn id_of(place: Place, nodes: &BTreeMap<Place, GraphNode>) -> String {
    match place {
        Place::Read => "read".to_owned(),
        Place::Step(number) => format!("operator/{number}"),
        Place::Result(_) => format!("result/{}", nodes.get(&place).map_or("", |node| &node.name)),
        Place::Collect => "collect".to_owned(),
    }
}

/// Says of each node how many edges the longest way to it has. A dataflow has no circles; if it had one, its nodes would
/// be as far away as there are nodes.
fn stage(operators: &mut [DataflowOperator], edges: &[DataflowEdge]) {
    let places: BTreeMap<String, usize> = (0..).zip(operators.iter()).map(|(n, of)| (of.id.clone(), n)).collect();
    let ends = edges
        .iter()
        .filter_map(|edge| Some((*places.get(&edge.from)?, *places.get(&edge.to)?)));
    let ends: BTreeSet<(usize, usize)> = ends.collect();
    for _ in 0..operators.len() {
        let mut moved = false;
        for (from, to) in &ends {
            let least = operators[*from].stage + 1;
            if operators[*to].stage < least {
                operators[*to].stage = least;
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A graph in which so many records have passed, and everything ran for so many seconds.
    fn graph(records: u64, seconds: u64) -> Graph {
        let node = |name: &str, results: &[&str]| GraphNode {
            name: name.to_owned(),
            results: results.iter().map(|name| (*name).to_owned()).collect(),
            busy: Duration::from_secs(seconds),
            bytes: 70,
        };
        let [read, step, rank, result, collect] = [
            Place::Read,
            Place::Step(0),
            Place::Step(1),
            Place::Result(0),
            Place::Collect,
        ];
        Graph {
            workers: 2,
            nodes: BTreeMap::from([
                (read, node("Read", &[])),
                (step, node("posts: latest", &["a"])),
                (rank, node("a: rank", &["a"])),
                (result, node("a", &["a"])),
                (collect, node("Collect", &[])),
            ]),
            edges: BTreeMap::from([
                ((read, step), records),
                ((step, rank), 2 * records),
                ((rank, result), records / 10),
                ((result, collect), records / 10),
            ]),
        }
    }

    #[test]
    fn rates_are_those_of_the_window_and_stages_those_of_the_longest_way() {
        let began = Instant::now();
        let mut dataflow = Dataflow::new();
        dataflow.read("pin", Source::Kafka, 0);
        dataflow.read("pin", Source::Lake, 500);
        dataflow.sample(&graph(1_000, 1), began);
        dataflow.read("pin", Source::Lake, 200);
        dataflow.written(30);
        let body = dataflow.body(&graph(1_500, 3), 0.25, began + Duration::from_secs(4));
        assert_eq!((body.workers, body.window_seconds), (2, 4.0));
        let nodes: Vec<_> = body
            .operators
            .iter()
            .map(|of| (of.id.as_str(), of.name.as_str(), of.stage, of.busy, of.bytes))
            .collect();
        let expected = [
            ("lake/pin", "pin (lake)", 0, 0.0, 0),
            ("kafka/pin", "pin (Kafka)", 0, 0.0, 0),
            ("read", "Read", 1, 0.5, 70),
            ("operator/0", "posts: latest", 2, 0.5, 70),
            ("operator/1", "a: rank", 3, 0.5, 70),
            ("result/a", "a", 4, 0.5, 70),
            ("collect", "Collect", 5, 0.5, 70),
            ("commit", "PostgreSQL", 6, 0.25, 0),
        ];
        assert_eq!(nodes, expected);
        let edges: BTreeMap<_, _> = body
            .edges
            .iter()
            .map(|of| ((of.from.as_str(), of.to.as_str()), of.records_per_second))
            .collect();
        let expected = [
            (("lake/pin", "read"), 50.0),
            (("kafka/pin", "read"), 0.0),
            (("read", "operator/0"), 125.0),
            (("operator/0", "operator/1"), 250.0),
            (("operator/1", "result/a"), 12.5),
            (("result/a", "collect"), 12.5),
            (("collect", "commit"), 7.5),
        ];
        assert_eq!(edges, expected.into());
    }

    #[test]
    fn before_the_dataflow_is_built_there_is_the_commit_alone() {
        let body = Dataflow::new().body(&Graph::default(), 0.0, Instant::now());
        assert_eq!((body.workers, body.window_seconds), (0, 0.0));
        assert_eq!((body.operators.len(), body.edges.len()), (1, 0));
    }

    #[test]
    fn a_circle_ends() {
        let edge = |from: &str, to: &str| DataflowEdge {
            from: from.to_owned(),
            to: to.to_owned(),
            records_per_second: 0.0,
        };
        let of = |id: &str| node(id.to_owned(), String::new(), NodeKind::Operator);
        let mut operators = [of("a"), of("b")];
        stage(&mut operators, &[edge("a", "b"), edge("b", "a")]);
        assert!(operators.iter().all(|of| of.stage >= 2));
    }
}
