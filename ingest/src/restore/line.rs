//! The record that a line of the lake stands for (see `lake/line.rs` for the format).

use super::options::Meaning;
use crate::lake::{Original, original};
use std::borrow::Cow;
use values::Offset;

/// Who wrote the object that a line is of, which decides what the line means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineFormat {
    /// Our archiver: values that are no JSON are wrapped, deletes are lines.
    Pinflow,
    /// Another writer: each line is a value.
    Values,
    /// Connect's `tombstone/` folder: each line is the key of a deleted record.
    DeletedKeys,
}

/// A record as it is written to Kafka.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// Its original offset.
    pub(super) offset: Offset,
    /// Its key.
    pub(super) key: Option<Cow<'a, [u8]>>,
    /// Its value; `None` is a delete.
    pub(super) value: Option<Cow<'a, [u8]>>,
}

/// The record of a line without its newline.
pub(super) fn record<'a>(
    meaning: &dyn Meaning,
    topic: u8,
    format: LineFormat,
    line: &'a [u8],
    offset: Offset,
) -> Record<'a> {
    let deleted = |key: Option<Vec<u8>>| Record {
        offset,
        key: key.map(Cow::Owned),
        value: None,
    };
    let value = |value: Cow<'a, [u8]>| Record {
        offset,
        key: meaning.key_of_value(topic, &value).map(Cow::Owned),
        value: Some(value),
    };
    match format {
        LineFormat::Values => value(Cow::Borrowed(line)),
        LineFormat::DeletedKeys => deleted(Some(meaning.deleted_by_key(topic, line))),
        LineFormat::Pinflow => match (meaning.deleted_by_line(topic, line), original(line)) {
            (Some(key), _) => deleted(Some(key)),
            (None, Some(Original::Tombstone(key))) => deleted(key),
            (None, Some(Original::Value(bytes))) => value(Cow::Owned(bytes)),
            (None, None) => value(Cow::Borrowed(line)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value's key is its first byte; `-k` deletes the key `k`.
    struct Plain;

    impl Meaning for Plain {
        fn key_of_value(&self, _: u8, value: &[u8]) -> Option<Vec<u8>> {
            value.first().map(|byte| vec![*byte])
        }

        fn deleted_by_line(&self, _: u8, line: &[u8]) -> Option<Vec<u8>> {
            line.strip_prefix(b"-").map(<[u8]>::to_vec)
        }

        fn deleted_by_key(&self, _: u8, line: &[u8]) -> Vec<u8> {
            line.to_ascii_uppercase()
        }
    }

    #[test]
    fn a_line_is_read_as_its_writer_meant_it() {
        type Parts<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);
        let check = |format, line: &str, (key, value): Parts<'_>| {
            let found = record(&Plain, 0, format, line.as_bytes(), Offset(3));
            let found_parts = (found.key.as_deref(), found.value.as_deref());
            assert_eq!(
                (found.offset, found_parts),
                (Offset(3), (key, value)),
                "{format:?} {line}"
            );
        };
        use LineFormat::{DeletedKeys, Pinflow, Values};
        check(Values, "abc", (Some(b"a"), Some(b"abc")));
        check(Pinflow, "abc", (Some(b"a"), Some(b"abc")));
        check(Values, "", (None, Some(b"")));
        check(Values, "-k", (Some(b"-"), Some(b"-k")));
        check(Pinflow, "-k", (Some(b"k"), None));
        check(DeletedKeys, "k", (Some(b"K"), None));
        let raw = r#"{"__pinflow_raw":"x y"}"#;
        check(Pinflow, raw, (Some(b"x"), Some(b"x y")));
        check(Values, raw, (Some(b"{"), Some(raw.as_bytes())));
        check(
            Pinflow,
            r#"{"__pinflow_raw_base64":"/wA="}"#,
            (Some(b"\xff"), Some(b"\xff\0")),
        );
        check(Pinflow, r#"{"__pinflow_tombstone":"seven"}"#, (Some(b"seven"), None));
        check(Pinflow, r#"{"__pinflow_tombstone":null}"#, (None, None));
    }
}
