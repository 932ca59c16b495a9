//! The kinds of records, and a record as it came.

use operators::Position;
use std::fmt;

/// The kinds of records, numbered as their topics are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// What was posted: title, poster, followers, category.
    Pin = 0,
    /// Where and when it was posted.
    Geo = 1,
    /// Who posted it: name, age, date of joining.
    User = 2,
}

impl Kind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Kind; 3] = [Kind::Pin, Kind::Geo, Kind::User];

    /// `pin`, `geo` or `user`: the default name of the topic.
    pub fn name(self) -> &'static str {
        ["pin", "geo", "user"][self as usize]
    }

    /// The kind of this number, if there is one.
    pub fn from_number(number: u8) -> Option<Kind> {
        Kind::ALL.get(number as usize).copied()
    }
}

impl From<u8> for Kind {
    /// # Panics
    /// When `number` is not 0, 1 or 2.
    fn from(number: u8) -> Kind {
        Kind::from_number(number).expect("kinds are numbered 0, 1 and 2")
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One record as it came: a value, or a tombstone (`value` is `None`) whose key says what it deletes.
#[derive(Clone, Copy, Debug)]
pub struct Raw<'a> {
    /// The kind, known from the topic.
    pub kind: Kind,
    /// Where the record stands in its topic.
    pub position: Position,
    /// The Kafka key. Only a tombstone's key is read.
    pub key: Option<&'a [u8]>,
    /// The Kafka value or the line of the lake.
    pub value: Option<&'a [u8]>,
}
