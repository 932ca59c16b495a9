//! A page of a table that is not held in memory: from PostgreSQL, in one snapshot, as the client takes it.

use crate::answer::Answer;
use crate::body::{pieces, streamed};
use crate::error::ApiError;
use crate::load::read_row;
use crate::postgres::{Snapshot, unreadable};
use crate::query::Query;
use crate::routes::page::{At, Page};
use crate::routes::read::{behind, gone};
use crate::rows::{Format, write_row};
use crate::shared::Shared;
use crate::state::State;
use bytes::Bytes;
use futures_util::TryStreamExt;
use http_server::CutOff;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use tokio_postgres::RowStream;

/// Bytes read from PostgreSQL before an answer begins; what is complete then occupies no connection any longer.
const AHEAD: usize = 1 << 20;
/// Bytes of a piece of a longer answer.
const PIECE: usize = 32 << 10;

/// Reads the page; `state` is what is known here, where the table was changed last by the commit `changed`.
pub async fn read_postgres(page: &Page<'_>, state: &State, changed: i64) -> Result<Answer, ApiError> {
    let snapshot = page.api.pool.snapshot().await.map_err(unreadable)?;
    let head = snapshot.head.clone();
    if let Some(cursor) = page.query.cursor
        && cursor.commit != head.commit
    {
        snapshot.finish().await;
        return Err(gone(cursor.commit));
    }
    if head.commit < state.commit {
        // what was waited for, or shown before, is not there
        snapshot.finish().await;
        return Err(behind(head.commit, state.commit));
    }
    let at = At {
        commit: head.commit,
        frontier: Bytes::from(head.frontier.json()),
        // the table may have been changed by a commit that is not known here yet
        changed: if state.commit >= head.commit {
            changed
        } else {
            head.commit
        },
    };
    snapshot.be_patient().await.map_err(unreadable)?;
    let statement = page.query.statement(page.api.pool.schema(), page.table());
    let parameters: Vec<_> = statement
        .parameters
        .iter()
        .map(|parameter| parameter.as_sql())
        .collect();
    let rows = snapshot.client().query_raw(&statement.sql, parameters).await;
    let rows = rows.map_err(|error| unreadable(error.into()))?;
    let mut reading = Reading {
        snapshot,
        rows: Box::pin(rows),
        shared: Arc::clone(&page.api.shared),
        number: page.number,
        columns: page.columns(),
        format: page.format,
        most: page.query.limit.unwrap_or(usize::MAX),
        count: 0,
        ended: false,
        more: false,
        place: None,
    };
    let mut ahead = vec![page.before(&at)];
    let mut bytes = 0;
    while bytes < AHEAD && !reading.ended {
        let piece = reading.piece().await.map_err(|error| unreadable(error.into()))?;
        bytes += piece.len();
        ahead.push(piece);
    }
    if reading.ended {
        let next = reading.more.then(|| page.query.next(at.commit, reading.count));
        reading.snapshot.finish().await;
        ahead.push(page.after(next.as_deref()));
        return Ok(page.finish(&at, next, pieces(ahead)));
    }
    reading.place = Some(page.api.pool.begin_long_answer().map_err(unreadable)?);
    let end = (page.after(None), page.query.clone(), at.commit);
    let body = futures_util::stream::unfold((ahead.into_iter(), Some((reading, end))), go_on);
    Ok(page.finish(&at, None, streamed(body)))
}

type End = (Bytes, Query, i64);
/// What was read ahead, and what comes after it.
type Rest = (std::vec::IntoIter<Bytes>, Option<(Reading, End)>);

/// The next piece of a long answer: what was read ahead, then what comes from PostgreSQL, then the end.
async fn go_on((mut ahead, reading): Rest) -> Option<(Result<Bytes, CutOff>, Rest)> {
    if let Some(piece) = ahead.next() {
        return Some((Ok(piece), (ahead, reading)));
    }
    let (mut reading, end) = reading?;
    if !reading.ended {
        return match reading.piece().await {
            Ok(piece) => Some((Ok(piece), (ahead, Some((reading, end))))),
            Err(error) => {
                tracing::warn!(%error, "an answer was cut off");
                // an end would say that it is complete
                Some((Err(CutOff), (ahead, None)))
            }
        };
    }
    let (after, query, commit) = end;
    let after = match (reading.format, reading.more) {
        (Format::Json, true) => format!("],\"next\":\"{}\"}}", query.next(commit, reading.count)).into(),
        _ => after,
    };
    reading.snapshot.finish().await;
    Some((Ok(after), (ahead, None)))
}

/// Rows on their way from PostgreSQL.
struct Reading {
    snapshot: Snapshot,
    rows: Pin<Box<RowStream>>,
    shared: Arc<Shared>,
    number: usize,
    columns: Vec<usize>,
    format: Format,
    most: usize,
    count: usize,
    ended: bool,
    more: bool,
    /// Its place among the answers that take longer.
    place: Option<OwnedSemaphorePermit>,
}

impl Reading {
    /// The next rows; all commas stand before a row, since the last one is not known as such.
    async fn piece(&mut self) -> Result<Bytes, tokio_postgres::Error> {
        let shape = &self.shared.shapes[self.number];
        let mut out = Vec::new();
        while out.len() < PIECE {
            let Some(row) = self.rows.try_next().await? else {
                self.ended = true;
                break;
            };
            if self.count == self.most {
                self.more = true;
                continue;
            }
            let row = read_row(&shape.table, &row)?;
            if self.format == Format::Json && self.count > 0 {
                out.push(b',');
            }
            write_row(&mut out, shape, &row, &self.columns, self.format);
            if self.format == Format::Json {
                out.pop();
            }
            self.count += 1;
        }
        Ok(out.into())
    }
}
