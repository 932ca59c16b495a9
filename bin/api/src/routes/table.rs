//! `GET /api/results/{table}`: rows with the commit and the frontier that they belong to.

use crate::accept::{CSV, JSON, NDJSON, choose};
use crate::answer::{Answer, set, set_text, with_body};
use crate::api::Api;
use crate::body::{pieces, streamed};
use crate::error::{ApiError, shown};
use crate::load::read_row;
use crate::pins::Pinned;
use crate::postgres::{Head, ReadError, Snapshot};
use crate::query::Query;
use crate::rows::{Format, Rows, write_row};
use crate::state::{Content, State};
use crate::wait::AtLeast;
use bytes::Bytes;
use futures_util::TryStreamExt;
use hyper::StatusCode;
use hyper::header::{
    ACCESS_CONTROL_EXPOSE_HEADERS, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH, LINK, VARY,
};
use operators::{Row, Table};
use std::pin::Pin;
use std::sync::Arc;
use tokio_postgres::RowStream;

const FORMATS: [(&str, Format); 3] = [(JSON, Format::Json), (CSV, Format::Csv), (NDJSON, Format::NdJson)];
/// Header with the commit of the rows.
pub const COMMIT: HeaderName = HeaderName::from_static("pinflow-commit");
/// Header with the frontier of the rows, as JSON.
pub const FRONTIER: HeaderName = HeaderName::from_static("pinflow-frontier");
/// A frontier with more bytes is in the body of JSON alone.
const MOST_HEADER: usize = 4 << 10;
/// A table of so many rows is looked through at once.
const FEW: usize = 2000;
/// Rows that are encoded together.
const BATCH: usize = 512;
/// Bytes read from PostgreSQL before an answer begins; what is complete then occupies no connection any longer.
const AHEAD: usize = 1 << 20;
/// For a client that takes a long answer slowly.
const PATIENCE: &str = "SET LOCAL statement_timeout = '300s'";
/// Bytes of a piece of a longer answer.
const PIECE: usize = 32 << 10;

/// Answers a request for a table.
pub async fn answer(
    api: &Api,
    name: &str,
    parameters: &[(String, String)],
    headers: &HeaderMap,
) -> Result<Answer, ApiError> {
    let number = number(api, name)?;
    let table = &api.shared.shapes[number].table;
    let (media, format) = FORMATS[choose(headers, &FORMATS.map(|(media, _)| media))?];
    let query = Query::parse(table, parameters)?;
    let wanted = AtLeast::parse(parameters, &api.shared.topics)?;
    let state = wanted.wait(&api.shared, &api.waiting).await?;
    let of = &state.tables[number];
    let page = Page {
        api,
        number,
        media,
        format,
        query,
        parameters,
    };
    let unchanged = |since: &i64| (of.changed..=state.commit).contains(since);
    if page.query.cursor.is_none()
        && known(headers)
            .iter()
            .any(|known| known.is_none_or(|since| unchanged(&since)))
    {
        let mut answer = with_body(StatusCode::NOT_MODIFIED, media, pieces(Vec::new()));
        answer.headers_mut().remove(hyper::header::CONTENT_TYPE);
        mark(&mut answer, of.changed);
        return Ok(answer);
    }
    match &of.content {
        Content::Held(rows) => page.read_memory(&state, of.changed, rows).await,
        Content::Large => page.read_postgres(&state, of.changed).await,
        Content::Absent => {
            let error = format!("{name} is not there yet: the first commit of this run makes it");
            Err(crate::wait::nothing(&error).with("table", name))
        }
    }
}

/// The number of a table.
pub fn number(api: &Api, name: &str) -> Result<usize, ApiError> {
    let tables = api.shared.shapes.iter();
    let names = || tables.map(|shape| shape.table.name).collect::<Vec<_>>();
    let number = api.shared.number(name);
    number.ok_or_else(|| ApiError::unknown_table(name, &names()))
}

