//! What has changed between two looks at Kafka: partitions added, topics that came or went, watermarks that fell.
//!
//! Growth is evidence, not absence: a partition is an added one when the topic had fewer partitions at an earlier look,
//! in this run or as recorded with the tables; never because something has not been read from it yet.

use ingest::kafka::Watermarks;
use ingest::{Offset, Partition, TopicPartition};
use std::collections::BTreeMap;

/// What Kafka holds of each partition of our topics.
pub type PartitionWatermarks = BTreeMap<TopicPartition, Watermarks>;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A partition was added to a topic.
    Grown {
        /// The partition.
        added: TopicPartition,
        /// The high watermarks of the older partitions when it was found.
        boundaries: BTreeMap<Partition, Offset>,
    },
    /// A topic exists that did not at the last look.
    Appeared {
        /// The topic's number.
        topic: u8,
    },
    /// A topic does not exist any more.
    Vanished {
        /// The topic's number.
        topic: u8,
    },
    /// A topic has fewer partitions than it had: it was deleted and created again.
    Fewer {
        /// The topic's number.
        topic: u8,
        /// How many it had.
        known: i32,
        /// How many it has.
        found: i32,
    },
    /// A partition ends before it ended at the last look.
    Shorter {
        /// The partition.
        at: TopicPartition,
    },
}

/// What was seen last.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Partitions of each topic that was ever seen.
    counts: BTreeMap<u8, i32>,
    /// The watermarks of the last look.
    watermarks: PartitionWatermarks,
}

impl Seen {
    /// What earlier runs have seen: the number of partitions by topic.
    pub fn recorded(counts: BTreeMap<u8, i32>) -> Seen {
        Seen {
            counts,
            watermarks: PartitionWatermarks::new(),
        }
    }

    /// How many partitions each topic has, as far as it was ever seen.
    pub fn counts(&self) -> &BTreeMap<u8, i32> {
        &self.counts
    }

    /// Takes in another look; what has changed since the last one, in the order in which it is to be dealt with.
    pub fn look(&mut self, watermarks: PartitionWatermarks) -> Vec<Change> {
        let mut changes = Vec::new();
        for topic in 0..3 {
            let count = partitions(&watermarks, topic);
            let before = partitions(&self.watermarks, topic);
            match (before, count) {
                (0, 0) => continue,
                (_, 0) => {
                    changes.push(Change::Vanished { topic });
                    continue;
                }
                (0, _) => changes.push(Change::Appeared { topic }),
                _ => {}
            }
            // a topic that was never seen has had its partitions from the beginning
            let known = *self.counts.entry(topic).or_insert(count);
            if count < known {
                let found = count;
                changes.push(Change::Fewer { topic, known, found });
                continue;
            }
            let highs: BTreeMap<Partition, Offset> = of_topic(&watermarks, topic)
                .map(|(partition, marks)| (partition, marks.high))
                .collect();
            for partition in (known..count).map(Partition) {
                let older = highs.range(..partition);
                changes.push(Change::Grown {
                    added: TopicPartition { topic, partition },
                    boundaries: older.map(|(partition, high)| (*partition, *high)).collect(),
                });
            }
            self.counts.insert(topic, count);
        }
        let fell = |(at, marks): (&TopicPartition, &Watermarks)| {
            let before = self.watermarks.get(at)?;
            (marks.high < before.high).then_some(Change::Shorter { at: *at })
        };
        changes.extend(watermarks.iter().filter_map(fell));
        self.watermarks = watermarks;
        changes
    }
}

fn of_topic(watermarks: &PartitionWatermarks, topic: u8) -> impl Iterator<Item = (Partition, &Watermarks)> {
    let of_topic = watermarks.iter().filter(move |(at, _)| at.topic == topic);
    of_topic.map(|(at, marks)| (at.partition, marks))
}

