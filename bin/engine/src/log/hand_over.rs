//! The hand-over from history to live, per partition: what Kafka still has to supply, and what is lost.
//!
//! History covers ranges of offsets, holes that are proved to hold no record included; Kafka spans `low..end`. What
//! history lacks and Kafka spans is read from Kafka; what neither has is a gap. Live reading starts where contiguous
//! history ends.

use ingest::Offset;
use std::ops::Range;

/// What is known of one partition before the hand-over.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Ranges that history covers: ascending, disjoint, not touching.
    pub covered: Vec<Range<Offset>>,
    /// The first offset of the first object that could not be read: history begins there at the latest.
    pub unreadable: Option<Offset>,
    /// Where objects of the lake interleave, so that only Kafka knows the order, or lack records that Kafka has.
    pub conflicts: Vec<Range<Offset>>,
    /// What Kafka spans: the low watermark, and the last stable offset when the run began.
    pub kafka: Option<Range<Offset>>,
    /// First covered offset and frontier of the last committed answer; `0..0` for a partition that was added since, of
    /// which everything is wanted.
    pub recorded: Option<Range<Offset>>,
    /// Whether to read Kafka until the run ends.
    pub live: bool,
    /// Where a bounded replay is to end.
    pub upto: Option<Offset>,
}

/// A range of Kafka to read in the first epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRange {
    /// The first offset.
    pub from: Offset,
    /// The end, or none to read until the run ends.
    pub until: Option<Offset>,
    /// What must have been read before the first epoch may close.
    pub bound: Offset,
    /// Whether the lake has these offsets too, so that the same records arrive from both.
    pub again: bool,
}

/// What the hand-over of one partition comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HandOver {
    /// The first offset of the answer.
    pub first: Offset,
    /// The frontier that the first epoch will have at least.
    pub next: Offset,
    /// What to read from Kafka, ascending.
    pub read_ranges: Vec<ReadRange>,
    /// Interleaving objects whose order is lost.
    pub conflicts: Vec<Range<Offset>>,
    /// Offsets that neither the lake nor Kafka has, ascending.
    pub gaps: Vec<Range<Offset>>,
}

/// The log ends before the tables do, and nothing else covers the difference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("log shorter than the tables: history and Kafka end at {end}, the tables at {recorded}")]
pub struct LogShorter {
    /// Where the log ends.
    pub end: Offset,
    /// What the tables hold.
    pub recorded: Offset,
}

/// Plans the hand-over of one partition.
pub fn hand_over(known: &Known) -> Result<HandOver, LogShorter> {
    let Known {
        covered,
        unreadable,
        conflicts,
        kafka,
        recorded,
        live,
        upto,
    } = known;
    let low = kafka.as_ref().map(|span| span.start);
    let first_covered = covered.first().map(|range| range.start);
    // a lake that begins late, or has lost its first objects, does not hide what Kafka has before them
    let first_known = first_covered
        .into_iter()
        .chain(low)
        .chain(*unreadable)
        .min()
        .unwrap_or(Offset::ZERO);
    // coverage began where it begins now, unless the tables remember an earlier beginning
    let first = recorded
        .as_ref()
        .map_or(first_known, |recorded| recorded.start.min(first_known));
    let mut plan = HandOver {
        first,
        next: first,
        ..HandOver::default()
    };

    let wanted = |range: &&Range<Offset>| upto.is_none_or(|upto| range.start < upto);
    for conflict in conflicts.iter().filter(wanted) {
        if kafka
            .as_ref()
            .is_some_and(|span| span.start <= conflict.start && conflict.end <= span.end)
        {
            plan.read_ranges.push(ReadRange {
                from: conflict.start,
                until: Some(conflict.end),
                bound: conflict.end,
                again: true,
            })
        } else {
            plan.conflicts.push(conflict.clone())
        }
    }
    for range in covered {
        if upto.is_some_and(|upto| range.start >= upto) {
            break;
        }
        plan.fill(range.start, kafka.as_ref());
        plan.next = plan.next.max(range.end);
    }
    match (upto, kafka) {
        (Some(upto), kafka) => {
            plan.fill(*upto, kafka.as_ref());
            plan.next = *upto;
        }
        (None, Some(span)) if *live => {
            let from = plan.next.max(span.start);
            plan.lose(from);
            let bound = span.end.max(from);
            plan.read_ranges.push(ReadRange {
                from,
                until: None,
                bound,
                again: false,
            });
            plan.next = bound;
        }
        (None, _) => {}
    }
    match recorded {
        Some(recorded) if *live && plan.next < recorded.end => Err(LogShorter {
            end: plan.next,
            recorded: recorded.end,
        }),
        _ => Ok(plan),
    }
}

