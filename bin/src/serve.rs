//! The small HTTP side of a process: `/metrics`, `/healthz`, `/readyz`, `/version`.
//!
//! It has a thread and a runtime of its own, so that it answers while the engine is busy. Connections are bounded in
//! number and time: when all are taken, the one without a request for the longest makes room, so that nobody keeps a
//! probe out. Requests have no bodies worth reading. Who may ask is decided as at the gateway: by the same tokens, which
//! `/metrics` alone asks for, and by the names and sites that a request may be sent to and from.

use crate::config::ServeSettings;
use crate::health::Health;
use crate::metrics::{CONTENT_TYPE, Metrics};
use anyhow::Context;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use ingest::gateway::{Connections, Need, Place, Sites, Tokens};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Connections at the same time.
const CONNECTIONS: usize = 64;
/// A connection that sends no complete request head for so long is closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection is closed after so long, whatever it does.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(300);
/// How often the files of tokens are read again.
const REFRESH: Duration = Duration::from_millis(500);

#[derive(Clone)]
struct Shared {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    tokens: Arc<Tokens>,
}

/// A running server; it ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    /// Reads the tokens, binds the address and starts to answer.
    pub fn start(settings: &ServeSettings, metrics: Arc<Metrics>, health: Arc<Health>) -> anyhow::Result<Server> {
        let listen = settings.listen;
        let tokens = Arc::new(Tokens::read(&settings.tokens)?);
        let sites = Arc::new(Sites::new(listen, tokens.are_asked_for(), &settings.hosts)?);
        let listener = std::net::TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let router = Router::new()
            .route("/metrics", get(metrics_text))
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(ready))
            .route("/version", get(version))
            .layer(middleware::from_fn_with_state(sites, from_our_sites))
            .with_state(Shared {
                metrics,
                health,
                tokens: Arc::clone(&tokens),
            });
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("pinflow:http".into()).spawn(move || {
            runtime.block_on(async {
                match TcpListener::from_std(listener) {
                    Ok(listener) => serve(listener, router, tokens, stopped).await,
                    Err(error) => tracing::error!("the HTTP side does not start: {error}"),
                }
            });
            // a file of tokens that cannot be read in time is not waited for
            runtime.shutdown_timeout(Duration::from_millis(100));
        })?;
        tracing::info!("serving /metrics, /healthz, /readyz and /version on http://{address}");
        Ok(Server {
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// The bound address: the port is real even when 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // a panic of that thread has been reported by the panic hook
            let _ = thread.join();
        }
    }
}

async fn serve(listener: TcpListener, router: Router, tokens: Arc<Tokens>, stopped: oneshot::Receiver<()>) {
    tokio::select! {
        () = accept(listener, router) => {}
        () = refresh(tokens) => {}
        _ = stopped => {}
    }
}

/// Reads the files of tokens again and again; a file system that hangs holds up no answer.
async fn refresh(tokens: Arc<Tokens>) {
    loop {
        tokio::time::sleep(REFRESH).await;
        let tokens = Arc::clone(&tokens);
        if tokio::task::spawn_blocking(move || tokens.refresh()).await.is_err() {
            tracing::error!("reading the tokens again panicked");
        }
    }
}

