//! A lake in an S3 bucket (`s3://`): listing, small objects, and the one request that opens an object for reading.
//!
//! The SDK's own retries are off: they do not reach into bodies, so one policy here covers requests and bodies alike
//! (see [`super::body`] for the latter). Its stalled-stream guard is off too, because a reader that waits for its
//! consumer is no stall; silence counts only while somebody waits for bytes.

mod upload;

use super::error::LakeError;
use super::listing::{Builder, Listing};
use super::metadata::{MetadataMap, ObjectMetadata};
use super::name::{CONTROL_FOLDER, Encoding};
use super::retry::{self, Retries};
use super::{LakeOptions, S3Credentials};
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Credentials, RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumMode;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_types::byte_stream::error::Error as BodyError;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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
    pub(crate) retries: Retries,
    /// Whether the server is trusted to refuse a write over an object.
    conditional: AtomicBool,
}

/// What one attempt of a request came to, when it failed.
pub(crate) enum Failure {
    /// It may go better next time.
    Passing(String),
    /// It will not.
    Lasting(LakeError),
}

impl S3Store {
    pub(crate) async fn open(bucket: &str, prefix: &str, options: &LakeOptions) -> S3Store {
        let tls = Provider::Rustls(CryptoMode::Ring);
        let http = aws_smithy_http_client::Builder::new().tls_provider(tls).build_https();
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(5))
            .read_timeout(options.retries.silence)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(http)
            .timeout_config(timeouts)
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Some(region) = &options.region {
            loader = loader.region(Region::new(region.clone()));
        } else if options.s3_endpoint.is_some() {
            // Other servers care little for regions; asking EC2's metadata service for one would only cost time.
            let named = ["AWS_REGION", "AWS_DEFAULT_REGION"]
                .iter()
                .find_map(|name| std::env::var(name).ok());
            loader = loader.region(Region::new(named.unwrap_or_else(|| "us-east-1".to_string())));
        }
        if let Some(endpoint) = &options.s3_endpoint {
            loader = loader.endpoint_url(endpoint);
        }
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
            retries: options.retries,
            conditional: AtomicBool::new(true),
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
                let page = self.retry("list", &self.bucket, || request.clone().send()).await?;
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
        match tokio::time::timeout(self.retries.silence, request.send()).await {
            Err(_) => Err(Failure::Passing("no answer in time".to_string())),
            Ok(answer) => answer.map_err(|error| judge("read", key, error)),
        }
    }

    /// A small object's bytes; `None` when there is none.
    pub(crate) async fn get_small(&self, key: &str, limit: u64) -> Result<Option<Vec<u8>>, LakeError> {
        let mut failures = 0;
        loop {
            let cause = match self.get(key, 0, None).await {
                Err(Failure::Lasting(LakeError::Missing { .. })) => return Ok(None),
                Err(Failure::Lasting(error)) => return Err(error),
                Err(Failure::Passing(cause)) => cause,
                Ok(output) => match self.collect(output.body, limit).await {
                    Ok(Some(bytes)) => return Ok(Some(bytes)),
                    Ok(None) => {
                        return Err(LakeError::TooLarge {
                            object: key.to_string(),
                            limit,
                        });
                    }
                    Err(cause) => cause,
                },
            };
            failures += 1;
            self.pause("read", key, failures, cause).await?;
        }
    }

    /// A body up to `limit` bytes; `None` when it is longer.
    async fn collect(&self, mut body: ByteStream, limit: u64) -> Result<Option<Vec<u8>>, String> {
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
    pub(crate) async fn frame(&self, body: &mut ByteStream) -> Option<Result<bytes::Bytes, String>> {
        let text = |error: BodyError| chain(&error);
        match tokio::time::timeout(self.retries.silence, body.next()).await {
            Err(_) => Some(Err("the body fell silent".to_string())),
            Ok(frame) => frame.map(|frame| frame.map_err(text)),
        }
    }

    /// An object's user metadata; `None` when it has none.
    pub(crate) async fn metadata(&self, key: &str) -> Result<Option<ObjectMetadata>, LakeError> {
        let request = self.client.head_object().bucket(&self.bucket).key(self.full_key(key));
        let head = self.retry("look at", key, || request.clone().send()).await?;
        match head.metadata() {
            Some(items) if !items.is_empty() => ObjectMetadata::from_map(key, items).map(Some),
            _ => Ok(None),
        }
    }

    /// Writes an object and its metadata in one request.
    pub(crate) async fn put(&self, key: &str, bytes: Vec<u8>, metadata: &MetadataMap) -> Result<(), LakeError> {
        let body = bytes::Bytes::from(bytes);
        let items: HashMap<String, String> = metadata.clone().into_iter().collect();
        let send = || {
            let request = self.client.put_object().bucket(&self.bucket).key(self.full_key(key));
            request
                .set_metadata(Some(items.clone()))
                .body(ByteStream::from(body.clone()))
                .send()
        };
        self.retry("write", key, send).await?;
        Ok(())
    }

    /// Writes an object unless there is one; whether it was written.
    pub(crate) async fn put_new(
        &self,
        key: &str,
        bytes: Bytes,
        metadata: &MetadataMap,
        part_bytes: usize,
    ) -> Result<bool, LakeError> {
        let conditional = self.conditional.load(Ordering::Relaxed);
        let large = bytes.len() > part_bytes;
        // what is large is not sent only to be refused, and some servers know the condition for whole objects alone
        if (large || !conditional) && self.exists(key).await? {
            return Ok(false);
        }
        let condition = conditional.then(|| "*".to_string());
        let items: HashMap<String, String> = metadata.clone().into_iter().collect();
        let written = match large {
            true => self.put_parts(key, bytes, items, part_bytes, condition).await,
            false => self.put_whole(key, bytes, items, condition).await,
        };
        match written {
            Ok(()) => Ok(true),
            // the condition failed: there is an object, perhaps of our own request whose answer was lost
            Err(LakeError::Changed { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn put_whole(
        &self,
        key: &str,
        bytes: Bytes,
        items: HashMap<String, String>,
        condition: Option<String>,
    ) -> Result<(), LakeError> {
        let send = || {
            let request = self.client.put_object().bucket(&self.bucket).key(self.full_key(key));
            request
                .set_metadata(Some(items.clone()))
                .set_if_none_match(condition.clone())
                .body(ByteStream::from(bytes.clone()))
                .send()
        };
        self.retry("write", key, send).await.map(drop)
    }

    /// Writes a small object twice: a server that knows the condition refuses the second.
    pub(crate) async fn probe_conditions(&self) -> Result<bool, LakeError> {
        let key = format!("{CONTROL_FOLDER}/probe-{:016x}", retry::random());
        let write = || {
            let request = self.client.put_object().bucket(&self.bucket).key(self.full_key(&key));
            request
                .if_none_match("*")
                .body(ByteStream::from_static(b"probe\n"))
                .send()
        };
        let (mut written, mut failures) = (0, 0);
        let refused = loop {
            let cause = match tokio::time::timeout(self.retries.silence, write()).await {
                Err(_) => "no answer in time".to_string(),
                // it took the second one as well
                Ok(Ok(_)) if written == 1 => break false,
                Ok(Ok(_)) => {
                    written = 1;
                    continue;
                }
                Ok(Err(error)) => match error.raw_response().map_or(0, |response| response.status().as_u16()) {
                    // the first may be refused because of itself, when its answer was lost
                    412 => break true,
                    // not understood, or not implemented
                    400 | 501 => break false,
                    _ => match judge("write", &key, error) {
                        Failure::Lasting(error) => return Err(error),
                        Failure::Passing(cause) => cause,
                    },
                },
            };
            failures += 1;
            self.pause("write", &key, failures, cause).await?;
        };
        self.delete(&key).await?;
        self.conditional.store(refused, Ordering::Relaxed);
        Ok(refused)
    }

    /// Removes an object.
    pub(crate) async fn delete(&self, key: &str) -> Result<(), LakeError> {
        let send = || {
            let request = self.client.delete_object().bucket(&self.bucket);
            request.key(self.full_key(key)).send()
        };
        match self.retry("remove", key, send).await {
            Ok(_) | Err(LakeError::Missing { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn exists(&self, key: &str) -> Result<bool, LakeError> {
        let request = self.client.head_object().bucket(&self.bucket).key(self.full_key(key));
        match self.retry("look at", key, || request.clone().send()).await {
            Ok(_) => Ok(true),
            Err(LakeError::Missing { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Stored bytes that hold at least the first `limit` bytes of the content, when there are so many.
    pub(crate) async fn get_prefix(&self, key: &str, encoding: Encoding, limit: usize) -> Result<Vec<u8>, LakeError> {
        // a prefix of a gzip stream decodes to a prefix of its content, but nobody knows to how long a one
        let range = match encoding {
            Encoding::Plain => limit.max(1),
            Encoding::Gzip => MOST_COMPRESSED_BYTES,
        };
        let mut failures = 0;
        loop {
            let cause = match self.get(key, 0, None).await {
                Err(Failure::Lasting(error)) => return Err(error),
                Err(Failure::Passing(cause)) => cause,
                Ok(mut output) => {
                    let mut bytes = Vec::new();
                    loop {
                        match self.frame(&mut output.body).await {
                            Some(Ok(frame)) if bytes.len() < range => bytes.extend_from_slice(&frame),
                            Some(Err(cause)) => break cause,
                            _ => return Ok(bytes),
                        }
                    }
                }
            };
            failures += 1;
            self.pause("read", key, failures, cause).await?;
        }
    }

    fn full_key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Sends a request until it succeeds, fails for good, or has used up its attempts.
    async fn retry<O, E, F>(&self, action: &'static str, object: &str, send: impl Fn() -> F) -> Result<O, LakeError>
    where
        F: Future<Output = Result<O, SdkError<E>>>,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let mut failures = 0;
        loop {
            let cause = match tokio::time::timeout(self.retries.silence * 2, send()).await {
                Err(_) => "no answer in time".to_string(),
                Ok(Ok(output)) => return Ok(output),
                Ok(Err(error)) => match judge(action, object, error) {
                    Failure::Lasting(error) => return Err(error),
                    Failure::Passing(cause) => cause,
                },
            };
            failures += 1;
            self.pause(action, object, failures, cause).await?;
        }
    }

    /// Waits after a failure, or gives up.
    pub(crate) async fn pause(
        &self,
        action: &'static str,
        object: &str,
        failures: u32,
        cause: String,
    ) -> Result<(), LakeError> {
        if failures >= self.retries.attempts {
            return Err(LakeError::Unavailable {
                action,
                object: object.to_string(),
                attempts: failures,
                cause,
            });
        }
        tracing::debug!(object, failures, cause, "trying again to {action}");
        tokio::time::sleep(self.retries.pause(failures)).await;
        Ok(())
    }
}

/// Whether a failed request is worth another attempt.
fn judge<E>(action: &'static str, object: &str, error: SdkError<E>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    let code = error.code().unwrap_or_default().to_string();
    let object = object.to_string();
    match &error {
        SdkError::ServiceError(_) => {}
        SdkError::ConstructionFailure(_) => {
            let code = chain(&error);
            return Failure::Lasting(LakeError::Refused {
                action,
                object,
                status,
                code,
            });
        }
        SdkError::DispatchFailure(failure) if failure.is_user() => {
            let code = chain(&error);
            return Failure::Lasting(LakeError::Refused {
                action,
                object,
                status,
                code,
            });
        }
        _ => return Failure::Passing(chain(&error)),
    }
    let passing = [
        "SlowDown",
        "RequestTimeout",
        "InternalError",
        "ServiceUnavailable",
        "Throttling",
        "ExpiredToken",
        "ConditionalRequestConflict",
        "OperationAborted",
    ];
    match status {
        429 | 500.. => Failure::Passing(format!("status {status} {code}")),
        _ if passing.contains(&code.as_str()) => Failure::Passing(format!("status {status} {code}")),
        404 => Failure::Lasting(LakeError::Missing { action, object }),
        412 | 416 => Failure::Lasting(LakeError::Changed { object }),
        _ => {
            let message = error.message().map(|message| format!("{code} ({message})"));
            Failure::Lasting(LakeError::Refused {
                action,
                object,
                status,
                code: message.unwrap_or(code),
            })
        }
    }
}

/// An error and its sources in one line: the SDK's own text names only the outermost.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let sources = std::iter::successors(Some(error), |error| error.source());
    let mut texts: Vec<String> = sources.map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ")
}
