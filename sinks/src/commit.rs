//! One try of one step: everything in one transaction.
//!
//! A live step is one round trip: everything from `BEGIN` to `COMMIT` is sent together, and the server itself checks
//! what has to hold (`at_once`). Whole steps, steps that are tried again, steps that failed such a check and runs with a
//! fail point go step by step: they look at the progress row before they write, and at every answer before they commit.

mod at_once;
mod calls;
mod records;

pub(crate) use calls::Statements;

use crate::changes::{Net, Newest, newest_by_table};
use crate::definition::Definition;
use crate::encode::Param;
use crate::error::SinkError;
use crate::failpoint;
use crate::fence::{Claimed, Fence};
use crate::progress::{self, Moves, Progress};
use crate::reject_cap::{self, StagedRejects, Trimmed};
use crate::reject_limits::{Held, RejectLimits};
use crate::reject_surplus::Surplus;
use crate::session::{BEGIN_TO_WRITE, IN_BULK, Pending, Session, pipeline};
use crate::step::{Committed, Step};
use calls::{Call, Expect};
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

/// A statement on its way, with what it is sent for.
type Sent<'a> = (String, Pending<'a, Answer>);

/// What a statement's answer means.
pub(crate) enum Answer {
    Done,
    Count(u64),
    Rows(Vec<tokio_postgres::Row>),
}

