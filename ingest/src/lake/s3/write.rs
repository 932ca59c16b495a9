//! The requests that change something: writing, also under a condition, and removing.
//!
//! S3 refuses a write when `If-None-Match: *` or `If-Match: <etag>` does not hold. Other servers may not know one or the
//! other, and some say yes to everything; so a server is asked with an object of its own before it is trusted. Where a
//! condition is not known, what stands there is looked at before the write, which leaves a moment between the two.

use super::super::availability::RequestKind;
use super::super::error::LakeError;
use super::super::metadata::MetadataMap;
use super::super::name::CONTROL_FOLDER;
use super::super::options::SMALL_OBJECT_BYTES;
use super::super::retry;
use super::super::version::Version;
use super::S3Store;
use super::conditions::Conditions;
use super::errors::{Failure, classify_error};
use crate::lake::request_error::RequestError;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use std::collections::HashMap;

/// What became of a write under a condition that does not hold.
enum Probed {
    Written,
    Refused,
    NotUnderstood,
}

impl S3Store {
    /// Writes an object and its metadata in one request.
    pub(crate) async fn put(&self, key: &str, bytes: Vec<u8>, metadata: &MetadataMap) -> Result<(), LakeError> {
        let items = metadata.clone().into_iter().collect();
        self.put_whole(key, bytes.into(), items, |request| request).await
    }

