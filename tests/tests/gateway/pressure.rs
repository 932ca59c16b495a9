//! Streams whose other side is slow: Kafka takes less than a client sends, or a client does not read what it is told.

use crate::http::{Connection, JSON};
use crate::limits::{REQUESTS, gateway};
use crate::{Gateway, SOON};
use anyhow::{Context, Result, anyhow, ensure};
use pinflow_tests::{Kafka, eventually};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const BUDGET: usize = 256 << 10;
/// Of each stream: a hundred budgets of bytes.
const RECORDS: usize = 12_000;
/// Records in one piece of a body.
const PIECE: usize = 32;

/// A record's value; neighbours differ in length.
fn value(stream: usize, number: usize) -> String {
    let ind = number * 2 + stream;
    format!("{{\"ind\":{ind},\"x\":\"{}\"}}", "x".repeat(1_000 + ind * 37 % 2_000))
}

/// A client that writes as fast as it can, and reads every report.
struct Client {
    /// Bytes that the gateway, or the system, has taken.
    written: Arc<AtomicUsize>,
    reported: Arc<AtomicUsize>,
    threads: (JoinHandle<Result<()>>, JoinHandle<Result<Vec<Value>>>),
}

impl Client {
    fn start(at: SocketAddr, stream: usize) -> Result<Client> {
        let mut connection = Connection::open(at)?;
        connection.write(
            b"POST /v3/clusters/c/topics/press.geo/records HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
              transfer-encoding: chunked\r\n\r\n",
        )?;
        let mut writer = connection.0.get_ref().try_clone()?;
        let [written, reported] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
        let (bytes, reports) = (Arc::clone(&written), Arc::clone(&reported));
        let write = move || {
            for start in (0..RECORDS).step_by(PIECE) {
                let records = (start..RECORDS.min(start + PIECE)).map(|number| {
                    let value = value(stream, number);
                    format!("{{\"value\":{{\"type\":\"JSON\",\"data\":{value}}}}}\n")
                });
                let piece: String = records.collect();
                writer.write_all(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes())?;
                bytes.fetch_add(piece.len(), Ordering::Relaxed);
            }
            writer.write_all(b"0\r\n\r\n").context("the end")
        };
        let read = move || {
            let (status, _) = connection.head()?;
            ensure!(status == 200, "status {status}");
            let mut all = Vec::new();
            loop {
                let piece = connection.chunk()?;
                if piece.is_empty() {
                    return Ok(all);
                }
                for report in piece.split_terminator("\r\n") {
                    all.push(serde_json::from_str(report).with_context(|| report.to_owned())?);
                }
                reports.store(all.len(), Ordering::Relaxed);
            }
        };
        Ok(Client {
            written,
            reported,
            threads: (std::thread::spawn(write), std::thread::spawn(read)),
        })
    }

    fn finish(self) -> Result<Vec<Value>> {
        let panicked = |_| anyhow!("a client panicked");
        self.threads.0.join().map_err(panicked)??;
        self.threads.1.join().map_err(panicked)?
    }
}

