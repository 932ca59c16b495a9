//! Writing an object piece by piece, in bounded memory: it appears as a whole when it is finished, or not at all.
//!
//! On `file://` it has a temporary name meanwhile, in S3 it is sent in parts. An object that is neither finished nor
//! aborted, because its writer was killed, leaves its temporary file or its parts behind.

use super::error::{LakeError, from_io};
use super::partial_file::PartialFile;
use super::s3::ObjectStream;
use super::store::{Lake, Store, blocking};
use bytes::Bytes;
use std::io;
use std::sync::Arc;

/// An object that is being written.
#[derive(Debug)]
pub struct ObjectWriter {
    key: String,
    target: Target,
    bytes: u64,
}

#[derive(Debug)]
enum Target {
    /// `None` while a thread has it, and after a failure.
    File(Option<PartialFile>),
    S3(ObjectStream),
}

impl Lake {
    /// Begins an object under a key that nobody else writes, without metadata. In S3 it is sent in parts of `part_bytes`.
    pub async fn create(&self, key: &str, part_bytes: usize) -> Result<ObjectWriter, LakeError> {
        let target = match &self.store {
            Store::S3(store) => Target::S3(ObjectStream::new(Arc::clone(store), key, part_bytes)),
            Store::File(store) => {
                let (store, of) = (Arc::clone(store), key.to_owned());
                Target::File(Some(blocking(move || store.create(&of)).await?))
            }
        };
        Ok(ObjectWriter {
            key: key.to_owned(),
            target,
            bytes: 0,
        })
    }
}

impl ObjectWriter {
    /// Appends bytes.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), LakeError> {
        self.bytes += bytes.len() as u64;
        match &mut self.target {
            Target::S3(stream) => stream.write(&bytes).await,
            Target::File(partial) => {
                let (mut file, key) = (take(partial, &self.key)?, self.key.clone());
                let written = blocking(move || {
                    let written = file.write(&bytes);
                    written.map(|()| file).map_err(|source| from_io("write", &key, source))
                });
                *partial = Some(written.await?);
                Ok(())
            }
        }
    }

    /// Makes it an object, durable when this returns; its bytes.
    pub async fn finish(&mut self) -> Result<u64, LakeError> {
        match &mut self.target {
            Target::S3(stream) => stream.finish().await?,
            Target::File(partial) => {
                let (file, key) = (take(partial, &self.key)?, self.key.clone());
                blocking(move || file.finish().map_err(|source| from_io("write", &key, source))).await?;
            }
        }
        Ok(self.bytes)
    }

    /// Gives it up.
    pub async fn abort(mut self) {
        match &mut self.target {
            Target::S3(stream) => stream.abort().await,
            Target::File(partial) => drop(partial.take()),
        }
    }
}

/// The file, unless an earlier call has failed.
fn take(partial: &mut Option<PartialFile>, key: &str) -> Result<PartialFile, LakeError> {
    partial
        .take()
        .ok_or_else(|| from_io("write", key, io::Error::other("an earlier write has failed")))
}
