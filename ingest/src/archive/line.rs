//! Makes one line of a lake of one record (see `lake/line.rs` for the format).
//!
//! A value that is JSON is written as it came, byte for byte; only the white space of a value that spans several lines
//! is left out. Everything else is wrapped, and so is a value that looks like a wrapped line. A compaction that merges
//! objects of other writers, in which nothing is wrapped, wraps what looks like it ([`append_of_other_writer`]).

use crate::lake::{BYTE_ORDER_MARK, RAW, RAW_BASE64, TOMBSTONE, TOMBSTONE_BASE64, WRAPPED_PREFIX, longest_line};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

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
        if taken && !out[begin..].starts_with(WRAPPED_PREFIX) {
            out.push(b'\n');
            return;
        }
        out.truncate(begin);
    }
    append_wrapped(RAW, RAW_BASE64, value, out);
}

/// Appends a line of another writer's object to one of ours, a newline behind it: it means the same there.
pub(super) fn append_of_other_writer(line: &[u8], out: &mut Vec<u8>) {
    if line.starts_with(WRAPPED_PREFIX) {
        append_wrapped(RAW, RAW_BASE64, line, out)
    } else {
        out.extend_from_slice(line);
        out.push(b'\n');
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
    use crate::lake::{Original, kept, kept_of_line, original};
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
            assert_eq!(original(&out).is_some(), theirs.starts_with(WRAPPED_PREFIX));
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
