//! The API of a process: what the engine hands its commits to, and what answers requests.

use crate::accept::EVENTS;
use crate::answer::{Answer, refused, set};
use crate::audit::{Auditor, Audits};
use crate::error::{ApiError, nearest};
use crate::feeds::Feeds;
use crate::follow::follow;
use crate::objects::Objects;
use crate::params;
use crate::pins::Pins;
use crate::postgres::Pool;
use crate::queue::Queue;
use crate::records::Records;
use crate::routes;
use crate::setting::Setting;
use crate::shared::Shared;
use crate::state::Bounds;
use crate::status::Status;
use dataflows::Results;
use engine::{Commit, LogOptions, Observer};
use http_server::{Body, Need, Refusal, Request, lower_priority};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use operators::Table;
use sinks::PostgresConfig;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Bytes of changes that may wait to be taken over.
const QUEUE_BYTES: usize = 64 << 20;
/// Commits that may wait to be taken over.
const QUEUE: usize = 10_000;
/// Requests that may look through a large table at the same time.
const ASIDE: usize = 2;
/// Requests that may read cleaned tables as a whole at the same time: half of the connections stay free for the others.
const SCANS: usize = 2;
/// Connections that requests share.
const CONNECTIONS: usize = 4;
/// How often unused pages are dropped.
const TIDY: Duration = Duration::from_secs(10);

/// The settings of the API.
#[derive(Clone, Debug)]
pub struct ApiOptions {
    /// The results of the run.
    pub results: Arc<Results>,
    /// Where their tables are.
    pub postgres: PostgresConfig,
    /// The log that the run reads, and how.
    pub log: LogOptions,
    /// What the run is doing.
    pub status: Arc<Status>,
    /// The settings of the run, without secrets.
    pub settings: Vec<Setting>,
    /// Who audits the lake, where the run reads one.
    pub auditor: Option<Auditor>,
    /// What is held in memory.
    pub bounds: Bounds,
    /// Requests that may wait for an answer at the same time: for an offset, for PostgreSQL, for an audit. Connections that
    /// wait for us are never closed to make room, so they must not be all that there are.
    pub waiting: usize,
}

/// See the module's head. Its tasks end with it.
#[derive(Debug)]
pub struct Api {
    pub(crate) shared: Arc<Shared>,
    pub(crate) results: Arc<Results>,
    pub(crate) status: Arc<Status>,
    pub(crate) settings: Vec<Setting>,
    pub(crate) audits: Audits,
    pub(crate) objects: Objects,
    pub(crate) records: Records,
    /// For requests that read cleaned tables as a whole.
    pub(crate) scans: Semaphore,
    pub(crate) pool: Arc<Pool>,
    pub(crate) feeds: Arc<Feeds>,
    pub(crate) pins: Arc<Pins>,
    /// For requests that are not answered at once.
    pub(crate) waiting: Semaphore,
    /// For requests that look through a large table.
    pub(crate) aside: Semaphore,
    queue: Arc<Queue>,
    runtime: Option<tokio::runtime::Runtime>,
}

/// What the caller of a request may do beyond reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Read the bytes of records as they were sent.
    pub raw: bool,
}

