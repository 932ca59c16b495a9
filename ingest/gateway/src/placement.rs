//! Where a record goes: the topic that a name of Kinesis means, the key inside a value, and the partition of both.
//!
//! Pure functions, for the dialects and for whatever else writes the same records into the same topics: one key has one
//! partition, whichever way its records come.

use super::config::Stream;
use super::{partition, record};
use ingest::Partition;

/// The topic that is configured under this very name, or under this alias.
pub(super) fn exact_topic<'a>(
    streams: &'a [Stream],
    alias: impl Fn(&str) -> Option<&'a str>,
    name: &str,
) -> Option<&'a str> {
    let mut own = streams.iter().filter_map(|stream| stream.topic.as_deref());
    alias(name).or_else(|| own.find(|topic| *topic == name))
}

/// The topic of the kind that a stream's name ends in, or the partition key of one of its records.
pub(super) fn topic_of_kind<'a>(streams: &'a [Stream], stream: &str, partition_key: Option<&str>) -> Option<&'a str> {
    let kind = [Some(stream), partition_key].into_iter().flatten().find_map(|text| {
        let kind = |stream: &&Stream| text == stream.name || has_suffix(text, &stream.name, &['-', '.', '_']);
        streams.iter().find(kind)
    })?;
    kind.topic.as_deref()
}

/// The topic of a record of a stream: the stream's own, by its name or by an alias, or that of its kind.
pub fn topic_of_stream<'a>(
    streams: &'a [Stream],
    aliases: &'a [(String, String)],
    stream: &str,
    partition_key: &str,
) -> Option<&'a str> {
    let alias = |name: &str| {
        let mut named = aliases.iter().filter(|(alias, _)| alias == name);
        named.next().map(|(_, topic)| topic.as_str())
    };
    exact_topic(streams, alias, stream).or_else(|| topic_of_kind(streams, stream, Some(partition_key)))
}

/// The key inside a value, if it is JSON and has one in a field of these names.
pub fn key_in_value(value: &[u8], key_fields: &[String]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?;
    record::key_of(text, key_fields).ok().flatten()
}

/// The partition among `count`. What a record is about decides, before what its sender calls it; `None` where neither is
/// known.
pub fn partition_of(ind: Option<i64>, sent_key: Option<&[u8]>, key_fields: &[String], count: i32) -> Option<Partition> {
    let of_number = |number: i64| partition::of_key(number.to_string().as_bytes(), count);
    match (ind, sent_key) {
        (Some(ind), _) => Some(of_number(ind)),
        (None, Some(key)) => Some(match record::number_of(key, key_fields) {
            Some(number) => of_number(number),
            None => partition::of_key(key, count),
        }),
        (None, None) => None,
    }
}

/// Whether `name` ends in `suffix` after one of these separators.
pub(super) fn has_suffix(name: &str, suffix: &str, separators: &[char]) -> bool {
    name.strip_suffix(suffix)
        .is_some_and(|rest| rest.len() > 1 && rest.ends_with(separators))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streams() -> Vec<Stream> {
        let stream = |name: &str| Stream {
            name: name.to_owned(),
            topic: Some(format!("u.{name}")),
            fields: Vec::new(),
        };
        ["pin", "geo", "user"].map(stream).into()
    }

    #[test]
    fn a_stream_means_its_topic_then_its_kind_then_that_of_a_key() {
        let aliases = [("old".to_owned(), "u.geo".to_owned())];
        let streams = streams();
        let of = |stream: &str, key: &str| topic_of_stream(&streams, &aliases, stream, key);
        assert_eq!(of("streaming-1-pin", "user"), Some("u.pin"));
        assert_eq!(of("old", "pin"), Some("u.geo"));
        assert_eq!(of("u.user", "pin"), Some("u.user"));
        assert_eq!(of("events", "1-geo"), Some("u.geo"));
        assert_eq!(of("events", "geo"), Some("u.geo"));
        assert_eq!(of("events", "x"), None);
    }

    #[test]
    fn one_key_has_one_partition_however_it_is_written() {
        let fields = ["ind".to_owned(), "index".to_owned()];
        let of = |value: &str, key: &str| {
            partition_of(
                key_in_value(value.as_bytes(), &fields),
                Some(key.as_bytes()),
                &fields,
                7,
            )
        };
        let seven = of(r#"{"ind":7}"#, "pin");
        assert!(seven.is_some());
        for (value, key) in [
            (r#"[{"value":{"index":"7"}}]"#, "geo"),
            ("no json", "7"),
            ("\"\"", r#"{"ind":7}"#),
        ] {
            assert_eq!(of(value, key), seven, "{value} {key}");
        }
        assert_eq!(partition_of(None, None, &fields, 7), None);
    }
}