/// The commits that the client holds the table of; `None` for `*`.
fn known(headers: &HeaderMap) -> Vec<Option<i64>> {
    let values = headers.get_all(IF_NONE_MATCH).iter();
    let tags = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    let commit = |tag: &str| match tag.trim() {
        "*" => Some(None),
        tag => {
            let tag = tag.strip_prefix("W/").unwrap_or(tag);
            let commit = tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok()?;
            Some(Some(commit))
        }
    };
    tags.filter_map(commit).collect()
}

/// What tells versions and forms of an answer apart.
fn mark(answer: &mut Answer, changed: i64) {
    set_text(answer, ETAG, &format!("W/\"{changed}\""));
    set(answer, VARY, HeaderValue::from_static("Accept"));
}

/// A request for a page of a table.
struct Page<'a> {
    api: &'a Api,
    number: usize,
    media: &'static str,
    format: Format,
    query: Query,
    parameters: &'a [(String, String)],
}

/// The commit that a page belongs to.
struct At {
    commit: i64,
    frontier: Bytes,
    changed: i64,
}

impl Page<'_> {
    fn table(&self) -> &Table {
        &self.api.shared.shapes[self.number].table
    }

    fn columns(&self) -> Vec<usize> {
        let all = || self.api.shared.shapes[self.number].all();
        self.query.select.clone().unwrap_or_else(all)
    }

    async fn read_memory(&self, state: &State, changed: i64, rows: &Rows) -> Result<Answer, ApiError> {
        let present = || Pinned {
            commit: state.commit,
            frontier: state.frontier_json(),
            table: self.number,
            changed,
            rows: rows.clone(),
        };
        let pinned = match self.query.cursor {
            Some(cursor) if cursor.commit != state.commit => {
                let kept = self.api.pins.get(cursor.commit, self.number);
                kept.ok_or_else(|| gone(cursor.commit))?
            }
            _ => present(),
        };
        let at = At {
            commit: pinned.commit,
            frontier: pinned.frontier.clone(),
            changed: pinned.changed,
        };
        let shape = &self.api.shared.shapes[self.number];
        if self.query.is_everything() {
            let (shared, rows) = (Arc::clone(&self.api.shared), pinned.rows.clone());
            let (number, format) = (self.number, self.format);
            let encode = move || rows.encoded(&shared.shapes[number], format);
            let mut body = vec![self.before(&at)];
            body.extend(self.aside(pinned.rows.len(), encode).await?);
            body.push(self.after(None));
            return Ok(self.finish(&at, None, pieces(body)));
        }
        let (query, table, rows) = (self.query.clone(), shape.table, pinned.rows.clone());
        let run = move || {
            let (page, more) = query.run(&table, rows.iter());
            (page.into_iter().cloned().collect::<Vec<Arc<Row>>>(), more)
        };
        let (page, more) = self.aside(pinned.rows.len(), run).await?;
        let next = more.then(|| self.query.next(at.commit, page.len()));
        if more {
            self.api.pins.keep(pinned);
        }
        let (before, after) = (self.before(&at), self.after(next.as_deref()));
        let (columns, format) = (self.columns(), self.format);
        if page.len() <= BATCH {
            let rows = self.encode(&page, true, &columns);
            return Ok(self.finish(&at, next, pieces(vec![before, rows, after])));
        }
        // encoded as the client takes it
        let shared = Arc::clone(&self.api.shared);
        let number = self.number;
        let batches = page.len().div_ceil(BATCH);
        let rows = (0..batches).map(move |batch| {
            let rows = page.chunks(BATCH).nth(batch).unwrap_or_default();
            let mut out = Vec::new();
            for row in rows {
                write_row(&mut out, &shared.shapes[number], row, &columns, format);
            }
            if format == Format::Json && batch + 1 == batches {
                out.pop();
            }
            Bytes::from(out)
        });
        let body = std::iter::once(before).chain(rows).chain([after]);
        Ok(self.finish(&at, next, streamed(futures_util::stream::iter(body))))
    }

    /// Does what takes time with the number of rows; of many rows aside, so that other requests do not wait.
    async fn aside<T: Send + 'static>(
        &self,
        rows: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        if rows <= FEW {
            return Ok(work());
        }
        let failed = || ApiError::unavailable("the program ends", "try again");
        let _one_of_few = self.api.aside.acquire().await.map_err(|_| failed())?;
        tokio::task::spawn_blocking(work).await.map_err(|_| failed())
    }

    /// Rows with what stands between them, and behind the last one unless it is the `last` of all.
    fn encode(&self, rows: &[Arc<Row>], last: bool, columns: &[usize]) -> Bytes {
        let mut out = Vec::new();
        for row in rows {
            write_row(
                &mut out,
                &self.api.shared.shapes[self.number],
                row,
                columns,
                self.format,
            );
        }
        if last && self.format == Format::Json {
            out.pop();
        }
        out.into()
    }

    /// What stands before the rows.
    fn before(&self, at: &At) -> Bytes {
        match self.format {
            Format::NdJson => Bytes::new(),
            Format::Csv => {
                let mut out = Vec::new();
                self.api.shared.shapes[self.number].csv_header(&mut out, &self.columns());
                out.into()
            }
            Format::Json => {
                let (name, commit) = (self.table().name, at.commit);
                let frontier = String::from_utf8_lossy(&at.frontier);
                format!("{{\"table\":\"{name}\",\"commit\":{commit},\"frontier\":{frontier},\"rows\":[").into()
            }
        }
    }

    /// What stands behind the rows.
    fn after(&self, next: Option<&str>) -> Bytes {
        match (self.format, next) {
            (Format::NdJson | Format::Csv, _) => Bytes::new(),
            (Format::Json, Some(next)) => format!("],\"next\":\"{next}\"}}").into(),
            (Format::Json, None) if self.query.limit.is_some() => Bytes::from_static(b"],\"next\":null}"),
            (Format::Json, None) => Bytes::from_static(b"]}"),
        }
    }

    fn finish(&self, at: &At, next: Option<String>, body: crate::body::AnswerBody) -> Answer {
        let mut answer = with_body(StatusCode::OK, self.media, body);
        mark(&mut answer, at.changed);
        set(&mut answer, COMMIT, HeaderValue::from(at.commit));
        // what scripts of other pages may read, where they may read anything
        let exposed = HeaderValue::from_static("etag, link, pinflow-commit, pinflow-frontier");
        set(&mut answer, ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        if at.frontier.len() <= MOST_HEADER
            && let Ok(frontier) = HeaderValue::from_bytes(&at.frontier)
        {
            set(&mut answer, FRONTIER, frontier);
        }
        if let Some(next) = next {
            let link = format!("<{}>; rel=\"next\"", self.link(&next));
            set_text(&mut answer, LINK, &link);
        }
        answer
    }

    /// The URL of the next page.
    fn link(&self, next: &str) -> String {
        let left_out = ["cursor", "at_least", "timeout"];
        let kept = self
            .parameters
            .iter()
            .filter(|(name, _)| !left_out.contains(&name.as_str()));
        let encode =
            |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        let mut pairs: Vec<String> = kept
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        pairs.push(format!("cursor={next}"));
        format!("/api/results/{}?{}", self.table().name, pairs.join("&"))
    }

    async fn read_postgres(&self, state: &State, changed: i64) -> Result<Answer, ApiError> {
        let snapshot = self.api.pool.snapshot().await.map_err(unreadable)?;
        let head = snapshot.head.clone();
        if let Some(cursor) = self.query.cursor
            && cursor.commit != head.commit
        {
            snapshot.finish().await;
            return Err(gone(cursor.commit));
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
        let patience = snapshot.client().batch_execute(PATIENCE).await;
        patience.map_err(|error| unreadable(error.into()))?;
        let statement = self.query.statement(self.api.pool.schema(), self.table());
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
            shared: Arc::clone(&self.api.shared),
            number: self.number,
            columns: self.columns(),
            format: self.format,
            most: self.query.limit.unwrap_or(usize::MAX),
            count: 0,
            ended: false,
            more: false,
        };
        let mut ahead = vec![self.before(&at)];
        let mut bytes = 0;
        while bytes < AHEAD && !reading.ended {
            let piece = reading.piece().await.map_err(|error| unreadable(error.into()))?;
            bytes += piece.len();
            ahead.push(piece);
        }
        if reading.ended {
            let next = reading.more.then(|| self.query.next(at.commit, reading.count));
            reading.snapshot.finish().await;
            ahead.push(self.after(next.as_deref()));
            return Ok(self.finish(&at, next, pieces(ahead)));
        }
        let end = (self.after(None), self.query.clone(), at.commit);
        let body = futures_util::stream::unfold((ahead.into_iter(), Some((reading, end))), go_on);
        Ok(self.finish(&at, None, streamed(body)))
    }
}