impl Api {
    /// Starts to follow the tables, on a thread of its own.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(options: ApiOptions) -> std::io::Result<Arc<Api>> {
        let definitions = options.results.definitions().iter();
        Api::of(definitions.map(|result| result.table).collect(), options)
    }

    /// The same of any tables.
    pub(crate) fn of(tables: Vec<Table>, options: ApiOptions) -> std::io::Result<Arc<Api>> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("pinflow:api")
            .on_thread_start(lower_priority)
            .enable_all()
            .build()?;
        let topics = options.log.topics.names().map(str::to_owned).collect();
        let shared = Arc::new(Shared::new(&tables, topics, options.bounds));
        let queue = Arc::new(Queue::new(QUEUE_BYTES, QUEUE));
        let pins = Arc::new(Pins::default());
        let following = follow(Arc::clone(&shared), Arc::clone(&queue), options.postgres.clone());
        runtime.spawn(following);
        runtime.spawn(tidy(Arc::clone(&pins)));
        Ok(Arc::new(Api {
            feeds: Feeds::new(Arc::clone(&shared), options.postgres.clone(), runtime.handle().clone()),
            pool: Arc::new(Pool::new(options.postgres, CONNECTIONS)),
            pins,
            waiting: Semaphore::new(options.waiting),
            aside: Semaphore::new(ASIDE),
            queue,
            runtime: Some(runtime),
            shared,
            results: options.results,
            status: options.status,
            settings: options.settings,
            audits: Audits::new(options.auditor),
            objects: Objects::new(options.log.lake, options.log.topics),
            records: Records::new(options.log.kafka, options.log.limits),
            scans: Semaphore::new(SCANS),
        }))
    }

    /// Whether a path is answered here.
    pub fn serves(path: &str) -> bool {
        path == "/api" || path.starts_with("/api/") || path == "/openapi.json"
    }

    /// Answers a request of the server, if its caller may read.
    pub async fn handle(&self, request: &Request) -> Response<Body> {
        match self.permitted(request).await {
            Ok(answer) => answer,
            Err(refusal) => refuse(&refusal),
        }
    }

    async fn permitted(&self, request: &Request) -> Result<Response<Body>, Refusal> {
        let caller = request.permit_private(Need::Read)?;
        let access = Access {
            raw: caller.may(Need::Raw),
        };
        let answer = self.answer(&request.head, access).await;
        if answer.status() != StatusCode::OK || !is_stream(&answer) {
            return Ok(answer);
        }
        // a stream has no end of its own and takes one of the places for streams
        let place = request.stream()?;
        Ok(answer.map(|body| place.body(body)))
    }

    /// Answers a request; runs on any runtime with a clock.
    pub(crate) async fn answer(&self, head: &Parts, access: Access) -> Answer {
        match self.route_within_bounds(head, access).await {
            Ok(answer) => answer,
            Err(error) => {
                let mut answer = refused(&error);
                if error.status == StatusCode::METHOD_NOT_ALLOWED {
                    set(&mut answer, ALLOW, HeaderValue::from_static("GET, HEAD"));
                }
                answer
            }
        }
    }

    async fn route_within_bounds(&self, head: &Parts, access: Access) -> Result<Answer, ApiError> {
        let mut answer = pin!(self.route(head, access));
        if let Poll::Ready(answer) = futures_util::poll!(answer.as_mut()) {
            return answer;
        }
        let Ok(_place) = self.waiting.try_acquire() else {
            let hint = "try again in a second";
            return Err(ApiError::unavailable("too many requests wait for an answer", hint));
        };
        answer.await
    }

    async fn route(&self, head: &Parts, access: Access) -> Result<Answer, ApiError> {
        if !matches!(head.method, Method::GET | Method::HEAD) {
            let error = format!("{} is not allowed here", head.method);
            return Err(ApiError::new(
                StatusCode::METHOD_NOT_ALLOWED,
                error,
                "the API answers GET and HEAD",
            ));
        }
        let params = params::parse(head.uri.query())?;
        let segments = segments(head.uri.path())?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match segments.as_slice() {
            ["openapi.json"] => Ok(routes::openapi::answer(self)),
            ["api", "status"] => routes::status::answer(self, &params),
            ["api", "dataflow"] => routes::dataflow::answer(self, &params),
            ["api", "configuration"] => routes::configuration::answer(self, &params),
            ["api", "results"] => routes::tables::answer(self, &params).await,
            ["api", "results", table] => routes::table::answer(self, table, &params, &head.headers).await,
            ["api", "results", table, "changes"] => {
                routes::changes::of_table(self, table, &params, &head.headers).await
            }
            ["api", "changes"] => routes::changes::of_tables(self, &params, &head.headers).await,
            ["api", "why", table] => routes::why::answer(self, table, &params).await,
            ["api", "lineage", topic, partition, offset] => {
                routes::lineage::answer(self, [topic, partition, offset], &params).await
            }
            ["api", "rejects"] => routes::rejects::answer(self, &params, access).await,
            ["api", "gaps"] => routes::gaps::answer(self, &params).await,
            ["api", "frontier"] => routes::frontier::answer(self, &params).await,
            ["api", "audit"] => routes::audit::answer(self, &params).await,
            _ => Err(not_found(head.uri.path())),
        }
    }
}

impl Observer for Api {
    fn persisted(&self, commit: Commit<'_>) {
        self.queue.push(commit);
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn tidy(pins: Arc<Pins>) {
    loop {
        tokio::time::sleep(TIDY).await;
        pins.expire();
    }
}

/// Answers what is said before a request is looked at, in the form of all errors.
pub fn refuse(refusal: &Refusal) -> Response<Body> {
    let hint = match refusal {
        Refusal::Unauthenticated => "send a token: authorization: Bearer TOKEN",
        Refusal::Remote => "give the run a file of tokens: --token-file FILE",
        Refusal::Scope(_) => "use a token with this scope",
        Refusal::Rate(_) | Refusal::Streams => "try again later",
        Refusal::NotFound | Refusal::Method | Refusal::Site(_) | Refusal::Signature(_) => {
            "/openapi.json lists the routes"
        }
    };
    let error = ApiError::new(refusal.status(), refusal.to_string(), hint);
    refusal.with_headers(refused(&error))
}

/// Answers requests for the API in a process that has none.
pub fn absent(why: &str) -> Response<Body> {
    let hint = "ask process 0 of `pinflow run`, where --listen says";
    refused(&ApiError::new(StatusCode::NOT_FOUND, why, hint))
}

fn is_stream(answer: &Answer) -> bool {
    answer.headers().get(CONTENT_TYPE).is_some_and(|media| media == EVENTS)
}

/// The segments of a path, decoded.
fn segments(path: &str) -> Result<Vec<String>, ApiError> {
    let decode = |segment: &str| {
        let decoded = percent_encoding::percent_decode_str(segment).decode_utf8();
        decoded
            .map(String::from)
            .map_err(|_| ApiError::bad("the path is not UTF-8", "percent-encode UTF-8"))
    };
    path.trim_start_matches('/').split('/').map(decode).collect()
}

fn not_found(path: &str) -> ApiError {
    let hint = match nearest(path, &routes::PATHS) {
        Some(nearest) => format!("did you mean {nearest}?"),
        None => "/openapi.json lists the routes".to_owned(),
    };
    let error = format!("there is no route {}", crate::error::shown(path));
    ApiError::new(StatusCode::NOT_FOUND, error, hint).with("nearest", nearest(path, &routes::PATHS))
}
