//! Confluent's REST proxy, version 3: a stream of records in one request, a stream of reports in its answer.
//!
//! Records are taken as they come, and each is reported as soon as Kafka has acknowledged it and all before it; the
//! end of the request is not waited for. The status of the answer is that of the first record, so that a client that
//! sends one record and looks only at the status knows what became of it. A body that comes faster than Kafka takes it is read
//! more slowly.

use super::body::{Body, BodyError};
use super::budget::RECORD_OVERHEAD;
use super::budget_lease::BudgetLease;
use super::media_type::MediaType;
use super::reply::{JSON, Piece, Reply, ReplyBody};
use super::request_log::RequestLog;
use super::rest::{RestError, error_json};
use super::rest_v3_item::{HEADER_OVERHEAD, HeaderError, Item};
use super::rest_v3_record::{Destination, Failure, Outcome};
use super::rest_v3_source::{RawRecord, Source, SourceError};
use super::split::SplitError;
use super::state::State;
use super::unreported::Reporting;
use bytes::Bytes;
use http_server::{Refusal, RequestGuard};
use hyper::StatusCode;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Records that wait to be delivered, in one stream.
const WAITING: usize = 4096;
/// Pieces of an answer that wait to be written.
const PIECES: usize = 2;
/// Bytes of a piece.
const PIECE: usize = 16 << 10;
/// What stands after each report.
const END: &str = "\r\n";

/// What became of a record when it was read, and what it takes of the budget until that is reported.
struct Step {
    outcome: Outcome,
    reporting: Reporting,
}

/// What the tasks of a stream share.
struct Stream(Destination);

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
    let stream = match Destination::find(state, cluster, name, media).await {
        Ok(destination) => Arc::new(Stream(destination)),
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
            let step = match source.next(&self.0.state, &mut incoming).await {
                Ok(Some(record)) if !incoming.caller().is_valid() => {
                    self.0.state.metrics.refused("token");
                    let failure = Failure::new(StatusCode::UNAUTHORIZED, Refusal::Unauthenticated.to_string());
                    let (outcome, reporting) = (Outcome::Failed(failure), record.reporting);
                    // the writer may have gone
                    let _ = steps.send(Step { outcome, reporting }).await;
                    return source.bytes();
                }
                Ok(Some(record)) => match incoming.caller().take() {
                    Ok(()) => self.step(record).await,
                    Err(error) => {
                        self.0.state.metrics.refused("rate");
                        let failure = Failure::refused(&Refusal::from(error).into());
                        let (outcome, reporting) = (Outcome::Failed(failure), record.reporting);
                        Step { outcome, reporting }
                    }
                },
                Ok(None) | Err(SourceError::Body(BodyError::Broken)) => return source.bytes(),
                Err(error) => {
                    let failure = match error {
                        SourceError::Body(BodyError::TooLarge(limit)) => Failure::new(
                            StatusCode::PAYLOAD_TOO_LARGE,
                            format!("A record has more than {limit} bytes"),
                        ),
                        SourceError::Body(error @ BodyError::NotGzip(_)) => {
                            Failure::new(StatusCode::BAD_REQUEST, error.to_string())
                        }
                        SourceError::Body(_) => {
                            Failure::new(StatusCode::REQUEST_TIMEOUT, "The next record did not come in time")
                        }
                        SourceError::Split(_) => Failure::new(
                            StatusCode::BAD_REQUEST,
                            format!("Bad Request: {}", SplitError::NoObject),
                        ),
                        SourceError::Budget(error) => {
                            self.0.state.metrics.shed();
                            Failure::refused(&error.into())
                        }
                    };
                    let (outcome, reporting) = (Outcome::Failed(failure), source.end(&self.0.state, &incoming));
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
            if !outcome.is_known() && !reports.send(&pieces).await {
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
        let outcome = match self.parse(&object, &mut reporting.lease).await {
            Ok(item) => {
                let lease = &mut reporting.lease;
                let bytes = lease.hand_over(lease.bytes().saturating_sub(RECORD_OVERHEAD));
                self.0.send(item, &Arc::new(bytes)).await
            }
            Err(failure) => Outcome::Failed(failure),
        };
        Step { outcome, reporting }
    }

    /// Reads a record, and takes what its headers cost beside their bytes from the budget.
    async fn parse<'o>(&self, object: &'o Bytes, lease: &mut BudgetLease) -> Result<Item<'o>, Failure> {
        let bad = |text: String| Failure::new(StatusCode::BAD_REQUEST, format!("Bad Request: {text}"));
        let text = std::str::from_utf8(object).map_err(|_| bad("not UTF-8".to_owned()))?;
        let item: Item<'_> = serde_json::from_str(text).map_err(|error| bad(error.to_string()))?;
        let state = &self.0.state;
        let unprocessable = |error: HeaderError| Failure::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string());
        let bytes = item.header_count().map_err(unprocessable)? * HEADER_OVERHEAD;
        if lease.bytes() + bytes > state.budget.total() {
            let text = "The record has more headers than gateway.in_flight_bytes has room for";
            return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, text));
        }
        state.take(lease, bytes).await.map_err(|error| {
            state.metrics.shed();
            Failure::refused(&error.into())
        })?;
        Ok(item)
    }

    /// A record's report, once its result is known; the status that fits, and whether Kafka has it.
    async fn report(&self, outcome: Outcome) -> (StatusCode, String, bool) {
        match self.0.settle(outcome).await {
            Ok(written) => {
                let fields = self.0.fields(&written);
                (StatusCode::OK, format!("{{\"error_code\":200,{fields}}}{END}"), true)
            }
            Err(Failure { status, code, text }) => (status, error_json(code, &text) + END, false),
        }
    }
}
