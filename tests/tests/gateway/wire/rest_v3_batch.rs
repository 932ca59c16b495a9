//! Batches of version 3 of the REST proxy, to the byte.

use super::{demand, records, some};
use crate::http::{JSON, V2};
use crate::{Gateway, kafka};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

#[test]
fn rest_v3_answers_each_record_of_a_batch() -> Result<()> {
    let kafka = kafka()?;
    kafka.create_topic("batch.pin", 2, &[])?;
    let gateway = Gateway::start(kafka, &["--topics", "pin=batch.pin"])?;
    const PATH: &str = "/kafka/v3/clusters/lkc-1/topics/batch.pin/records:batch";
    let post = |path: &str, body: &str| gateway.ask(&format!("POST {path}"), &[JSON], body);
    let body = json!({"entries": [
        {"id": "1", "partition_id": 0, "value": {"type": "JSON", "data": {"ind": 1}}},
        {"id": "no-such", "partition_id": 9, "value": {"data": 1}},
        {"id": "2", "partition_id": 0, "key": {"type": "BINARY", "data": "aw=="}, "value": {"type": "STRING", "data": "text"},
         "headers": [{"name": "h", "value": "dg=="}], "timestamp": "2021-02-05T19:14:42Z"},
        {"id": "avro", "value": {"type": "AVRO", "data": 1}},
        {"id": "large", "value": {"data": "x".repeat(1_200_000)}},
        {"id": "3", "partition_id": 0, "key": {"type": "JSON", "data": 7}, "value": null}
    ]});
    let answer = post(PATH, &body.to_string())?;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (207, "application/json")
    );
    let mut answer = answer.json()?;
    for success in answer["successes"].as_array_mut().context("successes")? {
        let time = success["timestamp"].take();
        let time = time.as_str().context("a time")?;
        ensure!(time.ends_with('Z') && time.len() == 24, "{time}");
        ensure!(success["id"] != "2" || time == "2021-02-05T19:14:42.000Z", "{time}");
    }
    let success = |id: &str, offset: i64, more: Value| {
        let mut success = json!({"id": id, "cluster_id": "lkc-1", "topic_name": "batch.pin", "partition_id": 0,
                                 "offset": offset, "timestamp": null});
        let fields = success.as_object_mut().context("an object")?;
        fields.extend(more.as_object().context("an object")?.clone());
        Ok::<Value, anyhow::Error>(success)
    };
    let value = |kind: &str, size: usize| json!({"type": kind, "size": size});
    assert_eq!(
        answer["successes"],
        json!([
            success("1", 0, json!({"value": value("JSON", 9)}))?,
            success("2", 1, json!({"key": value("BINARY", 1), "value": value("STRING", 4)}))?,
            success("3", 2, json!({"key": value("JSON", 1)}))?,
        ])
    );
    let failures = &answer["failures"];
    assert_eq!(
        (&failures[0], &failures[1]),
        (
            &json!({"id": "no-such", "error_code": 40402, "message": "Partition not found."}),
            &json!({"id": "avro", "error_code": 422,
                    "message": "type AVRO is not served: JSON, BINARY and STRING are"})
        )
    );
    assert_eq!(
        (
            &failures[2]["id"],
            &failures[2]["error_code"],
            failures.as_array().map(Vec::len)
        ),
        (&json!("large"), &json!(413), Some(3))
    );
    let expected = [some("1", r#"{"ind":1}"#), some("k", "text"), (Some("7".into()), None)];
    assert_eq!(records("batch.pin", 0)?, expected);

    // one that is no batch is refused, and nothing of it is written
    let error = |code: u32, text: &str| format!("{{\"error_code\":{code},\"message\":\"{text}\"}}");
    let entry = |id: &str| format!(r#"{{"id":{id},"partition_id":1,"value":{{"data":1}}}}"#);
    let many: Vec<String> = (0..51).map(|id| entry(&format!("\"{id}\""))).collect();
    for (entries, text) in [
        (String::new(), "Empty batch."),
        (
            entry("\"a\"") + "," + &entry("\"a\""),
            "Batch entry IDs are not distinct.",
        ),
        (
            entry("\"a\"") + "," + &entry("2"),
            "Batch entry identifier is not a valid string.",
        ),
        (many.join(","), "Too many entries in batch."),
    ] {
        let answer = post(PATH, &format!("{{\"entries\":[{entries}]}}"))?;
        demand(&answer, 422, "application/json", &error(42208, text), &[]);
    }
    let empty = error(42208, "Request body is empty. Data is required.");
    demand(&post(PATH, "")?, 422, "application/json", &empty, &[]);
    let bad = post(
        PATH,
        &format!("{{\"entries\":[{},{{\"id\":\"b\",\"value\":7}}]}}", entry("\"a\"")),
    )?;
    ensure!(bad.status == 400 && bad.body.contains("Bad Request: "), "{bad:?}");
    let one = format!("{{\"entries\":[{}]}}", entry("\"a\""));
    let unknown = error(40403, "This server does not host this topic-partition.");
    let answer = post("/v3/clusters/c/topics/x.geo/records:batch", &one)?;
    demand(&answer, 404, "application/json", &unknown, &[]);
    let wrong_type = error(415, "HTTP 415 Unsupported Media Type");
    let answer = gateway.ask(&format!("POST {PATH}"), &[V2], &one)?;
    demand(&answer, 415, "application/json", &wrong_type, &[]);
    let method = error(405, "HTTP 405 Method Not Allowed");
    demand(
        &gateway.ask(&format!("GET {PATH}"), &[], "")?,
        405,
        "application/json",
        &method,
        &["allow"],
    );
    assert_eq!(records("batch.pin", 1)?, []);

    let log = gateway.end()?;
    let line = log
        .lines()
        .find(|line| line.contains("\"status\":207"))
        .context("an access line")?;
    let line: Value = serde_json::from_str(line)?;
    assert_eq!((&line["records"], &line["interface"]), (&json!(3), &json!("rest_v3")));
    Ok(())
}
