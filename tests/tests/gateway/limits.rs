//! The bounds: what is too much, too slow or not allowed is refused in the dialect of who asks, and keeps nobody
//! else out.

use crate::http::{Connection, JSON, PATIENCE, V2, ask};
use crate::{Gateway, SOON, kafka};
use anyhow::{Context, Result, ensure};
use pinflow_tests::{Kafka, Pinflow, eventually, root, write_private};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const ONE: &str = r#"{"records":[{"value":{"ind":1}}]}"#;

/// The interfaces, each with a request that succeeds where [`gateway`] was started.
pub const REQUESTS: [(&str, (&str, &str), &str); 4] = [
    ("POST /geo/", JSON, r#"{"ind":1}"#),
    ("POST /topics/lim.geo", V2, ONE),
    (
        "POST /v3/clusters/c/topics/lim.geo/records",
        JSON,
        r#"{"value":{"data":{"ind":1}}}"#,
    ),
    (
        "PUT /streams/x-geo/record",
        JSON,
        r#"{"Data":{"ind":1},"PartitionKey":"k"}"#,
    ),
];

fn topic(kafka: &Kafka) -> Result<()> {
    static MADE: std::sync::Once = std::sync::Once::new();
    let mut made = Ok(());
    MADE.call_once(|| made = kafka.create_topic("lim.geo", 1, &[]));
    made
}

/// A gateway with these lines in `[gateway]`; its topic is `lim.geo`.
pub fn gateway(settings: &str, arguments: &[&str]) -> Result<(Gateway, tempfile::TempDir)> {
    let kafka = kafka()?;
    topic(kafka)?;
    Gateway::configured(kafka, "lim.geo", settings, arguments)
}

/// Kafka's limit is one of batches: of those that are sent with a record that is too large, and of many small ones, every
/// one that fits is taken.
#[test]
fn only_the_record_that_is_too_large_for_its_topic_fails() -> Result<()> {
    kafka()?.create_topic("small.lim.geo", 1, &[("max.message.bytes", "131072")])?;
    let (gateway, _folder) = gateway("", &[])?;
    let record = |ind: usize| {
        let bytes = if ind == 200 { 200_000 } else { 2_000 };
        json!({"value": {"ind": ind, "country": "x".repeat(bytes)}})
    };
    let body = json!({"records": (0..400).map(record).collect::<Vec<_>>()}).to_string();
    let answer = gateway.ask("POST /topics/small.lim.geo", &[V2], &body)?;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer: serde_json::Value = serde_json::from_str(&answer.body)?;
    let offsets = answer["offsets"].as_array().context("no offsets")?;
    assert_eq!(offsets.len(), 400);
    let refused = offsets
        .iter()
        .enumerate()
        .filter(|(_, offset)| offset["offset"].is_null());
    let refused: Vec<usize> = refused.map(|(index, _)| index).collect();
    assert_eq!(refused, [200], "{}", offsets[200]);
    gateway.end()?;
    Ok(())
}

#[test]
fn a_body_that_is_too_large_or_too_slow_is_refused() -> Result<()> {
    let (gateway, _folder) = gateway(
        "body_bytes = 10000\nbody_timeout = \"1s\"\nheader_timeout = \"2s\"\n",
        &[],
    )?;
    let large = format!("{{\"x\":\"{}\"}}", "x".repeat(3_000_000));
    for ((line, kind, _), body) in REQUESTS.iter().zip([
        r#"{"detail":"The body has more than 10000 bytes"}"#,
        r#"{"error_code":413,"message":"The body has more than 10000 bytes"}"#,
        r#"{"error_code":413,"message":"The body has more than 10000 bytes"}"#,
        r#"{"__type":"RequestEntityTooLargeException","message":"The body has more than 10000 bytes"}"#,
    ]) {
        // announced, and without an announcement; the client writes everything before it reads
        let answer = gateway.ask(line, &[*kind], &large)?;
        assert_eq!((answer.status, answer.body.as_str()), (413, body), "{line}");
        let mut connection = Connection::open(gateway.at)?;
        let head = format!(
            "{line} HTTP/1.1\r\nhost: localhost\r\n{}: {}\r\ntransfer-encoding: chunked\r\n\r\n",
            kind.0, kind.1
        );
        connection.write(format!("{head}{:x}\r\n{large}\r\n0\r\n\r\n", large.len()).as_bytes())?;
        let answer = connection.answer()?;
        assert_eq!((answer.status, answer.body.as_str()), (413, body), "{line}");
    }
    for ((line, kind, _), body) in REQUESTS.iter().zip([
        r#"{"detail":"The body did not come in time"}"#,
        r#"{"error_code":408,"message":"The body did not come in time"}"#,
        r#"{"error_code":408,"message":"The body did not come in time"}"#,
        r#"{"__type":"RequestTimeoutException","message":"The body did not come in time"}"#,
    ]) {
        let mut connection = Connection::open(gateway.at)?;
        let head = format!(
            "{line} HTTP/1.1\r\nhost: localhost\r\n{}: {}\r\ncontent-length: 50\r\n\r\n{{",
            kind.0, kind.1
        );
        let began = Instant::now();
        connection.write(head.as_bytes())?;
        let answer = connection.answer()?;
        assert_eq!(
            (answer.status, answer.body.as_str(), answer.header("connection")),
            (408, body, "close"),
            "{line}"
        );
        ensure!(began.elapsed() < Duration::from_secs(10));
        ensure!(connection.is_closed()?);
    }
    // a head that never ends
    let mut slow = Connection::open(gateway.at)?;
    slow.write(b"POST /pin/ HTTP/1.1\r\nhost: localhost\r\nx-a: ")?;
    let began = Instant::now();
    let mut said = Vec::new();
    slow.0.get_mut().read_to_end(&mut said)?;
    ensure!(
        began.elapsed() < Duration::from_secs(10),
        "{:?} {}",
        began.elapsed(),
        String::from_utf8_lossy(&said)
    );
    // a client that has sent its request may close its half
    let mut half = Connection::open(gateway.at)?;
    half.send("POST /topics/lim.geo", &[V2], ONE.as_bytes())?;
    half.0.get_mut().shutdown(Shutdown::Write)?;
    assert_eq!(half.answer()?.status, 200);
    // and one that goes away in the middle of a body leaves nothing behind
    let mut gone = Connection::open(gateway.at)?;
    gone.write(b"POST /topics/lim.geo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 50\r\n\r\n{\"records\"")?;
    drop(gone);
    eventually("the end of all bytes in flight", SOON, || {
        Ok(gateway.metric("pinflow_gateway_in_flight_bytes")? == 0.0)
    })?;
    gateway.end()?;
    Ok(())
}

/// Many connections that say nothing, or little by little: others are served at once.
#[test]
fn slow_clients_keep_nobody_out() -> Result<()> {
    let (gateway, _folder) = gateway("connections = 40\n", &[])?;
    let mut slow: Vec<TcpStream> = Vec::new();
    for index in 0..200 {
        let mut stream = TcpStream::connect(gateway.at)?;
        if index % 2 == 0 {
            stream.write_all(b"POST /geo/ HTTP/1.1\r\nhost: localhost\r\n")?;
        }
        slow.push(stream);
        if index % 20 == 0 {
            let began = Instant::now();
            assert_eq!(gateway.ask("POST /geo/", &[JSON], r#"{"ind":1}"#)?.status, 200);
            ensure!(
                began.elapsed() < Duration::from_secs(3),
                "{:?} after {index}",
                began.elapsed()
            );
        }
    }
    // those that made room are closed, those with a request under way never were
    ensure!(gateway.metric("pinflow_gateway_connections")? <= 40.0);
    gateway.end()?;
    Ok(())
}

/// While Kafka does not answer, what is taken is bounded; the rest is told to come again.
#[test]
fn more_than_the_budget_is_refused_with_retry_after() -> Result<()> {
    let mut kafka = Kafka::start()?;
    kafka.create_topic("lim.geo", 1, &[])?;
    let settings = "body_bytes = 60000\nin_flight_bytes = 65536\nproduce_timeout = \"20s\"\n";
    let (gateway, _folder) = Gateway::configured(&kafka, "lim.geo", settings, &[])?;
    for (line, kind, body) in REQUESTS {
        assert_eq!(gateway.ask(line, &[kind], body)?.status, 200, "{line}");
    }
    // with so many records it would never fit, so that trying again is no use
    let many = format!("{{\"records\":[{}]}}", vec![r#"{"value":1}"#; 250].join(","));
    let answer = gateway.ask("POST /topics/lim.geo", &[V2], &many)?;
    assert_eq!((answer.status, answer.header("retry-after")), (413, ""), "{answer:?}");
    kafka.freeze()?;
    let filling = r#"{"records":[{"value":{"ind":1,"x":"#.to_owned() + &format!("\"{}\"}}}}]}}", "x".repeat(59_000));
    let mut first = Connection::open(gateway.at)?;
    first.send("POST /topics/lim.geo", &[V2], filling.as_bytes())?;
    eventually("bytes in flight", SOON, || {
        Ok(gateway.metric("pinflow_gateway_in_flight_bytes")? > 59_000.0)
    })?;
    let padded = |body: &str| format!("{}{body}", " ".repeat(8_000));
    let text = "Too much is on its way to Kafka, try again";
    for (index, (status, body)) in [
        (503, format!("{{\"detail\":\"{text}\"}}")),
        (429, format!("{{\"error_code\":42901,\"message\":\"{text}\"}}")),
        (429, String::new()),
        (
            429,
            format!("{{\"__type\":\"ProvisionedThroughputExceededException\",\"message\":\"{text}\"}}"),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let (line, kind, request) = REQUESTS[index];
        if body.is_empty() {
            // a stream waits instead
            continue;
        }
        let answer = gateway.ask(line, &[kind], &padded(request))?;
        assert_eq!((answer.status, answer.body), (status, body), "{line}");
        assert_eq!(
            answer.headers.get("retry-after").map(String::as_str),
            Some("1"),
            "{line}"
        );
    }
    ensure!(gateway.metric("pinflow_gateway_shed_total")? >= 3.0);
    kafka.thaw()?;
    let answer = first.answer()?;
    ensure!(
        answer.status == 200 && answer.json()?["offsets"][0]["error_code"] == json!(null),
        "{answer:?}"
    );
    assert_eq!(gateway.ask("POST /geo/", &[JSON], &padded(r#"{"ind":1}"#))?.status, 200);
    gateway.end()?;
    Ok(())
}

#[test]
fn tokens_open_the_gateway_and_change_without_a_restart() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let tokens = folder.path().join("tokens");
    write_private(&tokens, "first-token-0001\n")?;
    let (gateway, _folder) = gateway("", &["--token-file", tokens.to_str().context("a path")?])?;
    let bearer = |token: &str| format!("Bearer {token}");
    let with = |headers: &[(&str, &str)]| ask(gateway.at, "POST /topics/lim.geo", &[&[V2], headers].concat(), ONE);
    assert_eq!(with(&[("authorization", &bearer("first-token-0001"))])?.status, 200);
    assert_eq!(with(&[("x-api-key", "first-token-0001")])?.status, 200);
    for ((line, kind, request), body) in REQUESTS.iter().zip([
        r#"{"detail":"Not authenticated"}"#,
        r#"{"error_code":401,"message":"HTTP 401 Unauthorized"}"#,
        r#"{"error_code":401,"message":"HTTP 401 Unauthorized"}"#,
        r#"{"__type":"MissingAuthenticationTokenException","message":"Not authenticated"}"#,
    ]) {
        for headers in [
            &[][..],
            &[("x-api-key", "first-token-0002")],
            &[("authorization", "Basic Zmlyc3Q6")],
        ] {
            let answer = gateway.ask(line, &[&[*kind], headers].concat(), request)?;
            assert_eq!(
                (answer.status, answer.body.as_str(), answer.header("www-authenticate")),
                (401, body, "Bearer, Basic realm=\"pinflow\"")
            );
        }
    }
    assert_eq!(gateway.ask("GET /metrics", &[], "")?.status, 401);
    assert_eq!(gateway.ask("GET /healthz", &[], "")?.status, 200);
    write_private(&tokens, "first-token-0001\nsecond-token-002\n")?;
    eventually("the second token", SOON, || {
        Ok(with(&[("x-api-key", "second-token-002")])?.status == 200)
    })?;
    assert_eq!(with(&[("x-api-key", "first-token-0001")])?.status, 200);
    write_private(&tokens, "second-token-002\n")?;
    eventually("the end of the first", SOON, || {
        Ok(with(&[("x-api-key", "first-token-0001")])?.status == 401)
    })?;
    assert_eq!(with(&[("x-api-key", "second-token-002")])?.status, 200);
    let log = gateway.end()?;
    ensure!(!log.contains("-token-"), "a token stands in the log");
    Ok(())
}

/// A key and a certificate of its own in `key.pem` and `cert.pem`.
pub fn certificate(folder: &Path, name: &str) -> Result<()> {
    let made = Command::new("openssl")
        .args(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout key.part -out cert.part"
                .split(' '),
        )
        .args([
            "-subj",
            &format!("/CN={name}"),
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ])
        .current_dir(folder)
        .output()
        .context("running openssl")?;
    ensure!(
        made.status.success(),
        "openssl: {}",
        String::from_utf8_lossy(&made.stderr)
    );
    std::fs::rename(folder.join("key.part"), folder.join("key.pem"))?;
    std::fs::rename(folder.join("cert.part"), folder.join("cert.pem"))?;
    Ok(())
}

/// Python's client trusts exactly this certificate.
fn over_tls(at: SocketAddr, certificate: &Path) -> Result<bool> {
    let script = root().join("tests/clients/tls.py");
    let output = Command::new("python3")
        .arg(script)
        .arg(at.to_string())
        .arg(certificate)
        .output()?;
    Ok(output.status.success() && output.stdout == b"200 ok\n")
}

#[test]
fn tls_takes_a_new_certificate_without_a_restart() -> Result<()> {
    let kafka = kafka()?;
    let folder = tempfile::tempdir()?;
    certificate(folder.path(), "one")?;
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let arguments = [
        "--tls-cert",
        cert.to_str().context("a path")?,
        "--tls-key",
        key.to_str().context("a path")?,
    ];
    let gateway = Pinflow::new("gateway")
        .kafka(kafka)
        .args(["--listen", "127.0.0.1:0"])
        .args(arguments);
    let mut gateway = Gateway::launch_unready(&gateway)?;
    let old = folder.path().join("old.pem");
    std::fs::copy(&cert, &old)?;
    ensure!(over_tls(gateway.at, &old)?, "{}", gateway.program.tail());
    certificate(folder.path(), "two")?;
    eventually("the second certificate", SOON, || over_tls(gateway.at, &cert))?;
    ensure!(!over_tls(gateway.at, &old)?);
    // plain HTTP, and silence, do no harm
    let mut plain = TcpStream::connect(gateway.at)?;
    plain.set_read_timeout(Some(PATIENCE))?;
    plain.write_all(b"GET /healthz HTTP/1.1\r\n\r\n")?;
    let _silent = TcpStream::connect(gateway.at)?;
    ensure!(over_tls(gateway.at, &cert)?);
    gateway.program.terminate()?;
    gateway.program.expect(0, SOON)
}

/// Before its handshake has ended a client is not authenticated: little is kept of it, and it makes room for others.
#[test]
fn handshakes_that_do_not_end_make_room() -> Result<()> {
    let folder = tempfile::tempdir()?;
    certificate(folder.path(), "one")?;
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let gateway = Pinflow::new("gateway")
        .kafka(kafka()?)
        .args(["--listen", "127.0.0.1:0"])
        .args(["--tls-cert", cert.to_str().context("a path")?])
        .args(["--tls-key", key.to_str().context("a path")?])
        .env("PINFLOW__GATEWAY__IN_FLIGHT_BYTES", "1048576")
        .env("PINFLOW__GATEWAY__BODY_BYTES", "500000");
    let mut gateway = Gateway::launch_unready(&gateway)?;
    // a hundred times sixteen KiB are more than there is
    let mut begun = Vec::new();
    for _ in 0..100 {
        let mut connection = Connection::open(gateway.at)?;
        connection.write(&[0x16, 3, 1])?;
        begun.push(connection);
    }
    ensure!(over_tls(gateway.at, &cert)?, "{}", gateway.program.tail());
    // a message of 64 KiB, of which a half comes
    let record = [&[0x16, 3, 1, 0x40, 0][..], &[1, 0, 0xff, 0xff], &[0; 16_380]].concat();
    let next = [&[0x16, 3, 1, 0x40, 0][..], &[0; 16_384]].concat();
    let mut large = Connection::open(gateway.at)?;
    let began = Instant::now();
    // it may be closed before all of it is written
    let _ = large.write(&record).and_then(|()| large.write(&next));
    ensure!(large.is_closed()?, "it is waited for");
    ensure!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    gateway.program.terminate()?;
    gateway.program.expect(0, SOON)
}

#[test]
fn others_need_tokens_and_tls_unless_it_is_said() -> Result<()> {
    let open = |more: &[&str]| {
        let command = Pinflow::new("gateway").args(["--kafka", "127.0.0.1:1", "--listen", "0.0.0.0:0"]);
        command.args(more).start()
    };
    let mut refused = open(&[])?;
    refused.expect(2, SOON)?;
    ensure!(
        refused.stderr().contains("needs tokens (--token-file) and TLS"),
        "{}",
        refused.stderr()
    );
    let mut half = open(&["--tls-cert", "/nowhere/c", "--tls-key", "/nowhere/k"])?;
    half.expect(2, SOON)?;
    let mut owned = open(&["--insecure", "--kafka-property", "acks=1"])?;
    owned.expect(2, SOON)?;
    ensure!(
        owned.stderr().contains("Kafka property acks cannot be set"),
        "{}",
        owned.stderr()
    );
    let mut absent = open(&["--insecure", "--token-file", "/nowhere/tokens"])?;
    absent.expect(1, SOON)?;
    ensure!(
        absent.stderr().contains("cannot read /nowhere/tokens"),
        "{}",
        absent.stderr()
    );
    let mut said = open(&["--insecure"])?;
    said.wait_for("listening on http://0.0.0.0:", SOON)?;
    said.terminate()?;
    said.expect(0, SOON)
}
