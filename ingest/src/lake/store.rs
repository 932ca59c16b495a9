//! A lake's calls, whichever store keeps its objects: a folder or a bucket.

use super::availability::{Attempts, Availability, RequestKind};
use super::error::{LakeError, read_error};
use super::file::{FileStore, parse_sidecar};
use super::listing::{Listing, Object};
use super::lock::LakeLock;
use super::metadata::{MetadataMap, ObjectMetadata};
use super::name::{Encoding, sidecar_key};
use super::options::{LakeOptions, SMALL_OBJECT_BYTES};
use super::s3::S3Store;
use super::url::LakeUrl;
use super::version::Version;
use std::sync::Arc;
use std::time::Duration;

/// What keeps a lake's objects.
#[derive(Debug, Clone)]
pub(super) enum Store {
    File(Arc<FileStore>),
    S3(Arc<S3Store>),
}

/// A lake. Clones share the connection pool.
#[derive(Debug, Clone)]
pub struct Lake {
    url: LakeUrl,
    pub(super) store: Store,
    pub(super) availability: Arc<Availability>,
}

impl Lake {
    /// Prepares to read; the first request is made by the first call. Must run on a multi-threaded tokio runtime.
    pub async fn open(url: LakeUrl, options: LakeOptions) -> Result<Lake, LakeError> {
        let availability = Availability::new(url.to_string(), options.retries, options.observer.clone());
        let store = match &url {
            LakeUrl::File(root) => Store::File(Arc::new(FileStore::new(root.clone()))),
            LakeUrl::S3 { bucket, prefix } => {
                let availability = Arc::clone(&availability);
                Store::S3(Arc::new(S3Store::open(bucket, prefix, &options, availability).await))
            }
        };
        Ok(Lake {
            url,
            store,
            availability,
        })
    }

    /// Where the lake is.
    pub fn url(&self) -> &LakeUrl {
        &self.url
    }

    /// Lists the objects of `topics` (the index is the topic's number) and of older layouts. A folder or bucket that
    /// does not exist is [`LakeError::NoLake`].
    pub async fn list<T>(&self, topics: &[T]) -> Result<Listing, LakeError>
    where
        T: AsRef<str> + Clone + Send + Sync + 'static,
    {
        match &self.store {
            Store::S3(store) => store.list(topics).await,
            Store::File(store) => {
                let (store, topics) = (store.clone(), topics.to_vec());
                let folder = self.url.to_string();
                self.repeat(RequestKind::Listing, "list", &folder, move || store.list(&topics))
                    .await
            }
        }
    }

    /// What an object's writer recorded about it; absent items are `None`. One request (S3) or one small read (file).
    pub async fn metadata(&self, object: &Object) -> Result<ObjectMetadata, LakeError> {
        let stored = match &self.store {
            Store::S3(store) => store.metadata(&object.key).await?,
            Store::File(_) => None,
        };
        match stored {
            Some(metadata) => Ok(metadata),
            None if object.sidecar => match self.get_small(&sidecar_key(&object.key)).await? {
                Some(bytes) => parse_sidecar(&object.key, &bytes),
                None => Ok(ObjectMetadata::default()),
            },
            None => Ok(ObjectMetadata::default()),
        }
    }

    /// Writes an object with its metadata, replacing what stood there: readers see the old one or the new one. Durable
    /// when it returns.
    pub async fn put(&self, key: &str, bytes: Vec<u8>, metadata: MetadataMap) -> Result<(), LakeError> {
        match &self.store {
            Store::S3(store) => store.put(key, bytes, &metadata).await,
            Store::File(store) => {
                let (store, of, bytes) = (store.clone(), key.to_string(), bytes::Bytes::from(bytes));
                self.repeat(RequestKind::Change, "write", key, move || {
                    store.put(&of, &bytes, &metadata)
                })
                .await
            }
        }
    }

    /// Writes an object with its metadata unless one stands under that key; whether it was written. Durable when it
    /// returns. In S3 an object above `part_bytes` is uploaded in parts of that size.
    ///
    /// Of two writers at the same moment one is refused where the store sees to it: S3 does (`If-None-Match: *`),
    /// and [`Lake::refuses_overwriting`] asks whether another server does; on `file://` the writers of a topic
    /// exclude each other with [`Lake::lock`].
    pub async fn put_new(
        &self,
        key: &str,
        bytes: bytes::Bytes,
        metadata: &MetadataMap,
        part_bytes: usize,
    ) -> Result<bool, LakeError> {
        match &self.store {
            Store::S3(store) => store.put_new(key, bytes, metadata, part_bytes).await,
            Store::File(store) => {
                let (store, of, metadata) = (store.clone(), key.to_string(), metadata.clone());
                self.repeat(RequestKind::Change, "write", key, move || {
                    store.put_new(&of, &bytes, &metadata)
                })
                .await
            }
        }
    }

    /// Whether the store refuses to write over an object. A server that says yes to everything, or does not know the
    /// condition, is asked before each write instead, which leaves a moment between question and write.
    pub async fn refuses_overwriting(&self) -> Result<bool, LakeError> {
        match &self.store {
            Store::S3(store) => Ok(store.conditions().await?.absent),
            Store::File(_) => Ok(true),
        }
    }

