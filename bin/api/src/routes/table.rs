//! `GET /api/results/{table}`: rows with the commit and the frontier that they belong to.

use crate::accept::{CSV, JSON, NDJSON, choose};
use crate::answer::{Answer, with_body};
use crate::api::Api;
use crate::body::pieces;
use crate::error::ApiError;
use crate::query::Query;
use crate::routes::page::{Page, mark};
use crate::routes::stored::read_postgres;
use crate::rows::Format;
use crate::state::Content;
use crate::wait::{AtLeast, absent};
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderMap, IF_NONE_MATCH};

const FORMATS: [(&str, Format); 3] = [(JSON, Format::Json), (CSV, Format::Csv), (NDJSON, Format::NdJson)];

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
    let state = wanted.wait(&api.shared).await?;
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
        answer.headers_mut().remove(CONTENT_TYPE);
        mark(&mut answer, of.changed);
        return Ok(answer);
    }
    match &of.content {
        Content::Held(rows) => page.read_memory(&state, of.changed, rows).await,
        Content::Large => read_postgres(&page, &state, of.changed).await,
        Content::Absent => Err(absent(name)),
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
