//! The byte budget: everything that a client has sent and that is not yet in Kafka counts, complete or not, and what
//! slow clients hold is taken back when others need it.

use crate::http::{Connection, JSON, V2};
use crate::limits::{REQUESTS, gateway};
use crate::{Gateway, SOON};
use anyhow::{Context, Result, ensure};
use pinflow_tests::{eventually, write_private};
use std::time::{Duration, Instant};

const STREAM: &str = "POST /v3/clusters/c/topics/lim.geo/records HTTP/1.1\r\nhost: 127.0.0.1\r\n\
                      content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
const BUDGET: usize = 1 << 20;

fn in_flight(gateway: &Gateway) -> Result<usize> {
    Ok(gateway.metric("pinflow_gateway_in_flight_bytes")? as usize)
}

/// Sends what the other side takes within a second.
fn send(gateway: &Gateway, bytes: &[u8]) -> Result<Connection> {
    use std::io::Write;
    let mut connection = Connection::open(gateway.at)?;
    let stream = connection.0.get_mut();
    stream.set_write_timeout(Some(Duration::from_secs(1)))?;
    // a client that has to wait stays connected
    let _ = stream.write_all(bytes);
    Ok(connection)
}

/// Half of each kind of request, as large as it may be: the start of a record of a stream, of a body, and of a head.
fn halves() -> [(&'static str, Vec<u8>); 3] {
    let padding = "x".repeat(300_000);
    let record = format!("{{\"value\":{{\"type\":\"JSON\",\"data\":\"{padding}");
    let stream = format!("{STREAM}{:x}\r\n{record}\r\n", record.len());
    let body = format!(
        "POST /topics/lim.geo HTTP/1.1\r\nhost: 127.0.0.1\r\n{}: {}\r\ncontent-length: 400000\r\n\r\n\
         {{\"records\":[{{\"value\":\"{padding}",
        V2.0, V2.1
    );
    let head = format!(
        "POST /topics/lim.geo HTTP/1.1\r\nhost: 127.0.0.1\r\nx-a: {}",
        "x".repeat(15_000)
    );
    [
        ("record", stream.into_bytes()),
        ("body", body.into_bytes()),
        ("head", head.into_bytes()),
    ]
}

#[test]
fn half_a_request_counts_as_it_arrives_and_makes_room() -> Result<()> {
    let settings = format!("in_flight_bytes = {BUDGET}\nbody_bytes = 500000\nconnections = 1000\n");
    let (gateway, _folder) = gateway(&settings, &["--access-log", "off"])?;
    ensure!(gateway.ask("POST /geo/", &[JSON], r#"{"ind":1}"#)?.status == 200);
    for (what, half) in halves() {
        let (before, _) = gateway.program.memory()?;
        let count = if what == "head" { 400 } else { 60 };
        let mut open = Vec::new();
        for index in 0..count {
            open.push(send(&gateway, &half)?);
            if index == 0 {
                eventually(&format!("half a {what} that counts"), SOON, || {
                    Ok(in_flight(&gateway)? >= half.len() * 9 / 10)
                })?;
            }
            let bytes = in_flight(&gateway)?;
            ensure!(bytes <= BUDGET, "{bytes} bytes are in flight");
        }
        ensure!(in_flight(&gateway)? > BUDGET / 4, "half a {what} does not count");
        let (after, _) = gateway.program.memory()?;
        ensure!(
            after < before + (24 << 20),
            "{count} times half a {what} took {} MB",
            (after - before) >> 20
        );
        // others are served, after another try at most
        let began = Instant::now();
        eventually(
            &format!("service beside half a {what}"),
            Duration::from_secs(10),
            || {
                let answer = gateway.ask("POST /topics/lim.geo", &[V2], r#"{"records":[{"value":{"ind":2}}]}"#)?;
                ensure!(
                    answer.status == 200 || answer.header("retry-after") == "1",
                    "{answer:?}"
                );
                Ok(answer.status == 200)
            },
        )?;
        ensure!(began.elapsed() < Duration::from_secs(10));
        drop(open);
        eventually("the end of all bytes in flight", SOON, || Ok(in_flight(&gateway)? == 0))?;
    }
    gateway.end()?;
    Ok(())
}

/// A byte now and then is no reason to hold a record's memory: it is complete in time, or the stream ends.
#[test]
fn a_record_that_has_begun_is_complete_in_time() -> Result<()> {
    let (gateway, _folder) = gateway("body_timeout = \"2s\"\n", &[])?;
    let mut connection = Connection::open(gateway.at)?;
    let record = REQUESTS[2].2;
    connection.write(format!("{STREAM}{:x}\r\n{record}\r\n", record.len()).as_bytes())?;
    ensure!(connection.head()?.0 == 200 && connection.chunk()?.contains("\"error_code\":200"));
    let began = Instant::now();
    connection.write(b"1\r\n{\r\n")?;
    let mut trickle = connection.0.get_ref().try_clone()?;
    let writer = std::thread::spawn(move || {
        use std::io::Write;
        while trickle.write_all(b"1\r\n \r\n").is_ok() && began.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(300));
        }
    });
    let report = connection.chunk()?;
    ensure!(report.contains("\"error_code\":408"), "{report}");
    ensure!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    drop(connection);
    drop(writer);
    eventually("the end of all bytes in flight", SOON, || Ok(in_flight(&gateway)? == 0))?;
    gateway.end()?;
    Ok(())
}

/// A stream that has sent a large record and goes on holds nothing of it.
#[test]
fn a_stream_between_two_records_holds_nothing() -> Result<()> {
    let (gateway, _folder) = gateway("body_timeout = \"60s\"\n", &["--access-log", "off"])?;
    let (before, _) = gateway.program.memory()?;
    let record = format!(
        "{{\"value\":{{\"data\":{{\"ind\":1,\"x\":\"{}\"}}}}}}",
        "x".repeat(900_000)
    );
    let mut streams = Vec::new();
    for _ in 0..60 {
        let mut connection = Connection::open(gateway.at)?;
        connection.write(format!("{STREAM}{:x}\r\n{record}\r\n", record.len()).as_bytes())?;
        ensure!(connection.head()?.0 == 200 && connection.chunk()?.contains("\"error_code\":200"));
        streams.push(connection);
    }
    eventually("the end of all bytes in flight", SOON, || Ok(in_flight(&gateway)? == 0))?;
    let (after, _) = gateway.program.memory()?;
    // held, they would be 51 MiB; the allocator keeps some of what is free
    ensure!(
        after < before + (45 << 20),
        "60 open streams take {} MB",
        (after - before) >> 20
    );
    drop(streams);
    gateway.end()?;
    Ok(())
}

/// Headers of a record cost more than their bytes.
#[test]
fn headers_of_a_record_are_bounded_and_count() -> Result<()> {
    let (gateway, _folder) = gateway("in_flight_bytes = 100000\nbody_bytes = 60000\n", &[])?;
    let record = |headers: usize| {
        let headers = vec![r#"{"name":""}"#; headers].join(",");
        format!("{{\"value\":{{\"data\":1}},\"headers\":[{headers}]}}")
    };
    let post = |body: &str| gateway.ask(REQUESTS[2].0, &[JSON], body);
    assert_eq!(post(&record(500))?.status, 200);
    let many = post(&record(1001))?;
    assert_eq!(
        (many.status, many.body.as_str()),
        (
            422,
            "{\"error_code\":422,\"message\":\"a record has at most 1000 headers\"}\r\n"
        )
    );
    // 1000 headers of 12 bytes fit as bytes, and not as headers
    let over = post(&record(1000))?;
    ensure!(
        over.status == 413 && over.body.contains("has room for") && over.header("retry-after").is_empty(),
        "{over:?}"
    );
    gateway.end()?;
    Ok(())
}

/// Whatever a client sends, an error repeats no more than a kibibyte of it.
#[test]
fn an_error_repeats_no_more_than_a_kibibyte() -> Result<()> {
    let (gateway, _folder) = gateway("", &[])?;
    let long = "é".repeat(100_000);
    let name = "n".repeat(1_900);
    let v3 = REQUESTS[2].0;
    let cases: Vec<(String, (&str, &str), String)> = vec![
        (
            "POST /geo/".into(),
            JSON,
            format!("{{\"ind\":\"{long}\",\"country\":[\"{long}\"]}}"),
        ),
        ("POST /geo/".into(), JSON, format!("{{\"{long}\":1}}")),
        ("POST /geo/".into(), JSON, format!("[\"{long}\"]")),
        ("POST /geo/".into(), ("content-type", "text/plain"), long.clone()),
        ("POST /topics/lim.geo".into(), V2, format!("{{\"{long}\":1}}")),
        ("POST /topics/lim.geo".into(), V2, format!("{{\"records\":\"{long}\"}}")),
        (
            "POST /topics/lim.geo".into(),
            V2,
            format!("{{\"records\":[{{\"{long}\":1}}]}}"),
        ),
        (
            "POST /topics/lim.geo".into(),
            V2,
            format!("{{\"records\":[{{\"partition\":\"{long}\"}}]}}"),
        ),
        (
            v3.into(),
            JSON,
            format!("{{\"value\":{{\"type\":\"{long}\",\"data\":1}}}}"),
        ),
        (v3.into(), JSON, format!("{{\"partition_id\":\"{long}\"}}")),
        (v3.into(), JSON, format!("{{\"timestamp\":\"{long}\"}}")),
        (v3.into(), JSON, format!("{{\"headers\":[\"{long}\"]}}")),
        (v3.replace("/c/", &format!("/{name}/")), JSON, REQUESTS[2].2.into()),
        ("PUT /streams/x-geo/record".into(), JSON, format!("\"{long}\"")),
        (
            "PUT /streams/x-geo/records".into(),
            JSON,
            format!("{{\"records\":[{{\"data\":1,\"partition-key\":\"{long}\"}}]}}"),
        ),
        (
            "POST /streams/x-geo".into(),
            JSON,
            format!("{{\"ShardCount\":\"{long}\"}}"),
        ),
        (format!("PUT /streams/{name}/record"), JSON, REQUESTS[3].2.into()),
        (format!("DELETE /streams/{name}"), JSON, String::new()),
        (format!("POST /topics/{name}"), V2, REQUESTS[1].2.into()),
        (format!("GET /{name}{name}"), JSON, String::new()),
    ];
    for (line, kind, body) in cases {
        let answer = gateway.ask(&line, &[kind], &body)?;
        let asked = &line[..line.len().min(40)];
        ensure!(answer.status >= 400, "{asked}: {}", answer.status);
        ensure!(
            answer.body.len() < 1_600,
            "{asked}: an answer of {} bytes",
            answer.body.len()
        );
    }
    let log = gateway.end()?;
    let longest = log.lines().map(str::len).max().unwrap_or(0);
    ensure!(longest < 1_400, "a line of the access log has {longest} bytes");
    Ok(())
}

/// Clients whose token nobody has seen yet hold half of the budget at most: who has a token is served at once.
#[test]
fn clients_without_a_token_leave_room_for_those_who_have_one() -> Result<()> {
    const TOKEN: (&str, &str) = ("x-api-key", "a-valid-token-01");
    let folder = tempfile::tempdir()?;
    let tokens = folder.path().join("tokens");
    write_private(&tokens, TOKEN.1)?;
    let settings = format!("in_flight_bytes = {BUDGET}\nbody_bytes = 500000\n");
    let tokens = ["--token-file", tokens.to_str().context("a path")?];
    let (gateway, _folder) = gateway(&settings, &[&["--access-log", "off"], &tokens[..]].concat())?;
    let in_flight = || Ok::<_, anyhow::Error>(gateway.metric_as(TOKEN.1, "pinflow_gateway_in_flight_bytes")? as usize);
    let large = format!("{{\"records\":[{{\"value\":\"{}\"}}]}}", "x".repeat(400_000));
    let body = format!(
        "POST /topics/lim.geo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 400000\r\n\r\n{}",
        "x".repeat(60_000)
    );
    let head = format!(
        "POST /topics/lim.geo HTTP/1.1\r\nhost: localhost\r\nx-a: {}",
        "x".repeat(15_000)
    );
    for half in [body, head] {
        let mut open = Vec::new();
        for _ in 0..BUDGET / 15_000 {
            open.push(send(&gateway, half.as_bytes())?);
        }
        let bytes = in_flight()?;
        ensure!(
            (BUDGET / 4..=BUDGET / 2).contains(&bytes),
            "{bytes} bytes are in flight"
        );
        let answer = gateway.ask("POST /topics/lim.geo", &[V2, TOKEN], &large)?;
        ensure!(answer.status == 200, "{answer:?}");
        drop(open);
        eventually("the end of all bytes in flight", SOON, || Ok(in_flight()? == 0))?;
    }
    gateway.end()?;
    Ok(())
}

/// Clients that send whole requests and do not read their long answers: what is not taken counts, and makes room.
#[test]
fn an_answer_counts_until_it_is_taken() -> Result<()> {
    use std::io::Write;
    const BUDGET: usize = 32 << 20;
    let settings = format!("in_flight_bytes = {BUDGET}\nbody_bytes = {}\n", 8 << 20);
    let (gateway, _folder) = gateway(&settings, &["--access-log", "off"])?;
    ensure!(gateway.ask("POST /geo/", &[JSON], r#"{"ind":1}"#)?.status == 200);
    let (before, _) = gateway.program.memory()?;
    // each record has a slot that says that there is no such partition
    let body = format!(
        "{{\"records\":[{}]}}",
        vec![r#"{"value":1,"partition":99}"#; 20_000].join(",")
    );
    let head = format!(
        "POST /topics/lim.geo HTTP/1.1\r\nhost: localhost\r\n{}: {}\r\ncontent-length: {}\r\n\r\n",
        V2.0,
        V2.1,
        body.len()
    );
    let request = [head.as_bytes(), body.as_bytes()].concat();
    let (mut open, mut most) = (Vec::new(), 0);
    for _ in 0..40 {
        let mut connection = Connection::open(gateway.at)?;
        let stream = connection.0.get_mut();
        stream.set_write_timeout(Some(Duration::from_millis(200)))?;
        // the first answers find room in the system's buffers
        for _ in 0..6 {
            if stream.write_all(&request).is_err() {
                break;
            }
        }
        open.push(connection);
        most = most.max(in_flight(&gateway)?);
        let (now, _) = gateway.program.memory()?;
        ensure!(
            now < before + BUDGET as u64 + (64 << 20),
            "{} clients that do not read take {} MB",
            open.len(),
            (now - before) >> 20
        );
    }
    ensure!(most <= BUDGET, "{most} bytes in flight");
    std::thread::sleep(Duration::from_secs(1));
    let unread = in_flight(&gateway)?;
    ensure!(unread > 1 << 20, "{unread} bytes of unread answers count");
    eventually("service beside unread answers", Duration::from_secs(20), || {
        Ok(gateway.ask("POST /geo/", &[JSON], r#"{"ind":1}"#)?.status == 200)
    })?;
    drop(open);
    eventually("the end of all bytes in flight", SOON, || Ok(in_flight(&gateway)? == 0))?;
    gateway.end()?;
    Ok(())
}
