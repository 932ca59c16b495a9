//! How a lake is reached, and the limit on its small objects.

use super::availability::LakeObserver;
use super::retry::Retries;
use std::fmt;

/// No control object or sidecar is larger.
pub(super) const SMALL_OBJECT_BYTES: u64 = 16 << 20;

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
