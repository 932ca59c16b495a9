//! Finds out where the lines of objects with holes inside stand, before any of them is read.
//!
//! What has been taken in at an offset cannot be taken back, so an object's lines are counted before they are placed
//! between holes. Counted are objects that have come since the last start and may have such holes, and those that nothing but
//! their number of lines shows to be the same as then.

use super::flow::ReplayError;
use super::lake_read::log_place;
use super::phases::Surveyed;
use crate::log::sparse::{self, SparseObject};
use crate::protocol::Assigned;
use ingest::coverage::RangeSet;
use ingest::{Offset, TopicPartition};
use std::collections::BTreeMap;
use std::ops::Range;

impl Surveyed<'_> {
    /// Finds the sparse objects of the lake by what the tables have recorded of Kafka.
    pub(super) async fn find_sparse(&mut self) -> Result<(), ReplayError> {
        let starts = self.read.starts();
        let mut empty: BTreeMap<TopicPartition, RangeSet> = BTreeMap::new();
        let mut reaches: BTreeMap<u32, Option<Range<Offset>>> = BTreeMap::new();
        for (id, object) in (1u32..).zip(&self.read.objects) {
            let Some((at, start)) = log_place(object) else { continue };
            let version = SparseObject::version_of(object);
            if let Some(known) = self.recorded.sparse_object(at, start) {
                if version.is_some() && known.version == version {
                    self.read.sparse.insert(id, known.clone());
                } else {
                    reaches.insert(id, None);
                }
                continue;
            }
            let next = self
                .recorded
                .partitions
                .get(&at)
                .map_or(Offset::ZERO, |reach| reach.next);
            let reach = sparse::reach(start, starts.follower(at, start), next);
            let Some(reach) = reach else { continue };
            let empty = empty.entry(at).or_insert_with(|| self.recorded.empty(at));
            if sparse::may_be_sparse(empty, reach.clone()) {
                reaches.insert(id, Some(reach));
            }
        }
        for topic in 0..3 {
            let of_topic = |id: &u32| self.read.object(*id).topic == Some(topic);
            let new = |(id, reach): (&u32, &Option<Range<Offset>>)| reach.is_some() && of_topic(id);
            // of a compacted topic the numbers tell nothing, and without Kafka nothing says whether it is one
            if reaches.iter().any(new) && self.run.is_compacted(topic).await? != Some(false) {
                reaches.retain(|id, reach| !new((id, reach)));
            }
        }
        if reaches.is_empty() {
            return Ok(());
        }
        tracing::info!(
            objects = reaches.len(),
            "objects that may have holes inside are counted"
        );
        let assigned = |id: &u32| Assigned {
            id: *id,
            object: self.read.object(*id).clone(),
            persisted: false,
            holes: RangeSet::default(),
        };
        self.count(reaches.keys().map(assigned).collect()).await?;
        let counted = self.read.of_log().filter(|object| object.covers.is_none());
        let mut found = BTreeMap::new();
        for object in counted.filter(|object| !self.read.is_damaged(object.object)) {
            let (id, at) = (object.object, object.at());
            let version = SparseObject::version_of(self.read.object(id));
            let known = self.recorded.sparse_object(at, object.start);
            let sparse = match (reaches.remove(&id).flatten(), empty.get(&at)) {
                (Some(reach), Some(empty)) => SparseObject::prove(reach, object.lines, version, empty),
                _ => known
                    .filter(|known| known.lines == object.lines)
                    .map(|known| SparseObject {
                        version,
                        ..known.clone()
                    }),
            };
            found.extend(sparse.map(|sparse| (id, sparse)));
        }
        self.read.begin_pass();
        for (id, sparse) in found {
            let (at, start) = log_place(self.read.object(id)).expect("it has been counted by its place");
            if self.recorded.sparse_object(at, start).is_none() {
                self.read.placed_anew.insert(id);
            }
            self.read.sparse.insert(id, sparse);
        }
        Ok(())
    }
}
