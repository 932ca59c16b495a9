//! Prefixes of paths: what may stand in front of an interface's own path, and what may not.

/// Names that stand in the interfaces' own paths, beside the streams': none of them is a prefix.
const NAMES: [&str; 14] = [
    "healthz",
    "readyz",
    "metrics",
    "version",
    "openapi.json",
    "topics",
    "partitions",
    "v3",
    "clusters",
    "streams",
    "record",
    "records",
    // the REST proxy has these, we do not
    "brokers",
    "consumers",
];
/// Bytes of a prefix of one segment.
const SEGMENT: usize = 128;

/// Why a prefix cannot be configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// It holds something that no prefix holds.
    #[error("invalid prefix `{0}`: segments of letters, digits, `.`, `_`, `-`, `~` and `$`, as /prod or /api/kafka")]
    Form(String),
    /// A segment is a name of the gateway's own.
    #[error("invalid prefix `{prefix}`: `{name}` is a name of the gateway's own paths")]
    OwnName {
        /// The prefix.
        prefix: String,
        /// The segment.
        name: String,
    },
}

/// A configured prefix as `/a/b`, if it may be one beside streams of these names.
pub fn check_prefix(prefix: &str, streams: &[&str]) -> Result<String, PrefixError> {
    let trimmed = prefix.trim_matches('/');
    for segment in trimmed.split('/') {
        if !is_plain(segment) {
            return Err(PrefixError::Form(prefix.to_owned()));
        }
        if is_own_name(segment, streams.iter().copied()) {
            let (prefix, name) = (prefix.to_owned(), segment.to_owned());
            return Err(PrefixError::OwnName { prefix, name });
        }
    }
    Ok(format!("/{trimmed}"))
}

pub(super) fn is_own_name<'n>(segment: &str, streams: impl Iterator<Item = &'n str>) -> bool {
    NAMES
        .into_iter()
        .chain(streams)
        .any(|name| name.eq_ignore_ascii_case(segment))
}

/// Whether a segment may be a prefix, or a part of one.
pub(super) fn is_plain(segment: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'~' | b'$');
    (1..=SEGMENT).contains(&segment.len()) && segment.bytes().all(plain) && segment != "." && segment != ".."
}
