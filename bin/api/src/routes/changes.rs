//! `GET /api/results/{table}/changes` and `GET /api/changes?tables=a,b`: net changes as server-sent events.

use crate::accept::{EVENTS, choose};
use crate::answer::{Answer, set, with_body};
use crate::api::Api;
use crate::body::streamed;
use crate::error::{ApiError, shown};
use crate::feeds::Subject;
use crate::params::{duration, once, only};
use crate::routes::table::number;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue};
use std::time::Duration;

/// The header by which a client says which event it has seen last.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// The least time between two events of a client, if it does not say.
const PACE: Duration = Duration::from_millis(100);
/// What a client may ask for, beside 0.
const PACES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(60));

/// Changes of one table.
pub async fn of_table(
    api: &Api,
    table: &str,
    parameters: &[(String, String)],
    headers: &HeaderMap,
) -> Result<Answer, ApiError> {
    only(parameters, &["pace", "last_event_id"])?;
    stream(api, vec![number(api, table)?], parameters, headers).await
}

/// Changes of several tables; of all, if none is named.
pub async fn of_tables(api: &Api, parameters: &[(String, String)], headers: &HeaderMap) -> Result<Answer, ApiError> {
    only(parameters, &["tables", "pace", "last_event_id"])?;
    let mut tables = match once(parameters, "tables")? {
        None => (0..api.shared.shapes.len()).collect(),
        Some(names) => {
            let numbers = names.split(',').map(|name| number(api, name.trim()));
            numbers.collect::<Result<Vec<usize>, _>>()?
        }
    };
    tables.sort_unstable();
    tables.dedup();
    stream(api, tables, parameters, headers).await
}

async fn stream(
    api: &Api,
    tables: Vec<usize>,
    parameters: &[(String, String)],
    headers: &HeaderMap,
) -> Result<Answer, ApiError> {
    choose(headers, &[EVENTS])?;
    let subject = Subject {
        tables,
        pace: pace(once(parameters, "pace")?)?,
    };
    // a browser's EventSource sends the header when it connects again; the parameter is for those who cannot set one
    let header = headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok());
    let seen = header.or(once(parameters, "last_event_id")?);
    let seen = seen.and_then(|id| id.trim().parse().ok());
    let events = api.feeds.subscribe(&subject, seen).await?;
    let mut answer = with_body(StatusCode::OK, EVENTS, streamed(events));
    set(&mut answer, CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let buffering = HeaderName::from_static("x-accel-buffering");
    set(&mut answer, buffering, HeaderValue::from_static("no"));
    Ok(answer)
}

/// `100ms`, `1s`, or milliseconds alone; 0: no pace.
fn pace(text: Option<&str>) -> Result<Duration, ApiError> {
    let Some(text) = text else {
        return Ok(PACE);
    };
    let pace = duration(text, "ms").filter(|pace| pace.is_zero() || (PACES.0..=PACES.1).contains(pace));
    pace.ok_or_else(|| {
        let error = format!("invalid pace {}", shown(text));
        let hint = "expected a duration from 10ms to 60s, such as 500ms, or 0 for an event of each commit";
        ApiError::bad(error, hint).with("parameter", "pace")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_has_bounds() {
        for (text, expected) in [
            (None, Some(100)),
            (Some("0"), Some(0)),
            (Some("10"), Some(10)),
            (Some("1s"), Some(1000)),
            (Some("60s"), Some(60_000)),
            (Some("9ms"), None),
            (Some("61s"), None),
            (Some("x"), None),
        ] {
            let expected = expected.map(Duration::from_millis);
            assert_eq!(pace(text).ok(), expected, "{text:?}");
        }
    }
}
