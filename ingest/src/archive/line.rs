//! One Kafka record as one line of JSON, so that line `n` of an object is the record `start + n` whatever it holds.
//!
//! A value that is JSON is written as it came, byte for byte; only the white space of a value that spans several lines
//! is left out. Everything else is wrapped, so that the lake stays readable JSON and the record can be had back exactly:
//!
//! | line | stands for |
//! |---|---|
//! | `{"__pinflow_raw":"…"}` | a value that is no JSON (or half a surrogate pair, or the empty value), as text |
//! | `{"__pinflow_raw_base64":"…"}` | the same where it is not UTF-8 |
//! | `{"__pinflow_tombstone":"…"}`, `…_base64`, or null | a null value under a key that no delete line can express |
//!
//! A value that looks like one of these is wrapped as well, so in an object that pinflow wrote ([`ObjectMetadata::is_ours`])
//! [`original`] never mistakes a producer's own record for ours. In objects of other writers nothing is wrapped; a
//! compaction that merges them wraps what looks like it ([`append_of_other_writer`]).
//!
//! [`ObjectMetadata::is_ours`]: crate::lake::ObjectMetadata::is_ours

use crate::lake::BYTE_ORDER_MARK;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;

/// How each wrapped line begins; no other line does.
const PREFIX: &[u8] = b"{\"__pinflow_";
const RAW: &str = "__pinflow_raw";
const RAW_BASE64: &str = "__pinflow_raw_base64";
const TOMBSTONE: &str = "__pinflow_tombstone";
const TOMBSTONE_BASE64: &str = "__pinflow_tombstone_base64";

/// How much is kept of a value above the limit, to recognise it by.
pub const KEPT_BYTES: usize = 4096;

// a control character is escaped with six bytes
const _: () = assert!(crate::lake::PREFIX_BYTES >= 6 * KEPT_BYTES + 64);

/// What is kept of a value above the limit: its first 4 KiB, the same wherever the record was read.
pub fn kept(value: &[u8]) -> &[u8] {
    &value[..value.len().min(KEPT_BYTES)]
}

/// The same of a line that was too large to be read whole ([`Fetched::TooLarge`](crate::lake::Fetched::TooLarge)), from
/// the beginning that was handed out: of a wrapped line it is the beginning of the value. `ours` says whether pinflow
/// wrote the object.
pub fn kept_of_line(beginning: &[u8], ours: bool) -> Vec<u8> {
    let after = |field: &str| {
        let text = beginning.strip_prefix(b"{\"")?.strip_prefix(field.as_bytes())?;
        text.strip_prefix(b"\":\"")
    };
    let value = match ours {
        false => None,
        true => after(RAW).map(unescaped).or_else(|| after(RAW_BASE64).map(decoded)),
    };
    kept(value.as_deref().unwrap_or(beginning)).to_vec()
}

/// The text of a JSON string of which only the beginning is there.
fn unescaped(json: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(KEPT_BYTES);
    let mut rest = json;
    while let [byte, tail @ ..] = rest
        && *byte != b'"'
        && text.len() < KEPT_BYTES
    {
        let (plain, used) = match (byte, tail) {
            (b'\\', [b'u', hex @ ..]) => {
                let digits = hex.get(..4).and_then(|digits| std::str::from_utf8(digits).ok());
                let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
                // serde_json escapes control characters alone; what is cut off says nothing
                match code.and_then(char::from_u32) {
                    Some(character) => (character, 6),
                    None => break,
                }
            }
            (b'\\', [escape, ..]) => {
                let plain = match escape {
                    b'n' => '\n',
                    b'r' => '\r',
                    b't' => '\t',
                    b'b' => '\u{8}',
                    b'f' => '\u{c}',
                    other => char::from(*other),
                };
                (plain, 2)
            }
            (b'\\', []) => break,
            _ => {
                text.push(*byte);
                rest = tail;
                continue;
            }
        };
        text.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes());
        rest = &rest[used..];
    }
    text
}

/// The bytes of a base64 string of which only the beginning is there.
fn decoded(json: &[u8]) -> Vec<u8> {
    let end = memchr::memchr(b'"', json).unwrap_or(json.len() / 4 * 4);
    BASE64.decode(&json[..end]).unwrap_or_default()
}

/// The longest line of a value of so many bytes: base64 of it, and the field around.
pub const fn longest_line(value_bytes: usize) -> usize {
    value_bytes.div_ceil(3) * 4 + 64
}

/// Whether a value is JSON that every reader takes.
pub fn is_json(value: &[u8]) -> bool {
    !value.starts_with(BYTE_ORDER_MARK) && serde_json::from_slice::<Checked>(value).is_ok()
}