    /// Writes an object unless there is one; whether it was written.
    pub(crate) async fn put_new(
        &self,
        key: &str,
        bytes: Bytes,
        metadata: &MetadataMap,
        part_bytes: usize,
    ) -> Result<bool, LakeError> {
        let conditional = self.conditions.get().is_none_or(|known| known.absent);
        let large = bytes.len() > part_bytes;
        // what is large is not sent only to be refused, and some servers know the condition for whole objects alone
        if (large || !conditional) && self.exists(key).await? {
            return Ok(false);
        }
        let condition = conditional.then(|| "*".to_string());
        let items: HashMap<String, String> = metadata.clone().into_iter().collect();
        let written = if large {
            self.put_parts(key, bytes, items, part_bytes, condition).await
        } else {
            let under = |request: PutObjectFluentBuilder| request.set_if_none_match(condition.clone());
            self.put_whole(key, bytes, items, under).await
        };
        match written {
            Ok(()) => Ok(true),
            // the condition failed: there is an object, perhaps of our own request whose answer was lost
            Err(LakeError::Changed { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes a small object if what stands there is what was expected; whether it was written.
    pub(crate) async fn put_if(&self, key: &str, bytes: Bytes, expected: Option<&Version>) -> Result<bool, LakeError> {
        let known = self.conditions().await?;
        let etag = expected.and_then(Version::etag);
        let conditional = match expected {
            None => known.absent,
            Some(_) => known.same && etag.is_some(),
        };
        if !conditional {
            let found = self.get_small(key, SMALL_OBJECT_BYTES).await?;
            let found = found.map(|small| Version::of(&small.bytes, small.etag.as_deref()));
            let same = match (&found, expected) {
                (None, None) => true,
                (Some(found), Some(expected)) => found.same_content(expected),
                _ => false,
            };
            if !same {
                return Ok(false);
            }
        }
        let under = |request: PutObjectFluentBuilder| match (conditional, etag) {
            (false, _) => request,
            (true, None) => request.if_none_match("*"),
            (true, Some(etag)) => request.if_match(etag),
        };
        match self.put_whole(key, bytes, HashMap::new(), under).await {
            Ok(()) => Ok(true),
            // it does not hold, or it did when an earlier attempt was carried out whose answer was lost
            Err(LakeError::Changed { .. } | LakeError::Missing { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn put_whole(
        &self,
        key: &str,
        bytes: Bytes,
        items: HashMap<String, String>,
        under: impl Fn(PutObjectFluentBuilder) -> PutObjectFluentBuilder,
    ) -> Result<(), LakeError> {
        let send = || {
            let request = self.client.put_object().bucket(&self.bucket).key(self.full_key(key));
            let request = request.set_metadata(Some(items.clone()));
            under(request).body(ByteStream::from(bytes.clone())).send()
        };
        self.retry(RequestKind::Change, "write", key, send).await.map(drop)
    }

    /// Which conditions the server looks at; it is asked once.
    pub(crate) async fn conditions(&self) -> Result<Conditions, LakeError> {
        self.conditions.get_or_try_init(|| self.probe()).await.copied()
    }

    /// Writes a small object under conditions that do not hold: a server that knows them refuses.
    async fn probe(&self) -> Result<Conditions, LakeError> {
        let key = format!("{CONTROL_FOLDER}/probe-{:016x}", retry::random());
        let absent = |request: PutObjectFluentBuilder| request.if_none_match("*");
        let same = |request: PutObjectFluentBuilder| request.if_match(OTHER_ETAG);
        // the first of them may be refused because of itself, when its answer was lost
        let known_absent = match self.probe_once(&key, absent).await? {
            Probed::Written => matches!(self.probe_once(&key, absent).await?, Probed::Refused),
            Probed::Refused => true,
            Probed::NotUnderstood => false,
        };
        let known_same = matches!(self.probe_once(&key, same).await?, Probed::Refused);
        self.delete(&key).await?;
        Ok(Conditions {
            absent: known_absent,
            same: known_same,
        })
    }

    async fn probe_once(
        &self,
        key: &str,
        under: impl Fn(PutObjectFluentBuilder) -> PutObjectFluentBuilder,
    ) -> Result<Probed, LakeError> {
        let mut attempts = self.attempts("write");
        loop {
            let request = self.client.put_object().bucket(&self.bucket).key(self.full_key(key));
            let request = under(request).body(ByteStream::from_static(b"probe\n")).send();
            let failure = match tokio::time::timeout(self.retries().silence, request).await {
                Err(_) => Failure::Transient(RequestError::Silent),
                Ok(Ok(_)) => {
                    attempts.succeeded();
                    return Ok(Probed::Written);
                }
                Ok(Err(error)) => {
                    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
                    match (
                        status,
                        classify_error(&self.availability, RequestKind::Change, "write", key, error),
                    ) {
                        // a server that is busy, or does not take our credentials, says nothing about conditions
                        (_, transient @ Failure::Transient(_)) if status != 501 => transient,
                        (_, Failure::Permanent(error @ LakeError::NoAccess { .. })) => return Err(error),
                        (412 | 404, Failure::Permanent(LakeError::Changed { .. } | LakeError::Missing { .. })) => {
                            return Ok(Probed::Refused);
                        }
                        (400 | 501, _) => return Ok(Probed::NotUnderstood),
                        (_, failure) => failure,
                    }
                }
            };
            tokio::time::sleep(self.settle(key, failure, &mut attempts).await?).await;
        }
    }

    /// The server's time in seconds, as it notes it at a write.
    pub(crate) async fn time(&self, key: &str) -> Result<u64, LakeError> {
        self.put(key, Vec::new(), &MetadataMap::new()).await?;
        let written = self.head(key).await?.and_then(|head| head.last_modified().copied());
        let seconds = written.and_then(|written| u64::try_from(written.secs()).ok());
        seconds.ok_or_else(|| LakeError::Metadata {
            object: key.to_string(),
            source: "the server does not say when it was written".into(),
        })
    }

    /// Removes an object.
    pub(crate) async fn delete(&self, key: &str) -> Result<(), LakeError> {
        let send = || {
            let request = self.client.delete_object().bucket(&self.bucket);
            request.key(self.full_key(key)).send()
        };
        match self.retry(RequestKind::Change, "remove", key, send).await {
            Ok(_) | Err(LakeError::Missing { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The entity tag of no object.
const OTHER_ETAG: &str = "\"00000000000000000000000000000000\"";
