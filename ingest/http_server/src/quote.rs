//! Parts of an answer in JSON. What it repeats of what a client sent is never more than a little, so that no answer and
//! no log line grows with a request.

use serde::{Serialize, Serializer};
use std::fmt;

/// Bytes of a client's own text in an error, or in a line of the access log.
pub const QUOTED: usize = 1 << 10;

/// The beginning of a text.
pub fn shortened(text: &str) -> &str {
    let end = text.len().min(QUOTED);
    let end = (0..=end).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

/// A text, or its beginning, as a JSON string.
pub struct Quoted<'t>(pub &'t str);

impl Serialize for Quoted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let short = shortened(self.0);
        if short.len() == self.0.len() {
            serializer.serialize_str(short)
        } else {
            serializer.collect_str(&format_args!("{short}…"))
        }
    }
}

/// A text, or its beginning, as a JSON string.
pub fn json(text: &str) -> String {
    to_json(&Quoted(text))
}

/// An answer in JSON.
pub fn to_json(answer: &impl Serialize) -> String {
    serde_json::to_string(answer).expect("an answer has no keys but names")
}

/// A number, or `null` where there is none.
pub struct JsonNumber(pub Option<i64>);

impl fmt::Display for JsonNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => number.fmt(f),
            None => f.write_str("null"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(json("a\"b"), r#""a\"b""#);
        let long = format!("x{}", "é".repeat(QUOTED));
        assert_eq!(shortened(&long).len(), QUOTED - 1);
        let quoted: String = serde_json::from_str(&json(&long)).unwrap();
        assert!(quoted.ends_with("é…") && quoted.len() < QUOTED + 8, "{}", quoted.len());
        assert_eq!(shortened(""), "");
    }
}
