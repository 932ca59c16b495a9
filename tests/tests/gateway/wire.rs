//! Every interface to the byte: status, headers, body, and what stands in Kafka afterwards.

use crate::http::{Answer, Connection, JSON, V2, V2_BINARY, ask, base64};
use crate::{Gateway, kafka};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const V2_JSON: &str = "application/vnd.kafka.v2+json";

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

const PIN: &str = "{\"category\": \"diy-and-crafts\", \"index\": 3089, \"unique_id\": \"88f9227e\", \
    \"title\": \"caf\\u00e9 \\ud83d\\ude00\", \"description\": \"d\", \"follower_count\": \"User Info Error\", \
    \"tag_list\": \"N,o\", \"is_image_or_video\": \"image\", \"image_src\": \"i\", \"downloaded\": 0, \"save_location\": \"s\"}";
const PIN_ECHO: &str = "{\"category\":\"diy-and-crafts\",\"index\":3089,\"unique_id\":\"88f9227e\",\
    \"title\":\"café 😀\",\"description\":\"d\",\"follower_count\":\"User Info Error\",\
    \"tag_list\":\"N,o\",\"is_image_or_video\":\"image\",\"image_src\":\"i\",\"downloaded\":0,\"save_location\":\"s\"}";

#[test]
fn fastapi_echoes_the_item_and_lists_what_is_wrong() -> Result<()> {
    let kafka = kafka()?;
    for kind in ["pin", "geo", "user"] {
        kafka.create_topic(&format!("fast.{kind}"), 1, &[])?;
    }
    let gateway = Gateway::start(kafka, &["--topics", "pin=fast.pin,geo=fast.geo,user=fast.user"])?;
    for path in ["/pin/", "/pin", "/stage/pin/"] {
        demand(
            &gateway.ask(&format!("POST {path}"), &[JSON], PIN)?,
            200,
            "application/json",
            PIN_ECHO,
            &[],
        );
    }
    // without a type the body is JSON too, as for FastAPI
    let geo =
        r#"{"ind": 7, "timestamp": "2020-08-28T03:52:47", "latitude": -89.9787, "longitude": -173, "country": null}"#;
    let echo = r#"{"ind":7,"timestamp":"2020-08-28T03:52:47","latitude":-89.9787,"longitude":-173.0,"country":null}"#;
    demand(
        &gateway.ask("POST /geo/", &[], geo)?,
        200,
        "application/json",
        echo,
        &[],
    );
    let user = r#"{"ind":"12","first_name":"A","last_name":"B","age":20,"date_joined":"2015-10-24 11:23:51","x":1}"#;
    let echo = r#"{"ind":12,"first_name":"A","last_name":"B","age":20,"date_joined":"2015-10-24 11:23:51"}"#;
    demand(
        &gateway.ask("POST /user", &[JSON], user)?,
        200,
        "application/json",
        echo,
        &[],
    );
    assert_eq!(records("fast.pin", 0)?, vec![some("3089", PIN); 3]);
    assert_eq!(records("fast.geo", 0)?, [some("7", geo)]);
    assert_eq!(records("fast.user", 0)?, [some("12", user)]);

    let wrong = |body: &str, detail: &str| -> Result<()> {
        let expected = format!("{{\"detail\":[{detail}]}}");
        demand(
            &gateway.ask("POST /user/", &[JSON], body)?,
            422,
            "application/json",
            &expected,
            &[],
        );
        Ok(())
    };
    wrong(
        r#"{"age": "x"}"#,
        concat!(
            r#"{"type":"missing","loc":["body","ind"],"msg":"Field required","input":{"age": "x"}},"#,
            r#"{"type":"int_parsing","loc":["body","age"],"msg":"Input should be a valid integer, unable to parse string as an integer","input":"x"}"#
        ),
    )?;
    wrong(
        "",
        r#"{"type":"missing","loc":["body"],"msg":"Field required","input":null}"#,
    )?;
    wrong(
        "{",
        r#"{"type":"json_invalid","loc":["body",1],"msg":"JSON decode error","input":{},"ctx":{"error":"Expecting property name enclosed in double quotes"}}"#,
    )?;
    wrong(
        "[1]",
        r#"{"type":"model_attributes_type","loc":["body"],"msg":"Input should be a valid dictionary or object to extract fields from","input":[1]}"#,
    )?;
    let detail = |text: &str| format!("{{\"detail\":\"{text}\"}}");
    let answer = gateway.ask("GET /pin/", &[], "")?;
    demand(
        &answer,
        405,
        "application/json",
        &detail("Method Not Allowed"),
        &["allow"],
    );
    assert_eq!(answer.header("allow"), "POST");
    demand(
        &gateway.ask("POST /nothing", &[JSON], "{}")?,
        404,
        "application/json",
        &detail("Not Found"),
        &[],
    );
    assert_eq!(records("fast.user", 0)?.len(), 1, "what was refused is not in Kafka");
    gateway.end()?;
    Ok(())
}

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
    for headers in [&[JSON][..], &[], &[V2, ("content-encoding", "gzip")]] {
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

/// The key of a record decides about its partition, in every interface and in every form, so that all records of a post
/// have one order; a partition that a client names is obeyed.
#[test]
fn one_key_lies_in_one_partition_whatever_the_dialect() -> Result<()> {
    let kafka = kafka()?;
    const PARTITIONS: i32 = 7;
    kafka.create_topic("placed.geo", PARTITIONS, &[])?;
    let gateway = Gateway::start(kafka, &["--topics", "geo=placed.geo"])?;
    let post = |line: &str, kind: (&str, &str), body: &str| -> Result<()> {
        let answer = gateway.ask(line, &[kind], body)?;
        ensure!(
            answer.status == 200 && !answer.body.contains("error_code\":5"),
            "{line} {body}: {answer:?}"
        );
        Ok(())
    };
    let (v2, v3) = (
        "POST /topics/placed.geo",
        "POST /v3/clusters/c/topics/placed.geo/records",
    );
    let mut forms = 0;
    for ind in [7, 11, 1_000_003] {
        let plain = format!("{{\"ind\":{ind},\"country\":\"x\"}}");
        let text = serde_json::to_string(&plain)?;
        let values = [
            plain.clone(),
            format!("[{plain}]"),
            format!("{{\"value\":{plain}}}"),
            format!("[{{\"value\":{plain}}}]"),
            format!("{{\"index\":\"{ind}\"}}"),
            format!("{{\"ind\":{ind},\"index\":null}}"),
            format!("{{\"ind\":\"00{ind}\"}}"),
        ];
        for value in &values {
            for key in ["", "\"key\":\"mine\",", "\"key\":8,", "\"key\":null,"] {
                post(v2, V2, &format!("{{\"records\":[{{{key}\"value\":{value}}}]}}"))?;
            }
            let binary = format!("{{\"key\":\"{}\",\"value\":\"{}\"}}", base64("mine"), base64(value));
            post(v2, V2_BINARY, &format!("{{\"records\":[{binary}]}}"))?;
            for key in ["", "\"key\":{\"type\":\"STRING\",\"data\":\"mine\"},"] {
                post(
                    v3,
                    JSON,
                    &format!("{{{key}\"value\":{{\"type\":\"JSON\",\"data\":{value}}}}}"),
                )?;
            }
            let binary = base64(value);
            post(
                v3,
                JSON,
                &format!("{{\"value\":{{\"type\":\"BINARY\",\"data\":\"{binary}\"}}}}"),
            )?;
            for key in ["geo", "mine", "8"] {
                let body = format!("{{\"Data\":{value},\"PartitionKey\":\"{key}\"}}");
                post("PUT /streams/s-geo/record", JSON, &body)?;
            }
            forms += 11;
        }
        post("POST /geo/", JSON, &plain)?;
        post(
            v3,
            JSON,
            &format!("{{\"value\":{{\"type\":\"STRING\",\"data\":{text}}}}}"),
        )?;
        let body = format!("{{\"records\":[{{\"data\":{text},\"partition-key\":\"geo\"}}]}}");
        post("PUT /streams/s-geo/records", JSON, &body)?;
        // tombstones
        for key in [format!("{ind}"), format!("\"{ind}\""), format!("{{\"ind\":{ind}}}")] {
            post(v2, V2, &format!("{{\"records\":[{{\"key\":{key},\"value\":null}}]}}"))?;
            post(v3, JSON, &format!("{{\"key\":{{\"data\":{key}}}}}"))?;
        }
        forms += 9;
    }
    // Java's producer says the same: murmur2 of the digits, positive, over seven
    let expected = [("7", 1), ("11", 2), ("1000003", 0)];
    let mut found = 0;
    for partition in 0..PARTITIONS {
        let records = kafka.records("placed.geo", partition, "read_committed")?;
        let here: Vec<&str> = expected
            .iter()
            .filter(|(_, at)| *at == partition)
            .map(|(ind, _)| *ind)
            .collect();
        ensure!(
            !here.is_empty() || records.is_empty(),
            "{} records in {partition}",
            records.len()
        );
        found += records.len();
    }
    assert_eq!(found, forms, "every form is in a partition of its key");

    // without an `ind` the dialect's own key decides, the same in each
    let other = r#"{"x":1}"#;
    let ends = |from: &[i64]| -> Result<Vec<i64>> {
        let mut grown = Vec::new();
        for partition in 0..PARTITIONS {
            let end = kafka.watermarks("placed.geo", partition)?.1;
            grown.push(end - from.get(usize::try_from(partition)?).copied().unwrap_or(0));
        }
        Ok(grown)
    };
    let before = ends(&[])?;
    let binary = format!("{{\"key\":\"{}\",\"value\":\"{}\"}}", base64("mine"), base64(other));
    post(v2, V2_BINARY, &format!("{{\"records\":[{binary}]}}"))?;
    post(
        v3,
        JSON,
        &format!("{{\"key\":{{\"type\":\"STRING\",\"data\":\"mine\"}},\"value\":{{\"data\":{other}}}}}"),
    )?;
    post(
        "PUT /streams/s-geo/record",
        JSON,
        &format!("{{\"Data\":{other},\"PartitionKey\":\"mine\"}}"),
    )?;
    let grown = ends(&before)?;
    ensure!(grown.iter().filter(|count| **count > 0).count() == 1, "{grown:?}");

    // named partitions
    let before = ends(&[])?;
    post(
        &format!("{v2}/partitions/3"),
        V2,
        r#"{"records":[{"value":{"ind":7}}]}"#,
    )?;
    post(v2, V2, r#"{"records":[{"value":{"ind":7},"partition":3}]}"#)?;
    post(v3, JSON, r#"{"value":{"data":{"ind":7}},"partition_id":3}"#)?;
    assert_eq!(ends(&before)?[3], 3);
    gateway.end()?;
    Ok(())
}

/// Keys stay where they are when partitions are added, until the operator says otherwise.
#[test]
fn keys_are_spread_over_a_pinned_number_of_partitions() -> Result<()> {
    let kafka = kafka()?;
    kafka.create_topic("pinned.pin", 2, &[])?;
    let topics = ["--topics", "pin=pinned.pin"];
    let body = |inds: std::ops::Range<i32>| {
        let records: Vec<String> = inds.map(|ind| format!("{{\"value\":{{\"ind\":{ind}}}}}")).collect();
        format!("{{\"records\":[{}]}}", records.join(","))
    };
    let partitions = |gateway: &Gateway, body: &str| -> Result<Vec<i64>> {
        let answer = gateway.ask("POST /topics/pinned.pin", &[V2], body)?.json()?;
        let offsets = answer["offsets"].as_array().context("offsets")?.clone();
        offsets
            .iter()
            .map(|slot| slot["partition"].as_i64().context("a partition"))
            .collect()
    };
    let gateway = Gateway::start(kafka, &topics)?;
    let before = partitions(&gateway, &body(0..50))?;
    // Java's producer says the same: murmur2("0") and murmur2("1") over two partitions
    assert!(before.contains(&0) && before.contains(&1), "{before:?}");
    kafka.add_partitions("pinned.pin", 5)?;
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(partitions(&gateway, &body(0..50))?, before);
    // a tombstone and a text of digits follow their record; a new partition can be named
    let keyed = r#"{"records":[{"key":"7","value":null},{"key":{"ind":7},"value":null},{"value":{"ind":"7"}},{"value":1,"partition":4}]}"#;
    let seven = before[7];
    assert_eq!(partitions(&gateway, keyed)?, [seven, seven, seven, 4]);
    gateway.end()?;
    let pinned = Gateway::start(kafka, &[&topics[..], &["--pin-partitions", "pinned.pin=2"]].concat())?;
    assert_eq!(partitions(&pinned, &body(0..50))?, before);
    pinned.end()?;
    let fresh = Gateway::start(kafka, &topics)?;
    assert_ne!(partitions(&fresh, &body(0..50))?, before);
    fresh.end()?;
    Ok(())
}

#[test]
fn the_gateway_tells_about_itself_and_makes_topics() -> Result<()> {
    let kafka = kafka()?;
    let gateway = Gateway::start(
        kafka,
        &["--topics", "pin=made.pin", "--create-topics", "--access-log", "off"],
    )?;
    assert_eq!(gateway.ask("GET /healthz", &[], "")?.body, "ok\n");
    assert_eq!(gateway.ask("GET /version", &[], "")?.json()?["name"], json!("pinflow"));
    let described = gateway.ask("GET /openapi.json", &[], "")?.json()?;
    ensure!(described["paths"]["/pin/"]["post"].is_object(), "{described}");
    ensure!(!described.to_string().contains("made.pin"), "{described}");
    let began = Instant::now();
    let answer = gateway.ask(
        "POST /topics/u1.geo",
        &[V2, ("x-request-id", "my-id.1")],
        r#"{"records":[{"value":1}]}"#,
    )?;
    assert_eq!(
        (answer.status, answer.header("x-request-id")),
        (200, "my-id.1"),
        "{answer:?}"
    );
    assert!(began.elapsed() < Duration::from_secs(20));
    let ids: BTreeSet<String> = (0..3)
        .map(|_| Ok(gateway.ask("GET /healthz", &[], "")?.header("x-request-id").to_owned()))
        .collect::<Result<_>>()?;
    assert_eq!(ids.len(), 3);
    assert_eq!(
        gateway.metric("pinflow_gateway_requests_total{interface=\"rest_v2\",status=\"200\"}")?,
        1.0
    );
    assert_eq!(
        gateway.metric("pinflow_gateway_records_total{interface=\"rest_v2\"}")?,
        1.0
    );
    // what an answer held goes back when it has been written
    pinflow_tests::eventually("nothing in flight", Duration::from_secs(10), || {
        Ok(gateway.metric("pinflow_gateway_in_flight_bytes")? == 0.0)
    })?;
    assert_eq!(gateway.end()?, "");
    Ok(())
}
