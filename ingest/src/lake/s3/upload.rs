//! Large objects, sent in parts: an object appears as a whole when its upload is completed, or not at all.
//!
//! An upload that fails is given up. One whose writer was killed is not: its parts are no object, no listing shows them, and
//! a rule of the bucket has to remove them.

use super::S3Store;
use crate::lake::availability::RequestKind;
use crate::lake::error::LakeError;
use crate::lake::request_error::{RequestError, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use std::collections::HashMap;

/// Parts of one upload under way at the same time.
pub(super) const PARTS_AT_ONCE: usize = 4;

impl S3Store {
    /// Writes an object in parts of this size; an upload that is aborted from outside, such as by a rule of the bucket, is
    /// begun anew.
    pub(super) async fn put_parts(
        &self,
        key: &str,
        bytes: Bytes,
        items: HashMap<String, String>,
        part_bytes: usize,
        condition: Option<String>,
    ) -> Result<(), LakeError> {
        let mut attempts = self.attempts("upload");
        loop {
            let (bytes, items, condition) = (bytes.clone(), items.clone(), condition.clone());
            match self.upload(key, bytes, items, part_bytes, condition).await {
                Err(LakeError::Missing { .. }) => {
                    let pause = attempts.failed(key, RequestError::Other("the upload does not exist any more"))?;
                    tokio::time::sleep(pause).await;
                }
                ended => return ended,
            }
        }
    }

    async fn upload(
        &self,
        key: &str,
        bytes: Bytes,
        items: HashMap<String, String>,
        part_bytes: usize,
        condition: Option<String>,
    ) -> Result<(), LakeError> {
        let upload = self.begin_upload(key, items).await?;
        let ended = self.send_parts(key, &bytes, &upload, part_bytes, condition).await;
        if ended.is_err() {
            self.abort_upload(key, &upload).await;
        }
        ended
    }

    async fn send_parts(
        &self,
        key: &str,
        bytes: &Bytes,
        upload: &str,
        part_bytes: usize,
        condition: Option<String>,
    ) -> Result<(), LakeError> {
        let starts = (0..bytes.len()).step_by(part_bytes);
        let part = |(index, start): (usize, usize)| {
            let part = bytes.slice(start..bytes.len().min(start + part_bytes));
            self.send_part(key, upload, index as i32 + 1, part)
        };
        let parts: Vec<CompletedPart> = stream::iter(starts.enumerate().map(part))
            .buffered(PARTS_AT_ONCE)
            .try_collect()
            .await?;
        self.complete_upload(key, upload, parts, condition).await
    }

    /// Begins an upload, which is nothing to readers before it is completed.
    pub(super) async fn begin_upload(&self, key: &str, items: HashMap<String, String>) -> Result<String, LakeError> {
        let begin = || {
            let request = self.client.create_multipart_upload().bucket(&self.bucket);
            request.key(self.full_key(key)).set_metadata(Some(items.clone())).send()
        };
        let upload = self
            .retry(RequestKind::Change, "begin an upload of", key, begin)
            .await?;
        Ok(upload.upload_id().unwrap_or_default().to_string())
    }

    /// Sends one part; the first has the number 1.
    pub(super) async fn send_part(
        &self,
        key: &str,
        upload: &str,
        number: i32,
        part: Bytes,
    ) -> Result<CompletedPart, LakeError> {
        let send = || {
            let request = self.client.upload_part().bucket(&self.bucket).key(self.full_key(key));
            request
                .upload_id(upload)
                .part_number(number)
                .body(ByteStream::from(part.clone()))
                .send()
        };
        let sent = self.retry(RequestKind::Change, "write a part of", key, send).await?;
        let done = CompletedPart::builder().part_number(number);
        Ok(done.set_e_tag(sent.e_tag().map(str::to_string)).build())
    }

    /// Makes the object of its parts. [`LakeError::Changed`]: there is an object under this key, perhaps this one, whose
    /// answer was lost.
    pub(super) async fn complete_upload(
        &self,
        key: &str,
        upload: &str,
        parts: Vec<CompletedPart>,
        condition: Option<String>,
    ) -> Result<(), LakeError> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let complete = || {
            let request = self.client.complete_multipart_upload().bucket(&self.bucket);
            request
                .key(self.full_key(key))
                .upload_id(upload)
                .multipart_upload(parts.clone())
                .set_if_none_match(condition.clone())
                .send()
        };
        match self
            .retry(RequestKind::Change, "complete an upload of", key, complete)
            .await
        {
            Ok(_) => Ok(()),
            // the answer to an earlier attempt was lost: the upload does not exist any more because the object is
            Err(LakeError::Missing { .. } | LakeError::Refused { .. }) if self.exists(key).await? => {
                Err(LakeError::Changed {
                    object: key.to_string(),
                })
            }
            Err(error) => Err(error),
        }
    }

    /// Gives an upload up: parts of one that is never completed are stored, and paid for, until it is aborted.
    pub(super) async fn abort_upload(&self, key: &str, upload: &str) {
        let abort = self.client.abort_multipart_upload().bucket(&self.bucket);
        let aborted = abort.key(self.full_key(key)).upload_id(upload).send().await;
        if let Err(error) = aborted {
            tracing::debug!(key, "an upload was not given up: {}", SdkError::new(error));
        }
    }
}
