//! The key of a post.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The key of a post (`ind`, or `index` in records of pins): the same in the records of all kinds.
///
/// It is printed and serialised as the number it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ind(pub i64);

impl fmt::Display for Ind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Ind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_printed_and_serialised_as_its_number() {
        assert_eq!(format!("{} {:?}", Ind(-3), Ind(4)), "-3 4");
        assert_eq!(serde_json::to_string(&Ind(5)).unwrap(), "5");
    }
}
