//! Confluent's REST proxy, version 3: a stream of records in one request, a stream of reports in its answer.
//!
//! Records are taken as they come, and each is reported as soon as Kafka has acknowledged it and all before it; the
//! end of the request is not waited for. The status of the answer is that of the first record, so that a client that
//! sends one record and looks only at the status knows what became of it. A body that comes faster than Kafka takes it is read
//! more slowly.

use super::api_error::ApiError;
use super::body::{Body, BodyError};
use super::budget::RECORD_OVERHEAD;
use super::budget_lease::BudgetLease;
use super::media_type::MediaType;
use super::metadata::TopicError;
use super::producer::DeliveryError;
use super::record;
use super::reply::{JSON, Piece, Reply, ReplyBody};
use super::request_log::RequestLog;
use super::rest::{self, DENIED, NO_TOPIC_PARTITION, RestError, UNAUTHENTICATED, error_json};
use super::rest_v3_item::{HEADERS, Headers, Item, content, record_headers, timestamp};
use super::rest_v3_source::{RawRecord, Source, SourceError};
use super::send::{Record, Sent};
use super::shape::List;
use super::split::SplitError;
use super::state::State;
use super::topics::Topic;
use super::unreported::Reporting;
use bytes::Bytes;
use http_server::quote::{self, JsonNumber};
use http_server::{Refusal, RequestGuard};
use hyper::StatusCode;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Records that wait to be delivered, in one stream.
const WAITING: usize = 4096;
/// Pieces of an answer that wait to be written.
const PIECES: usize = 2;
/// Bytes of a piece.
const PIECE: usize = 16 << 10;
/// A cluster's id is repeated in every report.
const CLUSTER: usize = 255;
/// What a header of a record costs beside its bytes, here and in librdkafka.
const HEADER_OVERHEAD: usize = 96;
/// What stands after each report.
const END: &str = "\r\n";

/// What became of a record when it was read, and what it takes of the budget until that is reported.
struct Step {
    outcome: Outcome,
    reporting: Reporting,
}

enum Outcome {
    /// It is on its way.
    Sent {
        sent: Sent,
        key: Option<Size>,
        value: Option<Size>,
    },
    /// It is not sent, and this is why.
    Wrong {
        status: StatusCode,
        code: u32,
        text: String,
    },
}

impl Outcome {
    /// The code is the status.
    fn wrong(status: StatusCode, text: impl Into<String>) -> Outcome {
        Outcome::Wrong {
            status,
            code: status.as_u16().into(),
            text: text.into(),
        }
    }

    /// As a request is refused for the same reason.
    fn refused(error: &ApiError) -> Outcome {
        let (status, code, text) = rest::described(error, true);
        Outcome::Wrong { status, code, text }
    }
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

/// A request of which nothing is served yet.
pub(super) struct Request {
    pub(super) incoming: Body,
    pub(super) log: RequestLog,
    pub(super) guard: RequestGuard,
}

/// `POST /v3/clusters/{cluster}/topics/{topic}/records`. With an error the request comes back.
pub(super) async fn stream(
    state: &Arc<State>,
    cluster: &str,
    name: &str,
    media: MediaType,
    request: Request,
) -> Result<Reply, (Request, RestError)> {
    let topic = match topic(state, cluster, name, media).await {
        Ok(topic) => topic,
        Err(error) => return Err((request, error.into())),
    };
    let mut request = request;
    let mut source = Source::new(state, &request.incoming);
    // the first record decides about the status
    let first = match source.next(state, &mut request.incoming).await {
        Ok(Some(record)) => record,
        Ok(None) => return Err((request, RestError::NoInput)),
        Err(error) => return Err((request, error.into())),
    };
    let Request { incoming, log, guard } = request;
    let (cluster, name) = (cluster.to_owned(), name.to_owned());
    let stream = Arc::new(Stream {
        state: Arc::clone(state),
        topic,
        cluster,
        name,
    });
    let Step { outcome, reporting } = stream.step(first).await;
    let (status, text, written) = stream.report(outcome).await;
    let reported = vec![reporting];
    let report = Reports { text, reported };
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
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        reply.retry_after = Some(1);
    }
    reply.body = ReplyBody::Pieces {
        pieces: body,
        _guard: guard,
    };
    Ok(reply)
}

/// The topic of a request, as far as its head tells.
async fn topic(state: &Arc<State>, cluster: &str, name: &str, media: MediaType) -> Result<Arc<Topic>, ApiError> {
    if !matches!(media, MediaType::Absent | MediaType::Json) {
        return Err(ApiError::Media);
    }
    if cluster.len() > CLUSTER {
        return Err(Refusal::NotFound.into());
    }
    let kafka_name = state.topics.named(name);
    let kafka_name = kafka_name.ok_or_else(|| ApiError::NoTopic(name.to_owned()))?;
    let topic = state.topics.get(kafka_name).await;
    topic.map_err(|error| ApiError::topic(error, name))
}

async fn stop(reading: tokio::task::JoinHandle<u64>) -> u64 {
    let abort = reading.abort_handle();
    let read = tokio::time::timeout(std::time::Duration::from_millis(100), reading).await;
    abort.abort();
    read.ok().and_then(Result::ok).unwrap_or(0)
}