/// A hundred times the budget, and a Kafka that stands still in the middle: clients wait, nothing is refused, nothing
/// grows, and each record has a report that is its own.
#[test]
fn a_stream_beyond_the_budget_waits_for_room() -> Result<()> {
    let mut kafka = Kafka::start()?;
    kafka.create_topic("press.geo", 1, &[])?;
    let settings = format!("body_bytes = 65536\nin_flight_bytes = {BUDGET}\n");
    let (gateway, _folder) = Gateway::configured(&kafka, "press.geo", &settings, &[])?;
    ensure!(gateway.ask("POST /geo/", &[JSON], r#"{"ind":-1}"#)?.status == 200);
    let (_, before) = gateway.program.memory()?;
    let in_flight = || -> Result<usize> { Ok(gateway.metric("pinflow_gateway_in_flight_bytes")? as usize) };

    let clients = [0, 1].map(|stream| Client::start(gateway.at, stream));
    let clients: Vec<Client> = clients.into_iter().collect::<Result<_>>()?;
    let sum =
        |of: fn(&Client) -> &AtomicUsize| clients.iter().map(|one| of(one).load(Ordering::Relaxed)).sum::<usize>();
    let (written, reported) = (|| sum(|one| &one.written), || sum(|one| &one.reported));
    eventually("the first reports", SOON, || {
        let bytes = in_flight()?;
        ensure!(bytes <= BUDGET, "{bytes} bytes are in flight");
        Ok(reported() > 1_000)
    })?;
    kafka.freeze()?;
    let frozen = Instant::now();
    // what the system holds for both sides is full soon
    eventually("a standstill", Duration::from_secs(2), || {
        let bytes = in_flight()?;
        let taken = written();
        std::thread::sleep(Duration::from_millis(200));
        Ok(bytes > BUDGET - 4_096 && taken == written())
    })?;
    let still = (written(), reported());
    while frozen.elapsed() < Duration::from_secs(3) {
        let bytes = in_flight()?;
        ensure!(
            (BUDGET - 4_096..=BUDGET).contains(&bytes),
            "{bytes} bytes are in flight"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    ensure!(
        still == (written(), reported()),
        "records were taken while Kafka stood still"
    );
    ensure!(still.1 < RECORDS, "the standstill came too late");
    kafka.thaw()?;

    let mut expected = BTreeMap::new();
    for (stream, client) in clients.into_iter().enumerate() {
        let reports = client.finish()?;
        ensure!(reports.len() == RECORDS, "{} reports", reports.len());
        let mut last = -1;
        for (number, report) in reports.iter().enumerate() {
            let value = value(stream, number);
            let offset = report["offset"].as_i64().unwrap_or(-1);
            ensure!(
                report["error_code"] == 200 && report["value"]["size"] == value.len() && offset > last,
                "{number} of {stream} after {last}: {report}"
            );
            last = offset;
            ensure!(
                expected.insert(offset, value).is_none(),
                "offset {offset} was reported twice"
            );
        }
    }
    let (_, after) = gateway.program.memory()?;
    ensure!(
        after < before + (32 << 20),
        "memory grew from {} to {} MB",
        before >> 20,
        after >> 20
    );
    ensure!(in_flight()? == 0 && gateway.metric("pinflow_gateway_shed_total")? == 0.0);
    gateway.end()?;
    let records = kafka.records("press.geo", 0, "read_committed")?;
    ensure!(records.len() == 1 + 2 * RECORDS, "{} records", records.len());
    for (offset, _, value) in records.into_iter().skip(1) {
        ensure!(
            value == expected.get(&offset).map(|value| value.clone().into_bytes()),
            "another record stands at {offset}"
        );
    }
    Ok(())
}

/// Clients that write records for ever and never read a report: they make room at once, and end soon.
#[test]
fn a_client_that_reads_nothing_holds_nothing() -> Result<()> {
    const CAP: usize = 3;
    let settings = format!("connections = {CAP}\nbody_timeout = \"4s\"\nheader_timeout = \"300s\"\n");
    let (gateway, _folder) = gateway(&settings, &["--access-log", "off"])?;
    let record = REQUESTS[2].2.repeat(500);
    let piece = format!("{:x}\r\n{record}\r\n", record.len());
    let write = move |at: SocketAddr| -> Result<Connection> {
        let mut deaf = Connection::open(at)?;
        deaf.write(
            b"POST /v3/clusters/c/topics/lim.geo/records HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n",
        )?;
        deaf.0.get_ref().set_write_timeout(Some(Duration::from_secs(1)))?;
        // as long as somebody takes it
        while deaf.0.get_mut().write_all(piece.as_bytes()).is_ok() {}
        Ok(deaf)
    };
    let at = gateway.at;
    let threads = [(); CAP].map(|()| {
        let write = write.clone();
        std::thread::spawn(move || write(at))
    });
    let mut deaf = Vec::new();
    for thread in threads {
        deaf.push(thread.join().map_err(|_| anyhow!("a client panicked"))??);
    }
    let began = Instant::now();
    let answer = gateway.ask("POST /geo/", &[JSON], r#"{"ind":1}"#)?;
    ensure!(
        answer.status == 200 && began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    eventually("the end of the others", Duration::from_secs(20), || {
        Ok(gateway.metric("pinflow_gateway_connections")? <= 1.0)
    })?;
    // what was on its way to Kafka comes back when that is done
    eventually("the end of all bytes in flight", SOON, || {
        Ok(gateway.metric("pinflow_gateway_in_flight_bytes")? == 0.0)
    })?;
    drop(deaf);
    gateway.end()?;
    Ok(())
}