impl HandOver {
    /// Goes on to `to`: what Kafka spans of the way is read, the rest is a gap.
    fn fill(&mut self, to: Offset, kafka: Option<&Range<Offset>>) {
        if self.next >= to {
            return;
        }
        let Some(span) = kafka.filter(|span| span.start < to && span.end > self.next) else {
            return self.lose(to);
        };
        self.lose(span.start.max(self.next));
        let until = to.min(span.end);
        self.read_ranges.push(ReadRange {
            from: self.next,
            until: Some(until),
            bound: until,
            again: false,
        });
        self.next = until;
        self.lose(to);
    }

    /// Everything up to `to` is gone.
    fn lose(&mut self, to: Offset) {
        if self.next < to {
            match self.gaps.last_mut() {
                Some(last) if last.end == self.next => last.end = to,
                _ => self.gaps.push(self.next..to),
            }
            self.next = to;
        }
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)] // a list of one range is meant
mod tests {
    use super::*;

    fn known(covered: &[Range<i64>], kafka: Option<Range<i64>>) -> Known {
        Known {
            covered: covered.iter().cloned().map(Offset::range).collect(),
            kafka: kafka.map(Offset::range),
            live: true,
            ..Known::default()
        }
    }

    fn live(from: i64, bound: i64) -> ReadRange {
        ReadRange {
            from: Offset(from),
            until: None,
            bound: Offset(bound),
            again: false,
        }
    }

    fn part(from: i64, until: i64) -> ReadRange {
        ReadRange {
            from: Offset(from),
            until: Some(Offset(until)),
            bound: Offset(until),
            again: false,
        }
    }

    #[test]
    fn live_starts_where_history_ends() {
        let plan = hand_over(&known(&[3..100], Some(50..140))).unwrap();
        assert_eq!(
            plan,
            HandOver {
                first: Offset(3),
                next: Offset(140),
                read_ranges: vec![live(100, 140)],
                ..HandOver::default()
            }
        );
    }

    #[test]
    fn kafka_alone_begins_at_its_low_watermark() {
        let plan = hand_over(&known(&[], Some(500..700))).unwrap();
        assert_eq!(
            plan,
            HandOver {
                first: Offset(500),
                next: Offset(700),
                read_ranges: vec![live(500, 700)],
                ..HandOver::default()
            }
        );
    }

    #[test]
    fn retention_past_the_end_of_history_is_a_gap() {
        let plan = hand_over(&known(&[0..100], Some(120..140))).unwrap();
        assert_eq!(plan.gaps, vec![Offset::range(100..120)]);
        assert_eq!(plan.read_ranges, vec![live(120, 140)]);
    }

    #[test]
    fn holes_are_read_from_kafka_as_far_as_it_reaches() {
        let plan = hand_over(&known(&[0..10, 20..30, 40..50], Some(15..60))).unwrap();
        assert_eq!(plan.gaps, vec![Offset::range(10..15)]);
        assert_eq!(plan.read_ranges, vec![part(15, 20), part(30, 40), live(50, 60)]);
        // without Kafka each hole is a gap
        let plan = hand_over(&Known {
            live: false,
            ..known(&[0..10, 20..30], None)
        })
        .unwrap();
        assert_eq!((plan.gaps, plan.next), (vec![Offset::range(10..20)], Offset(30)));
    }

    #[test]
    fn of_an_added_partition_everything_is_wanted() {
        let added = Known {
            recorded: Some(Offset::range(0..0)),
            ..known(&[], Some(5..140))
        };
        let plan = hand_over(&added).unwrap();
        assert_eq!((plan.first, plan.gaps), (Offset(0), vec![Offset::range(0..5)]));
        assert_eq!(plan.read_ranges, vec![live(5, 140)]);
    }

    #[test]
    fn where_objects_interleave_kafka_is_read_again() {
        let interleaving = Known {
            conflicts: vec![Offset::range(10..20)],
            ..known(&[0..30], Some(5..40))
        };
        let again = ReadRange {
            again: true,
            ..part(10, 20)
        };
        assert_eq!(hand_over(&interleaving).unwrap().read_ranges, vec![again, live(30, 40)]);
        let lost = Known {
            kafka: Some(Offset::range(15..40)),
            ..interleaving
        };
        assert_eq!(hand_over(&lost).unwrap().conflicts, vec![Offset::range(10..20)]);
    }

    #[test]
    fn what_kafka_has_before_the_first_object_is_read_from_it() {
        let plan = hand_over(&known(&[20..100], Some(5..140))).unwrap();
        assert_eq!((plan.first, plan.gaps), (Offset(5), vec![]));
        assert_eq!(plan.read_ranges, vec![part(5, 20), live(100, 140)]);
    }

    #[test]
    fn an_unreadable_first_object_is_a_gap_and_not_a_later_beginning() {
        let unread = Known {
            unreadable: Some(Offset(10)),
            live: false,
            ..known(&[20..100], None)
        };
        let plan = hand_over(&unread).unwrap();
        assert_eq!((plan.first, plan.gaps), (Offset(10), vec![Offset::range(10..20)]));
    }

