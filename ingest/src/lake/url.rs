//! Where a lake is, as its URL says.

use super::error::LakeError;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

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
            return if path.starts_with('/') {
                Ok(LakeUrl::File(PathBuf::from(path)))
            } else {
                wrong("the folder is not absolute, so three slashes are needed")
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