impl<'a> Context<'a> {
    pub(crate) fn client(&self) -> &'a Client {
        &self.session.client
    }

    /// Tries once. On an error the transaction may still be open and has to be rolled back.
    pub(crate) async fn attempt(&self, plan: &Plan<'_>) -> Result<Outcome, SinkError> {
        if self.can_go_at_once(plan)
            && let Some(committed) = self.at_once(plan).await?
        {
            return Ok(Outcome::Committed(committed));
        }
        self.step_by_step(plan).await
    }

    async fn step_by_step(&self, plan: &Plan<'_>) -> Result<Outcome, SinkError> {
        let opening = pipeline(vec![self.begin(), self.lock()]).await?;
        failpoint::reach(failpoint::AFTER_BEGIN);
        if self.check_row(&opening, plan.step)? {
            return Ok(Outcome::Already);
        }
        let mut tally = Tally::of(self.definition);
        let mut calls = Vec::new();
        if plan.step.whole {
            self.client()
                .batch_execute(IN_BULK)
                .await
                .map_err(|source| self.failed("commit", source))?;
            self.write_whole(plan, &mut tally).await?;
        } else {
            self.result_calls(self.result_statements().await?, plan, &mut calls);
        }
        self.cleaned_calls(plan, &mut calls);
        self.progress_calls(plan, &mut calls);
        let mut calls = calls.into_iter().peekable();
        while calls.peek().is_some() {
            let together = if failpoint::armed() { 1 } else { IN_FLIGHT };
            let calls = calls.by_ref().take(together);
            let (expects, pending): (Vec<_>, Vec<_>) = calls.map(|call| (call.expect, self.sent(call))).unzip();
            let answers = pipeline(pending).await?;
            failpoint::reach(failpoint::AFTER_DELETE);
            for (answer, expect) in answers.iter().zip(expects) {
                self.judge(answer, expect, plan).await?;
                tally.take(answer, expect);
            }
        }
        let trimmed = self.limit_rejects(plan.step).await?;
        tally.other += trimmed.map_or(0, |trimmed| trimmed.dropped);
        failpoint::reach(failpoint::BEFORE_COMMIT);
        let notified = self.close(plan.step, &tally).await?;
        failpoint::reach(failpoint::AFTER_COMMIT);
        Ok(Outcome::Committed(Committed {
            dropped_rejects: trimmed.map_or(0, |trimmed| trimmed.dropped),
            held_rejects: trimmed.map_or_else(|| self.held_with(plan.step), |trimmed| Some(trimmed.held)),
            ..self.committed(tally, notified)
        }))
    }

    fn committed(&self, tally: Tally, notified: bool) -> Committed {
        Committed {
            commits: self.known.commits + 1,
            changed: tally.changed,
            missing: tally.missing,
            notified,
            ..Committed::default()
        }
    }

    /// The statements of the result tables, none of which a whole step may know: it may make the tables anew.
    async fn result_statements(&self) -> Result<&[[Statement; 2]], SinkError> {
        self.statements
            .of_results(self.client(), self.schema, self.definition)
            .await
    }

    /// How many dead letters there may be after a step.
    fn held_with(&self, step: &Step) -> Option<Held> {
        self.held
            .map(|held| reject_cap::held_with(held, &step.rejects, self.limits))
    }

    /// Whether a step may bring more dead letters than are kept; a whole step always looks.
    fn may_be_over(&self, step: &Step) -> bool {
        let over = || self.held_with(step).is_none_or(|held| held.is_over(self.limits));
        step.whole || !step.rejects.is_empty() && over()
    }

    /// Drops the oldest dead letters when this step may bring too many.
    async fn limit_rejects(&self, step: &Step) -> Result<Option<Trimmed>, SinkError> {
        if !self.may_be_over(step) {
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

    pub(crate) fn begin(&self) -> Sent<'_> {
        let client = self.client();
        let begin = async move { client.batch_execute(BEGIN_TO_WRITE).await.map(|()| Answer::Done) };
        (format!("begin in schema {}", self.schema), Box::pin(begin))
    }

    /// Locks the progress row and asks what it says.
    pub(crate) fn lock(&self) -> Sent<'_> {
        let client = self.client();
        let lock = async move { client.query(&self.statements.lock, &[]).await.map(Answer::Rows) };
        (self.locking(), Box::pin(lock))
    }

    fn locking(&self) -> String {
        format!("locking the progress of schema {}", self.schema)
    }

    fn commit(&self) -> Sent<'_> {
        let client = self.client();
        let commit = async move { client.batch_execute("COMMIT").await.map(|()| Answer::Done) };
        (format!("commit in schema {}", self.schema), Box::pin(commit))
    }

    fn notify(&self, payload: String) -> Sent<'_> {
        let params = vec![
            Param::one(channel(self.schema)),
            Param::one(payload),
            Param::one(self.known.commits + 1),
        ];
        let sent = self.execute(&self.statements.notify, params);
        (format!("notify {}", channel(self.schema)), Box::pin(sent))
    }

    fn sent<'b>(&'b self, call: Call<'b>) -> Sent<'b> {
        (call.context, Box::pin(self.execute(call.statement, call.params)))
    }

    async fn execute(&self, statement: &Statement, params: Vec<Param<'_>>) -> Result<Answer, tokio_postgres::Error> {
        self.client().execute_raw(statement, params).await.map(Answer::Count)
    }

    /// Checks the locked row; true when an earlier try has committed this step.
    pub(crate) fn check_row(&self, opening: &[Answer], step: &Step) -> Result<bool, SinkError> {
        let row = match opening.get(1) {
            Some(Answer::Rows(rows)) => progress::one_row(self.schema, rows)?,
            _ => return Err(progress::missing_row(self.schema)),
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

    /// Says why a statement's count cannot be, if it cannot.
    async fn judge(&self, answer: &Answer, expect: Expect, plan: &Plan<'_>) -> Result<(), SinkError> {
        match (expect, answer) {
            (Expect::Frontier { rows }, Answer::Count(count)) if *count != rows => Err(self.moved_back(plan).await),
            (Expect::One, Answer::Count(count)) if *count != 1 => Err(progress::missing_row(self.schema)),
            _ => Ok(()),
        }
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
        let changed = tally.changed.iter().map(|rows| *rows > 0);
        let notify = tally.other > 0 || self.brings_cleaned(step) || changed.clone().any(|changed| changed);
        let mut pending = Vec::new();
        if notify {
            pending.push(self.notify(self.payload(step, changed)));
        }
        pending.push(self.commit());
        pipeline(pending).await?;
        Ok(notify)
    }

    fn brings_cleaned(&self, step: &Step) -> bool {
        !step.cleaned.is_empty() && self.definition.keep_cleaned
    }

    /// `{"commit":7,"epoch":3,"tables":["a"]}`; without the tables when they would not fit a notification.
    fn payload(&self, step: &Step, changed: impl Iterator<Item = bool>) -> String {
        let (commit, epoch) = (self.known.commits + 1, step.epoch);
        let results = self.definition.results.iter().zip(changed);
        let changed = results.filter(|(_, changed)| *changed);
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
pub(crate) struct Tally {
    /// Rows per result table.
    pub(crate) changed: Vec<u64>,
    /// Rows to be deleted that were not there.
    pub(crate) missing: u64,
    /// Cleaned rows, tombstones and dead letters.
    pub(crate) other: u64,
}

impl Tally {
    pub(crate) fn of(definition: &Definition) -> Tally {
        Tally {
            changed: vec![0; definition.results.len()],
            missing: 0,
            other: 0,
        }
    }

    fn take(&mut self, answer: &Answer, expect: Expect) {
        let Answer::Count(count) = answer else { return };
        match expect {
            Expect::Deleted { table, rows } => {
                self.changed[table] += count;
                self.missing += rows.saturating_sub(*count);
            }
            Expect::Changed { table } => self.changed[table] += count,
            Expect::Other => self.other += count,
            Expect::Quiet | Expect::Frontier { .. } | Expect::One => {}
        }
    }
}
