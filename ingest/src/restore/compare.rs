//! Reads a restored partition back and compares it with the lake: the same records, in the same order, and no others.

use super::error::{RestoreError, Wrong};
use super::line::Record;
use super::options::RestoreTopic;
use super::stream::{Stream, StreamSource};
use crate::kafka::{Batch, Cluster, KafkaConfig, Polled, Range, Reader, ReaderOptions, Watermarks};
use std::sync::Arc;
use tokio::sync::{Notify, watch};
use values::{Offset, Partition};

/// Bytes of records that wait.
const QUEUE_BYTES: usize = 8 << 20;

/// What is compared.
pub(super) struct Comparison<'a> {
    pub(super) kafka: &'a KafkaConfig,
    pub(super) cluster: &'a Arc<Cluster>,
    pub(super) topic: &'a RestoreTopic,
    pub(super) partition: Partition,
    pub(super) source: &'a StreamSource<'a>,
}

/// What comparing has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Compared {
    /// Records of the lake and of Kafka.
    pub(super) records: u64,
    /// Where Kafka's begin and end.
    pub(super) held: (Offset, Offset),
    /// Whether every one has the offset that it had.
    pub(super) offsets_kept: bool,
}

impl Comparison<'_> {
    /// Compares all records of the partition.
    pub(super) async fn compare(&self, stop: &mut watch::Receiver<bool>) -> Result<Compared, RestoreError> {
        let (cluster, topic, partition) = (Arc::clone(self.cluster), self.topic.into.clone(), self.partition);
        let ask = move || cluster.watermarks(&topic, partition);
        let asked = tokio::task::spawn_blocking(ask).await;
        let marks = asked.map_err(|_| RestoreError::Panicked)??;
        let mut stream = Stream::open(self.source, None, false);
        let compared = self.compare_stream(&mut stream, marks, stop).await;
        let closed = stream.close().await;
        let compared = compared?;
        closed?;
        Ok(compared)
    }

    async fn compare_stream(
        &self,
        stream: &mut Stream<'_>,
        marks: Watermarks,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Compared, RestoreError> {
        let arrived = Arc::new(Notify::new());
        let wake_channel = Arc::clone(&arrived);
        let options = ReaderOptions {
            queue_bytes: QUEUE_BYTES,
            ..ReaderOptions::default()
        };
        let reader = Reader::start(self.kafka, options, Arc::new(move || wake_channel.notify_one()))?;
        reader.assign(Range {
            topic: 0,
            name: self.topic.into.clone(),
            partition: self.partition,
            from: marks.low,
            until: Some(marks.high),
            after: None,
        });
        let mut so_far = Compared {
            records: 0,
            held: (marks.low, marks.high),
            offsets_kept: true,
        };
        let ended = loop {
            let polled = match reader.try_next() {
                Some(polled) => polled,
                None => tokio::select! {
                    _ = stop.wait_for(|stop| *stop) => break Err(RestoreError::Stopped),
                    () = arrived.notified() => continue,
                },
            };
            match polled {
                Polled::Batch(batch) => {
                    if let Err(error) = self.compare_batch(stream, &batch, &mut so_far, stop).await {
                        break Err(error);
                    }
                }
                Polled::Reached { .. } => break self.check_end(stream, marks.high, stop).await,
                Polled::Failed(error) => break Err(error.into()),
            }
        };
        // its thread is waited for
        let dropped = tokio::task::spawn_blocking(move || drop(reader)).await;
        dropped.map_err(|_| RestoreError::Panicked)?;
        ended.map(|()| so_far)
    }

    async fn compare_batch(
        &self,
        stream: &mut Stream<'_>,
        batch: &Batch,
        so_far: &mut Compared,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), RestoreError> {
        for (offset, key, value) in batch.iter() {
            if !stream.is_ready() && !stream.fill_unless(stop).await? {
                return Err(self.spoiled(offset, Wrong::Surplus));
            }
            let record = stream.take();
            let place = so_far.held.0.plus(so_far.records);
            if offset != place || !same(&record, key, value) {
                return Err(self.spoiled(place, Wrong::OtherRecord));
            }
            so_far.records += 1;
            so_far.offsets_kept &= record.offset == offset;
        }
        Ok(())
    }

    async fn check_end(
        &self,
        stream: &mut Stream<'_>,
        end: Offset,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), RestoreError> {
        if stream.fill_unless(stop).await? {
            return Err(self.spoiled(end, Wrong::Missing));
        }
        Ok(())
    }

    fn spoiled(&self, offset: Offset, why: Wrong) -> RestoreError {
        RestoreError::Spoiled {
            topic: self.topic.into.clone(),
            partition: self.partition,
            offset,
            why,
        }
    }
}

fn same(record: &Record<'_>, key: Option<&[u8]>, value: Option<&[u8]>) -> bool {
    record.key.as_deref() == key && record.value.as_deref() == value
}
