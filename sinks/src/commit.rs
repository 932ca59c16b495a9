//! One try of one step: everything in one transaction.
//!
//! A live step is two round trips. The first carries `BEGIN`, the lock on the progress row and every write, sent
//! together; the second, once the fence in the locked row is known to be ours, `NOTIFY` and `COMMIT`. A fenced run has
//! then written into a transaction that it rolls back, which changes nothing. Whole steps, steps that are tried again
//! and runs with a fail point look at the row before they write.

mod calls;
mod records;

pub(crate) use calls::Statements;

use crate::encode::Param;
use crate::error::SinkError;
use crate::failpoint;
use crate::fence::{Claimed, Fence};
use crate::progress::{self, Moves, Progress};
use crate::reject_cap::{self, StagedRejects, Trimmed};
use crate::reject_limits::{Held, RejectLimits};
use crate::reject_surplus::Surplus;
use crate::schema::Definition;
use crate::session::{IN_BULK, Pending, Session, pipeline};
use crate::step::{Committed, Net, Newest, Step, newest_by_table};
use calls::Expect;
use tokio_postgres::{Client, Statement};

/// Statements sent before their answers are awaited.
const IN_FLIGHT: usize = 64;

/// What a try works with.
pub(crate) struct Context<'a> {
    pub(crate) session: &'a Session,
    pub(crate) statements: &'a Statements,
    pub(crate) schema: &'a str,
    pub(crate) definition: &'a Definition,
    pub(crate) fence: &'a Fence,
    /// The progress of the last commit.
    pub(crate) known: &'a Progress,
    /// Whether this step may have been committed already by an earlier try.
    pub(crate) again: bool,
    /// How much of dead letters is kept.
    pub(crate) limits: &'a RejectLimits,
    /// How many there are; `None`: not known.
    pub(crate) held: Option<Held>,
}

/// A step, checked and sorted out by table.
pub(crate) struct Plan<'a> {
    pub(crate) step: &'a Step,
    /// What it records, see [`Progress::recorded`].
    pub(crate) progress: &'a Progress,
    pub(crate) results: Vec<Net<'a>>,
    cleaned: Vec<Newest<'a>>,
    moves: Moves<'a>,
}

impl<'a> Plan<'a> {
    pub(crate) fn of(
        step: &'a Step,
        progress: &'a Progress,
        definition: &Definition,
        known: &Progress,
    ) -> Result<Plan<'a>, SinkError> {
        if step.results.len() > definition.results.len() || step.whole && step.results.len() != definition.results.len()
        {
            return Err(SinkError::Order("a step has not the result tables of the definition"));
        }
        if step.staged.is_some() && !step.whole {
            return Err(SinkError::Order("staged history belongs to a whole step"));
        }
        check_forgotten(step, definition)?;
        let nets = definition.results.iter().zip(&step.results);
        Ok(Plan {
            step,
            progress,
            results: nets
                .map(|((table, _), rows)| Net::of(table, rows, step.whole))
                .collect::<Result<_, _>>()?,
            cleaned: newest_by_table(definition, &step.cleaned)?,
            moves: Moves::between(known, progress)?,
        })
    }
}

