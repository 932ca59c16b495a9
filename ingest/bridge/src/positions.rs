//! How far each shard was copied, as records of the topic of positions: the last one of each key counts.
//!
//! | key | value |
//! |---|---|
//! | `stream` | which stream it is, and where its first start began |
//! | `owner` | the bridge that writes here |
//! | `shard/ID` | how far a shard was copied; null once the stream has forgotten it |

use super::config::Beginning;
use super::kinesis::Description;
use super::shard::{ShardId, Start};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const STREAM: &str = "stream";
const OWNER: &str = "owner";
const SHARD: &str = "shard/";

/// How far a shard was copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The sequence number of the last record; none before the first one.
    pub(crate) sequence: Option<String>,
    /// Records that arrived until this time were read, in milliseconds since 1970. Of a shard that has ended: those that
    /// continue it have no earlier record.
    pub(crate) read_until_ms: i64,
    /// The shard is closed, and was read to its end.
    pub(crate) ended: bool,
    /// The shards that continue it have positions.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) followed: bool,
}

/// Which stream the positions are of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StreamIdentity {
    pub(crate) arn: String,
    pub(crate) created_ms: i64,
    /// Where shards without a position are read from.
    pub(crate) from: Beginning,
}

impl StreamIdentity {
    /// Whether it is this stream, and not one that was created under its name.
    pub(crate) fn is(&self, found: &Description) -> bool {
        self.arn == found.arn && self.created_ms == found.created_ms
    }
}

/// A bridge: unlike any other, also of the same process id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    pub(crate) host: String,
    pub(crate) pid: u32,
    pub(crate) since_ms: i64,
}

impl Owner {
    /// This process.
    pub(crate) fn this() -> Owner {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Owner {
            host: host.trim().to_owned(),
            pid: std::process::id(),
            since_ms: now_ms(),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Owner { host, pid, since_ms } = self;
        write!(f, "process {pid} on {host}, started {}", time(*since_ms))
    }
}

/// Everything that the topic says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Positions {
    pub(crate) stream: Option<StreamIdentity>,
    pub(crate) owner: Option<Owner>,
    pub(crate) shards: BTreeMap<ShardId, Position>,
}

/// A record of the topic: its key, and its value or none.
pub(crate) type Entry = (String, Option<String>);

impl Positions {
    /// Takes the next record.
    ///
    /// # Errors
    /// It is not one of ours.
    pub(crate) fn take(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<(), String> {
        let key = key.and_then(|key| std::str::from_utf8(key).ok());
        let Some(key) = key.filter(|key| [STREAM, OWNER].contains(key) || key.starts_with(SHARD)) else {
            let key = key.unwrap_or("no key, or one that is not UTF-8");
            return Err(format!("it contains a record of something else: {key}"));
        };
        let unreadable = |error: serde_json::Error| format!("its record {key} cannot be read: {error}");
        match (key.strip_prefix(SHARD), value) {
            (Some(shard), Some(value)) => {
                let position = serde_json::from_slice(value).map_err(unreadable)?;
                self.shards.insert(ShardId::new(shard), position);
            }
            (Some(shard), None) => {
                self.shards.remove(&ShardId::new(shard));
            }
            (None, value) if key == STREAM => {
                self.stream = value.map(serde_json::from_slice).transpose().map_err(unreadable)?;
            }
            (None, value) => self.owner = value.map(serde_json::from_slice).transpose().map_err(unreadable)?,
        }
        Ok(())
    }

    /// Where a shard is to be read from.
    pub(crate) fn start(&self, shard: &ShardId, from: Beginning) -> Start {
        match (
            self.shards.get(shard).and_then(|position| position.sequence.clone()),
            from,
        ) {
            (Some(sequence), _) => Start::After(sequence),
            (None, Beginning::AtMs(ms)) => Start::AtMs(ms),
            (None, Beginning::TrimHorizon) => Start::TrimHorizon,
        }
    }

    /// The position of a shard before anything was read of it: from then on it is known what may have been trimmed.
    pub(crate) fn initial(&self, parents: &[ShardId], stream: &StreamIdentity, now_ms: i64) -> Position {
        let parents = parents.iter().filter_map(|parent| self.shards.get(parent));
        let read = parents.map(|parent| parent.read_until_ms).min();
        let first = match stream.from {
            // there was nothing before the stream
            Beginning::AtMs(ms) => ms.max(stream.created_ms),
            Beginning::TrimHorizon => now_ms,
        };
        Position {
            sequence: None,
            read_until_ms: read.unwrap_or(first),
            ended: false,
            followed: false,
        }
    }
}

impl Position {
    /// How old what was read last is now.
    pub(crate) fn age(&self) -> Duration {
        Duration::from_millis(u64::try_from(now_ms() - self.read_until_ms).unwrap_or(0))
    }

