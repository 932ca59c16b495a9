//! The end of a gateway behind a load balancer, and connections beyond what the system gives.

use crate::http::{Connection, JSON, ask};
use crate::limits::{certificate, gateway};
use crate::{Gateway, SOON, kafka};
use anyhow::{Context, Result, ensure};
use pinflow_tests::{Kafka, Pinflow};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const ITEM: &str = r#"{"ind":1}"#;

fn post(at: SocketAddr) -> Result<u16> {
    Ok(ask(at, "POST /geo/", &[JSON], ITEM)?.status)
}

/// A chunk with one record of a stream.
const RECORD: &[u8] = b"1f\r\n{\"value\":{\"data\":{\"ind\":1000}}}\r\n";

/// A stream of records whose first one is acknowledged.
fn stream(at: std::net::SocketAddr) -> Result<Connection> {
    let mut stream = Connection::open(at)?;
    stream.write(
        b"POST /v3/clusters/c/topics/lim.geo/records HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n",
    )?;
    stream.write(RECORD)?;
    ensure!(stream.head()?.0 == 200 && stream.chunk()?.contains("\"error_code\":200"));
    Ok(stream)
}

/// SIGTERM: not ready, and served all the same; then closed, and what is under way is finished.
#[test]
fn a_gateway_that_ends_says_so_before_it_takes_no_more() -> Result<()> {
    let (mut gateway, _folder) = gateway("drain_timeout = \"20s\"\n", &["--drain-delay", "3s"])?;
    let mut stream = stream(gateway.at)?;
    let mut kept = Connection::open(gateway.at)?;
    kept.send("GET /readyz", &[], b"")?;
    ensure!(kept.answer()?.status == 200);

    let began = Instant::now();
    gateway.program.terminate()?;
    gateway.program.wait_for("ending: not ready any more", SOON)?;
    while began.elapsed() < Duration::from_secs(2) {
        let ready = ask(gateway.at, "GET /readyz", &[], "")?;
        assert_eq!(
            (ready.status, ready.body.as_str()),
            (503, "not ready: the gateway is ending\n")
        );
        assert_eq!(ask(gateway.at, "GET /healthz", &[], "")?.status, 200);
        assert_eq!(post(gateway.at)?, 200);
        kept.send("GET /readyz", &[], b"")?;
        assert_eq!(kept.answer()?.status, 503, "on a connection of before");
        std::thread::sleep(Duration::from_millis(100));
    }
    gateway.program.wait_for("ending: requests under way", SOON)?;
    ensure!(began.elapsed() >= Duration::from_millis(2_900), "{:?}", began.elapsed());
    std::thread::sleep(Duration::from_millis(200));
    ensure!(TcpStream::connect(gateway.at).is_err(), "the listener is open");
    ensure!(gateway.program.is_running()?, "the stream was cut off");
    stream.write(RECORD)?;
    ensure!(stream.chunk()?.contains("\"error_code\":200"));
    stream.write(b"0\r\n\r\n")?;
    ensure!(stream.chunk()?.is_empty());
    gateway.program.expect(0, SOON)
}

#[test]
fn a_second_signal_ends_the_delay_and_a_third_the_rest() -> Result<()> {
    let began = Instant::now();
    let delayed = || gateway("", &["--drain-delay", "10m"]);
    let (mut twice, _folder) = delayed()?;
    twice.program.terminate()?;
    twice.program.wait_for("ending: not ready any more", SOON)?;
    assert_eq!(post(twice.at)?, 200);
    twice.program.terminate()?;
    twice.program.expect(0, SOON)?;

    // Ctrl-C has no delay
    let (mut interrupted, _folder) = delayed()?;
    interrupted.program.interrupt()?;
    interrupted.program.expect(0, SOON)?;
    ensure!(!interrupted.program.stderr().contains("not ready any more"));

    let (mut thrice, _folder) = delayed()?;
    let mut unfinished = Connection::open(thrice.at)?;
    unfinished.write(b"POST /geo/ HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{")?;
    std::thread::sleep(Duration::from_millis(300));
    thrice.program.terminate()?;
    thrice.program.wait_for("ending: not ready any more", SOON)?;
    thrice.program.terminate()?;
    thrice.program.wait_for("ending: requests under way", SOON)?;
    std::thread::sleep(Duration::from_millis(300));
    ensure!(thrice.program.is_running()?);
    thrice.program.terminate()?;
    thrice.program.expect(1, SOON)?;
    ensure!(began.elapsed() < Duration::from_secs(300), "{:?}", began.elapsed());
    Ok(())
}