async fn accept(listener: TcpListener, router: Router) {
    let connections = Connections::new(CONNECTIONS);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let place = connections.place().await;
                tokio::spawn(connection(stream, place, router.clone()));
            }
            Err(error) => {
                // out of file descriptors, most likely: wait for connections to end
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Serves a connection until it ends, its time is over, or another needs its place.
async fn connection(stream: TcpStream, place: Place, router: Router) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(|request| {
        let under_way = place.request();
        let answer = router.call(request);
        async move {
            let answer = answer.await;
            drop(under_way);
            answer
        }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(16 << 10);
    let served = tokio::time::timeout(
        CONNECTION_TIMEOUT,
        builder.serve_connection(TokioIo::new(stream), service),
    );
    tokio::select! {
        // a client that goes away is its own business
        _ = served => {}
        () = place.reclaimed() => {}
    }
}

/// Refuses what a browser sends for a page of another site, whatever it asks for.
async fn from_our_sites(State(sites): State<Arc<Sites>>, request: Request, next: Next) -> Response {
    match sites.check(request.uri(), request.version(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) if error.is_malformed() => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
        Err(error) => (StatusCode::FORBIDDEN, format!("{error}\n")).into_response(),
    }
}

async fn metrics_text(State(shared): State<Shared>, request: Request) -> Response {
    let Some(caller) = shared.tokens.caller(request.headers()) else {
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
        return (StatusCode::UNAUTHORIZED, challenge, "Not authenticated\n").into_response();
    };
    if let Err(error) = caller.take() {
        let later = [(header::RETRY_AFTER, error.0.to_string())];
        return (StatusCode::TOO_MANY_REQUESTS, later, format!("{error}\n")).into_response();
    }
    if !caller.may(Need::Metrics) {
        return (StatusCode::FORBIDDEN, "The scopes of the token lack metrics\n").into_response();
    }
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], shared.metrics.text()).into_response()
}

async fn ready(State(shared): State<Shared>) -> (StatusCode, String) {
    match shared.health.unready_reason() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
    }
}