    pub(crate) fn entry(&self, shard: &ShardId) -> Entry {
        (format!("{SHARD}{shard}"), Some(json(self)))
    }
}

/// A shard is not needed any more.
pub(crate) fn forgotten(shard: &ShardId) -> Entry {
    (format!("{SHARD}{shard}"), None)
}

impl StreamIdentity {
    pub(crate) fn entry(&self) -> Entry {
        (STREAM.to_owned(), Some(json(self)))
    }
}

impl Owner {
    pub(crate) fn entry(&self) -> Entry {
        (OWNER.to_owned(), Some(json(self)))
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain structs are JSON")
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// A time as text, in UTC.
pub(crate) fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| format!("{ms} ms"), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_the_last_one_counts() {
        let shard = ShardId::new("shardId-000000000007");
        let stream = StreamIdentity {
            arn: "arn:aws:kinesis:eu-west-1:1:stream/s".to_owned(),
            created_ms: 1,
            from: Beginning::AtMs(5),
        };
        let position = |sequence: &str, ended| Position {
            sequence: Some(sequence.to_owned()),
            read_until_ms: 9,
            ended,
            followed: false,
        };
        let owner = Owner::this();
        let entries = [
            stream.entry(),
            owner.entry(),
            position("1", false).entry(&shard),
            position("2", true).entry(&shard),
            position("3", true).entry(&ShardId::new("old")),
            forgotten(&ShardId::new("old")),
        ];
        let mut positions = Positions::default();
        for (key, value) in &entries {
            let value = value.as_deref().map(str::as_bytes);
            positions.take(Some(key.as_bytes()), value).unwrap();
        }
        assert_eq!(positions.start(&shard, stream.from), Start::After("2".to_owned()));
        assert_eq!(positions.start(&ShardId::new("new"), stream.from), Start::AtMs(5));
        assert_eq!(
            positions,
            Positions {
                stream: Some(stream),
                owner: Some(owner),
                shards: BTreeMap::from([(shard, position("2", true))]),
            }
        );
    }

    /// Positions outlive the program that wrote them.
    #[test]
    fn the_format_is_pinned() {
        let mut positions = Positions::default();
        for (key, value) in [
            ("stream", r#"{"arn":"a","created_ms":1,"from":"trim_horizon"}"#),
            ("owner", r#"{"host":"h","pid":2,"since_ms":3}"#),
            ("shard/s", r#"{"sequence":null,"read_until_ms":4,"ended":false}"#),
            (
                "shard/s",
                r#"{"sequence":"5","read_until_ms":6,"ended":true,"followed":true}"#,
            ),
        ] {
            positions.take(Some(key.as_bytes()), Some(value.as_bytes())).unwrap();
            let written = match key {
                "stream" => positions.stream.as_ref().unwrap().entry(),
                "owner" => positions.owner.as_ref().unwrap().entry(),
                _ => positions.shards[&ShardId::new("s")].entry(&ShardId::new("s")),
            };
            assert_eq!(written, (key.to_owned(), Some(value.to_owned())));
        }
        assert_eq!(json(&Beginning::AtMs(7)), r#"{"at_ms":7}"#);
    }

    #[test]
    fn a_shard_has_a_position_before_it_is_read() {
        let id = |name: &str| ShardId::new(name);
        let stream = |from| StreamIdentity {
            arn: "a".to_owned(),
            created_ms: 100,
            from,
        };
        let mut positions = Positions::default();
        let initial = |positions: &Positions, from| {
            let initial = positions.initial(&[id("p"), id("q")], &stream(from), 900);
            assert_eq!((&initial.sequence, initial.ended), (&None, false));
            initial.read_until_ms
        };
        assert_eq!(initial(&positions, Beginning::TrimHorizon), 900);
        assert_eq!(initial(&positions, Beginning::AtMs(500)), 500);
        assert_eq!(initial(&positions, Beginning::AtMs(50)), 100);
        for (name, read_until_ms) in [("p", 300), ("q", 200), ("r", 1)] {
            let ended = Position {
                sequence: None,
                read_until_ms,
                ended: true,
                followed: false,
            };
            positions.shards.insert(id(name), ended);
        }
        // what the parents were not read until may be in it
        assert_eq!(initial(&positions, Beginning::TrimHorizon), 200);
        assert_eq!(initial(&positions, Beginning::AtMs(500)), 200);
        let first = positions.initial(&[], &stream(Beginning::TrimHorizon), 900);
        positions.shards.insert(id("s"), first);
        assert_eq!(positions.start(&id("s"), Beginning::TrimHorizon), Start::TrimHorizon);
        assert_eq!(positions.start(&id("s"), Beginning::AtMs(7)), Start::AtMs(7));
    }

    #[test]
    fn records_of_something_else_are_refused() {
        for (key, value) in [
            (None, Some("{}")),
            (Some("17"), Some("{}")),
            (Some("shard/s"), Some("{}")),
            (Some("stream"), Some("no")),
        ] {
            let taken = Positions::default().take(key.map(str::as_bytes), value.map(str::as_bytes));
            assert!(taken.is_err(), "{key:?}");
        }
    }
}