/// Appends the line of a value, its newline included. A value above `record_bytes` stays above it.
pub fn append_value(value: &[u8], record_bytes: usize, out: &mut Vec<u8>) {
    let begin = out.len();
    if is_json(value) {
        let several = memchr::memchr2(b'\n', b'\r', value).is_some();
        if !several {
            out.extend_from_slice(value);
        } else if value.len() <= record_bytes {
            append_compact(value, out);
        }
        let taken = !several || value.len() <= record_bytes;
        if taken && !out[begin..].starts_with(PREFIX) {
            out.push(b'\n');
            return;
        }
        out.truncate(begin);
    }
    append_wrapped(RAW, RAW_BASE64, value, out);
}

/// Appends a line of another writer's object to one of ours, a newline behind it: it means the same there.
pub(super) fn append_of_other_writer(line: &[u8], out: &mut Vec<u8>) {
    match line.starts_with(PREFIX) {
        true => append_wrapped(RAW, RAW_BASE64, line, out),
        false => {
            out.extend_from_slice(line);
            out.push(b'\n');
        }
    }
}

/// Appends the line of a null value whose key no delete line can express.
pub fn append_tombstone(key: Option<&[u8]>, out: &mut Vec<u8>) {
    match key {
        Some(key) => append_wrapped(TOMBSTONE, TOMBSTONE_BASE64, key, out),
        None => out.extend_from_slice(b"{\"__pinflow_tombstone\":null}\n"),
    }
}

fn append_wrapped(text_field: &str, base64_field: &str, bytes: &[u8], out: &mut Vec<u8>) {
    let text = std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| serde_json::to_string(text).ok());
    // control characters take six bytes each as text: then base64 is the shorter one
    let text = text.filter(|text| text.len() + text_field.len() + 6 <= longest_line(bytes.len()));
    let (field, text) = match text {
        Some(text) => (text_field, text),
        None => (base64_field, format!("\"{}\"", BASE64.encode(bytes))),
    };
    out.extend_from_slice(b"{\"");
    out.extend_from_slice(field.as_bytes());
    out.extend_from_slice(b"\":");
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"}\n");
}

/// Appends JSON without the white space outside of its strings. Numbers and strings stay as they are written.
fn append_compact(json: &[u8], out: &mut Vec<u8>) {
    let (mut in_string, mut escaped) = (false, false);
    for &byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b' ' | b'\t' | b'\n' | b'\r' if !in_string => continue,
            _ => {}
        }
        out.push(byte);
    }
}

/// What a wrapped line stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Original {
    /// This value.
    Value(Vec<u8>),
    /// A null value under this key.
    Tombstone(Option<Vec<u8>>),
}

/// The record that a wrapped line stands for; `None` for every other line, which is its own value.
pub fn original(line: &[u8]) -> Option<Original> {
    // nearly every line ends here
    if !line.starts_with(PREFIX) {
        return None;
    }
    let fields: BTreeMap<String, Option<String>> = serde_json::from_slice(line).ok()?;
    let (field, text) = fields.into_iter().next()?;
    match (field.as_str(), text) {
        (RAW, Some(text)) => Some(Original::Value(text.into_bytes())),
        (RAW_BASE64, Some(text)) => Some(Original::Value(BASE64.decode(text).ok()?)),
        (TOMBSTONE, Some(text)) => Some(Original::Tombstone(Some(text.into_bytes()))),
        (TOMBSTONE_BASE64, Some(text)) => Some(Original::Tombstone(Some(BASE64.decode(text).ok()?))),
        (TOMBSTONE, None) => Some(Original::Tombstone(None)),
        _ => None,
    }
}

/// Parses and forgets: stricter than serde_json's own way to skip a value, which passes over half a surrogate pair and
/// over numbers beyond the range of doubles.
struct Checked;

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Checked, D::Error> {
        deserializer.deserialize_any(Checked)
    }
}

