//! What turns sqlparser's trees into ours: its state, which every part of the conversion shares.

use crate::sql::diagnostic::{Checked, Fault, Position};
use sqlparser::tokenizer::Location;

/// How deep expressions and queries nest.
pub(super) const DEEPEST: usize = 50;

/// What `{top}` is to sqlparser.
pub(super) const TOP: &str = "{top}";

/// Where sqlparser says that something stands.
pub(super) fn position(location: Location) -> Position {
    let clamp = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    Position {
        line: clamp(location.line),
        column: clamp(location.column),
    }
}

/// Turns sqlparser's trees into ours; collects what it refuses and continues.
pub(super) struct Converter<'k> {
    pub key: &'k str,
    pub faults: Vec<Fault>,
    pub depth: usize,
}

impl Converter<'_> {
    /// Notes a fault; `None` is what the refused part becomes.
    pub(super) fn refuse<T>(&mut self, fault: Fault) -> Option<T> {
        self.faults.push(fault);
        None
    }

    /// Notes the fault of what is refused.
    pub(super) fn checked<T>(&mut self, value: Checked<T>) -> Option<T> {
        value.map_err(|fault| self.faults.push(fault)).ok()
    }
}