/// Reports that are not written yet.
#[derive(Default)]
struct Reports {
    text: String,
    reported: Vec<Reporting>,
}

impl Reports {
    /// Hands them over to be written; false when the client has gone.
    async fn send(&mut self, pieces: &mpsc::Sender<Piece>) -> bool {
        if self.text.is_empty() {
            return true;
        }
        let Reports { text, reported } = std::mem::take(self);
        let piece = Piece {
            bytes: text.into(),
            _reported: reported,
        };
        pieces.send(piece).await.is_ok()
    }
}

impl Stream {
    /// Takes the records of the request until it ends, or the writer has gone.
    async fn read(&self, mut incoming: Body, mut source: Source, steps: mpsc::Sender<Step>) -> u64 {
        loop {
            let step = match source.next(&self.state, &mut incoming).await {
                Ok(Some(record)) if !incoming.caller().is_valid() => {
                    self.state.metrics.refused("token");
                    let outcome = Outcome::wrong(StatusCode::UNAUTHORIZED, Refusal::Unauthenticated.to_string());
                    let reporting = record.reporting;
                    // the writer may have gone
                    let _ = steps.send(Step { outcome, reporting }).await;
                    return source.bytes();
                }
                Ok(Some(record)) => match incoming.caller().take() {
                    Ok(()) => self.step(record).await,
                    Err(error) => {
                        self.state.metrics.refused("rate");
                        let outcome = Outcome::refused(&Refusal::from(error).into());
                        let reporting = record.reporting;
                        Step { outcome, reporting }
                    }
                },
                Ok(None) | Err(SourceError::Body(BodyError::Broken)) => return source.bytes(),
                Err(error) => {
                    let outcome = match error {
                        SourceError::Body(BodyError::TooLarge(limit)) => Outcome::wrong(
                            StatusCode::PAYLOAD_TOO_LARGE,
                            format!("A record has more than {limit} bytes"),
                        ),
                        SourceError::Body(_) => {
                            Outcome::wrong(StatusCode::REQUEST_TIMEOUT, "The next record did not come in time")
                        }
                        SourceError::Split(_) => Outcome::wrong(
                            StatusCode::BAD_REQUEST,
                            format!("Bad Request: {}", SplitError::NoObject),
                        ),
                        SourceError::Budget(error) => {
                            self.state.metrics.shed();
                            Outcome::refused(&error.into())
                        }
                    };
                    let reporting = source.end(&self.state, &incoming);
                    // the writer may have gone
                    let _ = steps.send(Step { outcome, reporting }).await;
                    return source.bytes();
                }
            };
            if steps.send(step).await.is_err() {
                return source.bytes();
            }
        }
    }

    /// Writes reports until there are no more records; returns how many were taken by Kafka.
    async fn write(&self, mut waiting: mpsc::Receiver<Step>, pieces: mpsc::Sender<Piece>, first: Reports) -> u64 {
        let (mut reports, mut written) = (first, 0);
        loop {
            let step = match waiting.try_recv() {
                Ok(step) => Some(step),
                Err(_) => {
                    // nothing to add: what is there goes out
                    if !reports.send(&pieces).await {
                        return written;
                    }
                    waiting.recv().await
                }
            };
            let Some(Step { outcome, reporting }) = step else { break };
            if !is_known(&outcome) && !reports.send(&pieces).await {
                return written;
            }
            let (_, report, taken) = self.report(outcome).await;
            written += u64::from(taken);
            reports.text.push_str(&report);
            reports.reported.push(reporting);
            if reports.text.len() >= PIECE && !reports.send(&pieces).await {
                return written;
            }
        }
        // the client may have gone; its records are in Kafka all the same
        reports.send(&pieces).await;
        written
    }

    /// Reads a record and sends it.
    async fn step(&self, record: RawRecord) -> Step {
        let RawRecord { object, mut reporting } = record;
        let outcome = self.outcome(&object, &mut reporting.lease).await;
        Step { outcome, reporting }
    }

