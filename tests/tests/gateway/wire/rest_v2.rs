//! Version 2 of the REST proxy to the byte.

use super::{demand, records, some};
use crate::http::{JSON, V2, V2_BINARY};
use crate::{Gateway, kafka};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

const V2_JSON: &str = "application/vnd.kafka.v2+json";

#[test]
fn rest_v2_answers_as_the_proxy() -> Result<()> {
    let kafka = kafka()?;
    kafka.create_topic("v2.pin", 1, &[])?;
    kafka.create_topic("v2.geo", 3, &[])?;
    kafka.create_topic("private", 1, &[])?;
    let gateway = Gateway::start(
        kafka,
        &["--topics", "pin=v2.pin,geo=v2.geo", "--alias", "OldPins=v2.pin"],
    )?;
    let post = |path: &str, body: &str| gateway.ask(&format!("POST {path}"), &[V2], body);
    let offsets = |slots: &str| format!("{{\"offsets\":[{slots}],\"key_schema_id\":null,\"value_schema_id\":null}}");
    let slot = |offset: i64| format!("{{\"partition\":0,\"offset\":{offset},\"error_code\":null,\"error\":null}}");

    let body = r#"{"records":[{"value":{"ind": 1, "x": "é"}},{"key":{"a":1},"value":[{"ind":2}]},{"key":7,"value":null},{"value":[{"value":{"index":3}}]},{"value":"text","key":null}]}"#;
    let all: Vec<String> = (0..5).map(slot).collect();
    demand(
        &post("/test/topics/v2.pin", body)?,
        200,
        V2_JSON,
        &offsets(&all.join(",")),
        &[],
    );
    demand(
        &post("/topics/OldPins", r#"{"records":[{"value":{"ind":4}}]}"#)?,
        200,
        V2_JSON,
        &offsets(&slot(5)),
        &[],
    );
    // keys and values in base64: "k" and "v"; null bytes stay
    let binary = r#"{"records":[{"key":"aw==","value":"dgA="},{"value":null,"key":"aw"}]}"#;
    let answer = gateway.ask("POST /topics/v2.pin", &[V2_BINARY], binary)?.json()?;
    assert_eq!(answer["offsets"][0]["offset"], json!(6));
    assert_eq!(answer["offsets"][1]["offset"], json!(7));
    let expected = [
        some("1", r#"{"ind": 1, "x": "é"}"#),
        some(r#"{"a":1}"#, r#"[{"ind":2}]"#),
        (Some("7".into()), None),
        some("3", r#"[{"value":{"index":3}}]"#),
        (None, Some("\"text\"".into())),
        some("4", r#"{"ind":4}"#),
        some("k", "v\0"),
        (Some("k".into()), None),
    ];
    assert_eq!(records("v2.pin", 0)?, expected);

    // partitions: named in the path, in the record, and wrong ones
    let named = post("/topics/v2.geo/partitions/2", r#"{"records":[{"value":{"ind":1}}]}"#)?;
    let at_two = "{\"partition\":2,\"offset\":0,\"error_code\":null,\"error\":null}";
    demand(&named, 200, V2_JSON, &offsets(at_two), &[]);
    let mixed = post(
        "/topics/v2.geo",
        r#"{"records":[{"value":1,"partition":9},{"value":2,"partition":1}]}"#,
    )?;
    let slots = "{\"partition\":null,\"offset\":null,\"error_code\":50002,\"error\":\"Partition 9 not found.\"},\
                 {\"partition\":1,\"offset\":0,\"error_code\":null,\"error\":null}";
    demand(&mixed, 200, V2_JSON, &offsets(slots), &[]);

    let error = |code: u32, text: &str| format!("{{\"error_code\":{code},\"message\":\"{text}\"}}");
    let one = r#"{"records":[{"value":1}]}"#;
    let no_partition = post("/topics/v2.geo/partitions/3", one)?;
    demand(&no_partition, 404, V2_JSON, &error(40402, "Partition not found."), &[]);
    // unknown, and known to Kafka but not to be reached from outside
    for topic in ["nobody", "nobody.pin", "private", "__consumer_offsets"] {
        let unknown = error(40401, "Topic not found.");
        demand(&post(&format!("/topics/{topic}"), one)?, 404, V2_JSON, &unknown, &[]);
        demand(
            &gateway.ask(&format!("GET /topics/{topic}"), &[], "")?,
            404,
            V2_JSON,
            &unknown,
            &[],
        );
    }
    demand(
        &post("/topics/v2.pin", r#"{"ind":1}"#)?,
        422,
        V2_JSON,
        &error(422, "Unrecognized field: ind"),
        &[],
    );
    demand(
        &post("/topics/v2.pin", "{}")?,
        422,
        V2_JSON,
        &error(422, "records must not be empty"),
        &[],
    );
    let broken = post("/topics/v2.pin", "{\"records\":")?;
    assert!(
        broken.status == 400
            && broken
                .body
                .starts_with("{\"error_code\":400,\"message\":\"Bad Request: ")
    );
    let wrong_type = error(415, "HTTP 415 Unsupported Media Type");
    for headers in [&[JSON][..], &[]] {
        demand(
            &gateway.ask("POST /topics/v2.pin", headers, one)?,
            415,
            V2_JSON,
            &wrong_type,
            &[],
        );
    }
    let put = gateway.ask("PUT /topics/v2.pin", &[V2], one)?;
    demand(
        &put,
        405,
        V2_JSON,
        &error(405, "HTTP 405 Method Not Allowed"),
        &["allow"],
    );
    // larger than the broker takes: told in its slot, and the next is taken
    let large = format!(
        r#"{{"records":[{{"value":"{}"}},{{"value":{{"ind":5}}}}]}}"#,
        "x".repeat(1_200_000)
    );
    let answer = post("/topics/v2.pin", &large)?.json()?;
    assert_eq!(answer["offsets"][0]["error_code"], json!(50002), "{answer}");
    assert_eq!(answer["offsets"][1]["offset"], json!(8), "{answer}");

    let names: Vec<String> = serde_json::from_str(&gateway.ask("GET /prod/topics", &[], "")?.body)?;
    ensure!(
        names.contains(&"v2.pin".into()) && !names.contains(&"private".into()),
        "{names:?}"
    );
    let partition = |id: i32| {
        format!("{{\"partition\":{id},\"leader\":1,\"replicas\":[{{\"broker\":1,\"leader\":true,\"in_sync\":true}}]}}")
    };
    let described = format!(
        "{{\"name\":\"v2.geo\",\"configs\":{{}},\"partitions\":[{},{},{}]}}",
        partition(0),
        partition(1),
        partition(2)
    );
    demand(
        &gateway.ask("GET /topics/v2.geo", &[], "")?,
        200,
        V2_JSON,
        &described,
        &[],
    );
    let log = gateway.end()?;
    let line = log
        .lines()
        .find(|line| line.contains("/test/topics/v2.pin"))
        .context("an access line")?;
    let line: Value = serde_json::from_str(line)?;
    assert_eq!(
        (&line["status"], &line["records"], &line["interface"]),
        (&json!(200), &json!(5), &json!("rest_v2"))
    );
    Ok(())
}
