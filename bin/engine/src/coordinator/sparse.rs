//! Finds out where the lines of objects with holes inside stand, before any of them is read.
//!
//! What has been taken in at an offset cannot be taken back, so an object's lines are counted before they are placed
//! between holes. Counted are objects that have come since the last start and may have such holes; the others are known
//! again.

use super::flow::ReplayError;
use super::lake_read::log_place;
use super::phases::Surveyed;
use crate::log::sparse::{self, SparseObject};
use crate::protocol::Assigned;
use ingest::Offset;
use ingest::coverage::RangeSet;
use std::collections::BTreeMap;
use std::ops::Range;

impl Surveyed<'_> {
    /// Finds the sparse objects of the lake by what the tables have recorded of Kafka.
    pub(super) async fn find_sparse(&mut self) -> Result<(), ReplayError> {
        let mut reaches: BTreeMap<u32, Range<Offset>> = BTreeMap::new();
        let mut unknown = Vec::new();
        let (starts, empty) = (self.read.starts(), self.recorded.empty());
        for (id, object) in (1u32..).zip(&self.read.objects) {
            let Some((at, start)) = log_place(object) else { continue };
            let known = self.recorded.sparse.get(&at).and_then(|of| of.get(start));
            let version = SparseObject::version_of(object);
            if let Some(known) = known.filter(|known| version.is_some() && known.version == version) {
                self.read.sparse.insert(id, known.clone());
                continue;
            }
            let next = self
                .recorded
                .partitions
                .get(&at)
                .map_or(Offset::ZERO, |reach| reach.next);
            let reach = sparse::reach(start, starts.follower(at, start), next);
            let empty = empty.get(&at);
            let reach = reach.filter(|reach| empty.is_some_and(|empty| sparse::may_be_sparse(empty, reach.clone())));
            let Some(reach) = reach else { continue };
            reaches.insert(id, reach);
            unknown.push(Assigned {
                id,
                object: object.clone(),
                persisted: false,
                holes: RangeSet::default(),
            });
        }
        if unknown.is_empty() {
            return Ok(());
        }
        // of a compacted topic the numbers tell nothing
        let compaction = self.run.compaction().await?;
        unknown.retain(|one| {
            one.object
                .topic
                .is_some_and(|topic| compaction.get(&topic) == Some(&false))
        });
        if unknown.is_empty() {
            return Ok(());
        }
        tracing::info!(
            objects = unknown.len(),
            "objects that may have holes inside are counted"
        );
        self.count(unknown).await?;
        let counted = self.read.of_log().filter(|object| object.covers.is_none());
        let mut found = BTreeMap::new();
        for object in counted.filter(|object| !self.read.is_damaged(object.object)) {
            let id = object.object;
            let version = SparseObject::version_of(self.read.object(id));
            let (Some(reach), Some(empty)) = (reaches.remove(&id), empty.get(&object.at())) else {
                continue;
            };
            if let Some(sparse) = SparseObject::prove(reach, object.lines, version, empty) {
                found.insert(id, sparse);
            }
        }
        self.read.sparse.extend(found);
        self.read.begin_pass();
        Ok(())
    }
}
