//! Compressed bodies: what they stand for is what is bounded, counted and stored.

use crate::http::{Answer, Connection, JSON, V2, V2_BINARY};
use crate::limits::{REQUESTS, gateway};
use crate::{Gateway, SOON, kafka};
use anyhow::{Context, Result, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use pinflow_tests::eventually;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

const GZIP: (&str, &str) = ("content-encoding", "gzip");

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).expect("writing to a Vec");
    encoder.finish().expect("writing to a Vec")
}

fn post(gateway: &Gateway, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
    let mut connection = Connection::open(gateway.at)?;
    connection.send(line, headers, body)?;
    connection.answer().with_context(|| line.to_owned())
}

/// The head of a request in chunks.
fn head(line: &str, kind: (&str, &str)) -> Vec<u8> {
    let head = format!(
        "{line} HTTP/1.1\r\nhost: localhost\r\n{}: {}\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n",
        kind.0, kind.1
    );
    head.into_bytes()
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

fn in_flight(gateway: &Gateway) -> Result<usize> {
    Ok(gateway.metric("pinflow_gateway_in_flight_bytes")? as usize)
}

#[test]
fn every_interface_takes_compressed_bodies() -> Result<()> {
    let kafka = kafka()?;
    kafka.create_topic("gz.geo", 1, &[])?;
    let gateway = Gateway::start(kafka, &["--topics", "geo=gz.geo"])?;
    const RECORDS: &str = "POST /v3/clusters/c/topics/gz.geo/records";
    let requests = [
        ("POST /geo/", JSON, r#"{"ind":NUMBER}"#),
        ("POST /topics/gz.geo", V2, r#"{"records":[{"value":{"ind":NUMBER}}]}"#),
        (
            "POST /topics/gz.geo/partitions/0",
            V2_BINARY,
            // {"ind":7}
            r#"{"records":[{"value":"eyJpbmQiOjd9"}]}"#,
        ),
        (RECORDS, JSON, r#"{"value":{"data":{"ind":NUMBER}}}"#),
        (
            "POST /v3/clusters/c/topics/gz.geo/records:batch",
            JSON,
            r#"{"entries":[{"id":"1","value":{"data":{"ind":NUMBER}}}]}"#,
        ),
        (
            "PUT /streams/s-geo/record",
            JSON,
            r#"{"Data":{"ind":NUMBER},"PartitionKey":"k"}"#,
        ),
        (
            "PUT /streams/s-geo/records",
            JSON,
            r#"{"records":[{"data":"{\"ind\":NUMBER}","partition-key":"k"}]}"#,
        ),
    ];
    let mut expected = Vec::new();
    for (index, (line, kind, body)) in requests.iter().enumerate() {
        for (way, encoding) in ["gzip", "x-gzip", "GZIP", "identity"].into_iter().enumerate() {
            let ind = if *kind == V2_BINARY {
                7
            } else {
                1_000 + 10 * index + way
            };
            let body = body.replace("NUMBER", &ind.to_string());
            let (first, second) = body.as_bytes().split_at(body.len() / 2);
            let sent = match way {
                0 => gzip(body.as_bytes()),
                // two members, and an empty one
                1 => [gzip(first), gzip(second), gzip(b"")].concat(),
                2 => gzip(body.as_bytes()),
                _ => body.clone().into_bytes(),
            };
            let answer = if way == 2 {
                let mut connection = Connection::open(gateway.at)?;
                connection.write(&head(line, *kind))?;
                // byte by byte
                for byte in sent.chunks(1) {
                    connection.write(&chunk(byte))?;
                }
                connection.write(b"0\r\n\r\n")?;
                connection.answer()?
            } else {
                post(&gateway, line, &[*kind, ("content-encoding", encoding)], &sent)?
            };
            ensure!(
                answer.status == if line.ends_with("batch") { 207 } else { 200 } && !answer.body.contains("rror\":\""),
                "{line} {encoding}: {answer:?}"
            );
            expected.push(format!("{{\"ind\":{ind}}}"));
        }
    }
    // many records in one body, which is larger than what the decoder gives at once
    let many: String = (0..3_000)
        .map(|ind| {
            format!(
                "{{\"value\":{{\"data\":{{\"ind\":{ind},\"x\":\"{}\"}}}}}}\n",
                "y".repeat(50)
            )
        })
        .collect();
    let answer = post(&gateway, RECORDS, &[JSON, GZIP], &gzip(many.as_bytes()))?;
    assert_eq!(answer.body.matches("\"error_code\":200").count(), 3_000);
    let log = gateway.end()?;
    let last = log.lines().last().context("a line")?;
    ensure!(last.contains(&format!("\"bytes\":{}", many.len())), "{last}");
    let stored = kafka.records("gz.geo", 0, "read_committed")?;
    assert_eq!(stored.len(), expected.len() + 3_000);
    for ((_, _, stored), expected) in stored.iter().zip(&expected) {
        assert_eq!(stored.as_deref(), Some(expected.as_bytes()));
    }
    Ok(())
}

/// What is wrong with a body is said in the dialect of who sends it, and a small body that stands for a large one is
/// large.
#[test]
fn what_is_not_gzip_or_stands_for_too_much_is_refused() -> Result<()> {
    let (gateway, _folder) = gateway("body_bytes = 10000\n", &[])?;
    let bomb = gzip(&vec![b' '; 50 << 20]);
    let encoding = "Unsupported Content-Encoding: a body is compressed with gzip, or not at all";
    let (damaged, unfinished) = (
        "The body is not gzip: it is damaged, or something else follows it",
        "The body is not gzip: it breaks off",
    );
    let said = |index: usize, status: u16, text: &str| match index {
        0 => format!("{{\"detail\":\"{text}\"}}"),
        1 | 2 => format!("{{\"error_code\":{status},\"message\":\"{text}\"}}"),
        _ => {
            let kind = match status {
                400 => "SerializationException",
                413 => "RequestEntityTooLargeException",
                _ => "UnsupportedMediaTypeException",
            };
            format!("{{\"__type\":\"{kind}\",\"message\":\"{text}\"}}")
        }
    };
    for (index, (line, kind, body)) in REQUESTS.into_iter().enumerate() {
        let whole = gzip(body.as_bytes());
        let mut wrong = whole.clone();
        *wrong.last_mut().context("a byte")? ^= 1;
        let padded = gzip(format!("{}{body}", " ".repeat(10_000)).as_bytes());
        for (what, sent, status, text) in [
            ("plain", format!("{body}{}", " ".repeat(10)).into_bytes(), 400, damaged),
            ("half a header", whole[..5].to_vec(), 400, unfinished),
            ("bomb", bomb.clone(), 413, "The body has more than 10000 bytes"),
            ("padding", padded, 413, "The body has more than 10000 bytes"),
        ] {
            // a stream has white space between records, up to the length of one: its bomb is one record, or none
            let is_stream = index == 2;
            let sent = match what {
                "bomb" if is_stream => gzip(format!("{{\"x\":\"{}\"}}", "x".repeat(50 << 20)).as_bytes()),
                "padding" if is_stream => gzip(&[b' '; 1 << 20]),
                _ => sent,
            };
            let answer = post(&gateway, line, &[kind, GZIP], &sent)?;
            assert_eq!(
                (answer.status, answer.body),
                (status, said(index, status, text)),
                "{line}: {what}"
            );
        }
        // what is wrong at the end is wrong as a whole, but for what a stream has sent by then
        for (what, sent, text) in [
            ("half", whole[..whole.len() - 9].to_vec(), unfinished),
            ("a checksum", wrong, damaged),
            ("behind", [&whole[..], b"{}          "].concat(), damaged),
        ] {
            let answer = post(&gateway, line, &[kind, GZIP], &sent)?;
            if index == 2 && answer.status == 200 {
                let (first, last) = answer.body.split_once("\r\n").context("two reports")?;
                ensure!(first.contains("\"error_code\":200"), "{what}: {answer:?}");
                assert_eq!(last.trim_end(), said(index, 400, text), "{what}");
            } else {
                assert_eq!(
                    (answer.status, answer.body),
                    (400, said(index, 400, text)),
                    "{line}: {what}"
                );
            }
        }
        for unknown in ["br", "deflate", "gzip, gzip", "zstd"] {
            let answer = post(&gateway, line, &[kind, ("content-encoding", unknown)], &whole)?;
            assert_eq!(
                (answer.status, answer.header("accept-encoding"), &answer.body),
                (415, "gzip, identity", &said(index, 415, encoding)),
                "{line}: {unknown}"
            );
        }
        // no body is an empty one
        let answer = post(&gateway, line, &[kind, GZIP], b"")?;
        let plain = post(&gateway, line, &[kind], b"")?;
        assert_eq!((answer.status, answer.body), (plain.status, plain.body), "{line}");
        assert_eq!(post(&gateway, line, &[kind, GZIP], &whole)?.status, 200, "{line}");
    }
    assert_eq!(post(&gateway, "GET /topics", &[GZIP], b"")?.status, 200);
    eventually("the end of all bytes in flight", SOON, || Ok(in_flight(&gateway)? == 0))?;
    gateway.end()?;
    Ok(())
}

/// Each record is produced and reported when what was flushed of it has come, and what breaks off later harms none.
#[test]
fn a_compressed_stream_is_produced_as_it_arrives() -> Result<()> {
    let (gateway, _folder) = gateway("", &[])?;
    let (line, kind, record) = REQUESTS[2];
    let mut connection = Connection::open(gateway.at)?;
    connection.write(&head(line, kind))?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    for turn in 0..3 {
        encoder.write_all(record.as_bytes())?;
        // half of the next is no record
        encoder.write_all(b"{\"value\"")?;
        encoder.flush()?;
        connection.write(&chunk(&std::mem::take(encoder.get_mut())))?;
        if turn == 0 {
            assert_eq!(connection.head()?.0, 200);
        }
        let report = connection.chunk()?;
        ensure!(report.contains("\"error_code\":200"), "{turn}: {report}");
        encoder.write_all(b":{\"data\":{\"ind\":2}}}")?;
        encoder.flush()?;
        connection.write(&chunk(&std::mem::take(encoder.get_mut())))?;
        let report = connection.chunk()?;
        ensure!(report.contains("\"error_code\":200"), "{turn}: {report}");
        if turn == 1 {
            // another member
            let rest = std::mem::replace(&mut encoder, GzEncoder::new(Vec::new(), Compression::default()));
            connection.write(&chunk(&rest.finish()?))?;
        }
    }
    ensure!(in_flight(&gateway)? >= 80 << 10, "an open decoder does not count");
    connection.write(b"0\r\n\r\n")?;
    let last = connection.chunk()?;
    ensure!(
        last.contains("\"error_code\":400") && last.contains("it breaks off"),
        "{last}"
    );
    assert_eq!(connection.chunk()?, "");
    eventually("the end of all bytes in flight", SOON, || Ok(in_flight(&gateway)? == 0))?;
    gateway.end()?;
    Ok(())
}

/// What comes out of half a body counts while the other half is waited for, and is taken back when others need it; and
/// it is not waited for without an end.
#[test]
fn half_a_compressed_body_counts_as_it_comes_out_and_is_complete_in_time() -> Result<()> {
    const BUDGET: usize = 1 << 20;
    const CONTENT: usize = 300_000;
    let settings =
        format!("in_flight_bytes = {BUDGET}\nbody_bytes = 500000\nconnections = 1000\nbody_timeout = \"3s\"\n");
    let (gateway, _folder) = gateway(&settings, &["--access-log", "off"])?;
    ensure!(gateway.ask("POST /geo/", &[JSON], r#"{"ind":1}"#)?.status == 200);
    let half = |begin: &str| -> Result<Vec<u8>> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(begin.as_bytes())?;
        encoder.write_all(&vec![b'x'; CONTENT])?;
        encoder.flush()?;
        Ok(encoder.get_ref().clone())
    };
    for (index, begin) in [(1, "{\"records\":[{\"value\":\""), (2, "{\"value\":{\"data\":\"")] {
        let (line, kind, _) = REQUESTS[index];
        let half = half(begin)?;
        ensure!(half.len() < CONTENT / 100, "{}", half.len());
        let (before, _) = gateway.program.memory()?;
        let mut open = Vec::new();
        for count in 0..60 {
            let mut connection = Connection::open(gateway.at)?;
            // it may be refused, or have to wait
            let _ = connection.write(&[head(line, kind), chunk(&half)].concat());
            open.push(connection);
            if count == 0 {
                eventually("half a body that counts", SOON, || {
                    Ok(in_flight(&gateway)? >= CONTENT + (80 << 10))
                })?;
            }
            let bytes = in_flight(&gateway)?;
            ensure!(bytes <= BUDGET, "{bytes} bytes are in flight");
        }
        let (after, _) = gateway.program.memory()?;
        ensure!(
            after < before + (24 << 20),
            "60 halves took {} MB",
            (after - before) >> 20
        );
        eventually("service beside them", Duration::from_secs(10), || {
            let answer = gateway.ask(REQUESTS[1].0, &[V2], REQUESTS[1].2)?;
            ensure!(
                answer.status == 200 || answer.header("retry-after") == "1",
                "{answer:?}"
            );
            Ok(answer.status == 200)
        })?;
        drop(open);
        eventually("the end of all bytes in flight", SOON, || Ok(in_flight(&gateway)? == 0))?;

        // a byte now and then, of which nothing may come out, is no end
        let mut connection = Connection::open(gateway.at)?;
        let began = Instant::now();
        connection.write(&[head(line, kind), chunk(&half)].concat())?;
        let mut trickle = connection.0.get_ref().try_clone()?;
        let writer = std::thread::spawn(move || {
            // an empty block, again and again
            for byte in b"\0\0\0\xff\xff".iter().cycle().take(100) {
                if trickle.write_all(&chunk(&[*byte])).is_err() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        let answer = connection.answer()?;
        ensure!(
            answer.status == 408 && began.elapsed() < Duration::from_secs(10),
            "{:?} {answer:?}",
            began.elapsed()
        );
        drop(connection);
        ensure!(writer.join().is_ok());
    }
    gateway.end()?;
    Ok(())
}

/// Many clients that begin compressed streams and do not go on: they cost what counts, and others are served.
#[test]
fn a_crowd_of_compressed_streams_costs_what_it_counts() -> Result<()> {
    const CROWD: usize = 1_500;
    const MOST_MEMORY: u64 = (64 << 20) + (64 << 20);
    let settings = "header_timeout = \"300s\"\nbody_timeout = \"300s\"\ndrain_timeout = \"2s\"\n";
    let (gateway, _folder) = gateway(settings, &["--access-log", "off"])?;
    let (idle, _) = gateway.program.memory()?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(b"{\"value\":{\"data\":{\"ind\":")?;
    encoder.flush()?;
    let begin = [head(REQUESTS[2].0, JSON), chunk(encoder.get_ref())].concat();
    let mut crowd: Vec<TcpStream> = Vec::with_capacity(CROWD);
    for index in 0..CROWD {
        let mut connection = Connection::open(gateway.at).with_context(|| format!("connection {index}"))?;
        // it may be the one that makes room
        let _ = connection.write(&begin);
        crowd.push(connection.0.into_inner());
    }
    for (line, kind, body) in REQUESTS {
        eventually(line, Duration::from_secs(10), || {
            Ok(gateway.ask(line, &[kind], body)?.status == 200)
        })?;
        let answer = || post(&gateway, line, &[kind, GZIP], &gzip(body.as_bytes()));
        eventually(line, Duration::from_secs(10), || Ok(answer()?.status == 200))?;
    }
    ensure!(in_flight(&gateway)? <= 64 << 20);
    let (_, peak) = gateway.program.memory()?;
    let more = peak.saturating_sub(idle);
    ensure!(more < MOST_MEMORY, "the crowd takes {} MB", more >> 20);
    drop(crowd);
    gateway.end()?;
    Ok(())
}
