//! A step as statements: what is sent for each table, in which order, and what is expected of its count.

use super::{Context, Plan};
use crate::encode::Param;
use crate::error::SinkError;
use crate::progress;
use crate::reject_limits::RejectLimits;
use crate::schema::{Definition, quoted};
use crate::sql;
use crate::step::{self, CleanedRow, Reject};
use tokio::sync::OnceCell;
use tokio_postgres::{Client, Statement};
use values::{Row, Table};

/// Rows of one statement.
const ROWS: usize = 4096;
/// Bytes of values in one statement, about.
const BYTES: usize = 4 << 20;

/// Prepared statements of a sink's session.
pub(crate) struct Statements {
    pub(super) lock: Statement,
    /// See [`Context::at_once`].
    pub(super) checked_lock: Statement,
    pub(super) notify: Statement,
    /// Per result table: delete, upsert. Prepared when first needed, since a whole step may make the tables anew.
    results: OnceCell<Vec<[Statement; 2]>>,
    /// Per cleaned table: rows, risen, deletes.
    pub(super) settle: Vec<[Statement; 3]>,
    pub(super) rejects: Statement,
    pub(super) progress: progress::Statements,
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
            "SELECT fence, fence_run_id, commits, definitions FROM {}.progress WHERE id = 1 FOR UPDATE",
            quoted(schema)
        );
        let checked_lock = format!(
            "WITH held AS MATERIALIZED (SELECT fence, fence_run_id, commits, definitions FROM {}.progress WHERE id = 1 \
             FOR UPDATE) SELECT 1 / (count(*) = 1 AND count(*) FILTER (WHERE fence = $1 AND fence_run_id = $2 \
             AND commits = $3 AND definitions = $4) = 1)::integer FROM held",
            quoted(schema)
        );
        // where its BEGIN has failed this is a transaction of its own, which the raised number is not in
        let notify = format!(
            "SELECT pg_notify($1, $2) FROM {}.progress WHERE id = 1 AND commits = $3",
            quoted(schema)
        );
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
            checked_lock: client.prepare(&checked_lock).await.map_err(failed("progress"))?,
            notify: client.prepare(&notify).await.map_err(failed("progress"))?,
            results: OnceCell::new(),
            settle,
            rejects: client.prepare(&sql::rejects(schema)).await.map_err(failed("rejects"))?,
            progress: progress::Statements::prepare(client, schema)
                .await
                .map_err(failed("progress"))?,
        })
    }

    /// The statements of the result tables, which are there as the definition has them.
    pub(crate) async fn of_results(
        &self,
        client: &Client,
        schema: &str,
        definition: &Definition,
    ) -> Result<&[[Statement; 2]], SinkError> {
        let prepare = async || {
            let mut results = Vec::with_capacity(definition.results.len());
            for (table, _) in &definition.results {
                let context = format!("preparing statements for {schema}.{}", table.name);
                let failed = |source| SinkError::postgres(context.clone(), source);
                let delete = client.prepare(&sql::delete(schema, table)).await.map_err(failed)?;
                let upsert = client.prepare(&sql::upsert(schema, table)).await.map_err(failed)?;
                results.push([delete, upsert]);
            }
            Ok(results)
        };
        self.results.get_or_try_init(prepare).await.map(Vec::as_slice)
    }
}

/// What is expected of a statement's count.
#[derive(Clone, Copy)]
pub(super) enum Expect {
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

/// A statement to be sent.
pub(super) struct Call<'a> {
    pub(super) context: String,
    pub(super) statement: &'a Statement,
    pub(super) params: Vec<Param<'a>>,
    pub(super) expect: Expect,
    /// The same statement, which fails when the count is not what is expected; none where no count is wrong, or where
    /// none was made.
    pub(super) checked: Option<&'a Statement>,
}

impl Call<'_> {
    /// Whether its count has to be looked at here.
    pub(super) fn has_to_be_judged(&self) -> bool {
        matches!(self.expect, Expect::Frontier { .. } | Expect::One) && self.checked.is_none()
    }
}

impl Context<'_> {
    pub(super) fn result_calls<'b>(
        &'b self,
        statements: &'b [[Statement; 2]],
        plan: &'b Plan<'_>,
        calls: &mut Vec<Call<'b>>,
    ) {
        // all deletes before all upserts
        for (index, net) in plan.results.iter().enumerate() {
            let (table, _) = &self.definition.results[index];
            for rows in chunks_by_bytes(&net.deletes, |row| step::bytes(&row[..table.key])) {
                let params = columns(table, table.key, rows);
                let expect = Expect::Deleted {
                    table: index,
                    rows: rows.len() as u64,
                };
                let context = format!("deleting from {}.{}", self.schema, table.name);
                calls.push(Call {
                    context,
                    statement: &statements[index][0],
                    params,
                    expect,
                    checked: None,
                });
            }
        }
        for (index, net) in plan.results.iter().enumerate() {
            let (table, _) = &self.definition.results[index];
            for rows in chunks_by_bytes(&net.upserts, |row| step::bytes(row)) {
                let params = columns(table, table.columns.len(), rows);
                let expect = Expect::Changed { table: index };
                let context = format!("writing {}.{}", self.schema, table.name);
                calls.push(Call {
                    context,
                    statement: &statements[index][1],
                    params,
                    expect,
                    checked: None,
                });
            }
        }
    }

    pub(super) fn cleaned_calls<'b>(&'b self, plan: &'b Plan<'_>, calls: &mut Vec<Call<'b>>) {
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
                    checked: None,
                });
            };
            for rows in chunks_by_bytes(&newest.rows, |row| row.bytes()) {
                let column = |(column, of): (usize, &values::Column)| Param::Cleaned {
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
                params: rejected(rejects, self.limits),
                expect: Expect::Other,
                checked: None,
            });
        }
    }
}

fn columns<'a>(table: &Table, count: usize, rows: &'a [&'a Row]) -> Vec<Param<'a>> {
    let column = |(column, of): (usize, &values::Column)| Param::Column {
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

fn rejected<'a>(rejects: &'a [Reject], limits: &RejectLimits) -> Vec<Param<'a>> {
    let (sources, positions): (Vec<String>, Vec<i64>) = rejects.iter().map(Reject::source).unzip();
    vec![
        Param::one(sources),
        Param::Int8s(positions.into_iter().map(Some).collect()),
        Param::Texts(rejects.iter().map(|reject| Some(reject.topic.as_str())).collect()),
        Param::Int4s(rejects.iter().map(Reject::partition).collect()),
        Param::Int8s(rejects.iter().map(Reject::offset).collect()),
        Param::Texts(rejects.iter().map(Reject::object).collect()),
        Param::Texts(rejects.iter().map(|reject| Some(reject.reason.as_str())).collect()),
        Param::Byteas(rejects.iter().map(|reject| limits.cut(&reject.key)).collect()),
        Param::Byteas(rejects.iter().map(|reject| limits.cut(&reject.value)).collect()),
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
