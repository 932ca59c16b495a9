//! Confluent's REST proxy, version 3: a stream of records in one request, a stream of reports in its answer.
//!
//! Records are taken as they come, and each is reported as soon as Kafka has acknowledged it and all before it; the
//! end of the request is not waited for. The status of the answer is that of the first record, so that a client that
//! sends one record and looks only at the status knows what became of it. A body that comes faster than Kafka takes it is read
//! more slowly.

use super::api_error::ApiError;
use super::body::{Body, BodyError};
use super::budget::RECORD_OVERHEAD;
use super::connections::RequestGuard;
use super::producer::DeliveryError;
use super::record;
use super::reply::{JSON, Reply, ReplyBody, media_type};
use super::request_log::RequestLog;
use super::rest::{NO_TOPIC_PARTITION, RestError, error_json};
use super::rest_v3_item::{Item, content};
use super::send::{Record, Sent};
use super::split::{SplitError, Splitter};
use super::state::State;
use super::topics::Topic;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::HeaderMap;
use rdkafka::message::{Header, OwnedHeaders};
use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Records that wait to be delivered, in one stream.
const WAITING: usize = 4096;
/// Pieces of an answer that wait to be written.
const PIECES: usize = 16;
/// Bytes of a piece.
const PIECE: usize = 16 << 10;
/// A timestamp may be ahead of the clock by what brokers allow (`message.timestamp.after.max.ms`).
const AHEAD: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);
/// What stands after each report.
const END: &str = "\r\n";

/// What became of a record when it was read.
enum Step {
    /// It is on its way.
    Sent {
        sent: Sent,
        key: Option<Size>,
        value: Option<Size>,
    },
    /// It is not sent, and says why.
    Wrong { code: u32, text: String },
}

/// Type and size of a key or a value.
struct Size {
    kind: &'static str,
    size: usize,
}

/// Everything that the tasks of a stream share.
struct Stream {
    state: Arc<State>,
    topic: Arc<Topic>,
    cluster: String,
    name: String,
}

/// `POST /v3/clusters/{cluster}/topics/{topic}/records`. With an error the request's body and log come back.
pub(super) async fn stream(
    state: &Arc<State>,
    log: RequestLog,
    cluster: &str,
    name: &str,
    headers: &HeaderMap,
    mut incoming: Body,
    guard: RequestGuard,
) -> Result<Reply, (Body, RequestLog, RestError)> {
    if media_type(headers).is_some_and(|media| media != JSON) {
        return Err((incoming, log, ApiError::Media.into()));
    }
    let topic = match state.topics.named(name) {
        None => Err(ApiError::NoTopic(name.to_owned())),
        Some(kafka_name) => state
            .topics
            .get(kafka_name)
            .await
            .map_err(|error| ApiError::topic(error, name)),
    };
    let topic = match topic {
        Ok(topic) => topic,
        Err(error) => return Err((incoming, log, error.into())),
    };
    let mut source = Source {
        splitter: Splitter::new(state.limits.body_bytes),
        ended: false,
        bytes: 0,
    };
    // the first record decides about the status
    let first = match source.next(state, &mut incoming).await {
        Ok(Some(object)) => object,
        Ok(None) => return Err((incoming, log, RestError::NoInput)),
        Err(error) => return Err((incoming, log, error.into())),
    };
    let (cluster, name) = (cluster.to_owned(), name.to_owned());
    let stream = Arc::new(Stream {
        state: Arc::clone(state),
        topic,
        cluster,
        name,
    });
    let step = stream.step(&first).await;
    let (status, report, written) = stream.report(step).await;
    let (steps, waiting) = mpsc::channel(WAITING);
    let (pieces, body) = mpsc::channel(PIECES);
    let reader = Arc::clone(&stream);
    let reading = tokio::spawn(async move { reader.read(incoming, source, steps).await });
    tokio::spawn(async move {
        let records = stream.write(waiting, pieces, report).await + u64::from(written);
        // when the answer cannot be written any more, the request need not be read
        let bytes = if reading.is_finished() {
            reading.await.unwrap_or(0)
        } else {
            stop(reading).await
        };
        log.done(status.as_u16(), records, bytes);
    });
    let mut reply = Reply::new(status, JSON, Bytes::new());
    reply.body = ReplyBody::Pieces {
        pieces: body,
        _guard: guard,
    };
    Ok(reply)
}

async fn stop(reading: tokio::task::JoinHandle<u64>) -> u64 {
    let abort = reading.abort_handle();
    let read = tokio::time::timeout(std::time::Duration::from_millis(100), reading).await;
    abort.abort();
    read.ok().and_then(Result::ok).unwrap_or(0)
}

/// A request's body, cut into records.
struct Source {
    splitter: Splitter,
    ended: bool,
    bytes: u64,
}

/// Why there is no next record.
enum SourceError {
    Body(BodyError),
    Split(SplitError),
}

