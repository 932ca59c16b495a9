//! What a writer says about an object: its end, its records, what it covers, a checksum.
//!
//! On S3 these are user metadata (`x-amz-meta-…`), on `file://` a sidecar `<name>.meta.json` with the same names. Every
//! item may be absent: objects of other writers have none.

use super::error::LakeError;
use std::collections::BTreeMap;
use std::ops::Range;
use values::Offset;

/// User metadata as it is stored: lower-case names to text.
pub type MetadataMap = BTreeMap<String, String>;

const END: &str = "pinflow-end";
const COUNT: &str = "pinflow-count";
const COVERS: &str = "pinflow-covers";
const CHECKSUM: &str = "pinflow-xxh3";
const BYTES: &str = "pinflow-bytes";

/// What a writer recorded about an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectMetadata {
    /// The offset after the last record.
    pub end: Option<Offset>,
    /// The number of records.
    pub count: Option<u64>,
    /// The offsets that the object stands for, natural holes (transaction markers, compaction) included.
    pub covers: Option<Range<Offset>>,
    /// xxh3 (64 bits) of the content before compression.
    pub checksum: Option<u64>,
    /// The object's bytes as stored.
    pub bytes: Option<u64>,
}

impl ObjectMetadata {
    /// The items as stored with an object.
    pub fn to_map(&self) -> MetadataMap {
        let mut map = MetadataMap::new();
        let mut put = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                map.insert(name.to_string(), value);
            }
        };
        put(END, self.end.map(|end| end.to_string()));
        put(COUNT, self.count.map(|count| count.to_string()));
        put(
            COVERS,
            self.covers
                .as_ref()
                .map(|covers| format!("{}..{}", covers.start, covers.end)),
        );
        put(CHECKSUM, self.checksum.map(|checksum| format!("{checksum:016x}")));
        put(BYTES, self.bytes.map(|bytes| bytes.to_string()));
        map
    }

    /// Whether pinflow wrote the object: any item of ours was stored with it. Only lines of such an object may be
    /// wrapped values ([`original`](super::original)); in any other one the same bytes are a producer's own record.
    pub fn is_ours(&self) -> bool {
        *self != ObjectMetadata::default()
    }

    /// Whether these are the metadata of an object of so many stored bytes. Metadata that stand beside their object, not
    /// with it, may be of another version of it.
    pub(crate) fn check_length(&self, object: &str, length: u64) -> Result<(), LakeError> {
        match self.bytes {
            Some(bytes) if bytes != length => Err(LakeError::Corrupt {
                object: object.to_string(),
                source: format!("it has {length} bytes, its metadata says {bytes}").into(),
            }),
            _ => Ok(()),
        }
    }

    /// Reads what was stored with `object`; names that are not ours are passed over.
    pub fn from_map<'a>(
        object: &str,
        items: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) -> Result<ObjectMetadata, LakeError> {
        let mut metadata = ObjectMetadata::default();
        for (name, text) in items {
            let bad = || LakeError::Metadata {
                object: object.to_string(),
                source: format!("{name} is {text:?}").into(),
            };
            let is_ours = [END, COUNT, COVERS, CHECKSUM, BYTES].contains(&name.as_str());
            if is_ours && text.starts_with('+') {
                return Err(bad());
            }
            match name.as_str() {
                END => metadata.end = Some(text.parse().map_err(|_| bad())?),
                COUNT => metadata.count = Some(text.parse().map_err(|_| bad())?),
                COVERS => metadata.covers = Some(parse_range(text).ok_or_else(bad)?),
                CHECKSUM => metadata.checksum = Some(u64::from_str_radix(text, 16).map_err(|_| bad())?),
                BYTES => metadata.bytes = Some(text.parse().map_err(|_| bad())?),
                _ => {}
            }
        }
        Ok(metadata)
    }
}

/// `from..to`, half-open, not reversed.
fn parse_range(text: &str) -> Option<Range<Offset>> {
    let (from, to) = text.split_once("..")?;
    let range = from.parse().ok()?..to.parse().ok()?;
    (range.start <= range.end).then_some(range)
}

/// The checksum of content before compression.
pub fn checksum(content: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(content)
}

#[cfg(test)]
mod fuzz;
