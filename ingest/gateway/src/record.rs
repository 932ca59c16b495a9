//! What the gateway looks for inside a value: that it is JSON, and the field that makes its key.
//!
//! One pass over the text does both. Clients wrap the same object in different ways (`[{…}]`, `{"value":{…}}`), and
//! the engine unwraps them; the key is looked for where the engine will find it.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// Wrappers around a record that are looked through.
const WRAPPERS: u8 = 3;
/// Names of the field that makes the key.
const NAMES: usize = 4;

/// The key inside a JSON text, if it holds one; an error when the text is not JSON.
pub(super) fn key_of(json: &str, names: &[String]) -> Result<Option<i64>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let depth = WRAPPERS;
    let key = Find { names, depth }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(key)
}

/// The number that a key names, as the engine reads the key of a tombstone: digits, a JSON integer, a JSON string of
/// digits, or an object with the field. However it is written, it is the same number, so that a tombstone follows the
/// records that it deletes.
pub(super) fn number_of(key: &[u8], names: &[String]) -> Option<i64> {
    let text = std::str::from_utf8(key).ok()?;
    if let Some(number) = digits(text) {
        return Some(number);
    }
    let first = text
        .bytes()
        .find(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))?;
    if !matches!(first, b'{' | b'"' | b'-' | b'0'..=b'9') {
        return None;
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let number = Number { names }.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    number
}

/// The value as it is stored: as sent, without white space around it, and on one line, since a line is a record in
/// the lake. A line break inside a JSON string is always escaped, so only white space between tokens is touched.
pub(super) fn one_line(json: &str) -> Cow<'_, str> {
    let json = json.trim_matches([' ', '\t', '\r', '\n']);
    if !json.bytes().any(|byte| byte == b'\n' || byte == b'\r') {
        return Cow::Borrowed(json);
    }
    let mut line = String::with_capacity(json.len());
    let (mut inside, mut escaped) = (false, false);
    for c in json.chars() {
        if inside {
            inside = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if matches!(c, ' ' | '\t' | '\r' | '\n') {
            continue;
        } else {
            inside = c == '"';
        }
        line.push(c);
    }
    Cow::Owned(line)
}

/// An integer of plain digits.
fn digits(text: &str) -> Option<i64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// Looks for the key in a value, through so many wrappers.
struct Find<'n> {
    names: &'n [String],
    depth: u8,
}

impl Find<'_> {
    fn inner(&self) -> Self {
        let Find { names, depth } = *self;
        Find {
            names,
            depth: depth.saturating_sub(1),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Find<'_> {
    type Value = Option<i64>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<i64>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// The scalars in which there is nothing to find.
macro_rules! nothing {
    ($($visit:ident: $ty:ty),*) => {
        $(fn $visit<E: Error>(self, _: $ty) -> Result<Option<i64>, E> { Ok(None) })*
        fn visit_unit<E: Error>(self) -> Result<Option<i64>, E> { Ok(None) }
    };
}

impl<'de> Visitor<'de> for Find<'_> {
    type Value = Option<i64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    nothing!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Option<i64>, A::Error> {
        let Some(first) = seq.next_element_seed(self.inner())? else {
            return Ok(None);
        };
        let mut alone = true;
        while seq.next_element::<IgnoredAny>()?.is_some() {
            alone = false;
        }
        Ok(first.filter(|_| alone && self.depth > 0))
    }

    /// As the engine decides: of a field that occurs twice the last counts, two fields that differ are no key, and an
    /// object with nothing but `value` is a wrapper.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<i64>, A::Error> {
        let mut keys = [None; NAMES];
        let (mut wrapped, mut wraps) = (None, true);
        while let Some(word) = map.next_key_seed(Name(self.names))? {
            match word {
                Word::Key(index) => keys[index] = map.next_value_seed(Number { names: &[] })?,
                Word::Value => wrapped = map.next_value_seed(self.inner())?,
                Word::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            wraps &= matches!(word, Word::Value);
        }
        if wraps {
            return Ok(wrapped.filter(|_| self.depth > 0));
        }
        let mut found = keys.into_iter().flatten();
        let first = found.next();
        Ok(first.filter(|first| found.all(|other| other == *first)))
    }
}

#[derive(Clone, Copy)]
enum Word {
    /// The field of this index.
    Key(usize),
    Value,
    Other,
}

/// What a field's name means here.
struct Name<'n>(&'n [String]);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Word;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Word, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Word;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Word, E> {
        let index = self.0.iter().take(NAMES).position(|known| known == name);
        Ok(match (index, name) {
            (Some(index), _) => Word::Key(index),
            (None, "value") => Word::Value,
            _ => Word::Other,
        })
    }
}

