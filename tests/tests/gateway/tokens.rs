//! What a token opens, how much it may send, and files that are no secret, or gone.

use crate::http::{Answer, Connection, JSON, V2, ask};
use crate::limits::{REQUESTS, certificate, gateway};
use crate::{Gateway, SOON};
use anyhow::{Context, Result, ensure};
use pinflow_tests::{Kafka, Pinflow, eventually, write_private};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const ANY: &str = "anything-token-1";
const GEO: &str = "geo-only-token-1";
const OTHER: &str = "other-only-token";
const READ: &str = "reading-token-01";
const METRICS: &str = "metrics-token-01";
const ADMIN: &str = "admin-token-0001";

/// A gateway with this file of tokens.
fn guarded(tokens: &str, arguments: &[&str]) -> Result<(Gateway, (TempDir, TempDir))> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("tokens");
    write_private(&file, tokens)?;
    let file = file.to_string_lossy().into_owned();
    let (gateway, settings) = gateway("", &[&["--token-file", &file], arguments].concat())?;
    Ok((gateway, (folder, settings)))
}

fn with(at: SocketAddr, token: &str, request: (&str, (&str, &str), &str)) -> Result<Answer> {
    let (line, kind, body) = request;
    ask(at, line, &[kind, ("x-api-key", token)], body)
}

