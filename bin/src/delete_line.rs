//! The line that stands for a delete in the lake: `{"ind":7,"__deleted":true}`. The archiver makes it of the key of a null
//! value, and a restore makes a null value of it.

use dataflows::{Decoder, Kind, Limits, Raw};
use ingest::{Offset, Partition};
use operators::{Ind, Position};
use std::sync::{Mutex, PoisonError};

const BEFORE: &str = "{\"ind\":";
const AFTER: &str = ",\"__deleted\":true}";

/// The line that deletes a post.
pub(crate) fn of_ind(ind: Ind) -> String {
    format!("{BEFORE}{ind}{AFTER}")
}

/// The post that a line deletes; `None` for every line that [`of_ind`] does not make.
pub(crate) fn ind_of(line: &[u8]) -> Option<Ind> {
    let number = line.strip_prefix(BEFORE.as_bytes())?.strip_suffix(AFTER.as_bytes())?;
    let ind = Ind(std::str::from_utf8(number).ok()?.parse().ok()?);
    (of_ind(ind).as_bytes() == line).then_some(ind)
}

/// Reads the keys of null values as the engine does.
pub(crate) struct TombstoneKeys {
    /// By the number of the topic.
    kinds: Vec<Kind>,
    decoder: Mutex<Decoder>,
}

impl TombstoneKeys {
    /// Of topics of these kinds.
    pub(crate) fn new(kinds: Vec<Kind>, limits: Limits) -> TombstoneKeys {
        TombstoneKeys {
            kinds,
            decoder: Mutex::new(Decoder::new(limits)),
        }
    }

    /// The post that a null value with this key deletes.
    pub(crate) fn ind(&self, topic: u8, key: &[u8]) -> Option<Ind> {
        let raw = Raw {
            kind: *self.kinds.get(usize::from(topic))?,
            position: Position::new(1, Offset(0), Partition(0)).ok()?,
            key: Some(key),
            value: None,
        };
        let mut decoder = self.decoder.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Ind(decoder.decode(raw).ok()?.key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_gives_back_what_it_was_made_of_and_no_other_line_does() {
        for ind in [0, 7, -3, i64::MAX, i64::MIN] {
            assert_eq!(ind_of(of_ind(Ind(ind)).as_bytes()), Some(Ind(ind)));
        }
        for other in [
            r#"{"ind":07,"__deleted":true}"#,
            r#"{"ind":+7,"__deleted":true}"#,
            r#"{"ind": 7,"__deleted":true}"#,
            r#"{"ind":7,"__deleted":true} "#,
            r#"{"ind":7,"x":1,"__deleted":true}"#,
            r#"{"ind":"7","__deleted":true}"#,
            r#"{"ind":7,"__deleted":false}"#,
            r#"{"ind":99999999999999999999,"__deleted":true}"#,
            "",
        ] {
            assert_eq!(ind_of(other.as_bytes()), None, "{other}");
        }
    }
}
