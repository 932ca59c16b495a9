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
use ingest::coverage::{Counted, RangeSet};
use ingest::{Offset, TopicPartition};
use std::collections::BTreeMap;
use std::ops::Range;

/// An object that is counted.
struct Candidate {
    /// What the tables recorded of the one that started there.
    known: Option<SparseObject>,
    /// Where Kafka had its records, if they can be compared.
    reach: Option<Range<Offset>>,
}

impl Surveyed<'_> {
    /// Finds the sparse objects of the lake by what the tables have recorded of Kafka.
    pub(super) async fn find_sparse(&mut self) -> Result<(), ReplayError> {
        let mut candidates = self.recognise_sparse();
        self.drop_unprovable(&mut candidates).await?;
        if !candidates.is_empty() {
            self.count_sparse(candidates).await?;
        }
        self.read.forget_surplus_holes();
        Ok(())
    }

    /// Takes in the objects that are known by their versions; those that have to be counted.
    fn recognise_sparse(&mut self) -> BTreeMap<u32, Candidate> {
        let starts = self.read.starts();
        let mut empty: BTreeMap<TopicPartition, RangeSet> = BTreeMap::new();
        let mut candidates: BTreeMap<u32, Candidate> = BTreeMap::new();
        for (id, object) in (1u32..).zip(&self.read.objects) {
            let Some((at, start)) = log_place(object) else { continue };
            let known = self.recorded.sparse_object(at, start);
            let version = SparseObject::version_of(object);
            if let Some(known) = known.filter(|known| version.is_some() && known.version == version) {
                self.read.sparse.insert(id, known.clone());
                continue;
            }
            let recorded = self.recorded.partitions.get(&at);
            let next = recorded.map_or(Offset::ZERO, |reach| reach.next);
            let empty = empty.entry(at).or_insert_with(|| self.recorded.empty(at));
            let reach = sparse::reach(start, starts.follower(at, start), next);
            let reach = reach.filter(|reach| sparse::may_be_sparse(empty, reach.clone()));
            // in tables of an earlier version it is not certain that the holes are empty
            let reach = reach.filter(|_| !self.recorded.untrusted.contains(&at));
            let known = known.cloned();
            if known.is_some() || reach.is_some() {
                candidates.insert(id, Candidate { known, reach });
            }
        }
        candidates
    }

    async fn count_sparse(&mut self, mut candidates: BTreeMap<u32, Candidate>) -> Result<(), ReplayError> {
        let objects = candidates.len();
        tracing::info!(objects, "objects that may have holes inside are counted");
        let assigned = |id: &u32| Assigned {
            id: *id,
            object: self.read.object(*id).clone(),
            persisted: false,
            holes: RangeSet::default(),
        };
        self.count(candidates.keys().map(assigned).collect()).await?;
        let counted: Vec<Counted> = self.read.of_log().collect();
        let sound = |object: &Counted| object.covers.is_none() && !self.read.is_damaged(object.object);
        let counted: Vec<Counted> = counted.into_iter().filter(sound).collect();
        self.read.begin_pass();
        let mut empty: BTreeMap<TopicPartition, RangeSet> = BTreeMap::new();
        for object in counted {
            let Some(Candidate { known, reach }) = candidates.remove(&object.object) else {
                continue;
            };
            let version = SparseObject::version_of(self.read.object(object.object));
            let same = known.clone().filter(|known| known.lines == object.lines);
            let same = same.map(|known| SparseObject { version, ..known });
            let proved = match (same, reach) {
                (None, Some(reach)) => {
                    let at = object.at();
                    let empty = empty.entry(at).or_insert_with(|| self.recorded.empty(at));
                    SparseObject::prove(reach, object.lines, version, empty)
                }
                (same, _) => same,
            };
            if let Some(sparse) = proved {
                if known.is_none_or(|known| known.holes != sparse.holes) {
                    self.read.placed_anew.insert(object.object);
                }
                self.read.sparse.insert(object.object, sparse);
            }
        }
        Ok(())
    }

    /// In a compacted topic the numbers tell nothing, and without Kafka nothing says whether it is one.
    async fn drop_unprovable(&mut self, candidates: &mut BTreeMap<u32, Candidate>) -> Result<(), ReplayError> {
        for topic in 0..3 {
            let of_topic = |id: &u32| self.read.object(*id).topic == Some(topic);
            let mut reaches = candidates.iter().filter(|(id, _)| of_topic(id));
            if reaches.any(|(_, one)| one.reach.is_some()) && self.run.is_compacted(topic).await? != Some(false) {
                for (id, one) in candidates.iter_mut() {
                    if self.read.object(*id).topic == Some(topic) {
                        one.reach = None;
                    }
                }
            }
        }
        candidates.retain(|_, one| one.known.is_some() || one.reach.is_some());
        Ok(())
    }
}