async fn version() -> axum::Json<serde_json::Value> {
    axum::Json(serde_json::json!({ "name": "pinflow", "version": env!("CARGO_PKG_VERSION") }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ingest::gateway::TokenSettings;
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::path::Path;
    use std::time::Instant;

    fn start(health: Health, token_files: &[&Path]) -> anyhow::Result<Server> {
        let settings = ServeSettings {
            listen: "127.0.0.1:0".parse().unwrap(),
            tokens: TokenSettings {
                files: token_files.iter().map(|path| path.to_path_buf()).collect(),
                ..TokenSettings::default()
            },
            hosts: vec!["metrics.example.com".to_owned()],
        };
        Server::start(&settings, Arc::new(Metrics::new()), Arc::new(health))
    }

    fn get(address: SocketAddr, path: &str) -> (u16, String) {
        ask(address, path, "host: localhost\r\n")
    }

    // our own answers are small
    #[allow(clippy::disallowed_methods)]
    fn ask(address: SocketAddr, path: &str, headers: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\n{headers}connection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split_whitespace().nth(1).unwrap().parse().unwrap();
        (status, answer)
    }

    #[test]
    fn routes_answer_and_readiness_follows_the_state() {
        let health = Arc::new(Health::new(0, 100));
        let metrics = Arc::new(Metrics::new());
        metrics.gaps(300);
        let settings = ServeSettings {
            listen: "127.0.0.1:0".parse().unwrap(),
            tokens: TokenSettings::default(),
            hosts: Vec::new(),
        };
        let server = Server::start(&settings, metrics, Arc::clone(&health)).unwrap();
        let at = server.address();
        assert_eq!(get(at, "/healthz").0, 200);
        let (status, body) = get(at, "/readyz");
        assert!(
            status == 503 && body.contains("history is not committed yet"),
            "{status} {body}"
        );
        health.hydrated();
        assert_eq!(get(at, "/readyz").0, 200);
        health.lag("pin", 0, 60);
        health.lag("pin", 1, 41);
        let (status, body) = get(at, "/readyz");
        assert!(status == 503 && body.contains("lag of 101 records"), "{status} {body}");
        health.lag("pin", 1, 40);
        assert_eq!(get(at, "/readyz").0, 200);
        health.lake_unavailable(Some((Instant::now(), "cannot read x: status 503".to_owned())));
        let (status, body) = get(at, "/readyz");
        assert!(
            status == 503 && body.contains("cannot read x: status 503"),
            "{status} {body}"
        );
        health.lake_unavailable(None);
        assert_eq!(get(at, "/readyz").0, 200);
        health.absent(1);
        assert_eq!(get(at, "/readyz").0, 503);
        let (status, body) = get(at, "/metrics");
        assert!(
            status == 200 && body.contains("pinflow_archive_gap_offsets 300"),
            "{body}"
        );
        assert!(body.contains(CONTENT_TYPE), "{body}");
        let (status, body) = get(at, "/version");
        assert!(status == 200 && body.contains(env!("CARGO_PKG_VERSION")), "{body}");
        assert_eq!(get(at, "/nothing").0, 404);
    }

    #[test]
    fn idle_connections_keep_nobody_out_and_the_server_ends() {
        let server = start(Health::new(1, 0), &[]).unwrap();
        let at = server.address();
        let mut idle = Vec::new();
        for index in 0..3 * CONNECTIONS {
            let mut stream = TcpStream::connect(at).unwrap();
            match index % 3 {
                0 => stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: loc").unwrap(),
                1 => stream
                    .write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n")
                    .unwrap(),
                _ => {}
            }
            idle.push(stream);
        }
        let began = Instant::now();
        for _ in 0..CONNECTIONS {
            assert_eq!(get(at, "/healthz").0, 200);
        }
        assert!(began.elapsed() < HEAD_TIMEOUT / 2, "{:?}", began.elapsed());
        assert_eq!(get(at, "/readyz").0, 200, "a follower is ready when it runs");
        drop(server);
        assert!(TcpStream::connect(at).is_err());
    }

    #[test]
    fn pages_of_other_sites_and_other_names_are_refused() {
        let server = start(Health::new(1, 0), &[]).unwrap();
        for path in ["/metrics", "/healthz", "/readyz", "/version", "/nothing"] {
            for headers in ["host: evil.example\r\n", "host: localhost\r\norigin: null\r\n"] {
                assert_eq!(ask(server.address(), path, headers).0, 403, "{path} {headers}");
            }
            assert_eq!(ask(server.address(), path, "").0, 400, "{path}");
        }
        assert_eq!(
            ask(server.address(), "/metrics", "host: metrics.example.com:80\r\n").0,
            200
        );
    }

    #[test]
    fn metrics_ask_for_a_token_where_there_are_tokens_and_probes_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens");
        assert!(start(Health::new(1, 0), &[&file]).is_err(), "there is no such file");
        write(
            &file,
            "first-token-0001\nreading-token-01 scopes=read\nslow-token-00001 rate=1\n",
        );
        let server = start(Health::new(1, 0), &[&file]).unwrap();
        let at = server.address();
        let metrics = |token: &str| ask(at, "/metrics", &format!("host: localhost\r\nx-api-key: {token}\r\n")).0;
        assert_eq!((get(at, "/metrics").0, metrics("wrong-token-0001")), (401, 401));
        assert_eq!((metrics("first-token-0001"), metrics("reading-token-01")), (200, 403));
        assert_eq!((metrics("slow-token-00001"), metrics("slow-token-00001")), (200, 429));
        for path in ["/healthz", "/readyz", "/version"] {
            assert_eq!(get(at, path).0, 200, "{path}");
        }
        write(&file, "second-token-002\n");
        let began = Instant::now();
        while metrics("second-token-002") != 200 {
            assert!(began.elapsed() < Duration::from_secs(20), "the new token does not open");
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(metrics("first-token-0001"), 401);
        std::fs::remove_file(&file).unwrap();
        while metrics("second-token-002") != 401 {
            assert!(
                began.elapsed() < Duration::from_secs(40),
                "the file is gone, and its token opens"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn write(path: &Path, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    #[test]
    fn an_address_in_use_is_named() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = taken.local_addr().unwrap();
        let settings = ServeSettings {
            listen,
            tokens: TokenSettings::default(),
            hosts: Vec::new(),
        };
        let error = Server::start(&settings, Arc::new(Metrics::new()), Arc::new(Health::new(0, 0))).unwrap_err();
        assert!(format!("{error:#}").contains(&listen.to_string()), "{error:#}");
    }
}
