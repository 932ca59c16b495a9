//! Bodies by their plain meaning, for tests: the fields of objects with those that repeat, base64 bit by bit.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use std::fmt;

/// The fields of an object, each with the JSON of its value, as they stand in it.
pub(super) struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fields<'de>, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(All)
    }
}

impl<'a> Fields<'a> {
    /// The fields of a text that is an object.
    pub(super) fn of(json: &'a str) -> Option<Fields<'a>> {
        serde_json::from_str(json).ok()
    }

    /// Whether there are no fields but these.
    pub(super) fn are_among(&self, names: &[&str]) -> bool {
        self.0.iter().all(|(name, _)| names.contains(&name.as_str()))
    }

    /// The field of one of these names, null being none; an error where there are several.
    pub(super) fn only(&self, names: &[&str]) -> Result<Option<&'a str>, Repeated> {
        let mut named = self.0.iter().filter(|(name, _)| names.contains(&name.as_str()));
        let first = named.next();
        match named.next() {
            Some(_) => Err(Repeated),
            None => Ok(first.map(|(_, raw)| raw.get()).filter(|raw| *raw != "null")),
        }
    }
}

/// A field stands in an object more than once.
#[derive(Debug)]
pub(super) struct Repeated;

/// The elements of a list.
pub(super) fn elements(json: &str) -> Option<Vec<&str>> {
    let elements: Vec<&RawValue> = serde_json::from_str(json).ok()?;
    Some(elements.into_iter().map(RawValue::get).collect())
}

/// The content of a JSON string.
pub(super) fn text(json: &str) -> Option<String> {
    serde_json::from_str(json).ok()
}

/// A whole number as JSON writes it: -0 is none.
pub(super) fn integer<T: std::str::FromStr>(json: &str) -> Option<T> {
    json.parse().ok().filter(|_| json != "-0")
}

/// The bytes of a base64 text, whose last group may lack some of its padding, or all.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    let is_whole = match digits.len() % 4 {
        0 => padding == 0,
        1 => false,
        over => over + padding <= 4,
    };
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0, 0);
    for digit in digits.chars() {
        bits = bits << 6 | ALPHABET.find(digit)?;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    is_whole.then_some(bytes)
}

/// Whether this is what is stored of a JSON value: the same value, with the same digits and escapes, on one line.
pub(super) fn is_stored(stored: &[u8], json: &str) -> bool {
    let dense = |text: &[u8]| -> Vec<u8> {
        text.iter()
            .copied()
            .filter(|byte| !byte.is_ascii_whitespace())
            .collect()
    };
    let value = serde_json::from_str::<Value>(json);
    let is_same = value.is_ok_and(|value| serde_json::from_slice::<Value>(stored).ok() == Some(value));
    // values that only serde_json's way to skip them takes (half a surrogate pair, 1e400) are compared as texts
    let is_odd = serde_json::from_str::<Value>(json).is_err();
    !stored.contains(&b'\n')
        && !stored.contains(&b'\r')
        && dense(stored) == dense(json.as_bytes())
        && (is_same || is_odd)
}
