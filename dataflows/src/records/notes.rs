//! Fields that were altered although their record was accepted, counted.

use super::field::Field;
use super::kind::Kind;

/// Why a field was altered although its record was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// Not of its type (age "abc", a bad date): now null.
    Unreadable,
    /// A name above 512 bytes, which no index could hold: now null.
    TooLong,
    /// U+0000 within a text, which no table could hold: left out.
    Nul,
}

impl Why {
    const ALL: [Why; 3] = [Why::Unreadable, Why::TooLong, Why::Nul];

    /// The name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Why::Unreadable => "unreadable",
            Why::TooLong => "too_long",
            Why::Nul => "nul",
        }
    }
}

/// How often a field of a kind was altered in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unreadable {
    /// The record's kind.
    pub kind: Kind,
    /// The field's name in the record.
    pub field: &'static str,
    /// What happened to it.
    pub why: Why,
    /// How many records.
    pub count: u64,
}

/// Counts of altered fields by kind, field and cause.
#[derive(Debug)]
pub(super) struct Notes {
    counts: [[[u64; Why::ALL.len()]; Field::COUNT]; Kind::ALL.len()],
    any: bool,
}

impl Notes {
    pub(super) fn new() -> Notes {
        Notes {
            counts: [[[0; Why::ALL.len()]; Field::COUNT]; Kind::ALL.len()],
            any: false,
        }
    }

    /// Counts one more record whose field was altered.
    pub(super) fn note(&mut self, kind: Kind, field: Field, why: Why) {
        self.counts[kind as usize][field as usize][why as usize] += 1;
        self.any = true;
    }

    /// The counts since the last call; empty when there are none.
    pub(super) fn take(&mut self) -> Vec<Unreadable> {
        if !std::mem::take(&mut self.any) {
            return Vec::new();
        }
        let mut taken = Vec::new();
        for kind in Kind::ALL {
            for field in Field::ALL {
                for why in Why::ALL {
                    let count = std::mem::take(&mut self.counts[kind as usize][field as usize][why as usize]);
                    if count > 0 {
                        taken.push(Unreadable {
                            kind,
                            field: field.name(),
                            why,
                            count,
                        });
                    }
                }
            }
        }
        taken
    }
}
