//! One try of one step: everything in one transaction.
//!
//! A live step is two round trips. The first carries `BEGIN`, the lock on the progress row and every write, sent
//! together; the second, once the fence in the locked row is known to be ours, `NOTIFY` and `COMMIT`. A fenced run has
//! then written into a transaction that it rolls back, which changes nothing. Whole steps, steps that are tried again
//! and runs with a fail point look at the row before they write.

use crate::encode::Param;
use crate::error::SinkError;
use crate::failpoint;
use crate::progress::{self, Moves, Progress};
use crate::schema::{Definition, quoted};
use crate::session::{IN_BULK, Pending, Session, pipeline};
use crate::sql;
use crate::step::{CleanedRow, Committed, Net, Newest, Reject, Step, newest_by_table};
use operators::{Row, Table};
use tokio_postgres::{Client, Statement};

/// Rows of one statement.
const ROWS: usize = 4096;
/// Bytes of wide text in one statement, about.
const BYTES: usize = 4 << 20;
/// Statements sent before their answers are awaited.
const IN_FLIGHT: usize = 64;

/// Prepared statements of a sink's session.
pub(crate) struct Statements {
    lock: Statement,
    notify: Statement,
    /// Per result table: delete, upsert.
    results: Vec<[Statement; 2]>,
    /// Per cleaned table: rows, risen, deletes.
    settle: Vec<[Statement; 3]>,
    rejects: Statement,
    progress: progress::Statements,
}

impl Statements {
    pub(crate) async fn prepare(
        client: &Client,
        schema: &str,
        definition: &Definition,
    ) -> Result<Statements, SinkError> {
        let failed = |name: &str| {
            let context = format!("preparing statements for {schema}.{name}");
            move |source| SinkError::postgres(context, source)
        };
        let lock = format!(
            "SELECT fence, commits, definitions FROM {}.progress WHERE id = 1 FOR UPDATE",
            quoted(schema)
        );
        let mut results = Vec::new();
        for (table, _) in &definition.results {
            let delete = client
                .prepare(&sql::delete(schema, table))
                .await
                .map_err(failed(table.name))?;
            let upsert = client
                .prepare(&sql::upsert(schema, table))
                .await
                .map_err(failed(table.name))?;
            results.push([delete, upsert]);
        }
        let mut settle = Vec::new();
        for table in &definition.cleaned {
            let rows = client
                .prepare(&sql::settle_rows(schema, table))
                .await
                .map_err(failed(table.name))?;
            let risen = client
                .prepare(&sql::settle_risen(schema, table))
                .await
                .map_err(failed(table.name))?;
            let deletes = client
                .prepare(&sql::settle_deletes(schema, table))
                .await
                .map_err(failed(table.name))?;
            settle.push([rows, risen, deletes]);
        }
        Ok(Statements {
            lock: client.prepare(&lock).await.map_err(failed("progress"))?,
            notify: client
                .prepare("SELECT pg_notify($1, $2)")
                .await
                .map_err(failed("progress"))?,
            results,
            settle,
            rejects: client.prepare(&sql::rejects(schema)).await.map_err(failed("rejects"))?,
            progress: progress::Statements::prepare(client, schema)
                .await
                .map_err(failed("progress"))?,
        })
    }
}

/// What a try works with.
pub(crate) struct Context<'a> {
    pub(crate) session: &'a Session,
    pub(crate) statements: &'a Statements,
    pub(crate) schema: &'a str,
    pub(crate) definition: &'a Definition,
    pub(crate) fence: i64,
    /// The progress of the last commit.
    pub(crate) known: &'a Progress,
    /// Whether this step may have been committed already by an earlier try.
    pub(crate) again: bool,
}

/// A step, checked and sorted out by table.
pub(crate) struct Plan<'a> {
    pub(crate) step: &'a Step,
    pub(crate) results: Vec<Net<'a>>,
    cleaned: Vec<Newest<'a>>,
    moves: Moves<'a>,
}