    /// Removes an object and its sidecar; one that does not exist is no error.
    pub async fn delete(&self, key: &str) -> Result<(), LakeError> {
        match &self.store {
            Store::S3(store) => store.delete(key).await,
            Store::File(store) => {
                let (store, of) = (store.clone(), key.to_string());
                self.repeat(RequestKind::Change, "remove", key, move || store.delete(&of))
                    .await
            }
        }
    }

    /// What the writer of the object under this key recorded; empty when it recorded nothing, `None` when there is no
    /// object.
    pub async fn look_at(&self, key: &str) -> Result<Option<ObjectMetadata>, LakeError> {
        match &self.store {
            Store::S3(store) => store.look_at(key).await,
            Store::File(store) => {
                let (store, of) = (store.clone(), key.to_string());
                self.repeat(RequestKind::Object, "look at", key, move || {
                    if store.exists(&of)? {
                        Ok(Some(store.metadata(&of, SMALL_OBJECT_BYTES)?.unwrap_or_default()))
                    } else {
                        Ok(None)
                    }
                })
                .await
            }
        }
    }

    /// The first `limit` bytes of an object's content, after decompression; fewer when it is shorter.
    pub async fn read_prefix(&self, key: &str, encoding: Encoding, limit: usize) -> Result<Vec<u8>, LakeError> {
        let of = key.to_string();
        match &self.store {
            Store::S3(store) => {
                let stored = store.get_prefix(key, encoding, limit).await?;
                blocking(move || decoded_prefix(&of, stored.as_slice(), encoding, limit)).await
            }
            Store::File(store) => {
                let store = store.clone();
                self.repeat(RequestKind::Object, "read", key, move || {
                    decoded_prefix(&of, store.open(&of)?, encoding, limit)
                })
                .await
            }
        }
    }

    /// Takes the lock of this name for this process, until the value is dropped; `None` while another process of this
    /// machine has it. Only `file://` lakes have locks: an S3 lake grants every one.
    pub fn lock(&self, name: &str) -> Result<Option<LakeLock>, LakeError> {
        match &self.url {
            LakeUrl::S3 { .. } => Ok(Some(LakeLock::none())),
            LakeUrl::File(root) => LakeLock::take(root, name),
        }
    }

    /// The whole of a small object (at most 16 MiB), such as our control objects; `None` when there is none.
    pub async fn get_small(&self, key: &str) -> Result<Option<Vec<u8>>, LakeError> {
        match &self.store {
            Store::S3(store) => {
                let small = store.get_small(key, SMALL_OBJECT_BYTES).await?;
                Ok(small.map(|small| small.bytes))
            }
            Store::File(store) => {
                let (store, of) = (store.clone(), key.to_string());
                self.repeat(RequestKind::Object, "read", key, move || {
                    store.get_small(&of, SMALL_OBJECT_BYTES)
                })
                .await
            }
        }
    }

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
                self.repeat(RequestKind::Change, "write", key, move || {
                    store.put_if(&of, &bytes, expected.as_ref(), SMALL_OBJECT_BYTES)
                })
                .await
            }
        }
    }

    /// Does blocking work until it succeeds, fails for good, or has failed for too long.
    pub(super) async fn repeat<O: Send + 'static>(
        &self,
        kind: RequestKind,
        action: &'static str,
        object: &str,
        work: impl Fn() -> Result<O, LakeError> + Send + Sync + 'static,
    ) -> Result<O, LakeError> {
        let mut attempts = Attempts::new(&self.availability, action);
        let work = Arc::new(work);
        loop {
            let work = Arc::clone(&work);
            match blocking(move || work()).await {
                Ok(outcome) => {
                    match kind {
                        RequestKind::Listing => attempts.succeeded(),
                        RequestKind::Object | RequestKind::Change => attempts.passed(),
                    }
                    return Ok(outcome);
                }
                Err(error) => tokio::time::sleep(self.settle(kind, object, error, &mut attempts)?).await,
            }
        }
    }

    /// What follows from a failure: a pause before the next attempt, or the error. The requests of an S3 lake have been
    /// repeated before.
    pub(super) fn settle(
        &self,
        kind: RequestKind,
        object: &str,
        error: LakeError,
        attempts: &mut Attempts,
    ) -> Result<Duration, LakeError> {
        let Store::File(store) = &self.store else {
            return Err(error);
        };
        match store.transient_cause(&self.availability, kind, error) {
            Ok(cause) => attempts.failed(object, cause),
            Err(error @ (LakeError::Missing { .. } | LakeError::Inaccessible { .. })) => attempts.refused(error),
            Err(error) => Err(error),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "takes no more than the limit")]
fn decoded_prefix(
    key: &str,
    stored: impl std::io::Read,
    encoding: Encoding,
    limit: usize,
) -> Result<Vec<u8>, LakeError> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let read = match encoding {
        Encoding::Plain => stored.take(limit as u64).read_to_end(&mut bytes),
        Encoding::Gzip => flate2::read::MultiGzDecoder::new(stored)
            .take(limit as u64)
            .read_to_end(&mut bytes),
    };
    match read {
        Ok(_) => Ok(bytes),
        Err(error) => Err(read_error(key, encoding, error)),
    }
}

/// Runs file work where it may block.
pub(super) async fn blocking<O: Send + 'static>(
    work: impl FnOnce() -> Result<O, LakeError> + Send + 'static,
) -> Result<O, LakeError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(LakeError::Stopped {
                object: "the lake's folder".to_string(),
            }),
        },
    }
}
