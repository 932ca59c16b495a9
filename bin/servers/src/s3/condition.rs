//! Forgets the `If-None-Match` and `If-Match` of a write where a fault says so.
//!
//! The header is signed, so it cannot be taken away before the signature is checked: s3s asks for access after that,
//! and shows the request as it was understood.

use s3s::access::S3Access;
use s3s::dto::{CompleteMultipartUploadInput, PutObjectInput};
use s3s::{S3Request, S3Result};
use std::pin::Pin;

/// Marks a request whose condition is not looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unconditional;

/// Whoever has signed may do everything.
pub(super) struct Conditions;

/// A method of [`S3Access`] that forgets the conditions of a marked request. Its form is that of `async_trait`, which is
/// not worth a dependency.
macro_rules! forgets_conditions {
    ($method:ident, $input:ty) => {
        fn $method<'this, 'request, 'answer>(
            &'this self,
            request: &'request mut S3Request<$input>,
        ) -> Pin<Box<dyn Future<Output = S3Result<()>> + Send + 'answer>>
        where
            'this: 'answer,
            'request: 'answer,
            Self: 'answer,
        {
            if request.extensions.get::<Unconditional>().is_some() {
                request.input.if_none_match = None;
                request.input.if_match = None;
            }
            Box::pin(std::future::ready(Ok(())))
        }
    };
}

impl S3Access for Conditions {
    forgets_conditions!(put_object, PutObjectInput);
    forgets_conditions!(complete_multipart_upload, CompleteMultipartUploadInput);
}
