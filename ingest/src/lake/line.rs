//! The format of a lake's lines: which record a line stands for.
//!
//! A line is a record's value, byte for byte, when the value is JSON. Everything else is wrapped, so that the lake stays
//! readable JSON and the record can be had back exactly:
//!
//! | line | stands for |
//! |---|---|
//! | `{"__pinflow_raw":"…"}` | a value that is no JSON (or half a surrogate pair, or the empty value), as text |
//! | `{"__pinflow_raw_base64":"…"}` | the same where it is not UTF-8 |
//! | `{"__pinflow_tombstone":"…"}`, `…_base64`, or null | a null value under a key that no delete line can express |
//!
//! A value that looks like one of these is wrapped as well, so in an object that pinflow wrote ([`ObjectMetadata::is_ours`])
//! [`original`] never mistakes a producer's own record for ours. In objects of other writers nothing is wrapped. The
//! archive writes the lines (`archive/line.rs`).
//!
//! [`ObjectMetadata::is_ours`]: super::ObjectMetadata::is_ours

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::collections::BTreeMap;

/// How much of a line above the limit is handed out: enough to get the first 4 KiB of a value back that is wrapped in
/// the line (see [`kept_of_line`]).
pub(crate) const PREFIX_BYTES: usize = 25 << 10;

/// How each wrapped line begins; no other line does.
pub(crate) const WRAPPED_PREFIX: &[u8] = b"{\"__pinflow_";
pub(crate) const RAW: &str = "__pinflow_raw";
pub(crate) const RAW_BASE64: &str = "__pinflow_raw_base64";
pub(crate) const TOMBSTONE: &str = "__pinflow_tombstone";
pub(crate) const TOMBSTONE_BASE64: &str = "__pinflow_tombstone_base64";

/// How much is kept of a value above the limit, to recognise it by.
pub const KEPT_BYTES: usize = 4096;

// a control character is escaped with six bytes
const _: () = assert!(PREFIX_BYTES >= 6 * KEPT_BYTES + 64);

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
    let value = if ours {
        after(RAW).map(unescaped).or_else(|| after(RAW_BASE64).map(decoded))
    } else {
        None
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
    if !line.starts_with(WRAPPED_PREFIX) {
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

/// Lines of a text, empty ones included; the last one may lack its newline.
pub(crate) fn count_lines(text: &[u8]) -> u64 {
    let newlines = memchr::memchr_iter(b'\n', text).count() as u64;
    newlines + u64::from(!text.is_empty() && !text.ends_with(b"\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_line_stands_for_its_record_and_every_other_line_for_itself() {
        let value = |bytes: &[u8]| Some(Original::Value(bytes.to_vec()));
        let tombstone = |key: Option<&[u8]>| Some(Original::Tombstone(key.map(<[u8]>::to_vec)));
        for (line, expected) in [
            (r#"{"__pinflow_raw":"a\nb"}"#, value(b"a\nb")),
            (r#"{"__pinflow_raw_base64":"/wA="}"#, value(b"\xff\0")),
            (r#"{"__pinflow_tombstone":"key"}"#, tombstone(Some(b"key"))),
            (r#"{"__pinflow_tombstone_base64":"/w=="}"#, tombstone(Some(b"\xff"))),
            (r#"{"__pinflow_tombstone":null}"#, tombstone(None)),
            (r#"{"__pinflow_other":"x"}"#, None),
            (r#"{"ind":1}"#, None),
            ("", None),
        ] {
            assert_eq!(original(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn the_beginning_of_a_wrapped_line_gives_the_beginning_of_its_value() {
        assert_eq!(
            kept_of_line(br#"{"__pinflow_raw":"a\tb\u0001c\u00"#, true),
            b"a\tb\x01c"
        );
        assert_eq!(kept_of_line(br#"{"__pinflow_raw_base64":"/wABAg"#, true), b"\xff\0\x01");
        assert_eq!(
            kept_of_line(br#"{"__pinflow_raw":"a"}"#, false),
            br#"{"__pinflow_raw":"a"}"#
        );
    }
}
