//! The rows that do not come as results: records of cleaned tables and dead letters.

use serde::{Deserialize, Serialize};
use values::{Ind, Position, Row, Value};

/// One record of a cleaned table, or a delete.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CleanedRow {
    /// Which of [`crate::Definition::cleaned`].
    pub table: u8,
    /// The row's key, also its first value.
    pub ind: Ind,
    /// Where in the log it stands: the greatest position of a key wins.
    pub position: Position,
    /// The row in its table's column order; `None` for a delete.
    pub row: Option<Row>,
}

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reject {
    /// The topic's name.
    pub topic: String,
    /// Where it stands; identifies it.
    pub place: RejectPlace,
    /// Why it was rejected.
    pub reason: String,
    /// The key's bytes, in full.
    pub key: Option<Vec<u8>>,
    /// The value's bytes, in full.
    pub value: Option<Vec<u8>>,
}

/// Where a dead letter stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RejectPlace {
    /// A record of the log, found in Kafka or in a lake object: identified by topic, partition and offset.
    Log {
        /// The partition.
        partition: i32,
        /// The offset.
        offset: i64,
        /// The lake object, when it was read from one.
        object: Option<String>,
    },
    /// A record of an object without offsets: identified by object and number.
    Object {
        /// The lake object.
        object: String,
        /// The record's number in it, from 0.
        index: i64,
    },
}

impl Reject {
    /// The two columns that identify it, `source` and `position`: `topic/partition` and its offset, or the object and
    /// its number there.
    pub fn source(&self) -> (String, i64) {
        match &self.place {
            RejectPlace::Log { partition, offset, .. } => (format!("{}/{partition}", self.topic), *offset),
            RejectPlace::Object { object, index } => (object.clone(), *index),
        }
    }

    pub(crate) fn object(&self) -> Option<&str> {
        match &self.place {
            RejectPlace::Log { object, .. } => object.as_deref(),
            RejectPlace::Object { object, .. } => Some(object),
        }
    }

    pub(crate) fn partition(&self) -> Option<i32> {
        match &self.place {
            RejectPlace::Log { partition, .. } => Some(*partition),
            RejectPlace::Object { .. } => None,
        }
    }

    pub(crate) fn offset(&self) -> Option<i64> {
        match &self.place {
            RejectPlace::Log { offset, .. } => Some(*offset),
            RejectPlace::Object { .. } => None,
        }
    }

    /// About how many bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        64 + self.topic.len()
            + self.reason.len()
            + self.object().map_or(0, str::len)
            + self.key.as_ref().map_or(0, Vec::len)
            + self.value.as_ref().map_or(0, Vec::len)
    }
}

impl CleanedRow {
    /// About how many bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        48 + self.row.as_ref().map_or(0, |row| bytes(row))
    }
}

/// About how many bytes values take on the wire.
pub(crate) fn bytes(values: &[Value]) -> usize {
    let value = |value: &Value| match value {
        Value::Text(symbol) => 4 + symbol.text().len(),
        Value::String(text) => 4 + text.len(),
        Value::Bytes(bytes) => 4 + bytes.len(),
        Value::Floats(values) => 24 + 12 * values.len(),
        Value::Null => 4,
        Value::Int(_) | Value::Float(_) => 12,
    };
    values.iter().map(value).sum()
}