    async fn outcome(&self, object: &Bytes, lease: &mut BudgetLease) -> Outcome {
        let Ok(text) = std::str::from_utf8(object) else {
            return Outcome::wrong(StatusCode::BAD_REQUEST, "Bad Request: not UTF-8");
        };
        let item: Item<'_> = match serde_json::from_str(text) {
            Ok(item) => item,
            Err(error) => return Outcome::wrong(StatusCode::BAD_REQUEST, format!("Bad Request: {error}")),
        };
        if let Some(partition) = item.partition_id {
            match self.state.topics.partitions(&self.topic, partition.0).await {
                Ok(held) if (0..held).contains(&partition.0) => {}
                Ok(_) => return Outcome::refused(&ApiError::NoPartition),
                Err(error) => {
                    if error == TopicError::Busy {
                        self.state.metrics.shed();
                    }
                    return Outcome::refused(&ApiError::topic(error, &self.name));
                }
            }
        }
        let (key, value) = match (content(item.key), content(item.value)) {
            (Ok(key), Ok(value)) => (key, value),
            (Err(error), _) | (_, Err(error)) => {
                return Outcome::wrong(StatusCode::UNPROCESSABLE_ENTITY, error.to_string());
            }
        };
        let timestamp = match timestamp(item.timestamp.as_deref()) {
            Ok(timestamp) => timestamp,
            Err(text) => return Outcome::wrong(StatusCode::BAD_REQUEST, format!("Bad Request: {text}")),
        };
        if let Err(wrong) = self.take_headers(item.headers.as_ref(), lease).await {
            return wrong;
        }
        let headers = match record_headers(item.headers.as_ref()) {
            Ok(headers) => headers,
            Err(error) => return Outcome::wrong(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()),
        };
        let text = value.as_ref().map(|(_, bytes)| std::str::from_utf8(bytes));
        let ind = text.and_then(Result::ok);
        let ind = ind.and_then(|text| record::key_of(text, &self.state.key_fields).ok().flatten());
        let record = Record {
            key: key.as_ref().map(|(_, bytes)| &**bytes),
            ind,
            value: value.as_ref().map(|(_, bytes)| &**bytes),
            partition: item.partition_id,
            headers,
            timestamp,
            ..Record::default()
        };
        let bytes = lease.hand_over(lease.bytes().saturating_sub(RECORD_OVERHEAD));
        let sent = self.state.send(&self.topic, record, &Arc::new(bytes));
        let size = |content: Option<(&'static str, Cow<'_, [u8]>)>| {
            content.map(|(kind, bytes)| Size {
                kind,
                size: bytes.len(),
            })
        };
        Outcome::Sent {
            sent,
            key: size(key),
            value: size(value),
        }
    }

    /// Takes what headers cost beside their bytes from the budget.
    async fn take_headers(&self, headers: Option<&Headers<'_>>, lease: &mut BudgetLease) -> Result<(), Outcome> {
        let count = headers.map_or(0, |List(headers)| headers.len());
        if count > HEADERS {
            return Err(Outcome::wrong(
                StatusCode::UNPROCESSABLE_ENTITY,
                format!("a record has at most {HEADERS} headers"),
            ));
        }
        let bytes = count * HEADER_OVERHEAD;
        if lease.bytes() + bytes > self.state.budget.total() {
            let text = "The record has more headers than gateway.in_flight_bytes has room for";
            return Err(Outcome::wrong(StatusCode::PAYLOAD_TOO_LARGE, text));
        }
        self.state.take(lease, bytes).await.map_err(|error| {
            self.state.metrics.shed();
            Outcome::refused(&error.into())
        })
    }

    /// A record's report, once its result is known; the status that fits, and whether Kafka has it.
    async fn report(&self, outcome: Outcome) -> (StatusCode, String, bool) {
        let (sent, key, value) = match outcome {
            Outcome::Wrong { status, code, text } => return (status, error_report(code, &text), false),
            Outcome::Sent { sent, key, value } => (sent, key, value),
        };
        let at = match self.state.delivered(&self.topic, sent).await {
            Ok(at) => at,
            Err(error) => {
                let (status, code, text) = match error {
                    DeliveryError::Retry(text) => (StatusCode::SERVICE_UNAVAILABLE, 50003, text),
                    DeliveryError::TooLarge(text) => (StatusCode::PAYLOAD_TOO_LARGE, 413, text),
                    DeliveryError::NoTopic => (StatusCode::NOT_FOUND, 40403, NO_TOPIC_PARTITION.to_owned()),
                    DeliveryError::NoPartition(_) => (StatusCode::NOT_FOUND, 40402, "Partition not found.".to_owned()),
                    DeliveryError::Denied => (StatusCode::FORBIDDEN, DENIED, error.to_string()),
                    DeliveryError::Unauthenticated => (StatusCode::UNAUTHORIZED, UNAUTHENTICATED, error.to_string()),
                    DeliveryError::Invalid(text) => (StatusCode::BAD_REQUEST, 400, text),
                    DeliveryError::Refused(text) => (StatusCode::INTERNAL_SERVER_ERROR, 50002, text),
                };
                return (status, error_report(code, &text), false);
            }
        };
        let quote = quote::json;
        let (cluster, topic) = (quote(&self.cluster), quote(&self.name));
        let (partition, offset) = (at.partition, JsonNumber(at.offset.map(|offset| offset.0)));
        let mut report = format!(
            "{{\"error_code\":200,\"cluster_id\":{cluster},\"topic_name\":{topic},\"partition_id\":{partition},\
             \"offset\":{offset}"
        );
        let time = at.timestamp.map(jiff::Timestamp::from_millisecond);
        if let Some(Ok(time)) = time {
            write!(report, ",\"timestamp\":\"{time:.3}\"").expect("writing to a String");
        }
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

/// Whether the result of a record is known without waiting.
fn is_known(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Sent {
            sent: Sent::Waiting(result),
            ..
        } => !result.is_empty() || result.is_terminated(),
        _ => true,
    }
}

fn error_report(code: u32, text: &str) -> String {
    error_json(code, text) + END
}
