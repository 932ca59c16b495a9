//! What one request to a store met, below a [`super::LakeError`], which names the request.

use std::error::Error;
use std::{fmt, io};

/// Longer texts of others are cut.
const TEXT_BYTES: usize = 200;

/// Why one attempt at a request of a store has failed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Nothing arrived for too long.
    #[error("no answer in time")]
    Silent,
    /// The S3 server answered with an error.
    #[error("the server answered {status} {code}")]
    Answered {
        /// The HTTP status.
        status: u16,
        /// The server's error code, and its message in brackets.
        code: String,
    },
    /// There are none to sign a request with.
    #[error("there are no credentials")]
    NoCredentials,
    /// They were looked for, and could not be had.
    #[error("no credentials")]
    Credentials(#[source] SdkError),
    /// The server was not reached.
    #[error("no connection")]
    Connection(#[source] SdkError),
    /// The server's answer is not one of S3's.
    #[error("the answer cannot be read")]
    Unreadable(#[source] SdkError),
    /// The SDK did not send the request, or the body broke off.
    #[error(transparent)]
    Sdk(#[from] SdkError),
    /// The operating system's answer, of a lake in a folder.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What was found instead of an answer.
    #[error("{0}")]
    Other(&'static str),
}

/// An error of the AWS SDK. Its text is that of the innermost cause, which says what happened, cut to one line of at most
/// 200 bytes; the errors around it name layers of the SDK. So it has no `source`.
#[derive(Debug)]
pub struct SdkError(Box<dyn Error + Send + Sync>);

impl SdkError {
    pub(super) fn new(error: impl Error + Send + Sync + 'static) -> SdkError {
        SdkError(Box::new(error))
    }
}

impl Error for SdkError {}

impl fmt::Display for SdkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = sources(self.0.as_ref()).last().map(ToString::to_string);
        f.write_str(&short(&root.unwrap_or_default()))
    }
}

/// An error and its sources, from the outermost to the innermost.
pub(super) fn sources<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The first line, and not too much of it.
pub(super) fn short(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().find(|(at, _)| *at >= TEXT_BYTES) {
        None => line.to_owned(),
        Some((at, _)) => format!("{}…", &line[..at]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use causes::with_causes;

    /// A layer of the SDK around the cause.
    #[derive(Debug, thiserror::Error)]
    #[error("dispatch failure")]
    struct Layer(#[source] io::Error);

    #[test]
    fn an_error_of_the_sdk_says_its_innermost_cause_in_one_short_line() {
        let refused = || Layer(io::Error::other("connection refused\nat line 7"));
        let error = RequestError::Connection(SdkError::new(refused()));
        assert_eq!(error.to_string(), "no connection");
        assert_eq!(with_causes(&error), "no connection: connection refused");
        let error = RequestError::from(SdkError::new(refused()));
        assert_eq!(with_causes(&error), "connection refused");
        let long = SdkError::new(Layer(io::Error::other("x".repeat(1000)))).to_string();
        assert_eq!(long.chars().count(), TEXT_BYTES + 1);
    }
}
