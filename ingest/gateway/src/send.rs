//! What the dialects share on the way to Kafka: a record's key, its partition, and the wait for its delivery.

use super::budget::Permit;
use super::placement;
use super::producer::{DeliveryError, DeliveryResult, Outgoing};
use super::state::State;
use super::topics::Topic;
use ingest::Partition;
use rdkafka::message::OwnedHeaders;
use std::sync::Arc;
use tokio::sync::oneshot;

/// A record as a dialect has read it.
#[derive(Default)]
pub(super) struct Record<'a> {
    /// The key that the client gave, stored with the record.
    pub(super) key: Option<&'a [u8]>,
    /// The key that the client gave to place the record, and that is not stored.
    pub(super) placed_by: Option<&'a [u8]>,
    /// The key found in the value.
    pub(super) ind: Option<i64>,
    /// The value; `None` is a tombstone.
    pub(super) value: Option<&'a [u8]>,
    /// The partition that the client gave.
    pub(super) partition: Option<Partition>,
    pub(super) headers: Option<OwnedHeaders>,
    pub(super) timestamp: Option<i64>,
}

/// A record that was handed to Kafka's client, or was refused at once.
pub(super) enum Sent {
    Failed(DeliveryError),
    Waiting(oneshot::Receiver<DeliveryResult>),
}

impl State {
    /// Hands a record to Kafka's client.
    pub(super) fn send(&self, topic: &Topic, record: Record<'_>, bytes: &Arc<Permit>) -> Sent {
        let ind = record.ind.map(|ind| ind.to_string());
        let ind = ind.as_deref().map(str::as_bytes);
        // one key, one partition: what a record is about decides, before what its sender calls it
        let sent_key = record.key.or(record.placed_by);
        let placed = || placement::partition_of(record.ind, sent_key, &self.key_fields, topic.pinned);
        let outgoing = Outgoing {
            topic: &topic.name,
            partition: record.partition.or_else(placed),
            key: record.key.or(ind),
            value: record.value,
            headers: record.headers,
            timestamp: record.timestamp,
        };
        match self.topics.producer.send(&outgoing, bytes) {
            Ok(receiver) => Sent::Waiting(receiver),
            Err(error) => Sent::Failed(error),
        }
    }

    /// Waits for the result of a delivery.
    pub(super) async fn delivered(&self, topic: &Topic, sent: Sent) -> DeliveryResult {
        let result = match sent {
            Sent::Failed(failure) => Err(failure),
            Sent::Waiting(receiver) => receiver
                .await
                .unwrap_or_else(|_| Err(DeliveryError::Retry("the gateway is ending".to_owned()))),
        };
        if let Err(error) = &result {
            self.metrics.failed(error.reason());
            // a partition that is not there, of those that there were: it is another topic
            if matches!(error, DeliveryError::NoTopic | DeliveryError::NoPartition(_)) {
                self.topics.forget(&topic.name);
            }
        }
        result
    }
}
