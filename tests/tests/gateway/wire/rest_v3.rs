//! Version 3 of the REST proxy: records and reports on one connection, at the same time.

use super::{demand, records, some};
use crate::http::{Connection, JSON, ask};
use crate::{Gateway, kafka};
use anyhow::{Context, Result};
use serde_json::{Value, json};

/// What is sent is acknowledged while the request goes on.
#[test]
fn rest_v3_streams_both_ways() -> Result<()> {
    let kafka = kafka()?;
    kafka.create_topic("v3.pin", 1, &[])?;
    let gateway = Gateway::start(kafka, &["--topics", "pin=v3.pin"])?;
    const PATH: &str = "/kafka/v3/clusters/lkc-1/topics/v3.pin/records";
    let mut connection = Connection::open(gateway.at)?;
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    connection.write(head.as_bytes())?;
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len()).into_bytes();
    let mut head = None;
    let pieces = [
        r#"{"value":{"type":"JSON","data":{"ind": 0}}}"#,
        r#"{"key":{"type":"BINARY","data":"aw=="},"value":{"type":"STRING","data":"text"},"headers":[{"name":"h","value":"dg=="}],"timestamp":"2021-02-05T19:14:42Z"}"#,
        r#"{"key":{"type":"JSON","data":7},"value":null,"partition_id":0}"#,
        r#"{"value":{"type":"AVRO","data":1}}"#,
        r#"{"value":{"data":[{"ind":9}]}}"#,
    ];
    let mut reports = Vec::new();
    for piece in pieces {
        // cut in the middle: a piece of the body is no record
        connection.write(&chunk(&piece[..9]))?;
        connection.write(&chunk(&piece[9..]))?;
        if head.is_none() {
            head = Some(connection.head()?);
        }
        let report = connection.chunk()?;
        assert!(report.ends_with("\r\n"), "{report:?}");
        reports.push(serde_json::from_str::<Value>(&report)?);
    }
    let (status, headers) = head.context("a head")?;
    assert_eq!((status, headers["content-type"].as_str()), (200, "application/json"));
    connection.write(b"0\r\n\r\n")?;
    assert_eq!(connection.chunk()?, "");
    let time = reports[0]["timestamp"].as_str().context("a time")?.to_owned();
    assert!(time.ends_with('Z') && time.len() == 24, "{time}");
    assert_eq!(
        reports[0],
        json!({"error_code": 200, "cluster_id": "lkc-1", "topic_name": "v3.pin", "partition_id": 0, "offset": 0,
               "timestamp": time, "value": {"type": "JSON", "size": 10}})
    );
    assert_eq!(reports[1]["timestamp"], json!("2021-02-05T19:14:42.000Z"));
    assert_eq!(reports[1]["key"], json!({"type": "BINARY", "size": 1}));
    assert_eq!((&reports[2]["offset"], reports[2].get("value")), (&json!(2), None));
    assert_eq!(
        reports[3],
        json!({"error_code": 422, "message": "type AVRO is not served: JSON, BINARY and STRING are"})
    );
    assert_eq!(reports[4]["offset"], json!(3));
    let expected = [
        some("0", r#"{"ind": 0}"#),
        some("k", "text"),
        (Some("7".into()), None),
        some("9", r#"[{"ind":9}]"#),
    ];
    assert_eq!(records("v3.pin", 0)?, expected);

    // the connection is kept, and a request of one piece works as well; many records, in order
    let many: String = (0..2_000)
        .map(|ind| format!("{{\"value\":{{\"data\":{{\"ind\":{ind}}}}}}}\n"))
        .collect();
    connection.send(&format!("POST {PATH}"), &[JSON], many.as_bytes())?;
    let answer = connection.answer()?;
    let offsets: Vec<i64> = serde_json::Deserializer::from_str(&answer.body)
        .into_iter::<Value>()
        .map(|report| report?["offset"].as_i64().context("an offset"))
        .collect::<Result<_>>()?;
    assert_eq!(offsets, (4..2_004).collect::<Vec<_>>());

    let post = |path: &str, body: &str| ask(gateway.at, &format!("POST {path}"), &[JSON], body);
    let one = r#"{"value":{"data":1}}"#;
    let unknown = "{\"error_code\":40403,\"message\":\"This server does not host this topic-partition.\"}";
    demand(
        &post("/v3/clusters/c/topics/x.geo/records", one)?,
        404,
        "application/json",
        unknown,
        &[],
    );
    let empty = "{\"error_code\":400,\"message\":\"Null input provided. Data is required.\"}";
    demand(&post(PATH, "  ")?, 400, "application/json", empty, &[]);
    for (body, status) in [
        ("[1]", 400),
        ("{\"value\":", 400),
        (r#"{"value":{"data":1},"partition_id":3}"#, 404),
        (r#"{"value":{"type":"BINARY","data":"!"}}"#, 422),
        (r#"{"value":{"data":1},"timestamp":"5704-10-14T12:04:26Z"}"#, 400),
    ] {
        assert_eq!(post(PATH, body)?.status, status, "{body}");
    }
    // the first is taken, what follows is no record: told, and the end
    let answer = post(PATH, &format!("{one} nonsense"))?;
    assert_eq!(answer.status, 200);
    assert!(
        answer.body.contains("\"offset\":2004") && answer.body.contains("\"error_code\":400"),
        "{answer:?}"
    );
    gateway.end()?;
    Ok(())
}
