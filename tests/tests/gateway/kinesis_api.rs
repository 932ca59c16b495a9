//! Kinesis's own protocol, as AWS's clients speak it: boto3 and the AWS CLI with another URL, signatures, CBOR as Java
//! writes it, and what is refused, to the byte.

use crate::http::{Answer, Connection, JSON};
use crate::limits::gateway;
use crate::{Gateway, SOON, kafka};
use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ciborium::Value as Cbor;
use jiff::Timestamp;
use pinflow_tests::fuzz::client_program;
use pinflow_tests::{eventually, write_private};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Read;
use std::process::Command;

const AMZ: (&str, &str) = ("content-type", "application/x-amz-json-1.1");
const CBOR: (&str, &str) = ("content-type", "application/x-amz-cbor-1.1");
const KEY: &str = "AKIAPINFLOW00000001";
const SECRET: &str = "abc/def+ghi=0123456789";
const READER: &str = "AKIAPINFLOW00000002";
const SLOW: &str = "AKIAPINFLOW00000003";

/// A program of AWS's clients, which finds its credentials and nothing else of the machine's.
fn aws_program(name: &str, key: &str) -> Result<Command> {
    let mut command = client_program(name)?;
    command
        .env("AWS_ACCESS_KEY_ID", key)
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .env("AWS_DEFAULT_REGION", "eu-west-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", "/nonexistent")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent");
    Ok(command)
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(String::from_utf8(output.stdout)?)
}

/// What `kinesis_boto3.py` prints.
fn boto3(gateway: &Gateway, key: &str, arguments: &[&str]) -> Result<Vec<Value>> {
    let url = format!("http://{}", gateway.at);
    let mut command = aws_program("python", key)?;
    let text = output(command.args(["kinesis_boto3.py", &url]).args(arguments))?;
    let lines = text.lines().map(|line| Ok(serde_json::from_str(line)?));
    lines.collect()
}

/// How often each value is in these partitions.
fn values(topic: &str, partitions: i32) -> Result<BTreeMap<Vec<u8>, usize>> {
    let mut values = BTreeMap::new();
    for partition in 0..partitions {
        for (_, _, value) in kafka()?.records(topic, partition, "read_committed")? {
            *values.entry(value.context("a value")?).or_default() += 1;
        }
    }
    Ok(values)
}

/// boto3 and the CLI put records and describe streams with `endpoint_url` alone; Kafka has every acknowledged record, byte
/// for byte, and the one that it refused is told by its slot.
#[test]
fn boto3_and_the_cli_need_another_url_and_nothing_else() -> Result<()> {
    let kafka = kafka()?;
    kafka.create_topic("api.geo", 3, &[])?;
    kafka.create_topic("api.pin", 5, &[])?;
    let topics = ["--topics", "geo=api.geo,pin=api.pin,user=api.user"];
    let changes = ["--create-topics", "--delete-topics"];
    let gateway = Gateway::start(kafka, &[&topics[..], &changes].concat())?;
    let mut sent: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    // without keys of its own the gateway looks at no signature
    for record in boto3(&gateway, "AKIANOBODYKNOWSTHIS", &["put"])? {
        let value = BASE64_STANDARD.decode(record["value"].as_str().context("a value")?)?;
        *sent.entry(value).or_default() += 1;
    }
    ensure!(sent.values().sum::<usize>() == 406, "{}", sent.len());
    boto3(&gateway, KEY, &["describe"])?;
    let file = tempfile::NamedTempFile::new()?;
    let data = b"from the CLI \x00\xff\n";
    std::fs::write(&file, data)?;
    let url = format!("http://{}", gateway.at);
    let cli = |arguments: &[&str]| -> Result<Value> {
        let mut command = aws_program("aws", KEY)?;
        let text = output(
            command
                .args(["--endpoint-url", &url, "--output", "json", "kinesis"])
                .args(arguments),
        )?;
        Ok(serde_json::from_str(&text)?)
    };
    let from_file = format!("fileb://{}", file.path().display());
    let put = [
        "put-record",
        "--stream-name",
        "s-geo",
        "--partition-key",
        "k",
        "--data",
        &from_file,
    ];
    ensure!(
        cli(&put)?["SequenceNumber"]
            .as_str()
            .is_some_and(|number| number.len() == 56)
    );
    *sent.entry(data.to_vec()).or_default() += 1;
    let streams = cli(&["list-streams"])?;
    ensure!(
        streams["StreamNames"]
            .as_array()
            .is_some_and(|names| names.contains(&json!("api.geo"))),
        "{streams}"
    );
    let stream = cli(&["describe-stream", "--stream-name", "api.geo"])?;
    assert_eq!(
        stream["StreamDescription"]["Shards"].as_array().map(Vec::len),
        Some(3),
        "{stream}"
    );
    ensure!(
        values("api.geo", 3)? == sent,
        "what was acknowledged is not what is in Kafka"
    );
    let acknowledged = gateway.metric("pinflow_gateway_records_total{interface=\"kinesis_api\"}")?;
    assert_eq!(acknowledged, 407.0);
    gateway.end()?;
    Ok(())
}