impl<'de> Visitor<'de> for Checked {
    type Value = Checked;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_str<E>(self, _: &str) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Checked, A::Error> {
        while elements.next_element::<Checked>()?.is_some() {}
        Ok(Checked)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Checked, A::Error> {
        while entries.next_entry::<Checked, Checked>()?.is_some() {}
        Ok(Checked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: usize = 64;

    fn line(value: &[u8]) -> String {
        let mut out = Vec::new();
        append_value(value, LIMIT, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_stays_as_it_is_and_the_rest_is_wrapped() {
        for same in [r#"{"ind":1,"x":1.50e2}"#, "[1, 2]", " 7 ", r#""text""#, "null"] {
            assert_eq!(line(same.as_bytes()), format!("{same}\n"));
        }
        assert_eq!(
            line(b"{\n  \"a b\": \"c\\\" \\\\\",\r\n\t\"n\": 1.0 }\n"),
            "{\"a b\":\"c\\\" \\\\\",\"n\":1.0}\n"
        );
        assert_eq!(line(b"no\nJSON"), "{\"__pinflow_raw\":\"no\\nJSON\"}\n");
        assert_eq!(line(b""), "{\"__pinflow_raw\":\"\"}\n");
        assert_eq!(line(b"\xff\x00"), "{\"__pinflow_raw_base64\":\"/wA=\"}\n");
        assert_eq!(line(br#""\ud800""#), "{\"__pinflow_raw\":\"\\\"\\\\ud800\\\"\"}\n");
        assert!(line(b"1e999").starts_with("{\"__pinflow_raw\""));
        assert!(line(b"\xef\xbb\xbf{}").starts_with("{\"__pinflow_raw\""));
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        assert!(line(deep.as_bytes()).starts_with("{\"__pinflow_raw\""));
    }

    #[test]
    fn what_is_too_large_stays_too_large() {
        let pretty = format!("{{\n{}\"a\":1}}", " ".repeat(LIMIT));
        let wrapped = line(pretty.as_bytes());
        assert_eq!(
            original(wrapped.trim_end().as_bytes()),
            Some(Original::Value(pretty.into_bytes()))
        );
    }

    #[test]
    fn a_producer_cannot_speak_for_us() {
        for value in [&b"{\"__pinflow_raw\":\"x\"}"[..], b"\n{ \"__pinflow_raw\":\"x\"}"] {
            let wrapped = line(value);
            assert_eq!(
                original(wrapped.trim_end().as_bytes()),
                Some(Original::Value(value.to_vec()))
            );
        }
    }

    #[test]
    fn a_line_of_another_writer_means_the_same_in_our_object() {
        for theirs in [
            &b"{\"__pinflow_raw\":\"x\"}"[..],
            b"{\"__pinflow_other\":\xff",
            b"{\"ind\":1}",
            b"no JSON",
            b"",
        ] {
            let mut out = Vec::new();
            append_of_other_writer(theirs, &mut out);
            assert_eq!(out.pop(), Some(b'\n'));
            match original(&out) {
                Some(back) => assert_eq!(back, Original::Value(theirs.to_vec())),
                None => assert_eq!(out, theirs),
            }
            assert_eq!(original(&out).is_some(), theirs.starts_with(PREFIX));
        }
    }

    #[test]
    fn the_same_beginning_is_kept_of_a_large_value_however_it_is_stored() {
        let plain = format!("{{\"title\":\"{}\"}}", "x".repeat(100_000));
        let pretty = format!("{{\n\t\"ü\\\"\": \"{}\"}}", "\u{1}ü\r\u{8}\u{c}/".repeat(20_000));
        let text = format!("no JSON {}", "\u{7}ä\"\\".repeat(20_000));
        let controls = "\u{1}".repeat(100_000);
        let mut bytes = vec![b'"', 0xff];
        bytes.extend(std::iter::repeat_n([7u8, 200], 50_000).flatten());
        let short = b"short \xff".to_vec();
        for value in [
            plain.as_bytes(),
            pretty.as_bytes(),
            text.as_bytes(),
            controls.as_bytes(),
            &bytes,
            &short,
        ] {
            let line = {
                let mut out = Vec::new();
                append_value(value, LIMIT, &mut out);
                out.pop();
                out
            };
            let beginning = &line[..line.len().min(crate::lake::PREFIX_BYTES)];
            assert_eq!(kept_of_line(beginning, true), kept(value));
            assert_eq!(kept_of_line(beginning, false), kept(beginning));
        }
    }

    #[test]
    fn keys_of_tombstones_come_back() {
        for key in [None, Some(&b""[..]), Some(b"abc"), Some(b"\xff")] {
            let mut out = Vec::new();
            append_tombstone(key, &mut out);
            assert_eq!(out.pop(), Some(b'\n'));
            assert_eq!(original(&out), Some(Original::Tombstone(key.map(<[u8]>::to_vec))));
        }
    }

    proptest! {
        #[test]
        fn every_value_is_one_line_that_gives_it_back(value in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut out = Vec::new();
            append_value(&value, LIMIT, &mut out);
            prop_assert_eq!(out.pop(), Some(b'\n'));
            prop_assert!(!out.contains(&b'\n') && !out.contains(&b'\r'));
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&out).is_ok());
            prop_assert!(out.len() <= longest_line(value.len()));
            match original(&out) {
                Some(Original::Value(back)) => prop_assert_eq!(back, value),
                Some(other) => prop_assert!(false, "{:?}", other),
                None => prop_assert_eq!(
                    serde_json::from_slice::<serde_json::Value>(&out).unwrap(),
                    serde_json::from_slice::<serde_json::Value>(&value).unwrap()
                ),
            }
        }
    }
}
