//! A page of a table as an answer: what stands before its rows, the rows from memory, and what stands behind them.

use crate::answer::{Answer, set, set_text, with_body};
use crate::api::Api;
use crate::body::{AnswerBody, pieces, streamed};
use crate::error::ApiError;
use crate::pins::Pinned;
use crate::query::Query;
use crate::routes::read::gone;
use crate::rows::{Format, Rows, write_row};
use crate::state::State;
use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{ACCESS_CONTROL_EXPOSE_HEADERS, ETAG, HeaderName, HeaderValue, LINK, VARY};
use operators::{Row, Table};
use std::sync::Arc;

/// Header with the commit of the rows.
const COMMIT: HeaderName = HeaderName::from_static("pinflow-commit");
/// Header with the frontier of the rows, as JSON.
const FRONTIER: HeaderName = HeaderName::from_static("pinflow-frontier");
/// A frontier with more bytes is in the body of JSON alone.
const MOST_HEADER: usize = 4 << 10;
/// A table of so many rows is looked through at once.
const FEW: usize = 2000;
/// Rows that are encoded together.
const BATCH: usize = 512;

/// A request for a page of a table.
pub struct Page<'a> {
    /// The API.
    pub api: &'a Api,
    /// The table, by number.
    pub number: usize,
    /// The media type.
    pub media: &'static str,
    /// How rows are written.
    pub format: Format,
    /// Which rows.
    pub query: Query,
    /// The parameters of the request.
    pub parameters: &'a [(String, String)],
}

/// The commit that a page belongs to.
pub struct At {
    /// The commit.
    pub commit: i64,
    /// Its frontier as JSON.
    pub frontier: Bytes,
    /// The commit that changed the table last.
    pub changed: i64,
}

impl Page<'_> {
    /// The table.
    pub fn table(&self) -> &Table {
        &self.api.shared.shapes[self.number].table
    }

    /// The columns that are shown, by number.
    pub fn columns(&self) -> Vec<usize> {
        let all = || self.api.shared.shapes[self.number].all();
        self.query.select.clone().unwrap_or_else(all)
    }

    /// The page from the rows in memory.
    pub async fn read_memory(&self, state: &State, changed: i64, rows: &Rows) -> Result<Answer, ApiError> {
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
        Ok(self.finish(&at, next, streamed(futures_util::stream::iter(body.map(Ok)))))
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
    pub fn before(&self, at: &At) -> Bytes {
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
    pub fn after(&self, next: Option<&str>) -> Bytes {
        match (self.format, next) {
            (Format::NdJson | Format::Csv, _) => Bytes::new(),
            (Format::Json, Some(next)) => format!("],\"next\":\"{next}\"}}").into(),
            (Format::Json, None) if self.query.limit.is_some() => Bytes::from_static(b"],\"next\":null}"),
            (Format::Json, None) => Bytes::from_static(b"]}"),
        }
    }

    /// The answer with its headers; `next` is the cursor of the page after it.
    pub fn finish(&self, at: &At, next: Option<String>, body: AnswerBody) -> Answer {
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
}

/// What tells versions and forms of an answer apart.
pub fn mark(answer: &mut Answer, changed: i64) {
    set_text(answer, ETAG, &format!("W/\"{changed}\""));
    set(answer, VARY, HeaderValue::from_static("Accept"));
}
