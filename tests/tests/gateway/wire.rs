//! Every interface to the byte: status, headers, body, and what stands in Kafka afterwards.

mod fastapi;
mod kinesis;
mod operations;
mod placement;
mod rest_v2;
mod rest_v3;
mod rest_v3_batch;
mod rest_v3_view;

use crate::http::Answer;
use crate::kafka;
use anyhow::Result;
use std::collections::BTreeSet;

/// Status, type and body; and no header but those that every answer has, and `more`.
#[track_caller]
fn demand(answer: &Answer, status: u16, content_type: &str, body: &str, more: &[&str]) {
    assert_eq!(
        (answer.status, answer.header("content-type"), answer.body.as_str()),
        (status, content_type, body)
    );
    let names: BTreeSet<&str> = answer.headers.keys().map(String::as_str).collect();
    let expected = ["content-length", "content-type", "date", "x-request-id"];
    assert_eq!(names, expected.iter().chain(more).copied().collect(), "{answer:?}");
}

/// Key and value of every record of a topic of one partition.
fn records(topic: &str, partition: i32) -> Result<Vec<(Option<String>, Option<String>)>> {
    let text = |bytes: Option<Vec<u8>>| bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let records = kafka()?.records(topic, partition, "read_committed")?;
    Ok(records
        .into_iter()
        .map(|(_, key, value)| (text(key), text(value)))
        .collect())
}

fn some(key: &str, value: &str) -> (Option<String>, Option<String>) {
    (Some(key.into()), Some(value.into()))
}
