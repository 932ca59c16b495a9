//! Which object of the lake holds an offset, and what it says there: by a listing of the lake, made when it is asked for
//! and kept for a minute.
//!
//! The name is a help for people, and an answer does not depend on it: where the lake cannot be listed in time, or has
//! more objects than are kept, there is none. Of objects that overlap, as before and after a compaction, the one that
//! begins last is named.

use engine::{LakeSource, Topics};
use ingest::TopicPartition;
use ingest::lake::{LakeError, Listing, Object, ObjectMetadata};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// How long a listing is used.
const KEPT: Duration = Duration::from_secs(60);
/// How long a request waits for a listing.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request waits for a line of an object.
const LINE_TIMEOUT: Duration = Duration::from_secs(5);
/// Objects that are kept at most.
const MOST: usize = 200_000;

/// The objects of a lake by the offsets that they begin with.
#[derive(Debug, Default)]
pub struct Names(BTreeMap<TopicPartition, Vec<(i64, Object)>>);

impl Names {
    fn of(listing: Listing) -> Names {
        let mut names = Names::default();
        if listing.objects.len() > MOST {
            return names;
        }
        for object in listing.objects {
            if let Some((topic, partition, start)) = object.log_place() {
                let at = TopicPartition::new(topic, partition);
                names.0.entry(at).or_default().push((start.0, object));
            }
        }
        for objects in names.0.values_mut() {
            objects.sort_unstable_by(|(a, at_a), (b, at_b)| (a, &at_a.key).cmp(&(b, &at_b.key)));
        }
        names
    }

    /// The object that holds an offset which the lake covers.
    pub fn of_offset(&self, at: TopicPartition, offset: i64) -> Option<&str> {
        self.object(at, offset).map(|(_, object)| &*object.key)
    }

    /// The same with the offset that it begins with.
    fn object(&self, at: TopicPartition, offset: i64) -> Option<&(i64, Object)> {
        let objects = self.0.get(&at)?;
        let behind = objects.partition_point(|(start, _)| *start <= offset);
        objects[..behind].last()
    }
}

/// See the module's head.
#[derive(Debug)]
pub struct Objects {
    lake: Option<LakeSource>,
    topics: Topics,
    /// The last attempt, also one that failed: who asks next does not wait for the same again.
    listed: Mutex<Option<(Instant, Arc<Names>)>>,
}

impl Objects {
    /// Of a lake, if the run reads one.
    pub fn new(lake: Option<LakeSource>, topics: Topics) -> Objects {
        Objects {
            lake,
            topics,
            listed: Mutex::new(None),
        }
    }

    /// The names as they are now, or were less than a minute ago.
    pub async fn names(&self) -> Arc<Names> {
        let Some(lake) = &self.lake else {
            return Arc::default();
        };
        // who comes meanwhile waits for this listing and makes none
        let mut listed = self.listed.lock().await;
        if let Some((at, names)) = &*listed
            && at.elapsed() < KEPT
        {
            return Arc::clone(names);
        }
        let names = match tokio::time::timeout(TIMEOUT, list(lake, &self.topics)).await {
            Ok(Ok(listing)) => Names::of(listing),
            Ok(Err(error)) => {
                tracing::debug!(error = %causes::with_causes(&error), "the lake cannot be listed: objects have no names");
                Names::default()
            }
            Err(_) => {
                tracing::debug!("the lake is not listed in {TIMEOUT:?}: objects have no names");
                Names::default()
            }
        };
        let names = Arc::new(names);
        *listed = Some((Instant::now(), Arc::clone(&names)));
        names
    }

    /// What the lake holds at an offset; `None` where it holds nothing, or cannot be read in time.
    pub async fn line(&self, at: TopicPartition, offset: i64, limit: usize) -> Option<Line> {
        let (lake, names) = (self.lake.as_ref()?, self.names().await);
        let (start, object) = names.object(at, offset)?;
        let number = u64::try_from(offset - start).ok()?;
        let read = async { lake.open(None).await?.line(object, number, limit).await };
        match tokio::time::timeout(LINE_TIMEOUT, read).await {
            Ok(Ok(line)) => line.map(|(bytes, metadata): (Vec<u8>, ObjectMetadata)| Line {
                bytes,
                is_ours: metadata.is_ours(),
                deletes: object.deletes,
            }),
            Ok(Err(error)) => {
                tracing::debug!(error = %causes::with_causes(&error), "a record cannot be read again");
                None
            }
            Err(_) => {
                tracing::debug!("{} is not read in {LINE_TIMEOUT:?}", object.key);
                None
            }
        }
    }
}

/// A line of an object.
pub struct Line {
    /// Without its newline.
    pub bytes: Vec<u8>,
    /// Whether the archiver of this project wrote it.
    pub is_ours: bool,
    /// Whether it is the key of a deleted record.
    pub deletes: bool,
}

async fn list(lake: &LakeSource, topics: &Topics) -> Result<Listing, LakeError> {
    lake.open(None).await?.list(&topics.to_list()).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use ingest::lake::{Encoding, Place};
    use ingest::{Offset, Partition};

    fn object(key: &str) -> Object {
        Object {
            key: key.into(),
            size: 1,
            etag: None,
            topic: Some(0),
            place: Place::Log {
                partition: Partition(3),
                start: Offset(0),
            },
            encoding: Encoding::Plain,
            deletes: false,
            sidecar: false,
        }
    }

    #[test]
    fn the_object_that_begins_last_before_an_offset_holds_it() {
        let at = TopicPartition::new(0, Partition(3));
        let objects = [(0, "a"), (10, "b"), (25, "c")].map(|(start, key)| (start, object(key)));
        let names = Names(BTreeMap::from([(at, objects.to_vec())]));
        let of = |offset| names.of_offset(at, offset);
        assert_eq!(
            (of(0), of(9), of(10), of(24), of(99)),
            (Some("a"), Some("a"), Some("b"), Some("b"), Some("c"))
        );
        assert_eq!(
            (of(-1), names.of_offset(TopicPartition::new(1, Partition(3)), 5)),
            (None, None)
        );
    }
}
