//! Ten thousand connections that ask nothing, or never end what they ask: who has a request is served at once, and the
//! crowd costs little memory.

use crate::http::{Connection, JSON, V2, V2_BINARY};
use crate::limits::{REQUESTS, gateway};
use crate::{Gateway, SOON};
use anyhow::{Context, Result, ensure};
use pinflow_tests::{eventually, need};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// As many as the gateway takes unless it is told otherwise.
const CAP: usize = 10_000;
const BEYOND: usize = 500;
/// What each of two processes needs, with what other tests of this one hold.
const FILES: u64 = 12_000;
/// The budget of bytes in flight unless it is told otherwise, and what a crowd may cost beside it, more than a gateway
/// takes that has nothing to do.
const MOST_MEMORY: u64 = (64 << 20) + (64 << 20);
const STREAM: &str = "POST /v3/clusters/c/topics/lim.geo/records HTTP/1.1\r\nhost: localhost\r\n\
                      content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";

/// Two crowds at once would be more files than this process may open.
static ONE_CROWD: Mutex<()> = Mutex::new(());

/// Raises the number of files that this process may open; false where the system does not let it.
fn enough_files() -> Result<bool> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.maximum.is_some_and(|maximum| maximum < FILES) {
        let maximum = limit.maximum.unwrap_or_default();
        need::skip(&format!("a process may open {maximum} files, the test needs {FILES}"));
        return Ok(false);
    }
    if limit.current.is_some_and(|current| current < FILES) {
        limit.current = Some(FILES);
        setrlimit(Resource::Nofile, limit)?;
    }
    Ok(true)
}

/// What a connection of the crowd does.
#[derive(Clone, Copy)]
enum Kind {
    Silent,
    /// It stops in the middle of a head.
    Head,
    /// It has had its answer.
    Answered,
}

/// One of the crowd.
struct Member {
    stream: TcpStream,
    kind: Kind,
}

impl Member {
    fn open(gateway: &Gateway, index: usize) -> Result<Member> {
        let kind = [Kind::Silent, Kind::Head, Kind::Answered][index % 3];
        let mut connection = Connection::open(gateway.at).with_context(|| format!("connection {index}"))?;
        match kind {
            Kind::Silent => {}
            Kind::Head => connection.write(b"POST /geo/ HTTP/1.1\r\nhost: localhost\r\nx-slow: ")?,
            Kind::Answered => {
                connection.send("GET /healthz", &[], b"")?;
                let answer = connection.answer();
                ensure!(answer.with_context(|| format!("connection {index}"))?.status == 200);
            }
        }
        let stream = connection.0.into_inner();
        Ok(Member { stream, kind })
    }

    /// Goes on with a request that will not end: a byte of a body, or half of a stream's first record.
    fn begin_request(&mut self) {
        let request = match self.kind {
            Kind::Silent => "POST /geo/ HTTP/1.1\r\nhost: localhost\r\ncontent-length: 50\r\n\r\n{".to_owned(),
            Kind::Head => "x\r\ncontent-length: 50\r\n\r\n{".to_owned(),
            Kind::Answered => format!("{STREAM}6\r\n{{\"valu\r\n"),
        };
        // it may be the one that has made room
        let _ = self.stream.write_all(request.as_bytes());
    }

