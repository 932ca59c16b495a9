//! The ready-made server, as its clients see it: tokens, sites, streams, and the bounds of connections.

use bytes::Bytes;
use http_body_util::BodyExt;
use http_server::{
    Body, CutOff, Need, Refusal, Request, Server, ServerLimits, ServerSettings, TokenSettings, events, response, text,
};
use hyper::body::{Body as HttpBody, Frame};
use hyper::{Response, StatusCode};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Longer than anything here takes that goes well.
const PATIENCE: Duration = Duration::from_secs(20);

/// A stream: one event, then nothing, or the same event without an end; counted while it lives.
struct Events {
    open: Arc<AtomicUsize>,
    endless: bool,
    sent: bool,
}

impl Events {
    fn new(open: &Arc<AtomicUsize>, endless: bool) -> Events {
        open.fetch_add(1, Ordering::SeqCst);
        Events {
            open: Arc::clone(open),
            endless,
            sent: false,
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl HttpBody for Events {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        if self.sent && !self.endless {
            // nobody wakes it up: the connection alone, and the look at its token
            return Poll::Pending;
        }
        self.sent = true;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"data: here\n\n")))))
    }
}

/// A body that fails after its first piece.
struct Failing(bool);

impl HttpBody for Failing {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        let piece = if std::mem::replace(&mut self.0, true) {
            Err(CutOff)
        } else {
            Ok(Frame::data(Bytes::from_static(b"first\n")))
        };
        Poll::Ready(Some(piece))
    }
}

/// A server, and how many of its streams are open.
struct Running {
    server: Server,
    open: Arc<AtomicUsize>,
}

impl Running {
    fn start(change: impl FnOnce(&mut ServerSettings)) -> Running {
        let mut settings = ServerSettings {
            thread: "server",
            listen: "127.0.0.1:0".parse().unwrap(),
            tokens: TokenSettings::default(),
            hosts: Vec::new(),
            cors_origins: Vec::new(),
            limits: ServerLimits {
                streams: 60,
                ..ServerLimits::default()
            },
        };
        change(&mut settings);
        let open = Arc::new(AtomicUsize::new(0));
        let streams = Arc::clone(&open);
        let server = Server::start(settings, move |request| {
            let streams = Arc::clone(&streams);
            async move {
                answer(&request, &streams)
                    .await
                    .unwrap_or_else(|refusal| refusal.response())
            }
        });
        Running {
            server: server.unwrap(),
            open,
        }
    }

