//! Version 3 of the REST proxy: a batch of records, each with an id, and one answer for all of them.
//!
//! A batch that is not one is refused as a whole, and none of its records is written. In any other each record has a
//! result of its own, under its id, and the status is 207 whatever became of them.

use super::body::{self, Body};
use super::budget::Permit;
use super::media_type::MediaType;
use super::reply::{JSON, Reply};
use super::rest::RestError;
use super::rest_v3_item::{Data, HEADER_OVERHEAD, Headers, Item};
use super::rest_v3_record::{Destination, Failure};
use super::shape::{List, Object};
use super::state::State;
use http_server::quote;
use hyper::StatusCode;
use ingest::Partition;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;

/// Records of a batch: the most that the proxy can be configured to take; it takes ten unless it is.
const ENTRIES: usize = 50;
/// Characters of an id.
const ID: usize = 80;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow, default)]
    entries: Option<List<RawEntry<'a>, ENTRIES>>,
}

#[derive(Deserialize)]
struct RawEntry<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    key: Option<Object<Data<'a>>>,
    #[serde(borrow, default)]
    value: Option<Object<Data<'a>>>,
    #[serde(borrow, default)]
    headers: Option<Headers<'a>>,
    #[serde(default)]
    partition_id: Option<Partition>,
    #[serde(borrow, default)]
    timestamp: Option<Cow<'a, str>>,
}

/// What the result of a record is found by, once in a batch: letters, digits, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Id(String);

impl Id {
    fn parse(json: &str) -> Option<Id> {
        let id: String = serde_json::from_str(json).ok()?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        ((1..=ID).contains(&id.len()) && id.bytes().all(plain)).then_some(Id(id))
    }
}

/// A record of a batch.
struct Entry<'a> {
    id: Id,
    item: Item<'a>,
}

impl<'a> RawEntry<'a> {
    fn named(self) -> Option<Entry<'a>> {
        let id = Id::parse(self.id?.get())?;
        let item = Item {
            key: self.key,
            value: self.value,
            headers: self.headers,
            partition_id: self.partition_id,
            timestamp: self.timestamp,
        };
        Some(Entry { id, item })
    }
}

/// `POST /v3/clusters/{cluster}/topics/{topic}/records:batch`.
pub(super) async fn produce(
    state: &Arc<State>,
    cluster: &str,
    name: &str,
    media: MediaType,
    incoming: &mut Body,
) -> Result<Reply, RestError> {
    let destination = Destination::find(state, cluster, name, media).await?;
    let limits = &state.limits;
    let mut taken = body::read(incoming, limits.body_bytes, limits.body_timeout, &state.budget).await?;
    let length = taken.bytes.len();
    let entries = parse(&taken.bytes)?;
    incoming.caller().charge(entries.len().saturating_sub(1) as u64);
    take_overhead(state, &mut taken.permit, &entries)?;
    let bytes = Arc::new(taken.permit);
    let mut sent = Vec::with_capacity(entries.len());
    for Entry { id, item } in entries {
        sent.push((id, destination.send(item, &bytes).await));
    }
    // Kafka's client has a copy
    drop((bytes, taken.bytes));
    let mut results = Results::default();
    for (Id(id), outcome) in sent {
        match destination.settle(outcome).await {
            Ok(written) => results.succeeded(&id, &destination.fields(&written)),
            Err(failure) => results.failed(&id, &failure),
        }
    }
    let written = results.written;
    Ok(Reply::new(StatusCode::MULTI_STATUS, JSON, results.json()).counted(written, length))
}

