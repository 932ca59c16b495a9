//! Kinesis as AWS's own clients write it, and what is answered when Kafka does not say where a record is.

use crate::http::{JSON, V2, base64};
use crate::{Gateway, SOON, kafka};
use anyhow::{Context, Result, ensure};
use pinflow_tests::{Pinflow, eventually};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use serde_json::{Value, json};

const AMZ: (&str, &str) = ("content-type", "application/x-amz-json-1.1");
const TARGET: (&str, &str) = ("x-amz-target", "Kinesis_20131202.PutRecords");

/// Data of AWS's own shape is base64, and what it stands for is stored.
#[test]
fn data_in_aws_own_shape_is_decoded() -> Result<()> {
    let kafka = kafka()?;
    kafka.create_topic("aws.geo", 1, &[])?;
    let gateway = Gateway::start(kafka, &["--topics", "geo=aws.geo"])?;
    let value = |ind: usize| format!("{{\"ind\":{ind},\"x\":\"é?>~\"}}");
    let aws = |data: &str| {
        format!("{{\"StreamName\":\"s-geo\",\"Records\":[{{\"Data\":\"{data}\",\"PartitionKey\":\"k\"}}]}}")
    };
    let pipeline = |ind: usize| json!({"records": [{"data": value(ind), "partition-key": "k"}]}).to_string();
    let many = "PUT /streams/s-geo/records";
    for (ind, headers, line, body) in [
        (0, &[JSON][..], many, aws(&base64(&value(0)))),
        (1, &[AMZ][..], many, aws(&base64(&value(1)))),
        (2, &[JSON, TARGET][..], many, aws(&base64(&value(2)))),
        (3, &[JSON][..], many, pipeline(3)),
        (
            4,
            &[AMZ][..],
            "PUT /streams/s-geo/record",
            format!("{{\"Data\":\"{}\",\"PartitionKey\":\"k\"}}", base64(&value(4))),
        ),
    ] {
        let answer = gateway.ask(line, headers, &body)?;
        ensure!(answer.status == 200, "{ind}: {answer:?}");
    }
    for headers in [&[JSON][..], &[AMZ][..]] {
        let answer = gateway.ask(many, headers, &aws("!"))?;
        ensure!(
            answer.status == 400 && answer.body.contains("SerializationException"),
            "{answer:?}"
        );
    }
    gateway.end()?;
    let records = kafka.records("aws.geo", 0, "read_committed")?;
    assert_eq!(records.len(), 5);
    for (ind, (_, key, stored)) in records.into_iter().enumerate() {
        assert_eq!(key, Some(ind.to_string().into_bytes()));
        assert_eq!(stored, Some(value(ind).into_bytes()));
    }
    Ok(())
}

/// Kafka has a batch already and does not remember where: a success without an offset, and never a negative one.
#[test]
fn an_unknown_offset_is_no_negative_one() -> Result<()> {
    let cluster: MockCluster<'_, DefaultProducerContext> = MockCluster::new(1)?;
    cluster.create_topic("dup.geo", 1, 1)?;
    let command = Pinflow::new("gateway")
        .args(["--listen", "127.0.0.1:0", "--topics", "geo=dup.geo"])
        .args(["--kafka", &cluster.bootstrap_servers()]);
    let gateway = Gateway::launch(&command)?;
    let post = |line: &str, kind: (&str, &str), body: &str| -> Result<Value> {
        let duplicate = RDKafkaRespErr::RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER;
        cluster.request_errors(RDKafkaApiKey::Produce, &[duplicate]);
        let answer = gateway.ask(line, &[kind], body)?;
        ensure!(
            answer.status == 200 && !answer.body.contains(":-"),
            "{line}: {answer:?}"
        );
        answer.json()
    };
    // one that is known first: a producer begins with it
    eventually("a first record", SOON, || {
        Ok(gateway.ask("POST /geo/", &[JSON], r#"{"ind":1}"#)?.status == 200)
    })?;
    let echo = post("POST /geo/", JSON, r#"{"ind":1}"#)?;
    assert_eq!(echo, json!({"ind": 1}));
    let answer = post("POST /topics/dup.geo", V2, r#"{"records":[{"value":{"ind":1}}]}"#)?;
    let slot = &answer["offsets"][0];
    assert_eq!(
        (&slot["offset"], &slot["error_code"]),
        (&Value::Null, &Value::Null),
        "{answer}"
    );
    assert_eq!(slot["partition"], json!(0));
    let answer = post(
        "POST /v3/clusters/c/topics/dup.geo/records",
        JSON,
        r#"{"value":{"data":{"ind":1}}}"#,
    )?;
    assert_eq!(
        (&answer["offset"], &answer["error_code"]),
        (&Value::Null, &json!(200)),
        "{answer}"
    );
    ensure!(
        answer["timestamp"].as_str().is_none_or(|time| time.starts_with('2')),
        "{answer}"
    );
    let number = |answer: &Value| {
        answer["SequenceNumber"]
            .as_str()
            .map(str::to_owned)
            .context("a sequence number")
    };
    let one = number(&post(
        "PUT /streams/s-geo/record",
        JSON,
        r#"{"Data":{"ind":1},"PartitionKey":"k"}"#,
    )?)?;
    let many = post(
        "PUT /streams/s-geo/records",
        JSON,
        r#"{"records":[{"data":"{\"ind\":1}","partition-key":"k"}]}"#,
    )?;
    assert_eq!(many["FailedRecordCount"], json!(0), "{many}");
    let next = number(&many["Records"][0])?;
    for text in [&one, &next] {
        ensure!(
            text.len() == 56 && text.bytes().all(|byte| byte.is_ascii_digit()),
            "{text}"
        );
    }
    ensure!(one < next, "{one} {next}");
    gateway.end()?;
    Ok(())
}
