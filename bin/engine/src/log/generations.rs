//! Generations: the order of a topic's records when partitions were added to it.
//!
//! A producer that places records by their key moves keys when partitions are added, so a newer record may stand at a
//! smaller offset of another partition. Records are therefore ordered by (generation, offset, partition), and each added
//! partition begins a generation: of the partition itself at offset 0, and of every older partition at a *boundary*, its
//! high watermark when the growth was found. Partitions that are found together begin one generation each, in the order
//! of their numbers.
//!
//! A boundary may be chosen once. The lake is the place that all engines share, so the boundary that was written there
//! first is everyone's ([`Generations::merged`]); the tables record what they were made with.

use ingest::{Offset, Partition, TopicPartition};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Where a generation begins in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Start {
    /// The first offset.
    pub offset: Offset,
    /// The generation, 2 or more: what lies before every start is of generation 1.
    pub generation: u8,
}

/// The generation of the record at `offset`, by the ascending starts of its partition.
pub fn generation_at(starts: &[Start], offset: Offset) -> u8 {
    let begun = starts.partition_point(|start| start.offset <= offset);
    begun.checked_sub(1).map_or(1, |last| starts[last].generation)
}

/// A topic has grown more often than generations can be numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("partitions were added more than 254 times, and no more generations can be told apart")]
pub struct TooManyGenerations;

/// The starts of all partitions that have any, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generations(BTreeMap<TopicPartition, Vec<Start>>);

impl Generations {
    /// The starts of a partition, ascending; none where all of it is of generation 1.
    pub fn of(&self, at: TopicPartition) -> &[Start] {
        self.0.get(&at).map_or(&[], Vec::as_slice)
    }

    /// All starts, by partition.
    pub fn iter(&self) -> impl Iterator<Item = (TopicPartition, &[Start])> {
        self.0.iter().map(|(at, starts)| (*at, starts.as_slice()))
    }

    /// Adds a start as it was recorded. Generation 1 needs none.
    pub fn insert(&mut self, at: TopicPartition, start: Start) {
        if start.generation <= 1 {
            return;
        }
        let starts = self.0.entry(at).or_default();
        if let Err(place) = starts.binary_search_by_key(&start.generation, |start| start.generation) {
            starts.insert(place, start);
        }
        // a later generation never begins before an earlier one
        let mut least = Offset::ZERO;
        for start in starts {
            start.offset = start.offset.max(least);
            least = start.offset;
        }
    }

    /// The newest generation of a topic.
    pub fn newest(&self, topic: u8) -> u8 {
        let of_topic = self.0.iter().filter(|(at, _)| at.topic == topic);
        let newest = of_topic.flat_map(|(_, starts)| starts.iter().map(|start| start.generation));
        newest.max().unwrap_or(1)
    }

    /// Whether the partition has begun a generation, or has a boundary.
    pub fn knows(&self, at: TopicPartition) -> bool {
        self.0.contains_key(&at)
    }

    /// Begins the generation of an added partition, with the boundary of each older one.
    pub fn begin(
        &mut self,
        added: TopicPartition,
        boundaries: &BTreeMap<Partition, Offset>,
    ) -> Result<u8, TooManyGenerations> {
        let generation = self.newest(added.topic).checked_add(1).ok_or(TooManyGenerations)?;
        for (partition, offset) in boundaries.iter().filter(|(partition, _)| **partition < added.partition) {
            let (partition, offset) = (*partition, *offset);
            let topic = added.topic;
            self.insert(TopicPartition { topic, partition }, Start { offset, generation });
        }
        self.insert(
            added,
            Start {
                offset: Offset::ZERO,
                generation,
            },
        );
        Ok(generation)
    }

