//! The small HTTP side of a process: `/metrics`, `/healthz`, `/readyz`, `/version`.
//!
//! It has a thread and a runtime of its own, so that it answers while the engine is busy. Connections are bounded in
//! number and time; requests have no bodies worth reading.

use crate::metrics::{CONTENT_TYPE, Metrics};
use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};

/// Connections at the same time; a further one waits to be accepted.
const CONNECTIONS: usize = 64;
/// A connection that sends no complete request head for so long is closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection is closed after so long, whatever it does.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(300);

/// Whether this process is ready: what `/readyz` says.
#[derive(Debug, Default)]
pub struct Health {
    /// More waiting records than this: not ready.
    lag_threshold: u64,
    /// Only process 0 knows about hydration and lag; the others are ready when they run.
    follows: bool,
    hydrated: AtomicBool,
    absent_topics: AtomicUsize,
    lag: Mutex<BTreeMap<(String, i32), i64>>,
    /// Since when the lake cannot be used, and why.
    lake: Mutex<Option<(Instant, String)>>,
}

impl Health {
    /// Not ready yet; `process` is the index of this process.
    pub fn new(process: usize, lag_threshold: u64) -> Health {
        Health {
            lag_threshold,
            follows: process > 0,
            ..Health::default()
        }
    }

    /// History is committed.
    pub fn hydrated(&self) {
        self.hydrated.store(true, Ordering::Relaxed);
    }

    /// So many topics are neither in the lake nor in Kafka.
    pub fn absent(&self, topics: usize) {
        self.absent_topics.store(topics, Ordering::Relaxed);
    }

    /// Since when the lake cannot be used, and why; `None` when it can.
    pub fn lake_unavailable(&self, outage: Option<(Instant, String)>) {
        *self.lake.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = outage;
    }

    /// How far a partition is behind.
    pub fn lag(&self, topic: &str, partition: i32, records: i64) {
        let mut lag = self.lag.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        lag.insert((topic.to_owned(), partition), records);
    }

    /// Why this process is not ready, or `None` when it is.
    pub fn obstacle(&self) -> Option<String> {
        let lake = self.lake.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some((since, error)) = &*lake {
            let seconds = since.elapsed().as_secs();
            return Some(format!("the lake cannot be used for {seconds} s: {error}"));
        }
        if self.follows {
            return None;
        }
        if !self.hydrated.load(Ordering::Relaxed) {
            return Some("history is not committed yet".to_owned());
        }
        let absent = self.absent_topics.load(Ordering::Relaxed);
        if absent > 0 {
            return Some(format!("{absent} topics are neither in the lake nor in Kafka"));
        }
        let lag = self.lag.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let waiting: u64 = lag.values().map(|records| u64::try_from(*records).unwrap_or(0)).sum();
        let threshold = self.lag_threshold;
        (waiting > threshold).then(|| format!("{waiting} records wait in Kafka, more than {threshold}"))
    }
}

#[derive(Clone)]
struct Shared {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
}

/// A running server; it ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    /// Binds the address and starts to answer.
    pub fn start(listen: SocketAddr, metrics: Arc<Metrics>, health: Arc<Health>) -> anyhow::Result<Server> {
        let listener = std::net::TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let router = Router::new()
            .route("/metrics", get(metrics_text))
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(ready))
            .route("/version", get(version))
            .with_state(Shared { metrics, health });
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("pinflow:http".into()).spawn(move || {
            runtime.block_on(async {
                match TcpListener::from_std(listener) {
                    Ok(listener) => serve(listener, router, stopped).await,
                    Err(error) => tracing::error!("the HTTP side does not start: {error}"),
                }
            });
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

async fn serve(listener: TcpListener, router: Router, mut stopped: oneshot::Receiver<()>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = async {
            let permit = Arc::clone(&permits)
                .acquire_owned()
                .await
                .expect("the semaphore is never closed");
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            accepted = accepted => accepted,
            _ = &mut stopped => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // out of file descriptors, most likely: wait for connections to end
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .max_buf_size(16 << 10);
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            // a client that goes away is its own business
            let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await;
            drop(permit);
        });
    }
}

async fn metrics_text(State(shared): State<Shared>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], shared.metrics.text())
}

async fn ready(State(shared): State<Shared>) -> (StatusCode, String) {
    match shared.health.obstacle() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(obstacle) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {obstacle}\n")),
    }
}

async fn version() -> axum::Json<serde_json::Value> {
    axum::Json(serde_json::json!({ "name": "pinflow", "version": env!("CARGO_PKG_VERSION") }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    // our own answers are small
    #[allow(clippy::disallowed_methods)]
    fn get(address: SocketAddr, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
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
        let server = Server::start("127.0.0.1:0".parse().unwrap(), metrics, Arc::clone(&health)).unwrap();
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
        assert!(status == 503 && body.contains("101 records wait"), "{status} {body}");
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
    fn an_idle_connection_does_not_keep_others_out_and_the_server_ends() {
        let server = Server::start(
            "127.0.0.1:0".parse().unwrap(),
            Arc::new(Metrics::new()),
            Arc::new(Health::new(1, 0)),
        )
        .unwrap();
        let at = server.address();
        let _idle = TcpStream::connect(at).unwrap();
        assert_eq!(get(at, "/readyz").0, 200, "a follower is ready when it runs");
        drop(server);
        assert!(TcpStream::connect(at).is_err());
    }

    #[test]
    fn an_address_in_use_is_named() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = taken.local_addr().unwrap();
        let error = Server::start(at, Arc::new(Metrics::new()), Arc::new(Health::new(0, 0))).unwrap_err();
        assert!(format!("{error:#}").contains(&at.to_string()), "{error:#}");
    }
}