/// Access keys open what their scopes say, to whoever signs with the secret, now, and for this region.
#[test]
fn requests_are_signed_with_a_key_of_the_token_file() -> Result<()> {
    let kafka = kafka()?;
    kafka.create_topic("sign.geo", 1, &[])?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("keys");
    let reader = format!("{READER} secret={SECRET} name=reader scopes=read");
    let slow = format!("{SLOW} secret={SECRET} name=slow rate=2");
    write_private(
        &path,
        &format!("{KEY} secret={SECRET} name=agent scopes=produce:*.geo\n{reader}\n{slow}\n"),
    )?;
    let file = path.to_str().context("a path")?;
    let gateway = Gateway::start(
        kafka,
        &[
            "--topics",
            "geo=sign.geo",
            "--token-file",
            file,
            "--region",
            "eu-west-1",
        ],
    )?;
    let outcomes = boto3(
        &gateway,
        KEY,
        &[
            "sign",
            &format!("{KEY}:{SECRET}:eu-west-1:0"),
            &format!("{KEY}:{SECRET}x:eu-west-1:0"),
            &format!("AKIANOBODYKNOWSTHIS:{SECRET}:eu-west-1:0"),
            &format!("{KEY}:{SECRET}:us-east-1:0"),
            &format!("{KEY}:{SECRET}:eu-west-1:6"),
            &format!("{KEY}:{SECRET}:eu-west-1:-6"),
            &format!("{KEY}:{SECRET}:eu-west-1:4"),
            &format!("{READER}:{SECRET}:eu-west-1:0"),
        ],
    )?;
    let (accepted, denied, invalid) = ("accepted", "AccessDeniedException", "InvalidSignatureException");
    let unknown = "UnrecognizedClientException";
    let expected = [
        json!([accepted, accepted, denied]),
        json!([invalid, invalid, invalid]),
        json!([unknown, unknown, unknown]),
        json!([invalid, invalid, invalid]),
        // the time is right again for the last call
        json!([invalid, invalid, denied]),
        json!([invalid, invalid, denied]),
        json!([accepted, accepted, denied]),
        json!([denied, denied, accepted]),
    ];
    assert_eq!(outcomes, expected);
    boto3(&gateway, SLOW, &["retry"])?;
    // the id of a key is no token, and its signature opens nothing but this interface
    for header in [("x-api-key", KEY), ("authorization", &*format!("Bearer {KEY}"))] {
        let answer = gateway.ask("POST /geo/", &[JSON, header], r#"{"ind":1}"#)?;
        assert_eq!(answer.status, 401);
    }
    // a key that is no longer in the file opens nothing
    write_private(&path, &reader)?;
    eventually("the end of a key", SOON, || {
        let (date, authorization) = forged(KEY);
        let signed = [("x-amz-date", date.as_str()), ("authorization", authorization.as_str())];
        Ok(ask(&gateway, "ListStreams", &signed, "{}")?.header("x-amzn-errortype") == unknown)
    })?;
    let outcomes = boto3(&gateway, KEY, &["sign", &format!("{KEY}:{SECRET}:eu-west-1:0")])?;
    assert_eq!(outcomes, [json!([unknown, unknown, unknown])]);
    let log = gateway.end()?;
    for (name, status) in [
        ("\"agent\"", 200),
        ("\"reader\"", 200),
        ("\"reader\"", 400),
        ("null", 400),
    ] {
        let [name, status] = [format!("\"token\":{name}"), format!("\"status\":{status}")];
        let found = log.lines().any(|line| {
            line.contains("\"interface\":\"kinesis_api\"") && line.contains(&name) && line.contains(&status)
        });
        ensure!(found, "{name} {status}: {log}");
    }
    ensure!(!log.contains(SECRET));
    let expected = BTreeMap::from([(br#"{"ind":7}"#.to_vec(), 8), (b"x".to_vec(), 3)]);
    assert_eq!(values("sign.geo", 1)?, expected);
    Ok(())
}

/// What is asked for in CBOR is answered in CBOR.
fn cbor(gateway: &Gateway, operation: &str, body: &[u8]) -> Result<(u16, BTreeMap<String, String>, Cbor)> {
    let mut connection = Connection::open(gateway.at)?;
    let target = format!("Kinesis_20131202.{operation}");
    connection.send("POST /", &[CBOR, ("x-amz-target", &target)], body)?;
    let (status, headers) = connection.head()?;
    assert_eq!(headers["content-type"], CBOR.1);
    let mut bytes = vec![0; headers["content-length"].parse()?];
    connection.0.read_exact(&mut bytes)?;
    let content = ciborium::from_reader(&bytes[..]).with_context(|| format!("{bytes:?}"))?;
    Ok((status, headers, content))
}

fn part<'c>(content: &'c Cbor, path: &[&str]) -> Result<&'c Cbor> {
    path.iter().try_fold(content, |content, name| {
        let entries = content.as_map().context("a map")?;
        let found = entries.iter().find(|(key, _)| key.as_text() == Some(name));
        found
            .map(|(_, value)| value)
            .with_context(|| format!("{name} in {content:?}"))
    })
}

/// Requests as Java's SDK and the Kinesis Agent write them: maps and lists of no announced length, data that are bytes.
#[test]
fn cbor_is_answered_in_cbor() -> Result<()> {
    const ONE: &[u8] = include_bytes!("../../../ingest/gateway/tests/corpus/kinesis_api/one.cbor");
    const MANY: &[u8] = include_bytes!("../../../ingest/gateway/tests/corpus/kinesis_api/many.cbor");
    kafka()?.create_topic("cbor.geo", 2, &[])?;
    let gateway = Gateway::start(kafka()?, &["--topics", "geo=cbor.geo", "--alias", "s=cbor.geo"])?;
    let (status, headers, answer) = cbor(&gateway, "PutRecord", ONE)?;
    assert_eq!(status, 200, "{answer:?}");
    ensure!(headers["x-amzn-requestid"] == headers["x-request-id"]);
    ensure!(
        part(&answer, &["SequenceNumber"])?
            .as_text()
            .is_some_and(|number| number.len() == 56)
    );
    let (status, _, answer) = cbor(&gateway, "PutRecords", MANY)?;
    assert_eq!(status, 200, "{answer:?}");
    assert_eq!(part(&answer, &["FailedRecordCount"])?, &Cbor::from(0));
    assert_eq!(part(&answer, &["Records"])?.as_array().map(Vec::len), Some(2));
    let expected = [br#"{"ind":1}"#.to_vec(), b"v".to_vec(), b"\x00\xff".to_vec()].map(|value| (value, 1));
    assert_eq!(values("cbor.geo", 2)?, BTreeMap::from(expected));
    let mut stream = Vec::new();
    ciborium::into_writer(&json!({"StreamName": "s"}), &mut stream)?;
    let (_, _, answer) = cbor(&gateway, "DescribeStreamSummary", &stream)?;
    let summary = part(&answer, &["StreamDescriptionSummary"])?;
    assert_eq!(part(summary, &["OpenShardCount"])?, &Cbor::from(2));
    // a time is tagged as one
    let time = Cbor::Tag(1, Box::new(Cbor::from(0)));
    assert_eq!(part(summary, &["StreamCreationTimestamp"])?, &time);
    let (_, _, answer) = cbor(&gateway, "ListStreams", &[0xbf, 0xff])?;
    ensure!(!part(&answer, &["StreamNames"])?.as_array().context("names")?.is_empty());
    for (body, name) in [
        (&ONE[..ONE.len() - 1], "SerializationException"),
        (&[ONE, b"\xf6"].concat()[..], "SerializationException"),
        (&[0xa0][..], "ValidationException"),
    ] {
        let (status, headers, answer) = cbor(&gateway, "PutRecord", body)?;
        assert_eq!(
            (status, headers["x-amzn-errortype"].as_str()),
            (400, name),
            "{answer:?}"
        );
        assert_eq!(part(&answer, &["__type"])?.as_text(), Some(name));
        ensure!(part(&answer, &["message"])?.as_text().is_some());
    }
    gateway.end()?;
    Ok(())
}

fn ask(gateway: &Gateway, operation: &str, headers: &[(&str, &str)], body: &str) -> Result<Answer> {
    let target = format!("Kinesis_20131202.{operation}");
    gateway.ask("POST /", &[&[AMZ, ("x-amz-target", &*target)], headers].concat(), body)
}

/// A header of a known key whose signature is wrong.
fn forged(key: &str) -> (String, String) {
    let now = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={key}/{}/eu-west-1/kinesis/aws4_request, \
         SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature={}",
        &now[..8],
        "0f".repeat(32)
    );
    (now, authorization)
}

#[test]
fn refusals_have_the_names_that_clients_of_aws_know() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("keys");
    write_private(&path, &format!("{KEY} secret={SECRET}\nbearer-token-0001\n"))?;
    let token = ("x-api-key", "bearer-token-0001");
    let (gateway, _folder) = gateway(
        "body_bytes = 10000\n",
        &["--token-file", path.to_str().context("a path")?],
    )?;
    let demand = |answer: &Answer, status: u16, name: &str, text: &str| {
        let body = format!("{{\"__type\":\"{name}\",\"message\":{}}}", json!(text));
        assert_eq!((answer.status, answer.body.as_str()), (status, body.as_str()));
        assert_eq!(answer.header("content-type"), AMZ.1);
        assert_eq!(answer.header("x-amzn-errortype"), name);
        assert_eq!(answer.header("x-amzn-requestid"), answer.header("x-request-id"));
        assert_eq!(answer.header("www-authenticate"), "");
    };
    let one = r#"{"StreamName":"s-geo","Data":"dg==","PartitionKey":"k"}"#;
    let answer = ask(&gateway, "PutRecord", &[], one)?;
    demand(
        &answer,
        400,
        "MissingAuthenticationTokenException",
        "Missing Authentication Token",
    );
    let bearer = ask(
        &gateway,
        "PutRecord",
        &[("authorization", "Bearer wrong-token-0001")],
        one,
    )?;
    demand(
        &bearer,
        400,
        "MissingAuthenticationTokenException",
        "Missing Authentication Token",
    );
    let (date, authorization) = forged(KEY);
    let signed = [("x-amz-date", date.as_str()), ("authorization", authorization.as_str())];
    let mismatch = "The request signature we calculated does not match the signature you provided. Check your AWS \
                    Secret Access Key and signing method.";
    demand(
        &ask(&gateway, "PutRecord", &signed, one)?,
        400,
        "InvalidSignatureException",
        mismatch,
    );
    let broken = authorization.replace("Signature=", "Sig=");
    let broken = ask(&gateway, "PutRecord", &[signed[0], ("authorization", &broken)], one)?;
    let text = "Authorization header requires 'Signature' parameter once";
    demand(&broken, 400, "IncompleteSignatureException", text);
    // a token is as good as a signature
    let answer = ask(&gateway, "PutRecord", &[token], one)?;
    ensure!(
        answer.status == 200 && answer.header("content-type") == AMZ.1,
        "{answer:?}"
    );
    let unknown = ask(&gateway, "GetRecords", &[token], "{}")?;
    let text = "The gateway puts records and describes streams, and has no other operation";
    demand(&unknown, 400, "UnknownOperationException", text);
    let missing = ask(&gateway, "DescribeStream", &[token], r#"{"StreamName":"nothing"}"#)?;
    demand(&missing, 400, "ResourceNotFoundException", "Stream nothing not found.");
    let denied = ask(&gateway, "CreateStream", &[token], r#"{"StreamName":"lim.geo"}"#)?;
    let text = "streams are created by the operator, or with --create-topics";
    demand(&denied, 400, "AccessDeniedException", text);
    let large = ask(&gateway, "PutRecord", &[token], &"x".repeat(10_001))?;
    demand(
        &large,
        413,
        "RequestEntityTooLargeException",
        "The body has more than 10000 bytes",
    );
    let site = ask(
        &gateway,
        "ListStreams",
        &[token, ("origin", "http://other.example")],
        "{}",
    )?;
    ensure!(
        site.status == 400 && site.header("x-amzn-errortype") == "AccessDeniedException",
        "{site:?}"
    );
    let coded = ask(
        &gateway,
        "PutRecord",
        &[&[("content-encoding", "gzip")], &signed[..]].concat(),
        one,
    )?;
    let text = "The signature must cover the plain body: 'gzip' is not accepted";
    demand(&coded, 400, "InvalidSignatureException", text);
    // without the name of an operation it is no request of AWS's clients
    let plain = gateway.ask("POST /", &[JSON, token], "{}")?;
    assert_eq!((plain.status, plain.body.as_str()), (404, r#"{"detail":"Not Found"}"#));
    gateway.end()?;
    Ok(())
}

/// Who knows the id of a key, which is no secret, and does not know its secret, holds no more than who has no token.
#[test]
fn clients_that_only_know_the_id_of_a_key_leave_room_for_the_others() -> Result<()> {
    const BUDGET: usize = 4 << 20;
    let token = ("x-api-key", "bearer-token-0001");
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("keys");
    write_private(&path, &format!("{KEY} secret={SECRET}\n{}\n", token.1))?;
    let (gateway, _folder) = gateway(
        &format!("in_flight_bytes = {BUDGET}\nbody_bytes = 1000000\n"),
        &["--token-file", path.to_str().context("a path")?, "--access-log", "off"],
    )?;
    let in_flight = || Ok::<_, anyhow::Error>(gateway.metric_as(token.1, "pinflow_gateway_in_flight_bytes")? as usize);
    let (date, authorization) = forged(KEY);
    let head = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\n{}: {}\r\nx-amz-target: Kinesis_20131202.PutRecords\r\n\
         x-amz-date: {date}\r\nauthorization: {authorization}\r\ncontent-length: 900000\r\n\r\n",
        AMZ.0, AMZ.1
    );
    let half = [head.as_bytes(), &vec![b' '; 300_000]].concat();
    let mut open = Vec::new();
    for _ in 0..2 * BUDGET / half.len() {
        let mut connection = Connection::open(gateway.at)?;
        // refused ones are read no further
        let _ = connection.write(&half);
        open.push(connection);
    }
    eventually("bodies that nobody vouches for", SOON, || Ok(in_flight()? > BUDGET / 4))?;
    ensure!(in_flight()? <= BUDGET / 2, "{} bytes are in flight", in_flight()?);
    let records = r#"{"StreamName":"s-geo","Records":[{"PartitionKey":"k","Data":"dg=="}]}"#;
    let padded = format!("{}{records}", " ".repeat(900_000));
    let answer = ask(&gateway, "PutRecords", &[token], &padded)?;
    ensure!(answer.status == 200, "{answer:?}");
    drop(open);
    eventually("the end of all bytes in flight", SOON, || Ok(in_flight()? == 0))?;
    gateway.end()?;
    Ok(())
}