/// What records and their headers cost beside the body.
fn take_overhead(state: &State, body: &mut Permit, entries: &[Entry<'_>]) -> Result<(), RestError> {
    state.budget.take_records(body, entries.len())?;
    // a record that has too many is not sent
    let headers = entries.iter().filter_map(|entry| entry.item.header_count().ok());
    let bytes = headers.sum::<usize>() * HEADER_OVERHEAD;
    if body.bytes() + bytes > state.budget.total() {
        let text = "the records have more headers than gateway.in_flight_bytes has room for";
        return Err(RestError::Unprocessable(text.to_owned()));
    }
    body.add(state.budget.take(bytes)?);
    Ok(())
}

/// The answer, as the results are known.
#[derive(Default)]
struct Results {
    successes: String,
    failures: String,
    written: u64,
}

const WRITING: &str = "writing to a String";

impl Results {
    fn succeeded(&mut self, id: &str, fields: &str) {
        let comma = if self.successes.is_empty() { "" } else { "," };
        write!(self.successes, "{comma}{{\"id\":\"{id}\",{fields}}}").expect(WRITING);
        self.written += 1;
    }

    fn failed(&mut self, id: &str, Failure { code, text, .. }: &Failure) {
        let comma = if self.failures.is_empty() { "" } else { "," };
        let text = quote::json(text);
        let entry = format_args!("{comma}{{\"id\":\"{id}\",\"error_code\":{code},\"message\":{text}}}");
        self.failures.write_fmt(entry).expect(WRITING);
    }

    fn json(&self) -> String {
        let Results {
            successes, failures, ..
        } = self;
        format!("{{\"successes\":[{successes}],\"failures\":[{failures}]}}")
    }
}

/// The records of a body, in the order and with the ids in which they are sent; none is sent unless all have their form.
fn parse(body: &[u8]) -> Result<Vec<Entry<'_>>, RestError> {
    let wrong = |text: &'static str| Err(RestError::InvalidBatch(text));
    let bad = |text: &str| RestError::BadRequest(text.to_owned());
    let text = std::str::from_utf8(body).map_err(|_| bad("the body is not UTF-8"))?;
    if matches!(text.trim_ascii(), "" | "null") {
        return wrong("Request body is empty. Data is required.");
    }
    let request: Object<Request<'_>> = serde_json::from_str(text).map_err(|error| bad(&error.to_string()))?;
    let entries = request.0.entries.map_or_else(Vec::new, |List(entries)| entries);
    match entries.len() {
        0 => return wrong("Empty batch."),
        1..=ENTRIES => {}
        _ => return wrong("Too many entries in batch."),
    }
    let entries: Option<Vec<Entry<'_>>> = entries.into_iter().map(RawEntry::named).collect();
    let Some(entries) = entries else {
        return wrong("Batch entry identifier is not a valid string.");
    };
    let mut ids = HashSet::with_capacity(entries.len());
    if !entries.iter().all(|entry| ids.insert(&entry.id)) {
        return wrong("Batch entry IDs are not distinct.");
    }
    Ok(entries)
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::super::reply::ReplyBody;
    use super::*;

    fn said(body: &str) -> String {
        let error = match parse(body.as_bytes()) {
            Ok(entries) => {
                let ids: Vec<&str> = entries.iter().map(|entry| entry.id.0.as_str()).collect();
                return ids.join(" ");
            }
            Err(error) => error.reply(JSON),
        };
        match error.body {
            ReplyBody::Whole(Some(body)) => format!("{} {}", error.status.as_u16(), String::from_utf8_lossy(&body)),
            _ => String::new(),
        }
    }

    #[test]
    fn bodies_are_judged_as_the_proxy_does() {
        let value = r#""value":{"type":"JSON","data":{"ind":1}}"#;
        assert_eq!(
            said(&format!(r#"{{"entries":[{{"id":"b",{value}}},{{"id":"a"}}]}}"#)),
            "b a"
        );
        let long = format!(r#"{{"entries":[{{"id":"{}"}},{{"id":"A-_9"}}]}}"#, "x".repeat(80));
        assert!(said(&long).ends_with(" A-_9"));
        let wrong = |text: &str| format!(r#"422 {{"error_code":42208,"message":"{text}"}}"#);
        for body in ["", " \n", "null"] {
            assert_eq!(
                said(body),
                wrong("Request body is empty. Data is required."),
                "{body:?}"
            );
        }
        for body in ["{}", r#"{"entries":[]}"#, r#"{"entries":null}"#] {
            assert_eq!(said(body), wrong("Empty batch."), "{body}");
        }
        for id in [
            "null".to_owned(),
            "1".to_owned(),
            r#""""#.to_owned(),
            r#""a b""#.to_owned(),
            r#""é""#.to_owned(),
            r#"["a"]"#.to_owned(),
            format!("\"{}\"", "x".repeat(81)),
        ] {
            let body = format!(r#"{{"entries":[{{"id":"a"}},{{"id":{id}}}]}}"#);
            let text = "Batch entry identifier is not a valid string.";
            assert_eq!(said(&body), wrong(text), "{id}");
        }
        let text = "Batch entry identifier is not a valid string.";
        assert_eq!(said(&format!(r#"{{"entries":[{{{value}}}]}}"#)), wrong(text));
        let twice = r#"{"entries":[{"id":"a"},{"id":"b"},{"id":"a"}]}"#;
        assert_eq!(said(twice), wrong("Batch entry IDs are not distinct."));
        let many = |count: usize| {
            let entries: Vec<String> = (0..count).map(|id| format!(r#"{{"id":"{id}"}}"#)).collect();
            format!(r#"{{"entries":[{}]}}"#, entries.join(","))
        };
        assert_eq!(said(&many(ENTRIES)).split(' ').count(), ENTRIES);
        assert_eq!(said(&many(ENTRIES + 1)), wrong("Too many entries in batch."));
        for body in [
            "{",
            "[]",
            "7",
            r#"{"entries":7}"#,
            r#"{"entries":[7]}"#,
            r#"{"entries":[{"id":"a","partition_id":"x"}]}"#,
            r#"{"entries":[{"id":"a","value":7}]}"#,
        ] {
            assert!(
                said(body).starts_with("400 {\"error_code\":400,\"message\":\"Bad Request: "),
                "{body}: {}",
                said(body)
            );
        }
    }

    #[test]
    fn each_result_stands_under_its_id() {
        let mut results = Results::default();
        assert_eq!(results.json(), r#"{"successes":[],"failures":[]}"#);
        results.succeeded("a", r#""offset":1"#);
        results.failed("b", &Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "x\"y"));
        results.succeeded("c", r#""offset":2"#);
        assert_eq!(results.written, 2);
        let expected = r#"{"successes":[{"id":"a","offset":1},{"id":"c","offset":2}],"failures":[{"id":"b","error_code":413,"message":"x\"y"}]}"#;
        assert_eq!(results.json(), expected);
    }
}
