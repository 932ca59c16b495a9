//! Small control objects that several writers share: read with their version, written only over that version.

use super::availability::Asked;
use super::error::LakeError;
use super::{Lake, SMALL_OBJECT_BYTES, Store};
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

impl Lake {
    /// The whole of a small object (at most 16 MiB) with its version; `None` when there is none.
    pub async fn get_versioned(&self, key: &str) -> Result<Option<(Vec<u8>, Version)>, LakeError> {
        let (bytes, etag) = match &self.store {
            Store::S3(store) => match store.get_small(key, SMALL_OBJECT_BYTES).await? {
                Some(small) => (small.bytes, small.etag),
                None => return Ok(None),
            },
            Store::File(_) => match self.get_small(key).await? {
                Some(bytes) => (bytes, None),
                None => return Ok(None),
            },
        };
        let version = Version::of(&bytes, etag.as_deref());
        Ok(Some((bytes, version)))
    }

    /// Writes a small object if its version is still the expected one; `None` expects that there is no object. `true`:
    /// it was written. `false`: another version stands there, read it with [`Lake::get_versioned`] and decide anew.
    /// Durable when it returns.
    ///
    /// Of two writers at the same moment one is refused: by S3 (`If-Match`, `If-None-Match`), on `file://` by a lock
    /// that holds between the processes of one machine. A server that does not know the conditions is asked what stands
    /// there right before the write ([`Lake::refuses_overwriting`]).
    ///
    /// When the answer to a write was lost, the repeated one is refused because of itself: `false` does not mean that
    /// these bytes were never written. So the bytes to write must follow from those that were read, and whoever is
    /// refused reads again, perhaps to find his own.
    pub async fn put_if(&self, key: &str, bytes: Vec<u8>, expected: Option<&Version>) -> Result<bool, LakeError> {
        match &self.store {
            Store::S3(store) => store.put_if(key, bytes.into(), expected).await,
            Store::File(store) => {
                let (store, of, expected) = (store.clone(), key.to_string(), expected.cloned());
                self.repeat(Asked::Change, "write", key, move || {
                    store.put_if(&of, &bytes, expected.as_ref(), SMALL_OBJECT_BYTES)
                })
                .await
            }
        }
    }
}