impl<'a> Plan<'a> {
    pub(crate) fn of(step: &'a Step, definition: &Definition, known: &Progress) -> Result<Plan<'a>, SinkError> {
        if step.results.len() > definition.results.len() || step.whole && step.results.len() != definition.results.len()
        {
            return Err(SinkError::Order("a step has not the result tables of the definition"));
        }
        if step.staged.is_some() && !step.whole {
            return Err(SinkError::Order("staged history belongs to a whole step"));
        }
        let nets = definition.results.iter().zip(&step.results);
        Ok(Plan {
            step,
            results: nets
                .map(|((table, _), rows)| Net::of(table, rows, step.whole))
                .collect::<Result<_, _>>()?,
            cleaned: newest_by_table(definition, &step.cleaned)?,
            moves: Moves::between(known, &step.progress)?,
        })
    }
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

/// What is expected of a statement's count.
#[derive(Clone, Copy)]
enum Expect {
    /// Deletes of a result table: fewer than this means somebody edited it.
    Deleted { table: usize, rows: u64 },
    /// Upserts of a result table.
    Changed { table: usize },
    /// Cleaned rows and rejects.
    Other,
    /// Generations and gaps: no news for listeners.
    Quiet,
    /// The frontier: fewer than this means that it would have moved back.
    Frontier { rows: u64 },
    /// The progress row.
    One,
}

struct Call<'a> {
    context: String,
    statement: &'a Statement,
    params: Vec<Param<'a>>,
    expect: Expect,
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
            self.result_calls(plan, &mut calls);
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
        failpoint::reach(failpoint::BEFORE_COMMIT);
        let notified = self.close(plan.step, &tally).await?;
        failpoint::reach(failpoint::AFTER_COMMIT);
        Ok(Outcome::Committed(Committed {
            commits: self.known.commits + 1,
            changed: tally.changed,
            missing: tally.missing,
            notified,
            ..Committed::default()
        }))
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
        let (theirs, commits, definitions): (i64, i64, String) = (row.get(0), row.get(1), row.get(2));
        if theirs != self.fence {
            return Err(SinkError::Fenced {
                ours: self.fence,
                theirs,
            });
        }
        if self.again && commits == self.known.commits + 1 {
            return Ok(true);
        }
        if commits != self.known.commits {
            let what = format!("commit {commits} found where {} was left", self.known.commits);
            return Err(SinkError::Progress {
                schema: self.schema.into(),
                what,
            });
        }
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

    fn result_calls<'b>(&'b self, plan: &'b Plan<'_>, calls: &mut Vec<Call<'b>>) {
        // all deletes before all upserts
        for (index, net) in plan.results.iter().enumerate() {
            let (table, _) = &self.definition.results[index];
            for rows in net.deletes.chunks(ROWS) {
                let params = columns(table, table.key, rows);
                let expect = Expect::Deleted {
                    table: index,
                    rows: rows.len() as u64,
                };
                let context = format!("deleting from {}.{}", self.schema, table.name);
                calls.push(Call {
                    context,
                    statement: &self.statements.results[index][0],
                    params,
                    expect,
                });
            }
        }
        for (index, net) in plan.results.iter().enumerate() {
            let (table, _) = &self.definition.results[index];
            for rows in net.upserts.chunks(ROWS) {
                let params = columns(table, table.columns.len(), rows);
                let expect = Expect::Changed { table: index };
                let context = format!("writing {}.{}", self.schema, table.name);
                calls.push(Call {
                    context,
                    statement: &self.statements.results[index][1],
                    params,
                    expect,
                });
            }
        }
    }

