//! History: objects of JSON lines in a folder or in an S3 bucket.
//!
//! A [`Lake`] lists its objects in one deterministic order and says where the records of each stand in the log
//! ([`Object`], [`Place`]); a [`Fetcher`] reads many objects at a time into a fixed pool of buffers and hands out whole
//! lines. `file://` and `s3://` lakes with the same tree have the same listing.
//!
//! This module decides neither what is read nor what a hole between objects means (see [`crate::coverage`]), and it
//! does not look into records.

mod availability;
mod body;
mod check;
mod clock;
mod error;
mod fetch;
mod file;
mod lines;
mod listing;
mod lock;
mod metadata;
mod name;
mod open;
mod pool;
mod retry;
mod s3;
mod version;

pub use availability::{LakeObserver, LakeState};
pub(crate) use clock::Moment;
pub use error::{Class, LakeError};
pub use fetch::{FetchOptions, Fetched, Fetcher};
pub(crate) use lines::PREFIX_BYTES;
pub use listing::{Listing, Object};
pub use lock::LakeLock;
pub use metadata::{MetadataMap, ObjectMetadata, checksum};
pub use name::{CONTROL_FOLDER, Encoding, Place, connect_key, file_name};
pub use retry::Retries;
pub use version::Version;

use availability::{Asked, Attempts, Availability};
use file::FileStore;
use s3::S3Store;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// No control object or sidecar is larger.
const SMALL_OBJECT_BYTES: u64 = 16 << 20;

/// Where a lake is: the folder that holds the topic folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LakeUrl {
    /// `file:///folder`
    File(PathBuf),
    /// `s3://bucket/prefix`
    S3 {
        /// The bucket's name.
        bucket: String,
        /// The folder inside it, without slashes at its ends; may be empty.
        prefix: String,
    },
}

impl FromStr for LakeUrl {
    type Err = LakeError;

    fn from_str(url: &str) -> Result<LakeUrl, LakeError> {
        let wrong = |why| {
            Err(LakeError::Url {
                url: url.to_string(),
                why,
            })
        };
        if let Some(path) = url.strip_prefix("file://") {
            return match path.starts_with('/') {
                true => Ok(LakeUrl::File(PathBuf::from(path))),
                false => wrong("the folder is not absolute, so three slashes are needed"),
            };
        }
        let Some(rest) = url.strip_prefix("s3://") else {
            return wrong("it starts neither with file:// nor s3://");
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return wrong("the bucket is missing");
        }
        Ok(LakeUrl::S3 {
            bucket: bucket.to_string(),
            prefix: prefix.trim_matches('/').to_string(),
        })
    }
}

impl fmt::Display for LakeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LakeUrl::File(path) => write!(f, "file://{}", path.display()),
            LakeUrl::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            LakeUrl::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

/// A fixed pair of S3 keys, instead of the default chain (environment, profile, web identity, container, instance).
#[derive(Clone, PartialEq, Eq)]
pub struct S3Credentials {
    /// The access key's id.
    pub access_key: String,
    /// The secret key.
    pub secret_key: String,
}

impl fmt::Debug for S3Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Credentials")
            .field("access_key", &self.access_key)
            .finish_non_exhaustive()
    }
}

/// How an S3 lake is reached; a `file://` lake needs none of it.
#[derive(Debug, Clone, Default)]
pub struct LakeOptions {
    /// Another server than AWS's, addressed with the bucket in the path.
    pub s3_endpoint: Option<String>,
    /// The region; default: as the AWS command line finds it, or `us-east-1` with an endpoint.
    pub region: Option<String>,
    /// Fixed keys; default: AWS's credential chain.
    pub credentials: Option<S3Credentials>,
    /// How failing requests are repeated, and for how long.
    pub retries: Retries,
    /// Is told when the lake cannot be used, and when it can be again.
    pub observer: Option<LakeObserver>,
}

#[derive(Debug, Clone)]
enum Store {
    File(Arc<FileStore>),
    S3(Arc<S3Store>),
}

/// A lake. Clones share the connection pool.
#[derive(Debug, Clone)]
pub struct Lake {
    url: LakeUrl,
    store: Store,
    availability: Arc<Availability>,
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
                self.repeat(Asked::Listing, "list", &folder, move || store.list(&topics))
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
            None if object.sidecar => match self.get_small(&name::sidecar_key(&object.key)).await? {
                Some(bytes) => file::parse_sidecar(&object.key, &bytes),
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
                self.repeat(Asked::Change, "write", key, move || store.put(&of, &bytes, &metadata))
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
                self.repeat(Asked::Change, "write", key, move || {
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
                self.repeat(Asked::Change, "remove", key, move || store.delete(&of))
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
                self.repeat(Asked::Object, "look at", key, move || match store.exists(&of)? {
                    true => Ok(Some(store.metadata(&of, SMALL_OBJECT_BYTES)?.unwrap_or_default())),
                    false => Ok(None),
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
                self.repeat(Asked::Object, "read", key, move || {
                    decoded_prefix(&of, store.open(&of)?, encoding, limit)
                })
                .await
            }
        }
    }

    /// Takes the lock of this name for this process, until the value is dropped; `None` while another process of this
    /// machine has it. Only `file://` lakes have locks: an S3 lake gives one to everybody.
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
                self.repeat(Asked::Object, "read", key, move || {
                    store.get_small(&of, SMALL_OBJECT_BYTES)
                })
                .await
            }
        }
    }

    /// Does blocking work until it succeeds, fails for good, or has failed for too long.
    async fn repeat<O: Send + 'static>(
        &self,
        asked: Asked,
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
                    match asked {
                        Asked::Listing => attempts.succeeded(),
                        Asked::Object | Asked::Change => attempts.passed(),
                    }
                    return Ok(outcome);
                }
                Err(error) => tokio::time::sleep(self.settle(asked, object, error, &mut attempts)?).await,
            }
        }
    }

    /// What follows from a failure: a pause before the next attempt, or the error. The requests of an S3 lake have been
    /// repeated before.
    fn settle(
        &self,
        asked: Asked,
        object: &str,
        error: LakeError,
        attempts: &mut Attempts,
    ) -> Result<Duration, LakeError> {
        let Store::File(store) = &self.store else {
            return Err(error);
        };
        match store.passing(&self.availability, asked, error) {
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
        Err(error) => Err(open::read_error(key, encoding, error)),
    }
}

/// Runs file work where it may block.
async fn blocking<O: Send + 'static>(
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