impl From<SourceError> for RestError {
    fn from(error: SourceError) -> RestError {
        match error {
            SourceError::Body(error) => error.into(),
            SourceError::Split(error) => RestError::BadRequest(error.to_string()),
        }
    }
}

impl Source {
    /// The next record; `None` at the end.
    async fn next(&mut self, state: &State, incoming: &mut Body) -> Result<Option<Bytes>, SourceError> {
        loop {
            match self.splitter.next() {
                Ok(Some(object)) => {
                    incoming.has_arrived();
                    return Ok(Some(object));
                }
                Ok(None) => {}
                Err(SplitError::TooLarge) => {
                    return Err(SourceError::Body(BodyError::TooLarge(state.limits.body_bytes)));
                }
                Err(error) => return Err(SourceError::Split(error)),
            }
            if self.ended {
                return self.splitter.finish().map(|()| None).map_err(SourceError::Split);
            }
            match tokio::time::timeout(state.limits.body_timeout, incoming.piece()).await {
                Ok(Some(Ok(bytes))) => {
                    self.bytes += bytes.len() as u64;
                    self.splitter.feed(&bytes);
                }
                Ok(Some(Err(error))) => return Err(SourceError::Body(error)),
                Ok(None) => self.ended = true,
                Err(_) => return Err(SourceError::Body(BodyError::Slow)),
            }
        }
    }
}

impl Stream {
    /// Takes the records of the request until it ends, or the writer has gone.
    async fn read(&self, mut incoming: Body, mut source: Source, steps: mpsc::Sender<Step>) -> u64 {
        loop {
            let step = match source.next(&self.state, &mut incoming).await {
                Ok(Some(object)) => self.step(&object).await,
                Ok(None) | Err(SourceError::Body(BodyError::Broken)) => return source.bytes,
                Err(error) => {
                    let (code, text) = match error {
                        SourceError::Body(BodyError::TooLarge(limit)) => {
                            (413, format!("A record has more than {limit} bytes"))
                        }
                        SourceError::Body(_) => (408, "The next record did not come in time".to_owned()),
                        SourceError::Split(_) => (400, format!("Bad Request: {}", SplitError::NoObject)),
                    };
                    // the writer may have gone
                    let _ = steps.send(Step::Wrong { code, text }).await;
                    return source.bytes;
                }
            };
            if steps.send(step).await.is_err() {
                return source.bytes;
            }
        }
    }

    /// Writes reports until there are no more records; returns how many were taken by Kafka.
    async fn write(&self, mut waiting: mpsc::Receiver<Step>, pieces: mpsc::Sender<Bytes>, first: String) -> u64 {
        let (mut piece, mut written) = (first, 0);
        loop {
            let step = match waiting.try_recv() {
                Ok(step) => Some(step),
                Err(_) => {
                    // nothing to add: what is there goes out
                    if !piece.is_empty() && pieces.send(std::mem::take(&mut piece).into()).await.is_err() {
                        return written;
                    }
                    waiting.recv().await
                }
            };
            let Some(step) = step else { break };
            if !self.is_known(&step)
                && !piece.is_empty()
                && pieces.send(std::mem::take(&mut piece).into()).await.is_err()
            {
                return written;
            }
            let (_, report, taken) = self.report(step).await;
            written += u64::from(taken);
            piece.push_str(&report);
            if piece.len() >= PIECE && pieces.send(std::mem::take(&mut piece).into()).await.is_err() {
                return written;
            }
        }
        // the client may have gone; its records are in Kafka all the same
        let _ = if piece.is_empty() {
            Ok(())
        } else {
            pieces.send(piece.into()).await
        };
        written
    }

    /// Whether the result of a record is known without waiting.
    fn is_known(&self, step: &Step) -> bool {
        match step {
            Step::Sent {
                sent: Sent::Waiting(result),
                ..
            } => !result.is_empty() || result.is_terminated(),
            _ => true,
        }
    }

