//! A record of version 3 on its way to Kafka: where it goes, why it is not sent, and what is reported of it. Streams and
//! batches take the same records and report the same.

use super::api_error::ApiError;
use super::budget::Permit;
use super::media_type::MediaType;
use super::metadata::TopicError;
use super::producer::{Delivered, DeliveryError};
use super::record;
use super::rest::{self, DENIED, NO_TOPIC_PARTITION, UNAUTHENTICATED};
use super::rest_v3_item::{Item, content, record_headers, timestamp};
use super::send::{Record, Sent};
use super::state::State;
use super::topics::Topic;
use http_server::Refusal;
use http_server::quote::{self, JsonNumber};
use hyper::StatusCode;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

/// A cluster's id is repeated in every report.
const CLUSTER: usize = 255;

/// Where the records of a request go, by the names that the client used.
pub(super) struct Destination {
    pub(super) state: Arc<State>,
    topic: Arc<Topic>,
    cluster: String,
    name: String,
}

/// What became of a record when it was read.
pub(super) enum Outcome {
    /// It is on its way.
    Sent {
        sent: Sent,
        key: Option<Size>,
        value: Option<Size>,
    },
    /// It is not sent, and this is why.
    Failed(Failure),
}

/// Type and size of a key or a value.
pub(super) struct Size {
    kind: &'static str,
    size: usize,
}

/// Why Kafka does not have a record.
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) code: u32,
    pub(super) text: String,
}

/// A record that Kafka has.
pub(super) struct Written {
    at: Delivered,
    key: Option<Size>,
    value: Option<Size>,
}

impl Failure {
    /// The code is the status.
    pub(super) fn new(status: StatusCode, text: impl Into<String>) -> Failure {
        Failure {
            status,
            code: status.as_u16().into(),
            text: text.into(),
        }
    }

    /// As a request is refused for the same reason.
    pub(super) fn refused(error: &ApiError) -> Failure {
        let (status, code, text) = rest::described(error, true);
        Failure { status, code, text }
    }

    fn delivery(error: DeliveryError) -> Failure {
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
        Failure { status, code, text }
    }
}

impl Outcome {
    /// Whether the result of the record is known without waiting.
    pub(super) fn is_known(&self) -> bool {
        match self {
            Outcome::Sent {
                sent: Sent::Waiting(result),
                ..
            } => !result.is_empty() || result.is_terminated(),
            _ => true,
        }
    }
}

impl Destination {
    /// The topic of a request, as far as its head tells. Any id of a cluster is accepted, as by the proxy.
    pub(super) async fn find(
        state: &Arc<State>,
        cluster: &str,
        name: &str,
        media: MediaType,
    ) -> Result<Destination, ApiError> {
        if !matches!(media, MediaType::Absent | MediaType::Json) {
            return Err(ApiError::Media);
        }
        if cluster.len() > CLUSTER {
            return Err(Refusal::NotFound.into());
        }
        let kafka_name = state.topics.named(name);
        let kafka_name = kafka_name.ok_or_else(|| ApiError::NoTopic(name.to_owned()))?;
        let topic = state.topics.get(kafka_name).await;
        Ok(Destination {
            state: Arc::clone(state),
            topic: topic.map_err(|error| ApiError::topic(error, name))?,
            cluster: cluster.to_owned(),
            name: name.to_owned(),
        })
    }

    /// Sends a record; it holds these bytes until it is acknowledged.
    pub(super) async fn send(&self, item: Item<'_>, bytes: &Arc<Permit>) -> Outcome {
        match self.try_send(item, bytes).await {
            Ok(outcome) => outcome,
            Err(failure) => Outcome::Failed(failure),
        }
    }

    async fn try_send(&self, item: Item<'_>, bytes: &Arc<Permit>) -> Result<Outcome, Failure> {
        if let Some(partition) = item.partition_id {
            let held = self.state.topics.partitions(&self.topic, partition.0).await;
            let held = held.map_err(|error| {
                if error == TopicError::Busy {
                    self.state.metrics.shed();
                }
                Failure::refused(&ApiError::topic(error, &self.name))
            })?;
            if !(0..held).contains(&partition.0) {
                return Err(Failure::refused(&ApiError::NoPartition));
            }
        }
        let unprocessable = |text: String| Failure::new(StatusCode::UNPROCESSABLE_ENTITY, text);
        let key = content(item.key).map_err(|error| unprocessable(error.to_string()))?;
        let value = content(item.value).map_err(|error| unprocessable(error.to_string()))?;
        let timestamp = timestamp(item.timestamp.as_deref())
            .map_err(|text| Failure::new(StatusCode::BAD_REQUEST, format!("Bad Request: {text}")))?;
        let headers = record_headers(item.headers.as_ref()).map_err(|error| unprocessable(error.to_string()))?;
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
        let sent = self.state.send(&self.topic, record, bytes);
        let size = |content: Option<(&'static str, Cow<'_, [u8]>)>| {
            content.map(|(kind, bytes)| Size {
                kind,
                size: bytes.len(),
            })
        };
        Ok(Outcome::Sent {
            sent,
            key: size(key),
            value: size(value),
        })
    }

    /// What became of a record, once that is known.
    pub(super) async fn settle(&self, outcome: Outcome) -> Result<Written, Failure> {
        let (sent, key, value) = match outcome {
            Outcome::Failed(failure) => return Err(failure),
            Outcome::Sent { sent, key, value } => (sent, key, value),
        };
        let at = self.state.delivered(&self.topic, sent).await;
        let at = at.map_err(Failure::delivery)?;
        Ok(Written { at, key, value })
    }

    /// What is reported of a record that Kafka has: the fields of an object.
    pub(super) fn fields(&self, written: &Written) -> String {
        let (cluster, topic) = (quote::json(&self.cluster), quote::json(&self.name));
        let Written { at, key, value } = written;
        let (partition, offset) = (at.partition, JsonNumber(at.offset.map(|offset| offset.0)));
        let mut fields =
            format!("\"cluster_id\":{cluster},\"topic_name\":{topic},\"partition_id\":{partition},\"offset\":{offset}");
        let time = at.timestamp.map(jiff::Timestamp::from_millisecond);
        if let Some(Ok(time)) = time {
            write!(fields, ",\"timestamp\":\"{time:.3}\"").expect(WRITING);
        }
        for (name, size) in [("key", key), ("value", value)] {
            if let Some(Size { kind, size }) = size {
                write!(fields, ",\"{name}\":{{\"type\":\"{kind}\",\"size\":{size}}}").expect(WRITING);
            }
        }
        fields
    }
}

const WRITING: &str = "writing to a String";
