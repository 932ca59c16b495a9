//! Opens one object: its content's bytes, decompressed, and what its writer recorded, both of the same version of it.
//!
//! In S3 the two come in one answer. Where metadata stand in a file beside the object, the object may be replaced between
//! the two looks; then it is an error that another look resolves.

use super::body::{S3Body, Waiter};
use super::error::{LakeError, from_io};
use super::file;
use super::listing::Object;
use super::metadata::ObjectMetadata;
use super::name::{Encoding, sidecar_key};
use super::options::SMALL_OBJECT_BYTES;
use super::store::{Lake, Store};
use flate2::bufread::MultiGzDecoder;
use std::io::{self, BufRead, BufReader, Read};

/// An object's content and metadata.
pub(super) type Opened = (Box<dyn Read>, Option<ObjectMetadata>);

/// Opens an object: its content's bytes, decompressed, and what its writer recorded about it.
pub(super) fn open(lake: &Lake, waiter: &Waiter, object: &Object) -> Result<Opened, LakeError> {
    let key = &object.key;
    Ok(match &lake.store {
        Store::File(store) => {
            let file = store.open(key)?;
            let metadata = if object.sidecar {
                store.metadata_of(key, &file, SMALL_OBJECT_BYTES)?
            } else {
                None
            };
            match object.encoding {
                Encoding::Plain => (Box::new(file), metadata),
                Encoding::Gzip => (decoder(key, BufReader::with_capacity(64 << 10, file))?, metadata),
            }
        }
        Store::S3(store) => {
            let mut body = S3Body::open(store.clone(), waiter.clone(), key)?;
            let metadata = match body.metadata() {
                None if object.sidecar => s3_sidecar(lake, waiter, key, body.length())?,
                stored => stored,
            };
            match object.encoding {
                Encoding::Plain => (Box::new(body), metadata),
                Encoding::Gzip => (decoder(key, body)?, metadata),
            }
        }
    })
}

/// A sidecar beside an object in a bucket: a folder lake that was copied there.
fn s3_sidecar(
    lake: &Lake,
    waiter: &Waiter,
    key: &str,
    length: Option<u64>,
) -> Result<Option<ObjectMetadata>, LakeError> {
    let sidecar = sidecar_key(key);
    let bytes = waiter.wait(lake.get_small(&sidecar));
    let bytes = bytes.ok_or(LakeError::Stopped { object: sidecar })??;
    // it was listed with a sidecar, so without one it is another version
    let bytes = bytes.ok_or_else(|| LakeError::Changed {
        object: key.to_string(),
    })?;
    let metadata = file::parse_sidecar(key, &bytes)?;
    if let Some(length) = length {
        metadata.check_length(key, length)?;
    }
    Ok(Some(metadata))
}

/// Decompresses all members; an object without bytes is an empty object, not a truncated one.
#[expect(
    clippy::disallowed_methods,
    reason = "the cutter counts what comes out and stops at the limit"
)]
pub(super) fn decoder<'a>(key: &str, mut source: impl BufRead + 'a) -> Result<Box<dyn Read + 'a>, LakeError> {
    if source
        .fill_buf()
        .map_err(|error| from_io("read", key, error))?
        .is_empty()
    {
        Ok(Box::new(io::empty()))
    } else {
        Ok(Box::new(MultiGzDecoder::new(source)))
    }
}
