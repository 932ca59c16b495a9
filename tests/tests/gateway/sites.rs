//! Requests that a browser sends for a page of another site, or to a name that was made to resolve to this machine.

use crate::http::{Answer, Connection, JSON, ask};
use crate::limits::{REQUESTS, gateway};
use crate::{Gateway, SOON};
use anyhow::{Context, Result, ensure};
use pinflow_tests::{Pinflow, write_private};
use std::net::SocketAddr;

/// The refusals of the dialects, around a text.
const SHAPES: [(&str, &str); 4] = [
    (r#"{"detail":""#, r#""}"#),
    (r#"{"error_code":403,"message":""#, r#""}"#),
    (r#"{"error_code":403,"message":""#, r#""}"#),
    (r#"{"__type":"AccessDeniedException","message":""#, r#""}"#),
];

/// Every route answers 403 in its own shape to these headers.
fn all_refuse(at: SocketAddr, headers: &[(&str, &str)], text: &str) -> Result<u64> {
    let mut refused = 0;
    for ((line, kind, body), (before, after)) in REQUESTS.into_iter().zip(SHAPES) {
        let answer = ask(at, line, &[&[kind], headers].concat(), body)?;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (403, format!("{before}{text}{after}").as_str()),
            "{line} {headers:?}"
        );
        refused += 1;
    }
    for path in [
        "/healthz",
        "/readyz",
        "/metrics",
        "/version",
        "/openapi.json",
        "/topics",
        "/streams",
        "/nothing",
        "/",
    ] {
        let answer = ask(at, &format!("GET {path}"), headers, "")?;
        ensure!(answer.status == 403 && answer.body.contains(text), "{path}: {answer:?}");
        refused += 1;
    }
    for line in ["POST /metrics", "OPTIONS /geo/", "DELETE /streams/lim.geo"] {
        ensure!(ask(at, line, headers, "")?.status == 403, "{line} {headers:?}");
        refused += 1;
    }
    Ok(refused)
}

fn all_serve(at: SocketAddr, headers: &[(&str, &str)]) -> Result<()> {
    for (line, kind, body) in REQUESTS {
        let answer = ask(at, line, &[&[kind], headers].concat(), body)?;
        ensure!(answer.status == 200, "{line} {headers:?}: {answer:?}");
    }
    ensure!(ask(at, "GET /metrics", headers, "")?.status == 200, "{headers:?}");
    Ok(())
}

fn raw(at: SocketAddr, head: &str) -> Result<Answer> {
    let mut connection = Connection::open(at)?;
    connection.write(format!("{head}\r\n\r\n{{\"ind\":1}}").as_bytes())?;
    connection.answer().with_context(|| head.to_owned())
}

#[test]
fn without_tokens_on_loopback_no_other_site_gets_in() -> Result<()> {
    let (gateway, _folder) = gateway("", &[])?;
    let at = gateway.at;
    let mut refused = 0;
    for origin in ["http://evil.example", "null", "https://localhost.evil.example", ""] {
        let text = format!("Origin `{origin}` may not send requests here: gateway.hosts lists who may");
        refused += all_refuse(at, &[("origin", origin)], &text)?;
    }
    let origins = refused;
    for host in [
        "evil.example",
        "evil.example:8080",
        "gateway",
        "10.0.0.1",
        "localhost:1@evil.example",
    ] {
        let text = format!("Host `{host}` is not a name of this server: gateway.hosts lists them");
        refused += all_refuse(at, &[("host", host)], &text)?;
    }
    let ours = at.to_string();
    for host in [
        "localhost",
        "LOCALHOST:1",
        "127.0.0.1",
        ours.as_str(),
        "[::1]:8080",
        "127.1.2.3",
    ] {
        all_serve(at, &[("host", host)])?;
        all_serve(at, &[("host", host), ("origin", "http://localhost:3000")])?;
    }
    // the target of a request counts as much as its header
    let tail = "content-type: application/json\r\ncontent-length: 9";
    let absolute = format!("POST http://evil.example/geo/ HTTP/1.1\r\nhost: localhost\r\n{tail}");
    ensure!(raw(at, &absolute)?.status == 403);
    let absolute = format!("POST http://{at}/geo/ HTTP/1.1\r\nhost: localhost\r\n{tail}");
    ensure!(raw(at, &absolute)?.status == 200);
    let both = format!("POST /geo/ HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n{tail}");
    ensure!(raw(at, &both)?.status == 400);
    ensure!(raw(at, &format!("POST /geo/ HTTP/1.1\r\n{tail}"))?.status == 400);
    ensure!(raw(at, &format!("POST /geo/ HTTP/1.0\r\n{tail}"))?.status == 200);
    ensure!(raw(at, &format!("POST /geo/ HTTP/1.0\r\nhost: evil.example\r\n{tail}"))?.status == 403);

    let metric = |reason: &str| gateway.metric(&format!("pinflow_gateway_refused_total{{reason=\"{reason}\"}}"));
    let (by_origin, by_host) = (metric("origin")?, metric("host")?);
    assert_eq!((by_origin, by_host), (origins as f64, (refused - origins + 4) as f64));
    let log = gateway.end()?;
    let logged = log.lines().filter(|line| line.contains("\"status\":403")).count() as u64;
    assert_eq!(logged, refused + 2);
    Ok(())
}

#[test]
fn a_list_of_hosts_adds_names_and_pages() -> Result<()> {
    let (gateway, _folder) = gateway("hosts = [\"Pins.example.com\"]\n", &["--hosts", "app.example.com"])?;
    // a flag replaces what the file says
    all_serve(
        gateway.at,
        &[("host", "app.example.com:443"), ("origin", "https://app.example.com")],
    )?;
    all_refuse(
        gateway.at,
        &[("host", "pins.example.com")],
        "Host `pins.example.com` is not a name of this server: gateway.hosts lists them",
    )?;
    gateway.end()?;
    Ok(())
}

#[test]
fn a_gateway_that_others_reach_answers_to_its_own_names_and_to_no_page() -> Result<()> {
    let start = |more: &[&str]| {
        let command = Pinflow::new("gateway").args(["--kafka", "127.0.0.1:1", "--listen", "0.0.0.0:0", "--insecure"]);
        Gateway::launch_unready(&command.args(more))
    };
    let status = |gateway: &Gateway, headers: &[(&str, &str)]| -> Result<u16> {
        let at = SocketAddr::from(([127, 0, 0, 1], gateway.at.port()));
        Ok(ask(at, "GET /metrics", headers, "")?.status)
    };
    let open = start(&[])?;
    for (host, expected) in [
        ("gateway:8080", 200),
        ("10.0.0.1", 200),
        ("localhost", 200),
        ("evil.example", 403),
    ] {
        assert_eq!(status(&open, &[("host", host)])?, expected, "{host}");
    }
    // the page's name was made to resolve to this machine
    for origin in ["http://10.0.0.1", "http://localhost", "http://evil.example"] {
        assert_eq!(
            status(&open, &[("host", "10.0.0.1"), ("origin", origin)])?,
            403,
            "{origin}"
        );
    }
    open.end()?;
    let listed = start(&["--hosts", "pins.example.com"])?;
    let ours = [("host", "pins.example.com"), ("origin", "https://pins.example.com")];
    assert_eq!(status(&listed, &ours)?, 200);
    assert_eq!(status(&listed, &[("host", "evil.example")])?, 403);
    listed.end()?;
    let mut wrong = Pinflow::new("gateway")
        .args([
            "--kafka",
            "127.0.0.1:1",
            "--listen",
            "127.0.0.1:0",
            "--hosts",
            "https://x.example",
        ])
        .start()?;
    wrong.expect(2, SOON)?;
    ensure!(
        wrong.stderr().contains("invalid host `https://x.example`"),
        "{}",
        wrong.stderr()
    );
    Ok(())
}

#[test]
fn with_tokens_a_page_of_another_site_is_refused_all_the_same() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let tokens = folder.path().join("tokens");
    write_private(&tokens, "first-token-0001\n")?;
    let (gateway, _folder) = gateway("", &["--token-file", tokens.to_str().context("a path")?])?;
    let token = ("x-api-key", "first-token-0001");
    let answer = |headers: &[(&str, &str)]| ask(gateway.at, "POST /geo/", &[&[JSON], headers].concat(), r#"{"ind":1}"#);
    assert_eq!(answer(&[token, ("host", "pins.example.com")])?.status, 200);
    assert_eq!(answer(&[token, ("origin", "http://localhost")])?.status, 403);
    assert_eq!(answer(&[("host", "pins.example.com")])?.status, 401);
    gateway.end()?;
    Ok(())
}
