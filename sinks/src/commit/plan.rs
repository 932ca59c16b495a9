//! A step, checked and sorted out before anything is sent.

use crate::changes::{LatestRows, NetChanges, latest_by_table};
use crate::definition::Definition;
use crate::error::SinkError;
use crate::progress::{FrontierMoves, Progress};
use crate::step::Step;

/// A step, checked and sorted out by table.
pub(crate) struct Plan<'a> {
    pub(crate) step: &'a Step,
    /// What it records, see [`Progress::recorded`].
    pub(crate) progress: &'a Progress,
    pub(crate) results: Vec<NetChanges<'a>>,
    pub(super) cleaned: Vec<LatestRows<'a>>,
    pub(super) moves: FrontierMoves<'a>,
}

impl<'a> Plan<'a> {
    pub(crate) fn of(
        step: &'a Step,
        progress: &'a Progress,
        definition: &Definition,
        known: &Progress,
    ) -> Result<Plan<'a>, SinkError> {
        if step.results.len() > definition.results.len()
            || step.full_snapshot && step.results.len() != definition.results.len()
        {
            return Err(SinkError::Order(
                "a step does not have the result tables of the definition",
            ));
        }
        if step.staged.is_some() && !step.full_snapshot {
            return Err(SinkError::Order("staged history belongs to a full snapshot"));
        }
        check_forgotten(step, definition)?;
        let nets = definition.results.iter().zip(&step.results);
        let results: Vec<NetChanges<'a>> = nets
            .map(|((table, _), rows)| NetChanges::of(table, rows, step.full_snapshot))
            .collect::<Result<_, _>>()?;
        debug_assert_eq!(results.len(), step.results.len(), "each result of the step is planned");
        Ok(Plan {
            step,
            progress,
            results,
            cleaned: latest_by_table(definition, &step.cleaned)?,
            moves: FrontierMoves::between(known, progress)?,
        })
    }
}

fn check_forgotten(step: &Step, definition: &Definition) -> Result<(), SinkError> {
    if step.forget_topics.is_empty() {
        return Ok(());
    }
    if !step.full_snapshot {
        return Err(SinkError::Order("topics are forgotten by a full snapshot"));
    }
    let forgotten = |(topic, _): &(String, i32)| step.forget_topics.contains(topic);
    if step.progress.partitions.keys().any(forgotten) {
        return Err(SinkError::Order(
            "a step forgets a topic and records one of its partitions",
        ));
    }
    if definition.keep_cleaned && !step.staged.as_ref().is_some_and(|staged| staged.full) {
        return Err(SinkError::Order(
            "a step forgets topics, and their rows would stay: cleaned tables must be reconciled in full",
        ));
    }
    Ok(())
}
