//! What a dataflow keeps and what a change costs it: written down by the builder wherever it makes an operator, from the
//! types that it chose.

use crate::sql::Catalog;
use crate::sql::plan::NodeId;
use operators::{Footprint, Per};
use std::fmt;
use std::ops::Range;
use timely::worker::Worker;

/// One operator of the dataflow.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The node of the plan that it computes, alone or with others; `None` for the latest records, which all results
    /// read.
    pub node: Option<NodeId>,
    /// Its name in the crate [`operators`].
    pub operator: &'static str,
    /// What it finds out.
    pub finds: &'static str,
    /// What it keeps.
    pub keeps: Vec<Footprint>,
    /// What a change of one input row costs.
    pub cost: Cost,
    /// The numbers that its worker has given to what it is made of: to the operator, and to what writes down its rows.
    pub made_of: Range<usize>,
}

impl Step {
    /// Bytes that it keeps, when the operators that it is made of keep so many entries of their footprints.
    pub fn bytes(&self, entries: &[usize]) -> usize {
        // of several workers each makes a part of some operators first, which keeps the same
        let footprints = self.keeps.iter().cycle();
        footprints
            .zip(entries)
            .map(|(keeps, entries)| keeps.total(*entries))
            .sum()
    }

    /// What there is an entry of one of the [`keeps`](Step::keeps) for.
    pub fn each(&self, footprint: &Footprint) -> &'static str {
        match (footprint.per, self.operator) {
            (Per::Key, "latest") => "post",
            (Per::Key, "rank" | "top") => "partition",
            (Per::Key, _) => "group",
            (Per::Item, _) => "distinct value",
            (Per::Value, _) => "distinct value",
            (Per::Further, _) => "further value of a group",
            (Per::Row, _) => "row",
        }
    }
}

/// The operators made so far.
pub(super) struct Steps<'s> {
    worker: &'s Worker,
    /// By node: which results it belongs to, for the names of operators.
    labels: Vec<String>,
    made: Vec<Step>,
}

impl<'s> Steps<'s> {
    pub(super) fn new(worker: &'s Worker, catalog: &Catalog) -> Steps<'s> {
        Steps {
            worker,
            labels: labels(catalog),
            made: Vec::new(),
        }
    }

    /// Writes down an operator that is to be made next, and returns the name to make it with: the results that it
    /// belongs to, and what it is.
    pub(super) fn add(
        &mut self,
        node: Option<NodeId>,
        (operator, finds): (&'static str, &'static str),
        keeps: impl Into<Vec<Footprint>>,
        cost: Cost,
    ) -> String {
        let label = node.map_or("posts", |node| &self.labels[node.index()]);
        let name = format!("{label}: {operator}");
        let next = self.worker.peek_identifier();
        self.made.push(Step {
            node,
            operator,
            finds,
            keeps: keeps.into(),
            cost,
            made_of: next..next,
        });
        name
    }

    /// All of them, each with what was made until the next.
    pub(super) fn finish(mut self) -> Vec<Step> {
        let mut end = self.worker.peek_identifier();
        for step in self.made.iter_mut().rev() {
            step.made_of.end = end;
            end = step.made_of.start;
        }
        self.made
    }
}

/// Of each node the result that it is made for: `a`, or `a and 2 more` where several share it.
fn labels(catalog: &Catalog) -> Vec<String> {
    let mut results: Vec<Vec<&str>> = vec![Vec::new(); catalog.plan.nodes().len()];
    for result in &catalog.results {
        for node in std::iter::successors(Some(result.node), |node| catalog.plan.node(*node).input()) {
            results[node.index()].push(&result.name);
        }
    }
    let label = |results: Vec<&str>| match results.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first, others @ ..] => format!("{first} and {} more", others.len()),
    };
    results.into_iter().map(label).collect()
}

/// What a change of one input row costs an operator; see the operators' modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// The same whatever is kept.
    Constant,
    /// The same, once for each of so many parts.
    Parts(usize),
    /// The logarithm of the number of values of the group.
    Values,
    /// The logarithm of the number of distinct values of the group, for each of so many percentiles.
    Distinct(usize),
    /// The logarithm of the number of rows of the partition, and the rows kept where the change is among them.
    Rows,
    /// All rows of the partition, which are all kept.
    All,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cost::Constant | Cost::Parts(0 | 1) => f.write_str("O(1)"),
            Cost::Parts(parts) => write!(f, "O({parts} parts)"),
            Cost::Values => f.write_str("O(log values of the group)"),
            Cost::Distinct(0 | 1) => f.write_str("O(log distinct values of the group)"),
            Cost::Distinct(percentiles) => write!(f, "O({percentiles} log distinct values of the group)"),
            Cost::Rows => f.write_str("O(log rows of the partition), O(rows kept) among those"),
            Cost::All => f.write_str("O(rows of the partition)"),
        }
    }
}