    #[test]
    fn history_that_the_tables_had_and_nobody_has_now_is_a_gap() {
        let recorded = Some(Offset::range(0..80));
        let plan = hand_over(&Known {
            recorded,
            ..known(&[20..70], Some(60..90))
        })
        .unwrap();
        assert_eq!((plan.first, plan.gaps), (Offset(0), vec![Offset::range(0..20)]));
    }

    #[test]
    fn a_log_that_ends_before_the_tables_stops_the_start() {
        let recorded = Some(Offset::range(0..80));
        let short = Known {
            recorded: recorded.clone(),
            ..known(&[0..70], Some(0..75))
        };
        assert_eq!(
            hand_over(&short),
            Err(LogShorter {
                end: Offset(75),
                recorded: Offset(80)
            })
        );
        // the lake covers what Kafka has lost
        let covered = Known {
            recorded,
            ..known(&[0..80], Some(0..75))
        };
        assert_eq!(hand_over(&covered).unwrap().read_ranges, vec![live(80, 80)]);
    }

    #[test]
    fn a_bounded_replay_ends_at_its_bound() {
        let bounded = Known {
            upto: Some(Offset(60)),
            live: false,
            ..known(&[0..100], None)
        };
        assert_eq!(hand_over(&bounded).unwrap().next, Offset(60));
        let from_kafka = Known {
            upto: Some(Offset(120)),
            live: false,
            ..known(&[0..100], Some(90..200))
        };
        assert_eq!(hand_over(&from_kafka).unwrap().read_ranges, vec![part(100, 120)]);
        let beyond = Known {
            upto: Some(Offset(120)),
            live: false,
            ..known(&[0..100], None)
        };
        assert_eq!(hand_over(&beyond).unwrap().gaps, vec![Offset::range(100..120)]);
    }

    #[test]
    fn kafka_that_only_meets_a_hole_is_not_read_for_it() {
        let after = hand_over(&known(&[0..10, 20..30], Some(20..60))).unwrap();
        assert_eq!(
            (after.gaps, after.read_ranges),
            (vec![Offset::range(10..20)], vec![live(30, 60)])
        );
        let before = Known {
            live: false,
            ..known(&[0..10, 20..30], Some(5..10))
        };
        let before = hand_over(&before).unwrap();
        assert_eq!((before.gaps, before.read_ranges), (vec![Offset::range(10..20)], vec![]));
    }

    #[test]
    fn what_is_lost_on_both_sides_of_an_empty_kafka_is_one_gap() {
        let emptied = Known {
            live: false,
            ..known(&[0..10, 20..30], Some(15..15))
        };
        assert_eq!(hand_over(&emptied).unwrap().gaps, vec![Offset::range(10..20)]);
        // on both sides of what Kafka has there are two
        let some = Known {
            live: false,
            ..known(&[0..10, 20..30], Some(14..16))
        };
        assert_eq!(
            hand_over(&some).unwrap().gaps,
            vec![Offset::range(10..14), Offset::range(16..20)]
        );
    }

    #[test]
    fn objects_that_interleave_are_read_again_only_whole_and_only_below_the_bound() {
        let again = |from, until| ReadRange {
            again: true,
            ..part(from, until)
        };
        let interleaving = |conflict: Range<i64>, kafka: Range<i64>, upto: Option<i64>| Known {
            conflicts: vec![Offset::range(conflict)],
            upto: upto.map(Offset),
            live: false,
            ..known(&[0..30], Some(kafka))
        };
        let plan = |known: Known| hand_over(&known).unwrap();
        // all that Kafka has, and one more on either side
        assert_eq!(plan(interleaving(10..20, 10..20, None)).read_ranges, [again(10, 20)]);
        for kafka in [11..20, 10..19] {
            let plan = plan(interleaving(10..20, kafka, None));
            assert_eq!(
                (plan.read_ranges, plan.conflicts),
                (vec![], vec![Offset::range(10..20)])
            );
        }
        assert_eq!(plan(interleaving(10..20, 0..40, Some(11))).read_ranges, [again(10, 20)]);
        let beyond = plan(interleaving(10..20, 0..40, Some(10)));
        assert_eq!((beyond.next, beyond.read_ranges), (Offset(10), vec![]));
    }

    #[test]
    fn a_run_that_is_not_live_ends_with_history() {
        let replay = Known {
            recorded: Some(Offset::range(0..80)),
            live: false,
            ..known(&[0..70], Some(0..90))
        };
        let plan = hand_over(&replay).unwrap();
        assert_eq!((plan.next, plan.read_ranges, plan.gaps), (Offset(70), vec![], vec![]));
    }
}