/// A client that has begun a TLS handshake, or not even that, has no request that would be waited for.
#[test]
fn a_handshake_does_not_delay_the_end() -> Result<()> {
    let folder = tempfile::tempdir()?;
    certificate(folder.path(), "one")?;
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let command = Pinflow::new("gateway").kafka(kafka()?).args([
        "--listen",
        "127.0.0.1:0",
        "--drain-delay",
        "0s",
        "--tls-cert",
        cert.to_str().context("a path")?,
        "--tls-key",
        key.to_str().context("a path")?,
    ]);
    let mut gateway = Gateway::launch_unready(&command)?;
    let mut silent = Connection::open(gateway.at)?;
    let mut begun = Connection::open(gateway.at)?;
    // the type and version of a first message, whose length is to come
    begun.write(&[0x16, 3, 1])?;
    std::thread::sleep(Duration::from_millis(500));
    let began = Instant::now();
    gateway.program.terminate()?;
    gateway.program.expect(0, SOON)?;
    ensure!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    ensure!(silent.is_closed()? && begun.is_closed()?);
    Ok(())
}

/// After `drain_timeout` every connection is closed, then records on their way have `produce_timeout`: the end has a
/// bound, whatever clients and Kafka do.
#[test]
fn the_end_has_a_bound() -> Result<()> {
    let mut kafka = Kafka::start()?;
    kafka.create_topic("lim.geo", 1, &[])?;
    let settings = "drain_delay = \"0s\"\ndrain_timeout = \"2s\"\nproduce_timeout = \"10s\"\n";
    let (mut gateway, _folder) = Gateway::configured(&kafka, "lim.geo", settings, &[])?;
    ensure!(post(gateway.at)? == 200);
    let mut half = Connection::open(gateway.at)?;
    half.write(b"POST /geo/ HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{")?;
    let mut stream = stream(gateway.at)?;
    kafka.freeze()?;
    stream.write(RECORD)?;
    let mut whole = Connection::open(gateway.at)?;
    whole.send("POST /geo/", &[JSON], ITEM.as_bytes())?;
    std::thread::sleep(Duration::from_millis(500));
    let began = Instant::now();
    gateway.program.terminate()?;
    for connection in [&mut half, &mut stream, &mut whole] {
        ensure!(connection.is_closed()?);
    }
    let closed = began.elapsed();
    ensure!(
        (2_000..3_500).contains(&closed.as_millis()) && gateway.program.is_running()?,
        "closed after {closed:?}"
    );
    gateway.program.expect(0, SOON)?;
    ensure!(
        began.elapsed() < Duration::from_secs(2 + 10 + 3),
        "{:?}",
        began.elapsed()
    );
    Ok(())
}

/// More clients than file descriptors: those without a request make room, and none waits for a descriptor.
#[test]
fn connections_stay_within_the_files_that_may_be_opened() -> Result<()> {
    let command = Pinflow::new("gateway")
        .kafka(kafka()?)
        .args(["--listen", "127.0.0.1:0", "--access-log", "off"])
        .open_files(100, 200);
    let mut gateway = Gateway::launch(&command)?;
    let said = gateway.program.wait_for("at most 136 connections, not 10000", SOON)?;
    ensure!(said.contains("may open 200 files"), "{said}");
    let mut idle = Vec::new();
    for index in 0..400 {
        idle.push(TcpStream::connect(gateway.at)?);
        if index % 50 == 0 {
            assert_eq!(ask(gateway.at, "GET /readyz", &[], "")?.status, 200, "after {index}");
        }
    }
    ensure!(gateway.metric("pinflow_gateway_connections")? <= 136.0);
    ensure!(
        !gateway.program.stderr().contains("cannot accept"),
        "{}",
        gateway.program.stderr()
    );
    drop(idle);
    gateway.end()?;
    Ok(())
}
