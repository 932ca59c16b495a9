//! What a result costs: its plan, the operators that it is made of and shares, and what is kept of a post for it.
//!
//! Nothing here is estimated apart from the dataflow: operators say what their state takes, and the builder wrote down
//! which it made ([`exec::explain`]).

use crate::Results;
use crate::exec::{self, Layout, Step};
use crate::sql::ResultSpec;
use crate::sql::describe;
use crate::sql::plan::{NodeId, Plan};
use operators::Footprint;
use std::collections::BTreeSet;

/// An operator of a result.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The operator.
    pub step: Step,
    /// The other results that are made of it too, in the order of their numbers.
    pub shared_with: Vec<String>,
}

/// Something that is kept of each post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The cleaned table that it comes from.
    pub table: String,
    /// The column, or what is computed of it.
    pub text: String,
    /// Its size in the row.
    pub bits: usize,
    /// Whether it would not be kept without the result.
    pub is_only_here: bool,
}

/// What is known of one result.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// Its name.
    pub name: String,
    /// What a row means.
    pub comment: String,
    /// The query that PostgreSQL runs.
    pub sql: String,
    /// Its plan: how deep each line stands, and the line.
    pub plan: Vec<describe::Line>,
    /// The operators, inputs first. The first one keeps the posts, for all results.
    pub parts: Vec<Part>,
    /// What is kept of a post for all results.
    pub columns: Vec<Column>,
    /// What a post takes for all results, and what it would without this one.
    pub post: [Footprint; 2],
    /// Bytes of it that columns fill, for all results and without this one. Up to the bytes of [`exec::ROOM`] names and
    /// words a post has one size.
    pub filled: [usize; 2],
}

impl Results {
    /// Every operator that is made for the results, inputs first.
    pub fn steps(&self) -> Vec<Step> {
        exec::explain(self.catalog(), &self.layout())
    }

    /// The numbers of the results that are made of an operator, in their order.
    pub fn made_of(&self, step: &Step) -> Vec<usize> {
        let catalog = self.catalog();
        let results = catalog.results.iter().enumerate();
        let results = results.filter(|(_, result)| is_made_of(&catalog.plan, result, step));
        results.map(|(number, _)| number).collect()
    }

    /// What the result of this name costs; `None` where there is none.
    pub fn explain(&self, name: &str) -> Option<Explanation> {
        let catalog = self.catalog();
        let result = catalog.results.iter().find(|result| result.name == name)?;
        let plan = &catalog.plan;
        let others = || catalog.results.iter().filter(|other| other.name != name);
        let part = |step: Step| {
            let shared = others().filter(|other| is_made_of(plan, other, &step));
            let shared_with = shared.map(|other| other.name.clone()).collect();
            Part { step, shared_with }
        };
        let steps = self.steps().into_iter();
        let steps = steps.filter(|step| is_made_of(plan, result, step));
        let (layout, rest) = (self.layout(), others().flat_map(|other| nodes(plan, other)).collect());
        let without = Layout::of_nodes(self.schema(), plan, &rest).expect("a part of what fits");
        Some(Explanation {
            name: result.name.clone(),
            comment: result.comment.clone(),
            sql: result.sql.clone(),
            plan: describe::tree(plan, self.schema(), result.node),
            parts: steps.map(part).collect(),
            columns: self.columns(&layout, &without),
            post: [exec::post(&layout), exec::post(&without)],
            filled: [layout.size(), without.size()].map(bytes),
        })
    }

    fn columns(&self, layout: &Layout, without: &Layout) -> Vec<Column> {
        let mut columns = Vec::new();
        for (kind, kept) in self.schema().kinds.iter().zip(&layout.kinds) {
            columns.extend(kept.iter().map(|kept| Column {
                table: kind.table.clone(),
                text: describe::over_fields(&layout.plan, self.schema(), kept.e),
                bits: kept.cell.bits(),
                is_only_here: without.place(kept.e).is_none(),
            }));
        }
        columns
    }
}

/// Bytes of so many names and words.
pub fn bytes((names, words): (usize, usize)) -> usize {
    size_of::<u32>() * (names + words)
}

/// The nodes that a result is made of.
fn nodes(plan: &Plan, result: &ResultSpec) -> BTreeSet<NodeId> {
    std::iter::successors(Some(result.node), |node| plan.node(*node).input()).collect()
}

/// Whether a result is made of an operator, alone or with others.
fn is_made_of(plan: &Plan, result: &ResultSpec, step: &Step) -> bool {
    step.node.is_none_or(|node| nodes(plan, result).contains(&node))
}