/// One more than the greatest partition's number.
pub fn partitions(watermarks: &PartitionWatermarks, topic: u8) -> i32 {
    of_topic(watermarks, topic)
        .map(|(partition, _)| partition.0 + 1)
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watermarks(highs: &[i64]) -> PartitionWatermarks {
        let marks = |high: &i64| Watermarks {
            low: Offset(0),
            stable: Offset(*high),
            high: Offset(*high),
        };
        let at = |partition| TopicPartition { topic: 0, partition };
        (0..).map(Partition).map(at).zip(highs.iter().map(marks)).collect()
    }

    fn grown(partition: i32, boundaries: &[i64]) -> Change {
        Change::Grown {
            added: TopicPartition {
                topic: 0,
                partition: Partition(partition),
            },
            boundaries: (0..)
                .map(Partition)
                .zip(boundaries.iter().copied().map(Offset))
                .collect(),
        }
    }

    #[test]
    fn partitions_of_a_topic_that_was_never_seen_are_no_growth() {
        let mut seen = Seen::default();
        assert_eq!(seen.look(watermarks(&[5, 0, 7])), [Change::Appeared { topic: 0 }]);
        assert_eq!(seen.look(watermarks(&[6, 0, 7])), []);
        assert_eq!(seen.counts(), &BTreeMap::from([(0, 3)]));
    }

    #[test]
    fn each_added_partition_is_a_growth_with_the_ends_of_the_older_ones() {
        let mut seen = Seen::default();
        seen.look(watermarks(&[5]));
        assert_eq!(seen.look(watermarks(&[8, 2, 0])), [grown(1, &[8]), grown(2, &[8, 2])]);
        assert_eq!(seen.look(watermarks(&[9, 2, 0])), []);
    }

    #[test]
    fn growth_since_the_recorded_number_is_found_at_the_first_look() {
        let mut seen = Seen::recorded([(0, 1)].into());
        let changes = seen.look(watermarks(&[8, 2]));
        assert_eq!(changes, [Change::Appeared { topic: 0 }, grown(1, &[8])]);
    }

    #[test]
    fn a_topic_that_comes_back_keeps_its_number_of_partitions() {
        let mut seen = Seen::default();
        seen.look(watermarks(&[5, 5]));
        assert_eq!(seen.look(PartitionWatermarks::new()), [Change::Vanished { topic: 0 }]);
        let changes = seen.look(watermarks(&[0]));
        let fewer = Change::Fewer {
            topic: 0,
            known: 2,
            found: 1,
        };
        assert_eq!(changes, [Change::Appeared { topic: 0 }, fewer]);
    }

    #[test]
    fn an_end_that_falls_is_a_change() {
        let mut seen = Seen::default();
        seen.look(watermarks(&[5, 5]));
        let at = TopicPartition {
            topic: 0,
            partition: Partition(1),
        };
        assert_eq!(seen.look(watermarks(&[5, 4])), [Change::Shorter { at }]);
    }

    #[test]
    fn each_topic_is_looked_at_by_itself() {
        let of = |topic: u8, highs: &[i64]| {
            let marks = watermarks(highs).into_iter();
            marks.map(move |(at, marks)| (TopicPartition { topic, ..at }, marks))
        };
        let both = |first: &[i64], last: &[i64]| of(0, first).chain(of(2, last)).collect::<PartitionWatermarks>();
        let mut seen = Seen::default();
        assert_eq!(
            seen.look(both(&[5, 5], &[7])),
            [Change::Appeared { topic: 0 }, Change::Appeared { topic: 2 }]
        );
        let grown = Change::Grown {
            added: TopicPartition {
                topic: 2,
                partition: Partition(1),
            },
            boundaries: [(Partition(0), Offset(9))].into(),
        };
        assert_eq!(seen.look(both(&[5, 6], &[9, 1])), [grown]);
        assert_eq!(seen.look(both(&[5, 6], &[])), [Change::Vanished { topic: 2 }]);
        assert_eq!(seen.counts(), &BTreeMap::from([(0, 2), (2, 2)]));
    }
}
