//! A request's way: who asks, what for, may it, and the answer; what is said about it afterwards.

use super::access::{Access, Line};
use super::auth::Tokens;
use super::body::Body;
use super::config::{Limits, Stream};
use super::connections::{Connections, Entry};
use super::limits::Budget;
use super::metrics::Metrics;
use super::refusal::Refusal;
use super::reply::{Reply, ReplyBody};
use super::route::{Interface, Target, route};
use super::topics::Topics;
use super::{body, fastapi, kinesis, operations, rest_v2, rest_v3};
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response};
use prometheus_client::registry::Registry;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Instant;

/// What all requests share.
pub(super) struct Shared {
    pub(super) streams: Vec<Stream>,
    pub(super) key_fields: Vec<String>,
    pub(super) limits: Limits,
    pub(super) topics: Arc<Topics>,
    pub(super) tokens: Tokens,
    pub(super) budget: Budget,
    pub(super) metrics: Metrics,
    pub(super) access: Access,
    pub(super) connections: Arc<Connections>,
    /// Why Kafka cannot be reached, or `None`.
    pub(super) obstacle: RwLock<Option<String>>,
    /// Whether the gateway is ending.
    pub(super) ending: AtomicBool,
    pub(super) create_topics: bool,
    pub(super) delete_topics: bool,
    pub(super) version: &'static str,
    pub(super) process_metrics: fn() -> Registry,
    pub(super) openapi: String,
    pub(super) ids: Ids,
}

/// Makes ids of requests that differ between gateways and restarts.
pub(super) struct Ids {
    prefix: u64,
    next: AtomicU64,
}

impl Ids {
    pub(super) fn new() -> Ids {
        use std::hash::{BuildHasher, Hasher};
        // the standard library's hashers are seeded by the system's randomness
        let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
        hasher.write_u32(std::process::id());
        Ids {
            prefix: hasher.finish(),
            next: AtomicU64::new(0),
        }
    }

    fn next(&self) -> String {
        format!("{:016x}-{:x}", self.prefix, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// A request as the log tells it.
pub(super) struct Told {
    pub(super) shared: Arc<Shared>,
    interface: Interface,
    began: Instant,
    peer: IpAddr,
    id: HeaderValue,
    method: Method,
    path: String,
}

impl Told {
    /// The answer is complete.
    pub(super) fn done(&self, status: u16, records: u64, bytes: u64) {
        let took = self.began.elapsed();
        let interface = self.interface.name();
        self.shared.metrics.answered(interface, status, records, took);
        self.shared.access.line(&Line {
            id: self.id.to_str().unwrap_or_default(),
            peer: self.peer,
            method: self.method.as_str(),
            path: &self.path,
            interface,
            status,
            records,
            bytes,
            took,
        });
    }
}

/// Answers a request.
pub(super) async fn answer(
    shared: Arc<Shared>,
    entry: Arc<Entry>,
    peer: IpAddr,
    request: Request<Incoming>,
) -> Response<ReplyBody> {
    let busy = entry.begin();
    let (head, incoming) = request.into_parts();
    let mut incoming = Body::new(incoming, entry);
    let id = request_id(&head.headers, &shared.ids);
    let names: Vec<&str> = shared.streams.iter().map(|stream| stream.name.as_str()).collect();
    let (interface, target) = route(&head.method, head.uri.path(), &names);
    let told = Told {
        shared: Arc::clone(&shared),
        interface,
        began: Instant::now(),
        peer,
        id: id.clone(),
        method: head.method.clone(),
        path: head.uri.path().to_owned(),
    };
    let open = matches!(
        target,
        Target::Health | Target::Ready | Target::Version | Target::OpenApi
    );
    let result = if !open && !shared.tokens.admit(&head.headers) {
        Err(Refusal::Unauthorized)
    } else if encoded(&head.headers) {
        Err(Refusal::Media)
    } else if let Target::Stream { cluster, topic } = target {
        return match rest_v3::stream(&shared, told, &cluster, &topic, &head.headers, incoming, busy).await {
            Ok(reply) => reply.response(&id),
            Err((mut incoming, told, refusal)) => {
                let reply = refuse(&shared, interface, refusal, &mut incoming).await;
                told.done(reply.status.as_u16(), reply.records, reply.bytes);
                reply.response(&id)
            }
        };
    } else {
        dispatch(&shared, target, &head.headers, &mut incoming).await
    };
    let reply = match result {
        Ok(reply) => reply,
        Err(refusal) => refuse(&shared, interface, refusal, &mut incoming).await,
    };
    told.done(reply.status.as_u16(), reply.records, reply.bytes);
    drop(busy);
    reply.response(&id)
}

async fn dispatch(
    shared: &Arc<Shared>,
    target: Target<'_>,
    headers: &HeaderMap,
    body: &mut Body,
) -> Result<Reply, Refusal> {
    match target {
        Target::Item(index) => fastapi::item(shared, index, headers, body).await,
        Target::ListTopics => rest_v2::list(shared).await,
        Target::DescribeTopic(topic) => rest_v2::describe(shared, &topic).await,
        Target::Produce(topic) => rest_v2::produce(shared, &topic, None, headers, body).await,
        Target::ProduceToPartition(topic, partition) => {
            rest_v2::produce(shared, &topic, Some(&partition), headers, body).await
        }
        Target::PutRecord(stream) => kinesis::put_record(shared, &stream, body).await,
        Target::PutRecords(stream) => kinesis::put_records(shared, &stream, body).await,
        Target::ListStreams => kinesis::list(shared).await,
        Target::DescribeStream(stream) => kinesis::describe(shared, &stream).await,
        Target::CreateStream(stream) => kinesis::create(shared, &stream, body).await,
        Target::DeleteStream(stream) => kinesis::delete(shared, &stream).await,
        Target::Health => Ok(operations::health()),
        Target::Ready => Ok(operations::ready(shared)),
        Target::Metrics => Ok(operations::metrics(shared)),
        Target::Version => Ok(operations::version(shared)),
        Target::OpenApi => Ok(Reply::json(shared.openapi.clone())),
        Target::WrongMethod(methods) => Err(Refusal::Method(methods)),
        Target::Stream { .. } | Target::Nowhere => Err(Refusal::Nowhere),
    }
}

/// The answer of a refusal, after the rest of the body was read, so that a client that writes first hears it.
async fn refuse(shared: &Shared, interface: Interface, refusal: Refusal, incoming: &mut Body) -> Reply {
    if matches!(refusal, Refusal::Busy) {
        shared.metrics.shed();
    }
    let hopeless = matches!(refusal, Refusal::Slow | Refusal::Broken);
    let mut reply = refusal.reply(interface);
    if hopeless || (!incoming.is_at_end() && !body::drain(incoming).await) {
        reply.close = true;
    }
    reply
}

/// The client's own id when it is a sensible one, else a new one.
fn request_id(headers: &HeaderMap, ids: &Ids) -> HeaderValue {
    let sensible = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=128).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
    };
    let own = || HeaderValue::try_from(ids.next()).unwrap_or_else(|_| HeaderValue::from_static("-"));
    headers
        .get("x-request-id")
        .filter(sensible)
        .cloned()
        .unwrap_or_else(own)
}

/// Whether the body is compressed, which none of the old servers took.
fn encoded(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_ENCODING)
        .is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// The media type of a content type, without parameters, and whether one is there.
pub(super) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(hyper::header::CONTENT_TYPE)?.as_bytes();
    let text = String::from_utf8_lossy(value);
    Some(text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}
