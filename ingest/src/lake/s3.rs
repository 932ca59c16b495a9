//! A lake in an S3 bucket (`s3://`): listing, small objects, and the one request that opens an object for reading.
//! `write` has the requests that change something, `errors` says what a failed one means.
//!
//! The SDK's own retries are off: they do not reach into bodies, so one policy here covers requests and bodies alike
//! (see [`super::body`] for the latter, and [`super::availability`]). Its stalled-stream guard is off too, because a reader that waits for its
//! consumer is no stall; silence counts only while bytes are waited for.

mod conditions;
mod errors;
mod folders;
mod object_stream;
mod upload;
mod write;

pub(crate) use errors::Failure;
pub(crate) use object_stream::ObjectStream;

use super::availability::{Attempts, Availability, RequestKind};
use super::error::LakeError;
use super::listing::{Builder, Listing};
use super::metadata::ObjectMetadata;
use super::name::Encoding;
use super::options::{LakeOptions, S3Credentials};
use super::request_error::RequestError;
use super::retry::Retries;
use crate::aws;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Credentials, RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumMode;
use conditions::Conditions;
use errors::classify_error;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;

/// A folder that splits into more sub-folders than this is listed as one flat run of keys.
const MOST_FOLDERS: usize = 64;
/// Folders listed at the same time.
const LISTED_AT_ONCE: usize = 8;
/// Levels of folders that are looked at to find work for [`LISTED_AT_ONCE`] requests.
const LEVELS: usize = 3;
/// No more of a compressed object is read to compare it with another.
const MOST_COMPRESSED_BYTES: usize = 256 << 20;

/// A lake in a bucket, under a prefix.
#[derive(Debug)]
pub(crate) struct S3Store {
    client: Client,
    bucket: String,
    /// Empty, or ends with `/`.
    prefix: String,
    pub(crate) availability: Arc<Availability>,
    /// What the server knows, once it was asked.
    conditions: OnceCell<Conditions>,
}

/// A small object as it was read.
pub(crate) struct Small {
    pub(crate) bytes: Vec<u8>,
    pub(crate) etag: Option<String>,
}

impl S3Store {
    pub(crate) async fn open(
        bucket: &str,
        prefix: &str,
        options: &LakeOptions,
        availability: Arc<Availability>,
    ) -> S3Store {
        let timeouts = aws::TimeoutConfigBuilder::new().read_timeout(options.retries.silence);
        let mut loader = aws::loader(timeouts, options.s3_endpoint.as_deref(), options.region.as_deref());
        if let Some(S3Credentials { access_key, secret_key }) = &options.credentials {
            loader = loader.credentials_provider(Credentials::new(access_key, secret_key, None, None, "pinflow"));
        }
        // Servers other than AWS's reject checksums they were not asked for; where AWS keeps one, `get` asks for it.
        let config = aws_sdk_s3::config::Builder::from(&loader.load().await)
            .force_path_style(options.s3_endpoint.is_some())
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .build();
        let prefix = if prefix.is_empty() {
            String::new()
        } else {
            format!("{prefix}/")
        };
        S3Store {
            client: Client::from_conf(config),
            bucket: bucket.to_string(),
            prefix,
            availability,
            conditions: OnceCell::new(),
        }
    }

    /// Lists everything under the prefix, several folders at a time.
    pub(crate) async fn list<T: AsRef<str>>(&self, topics: &[T]) -> Result<Listing, LakeError> {
        let mut builder = Builder::new(topics);
        let mut folders = vec![self.prefix.clone()];
        for _ in 0..LEVELS {
            if folders.is_empty() || folders.len() >= LISTED_AT_ONCE {
                break;
            }
            let mut deeper = Vec::new();
            for folder in std::mem::take(&mut folders) {
                deeper.append(&mut self.list_level(&folder, &mut builder).await?);
            }
            folders = deeper;
        }
        // Whole pages arrive in any order; the listing sorts itself.
        let listings = folders
            .iter()
            .map(|folder| self.pages(folder, None))
            .collect::<Vec<_>>();
        let mut pages = std::pin::pin!(stream::iter(listings).flatten_unordered(LISTED_AT_ONCE));
        while let Some(page) = pages.try_next().await? {
            self.take_keys(&page, &mut builder);
        }
        Ok(builder.finish())
    }

