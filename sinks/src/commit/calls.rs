//! A step as statements: what is sent for each table, in which order, and what is expected of its count.

use super::call::{Call, Expect};
use super::context::Context;
use super::plan::Plan;
use crate::encode::Param;
use crate::reject_limits::RejectLimits;
use crate::rows::{self, CleanedRow, Reject};
use tokio_postgres::Statement;
use values::{Row, Table};

/// Rows of one statement.
const ROWS: usize = 4096;
/// Bytes of values in one statement, about.
const BYTES: usize = 4 << 20;

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
            for rows in chunks_by_bytes(&net.deletes, |row| rows::bytes(&row[..table.key])) {
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
            for rows in chunks_by_bytes(&net.upserts, |row| rows::bytes(row)) {
                let params = columns(table, table.columns.len(), rows);
                let expect = Expect::Changed {
                    table: index,
                    rows: rows.len() as u64,
                };
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
        for (index, latest) in plan.cleaned.iter().enumerate() {
            let table = &self.definition.cleaned[index];
            let [settle_rows, settle_tombstones, settle_deletes] = &self.statements.settle[index];
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
            for rows in chunks_by_bytes(&latest.rows, |row| row.bytes()) {
                let column = |(column, of): (usize, &values::Column)| Param::Cleaned {
                    rows,
                    column,
                    ty: of.ty,
                };
                let columns = table.columns.iter().enumerate().map(column);
                add(settle_rows, columns.chain(positions(rows)).collect());
                add(settle_tombstones, inds(rows).chain(positions(rows)).collect());
            }
            for deletes in latest.deletes.chunks(ROWS) {
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
    std::iter::once(Param::Int8s(rows.iter().map(|row| Some(row.ind.0)).collect()))
}

fn positions<'a>(rows: &[&CleanedRow]) -> impl Iterator<Item = Param<'a>> + use<'a> {
    [
        Param::Int2s(rows.iter().map(|row| i16::from(row.position.generation())).collect()),
        Param::Int4s(rows.iter().map(|row| Some(row.position.partition().0)).collect()),
        Param::Int8s(rows.iter().map(|row| Some(row.position.offset().0)).collect()),
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
    debug_assert!(
        chunks.iter().all(|chunk| (1..=ROWS).contains(&chunk.len())),
        "a statement has rows, and not too many"
    );
    chunks
}