    /// Reads a record and sends it.
    async fn step(&self, object: &[u8]) -> Step {
        let wrong = |code, text: &str| Step::Wrong {
            code,
            text: text.to_owned(),
        };
        let Ok(text) = std::str::from_utf8(object) else {
            return wrong(400, "Bad Request: not UTF-8");
        };
        let item: Item<'_> = match serde_json::from_str(text) {
            Ok(item) => item,
            Err(error) => return wrong(400, &format!("Bad Request: {error}")),
        };
        let (key, value) = match (content(item.key), content(item.value)) {
            (Ok(key), Ok(value)) => (key, value),
            (Err(text), _) | (_, Err(text)) => return wrong(422, &text),
        };
        let timestamp = match item.timestamp.map(|text| text.parse::<jiff::Timestamp>()) {
            None => None,
            // one that the broker refuses would fail everything that stands in a batch with it
            Some(Ok(time)) if time.as_millisecond() < 0 || time > jiff::Timestamp::now() + AHEAD => {
                return wrong(
                    400,
                    "Bad Request: the timestamp is before 1970 or more than an hour ahead",
                );
            }
            Some(Ok(time)) => Some(time.as_millisecond()),
            Some(Err(_)) => {
                return wrong(
                    400,
                    "Bad Request: the timestamp is not of the form 2026-01-02T03:04:05Z",
                );
            }
        };
        let mut headers = item
            .headers
            .as_ref()
            .map(|headers| OwnedHeaders::new_with_capacity(headers.len()));
        for header in item.headers.into_iter().flatten() {
            let value = header.value.map(|value| STANDARD.decode(&*value)).transpose();
            let Ok(value) = value else {
                return wrong(422, "a header's value is base64");
            };
            let (name, value) = (&*header.name, value.as_deref());
            if name.contains('\0') {
                return wrong(422, "a header's name holds no NUL");
            }
            headers = headers.map(|headers| headers.insert(Header { key: name, value }));
        }
        if let Some(partition) = item.partition_id {
            match self.state.topics.has_partition(&self.topic, partition).await {
                Ok(true) => {}
                Ok(false) => return wrong(40402, "Partition not found."),
                Err(_) => return wrong(50003, "Kafka does not answer"),
            }
        }
        let timeout = self.state.limits.body_timeout;
        let Ok(permit) = self.state.budget.wait(object.len() + RECORD_OVERHEAD, timeout).await else {
            self.state.metrics.shed();
            return wrong(42901, "Too much is on its way to Kafka, try again");
        };
        let text = value
            .as_ref()
            .filter(|_| key.is_none())
            .map(|(_, bytes)| std::str::from_utf8(bytes));
        let ind = text.and_then(Result::ok);
        let ind = ind.and_then(|text| record::key_of(text, &self.state.key_fields).ok().flatten());
        let record = Record {
            key: key.as_ref().map(|(_, bytes)| &**bytes),
            ind,
            value: value.as_ref().map(|(_, bytes)| &**bytes),
            partition: item.partition_id,
            headers,
            timestamp,
        };
        let sent = self.state.send(&self.topic, record, &Arc::new(permit));
        let size = |content: Option<(&'static str, Cow<'_, [u8]>)>| {
            content.map(|(kind, bytes)| Size {
                kind,
                size: bytes.len(),
            })
        };
        Step::Sent {
            sent,
            key: size(key),
            value: size(value),
        }
    }

    /// A record's report, once its result is known; the status that fits, and whether Kafka has it.
    async fn report(&self, step: Step) -> (StatusCode, String, bool) {
        let (sent, key, value) = match step {
            Step::Wrong { code, text } => {
                let number = if code > 999 { code / 100 } else { code };
                let status = u16::try_from(number)
                    .ok()
                    .and_then(|number| StatusCode::from_u16(number).ok());
                return (
                    status.unwrap_or(StatusCode::BAD_REQUEST),
                    error_report(code, &text),
                    false,
                );
            }
            Step::Sent { sent, key, value } => (sent, key, value),
        };
        let at = match self.state.delivered(&self.topic, sent).await {
            Ok(at) => at,
            Err(error) => {
                let (status, code, text) = match error {
                    DeliveryError::Retry(text) => (StatusCode::SERVICE_UNAVAILABLE, 50003, text),
                    DeliveryError::TooLarge(text) => (StatusCode::PAYLOAD_TOO_LARGE, 413, text),
                    DeliveryError::NoTopic => (StatusCode::NOT_FOUND, 40403, NO_TOPIC_PARTITION.to_owned()),
                    DeliveryError::NoPartition(_) => (StatusCode::NOT_FOUND, 40402, "Partition not found.".to_owned()),
                    DeliveryError::Invalid(text) => (StatusCode::BAD_REQUEST, 400, text),
                    DeliveryError::Refused(text) => (StatusCode::INTERNAL_SERVER_ERROR, 50002, text),
                };
                return (status, error_report(code, &text), false);
            }
        };
        let quote = |text: &str| serde_json::to_string(text).unwrap_or_default();
        let (cluster, topic) = (quote(&self.cluster), quote(&self.name));
        let time = jiff::Timestamp::from_millisecond(at.timestamp).unwrap_or_default();
        let (partition, offset) = (at.partition, at.offset);
        let mut report = format!(
            "{{\"error_code\":200,\"cluster_id\":{cluster},\"topic_name\":{topic},\"partition_id\":{partition},\
             \"offset\":{offset},\"timestamp\":\"{time:.3}\""
        );
        for (name, size) in [("key", key), ("value", value)] {
            if let Some(Size { kind, size }) = size {
                write!(report, ",\"{name}\":{{\"type\":\"{kind}\",\"size\":{size}}}").expect("writing to a String");
            }
        }
        report.push('}');
        report.push_str(END);
        (StatusCode::OK, report, true)
    }
}

fn error_report(code: u32, text: &str) -> String {
    error_json(code, text) + END
}