    /// Takes the keys that stand directly in `folder`, and gives back its sub-folders; a folder of very many
    /// sub-folders is read to its end at once.
    async fn list_level<T: AsRef<str>>(
        &self,
        folder: &str,
        builder: &mut Builder<'_, T>,
    ) -> Result<Vec<String>, LakeError> {
        let mut folders = Vec::new();
        let mut pages = std::pin::pin!(self.pages(folder, Some("/")));
        while let Some(page) = pages.try_next().await? {
            self.take_keys(&page, builder);
            folders.extend(
                page.common_prefixes()
                    .iter()
                    .filter_map(|folder| folder.prefix())
                    .map(str::to_string),
            );
            if folders.len() > MOST_FOLDERS {
                // Repeats what was taken already, and the listing keeps each key once.
                return Ok(vec![folder.to_string()]);
            }
        }
        Ok(folders)
    }

    fn take_keys<T: AsRef<str>>(&self, page: &ListObjectsV2Output, builder: &mut Builder<'_, T>) {
        for object in page.contents() {
            let key = object.key().and_then(|key| key.strip_prefix(&self.prefix));
            if let Some(key) = key {
                builder.add(key, object.size().unwrap_or(0).max(0) as u64, object.e_tag());
            }
        }
    }

    /// The pages of one listing, a request each.
    fn pages<'a>(
        &'a self,
        folder: &str,
        delimiter: Option<&'static str>,
    ) -> std::pin::Pin<Box<dyn stream::Stream<Item = Result<ListObjectsV2Output, LakeError>> + Send + 'a>> {
        let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(folder);
        let request = request.set_delimiter(delimiter.map(str::to_string));
        Box::pin(stream::try_unfold(Some(None::<String>), move |token| {
            let request = request.clone();
            async move {
                let Some(token) = token else { return Ok(None) };
                let request = request.set_continuation_token(token);
                let send = || request.clone().send();
                let page = self.retry(RequestKind::Listing, "list", &self.bucket, send).await?;
                let next = page.next_continuation_token().map(|token| Some(token.to_string()));
                let next = next.filter(|_| page.is_truncated().unwrap_or(false));
                Ok(Some((page, next)))
            }
        }))
    }

    /// Opens an object for reading from byte `from` on; one attempt. With `etag`, only if it is still that object.
    pub(crate) async fn get(&self, key: &str, from: u64, etag: Option<&str>) -> Result<GetObjectOutput, Failure> {
        let mut request = self.client.get_object().bucket(&self.bucket).key(self.full_key(key));
        if from > 0 {
            request = request.range(format!("bytes={from}-"));
        } else {
            request = request.checksum_mode(ChecksumMode::Enabled);
        }
        if let Some(etag) = etag {
            request = request.if_match(etag);
        }
        match tokio::time::timeout(self.retries().silence, request.send()).await {
            Err(_) => Err(Failure::Transient(RequestError::Silent)),
            Ok(answer) => {
                answer.map_err(|error| classify_error(&self.availability, RequestKind::Object, "read", key, error))
            }
        }
    }

    /// A small object; `None` when there is none.
    pub(crate) async fn get_small(&self, key: &str, limit: u64) -> Result<Option<Small>, LakeError> {
        let mut attempts = self.attempts("read");
        loop {
            let failure = match self.get(key, 0, None).await {
                // what is not there needs no proof: nothing is lost when it comes later
                Err(Failure::Unconfirmed(LakeError::Missing { .. })) => {
                    attempts.succeeded();
                    return Ok(None);
                }
                Err(failure) => failure,
                Ok(output) => {
                    let etag = output.e_tag().map(str::to_string);
                    match self.collect(output.body, limit).await {
                        Ok(Some(bytes)) => {
                            attempts.succeeded();
                            return Ok(Some(Small { bytes, etag }));
                        }
                        Ok(None) => {
                            return Err(LakeError::TooLarge {
                                object: key.to_string(),
                                limit,
                            });
                        }
                        Err(cause) => Failure::Transient(cause),
                    }
                }
            };
            tokio::time::sleep(self.settle(key, failure, &mut attempts).await?).await;
        }
    }

    /// A body up to `limit` bytes; `None` when it is longer.
    async fn collect(&self, mut body: ByteStream, limit: u64) -> Result<Option<Vec<u8>>, RequestError> {
        let mut bytes = Vec::new();
        loop {
            match self.frame(&mut body).await {
                None => return Ok(Some(bytes)),
                Some(Err(cause)) => return Err(cause),
                Some(Ok(frame)) if (bytes.len() + frame.len()) as u64 > limit => return Ok(None),
                Some(Ok(frame)) => bytes.extend_from_slice(&frame),
            }
        }
    }

    /// The next bytes of a body; too long a silence is an error.
    pub(crate) async fn frame(&self, body: &mut ByteStream) -> Option<Result<bytes::Bytes, RequestError>> {
        match tokio::time::timeout(self.retries().silence, body.next()).await {
            Err(_) => Some(Err(RequestError::Silent)),
            Ok(frame) => frame.map(|frame| frame.map_err(|error| crate::lake::SdkError::new(error).into())),
        }
    }

    /// A listed object's user metadata; `None` when it has none.
    pub(crate) async fn metadata(&self, key: &str) -> Result<Option<ObjectMetadata>, LakeError> {
        let mut attempts = self.attempts("look at");
        loop {
            if let Some(head) = self.head(key).await? {
                return user_metadata(key, head.metadata());
            }
            let missing = LakeError::Missing {
                action: "look at",
                object: key.to_string(),
            };
            tokio::time::sleep(self.settle(key, Failure::Unconfirmed(missing), &mut attempts).await?).await;
        }
    }

    /// The user metadata of the object under this key, if there is one; empty when it has none.
    pub(crate) async fn look_at(&self, key: &str) -> Result<Option<ObjectMetadata>, LakeError> {
        match self.head(key).await? {
            Some(head) => Ok(Some(user_metadata(key, head.metadata())?.unwrap_or_default())),
            None => Ok(None),
        }
    }

    /// Whether there is an object under this key.
    async fn exists(&self, key: &str) -> Result<bool, LakeError> {
        Ok(self.head(key).await?.is_some())
    }

    async fn head(&self, key: &str) -> Result<Option<HeadObjectOutput>, LakeError> {
        let request = self.client.head_object().bucket(&self.bucket).key(self.full_key(key));
        let mut attempts = self.attempts("look at");
        loop {
            let send = request.clone().send();
            let failure = match tokio::time::timeout(self.retries().silence * 2, send).await {
                Err(_) => Failure::Transient(RequestError::Silent),
                Ok(Ok(head)) => {
                    attempts.succeeded();
                    return Ok(Some(head));
                }
                Ok(Err(error)) => classify_error(&self.availability, RequestKind::Object, "look at", key, error),
            };
            if let Failure::Unconfirmed(LakeError::Missing { .. }) = failure {
                attempts.succeeded();
                return Ok(None);
            }
            tokio::time::sleep(self.settle(key, failure, &mut attempts).await?).await;
        }
    }

    /// Stored bytes that hold at least the first `limit` bytes of the content, when there are so many.
    pub(crate) async fn get_prefix(&self, key: &str, encoding: Encoding, limit: usize) -> Result<Vec<u8>, LakeError> {
        // a prefix of a gzip stream decodes to a prefix of its content, but of unknown length
        let range = match encoding {
            Encoding::Plain => limit.max(1),
            Encoding::Gzip => MOST_COMPRESSED_BYTES,
        };
        let mut attempts = self.attempts("read");
        loop {
            let failure = match self.get(key, 0, None).await {
                Err(failure) => failure,
                Ok(mut output) => {
                    let mut bytes = Vec::new();
                    loop {
                        match self.frame(&mut output.body).await {
                            Some(Ok(frame)) if bytes.len() < range => bytes.extend_from_slice(&frame),
                            Some(Err(cause)) => break Failure::Transient(cause),
                            _ => {
                                attempts.succeeded();
                                return Ok(bytes);
                            }
                        }
                    }
                }
            };
            tokio::time::sleep(self.settle(key, failure, &mut attempts).await?).await;
        }
    }

    fn full_key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Sends a request until it succeeds, fails for good, or has failed for too long.
    async fn retry<O, E, F>(
        &self,
        kind: RequestKind,
        action: &'static str,
        object: &str,
        send: impl Fn() -> F,
    ) -> Result<O, LakeError>
    where
        F: Future<Output = Result<O, SdkError<E>>>,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let mut attempts = self.attempts(action);
        loop {
            let attempt = tokio::time::timeout(self.retries().silence * 2, send()).await;
            let failure = match attempt {
                Err(_) => Failure::Transient(RequestError::Silent),
                Ok(Ok(output)) => {
                    attempts.succeeded();
                    return Ok(output);
                }
                Ok(Err(error)) => classify_error(&self.availability, kind, action, object, error),
            };
            tokio::time::sleep(self.settle(object, failure, &mut attempts).await?).await;
        }
    }

    /// What follows from a failed attempt: a pause before the next one, or the error.
    pub(crate) async fn settle(
        &self,
        object: &str,
        failure: Failure,
        attempts: &mut Attempts,
    ) -> Result<Duration, LakeError> {
        match failure {
            Failure::Transient(cause) => attempts.failed(object, cause),
            Failure::Permanent(error) => Err(error),
            Failure::Unconfirmed(error) => match self.list_one(object).await {
                Ok(()) => attempts.refused(error),
                Err(Failure::Transient(cause)) => attempts.failed(object, cause),
                Err(Failure::Unconfirmed(error) | Failure::Permanent(error)) => Err(error),
            },
        }
    }

    /// Asks for a listing before one object is believed to be refused: where that is refused too the object is as sound
    /// as all others, which cannot be read either.
    async fn list_one(&self, key: &str) -> Result<(), Failure> {
        let request = self.client.list_objects_v2().bucket(&self.bucket);
        let request = request.prefix(self.full_key(key)).max_keys(1).send();
        match tokio::time::timeout(self.retries().silence, request).await {
            Err(_) => Err(Failure::Transient(RequestError::Silent)),
            Ok(Ok(_)) => {
                self.availability.answered();
                Ok(())
            }
            Ok(Err(refused)) => Err(classify_error(
                &self.availability,
                RequestKind::Listing,
                "list",
                &self.bucket,
                refused,
            )),
        }
    }

    pub(crate) fn attempts(&self, action: &'static str) -> Attempts {
        Attempts::new(&self.availability, action)
    }

    pub(crate) fn retries(&self) -> &Retries {
        &self.availability.retries
    }
}

/// What was stored with an object under names of ours; `None` when nothing was. Programs that copy objects store names of
/// their own.
pub(crate) fn user_metadata(
    key: &str,
    items: Option<&HashMap<String, String>>,
) -> Result<Option<ObjectMetadata>, LakeError> {
    match items {
        Some(items) => Ok(Some(ObjectMetadata::from_map(key, items)?).filter(ObjectMetadata::is_ours)),
        None => Ok(None),
    }
}
