//! Kinesis behind an API gateway to the byte: shards, sequence numbers, refusals.

use super::{demand, records, some};
use crate::http::JSON;
use crate::{Gateway, kafka};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::Duration;

#[test]
fn kinesis_places_numbers_and_refuses_as_kinesis() -> Result<()> {
    let kafka = kafka()?;
    kafka.create_topic("kin.pin", 4, &[])?;
    kafka.create_topic("kin.geo", 1, &[])?;
    let topics = ["--topics", "pin=kin.pin,geo=kin.geo,user=kin.user"];
    let gateway = Gateway::start(kafka, &topics)?;
    let put = |path: &str, body: &str| gateway.ask(&format!("PUT {path}"), &[JSON], body);
    // MD5("a") begins with 0c, MD5("b") with 92, MD5("e") with e1: shards 0, 2 and 3 of 4
    let mut last = String::new();
    let mut next = |number: &Value| -> Result<()> {
        let number = number.as_str().context("a number")?;
        ensure!(number.len() == 56 && number.starts_with("496") && number.bytes().all(|byte| byte.is_ascii_digit()));
        ensure!(number > last.as_str(), "{number} after {last}");
        last = number.to_owned();
        Ok(())
    };
    for (key, shard) in [("a", 0), ("b", 2), ("e", 3), ("a", 0)] {
        let body = format!(r#"{{"StreamName":"ignored","Data":{{"ind": 5}},"PartitionKey":"{key}"}}"#);
        let answer = put("/dev/streams/streaming-0a3-pin/record", &body)?;
        let number = answer.json()?["SequenceNumber"].clone();
        next(&number)?;
        let expected = format!("{{\"SequenceNumber\":{number},\"ShardId\":\"shardId-{shard:012}\"}}");
        demand(&answer, 200, "application/json", &expected, &[]);
    }
    // one key, one partition
    let found: Vec<usize> = (0..4)
        .map(|partition| Ok(records("kin.pin", partition)?.len()))
        .collect::<Result<_>>()?;
    ensure!(found.iter().filter(|count| **count > 0).count() == 1, "{found:?}");
    let partition = found.iter().position(|count| *count == 4).context("all records")?;
    let partition = i32::try_from(partition)?;
    assert_eq!(records("kin.pin", partition)?, vec![some("5", r#"{"ind": 5}"#); 4]);
    // kinds by partition key, odd data, a list
    put("/streams/MyStream/record", r#"{"Data":"","PartitionKey":"geo"}"#)?;
    put(
        "/streams/MyStream/record",
        r#"{"Data":{"value":{"ind":1}},"PartitionKey":"0a3-geo"}"#,
    )?;
    let body = r#"{"records":[{"data":"{\"ind\":2}","partition-key":"geo"},{"data":"text","partition-key":"geo"}]}"#;
    let answer = put("/streams/MyStream/records", body)?;
    let written = answer.json()?["Records"].clone();
    let mut expected = Vec::new();
    for record in written.as_array().context("records")? {
        let number = &record["SequenceNumber"];
        next(number)?;
        expected.push(format!(
            "{{\"SequenceNumber\":{number},\"ShardId\":\"shardId-000000000000\"}}"
        ));
    }
    let expected = format!("{{\"FailedRecordCount\":0,\"Records\":[{}]}}", expected.join(","));
    demand(&answer, 200, "application/json", &expected, &[]);
    assert_eq!(written.as_array().map(Vec::len), Some(2));
    let expected = [
        (None, Some("\"\"".into())),
        some("1", r#"{"value":{"ind":1}}"#),
        some("2", r#"{"ind":2}"#),
        (None, Some("text".into())),
    ];
    assert_eq!(records("kin.geo", 0)?, expected);

    let error = |kind: &str, text: &str| format!("{{\"__type\":\"{kind}\",\"message\":\"{text}\"}}");
    let missing = error("ResourceNotFoundException", "Stream nothing not found.");
    let unknown = put("/streams/nothing/record", r#"{"Data":1,"PartitionKey":"k"}"#)?;
    demand(&unknown, 404, "application/json", &missing, &[]);
    let user = put("/streams/s-user/record", r#"{"Data":1,"PartitionKey":"k"}"#)?;
    demand(
        &user,
        404,
        "application/json",
        &error("ResourceNotFoundException", "Stream s-user not found."),
        &[],
    );
    let no_key = put("/streams/s-geo/record", r#"{"Data":1}"#)?;
    let text = "1 validation error detected: Value null at 'partitionKey' failed to satisfy constraint: Member must not be null";
    demand(
        &no_key,
        400,
        "application/json",
        &error("ValidationException", text),
        &[],
    );
    let broken = put("/streams/s-geo/record", "{")?;
    assert!(
        broken.status == 400 && broken.body.starts_with("{\"__type\":\"SerializationException\""),
        "{broken:?}"
    );
    let record = r#"{"data":"x","partition-key":"k"}"#;
    let many = |count: usize| format!("{{\"records\":[{}]}}", vec![record; count].join(","));
    assert_eq!(put("/streams/s-geo/records", &many(500))?.status, 200);
    for body in [many(501), many(0)] {
        let answer = put("/streams/s-geo/records", &body)?;
        assert!(
            answer.status == 400 && answer.body.contains("ValidationException"),
            "{answer:?}"
        );
    }
    let large = format!(r#"{{"Data":"{}","PartitionKey":"k"}}"#, "x".repeat(1 << 20));
    assert!(
        put("/streams/s-geo/record", &large)?
            .body
            .contains("less than or equal to 1048576")
    );
    let record = format!(r#"{{"data":"{}","partition-key":"k"}}"#, "x".repeat(1_000_000));
    let large = format!("{{\"records\":[{}]}}", vec![record; 6].join(","));
    assert!(
        put("/streams/s-geo/records", &large)?
            .body
            .contains("InvalidArgumentException")
    );

    let listed: Value = gateway.ask("GET /streams", &[], "")?.json()?;
    ensure!(
        listed["StreamNames"]
            .as_array()
            .is_some_and(|names| names.contains(&json!("kin.pin"))),
        "{listed}"
    );
    let described = gateway.ask("GET /streams/x-pin", &[], "")?.json()?;
    let shards = described["StreamDescription"]["Shards"].as_array().context("shards")?;
    assert_eq!(shards.len(), 4);
    assert_eq!(
        shards[1]["HashKeyRange"]["StartingHashKey"],
        json!("85070591730234615865843651857942052864")
    );
    assert_eq!(
        gateway
            .ask("POST /streams/x-user", &[JSON], r#"{"ShardCount":2}"#)?
            .status,
        403
    );
    assert_eq!(gateway.ask("DELETE /streams/x-geo", &[], "")?.status, 403);
    gateway.end()?;

    // numbers go on after a restart; streams are made and deleted where that is allowed
    let changes = ["--create-topics", "--delete-topics", "--alias", "s-user=kin.user"];
    let gateway = Gateway::start(kafka, &[&topics[..], &changes].concat())?;
    let post = |body: &str| gateway.ask("POST /streams/s-user", &[JSON], body);
    let in_use = error("ResourceInUseException", "Stream s-user already exists.");
    demand(&post("")?, 400, "application/json", &in_use, &[]);
    assert_eq!(gateway.ask("DELETE /streams/s-user", &[], "")?.status, 200);
    demand(&post(r#"{"ShardCount":2}"#)?, 200, "application/json", "{}", &[]);
    pinflow_tests::eventually("the new stream", Duration::from_secs(10), || {
        let described = gateway.ask("GET /streams/s-user", &[], "")?.json()?;
        Ok(described["StreamDescription"]["Shards"]
            .as_array()
            .is_some_and(|shards| shards.len() == 2))
    })?;
    let answer = gateway
        .ask("PUT /streams/a-pin/record", &[JSON], r#"{"Data":1,"PartitionKey":"a"}"#)?
        .json()?;
    next(&answer["SequenceNumber"])?;
    gateway.end()?;
    Ok(())
}