    fn cleaned_calls<'b>(&'b self, plan: &'b Plan<'_>, calls: &mut Vec<Call<'b>>) {
        for (index, newest) in plan.cleaned.iter().enumerate() {
            let table = &self.definition.cleaned[index];
            let [settle_rows, settle_risen, settle_deletes] = &self.statements.settle[index];
            let mut add = |statement, params| {
                let context = format!("settling {}.{}", self.schema, table.name);
                calls.push(Call {
                    context,
                    statement,
                    params,
                    expect: Expect::Other,
                });
            };
            for rows in chunks_by_bytes(&newest.rows, |row| row.bytes()) {
                let column = |(column, of): (usize, &operators::Column)| Param::Cleaned {
                    rows,
                    column,
                    ty: of.ty,
                };
                let columns = table.columns.iter().enumerate().map(column);
                add(settle_rows, columns.chain(positions(rows)).collect());
                add(settle_risen, inds(rows).chain(positions(rows)).collect());
            }
            for deletes in newest.deletes.chunks(ROWS) {
                add(settle_deletes, inds(deletes).chain(positions(deletes)).collect());
            }
        }
        for rejects in chunks_by_bytes(&plan.step.rejects, Reject::bytes) {
            let context = format!("writing {}.rejects", self.schema);
            let statement = &self.statements.rejects;
            calls.push(Call {
                context,
                statement,
                params: rejected(rejects),
                expect: Expect::Other,
            });
        }
    }

    fn progress_calls<'b>(&'b self, plan: &'b Plan<'_>, calls: &mut Vec<Call<'b>>) {
        let (statements, new) = (&self.statements.progress, &plan.step.progress);
        let mut add = |what: &str, statement, params, expect| {
            calls.push(Call {
                context: format!("writing {}.{what}", self.schema),
                statement,
                params,
                expect,
            });
        };
        for (moves, statement, in_full) in [
            (&plan.moves.advance, &statements.advance, false),
            (&plan.moves.write, &statements.write, true),
        ] {
            if !moves.is_empty() {
                let expect = Expect::Frontier {
                    rows: moves.len() as u64,
                };
                add("frontier", statement, Moves::params(moves, in_full), expect);
            }
        }
        let generations: Vec<_> = new
            .generations
            .iter()
            .filter(|g| !self.known.generations.contains(g))
            .collect();
        if !generations.is_empty() {
            let params = vec![
                Param::Texts(generations.iter().map(|g| Some(g.topic.as_str())).collect()),
                Param::Int2s(generations.iter().map(|g| i16::from(g.generation)).collect()),
                Param::Int4s(generations.iter().map(|g| Some(g.partition)).collect()),
                Param::Int8s(generations.iter().map(|g| Some(g.start)).collect()),
            ];
            add("generations", &statements.generations, params, Expect::Quiet);
        }
        let known = self.known.gaps.iter();
        let filled: Vec<_> = known.filter(|gap| plan.step.whole && new.fills(gap)).collect();
        if !filled.is_empty() {
            let params = vec![
                Param::Texts(filled.iter().map(|gap| Some(gap.topic.as_str())).collect()),
                Param::Int4s(filled.iter().map(|gap| Some(gap.partition)).collect()),
                Param::Int8s(filled.iter().map(|gap| Some(gap.from)).collect()),
                Param::Int8s(filled.iter().map(|gap| Some(gap.to)).collect()),
            ];
            add("gaps", &statements.filled, params, Expect::Quiet);
        }
        let gaps: Vec<_> = new.gaps.iter().filter(|gap| !self.known.gaps.contains(gap)).collect();
        if !gaps.is_empty() {
            let params = vec![
                Param::Texts(gaps.iter().map(|gap| Some(gap.topic.as_str())).collect()),
                Param::Int4s(gaps.iter().map(|gap| Some(gap.partition)).collect()),
                Param::Int8s(gaps.iter().map(|gap| Some(gap.from)).collect()),
                Param::Int8s(gaps.iter().map(|gap| Some(gap.to)).collect()),
                Param::Texts(gaps.iter().map(|gap| Some(gap.reason.as_str())).collect()),
            ];
            add("gaps", &statements.gaps, params, Expect::Quiet);
        }
        let params = vec![
            Param::one(self.fence),
            Param::one(plan.step.epoch as i64),
            Param::one(format!("{:016x}", self.definition.hash)),
            Param::one(new.legacy.count as i64),
            Param::one(format!("{:016x}", new.legacy.hash)),
            Param::one(&new.options),
            Param::one(new.run_id.as_str()),
            Param::one(&new.counters),
        ];
        add("progress", &statements.row, params, Expect::One);
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
        match Moves::between(&stored, &plan.step.progress) {
            Err(moves_back) => moves_back,
            Ok(_) => SinkError::Progress {
                schema: self.schema.into(),
                what: "a partition's frontier is gone".into(),
            },
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

fn columns<'a>(table: &Table, count: usize, rows: &'a [&'a Row]) -> Vec<Param<'a>> {
    let column = |(column, of): (usize, &operators::Column)| Param::Column {
        rows,
        column,
        ty: of.ty,
    };
    table.columns[..count].iter().enumerate().map(column).collect()
}

fn inds<'a>(rows: &[&CleanedRow]) -> impl Iterator<Item = Param<'a>> + use<'a> {
    std::iter::once(Param::Int8s(rows.iter().map(|row| Some(row.ind)).collect()))
}

fn positions<'a>(rows: &[&CleanedRow]) -> impl Iterator<Item = Param<'a>> + use<'a> {
    [
        Param::Int2s(rows.iter().map(|row| i16::from(row.position.generation())).collect()),
        Param::Int4s(rows.iter().map(|row| Some(row.position.partition())).collect()),
        Param::Int8s(rows.iter().map(|row| Some(row.position.offset())).collect()),
    ]
    .into_iter()
}

fn rejected(rejects: &[Reject]) -> Vec<Param<'_>> {
    let (sources, positions): (Vec<String>, Vec<i64>) = rejects.iter().map(Reject::source).unzip();
    vec![
        Param::one(sources),
        Param::Int8s(positions.into_iter().map(Some).collect()),
        Param::Texts(rejects.iter().map(|reject| Some(reject.topic.as_str())).collect()),
        Param::Int4s(rejects.iter().map(Reject::partition).collect()),
        Param::Int8s(rejects.iter().map(Reject::offset).collect()),
        Param::Texts(rejects.iter().map(Reject::object).collect()),
        Param::Texts(rejects.iter().map(|reject| Some(reject.reason.as_str())).collect()),
        Param::Byteas(rejects.iter().map(|reject| reject.key.as_deref()).collect()),
        Param::Byteas(rejects.iter().map(|reject| reject.value.as_deref()).collect()),
    ]
}

/// Slices of at most [`ROWS`] rows and about [`BYTES`] bytes.
fn chunks_by_bytes<T>(mut rows: &[T], bytes: impl Fn(&T) -> usize) -> Vec<&[T]> {
    let mut chunks = Vec::new();
    while !rows.is_empty() {
        let mut sum = 0;
        let fits = |row: &&T| {
            sum += bytes(row);
            sum <= BYTES
        };
        let length = rows.iter().take(ROWS).take_while(fits).count().max(1);
        let (chunk, rest) = rows.split_at(length);
        chunks.push(chunk);
        rows = rest;
    }
    chunks
}
