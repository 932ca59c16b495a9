//! The version of a small control object that several writers share: it is written only over the version that was read
//! ([`Lake::put_if`](super::Lake::put_if)).

use xxhash_rust::xxh3::xxh3_128;

/// What a small object held when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    etag: Option<Box<str>>,
    /// xxh3 (128 bits) of the content.
    content: u128,
}

impl Version {
    pub(crate) fn of(bytes: &[u8], etag: Option<&str>) -> Version {
        Version {
            etag: etag.map(Into::into),
            content: xxh3_128(bytes),
        }
    }

    pub(crate) fn etag(&self) -> Option<&str> {
        self.etag.as_deref()
    }

    pub(crate) fn same_content(&self, other: &Version) -> bool {
        self.content == other.content
    }
}