    fn address(&self) -> SocketAddr {
        self.server.address()
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A connection on which a request was sent.
    fn send(&self, request: &str) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    fn ask(&self, method: &str, path: &str, headers: &str) -> (u16, String) {
        let request = format!("{method} {path} HTTP/1.1\r\n{headers}connection: close\r\n\r\n");
        let answer = rest(&mut self.send(&request));
        let status = answer.split_whitespace().nth(1).unwrap_or_default();
        (status.parse().unwrap_or_default(), answer)
    }

    fn get(&self, path: &str) -> (u16, String) {
        self.ask("GET", path, "host: localhost\r\n")
    }

    /// A stream of which the first event has come.
    fn stream(&self, headers: &str) -> TcpStream {
        let mut stream = self.send(&format!("GET /events HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n"));
        let mut read = String::new();
        while !read.contains("data: here") {
            let mut bytes = [0; 1024];
            let count = stream.read(&mut bytes).unwrap();
            assert!(count > 0, "{read}");
            read.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
        assert!(
            read.starts_with("HTTP/1.1 200 ") && read.contains("content-type: text/event-stream"),
            "{read}"
        );
        stream
    }

    fn wait_for_streams(&self, count: usize) {
        let began = Instant::now();
        while self.open.load(Ordering::SeqCst) != count {
            assert!(
                began.elapsed() < PATIENCE,
                "{} streams are open",
                self.open.load(Ordering::SeqCst)
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

async fn answer(request: &Request, open: &Arc<AtomicUsize>) -> Result<Response<Body>, Refusal> {
    request.reads()?;
    match request.head.uri.path() {
        "/probe" => Ok(text(StatusCode::OK, "ok\n")),
        "/rows" => {
            request.permit(Need::Read)?;
            Ok(text(StatusCode::OK, format!("{}\n", request.peer.ip())))
        }
        "/large" => Ok(response(
            StatusCode::OK,
            "application/octet-stream",
            vec![b'x'; 64 << 20],
        )),
        "/failing" => Ok(Response::new(Failing(false).boxed_unsync())),
        "/slow" => {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            Ok(text(StatusCode::OK, "at last\n"))
        }
        path @ ("/events" | "/flood") => {
            let caller = request.permit(Need::Read)?;
            assert!(caller.is_valid());
            Ok(events(request.stream()?.body(Events::new(open, path == "/flood"))))
        }
        _ => Err(Refusal::NotFound),
    }
}

/// What comes until the connection ends, as far as it is not too much.
fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut bytes = [0; 8 << 10];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&bytes[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => break,
            Err(error) => panic!("{error}"),
        }
        assert!(answer.len() < 1 << 20);
    }
    String::from_utf8(answer).unwrap()
}

/// Whether the server has closed a connection that it owes nothing.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let read = stream.read(&mut [0; 1024]);
    stream.set_nonblocking(false).unwrap();
    match read {
        Ok(count) => count == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

fn write(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn requests_are_answered_one_after_the_other_on_one_connection() {
    let running = Running::start(|_| {});
    let mut stream = running.connect();
    for _ in 0..3 {
        stream
            .write_all(b"GET /rows HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .unwrap();
        let mut read = String::new();
        while !read.ends_with("127.0.0.1\n") {
            let mut bytes = [0; 1024];
            let count = stream.read(&mut bytes).unwrap();
            assert!(count > 0, "{read}");
            read.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
        assert!(read.starts_with("HTTP/1.1 200 "), "{read}");
    }
    assert_eq!(running.get("/nothing").0, 404);
    let (status, answer) = running.ask("POST", "/probe", "host: localhost\r\ncontent-length: 0\r\n");
    assert!(status == 405 && answer.contains("allow: GET, HEAD"), "{answer}");
    let (status, answer) = running.ask("HEAD", "/probe", "host: localhost\r\n");
    assert!(
        status == 200 && answer.contains("content-length: 3") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
}

#[test]
fn an_answer_that_fails_has_no_end() {
    let running = Running::start(|_| {});
    let answer = rest(&mut running.send("GET /failing HTTP/1.1\r\nhost: localhost\r\n\r\n"));
    // the connection ends without the chunk of no bytes that an answer in chunks ends with
    assert!(!answer.contains("\r\n0\r\n"), "{answer}");
    assert_eq!(running.get("/probe").0, 200);
}

#[test]
fn streams_are_kept_and_leave_room_for_probes() {
    let running = Running::start(|settings| {
        settings.limits.connections = 8;
        settings.limits.streams = 5;
    });
    let mut streams: Vec<TcpStream> = (0..5).map(|_| running.stream("")).collect();
    let (status, answer) = running.get("/events");
    assert!(
        status == 503 && answer.contains("retry-after: 10") && answer.contains("Too many streams"),
        "{answer}"
    );
    // idle connections, and those that begin a request, on top
    let idle: Vec<TcpStream> = (0..40)
        .map(|index| running.send(["", "GET /rows HT"][index % 2]))
        .collect();
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(running.get("/probe").0, 200);
    }
    assert!(began.elapsed() < PATIENCE / 4, "{:?}", began.elapsed());
    assert!(!streams.iter_mut().any(is_closed), "a stream made room");
    drop(idle);
    // a client that is gone gives its place back, though its stream says nothing
    streams.pop();
    running.wait_for_streams(4);
    streams.push(running.stream(""));
    running.wait_for_streams(5);
    let Running { server, open } = running;
    let began = Instant::now();
    drop(server);
    assert!(began.elapsed() < PATIENCE / 4, "{:?}", began.elapsed());
    assert_eq!(open.load(Ordering::SeqCst), 0, "the end of the server ends its streams");
    assert!(
        streams
            .iter_mut()
            .all(|stream| rest(stream).is_empty() || is_closed(stream))
    );
}

#[test]
fn connections_have_an_end_and_streams_have_none() {
    let running = Running::start(|settings| {
        settings.limits.head_timeout = Duration::from_millis(300);
        settings.limits.connection_timeout = Duration::from_millis(700);
    });
    let mut stream = running.stream("");
    let mut beginning = running.send("GET /probe HTTP/1.1\r\nhost: loc");
    let mut idle = running.connect();
    // it asks again and again, so that no head is ever waited for too long
    let (mut busy, began) = (running.connect(), Instant::now());
    let ended = loop {
        let asked = busy.write_all(b"GET /probe HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let mut bytes = [0; 1024];
        if asked.is_err() || busy.read(&mut bytes).unwrap_or_default() == 0 {
            break began.elapsed();
        }
        assert!(began.elapsed() < PATIENCE, "a connection lasts");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(ended >= Duration::from_millis(600), "{ended:?}");
    for connection in [&mut beginning, &mut idle] {
        // 408 to what has begun
        let said = rest(connection);
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 408 "), "{said}");
    }
    // an answer under way has as long again, and no longer
    let slow = running.get("/slow");
    assert!(slow.0 == 0, "it had twice the time of a connection: {}", slow.1);
    std::thread::sleep(Duration::from_millis(700));
    assert!(!is_closed(&mut stream), "a stream was cut");
    assert_eq!(running.open.load(Ordering::SeqCst), 1);
}

#[test]
fn who_does_not_read_is_closed() {
    let running = Running::start(|settings| settings.limits.write_timeout = Duration::from_millis(500));
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let _flood = running.send(&request("/flood"));
    let mut large = running.send(&request("/large"));
    running.wait_for_streams(1);
    running.wait_for_streams(0);
    // the rest of the answer never comes
    std::thread::sleep(Duration::from_secs(2));
    let (mut bytes, mut read) = (vec![0; 1 << 20], 0);
    while let Ok(count @ 1..) = large.read(&mut bytes) {
        read += count;
    }
    assert!(read < 64 << 20, "{read} bytes came");
}

#[test]
fn a_stream_ends_with_its_token() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens");
    write(
        &file,
        "first-token-0001 scopes=read\nraw-token-000001 scopes=raw\nslow-token-00001 rate=1\n",
    );
    let running = Running::start(|settings| settings.tokens.files = vec![file.clone()]);
    let rows = |token: &str| running.ask("GET", "/rows", &format!("host: localhost\r\nx-api-key: {token}\r\n"));
    let (status, answer) = running.get("/rows");
    assert!(status == 401 && answer.contains("www-authenticate: Bearer"), "{answer}");
    assert_eq!(rows("wrong-token-0001").0, 401);
    // prometheus:first-token-0001
    let basic = "host: localhost\r\nauthorization: Basic cHJvbWV0aGV1czpmaXJzdC10b2tlbi0wMDAx\r\n";
    assert_eq!(running.ask("GET", "/rows", basic).0, 200);
    let (status, answer) = rows("raw-token-000001");
    assert!(
        status == 403 && answer.ends_with("The scopes of the token lack read\n"),
        "{answer}"
    );
    assert_eq!((rows("slow-token-00001").0, rows("first-token-0001").0), (200, 200));
    let (status, answer) = rows("slow-token-00001");
    assert!(status == 429 && answer.contains("retry-after: 1"), "{answer}");
    assert_eq!((running.get("/events").0, running.get("/probe").0), (401, 200));
    let mut stream = running.stream("authorization: Bearer first-token-0001\r\n");
    std::thread::sleep(Duration::from_millis(1500));
    assert!(!is_closed(&mut stream), "its token is valid");
    write(&file, "second-token-002\n");
    // the last piece of a body in pieces: its end is in order
    assert_eq!(rest(&mut stream), "0\r\n\r\n".to_owned());
    running.wait_for_streams(0);
}

#[test]
fn pages_of_configured_origins_read_and_no_others() {
    let running = Running::start(|settings| settings.cors_origins = vec!["https://pins.example.com".parse().unwrap()]);
    let ask = |method: &str, path: &str, origin: &str, more: &str| {
        running.ask(method, path, &format!("host: localhost\r\norigin: {origin}\r\n{more}"))
    };
    let ours = "access-control-allow-origin: https://pins.example.com\r\n";
    for path in ["/rows", "/nothing"] {
        let (status, answer) = ask("GET", path, "https://pins.example.com", "");
        assert!(
            status < 500 && answer.contains(ours) && answer.contains("vary: origin"),
            "{answer}"
        );
    }
    let wants = "access-control-request-method: GET\r\naccess-control-request-headers: authorization\r\n";
    let (status, answer) = ask("OPTIONS", "/rows", "https://pins.example.com", wants);
    let methods = "access-control-allow-methods: GET, HEAD, OPTIONS\r\n";
    assert!(
        status == 204 && answer.contains(ours) && answer.contains(methods) && answer.contains("authorization"),
        "{answer}"
    );
    for (method, origin) in [
        ("GET", "https://evil.example"),
        ("GET", "null"),
        ("GET", "http://pins.example.com"),
        ("OPTIONS", "https://evil.example"),
        ("POST", "https://pins.example.com"),
    ] {
        let (status, answer) = ask(method, "/rows", origin, wants);
        assert!(
            status == 403 && !answer.contains("access-control"),
            "{method} {origin}: {answer}"
        );
    }
    // the name that a page uses counts all the same
    let evil = "host: evil.example\r\norigin: https://pins.example.com\r\n";
    assert_eq!(running.ask("GET", "/rows", evil).0, 403);
    // a page of this server may read, under the name that the request was sent to, and may not write
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens");
    write(&file, "first-token-0001\n");
    let open = Running::start(|settings| settings.tokens.files = vec![file]);
    for (method, host, origin, status) in [
        ("GET", "pins.example.com", "https://pins.example.com", 401),
        ("GET", "10.1.2.3:9464", "http://10.1.2.3:9464", 401),
        ("POST", "10.1.2.3:9464", "http://10.1.2.3:9464", 403),
        ("GET", "10.1.2.3:9464", "http://10.1.2.3:8080", 403),
        ("GET", "10.1.2.3:9464", "http://10.1.2.3", 403),
        ("GET", "10.1.2.3:9464", "null", 403),
        (
            "GET",
            "10.1.2.3:9464",
            "http://10.1.2.3:9464\r\norigin: http://10.1.2.3:9464",
            403,
        ),
    ] {
        let headers = format!("host: {host}\r\norigin: {origin}\r\n");
        assert_eq!(
            open.ask(method, "/rows", &headers).0,
            status,
            "{method} {host} {origin}"
        );
    }
    assert_eq!(
        running
            .ask("GET", "/rows", "host: evil.example\r\norigin: http://evil.example\r\n")
            .0,
        403
    );
    // a page of this machine may send, and may not read
    let (status, answer) = ask("GET", "/rows", "http://localhost:3000", "");
    assert!(status == 200 && !answer.contains("access-control"), "{answer}");
    let closed = Running::start(|_| {});
    let headers = "host: localhost\r\norigin: http://localhost:3000\r\n";
    let (status, answer) = closed.ask("GET", "/rows", headers);
    assert!(
        status == 200 && !answer.contains("access-control") && !answer.contains("vary"),
        "{answer}"
    );
    assert_eq!(
        closed
            .ask(
                "GET",
                "/rows",
                "host: localhost\r\norigin: https://pins.example.com\r\n"
            )
            .0,
        403
    );
}