type End = (Bytes, Query, i64);

/// The next piece of a long answer: what was read ahead, then what comes from PostgreSQL, then the end.
async fn go_on(
    (mut ahead, reading): (std::vec::IntoIter<Bytes>, Option<(Reading, End)>),
) -> Option<(Bytes, (std::vec::IntoIter<Bytes>, Option<(Reading, End)>))> {
    if let Some(piece) = ahead.next() {
        return Some((piece, (ahead, reading)));
    }
    let (mut reading, end) = reading?;
    if !reading.ended {
        return match reading.piece().await {
            Ok(piece) => Some((piece, (ahead, Some((reading, end))))),
            Err(error) => {
                tracing::warn!(%error, "an answer was cut off");
                // an end would say that it is complete: the server's time-outs end the connection instead
                std::future::pending().await
            }
        };
    }
    let (after, query, commit) = end;
    let after = match (reading.format, reading.more) {
        (Format::Json, true) => format!("],\"next\":\"{}\"}}", query.next(commit, reading.count)).into(),
        _ => after,
    };
    reading.snapshot.finish().await;
    Some((after, (ahead, None)))
}

/// Rows on their way from PostgreSQL.
struct Reading {
    snapshot: Snapshot,
    rows: Pin<Box<RowStream>>,
    shared: Arc<crate::shared::Shared>,
    number: usize,
    columns: Vec<usize>,
    format: Format,
    most: usize,
    count: usize,
    ended: bool,
    more: bool,
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

/// 410: a page of a commit that is not kept any more.
fn gone(commit: i64) -> ApiError {
    let error = format!("the rows of commit {commit} are not kept any more");
    ApiError::new(StatusCode::GONE, error, "begin with the first page again").with("commit", commit)
}

/// What a failure of PostgreSQL answers.
pub fn unreadable(error: ReadError) -> ApiError {
    match &error {
        ReadError::NoResults { .. } => crate::wait::nothing(&error.to_string()),
        ReadError::Statement(cause) if cause.code() == Some(&tokio_postgres::error::SqlState::QUERY_CANCELED) => {
            ApiError::unavailable(
                "the query took too long",
                "ask for less, by the columns of the primary key",
            )
        }
        ReadError::Busy | ReadError::Connect(_) | ReadError::Statement(_) => {
            tracing::warn!(%error, "a request cannot be answered");
            let text = error.to_string();
            ApiError::unavailable(shown(&text).trim_matches('`'), "try again")
        }
    }
}

/// What a snapshot belongs to, as members of an answer.
pub fn head_json(head: &Head) -> (i64, serde_json::Value) {
    let frontier = serde_json::from_str(&head.frontier.json()).unwrap_or_default();
    (head.commit, frontier)
}