    /// What counts when the lake holds these boundaries and we hold `ours`: those of the lake, and of ours what began
    /// later than all of them. With it whether the lake lacks any.
    pub fn merged(&self, ours: &Generations) -> Result<(Generations, bool), TooManyGenerations> {
        let mut merged = self.clone();
        let mut lacking = false;
        for topic in 0..3 {
            let newest_partition = |of: &Generations| {
                let partitions = of.0.keys().filter(|at| at.topic == topic);
                partitions.map(|at| at.partition).max().unwrap_or(Partition(-1))
            };
            let known = newest_partition(self);
            for (added, starts) in ours.growths(topic) {
                // a partition that the lake has seen growing has its boundary; one that is older than what the lake has
                // seen cannot be put before it any more
                if added <= known {
                    continue;
                }
                let generation = merged.newest(topic).checked_add(1).ok_or(TooManyGenerations)?;
                for (partition, offset) in starts {
                    merged.insert(TopicPartition { topic, partition }, Start { offset, generation });
                }
                lacking = true;
            }
        }
        Ok((merged, lacking))
    }

    /// The growths of a topic in their order: the greatest partition that takes part, and the starts.
    fn growths(&self, topic: u8) -> Vec<(Partition, BTreeMap<Partition, Offset>)> {
        let mut growths: BTreeMap<u8, BTreeMap<Partition, Offset>> = BTreeMap::new();
        for (at, starts) in self.0.iter().filter(|(at, _)| at.topic == topic) {
            for start in starts {
                growths
                    .entry(start.generation)
                    .or_default()
                    .insert(at.partition, start.offset);
            }
        }
        let with_added = |starts: BTreeMap<Partition, Offset>| Some((*starts.keys().next_back()?, starts));
        growths.into_values().filter_map(with_added).collect()
    }

