//! The dataflow as a graph that a person can read: operators of timely that belong together are one node, and the channels
//! between them are edges.
//!
//! Results have nodes of their own, between what they are made of and what gathers them. Timely has none for them: their
//! rows meet in one operator, which takes those of each result from an input of its own.

use super::seen::Log;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

/// What a node of the graph is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// It reads and decodes.
    Read,
    /// An operator of results, by its number, inputs first.
    Step(usize),
    /// A result, by its number.
    Result(usize),
    /// It gathers changes and hands them to the commit.
    Collect,
}

/// A node: what it is, and what it takes in all workers of the process together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GraphNode {
    /// Its name: that of an operator, as in `posts: latest`, or of a result.
    pub name: String,
    /// The results that are made of it; none for reading and gathering, which are for all of them.
    pub results: Vec<String>,
    /// How long it ran.
    pub busy: Duration,
    /// What it keeps, as far as that is known.
    pub bytes: usize,
}

/// See the module's head.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// How many workers of this process are in it.
    pub workers: usize,
    /// The nodes.
    pub nodes: BTreeMap<Place, GraphNode>,
    /// How many records passed from one node to another: rows that came and rows that went alike.
    pub edges: BTreeMap<(Place, Place), u64>,
}

/// An operator of results on one worker.
pub(super) struct Step {
    pub(super) name: String,
    pub(super) results: Vec<String>,
    pub(super) busy: Duration,
    pub(super) bytes: usize,
    /// The numbers of the operators of timely that it is made of.
    pub(super) made_of: Range<usize>,
}

impl Graph {
    /// Adds a worker, whose operators and results have the numbers that those of all others have.
    pub(super) fn add(&mut self, log: &Log, steps: Vec<Step>, results: &[String]) {
        self.workers += 1;
        let places = places(log, &steps);
        for (number, step) in steps.into_iter().enumerate() {
            self.take(Place::Step(number), step.name, step.results, step.busy, step.bytes);
        }
        for (number, name) in results.iter().enumerate() {
            let place = Place::Result(number);
            self.take(place, name.clone(), vec![name.clone()], Duration::ZERO, 0);
        }
        for seen in log.operators.values().filter(|seen| seen.depth == 2) {
            if let Some(place @ (Place::Read | Place::Collect)) = places.get(&seen.index).copied() {
                self.take(place, seen.name.clone(), Vec::new(), seen.busy, 0);
            }
        }
        self.connect(log, &places);
    }

    fn take(&mut self, place: Place, name: String, results: Vec<String>, busy: Duration, bytes: usize) {
        let node = self.nodes.entry(place).or_default();
        (node.name, node.results) = (name, results);
        node.busy += busy;
        node.bytes += bytes;
    }

    fn connect(&mut self, log: &Log, places: &BTreeMap<usize, Place>) {
        let channels = || log.channels.values().filter(|channel| channel.depth == 1);
        // where the rows of all results meet: what gathers them takes them from there
        let meeting = channels().find_map(|channel| {
            let (target, input) = channel.target;
            let gathers = input == 0 && places.get(&target) == Some(&Place::Collect);
            gathers.then_some(channel.source.0)
        });
        for channel in channels() {
            let source = places.get(&channel.source.0).copied();
            let target = match channel.target {
                (target, input) if Some(target) == meeting => {
                    self.pass(Place::Result(input), Place::Collect, channel.records);
                    Some(Place::Result(input))
                }
                (target, _) => places.get(&target).copied(),
            };
            if let (Some(source), Some(target)) = (source, target) {
                self.pass(source, target, channel.records);
            }
        }
    }

    fn pass(&mut self, from: Place, to: Place, records: u64) {
        // what the reader reports to the coordinator are no changes of results
        if from != to && (from, to) != (Place::Read, Place::Collect) {
            *self.edges.entry((from, to)).or_default() += records;
        }
    }
}

/// What the operators of the dataflow's scope belong to, by their numbers in it.
fn places(log: &Log, steps: &[Step]) -> BTreeMap<usize, Place> {
    let place = |id: &usize, name: &str| match name {
        "Read" => Some(Place::Read),
        "Collect" => Some(Place::Collect),
        _ => {
            let step = steps.iter().position(|step| step.made_of.contains(id));
            step.map(Place::Step)
        }
    };
    let operators = log.operators.iter().filter(|(_, seen)| seen.depth == 2);
    operators
        .filter_map(|(id, seen)| Some((seen.index, place(id, &seen.name)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::seen::{Channel, Seen};

    fn seen(index: usize, name: &str) -> Seen {
        Seen {
            name: name.to_owned(),
            depth: 2,
            index,
            busy: Duration::from_millis(index as u64),
            ..Seen::default()
        }
    }

    fn channel(source: (usize, usize), target: (usize, usize), records: u64) -> Channel {
        Channel {
            depth: 1,
            source,
            target,
            records,
        }
    }

    /// Plan, Read, one operator of two of timely's, its two results, and Collect.
    fn log() -> Log {
        let operators = [
            (10, seen(1, "Plan")),
            (11, seen(2, "Read")),
            (12, seen(3, "posts: latest")),
            (13, seen(4, "posts")),
            (14, seen(5, "Concatenate")),
            (15, seen(6, "Collect")),
        ];
        let channels = [
            channel((1, 0), (2, 0), 7),
            channel((2, 0), (3, 0), 100),
            channel((3, 0), (4, 0), 60),
            channel((4, 0), (5, 0), 5),
            channel((4, 1), (5, 1), 8),
            channel((5, 0), (6, 0), 13),
            channel((2, 1), (6, 1), 3),
        ];
        Log {
            operators: operators.into(),
            channels: channels.into_iter().enumerate().collect(),
        }
    }

    fn steps() -> Vec<Step> {
        vec![Step {
            name: "posts: latest".to_owned(),
            results: vec!["a".to_owned(), "b".to_owned()],
            busy: Duration::from_millis(7),
            bytes: 40,
            made_of: 12..14,
        }]
    }

    #[test]
    fn operators_that_belong_together_are_one_node_and_workers_are_added_up() {
        let mut graph = Graph::default();
        let results = ["a".to_owned(), "b".to_owned()];
        graph.add(&log(), steps(), &results);
        graph.add(&log(), steps(), &results);
        let nodes: Vec<_> = graph
            .nodes
            .iter()
            .map(|(place, of)| (*place, of.name.as_str(), of.busy.as_millis(), of.bytes))
            .collect();
        let expected = [
            (Place::Read, "Read", 4, 0),
            (Place::Step(0), "posts: latest", 14, 80),
            (Place::Result(0), "a", 0, 0),
            (Place::Result(1), "b", 0, 0),
            (Place::Collect, "Collect", 12, 0),
        ];
        assert_eq!((graph.workers, nodes.as_slice()), (2, expected.as_slice()));
        let expected = [
            ((Place::Read, Place::Step(0)), 200),
            ((Place::Step(0), Place::Result(0)), 10),
            ((Place::Step(0), Place::Result(1)), 16),
            ((Place::Result(0), Place::Collect), 10),
            ((Place::Result(1), Place::Collect), 16),
        ];
        assert_eq!(graph.edges, expected.into());
    }
}
