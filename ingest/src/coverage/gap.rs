//! Gaps, their printed form, and accepting them.

use super::ranges::RangeSet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use values::{Offset, Partition};

/// Offsets that neither history nor Kafka has. Printed as `gap pin/0 1200..1500`; ordered by topic, partition, offset.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Gap {
    /// The topic's name.
    pub topic: String,
    /// The Kafka partition.
    pub partition: Partition,
    /// The first missing offset.
    pub from: Offset,
    /// The offset after the last missing one.
    pub to: Offset,
}

impl Gap {
    /// These offsets of a partition.
    pub fn new(topic: &str, partition: Partition, range: Range<Offset>) -> Gap {
        Gap {
            topic: topic.to_string(),
            partition,
            from: range.start,
            to: range.end,
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gap {}/{} {}..{}", self.topic, self.partition, self.from, self.to)
    }
}

/// Offsets whose records lie in interleaving objects. Printed as `order pin/0 1200..1500`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OrderConflict {
    /// The topic's name.
    pub topic: String,
    /// The Kafka partition.
    pub partition: Partition,
    /// The first offset in question.
    pub from: Offset,
    /// The offset after the last one.
    pub to: Offset,
}

impl fmt::Display for OrderConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "order {}/{} {}..{}", self.topic, self.partition, self.from, self.to)
    }
}

/// The operator's word on gaps: `TOPIC/P:FROM..TO`, or `all` for those found now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AcceptGap {
    /// Every gap of this start, as it is now.
    All,
    /// This one, and no further.
    One(Gap),
}

/// A text that accepts no gap.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid gap `{text}`: {why}; expected TOPIC/PARTITION:FROM..TO, such as pin/0:1200..1500, or all")]
pub struct AcceptGapError {
    text: String,
    why: &'static str,
}

impl FromStr for AcceptGap {
    type Err = AcceptGapError;

    fn from_str(text: &str) -> Result<AcceptGap, AcceptGapError> {
        if text == "all" {
            return Ok(AcceptGap::All);
        }
        let wrong = |why| AcceptGapError {
            text: text.to_string(),
            why,
        };
        let (place, range) = text.rsplit_once(':').ok_or_else(|| wrong("there is no colon"))?;
        let (topic, partition) = place.rsplit_once('/').ok_or_else(|| wrong("there is no partition"))?;
        let (from, to) = range.split_once("..").ok_or_else(|| wrong("there is no range"))?;
        if topic.is_empty() {
            return Err(wrong("the topic is empty"));
        }
        let partition = partition.parse().map_err(|_| wrong("the partition is not a number"))?;
        let from = from.parse().map_err(|_| wrong("the first offset is not a number"))?;
        let to = to.parse().map_err(|_| wrong("the last offset is not a number"))?;
        if from >= to {
            return Err(wrong("the range is empty"));
        }
        Ok(AcceptGap::One(Gap {
            topic: topic.to_string(),
            partition,
            from,
            to,
        }))
    }
}

impl fmt::Display for AcceptGap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AcceptGap::All => f.write_str("all"),
            AcceptGap::One(gap) => write!(f, "{}/{}:{}..{}", gap.topic, gap.partition, gap.from, gap.to),
        }
    }
}

/// What has been accepted: in this start and, as recorded, in earlier ones.
///
/// `all` of an earlier start is recorded as the gaps it met, so a gap that has grown since is not accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accepted {
    all: bool,
    offsets: BTreeMap<(String, Partition), RangeSet>,
}

impl Accepted {
    /// This start's flags and the gaps recorded by earlier starts.
    pub fn new<'a>(flags: &'a [AcceptGap], recorded: impl IntoIterator<Item = &'a Gap>) -> Accepted {
        let mut accepted = Accepted {
            all: flags.contains(&AcceptGap::All),
            ..Accepted::default()
        };
        let named = flags.iter().filter_map(|flag| match flag {
            AcceptGap::All => None,
            AcceptGap::One(gap) => Some(gap),
        });
        for gap in named.chain(recorded) {
            let place = (gap.topic.clone(), gap.partition);
            accepted.offsets.entry(place).or_default().insert(gap.from..gap.to);
        }
        accepted
    }

    /// Whether all of `gap` is accepted.
    pub fn covers(&self, gap: &Gap) -> bool {
        let named = self.offsets.get(&(gap.topic.clone(), gap.partition));
        self.all || named.is_some_and(|offsets| offsets.covers(gap.from..gap.to))
    }
}
