//! Objects of the lake, read again as far as the tables answer for them.

use super::error::{Unreadable, VerifyError};
use super::recorded::Recorded;
use super::records::{Reading, Replayed, TakeRejects};
use super::wake::{wait, waker};
use ingest::TopicPartition;
use ingest::coverage::{Counted, LegacyObject};
use ingest::lake::{Class, FetchOptions, Fetched, Fetcher, Lake, Object};
use sinks::Legacy;
use std::collections::HashMap;
use tokio::runtime::Runtime;

/// A lake, and how it is read.
pub struct LakeReader {
    /// The lake.
    pub lake: Lake,
    /// How objects are read.
    pub fetch: FetchOptions,
    /// The topics by number, empty where there is none.
    pub topics: Vec<String>,
}

/// What was learnt from the lake, apart from its records.
#[derive(Default)]
pub struct LakeRead {
    /// Objects of the log.
    pub counted: Vec<Counted>,
    /// Objects without offsets: key, records and digest.
    legacy: Vec<(String, u64, u64)>,
    /// Objects that could not be read to their end.
    pub unreadable: Unreadable,
}

impl LakeReader {
    /// Reads the objects that may hold something the tables answer for.
    pub fn read(
        &self,
        recorded: &Recorded,
        runtime: &Runtime,
        replayed: &mut Replayed,
        rejects: TakeRejects<'_>,
    ) -> Result<LakeRead, VerifyError> {
        let listing = runtime.block_on(self.lake.list(&self.topics))?;
        let mut fetcher = Fetcher::start(self.lake.clone(), runtime.handle().clone(), self.fetch.clone(), waker());
        // older layouts stand first in a listing: their number is their rank, from 1
        let mut reading: HashMap<u32, Reading> = HashMap::new();
        for (object, number) in listing.objects.into_iter().zip(1u32..) {
            if is_wanted(&object, recorded) {
                fetcher.push(number, object.clone());
                reading.insert(number, Reading::of(object));
            }
        }
        tracing::info!(objects = reading.len(), lake = %self.lake.url(), "replaying the lake");
        let mut read = LakeRead::default();
        while !reading.is_empty() {
            let Some(fetched) = fetcher.try_next() else {
                wait();
                continue;
            };
            match fetched {
                Fetched::Opened { id, metadata } => {
                    if let Some(reading) = reading.get_mut(&id) {
                        reading.opened(metadata.map(|metadata| *metadata).unwrap_or_default(), recorded);
                    }
                }
                Fetched::Lines { id, bytes } => {
                    if let Some(reading) = reading.get_mut(&id) {
                        reading.lines += replayed.lines(recorded, reading, &bytes);
                    }
                    fetcher.recycle(bytes);
                }
                Fetched::Whole { id, bytes } => {
                    if let Some(reading) = reading.get_mut(&id) {
                        reading.lines += replayed.legacy(&reading.object, id, &bytes);
                    }
                    fetcher.recycle(bytes);
                }
                Fetched::TooLarge { id, prefix, .. } => {
                    if let Some(reading) = reading.get_mut(&id) {
                        replayed.too_large(recorded, reading, &prefix);
                        reading.lines += 1;
                    }
                }
                Fetched::Done { id, digest, .. } => {
                    if let Some(reading) = reading.remove(&id) {
                        read.count(id, reading, digest);
                    }
                }
                // an outage says nothing about the object
                Fetched::Failed { error, .. } if error.class() != Class::Damaged => return Err(error.into()),
                Fetched::Failed { id, error } => {
                    if let Some(mut reading) = reading.remove(&id) {
                        // no error yet: Kafka may have its records, or the gap was accepted
                        tracing::warn!(object = reading.object.key, error = %causes::with_causes(&error), "an object cannot be read");
                        read.unreadable.0.push(reading.object.key.clone());
                        reading.metadata.covers = None;
                        read.count(id, reading, None);
                    }
                }
            }
            replayed.forward_rejects(rejects)?;
        }
        Ok(read)
    }
}

impl LakeRead {
    fn count(&mut self, number: u32, reading: Reading, digest: Option<u64>) {
        let Reading {
            object,
            metadata,
            lines,
            ..
        } = reading;
        match Counted::of(&object, number, lines, metadata.covers) {
            Some(counted) => self.counted.push(counted),
            // one that was skipped is no part of the digest, here and in the engine
            None => self.legacy.extend(digest.map(|digest| (object.key, lines, digest))),
        }
    }

    /// History without offsets has no range that could be compared: it is the same, or it is not.
    pub fn check_legacy(&self, recorded: Legacy) -> Result<(), VerifyError> {
        if recorded.count == 0 {
            return Ok(());
        }
        let objects = self.legacy.iter().map(|(key, records, digest)| LegacyObject {
            key,
            records: *records,
            digest: *digest,
        });
        let digest = ingest::coverage::legacy_digest(objects);
        let found = Legacy {
            count: digest.records,
            hash: digest.hash,
        };
        if found == recorded {
            return Ok(());
        }
        Err(VerifyError::LegacyDiffers {
            found,
            objects: digest.objects,
            recorded,
            unreadable: self.unreadable.clone(),
        })
    }
}

/// Whether an object may hold something that the tables answer for.
fn is_wanted(object: &Object, recorded: &Recorded) -> bool {
    match object.log_place() {
        Some((topic, partition, start)) => recorded
            .partitions
            .get(&TopicPartition::new(topic, partition))
            .is_some_and(|span| start < span.end),
        // those that came after the last commit are in no table
        None => recorded.legacy.count > 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::Topics;
    use ingest::lake::{Encoding, Place};
    use ingest::{Offset, Partition};
    use sinks::{PartitionProgress, Progress};

    #[test]
    fn objects_past_the_frontier_are_left_alone() {
        let partition = PartitionProgress {
            next: 40,
            ..PartitionProgress::default()
        };
        let progress = Progress {
            partitions: [(("pin".to_owned(), 0), partition)].into(),
            ..Progress::default()
        };
        let recorded = Recorded::of(&progress, &Topics::new([Some("pin".to_owned()), None, None]));
        let object = |topic, place| Object {
            key: "o".into(),
            size: 1,
            etag: None,
            topic,
            place,
            encoding: Encoding::Plain,
            deletes: false,
            sidecar: false,
        };
        let at = |partition, start| object(Some(0), Place::Log { partition, start });
        assert!(is_wanted(&at(Partition(0), Offset(39)), &recorded));
        assert!(!is_wanted(&at(Partition(0), Offset(40)), &recorded));
        assert!(
            !is_wanted(&at(Partition(1), Offset(0)), &recorded),
            "a partition that is in no table yet"
        );
        assert!(
            !is_wanted(&object(None, Place::Legacy), &recorded),
            "history that came later"
        );
    }
}
