//! Reading Kafka up to the bounds of epoch 0: ranges are assigned to workers, and how far they were read is taken in.

use super::flow::ReplayError;
use super::phases::Replay;
use crate::answer::newer;
use crate::log::hand_over::{HandOver, ReadRange};
use crate::protocol::{Consume, Purpose, ReaderReport};
use crate::topic_partition::TopicPartition;
use std::collections::BTreeMap;

impl Replay<'_> {
    /// Assigns what the hand-over wants of Kafka, and waits until everything that existed has been read.
    pub(super) async fn read_kafka(&mut self, plans: &BTreeMap<TopicPartition, HandOver>) -> Result<(), ReplayError> {
        // a partition is read by one worker and one range at a time: holes first, then the live range
        let mut queues: BTreeMap<TopicPartition, std::vec::IntoIter<ReadRange>> = plans
            .iter()
            .map(|(at, plan)| (*at, plan.read_ranges.clone().into_iter()))
            .collect();
        let mut waiting = 0;
        for (at, queue) in &mut queues {
            waiting += usize::from(self.consume_next(*at, queue));
        }
        while waiting > 0 {
            let ReaderReport::Reached { pass, at, mark } = self.run.flow.next_report().await? else {
                continue;
            };
            if pass != self.run.flow.pass() {
                continue;
            }
            self.answer.advance(at, &mark);
            self.answer.found_empty(at, &mark);
            if let Some(queue) = queues.get_mut(&at) {
                waiting -= usize::from(!self.consume_next(at, queue));
            }
        }
        Ok(())
    }

    /// Assigns the next range of a partition, at most up to its bound: what lies behind it is of a later epoch, in
    /// which a generation may have begun.
    fn consume_next(&mut self, at: TopicPartition, queue: &mut std::vec::IntoIter<ReadRange>) -> bool {
        let Some(read_range) = queue.next() else { return false };
        let mut after = None;
        if read_range.until.is_none() {
            let recorded = self.recorded.partitions.get(&at).and_then(|reach| reach.last);
            let read = self.answer.frontier.get(&at).and_then(|reach| reach.last);
            after = newer(recorded, read).filter(|last| last.offset < read_range.from);
        }
        self.run.flow.consume(Consume {
            at,
            from: read_range.from,
            until: Some(read_range.bound),
            bound: read_range.bound,
            purpose: if read_range.again {
                Purpose::TakeAgain
            } else {
                Purpose::Take
            },
            after,
        });
        true
    }
}
