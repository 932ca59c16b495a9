//! The HTTP side of a process: `/metrics`, `/healthz`, `/readyz`, `/version`, and in process 0 of `run` the API and the
//! page that shows what it says.
//!
//! Who may ask is decided as at the gateway: by the same tokens, which `/metrics` and the API ask for, and by the names
//! and sites that a request may be sent to and from.

use crate::audit;
use crate::config::{AuditSettings, RunSettings, ServeSettings};
use crate::health::Health;
use crate::metrics::{CONTENT_TYPE, Metrics};
use crate::open_files;
use api::{Api, ApiOptions, Auditor, Bounds, Status};
use engine::{LogOptions, SinkOptions};
use http_server::{
    Body, Need, Refusal, Request, Server, ServerError, ServerLimits, ServerSettings, json, response, text,
};
use hyper::{Response, StatusCode};
use sinks::PostgresConfig;
use std::sync::Arc;

/// Connections at the same time where the API is served.
const CONNECTIONS: usize = 4096;

/// An object of the lake below this size is small, as `audit.small_bytes` has it.
const SMALL_BYTES: u64 = 1 << 20;

/// What answers requests: metrics, readiness, and the API or why there is none.
pub type Parts = (Arc<Metrics>, Arc<Health>, Result<Arc<Api>, &'static str>);

/// The API of a run, in its process 0 where that listens.
///
/// # Errors
/// Its thread cannot be started.
pub fn api_of(settings: &RunSettings, status: &Arc<Status>) -> std::io::Result<Option<Arc<Api>>> {
    let engine = &settings.engine;
    let SinkOptions::Postgres(postgres) = &engine.sink else {
        return Ok(None);
    };
    if settings.serve.is_none() || engine.workers.process > 0 {
        return Ok(None);
    }
    let options = ApiOptions {
        results: Arc::clone(&engine.tables.results),
        postgres: postgres.clone(),
        log: engine.log.clone(),
        status: Arc::clone(status),
        settings: settings.shown.clone(),
        auditor: auditor(&engine.log, postgres),
        bounds: Bounds::default(),
        waiting: waiting(&limits_of_api(open_files::raise())),
    };
    Api::start(options).map(Some)
}

/// What `pinflow audit` would look at, with its defaults; none where the run reads no lake.
fn auditor(log: &LogOptions, postgres: &PostgresConfig) -> Option<Auditor> {
    let settings = AuditSettings {
        lake: log.lake.clone()?,
        kafka: log.kafka.as_ref().map(|kafka| kafka.config.clone()),
        postgres: Some(postgres.clone()),
        topics: [0, 1, 2].map(|topic| log.topics.get(topic).map(str::to_owned)),
        deep: false,
        json: true,
        small_bytes: SMALL_BYTES,
    };
    Some(Auditor::new(move || {
        let report = audit::report(&settings).map_err(|failure| causes::with_causes(&failure).to_string())?;
        serde_json::to_value(report).map_err(|error| error.to_string())
    }))
}

/// Reads the tokens, binds the address and starts to answer, until the server is dropped.
pub fn start(settings: &ServeSettings, parts: Parts) -> Result<Server, ServerError> {
    let limits = match &parts.2 {
        Ok(_) => limits_of_api(open_files::raise()),
        Err(_) => ServerLimits::default(),
    };
    let settings = ServerSettings {
        thread: "pinflow:http",
        listen: settings.listen,
        tokens: settings.tokens.clone(),
        hosts: settings.hosts.clone(),
        cors_origins: settings.cors_origins.clone(),
        limits,
    };
    let with_api = if parts.2.is_ok() { " and the API" } else { "" };
    let parts = Arc::new(parts);
    let server = Server::start(settings, move |request| {
        let parts = Arc::clone(&parts);
        async move { answer(&request, &parts).await }
    })?;
    let address = server.address();
    tracing::info!("serving /metrics, /healthz, /readyz, /version{with_api} on http://{address}");
    Ok(server)
}

/// Connections, half of the open files at most: the engine needs the others. A quarter of them is for requests that end.
fn limits_of_api(files: u64) -> ServerLimits {
    let connections = usize::try_from(files / 2).unwrap_or(usize::MAX).clamp(2, CONNECTIONS);
    ServerLimits {
        connections,
        streams: connections - connections.div_ceil(4),
        ..ServerLimits::default()
    }
}

/// Half of the connections whose answer is no stream: the others are left for probes and what is answered at once.
fn waiting(limits: &ServerLimits) -> usize {
    (limits.connections - limits.streams).div_ceil(2)
}

async fn answer(request: &Request, (metrics, health, api): &Parts) -> Response<Body> {
    if Api::serves(request.head.uri.path()) {
        return match api {
            Ok(api) => api.handle(request).await,
            Err(why) => api::absent(why),
        };
    }
    // where there is no API the page would show nothing
    if api.is_ok()
        && let Some(answer) = page::answer(request)
    {
        return answer;
    }
    small(request, metrics, health).unwrap_or_else(|refusal| refusal.response())
}

fn small(request: &Request, metrics: &Metrics, health: &Health) -> Result<Response<Body>, Refusal> {
    match request.head.uri.path() {
        "/metrics" => {
            request.reads()?;
            request.permit(Need::Metrics)?;
            Ok(response(StatusCode::OK, CONTENT_TYPE, metrics.text()))
        }
        "/healthz" => {
            request.reads()?;
            Ok(text(StatusCode::OK, "ok\n"))
        }
        "/readyz" => {
            request.reads()?;
            Ok(match health.unready_reason() {
                None => text(StatusCode::OK, "ready\n"),
                Some(reason) => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
            })
        }
        "/version" => {
            request.reads()?;
            let version = serde_json::json!({ "name": "pinflow", "version": env!("CARGO_PKG_VERSION") });
            Ok(json(StatusCode::OK, version.to_string()))
        }
        _ => Err(Refusal::NotFound),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_server::TokenSettings;
    use ingest::Partition;
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::path::Path;
    use std::time::{Duration, Instant};

    fn start_with(health: Health, token_files: &[&Path]) -> Result<Server, ServerError> {
        let settings = ServeSettings {
            listen: "127.0.0.1:0".parse().unwrap(),
            tokens: TokenSettings {
                files: token_files.iter().map(|path| path.to_path_buf()).collect(),
                ..TokenSettings::default()
            },
            hosts: vec!["metrics.example.com".to_owned()],
            cors_origins: Vec::new(),
        };
        start(&settings, parts(Arc::new(Metrics::new()), Arc::new(health)))
    }

    fn parts(metrics: Arc<Metrics>, health: Arc<Health>) -> Parts {
        (metrics, health, Err("there is no API here"))
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
            cors_origins: Vec::new(),
        };
        let server = start(&settings, parts(metrics, Arc::clone(&health))).unwrap();
        let at = server.address();
        assert_eq!(get(at, "/healthz").0, 200);
        let (status, body) = get(at, "/readyz");
        assert!(
            status == 503 && body.contains("history is not committed yet"),
            "{status} {body}"
        );
        health.hydrated();
        assert_eq!(get(at, "/readyz").0, 200);
        health.lag("pin", Partition(0), 60);
        health.lag("pin", Partition(1), 41);
        let (status, body) = get(at, "/readyz");
        assert!(status == 503 && body.contains("lag of 101 records"), "{status} {body}");
        health.lag("pin", Partition(1), 40);
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
        assert_eq!(get(at, "/").0, 404, "without an API a page would show nothing");
        let (status, body) = get(at, "/api/results");
        assert!(status == 404 && body.contains("there is no API here"), "{body}");
    }

    #[test]
    fn the_api_leaves_files_to_the_engine_and_connections_to_short_requests() {
        for (files, connections, streams) in [(1024, 512, 384), (1 << 20, 4096, 3072), (0, 2, 1)] {
            let limits = limits_of_api(files);
            assert_eq!((limits.connections, limits.streams), (connections, streams), "{files}");
            assert!((1..=connections - streams).contains(&waiting(&limits)), "{files}");
        }
    }

    #[test]
    fn idle_connections_keep_nobody_out_and_the_server_ends() {
        let server = start_with(Health::new(1, 0), &[]).unwrap();
        let at = server.address();
        let mut idle = Vec::new();
        for index in 0..3 * ServerLimits::default().connections {
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
        for _ in 0..ServerLimits::default().connections {
            assert_eq!(get(at, "/healthz").0, 200);
        }
        assert!(
            began.elapsed() < ServerLimits::default().head_timeout / 2,
            "{:?}",
            began.elapsed()
        );
        assert_eq!(get(at, "/readyz").0, 200, "a follower is ready when it runs");
        drop(server);
        assert!(TcpStream::connect(at).is_err());
    }

    #[test]
    fn pages_of_other_sites_and_other_names_are_refused() {
        let server = start_with(Health::new(1, 0), &[]).unwrap();
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
        assert!(
            start_with(Health::new(1, 0), &[&file]).is_err(),
            "there is no such file"
        );
        write(
            &file,
            "first-token-0001\nreading-token-01 scopes=read\nslow-token-00001 rate=1\n",
        );
        let server = start_with(Health::new(1, 0), &[&file]).unwrap();
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
            cors_origins: Vec::new(),
        };
        let error = start(&settings, parts(Arc::new(Metrics::new()), Arc::new(Health::new(0, 0)))).unwrap_err();
        assert!(format!("{error:#}").contains(&listen.to_string()), "{error:#}");
    }
}
