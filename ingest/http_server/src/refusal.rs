//! Why a request is not answered, as far as that does not depend on what the server is for.

use super::body::{Body, text};
use super::rate::Exhausted;
use super::signature_error::SignatureError;
use super::sites::SiteError;
use hyper::header::{ALLOW, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};

/// Why a request is not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such path.
    #[error("Not Found")]
    NotFound,
    /// The path is there for `GET` and `HEAD` alone.
    #[error("Method Not Allowed")]
    Method,
    /// There is no valid token.
    #[error("Not authenticated")]
    Unauthenticated,
    /// There is no valid signature.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// It comes from another machine, and no token says who sends it.
    #[error("Other machines may not ask without a token")]
    Remote,
    /// The token does not open this.
    #[error("The scopes of the token lack {0}")]
    Scope(String),
    /// The token has sent too much.
    #[error(transparent)]
    Rate(#[from] Exhausted),
    /// It comes from a page of another site, or was meant for another server.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// As many streams are open as there may be.
    #[error("Too many streams are open, try again")]
    Streams,
}

impl Refusal {
    /// The status that says so.
    pub fn status(&self) -> StatusCode {
        match self {
            Refusal::NotFound => StatusCode::NOT_FOUND,
            Refusal::Method => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::Unauthenticated => StatusCode::UNAUTHORIZED,
            Refusal::Site(error) if error.is_malformed() => StatusCode::BAD_REQUEST,
            // as AWS says it
            Refusal::Signature(_) => StatusCode::BAD_REQUEST,
            Refusal::Remote | Refusal::Scope(_) | Refusal::Site(_) => StatusCode::FORBIDDEN,
            Refusal::Rate(_) => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Streams => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The answer as a line of text.
    pub fn response(&self) -> Response<Body> {
        self.with_headers(text(self.status(), format!("{self}\n")))
    }

    /// An answer of another form, with the headers that belong to this refusal.
    pub fn with_headers<B>(&self, mut response: Response<B>) -> Response<B> {
        let headers = response.headers_mut();
        match self {
            Refusal::Method => headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD")),
            Refusal::Unauthenticated => headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
            Refusal::Rate(Exhausted(seconds)) => headers.insert(RETRY_AFTER, HeaderValue::from(*seconds)),
            Refusal::Streams => headers.insert(RETRY_AFTER, HeaderValue::from_static("10")),
            Refusal::NotFound | Refusal::Remote | Refusal::Scope(_) | Refusal::Site(_) | Refusal::Signature(_) => None,
        };
        response
    }
}