#[test]
fn a_token_opens_what_its_scopes_say_and_the_log_names_it() -> Result<()> {
    let tokens = format!(
        "{ANY}\n{GEO} name=geo scopes=produce:*.geo\n{OTHER} name=other scopes=produce:lim.pin,produce:old\n\
         {READ} name=reader scopes=read,raw\n{METRICS} name=prometheus scopes=metrics\n{ADMIN} name=root scopes=admin\n"
    );
    let (gateway, _folders) = guarded(&tokens, &["--alias", "old=lim.geo"])?;
    let at = gateway.at;
    let alias = ("POST /topics/old", V2, r#"{"records":[{"value":{"ind":1}}]}"#);
    for request in REQUESTS.into_iter().chain([alias]) {
        for token in [ANY, GEO] {
            assert_eq!(with(at, token, request)?.status, 200, "{token} {request:?}");
        }
        // the name of an alias opens nothing: the topic counts
        for token in [OTHER, READ, METRICS, ADMIN] {
            assert_eq!(with(at, token, request)?.status, 403, "{token} {request:?}");
        }
    }
    for (request, body) in REQUESTS.into_iter().zip([
        r#"{"detail":"The scopes of the token lack produce for this topic"}"#,
        r#"{"error_code":40301,"message":"The scopes of the token lack produce for this topic"}"#,
        r#"{"error_code":40301,"message":"The scopes of the token lack produce for this topic"}"#,
        r#"{"__type":"AccessDeniedException","message":"The scopes of the token lack produce for this topic"}"#,
    ]) {
        assert_eq!(with(at, OTHER, request)?.body, body);
    }
    // records of one request for several streams: none is written when one may not be
    let several = r#"{"records":[{"data":"{\"ind\":1}","partition-key":"k"}]}"#;
    assert_eq!(
        with(at, OTHER, ("PUT /streams/x-geo/records", JSON, several))?.status,
        403
    );
    for (line, opened) in [
        ("GET /topics", READ),
        ("GET /topics/lim.geo", READ),
        ("GET /streams", READ),
        ("GET /streams/lim.geo", READ),
        ("GET /metrics", METRICS),
    ] {
        for token in [GEO, OTHER, READ, METRICS, ADMIN] {
            let expected = if token == opened { 200 } else { 403 };
            assert_eq!(with(at, token, (line, JSON, ""))?.status, expected, "{token} {line}");
        }
        assert_eq!(with(at, ANY, (line, JSON, ""))?.status, 200, "{line}");
    }
    for line in ["POST /streams/lim.geo", "DELETE /streams/lim.geo"] {
        for token in [GEO, READ, METRICS] {
            let answer = with(at, token, (line, JSON, ""))?;
            ensure!(
                answer.status == 403 && answer.body.contains("lack admin"),
                "{line} {answer:?}"
            );
        }
        let answer = with(at, ADMIN, (line, JSON, ""))?;
        ensure!(answer.body.contains("by the operator"), "{line} {answer:?}");
    }
    let log = gateway.end()?;
    for (name, status) in [
        ("tokens:1", 200),
        ("geo", 200),
        ("other", 403),
        ("prometheus", 200),
        ("reader", 403),
    ] {
        let [name, status] = [format!("\"token\":\"{name}\""), format!("\"status\":{status}")];
        ensure!(
            log.lines().any(|line| line.contains(&name) && line.contains(&status)),
            "{name} {status}"
        );
    }
    ensure!(log.contains("\"token\":null") && ![ANY, GEO, READ].iter().any(|token| log.contains(token)));
    Ok(())
}

#[test]
fn a_token_that_sends_too_much_is_told_when_to_come_again() -> Result<()> {
    let slow: Vec<String> = (0..4).map(|index| format!("slow-token-0000{index} rate=1")).collect();
    let tokens = format!(
        "{}\nmany-token-00001 rate=10\nstream-token-001 rate=3\n{ANY}\n",
        slow.join("\n")
    );
    let (gateway, _folders) = guarded(&tokens, &["--token-rate", "100000"])?;
    let at = gateway.at;
    for (index, (request, (before, after))) in REQUESTS
        .into_iter()
        .zip([
            (r#"{"detail":""#, r#""}"#),
            (r#"{"error_code":42901,"message":""#, r#""}"#),
            (r#"{"error_code":42901,"message":""#, r#""}"#),
            (
                r#"{"__type":"ProvisionedThroughputExceededException","message":""#,
                r#""}"#,
            ),
        ])
        .enumerate()
    {
        let token = format!("slow-token-0000{index}");
        assert_eq!(with(at, &token, request)?.status, 200);
        let answer = with(at, &token, request)?;
        let text = format!("{before}Too many requests or records with this token, try again in 1 s{after}");
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (429, text.as_str()),
            "{request:?}"
        );
        assert_eq!(answer.header("retry-after"), "1");
        assert_eq!(with(at, ANY, request)?.status, 200, "another token is not concerned");
    }
    // records count, not requests alone
    let many = format!("{{\"records\":[{}]}}", vec![r#"{"value":{"ind":1}}"#; 60].join(","));
    assert_eq!(
        with(at, "many-token-00001", ("POST /topics/lim.geo", V2, &many))?.status,
        200
    );
    let answer = with(at, "many-token-00001", REQUESTS[0])?;
    let wait: u64 = answer.header("retry-after").parse()?;
    ensure!(answer.status == 429 && (4..=6).contains(&wait), "{answer:?}");
    // and those of a stream, each by itself
    let stream = REQUESTS[2].2.repeat(6);
    let answer = with(at, "stream-token-001", (REQUESTS[2].0, JSON, &stream))?;
    let count = |code: &str| answer.body.matches(&format!("\"error_code\":{code}")).count();
    ensure!(
        answer.status == 200 && count("200") >= 3 && count("42901") >= 1,
        "{answer:?}"
    );
    assert_eq!(count("200") + count("42901"), 6);
    ensure!(gateway.metric_as(ANY, "pinflow_gateway_refused_total{reason=\"rate\"}")? >= 6.0);
    gateway.end()?;
    Ok(())
}

/// The connections that were open before a file is gone are no exception.
#[test]
fn a_deleted_file_closes_what_it_opened() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    write_private(&first, &format!("{ANY}\n"))?;
    write_private(&second, &format!("{READ}\n"))?;
    let [one, two] = [&first, &second].map(|path| path.to_string_lossy().into_owned());
    let (gateway, _folder) = gateway("", &["--token-file", &one, "--token-file", &two])?;
    let at = gateway.at;
    let mut kept = Connection::open(at)?;
    let ask_kept = |kept: &mut Connection| -> Result<u16> {
        kept.send("GET /topics", &[("x-api-key", ANY)], b"")?;
        Ok(kept.answer()?.status)
    };
    assert_eq!(ask_kept(&mut kept)?, 200);
    let mut stream = Connection::open(at)?;
    let head = format!("{} HTTP/1.1\r\nhost: localhost\r\nx-api-key: {ANY}\r\n", REQUESTS[2].0);
    stream.write(format!("{head}transfer-encoding: chunked\r\n\r\n").as_bytes())?;
    let record = format!("{:x}\r\n{}\r\n", REQUESTS[2].2.len(), REQUESTS[2].2);
    stream.write(record.as_bytes())?;
    ensure!(stream.head()?.0 == 200 && stream.chunk()?.contains("\"error_code\":200"));
    std::fs::remove_file(&first)?;
    eventually("the end of a token whose file is gone", SOON, || {
        Ok(ask_kept(&mut kept)? == 401)
    })?;
    assert_eq!(with(at, READ, ("GET /topics", JSON, ""))?.status, 200);
    stream.write(record.as_bytes())?;
    ensure!(stream.chunk()?.contains("\"error_code\":401") && stream.chunk()?.is_empty());
    // the last one: nobody is let in, which is not the same as letting everybody in
    set_mode(&second, 0o644)?;
    eventually("the end of a token that others can read", SOON, || {
        Ok(with(at, READ, ("GET /topics", JSON, ""))?.status == 401)
    })?;
    assert_eq!(ask(at, "GET /topics", &[], "")?.status, 401);
    assert_eq!(ask(at, "GET /healthz", &[], "")?.status, 200);
    set_mode(&second, 0o600)?;
    eventually("the token again", SOON, || {
        Ok(with(at, READ, ("GET /topics", JSON, ""))?.status == 200)
    })?;
    ensure!(gateway.program.stderr().contains("open nothing any more"));
    gateway.end()?;
    Ok(())
}

/// Kafka hangs: a token is revoked in time all the same. What waits for Kafka with it gets the answer that it would have
/// got, and no later; a stream with it ends; other tokens go on.
#[test]
fn a_token_is_revoked_while_its_requests_wait_for_kafka() -> Result<()> {
    const PRODUCE: Duration = Duration::from_secs(8);
    const REVOKED: Duration = Duration::from_secs(4);
    let mut kafka = Kafka::start()?;
    kafka.create_topic("lim.geo", 1, &[])?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("tokens");
    write_private(&file, &format!("{ANY}\n{OTHER}\n"))?;
    let arguments = ["--token-file", &file.to_string_lossy()];
    let (gateway, _folder) = Gateway::configured(&kafka, "lim.geo", "produce_timeout = \"8s\"\n", &arguments)?;
    let at = gateway.at;
    for request in REQUESTS {
        assert_eq!(with(at, ANY, request)?.status, 200, "{request:?}");
    }
    let mut stream = Connection::open(at)?;
    let head = format!("{} HTTP/1.1\r\nhost: localhost\r\nx-api-key: {ANY}\r\n", REQUESTS[2].0);
    stream.write(format!("{head}transfer-encoding: chunked\r\n\r\n").as_bytes())?;
    let record = format!("{:x}\r\n{}\r\n", REQUESTS[2].2.len(), REQUESTS[2].2);
    stream.write(record.as_bytes())?;
    ensure!(stream.head()?.0 == 200 && stream.chunk()?.contains("\"error_code\":200"));

    kafka.freeze()?;
    let began = Instant::now();
    let mut waiting = Vec::new();
    for token in [ANY, OTHER] {
        for (line, kind, body) in REQUESTS {
            let mut connection = Connection::open(at)?;
            connection.send(line, &[kind, ("x-api-key", token)], body.as_bytes())?;
            waiting.push((token, line, connection));
        }
    }
    stream.write(record.as_bytes())?;
    // all of them are on their way
    std::thread::sleep(Duration::from_millis(500));
    write_private(&file, &format!("{OTHER}\n"))?;
    let metrics = ("GET /metrics", JSON, "");
    eventually("the end of a token whose line is gone", REVOKED, || {
        Ok(with(at, ANY, metrics)?.status == 401)
    })?;
    for request in REQUESTS {
        assert_eq!(with(at, ANY, request)?.status, 401, "{request:?}");
    }
    assert_eq!(with(at, OTHER, metrics)?.status, 200);
    stream.write(record.as_bytes())?;
    ensure!(began.elapsed() < PRODUCE, "{:?}", began.elapsed());

    for (token, line, mut connection) in waiting {
        let answer = connection.answer()?;
        let expected = if line == REQUESTS[1].0 { 200 } else { 503 };
        ensure!(answer.status == expected, "{token} {line}: {answer:?}");
        ensure!(
            expected == 503 || answer.json()?["offsets"][0]["error_code"] == 50003,
            "{answer:?}"
        );
        ensure!(expected == 200 || answer.header("retry-after") == "1", "{answer:?}");
    }
    let mut reports = String::new();
    loop {
        let piece = stream.chunk()?;
        if piece.is_empty() {
            break;
        }
        reports += &piece;
    }
    let place = |code: &str| reports.find(&format!("\"error_code\":{code}")).context(reports.clone());
    ensure!(place("50003")? < place("401")?, "{reports}");
    let took = began.elapsed();
    ensure!(
        took > PRODUCE - Duration::from_secs(1) && took < PRODUCE + Duration::from_secs(4),
        "{took:?}"
    );

    kafka.thaw()?;
    eventually("a record of the other token", SOON, || {
        Ok(with(at, OTHER, REQUESTS[0])?.status == 200)
    })?;
    assert_eq!(with(at, ANY, REQUESTS[0])?.status, 401);
    gateway.end()?;
    Ok(())
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?)
}

#[test]
fn a_file_of_tokens_that_others_can_read_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("tokens");
    write_private(&file, &format!("{ANY}\n"))?;
    // as Kubernetes mounts a secret
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&file, &link)?;
    let start = |more: &[&str]| {
        let command = Pinflow::new("gateway").args(["--kafka", "127.0.0.1:1", "--listen", "127.0.0.1:0"]);
        let command = command.args(["--token-file", &link.to_string_lossy()]);
        command.args(more).start()
    };
    for mode in [0o644, 0o602, 0o660] {
        set_mode(&file, mode)?;
        let mut refused = start(&[])?;
        refused.expect(2, SOON)?;
        let said = refused.stderr();
        ensure!(
            said.contains("others may read or change") && said.contains("--insecure"),
            "{said}"
        );
    }
    for (mode, flags) in [(0o440, &[][..]), (0o600, &[]), (0o644, &["--insecure"])] {
        set_mode(&file, mode)?;
        let mut taken = start(flags)?;
        taken
            .wait_for("listening on http://", SOON)
            .with_context(|| format!("{mode:o}"))?;
        taken.terminate()?;
        taken.expect(0, SOON)?;
    }
    // the engine's listener reads the same files
    set_mode(&file, 0o644)?;
    let mut engine = Pinflow::new("run")
        .args(["--kafka", "127.0.0.1:1", "--postgres", "postgres://u@127.0.0.1:1/x"])
        .args(["--listen", "127.0.0.1:0", "--token-file", &link.to_string_lossy()])
        .start()?;
    engine.expect(2, SOON)?;
    write_private(&file, &format!("{ANY} scopes=everything\n"))?;
    set_mode(&file, 0o600)?;
    let mut wrong = start(&[])?;
    wrong.expect(1, SOON)?;
    ensure!(wrong.stderr().contains("line 1: unknown scope") && !wrong.stderr().contains(ANY));
    Ok(())
}

/// A TLS key is held to the mode of a file of tokens; its group may read it, as Debian's `ssl-cert` does.
#[test]
fn a_tls_key_that_others_can_read_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    certificate(folder.path(), "one")?;
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let start = |more: &[&str]| {
        let command = Pinflow::new("gateway").args(["--kafka", "127.0.0.1:1", "--listen", "127.0.0.1:0"]);
        let command = command.args([
            "--tls-cert",
            &cert.to_string_lossy(),
            "--tls-key",
            &key.to_string_lossy(),
        ]);
        command.args(more).start()
    };
    for mode in [0o644, 0o604, 0o602, 0o660] {
        set_mode(&key, mode)?;
        let mut refused = start(&[])?;
        refused.expect(2, SOON)?;
        let said = refused.stderr();
        let name = key.to_string_lossy();
        ensure!(
            said.contains("others may read or change") && said.contains(&*name) && said.contains("0640"),
            "{said}"
        );
    }
    for (mode, flags) in [(0o640, &[][..]), (0o400, &[]), (0o644, &["--insecure"])] {
        set_mode(&key, mode)?;
        let mut taken = start(flags)?;
        taken
            .wait_for("listening on https://", SOON)
            .with_context(|| format!("{mode:o}"))?;
        taken.terminate()?;
        taken.expect(0, SOON)?;
    }
    Ok(())
}