fn check_forgotten(step: &Step, definition: &Definition) -> Result<(), SinkError> {
    if step.forget_topics.is_empty() {
        return Ok(());
    }
    if !step.whole {
        return Err(SinkError::Order("topics are forgotten by a whole step"));
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

/// What a try came to.
pub(crate) enum Outcome {
    Committed(Committed),
    /// An earlier try had committed it; its answer was lost.
    Already,
}

/// What a statement's answer means.
pub(crate) enum Answer {
    Done,
    Count(u64),
    Row(Option<tokio_postgres::Row>),
}

impl<'a> Context<'a> {
    pub(crate) fn client(&self) -> &'a Client {
        &self.session.client
    }

    /// Tries once. On an error the transaction is still open and has to be rolled back.
    pub(crate) async fn attempt(&self, plan: &Plan<'_>) -> Result<Outcome, SinkError> {
        let careful = self.again || plan.step.whole || failpoint::armed();
        let mut tally = Tally {
            changed: vec![0; self.definition.results.len()],
            ..Tally::default()
        };
        let of_results = match plan.step.whole {
            true => &[],
            false => {
                let prepared = self.statements.of_results(self.client(), self.schema, self.definition);
                prepared.await?
            }
        };
        if careful {
            let opening = pipeline(self.opening()).await?;
            failpoint::reach(failpoint::AFTER_BEGIN);
            if self.check_row(&opening, plan.step)? {
                return Ok(Outcome::Already);
            }
        }
        let mut calls = Vec::new();
        if plan.step.whole {
            self.client()
                .batch_execute(IN_BULK)
                .await
                .map_err(|source| self.failed("commit", source))?;
            self.write_whole(plan, &mut tally).await?;
        } else {
            self.result_calls(of_results, plan, &mut calls);
        }
        self.cleaned_calls(plan, &mut calls);
        self.progress_calls(plan, &mut calls);
        let mut opening = (!careful)
            .then(|| self.opening())
            .into_iter()
            .flatten()
            .collect::<Vec<_>>();
        let mut calls = calls.into_iter().peekable();
        let mut expects = Vec::new();
        while calls.peek().is_some() {
            let first = !opening.is_empty();
            let mut pending = std::mem::take(&mut opening);
            expects.clear();
            let together = if failpoint::armed() { 1 } else { IN_FLIGHT };
            for call in calls.by_ref().take(together) {
                expects.push(call.expect);
                pending.push((call.context, Box::pin(self.execute(call.statement, call.params))));
            }
            let answers = pipeline(pending).await?;
            let answers = if first {
                self.check_row(&answers, plan.step)?;
                &answers[2..]
            } else {
                &answers[..]
            };
            failpoint::reach(failpoint::AFTER_DELETE);
            for (answer, expect) in answers.iter().zip(&expects) {
                self.judge(answer, *expect, plan, &mut tally).await?;
            }
        }
        let trimmed = self.limit_rejects(plan.step).await?;
        tally.other += trimmed.map_or(0, |trimmed| trimmed.dropped);
        failpoint::reach(failpoint::BEFORE_COMMIT);
        let notified = self.close(plan.step, &tally).await?;
        failpoint::reach(failpoint::AFTER_COMMIT);
        Ok(Outcome::Committed(Committed {
            commits: self.known.commits + 1,
            changed: tally.changed,
            missing: tally.missing,
            notified,
            dropped_rejects: trimmed.map_or(0, |trimmed| trimmed.dropped),
            held_rejects: trimmed.map_or_else(
                || {
                    self.held
                        .map(|held| reject_cap::held_with(held, &plan.step.rejects, self.limits))
                },
                |trimmed| Some(trimmed.held),
            ),
            ..Committed::default()
        }))
    }

    /// Drops the oldest dead letters when this step may bring too many; a whole step always looks.
    async fn limit_rejects(&self, step: &Step) -> Result<Option<Trimmed>, SinkError> {
        let may_be_over = |held: Held| reject_cap::held_with(held, &step.rejects, self.limits).is_over(self.limits);
        let is_due = step.whole || !step.rejects.is_empty() && self.held.is_none_or(may_be_over);
        if !is_due {
            return Ok(None);
        }
        let surplus = Surplus::of(self.schema, self.fence.number);
        let staged = step.staged.as_ref().map(|staged| StagedRejects {
            surplus: &surplus,
            full: staged.full,
        });
        reject_cap::trim(self.session, self.schema, self.limits, staged.as_ref())
            .await
            .map(Some)
    }

    pub(crate) fn failed(&self, what: &str, source: tokio_postgres::Error) -> SinkError {
        SinkError::postgres(format!("{what} in schema {}", self.schema), source)
    }

    pub(crate) fn opening(&self) -> Vec<(String, Pending<'_, Answer>)> {
        let client = self.client();
        let begin = async move { client.batch_execute("BEGIN").await.map(|()| Answer::Done) };
        let lock = async move { client.query_opt(&self.statements.lock, &[]).await.map(Answer::Row) };
        let what = format!("locking the progress of schema {}", self.schema);
        vec![
            (format!("begin in schema {}", self.schema), Box::pin(begin)),
            (what, Box::pin(lock)),
        ]
    }

    async fn execute(&self, statement: &Statement, params: Vec<Param<'_>>) -> Result<Answer, tokio_postgres::Error> {
        self.client().execute_raw(statement, params).await.map(Answer::Count)
    }

    /// Checks the locked row; true when an earlier try has committed this step.
    pub(crate) fn check_row(&self, opening: &[Answer], step: &Step) -> Result<bool, SinkError> {
        let Some(Answer::Row(Some(row))) = opening.get(1) else {
            return Err(progress::missing_row(self.schema));
        };
        let (commits, definitions): (i64, String) = (row.get(2), row.get(3));
        self.fence.check(self.schema, &Claimed::of(row))?;
        if self.again && commits == self.known.commits + 1 {
            return Ok(true);
        }
        self.fence.check_commits(self.schema, commits, self.known.commits)?;
        let ours = format!("{:016x}", self.definition.hash);
        if !step.whole && definitions != ours {
            return Err(SinkError::DefinitionsChanged {
                schema: self.schema.into(),
                found: definitions,
                ours,
            });
        }
        Ok(false)
    }

    /// Takes a statement's count into the tally, or says why it cannot be.
    async fn judge(
        &self,
        answer: &Answer,
        expect: Expect,
        plan: &Plan<'_>,
        tally: &mut Tally,
    ) -> Result<(), SinkError> {
        let Answer::Count(count) = answer else { return Ok(()) };
        match expect {
            Expect::Deleted { table, rows } => {
                tally.changed[table] += count;
                tally.missing += rows.saturating_sub(*count);
            }
            Expect::Changed { table } => tally.changed[table] += count,
            Expect::Other => tally.other += count,
            Expect::Frontier { rows } if *count != rows => return Err(self.moved_back(plan).await),
            Expect::One if *count != 1 => return Err(progress::missing_row(self.schema)),
            Expect::Quiet | Expect::Frontier { .. } | Expect::One => {}
        }
        Ok(())
    }

    async fn moved_back(&self, plan: &Plan<'_>) -> SinkError {
        let stored = match progress::read(self.client(), self.schema).await {
            Ok(stored) => stored,
            Err(error) => return error,
        };
        if let Err(moves_back) = Moves::between(&stored, plan.progress) {
            return moves_back;
        }
        for ((topic, partition), known) in &self.known.partitions {
            match stored.partitions.get(&(topic.clone(), *partition)) {
                Some(found) if found.next < known.next => {
                    let (found, known) = (found.next, known.next);
                    return SinkError::FenceLost {
                        schema: self.schema.into(),
                        what: format!("frontier {topic}/{partition} stands at {found}, this run had committed {known}"),
                    };
                }
                _ => {}
            }
        }
        SinkError::Progress {
            schema: self.schema.into(),
            what: "a partition's frontier is gone or was changed".into(),
        }
    }

    pub(crate) async fn close(&self, step: &Step, tally: &Tally) -> Result<bool, SinkError> {
        let client = self.client();
        let cleaned = !step.cleaned.is_empty() && self.definition.keep_cleaned;
        let notify = tally.other > 0 || cleaned || tally.changed.iter().any(|rows| *rows > 0);
        let mut pending: Vec<(String, Pending<'_, Answer>)> = Vec::new();
        if notify {
            let params = vec![Param::one(channel(self.schema)), Param::one(self.payload(step, tally))];
            let sent = self.execute(&self.statements.notify, params);
            pending.push((format!("notify {}", channel(self.schema)), Box::pin(sent)));
        }
        let commit = async move { client.batch_execute("COMMIT").await.map(|()| Answer::Done) };
        pending.push((format!("commit in schema {}", self.schema), Box::pin(commit)));
        pipeline(pending).await?;
        Ok(notify)
    }

    /// `{"commit":7,"epoch":3,"tables":["a"]}`; without the tables when they would not fit a notification.
    fn payload(&self, step: &Step, tally: &Tally) -> String {
        let (commit, epoch) = (self.known.commits + 1, step.epoch);
        let changed = self
            .definition
            .results
            .iter()
            .zip(&tally.changed)
            .filter(|(_, rows)| **rows > 0);
        let tables: Vec<&str> = changed.map(|((table, _), _)| table.name).collect();
        let payload = serde_json::json!({"commit": commit, "epoch": epoch, "tables": tables}).to_string();
        if payload.len() < 8000 {
            return payload;
        }
        serde_json::json!({"commit": commit, "epoch": epoch}).to_string()
    }
}

/// The channel of a schema's notifications: `{schema}_commits`.
pub fn channel(schema: &str) -> String {
    format!("{schema}_commits")
}

/// What the statements of a try have changed.
#[derive(Default)]
pub(crate) struct Tally {
    /// Rows per result table.
    pub(crate) changed: Vec<u64>,
    /// Rows to be deleted that were not there.
    pub(crate) missing: u64,
    /// Cleaned rows, tombstones and dead letters.
    pub(crate) other: u64,
}
