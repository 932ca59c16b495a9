//! Writes what a topic lacks of a partition, in windows, each acknowledged as a whole before the next one begins.
//!
//! Where it begins is always found out from the topic itself: at the start, and again after a window that Kafka did not
//! acknowledge, of which it may have the beginning.

use super::claim::{Claim, WindowGuard};
use super::error::{RestoreError, Wrong};
use super::headers::Origin;
use super::line::Record;
use super::options::RestoreTopic;
use super::producer::{Outgoing, Producer, WindowError};
use super::stream::{Stream, StreamSource};
use super::target::{LastRecord, Restored, of_partition};
use super::timeouts::Timeouts;
use crate::failpoint;
use crate::kafka::{Cluster, KafkaConfig, LibrdkafkaError};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use values::Partition;

/// A window ends at so many bytes of keys and values.
const WINDOW_BYTES: usize = 4 << 20;
/// A window ends at so many records.
const WINDOW_RECORDS: usize = 20_000;
/// A window waits for records of the lake for this long.
const GATHER: Duration = Duration::from_millis(200);
/// After a window that was not acknowledged: by then all replicas that are in sync have the same records (Kafka's
/// `replica.lag.time.max.ms`), so that the end of the partition is the end of what was written.
const CATCH_UP: Duration = Duration::from_secs(35);
/// Between two looks of which the first one met no answer.
const PAUSE: Duration = Duration::from_secs(1);
/// How long nothing may be acknowledged.
const PATIENCE: Duration = Duration::from_secs(300);

/// What one partition is written with.
pub(super) struct Writing<'a> {
    pub(super) kafka: &'a KafkaConfig,
    pub(super) cluster: &'a Arc<Cluster>,
    pub(super) topic: &'a RestoreTopic,
    pub(super) partition: Partition,
    pub(super) source: &'a StreamSource<'a>,
    pub(super) claim: &'a Claim,
    pub(super) timeouts: Timeouts,
    /// The bytes that the topic takes in one batch, if known.
    pub(super) batch_bytes: Option<u64>,
}

/// Why an attempt ended before the last record.
enum Interrupted {
    /// Kafka did not acknowledge a window.
    Unacknowledged(LibrdkafkaError),
    /// This does not pass.
    Final(RestoreError),
}

impl From<RestoreError> for Interrupted {
    fn from(error: RestoreError) -> Interrupted {
        Interrupted::Final(error)
    }
}

