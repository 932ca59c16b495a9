//! Who waits for whom: a client is slow only while the gateway waits for its bytes, not while it waits for Kafka or for
//! room in the budget.

use crate::http::{Connection, JSON, V2};
use crate::limits::gateway;
use crate::{Gateway, SOON};
use anyhow::{Result, anyhow, ensure};
use pinflow_tests::{Kafka, eventually};
use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

/// The head of a stream to this topic.
fn stream(topic: &str) -> String {
    format!(
        "POST /v3/clusters/c/topics/{topic}/records HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n"
    )
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

fn record(padding: usize) -> String {
    let padding = "x".repeat(padding);
    format!("{{\"value\":{{\"data\":{{\"ind\":1,\"x\":\"{padding}\"}}}}}}")
}

/// Whether the connection stays open and silent for so long.
fn is_silent(connection: &mut Connection, time: Duration) -> Result<bool> {
    let stream = connection.0.get_mut();
    let before = stream.read_timeout()?;
    stream.set_read_timeout(Some(time))?;
    let read = stream.read(&mut [0]);
    stream.set_read_timeout(before)?;
    match read {
        Ok(_) => Ok(false),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(true),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A client that sends the next record when the last is reported waits for Kafka: it makes no room, and its time for
/// the next record has not begun.
#[test]
fn a_client_that_waits_for_its_report_is_not_slow() -> Result<()> {
    let mut kafka = Kafka::start()?;
    kafka.create_topic("wait.geo", 1, &[])?;
    let settings = "connections = 2\nbody_timeout = \"2s\"\nproduce_timeout = \"30s\"\n";
    let (gateway, _folder) = Gateway::configured(&kafka, "wait.geo", settings, &["--access-log", "off"])?;
    let mut client = Connection::open(gateway.at)?;
    client.write(format!("{}{}", stream("wait.geo"), chunk(&record(1))).as_bytes())?;
    ensure!(client.head()?.0 == 200 && client.chunk()?.contains("\"error_code\":200"));
    kafka.freeze()?;
    client.write(chunk(&record(2)).as_bytes())?;
    let mut other = Connection::open(gateway.at)?;
    other.send("POST /geo/", &[JSON], br#"{"ind":1}"#)?;
    // both have a request, and a third wants a place
    std::thread::sleep(Duration::from_millis(300));
    let mut third = Connection::open(gateway.at)?;
    third.send("GET /healthz", &[], b"")?;
    ensure!(
        is_silent(&mut client, Duration::from_secs(4))?,
        "a stream that waits for Kafka was ended"
    );
    kafka.thaw()?;
    let report = client.chunk()?;
    ensure!(report.contains("\"error_code\":200"), "{report}");
    // from now on the next record is waited for
    ensure!(client.chunk()?.contains("\"error_code\":408"));
    ensure!(other.answer()?.status == 200 && third.answer()?.status == 200);
    gateway.end()?;
    Ok(())
}

/// Half a record whose client sends the rest, and for which there is no room, is not closed to make room.
#[test]
fn a_client_that_waits_for_room_is_not_slow() -> Result<()> {
    let mut kafka = Kafka::start()?;
    kafka.create_topic("wait.geo", 1, &[])?;
    let settings = "in_flight_bytes = 65536\nbody_bytes = 60000\nbody_timeout = \"20s\"\nproduce_timeout = \"30s\"\n";
    let (gateway, _folder) = Gateway::configured(&kafka, "wait.geo", settings, &["--access-log", "off"])?;
    ensure!(gateway.ask("POST /geo/", &[JSON], r#"{"ind":1}"#)?.status == 200);
    let in_flight = || gateway.metric("pinflow_gateway_in_flight_bytes");
    kafka.freeze()?;
    let mut filling = Connection::open(gateway.at)?;
    let body = format!("{{\"records\":[{{\"value\":\"{}\"}}]}}", "x".repeat(50_000));
    filling.send("POST /topics/wait.geo", &[V2], body.as_bytes())?;
    eventually("a full budget", SOON, || Ok(in_flight()? > 50_000.0))?;
    let whole = record(25_000);
    let (first, rest) = whole.split_at(8_000);
    let mut client = Connection::open(gateway.at)?;
    client.write(format!("{}{}", stream("wait.geo"), chunk(first)).as_bytes())?;
    // at once: half a record that nothing follows is slow
    client.write(chunk(rest).as_bytes())?;
    eventually("half a record", SOON, || Ok(in_flight()? > 58_000.0))?;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        // each of these asks for room
        let padded = format!("{}{{\"records\":[{{\"value\":1}}]}}", " ".repeat(12_000));
        let answer = gateway.ask("POST /topics/wait.geo", &[V2], &padded)?;
        ensure!(
            answer.status == 429 && answer.header("retry-after") == "1",
            "{answer:?}"
        );
        ensure!(
            is_silent(&mut client, Duration::from_millis(100))?,
            "a record that waits for room was ended after {:?}",
            began.elapsed()
        );
    }
    kafka.thaw()?;
    ensure!(filling.answer()?.status == 200);
    ensure!(client.head()?.0 == 200 && client.chunk()?.contains("\"error_code\":200"));
    client.write(b"0\r\n\r\n")?;
    ensure!(client.chunk()?.is_empty());
    gateway.end()?;
    Ok(())
}

/// Records that fill the budget together, and of which none is complete, do not wait for each other.
#[test]
fn records_that_only_wait_for_each_other_are_told_so() -> Result<()> {
    let settings = "in_flight_bytes = 1048576\nbody_bytes = 500000\n";
    let (gateway, _folder) = gateway(settings, &["--access-log", "off"])?;
    ensure!(gateway.ask("POST /geo/", &[JSON], r#"{"ind":1}"#)?.status == 200);
    let whole = record(480_000);
    let (first, rest) = whole.split_at(250_000);
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = Connection::open(gateway.at)?;
        client.write(format!("{}{}", stream("lim.geo"), chunk(first)).as_bytes())?;
        clients.push(client);
    }
    eventually("a full budget", SOON, || {
        Ok(gateway.metric("pinflow_gateway_in_flight_bytes")? > 990_000.0)
    })?;
    let began = Instant::now();
    let rest = format!("{}0\r\n\r\n", chunk(rest));
    let finish = |mut client: Connection| {
        let rest = rest.clone();
        std::thread::spawn(move || -> Result<(u16, String, String)> {
            client.write(rest.as_bytes())?;
            let answer = client.answer()?;
            let retry_after = answer.header("retry-after").to_owned();
            Ok((answer.status, retry_after, answer.body))
        })
    };
    let threads: Vec<_> = clients.into_iter().map(finish).collect();
    let (mut taken, mut refused) = (0, 0);
    for thread in threads {
        let answer = thread.join().map_err(|_| anyhow!("a client panicked"))??;
        match (answer.0, answer.1.as_str()) {
            (200, "") if answer.2.contains("\"error_code\":200") => taken += 1,
            (429, "1") if answer.2.contains("\"error_code\":42901") => refused += 1,
            _ => return Err(anyhow!("{answer:?}")),
        }
    }
    ensure!(taken >= 1 && refused >= 1, "{taken} taken, {refused} refused");
    // well below the 30 s of body_timeout, after which they would be told anyway
    ensure!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    ensure!(gateway.metric("pinflow_gateway_in_flight_bytes")? == 0.0);
    gateway.end()?;
    Ok(())
}