    /// Whether the gateway has closed it.
    fn is_closed(&mut self) -> Result<bool> {
        self.stream.set_nonblocking(true)?;
        let read = self.stream.read(&mut [0]);
        self.stream.set_nonblocking(false)?;
        match read {
            Ok(0) => Ok(true),
            Ok(_) => Ok(false),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

fn open_connections(gateway: &Gateway) -> Result<usize> {
    Ok(gateway.metric("pinflow_gateway_connections")? as usize)
}

/// Ordinary requests, each on a connection of its own, and after each one more for the crowd, so that none finds room.
/// A machine that is busy with other tests may delay a few.
fn demand_service(
    gateway: &Gateway,
    crowd: &mut Vec<Member>,
    member: impl Fn(&Gateway, usize) -> Result<Member>,
) -> Result<()> {
    let mut times = Vec::new();
    for turn in 0..60 {
        let (line, kind, body) = REQUESTS[turn % REQUESTS.len()];
        let began = Instant::now();
        let answer = gateway
            .ask(line, &[kind], body)
            .with_context(|| format!("request {turn}"))?;
        ensure!(answer.status == 200, "{answer:?}");
        times.push(began.elapsed());
        crowd.push(member(gateway, turn)?);
    }
    times.sort();
    ensure!(
        times[times.len() * 9 / 10] < Duration::from_secs(1) && times[times.len() - 1] < Duration::from_secs(5),
        "{times:?}"
    );
    Ok(())
}

fn demand_memory(gateway: &Gateway, idle: u64) -> Result<()> {
    let (_, peak) = gateway.program.memory()?;
    let more = peak.saturating_sub(idle);
    ensure!(
        more < MOST_MEMORY,
        "the gateway takes {} MB more than before",
        more >> 20
    );
    Ok(())
}

#[test]
fn ten_thousand_connections_keep_nobody_out() -> Result<()> {
    if !enough_files()? {
        return Ok(());
    }
    let _alone = ONE_CROWD.lock().unwrap_or_else(PoisonError::into_inner);
    // nobody goes by the clock while this runs
    let (gateway, _folder) = gateway(
        "header_timeout = \"300s\"\nbody_timeout = \"300s\"\ndrain_timeout = \"5s\"\n",
        &["--access-log", "off"],
    )?;
    let (idle, _) = gateway.program.memory()?;
    // the oldest of all, but with a request under way
    let mut slow = Connection::open(gateway.at)?;
    slow.write(b"POST /geo/ HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{\"ind\"")?;
    let mut stream = Connection::open(gateway.at)?;
    let record = format!("{:x}\r\n{}\r\n", REQUESTS[2].2.len(), REQUESTS[2].2);
    stream.write(format!("{STREAM}{record}").as_bytes())?;
    ensure!(stream.head()?.0 == 200 && stream.chunk()?.contains("\"error_code\":200"));

    let mut crowd = Vec::with_capacity(CAP + 2 * BEYOND);
    for index in 0..CAP - 2 {
        crowd.push(Member::open(&gateway, index)?);
    }
    eventually("the whole crowd", SOON, || Ok(open_connections(&gateway)? == CAP))?;
    demand_service(&gateway, &mut crowd, Member::open)?;

    // beyond the cap the oldest make room, and only as many as have to
    for index in 0..BEYOND {
        crowd.push(Member::open(&gateway, index)?);
        ensure!(
            index % 100 != 0 || open_connections(&gateway)? <= CAP,
            "more than {CAP} are open"
        );
    }
    let mut closed = Vec::new();
    eventually("room for all of them", SOON, || {
        closed = crowd.iter_mut().map(Member::is_closed).collect::<Result<Vec<bool>>>()?;
        Ok(closed.iter().filter(|closed| **closed).count() >= BEYOND)
    })?;
    let last = closed.iter().rposition(|closed| *closed).unwrap_or(0);
    ensure!(last < CAP / 2, "connection {last} made room before older ones");
    slow.write(b":7}")?;
    assert_eq!(slow.answer()?.status, 200, "a request under way was closed");
    stream.write(record.as_bytes())?;
    ensure!(
        stream.chunk()?.contains("\"error_code\":200"),
        "a stream under way was closed"
    );
    drop((slow, stream));
    demand_memory(&gateway, idle)?;

    // whoever was answered has given the server's buffers back by then
    std::thread::sleep(Duration::from_secs(2));
    // now everybody has a request, and nobody ends it
    let busy = |gateway: &Gateway, index: usize| -> Result<Member> {
        let mut member = Member::open(gateway, index)?;
        member.begin_request();
        Ok(member)
    };
    let mut closed = closed.into_iter();
    crowd.retain(|_| !closed.next().unwrap_or(false));
    crowd.iter_mut().for_each(Member::begin_request);
    for index in crowd.len()..CAP + 50 {
        crowd.push(busy(&gateway, index)?);
    }
    std::thread::sleep(Duration::from_secs(1));
    let open = open_connections(&gateway)?;
    ensure!(open == CAP, "{open} of the crowd are left");
    demand_service(&gateway, &mut crowd, busy)?;
    let open = open_connections(&gateway)?;
    ensure!(open == CAP, "{open} of the crowd are left");
    demand_memory(&gateway, idle)?;
    drop(crowd);
    eventually("the end of the crowd", SOON, || Ok(open_connections(&gateway)? <= 1))?;
    ensure!(gateway.ask("POST /geo/", &[JSON], r#"{"ind":1}"#)?.status == 200);
    gateway.end()?;
    Ok(())
}

/// Half of a request of each interface, of this size.
fn half(kind: usize, size: usize) -> String {
    let post = |line: &str, media: &str, begin: &str| {
        let padding = "x".repeat(size);
        format!(
            "{line} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {media}\r\ncontent-length: 90000\r\n\r\n{begin}{padding}"
        )
    };
    match kind {
        0 => format!("POST /geo/ HTTP/1.1\r\nhost: localhost\r\nx-slow: {}", "x".repeat(size)),
        1 => post(REQUESTS[0].0, JSON.1, "{\"country\":\""),
        2 => post(REQUESTS[1].0, V2.1, "{\"records\":[{\"value\":\""),
        3 => post(REQUESTS[1].0, V2_BINARY.1, "{\"records\":[{\"value\":\""),
        4 => post(REQUESTS[2].0, JSON.1, "{\"value\":{\"data\":\""),
        5 => post(REQUESTS[3].0, JSON.1, "{\"PartitionKey\":\"k\",\"Data\":\""),
        6 => post("PUT /streams/x-geo/records", JSON.1, "{\"records\":[{\"data\":\""),
        7 => {
            let record = format!("{{\"value\":{{\"data\":\"{}", "x".repeat(size));
            format!("{STREAM}{:x}\r\n{record}\r\n", record.len())
        }
        // a stream that goes on
        8 => format!("{STREAM}{:x}\r\n{}\r\n1\r\n{{\r\n", REQUESTS[2].2.len(), REQUESTS[2].2),
        // one that waits for leave
        9 => format!(
            "{} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {}\r\nexpect: 100-continue\r\ncontent-length: 90000\r\n\r\n",
            REQUESTS[1].0, V2.1
        ),
        // the second of two requests
        _ => format!(
            "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n{}",
            post(REQUESTS[0].0, JSON.1, "{")
        ),
    }
}

/// Every kind of half a request, first a byte of each and then as many as the budget takes: memory stays within the
/// budget and 64 MiB, and others are served.
#[test]
fn ten_thousand_halves_of_requests_cost_their_bytes_and_little_more() -> Result<()> {
    if !enough_files()? {
        return Ok(());
    }
    let _alone = ONE_CROWD.lock().unwrap_or_else(PoisonError::into_inner);
    for size in [1, 6_000] {
        let (gateway, _folder) = gateway(
            "header_timeout = \"300s\"\nbody_timeout = \"300s\"\ndrain_timeout = \"5s\"\n",
            &["--access-log", "off"],
        )?;
        let (idle, _) = gateway.program.memory()?;
        let mut crowd = Vec::with_capacity(CAP);
        for index in 0..CAP {
            let mut connection = Connection::open(gateway.at).with_context(|| format!("connection {index}"))?;
            // it may be the one that makes room
            let _ = connection.write(half(index % 11, size).as_bytes());
            crowd.push(connection.0.into_inner());
        }
        std::thread::sleep(Duration::from_secs(2));
        let open = open_connections(&gateway)?;
        ensure!(open > CAP / 2, "{open} of them are open");
        let (now, peak) = gateway.program.memory()?;
        eprintln!(
            "{CAP} halves of {size} bytes: {open} open, {} MB, {} MB now, {} MB at most",
            idle >> 20,
            now >> 20,
            peak >> 20
        );
        demand_memory(&gateway, idle)?;
        for (line, kind, body) in REQUESTS {
            eventually(line, Duration::from_secs(10), || {
                Ok(gateway.ask(line, &[kind], body)?.status == 200)
            })?;
        }
        demand_memory(&gateway, idle)?;
        drop(crowd);
        eventually("the end of the crowd", SOON, || Ok(open_connections(&gateway)? <= 1))?;
        gateway.end()?;
    }
    Ok(())
}