/// A whole number, or a text of digits, or an object with a field of these names; anything else is no key.
struct Number<'n> {
    names: &'n [String],
}

impl<'de> DeserializeSeed<'de> for Number<'_> {
    type Value = Option<i64>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<i64>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Number<'_> {
    type Value = Option<i64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Option<i64>, E> {
        Ok(Some(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Option<i64>, E> {
        Ok(i64::try_from(number).ok())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<i64>, E> {
        Ok(digits(text))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Option<i64>, E> {
        Ok(None)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Option<i64>, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Option<i64>, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Option<i64>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<i64>, A::Error> {
        let Number { names } = self;
        Find { names, depth: 0 }.visit_map(map)
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        vec!["ind".into(), "index".into()]
    }

    fn key(json: &str) -> Option<i64> {
        key_of(json, &names()).unwrap()
    }

    #[test]
    fn the_key_is_found_where_the_engine_finds_it() {
        assert_eq!(key(r#"{"ind": 7, "x": {"ind": 8}}"#), Some(7));
        assert_eq!(key(r#"{"index": "0042"}"#), Some(42));
        assert_eq!(key(r#"[{"ind": 7}]"#), Some(7));
        assert_eq!(key(r#"{"value": {"ind": 7}}"#), Some(7));
        assert_eq!(key(r#"[{"value": {"ind": 7}}]"#), Some(7));
        assert_eq!(key(r#"{"\u0069nd": 7}"#), Some(7));
        for none in [
            "[]",
            r#"[{"ind": 1}, {"ind": 2}]"#,
            r#"{"value": {"ind": 7}, "other": 1}"#,
            r#"{"ind": 1.5}"#,
            r#"{"ind": null}"#,
            r#"{"ind": [1]}"#,
            r#"{"ind": 99999999999999999999}"#,
            r#""{\"ind\": 1}""#,
            "null",
            "7",
        ] {
            assert_eq!(key(none), None, "{none}");
        }
        for broken in ["", "{", r#"{"ind": 1} x"#, "nul"] {
            assert!(key_of(broken, &names()).is_err(), "{broken}");
        }
    }

    #[test]
    fn two_fields_are_one_key_where_they_agree() {
        for (json, expected) in [
            (r#"{"ind": 7, "index": null}"#, Some(7)),
            (r#"{"index": null, "ind": 7}"#, Some(7)),
            (r#"{"ind": "x", "index": "7"}"#, Some(7)),
            (r#"{"ind": 7, "index": "07"}"#, Some(7)),
            (r#"{"ind": 7, "index": 8}"#, None),
            (r#"{"ind": 7, "ind": 8}"#, Some(8)),
            (r#"{"ind": 7, "ind": null}"#, None),
            (r#"{"value": {"ind": 7}, "value": {"ind": 8}}"#, Some(8)),
            (r#"{"value": {"ind": 7}, "ind": 8}"#, Some(8)),
            (r#"[[[[{"ind": 7}]]]]"#, None),
            (r#"[{"value": [{"ind": 7}]}]"#, Some(7)),
            ("{}", None),
        ] {
            assert_eq!(key(json), expected, "{json}");
        }
    }

    #[test]
    fn a_tombstone_names_the_number_of_its_record() {
        for key in [
            "42",
            "\"42\"",
            "0042",
            r#"{"ind": 42}"#,
            r#"{"index":"42"}"#,
            " 42\n",
            r#""\u0034\u0032""#,
        ] {
            assert_eq!(number_of(key.as_bytes(), &names()), Some(42), "{key}");
        }
        assert_eq!(number_of(b"-5", &names()), Some(-5));
        for key in [
            "abc",
            "\"abc\"",
            "{}",
            "",
            "\"",
            "12ab",
            "4.2",
            "[42]",
            "true",
            r#"{"value":{"ind":42}}"#,
        ] {
            assert_eq!(number_of(key.as_bytes(), &names()), None, "{key}");
        }
    }

    #[test]
    fn a_record_is_one_line_and_otherwise_as_sent() {
        assert_eq!(one_line(" {\"a\": 1}\n"), "{\"a\": 1}");
        assert!(matches!(one_line("{\"a\": 1.0}"), Cow::Borrowed(_)));
        assert_eq!(
            one_line("{\n  \"a b\": \"c \\\" d\",\r\n \"e\": [1, 2]\n}"),
            r#"{"a b":"c \" d","e":[1,2]}"#
        );
    }
}
