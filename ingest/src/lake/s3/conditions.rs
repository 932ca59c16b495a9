//! What an S3 server does with the conditions of a write.

/// Which conditions the server looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Conditions {
    /// `If-None-Match: *`
    pub(crate) absent: bool,
    /// `If-Match: <etag>`
    pub(crate) same: bool,
}
