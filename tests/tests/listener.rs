//! The listener of `run` and `archive`: this machine's unless an address is given, tokens where there are some, and
//! probes that nobody keeps out.

use anyhow::{Context, Result, ensure};
use pinflow_tests::{Kafka, LakeFolder, Pinflow, eventually, get, write_private};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(60);

/// The status of `GET PATH` with these headers.
#[expect(clippy::disallowed_methods, reason = "our own small answers")]
fn status(address: &str, path: &str, headers: &str) -> Result<u16> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(stream, "GET {path} HTTP/1.1\r\n{headers}connection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split_whitespace().nth(1).context("a status")?.parse()?)
}

#[test]
fn an_archivers_listener_is_local_guarded_and_never_full() -> Result<()> {
    let kafka = Kafka::start()?;
    kafka.create_topic("pin", 1, &[])?;
    let folder = tempfile::tempdir()?;
    let lake = LakeFolder::new(folder.path().join("lake"));
    let tokens = folder.path().join("tokens");
    write_private(&tokens, "metrics-token-01\n")?;
    let archive = Pinflow::new("archive").kafka(&kafka).lake(&lake);
    let mut archive = archive
        .args(["--topics", "pin=pin", "--listen", ":0"])
        .args(["--token-file", tokens.to_str().context("a path")?])
        .start()?;
    let line = archive.wait_for("serving /metrics", SOON)?;
    let address = line.rsplit_once("http://").context("an address")?.1.trim().to_owned();
    ensure!(address.starts_with("127.0.0.1:"), "{line}");

    let host = "host: localhost\r\n";
    let token = "host: localhost\r\nauthorization: Bearer metrics-token-01\r\n";
    assert_eq!(status(&address, "/metrics", host)?, 401);
    assert_eq!(status(&address, "/metrics", token)?, 200);
    assert_eq!(status(&address, "/healthz", host)?, 200);
    // whoever has a token may be a page that was not told it
    assert_eq!(
        status(&address, "/metrics", &format!("{token}origin: http://evil.example\r\n"))?,
        403
    );

    let mut idle = Vec::new();
    for index in 0..300 {
        let mut stream = TcpStream::connect(&address)?;
        if index % 2 == 0 {
            stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: lo")?;
        }
        idle.push(stream);
        if index % 30 == 0 {
            let began = Instant::now();
            assert_eq!(status(&address, "/healthz", host)?, 200, "after {index}");
            ensure!(
                began.elapsed() < Duration::from_secs(5),
                "{:?} after {index}",
                began.elapsed()
            );
        }
    }
    eventually("readiness", SOON, || {
        Ok(get(&address, "/readyz")?.starts_with("HTTP/1.1 200"))
    })?;
    drop(idle);

    write_private(&tokens, "metrics-token-02\n")?;
    let token = "host: localhost\r\nx-api-key: metrics-token-02\r\n";
    eventually("the second token", SOON, || {
        Ok(status(&address, "/metrics", token)? == 200)
    })?;
    archive.terminate()?;
    archive.expect(0, SOON)
}