    /// Whether a record of the partition below `end` is of another generation than in `other`.
    pub fn differs_below(&self, other: &Generations, at: TopicPartition, end: Offset) -> bool {
        let (ours, theirs) = (self.of(at), other.of(at));
        let begins: BTreeSet<Offset> = ours.iter().chain(theirs).map(|start| start.offset).collect();
        let below = begins.into_iter().filter(|offset| *offset < end);
        below
            .into_iter()
            .any(|offset| generation_at(ours, offset) != generation_at(theirs, offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(partition: i32) -> TopicPartition {
        TopicPartition {
            topic: 0,
            partition: Partition(partition),
        }
    }

    fn grown(steps: &[(i32, &[i64])]) -> Generations {
        let mut generations = Generations::default();
        for (added, highs) in steps {
            let boundaries = (0..).map(Partition).zip(highs.iter().copied().map(Offset)).collect();
            generations.begin(at(*added), &boundaries).unwrap();
        }
        generations
    }

    fn generation(generations: &Generations, partition: i32, offset: i64) -> u8 {
        generation_at(generations.of(at(partition)), Offset(offset))
    }

    #[test]
    fn an_added_partition_begins_a_generation_everywhere() {
        let generations = grown(&[(1, &[100]), (2, &[150, 20])]);
        let of = |partition, offset| generation(&generations, partition, offset);
        assert_eq!([of(0, 99), of(0, 100), of(0, 149), of(0, 150)], [1, 2, 2, 3]);
        assert_eq!([of(1, 0), of(1, 19), of(1, 20)], [2, 2, 3]);
        assert_eq!(of(2, 0), 3);
        assert_eq!((generations.newest(0), generations.newest(1)), (3, 1));
    }

    #[test]
    fn an_added_partition_begins_at_its_first_record_however_many_it_has() {
        let generations = grown(&[(1, &[100, 7])]);
        assert_eq!(generation(&generations, 1, 0), 2);
    }

    #[test]
    fn partitions_found_together_begin_one_generation_each() {
        let generations = grown(&[(1, &[100]), (2, &[100, 7])]);
        assert_eq!(generation(&generations, 0, 99), 1);
        assert_eq!(generation(&generations, 0, 100), 3);
        assert_eq!((generation(&generations, 1, 6), generation(&generations, 1, 7)), (2, 3));
    }

    #[test]
    fn a_boundary_never_lies_before_an_earlier_one() {
        // a high watermark that was read before the one of the earlier growth
        let generations = grown(&[(1, &[100]), (2, &[90, 0])]);
        assert_eq!(
            (generation(&generations, 0, 99), generation(&generations, 0, 100)),
            (1, 3)
        );
    }

    #[test]
    fn the_first_boundary_of_the_lake_is_everyones() {
        let lake = grown(&[(1, &[100])]);
        let (merged, lacking) = lake.merged(&grown(&[(1, &[130])])).unwrap();
        assert_eq!((&merged, lacking), (&lake, false));
        // what began later is added, with the number that follows
        let (merged, lacking) = lake.merged(&grown(&[(1, &[130]), (2, &[140, 5])])).unwrap();
        assert_eq!((merged, lacking), (grown(&[(1, &[100]), (2, &[140, 5])]), true));
        // what the lake lacks entirely is written
        let ours = grown(&[(1, &[130])]);
        assert_eq!(Generations::default().merged(&ours).unwrap(), (ours, true));
        // a growth from before the lake's first one cannot be told apart any more
        let late = grown(&[(2, &[50, 50])]);
        assert_eq!(late.merged(&grown(&[(1, &[10])])).unwrap(), (late, false));
    }

    #[test]
    fn generations_differ_where_a_record_would_move() {
        let (early, late) = (grown(&[(1, &[100])]), grown(&[(1, &[130])]));
        assert!(!early.differs_below(&late, at(0), Offset(100)));
        assert!(early.differs_below(&late, at(0), Offset(101)));
        assert!(!early.differs_below(&late, at(1), Offset(1_000)));
        assert!(!early.differs_below(&early.clone(), at(0), Offset::MAX));
    }

    #[test]
    fn there_are_255_generations_and_no_more() {
        let mut generations = Generations::default();
        for partition in 1..=254 {
            assert_eq!(
                generations.begin(at(partition), &[(Partition(0), Offset(5))].into()),
                Ok(partition as u8 + 1)
            );
        }
        assert_eq!(
            generations.begin(at(255), &[(Partition(0), Offset(5))].into()),
            Err(TooManyGenerations)
        );
    }

    #[test]
    fn starts_of_earlier_versions_are_read() {
        // they recorded generation 1 as well, and gave partitions found together one generation
        let mut generations = Generations::default();
        for (partition, offset, generation) in [(0, 60, 2), (0, 0, 1), (1, 0, 2), (2, 0, 2)] {
            generations.insert(
                at(partition),
                Start {
                    offset: Offset(offset),
                    generation,
                },
            );
        }
        assert_eq!(
            (generation(&generations, 0, 59), generation(&generations, 0, 60)),
            (1, 2)
        );
        assert_eq!(
            generations.growths(0),
            [(
                Partition(2),
                [(0, 60), (1, 0), (2, 0)]
                    .map(|(partition, start)| (Partition(partition), Offset(start)))
                    .into()
            )]
        );
    }

    #[test]
    fn topics_grow_by_themselves() {
        let of = |topic, partition| TopicPartition {
            topic,
            partition: Partition(partition),
        };
        let highs = BTreeMap::from([(Partition(0), Offset(60))]);
        let mut ours = grown(&[(1, &[100])]);
        assert_eq!(ours.begin(of(2, 1), &highs), Ok(2));
        assert!(ours.knows(of(2, 0)) && ours.knows(of(0, 1)));
        assert!(!ours.knows(of(2, 2)) && !ours.knows(of(1, 0)));
        // the lake has seen one of them grow
        let (merged, lacking) = grown(&[(1, &[100])]).merged(&ours).unwrap();
        assert_eq!((&merged, lacking), (&ours, true));
        let starts: Vec<_> = merged.iter().map(|(at, starts)| (at, starts[0].offset.0)).collect();
        assert_eq!(starts, [(of(0, 0), 100), (of(0, 1), 0), (of(2, 0), 60), (of(2, 1), 0)]);
        // a generation of one topic is none of another
        assert_eq!(
            [0, 1, 2].map(|topic| generation_at(merged.of(of(topic, 0)), Offset(80))),
            [1, 1, 2]
        );
    }
}
