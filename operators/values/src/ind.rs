//! The key of a post.

use crate::number::print_as_number;
use serde::{Deserialize, Serialize};

/// The key of a post (`ind`, or `index` in records of pins): the same in the records of all kinds.
///
/// It is printed and serialised as the number it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ind(pub i64);

print_as_number!(Ind);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_printed_and_serialised_as_its_number() {
        assert_eq!(format!("{} {:?}", Ind(-3), Ind(4)), "-3 4");
        assert_eq!(serde_json::to_string(&Ind(5)).unwrap(), "5");
    }
}
