//! Why a record is a dead letter, and the limits beyond which it is one.

use std::fmt;

/// Why a record is a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The value is not JSON; numbers beyond the range of a double are not either.
    NotJson,
    /// The value is JSON, but neither an object nor a wrapping of one.
    NotObject,
    /// The value is a JSON string: usually an object encoded twice.
    JsonString,
    /// The value is empty, white space or the empty string.
    Empty,
    /// Neither `index` nor `ind` holds an integer.
    NoKey,
    /// `index` and `ind` hold different integers.
    KeyConflict,
    /// A key field holds its own name: the header of a table, sent as a row.
    HeaderRow,
    /// A tombstone whose key holds no integer.
    TombstoneKey,
    /// The value is longer than the limit.
    TooLarge,
    /// The value is nested deeper than the limit.
    TooDeep,
    /// Invalid UTF-8, or half of a surrogate pair.
    BadUtf8,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Reason; 11] = [
        Reason::NotJson,
        Reason::NotObject,
        Reason::JsonString,
        Reason::Empty,
        Reason::NoKey,
        Reason::KeyConflict,
        Reason::HeaderRow,
        Reason::TombstoneKey,
        Reason::TooLarge,
        Reason::TooDeep,
        Reason::BadUtf8,
    ];

    /// The reason's name in tables and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::NotJson => "not_json",
            Reason::NotObject => "not_object",
            Reason::JsonString => "json_string",
            Reason::Empty => "empty",
            Reason::NoKey => "no_key",
            Reason::KeyConflict => "key_conflict",
            Reason::HeaderRow => "header_row",
            Reason::TombstoneKey => "tombstone_key",
            Reason::TooLarge => "too_large",
            Reason::TooDeep => "too_deep",
            Reason::BadUtf8 => "bad_utf8",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a record may cost at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one record.
    pub record_bytes: usize,
    /// Arrays and objects within each other; at most [`Limits::MAX_DEPTH`].
    pub depth: usize,
}

impl Limits {
    /// The deepest nesting that may be asked for: the JSON parser's own bound.
    pub const MAX_DEPTH: usize = 127;
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            record_bytes: 8 << 20,
            depth: 64,
        }
    }
}