impl Writing<'_> {
    /// Writes all that is missing behind what is restored; how many records that were.
    pub(super) async fn write(
        &self,
        mut restored: Restored,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<u64, RestoreError> {
        let before = restored.records();
        let mut progress = Instant::now();
        loop {
            match self.attempt(&restored, &mut progress, stop).await {
                Ok(records) => return Ok(records - before),
                Err(Interrupted::Final(error)) => return Err(error),
                Err(Interrupted::Unacknowledged(source)) => {
                    let (topic, partition) = (self.topic.into.clone(), self.partition);
                    if progress.elapsed() >= PATIENCE {
                        return Err(RestoreError::Unacknowledged {
                            topic,
                            partition,
                            waited: PATIENCE,
                            source,
                        });
                    }
                    tracing::warn!(
                        "Kafka did not acknowledge records of {topic}/{partition}: {source}; looking again in {CATCH_UP:?}"
                    );
                    tokio::select! {
                        _ = stop.wait_for(|stop| *stop) => return Err(RestoreError::Stopped),
                        () = tokio::time::sleep(CATCH_UP) => {}
                    }
                    let now = self.look_until_answered(progress, stop).await?;
                    if now.records() > restored.records() {
                        progress = Instant::now();
                    }
                    restored = now;
                }
            }
        }
    }

    /// [`Writing::look`], again and again while Kafka does not answer, for as long as nothing may be acknowledged.
    async fn look_until_answered(
        &self,
        progress: Instant,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Restored, RestoreError> {
        loop {
            match self.look().await {
                Err(RestoreError::Kafka(error)) if error.can_pass() && progress.elapsed() < PATIENCE => {
                    tracing::warn!("{}; asking again", causes::with_causes(&error));
                }
                looked => return looked,
            }
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return Err(RestoreError::Stopped),
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// How far the partition is restored now.
    async fn look(&self) -> Result<Restored, RestoreError> {
        let (cluster, topic, partition) = (Arc::clone(self.cluster), self.topic.clone(), self.partition);
        let look = move || {
            let marks = cluster.watermarks(&topic.into, partition)?;
            of_partition(&cluster, &topic, partition, marks)
        };
        let looked = tokio::task::spawn_blocking(look).await;
        looked.map_err(|_| RestoreError::Panicked)?
    }

    /// Writes behind what is restored, to the end or to the first failure; how many records are there then.
    /// `progress` is when something was acknowledged last.
    async fn attempt(
        &self,
        restored: &Restored,
        progress: &mut Instant,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<u64, Interrupted> {
        let from = restored.last.as_ref().map(|last| last.origin.offset);
        let mut stream = Stream::open(self.source, from, true);
        let written = self.write_stream(&mut stream, restored, progress, stop).await;
        let closed = stream.close().await;
        let written = written?;
        closed?;
        Ok(written)
    }

    async fn write_stream(
        &self,
        stream: &mut Stream<'_>,
        restored: &Restored,
        progress: &mut Instant,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<u64, Interrupted> {
        if let Some(last) = &restored.last {
            self.check_last(stream, restored, last, stop).await?;
        }
        let producer = Producer::new(self.kafka, self.timeouts, self.batch_bytes).map_err(RestoreError::from)?;
        let mut index = restored.records();
        // from a producer that it does not know Kafka takes any batch first, also one behind a batch that it has refused
        let mut most = 1;
        while stream.fill_unless(stop).await? {
            let window = self.claim.begin().await?;
            let sent = self
                .send_window(&window, &producer, stream, restored, &mut index, most)
                .await;
            let settled = producer.settle().await;
            drop(window);
            settled.map_err(|error| self.interrupted(error))?;
            *progress = Instant::now();
            sent?;
            most = WINDOW_RECORDS;
        }
        Ok(index)
    }

    /// Sends the records that are there, and those that come soon, so many at most.
    async fn send_window(
        &self,
        window: &WindowGuard<'_>,
        producer: &Producer,
        stream: &mut Stream<'_>,
        restored: &Restored,
        index: &mut u64,
        most: usize,
    ) -> Result<(), Interrupted> {
        let deadline = tokio::time::Instant::now() + GATHER;
        let (mut bytes, mut records) = (0, 0);
        while bytes < WINDOW_BYTES && records < most {
            if !stream.is_ready() {
                match tokio::time::timeout_at(deadline, stream.fill()).await {
                    Ok(Ok(true)) => {}
                    Ok(Err(error)) => return Err(error.into()),
                    Ok(Ok(false)) | Err(_) => break,
                }
            }
            // asked for each record: the process may be frozen anywhere
            if !window.is_open() {
                break;
            }
            let record = stream.take();
            bytes += size(&record);
            records += 1;
            let sent = self.send(producer, restored, *index, &record);
            sent.map_err(|error| self.interrupted(error))?;
            *index += 1;
        }
        Ok(())
    }

    fn send(
        &self,
        producer: &Producer,
        restored: &Restored,
        index: u64,
        record: &Record<'_>,
    ) -> Result<(), WindowError> {
        let origin = Origin {
            index,
            offset: record.offset,
        };
        let sent = producer.send(Outgoing {
            topic: &self.topic.into,
            partition: self.partition,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: origin.to_headers(&self.topic.name, self.partition),
            place: restored.base.plus(index),
            original: record.offset,
        });
        failpoint::reach(failpoint::RESTORE_IN_WINDOW);
        sent
    }

    /// The record that was restored last must be the one that the lake has at its offset.
    async fn check_last(
        &self,
        stream: &mut Stream<'_>,
        restored: &Restored,
        last: &LastRecord,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), RestoreError> {
        let same = stream.fill_unless(stop).await? && {
            let record = stream.take();
            record.offset == last.origin.offset
                && record.key.as_deref() == last.key.as_deref()
                && record.value.as_deref() == last.value.as_deref()
        };
        if same {
            Ok(())
        } else {
            Err(RestoreError::Spoiled {
                topic: self.topic.into.clone(),
                partition: self.partition,
                offset: restored.base.plus(last.origin.index),
                why: Wrong::OtherRecord,
            })
        }
    }

    fn interrupted(&self, error: WindowError) -> Interrupted {
        let (topic, partition) = (self.topic.into.clone(), self.partition);
        match error {
            WindowError::Unacknowledged(source) => Interrupted::Unacknowledged(source),
            WindowError::Refused {
                original,
                bytes,
                source,
            } => Interrupted::Final(RestoreError::Refused {
                topic,
                partition,
                offset: original,
                bytes,
                source,
            }),
            WindowError::Displaced { found } => Interrupted::Final(RestoreError::Spoiled {
                topic,
                partition,
                offset: found,
                why: Wrong::OtherWriter,
            }),
        }
    }
}

fn size(record: &Record<'_>) -> usize {
    let size = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
    size(record.key.as_deref()) + size(record.value.as_deref())
}
