//! The last statements of a step: what the tables answer for.

use super::call::{Call, Expect};
use super::context::Context;
use super::plan::Plan;
use crate::encode::Param;
use crate::progress::{AcceptedGap, Legacy};
use tokio_postgres::Statement;
use tokio_postgres::types::Json;

impl Context<'_> {
    pub(super) fn progress_calls<'b>(&'b self, plan: &'b Plan<'_>, calls: &mut Vec<Call<'b>>) {
        let statements = &self.statements.progress;
        let new = plan.progress;
        self.frontier_calls(plan, calls);
        let generations = new.generations.beyond(&self.known.generations);
        if !generations.is_empty() {
            let params = vec![
                Param::Texts(generations.iter().map(|g| Some(g.topic.as_str())).collect()),
                Param::Int2s(generations.iter().map(|g| i16::from(g.generation)).collect()),
                Param::Int4s(generations.iter().map(|g| Some(g.partition)).collect()),
                Param::Int8s(generations.iter().map(|g| Some(g.start)).collect()),
            ];
            calls.push(self.record("generations", &statements.generations, params, Expect::Quiet));
        }
        let filled: Vec<_> = if plan.step.full_snapshot {
            self.known.gaps.iter().filter(|gap| new.fills(gap)).collect()
        } else {
            Vec::new()
        };
        if !filled.is_empty() {
            calls.push(self.record("gaps", &statements.filled, gap_key(&filled), Expect::Quiet));
        }
        let gaps = new.gaps.beyond(&self.known.gaps);
        if !gaps.is_empty() {
            let mut params = gap_key(&gaps);
            params.push(Param::Texts(gaps.iter().map(|gap| Some(gap.reason.as_str())).collect()));
            params.push(Param::Texts(gaps.iter().map(|gap| gap.object.as_deref()).collect()));
            calls.push(self.record("gaps", &statements.gaps, params, Expect::Quiet));
        }
        let counts = self.known.counts_with(new);
        let was = (
            &self.known.topics,
            &self.known.partition_counts,
            self.known.cleaned_legacy,
        );
        if was != (&new.topics, &counts, new.cleaned_legacy) {
            let hash = |legacy: Legacy| format!("{:016x}", legacy.hash);
            let params = vec![
                Param::one((!new.topics.is_empty()).then_some(Json(&new.topics))),
                Param::one((!counts.is_empty()).then_some(Json(counts))),
                Param::one(new.cleaned_legacy.map(|legacy| legacy.count as i64)),
                Param::one(new.cleaned_legacy.map(hash)),
            ];
            let facts = self.record("progress", &statements.facts, params, Expect::One);
            calls.push(checked(facts, &statements.checked_facts));
        }
        let params = vec![
            Param::one(self.fence.number),
            Param::one(plan.step.epoch as i64),
            Param::one(format!("{:016x}", self.definition.hash)),
            Param::one(new.legacy.count as i64),
            Param::one(format!("{:016x}", new.legacy.hash)),
            Param::one(&new.options),
            Param::one(new.run_id.as_str()),
            Param::one(&new.counters),
        ];
        let row = self.record("progress", &statements.row, params, Expect::One);
        calls.push(checked(row, &statements.checked_row));
    }

    fn frontier_calls<'b>(&'b self, plan: &'b Plan<'_>, calls: &mut Vec<Call<'b>>) {
        let (statements, moves) = (&self.statements.progress, &plan.moves);
        if !plan.step.forget_topics.is_empty() {
            let params = vec![Param::one(plan.step.forget_topics.as_slice())];
            calls.push(self.record("frontier", &statements.forget, params, Expect::Quiet));
        }
        let rows = |count: usize| Expect::Frontier { rows: count as u64 };
        if !moves.advance.is_empty() {
            let expect = rows(moves.advance.len());
            let advance = self.record("frontier", &statements.advance, moves.advance_params(), expect);
            calls.push(checked(advance, &statements.checked_advance));
        }
        if !moves.write.is_empty() {
            let expect = rows(moves.write.len());
            calls.push(self.record("frontier", &statements.write, moves.write_params(), expect));
        }
    }

    fn record<'b>(&self, table: &str, statement: &'b Statement, params: Vec<Param<'b>>, expect: Expect) -> Call<'b> {
        Call {
            context: format!("writing {}.{table}", self.schema),
            statement,
            params,
            expect,
            checked: None,
        }
    }
}

/// The same call, which can be checked by the server.
fn checked<'a>(call: Call<'a>, statement: &'a Statement) -> Call<'a> {
    Call {
        checked: Some(statement),
        ..call
    }
}

/// The columns that identify gaps.
fn gap_key<'a>(gaps: &[&'a AcceptedGap]) -> Vec<Param<'a>> {
    vec![
        Param::Texts(gaps.iter().map(|gap| Some(gap.topic.as_str())).collect()),
        Param::Int4s(gaps.iter().map(|gap| Some(gap.partition)).collect()),
        Param::Int8s(gaps.iter().map(|gap| Some(gap.from)).collect()),
        Param::Int8s(gaps.iter().map(|gap| Some(gap.to)).collect()),
    ]
}
