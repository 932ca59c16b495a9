//! An object whose size is not known when it begins, sent in parts while it is written.
//!
//! In memory are the part that is being filled and [`PARTS_AT_ONCE`] that are on their way. What fits into one part is
//! written by one request. A part is sent until it is taken, but an upload that is aborted from outside cannot be begun
//! anew: the parts that were sent are gone.

use super::S3Store;
use super::upload::PARTS_AT_ONCE;
use crate::lake::error::LakeError;
use crate::lake::metadata::MetadataMap;
use aws_sdk_s3::types::CompletedPart;
use bytes::{Bytes, BytesMut};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::task::{JoinError, JoinSet};

/// An object on its way.
#[derive(Debug)]
pub(crate) struct ObjectStream {
    store: Arc<S3Store>,
    key: String,
    part_bytes: usize,
    /// What is in no part yet, less than one.
    rest: BytesMut,
    /// There is none before the first part is full.
    upload: Option<String>,
    /// Parts begun.
    begun: i32,
    sending: JoinSet<Result<CompletedPart, LakeError>>,
    sent: Vec<CompletedPart>,
}

impl ObjectStream {
    /// Begins an object; nothing is sent before a part is full.
    pub(crate) fn new(store: Arc<S3Store>, key: &str, part_bytes: usize) -> ObjectStream {
        ObjectStream {
            store,
            key: key.to_owned(),
            part_bytes,
            rest: BytesMut::new(),
            upload: None,
            begun: 0,
            sending: JoinSet::new(),
            sent: Vec::new(),
        }
    }

    /// Takes bytes, and waits while as many parts are on their way as may be.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), LakeError> {
        self.rest.extend_from_slice(bytes);
        while self.rest.len() >= self.part_bytes {
            let part = self.rest.split_to(self.part_bytes).freeze();
            self.send(part).await?;
        }
        Ok(())
    }

    /// Sends what is left and makes the object of its parts.
    pub(crate) async fn finish(&mut self) -> Result<(), LakeError> {
        let rest = self.rest.split().freeze();
        if self.upload.is_none() {
            return self.store.put(&self.key, rest.into(), &MetadataMap::new()).await;
        }
        if !rest.is_empty() {
            self.send(rest).await?;
        }
        while let Some(sent) = self.sending.join_next().await {
            self.take(sent)?;
        }
        let mut parts = std::mem::take(&mut self.sent);
        parts.sort_by_key(CompletedPart::part_number);
        let upload = self.upload.clone().unwrap_or_default();
        match self.store.complete_upload(&self.key, &upload, parts, None).await {
            // its answer was lost: nobody else writes under this key
            Err(LakeError::Changed { .. }) => {}
            ended => ended?,
        }
        self.upload = None;
        Ok(())
    }

    /// Gives the object up.
    pub(crate) async fn abort(&mut self) {
        self.sending.shutdown().await;
        if let Some(upload) = self.upload.take() {
            self.store.abort_upload(&self.key, &upload).await;
        }
    }

    async fn send(&mut self, part: Bytes) -> Result<(), LakeError> {
        let upload = match &self.upload {
            Some(upload) => upload.clone(),
            None => {
                let upload = self.store.begin_upload(&self.key, HashMap::new()).await?;
                self.upload.insert(upload).clone()
            }
        };
        while self.sending.len() >= PARTS_AT_ONCE
            && let Some(sent) = self.sending.join_next().await
        {
            self.take(sent)?;
        }
        self.begun += 1;
        let (store, key, number) = (Arc::clone(&self.store), self.key.clone(), self.begun);
        self.sending
            .spawn(async move { store.send_part(&key, &upload, number, part).await });
        Ok(())
    }

    fn take(&mut self, sent: Result<Result<CompletedPart, LakeError>, JoinError>) -> Result<(), LakeError> {
        let sent = sent.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(LakeError::Stopped {
                object: self.key.clone(),
            }),
        });
        self.sent.push(sent?);
        Ok(())
    }
}
