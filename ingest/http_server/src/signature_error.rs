//! Why the signature of a request is not accepted.

use super::authorization::ClaimError;
use hyper::header::HeaderName;

/// Why a signature is not accepted, in AWS's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is none.
    #[error("Missing Authentication Token")]
    Missing,
    /// The header with the signature is not what it should be.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// There is more than one of a header that says who signs or when.
    #[error("'{0}' must be there once")]
    Header(HeaderName),
    /// A header is not signed.
    #[error("'{0}' must be a 'SignedHeader' in the AWS Authorization.")]
    Unsigned(HeaderName),
    /// The date is not one.
    #[error("Date must be in ISO-8601 'basic format'")]
    Date,
    /// No access key has this id.
    #[error("The security token included in the request is invalid.")]
    UnknownKey,
    /// It is for another service.
    #[error("Credential should be scoped to correct service: '{0}'.")]
    Service(&'static str),
    /// It is for another region.
    #[error("Credential should be scoped to a valid region, not '{0}'.")]
    Region(String),
    /// The day of the credential is not that of the date.
    #[error("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP")]
    Day,
    /// It is too old.
    #[error("Signature expired: {signed} is now earlier than {least} ({now} - 5 min.)")]
    Expired {
        /// Its date.
        signed: String,
        /// The earliest that is accepted.
        least: String,
        /// The time here.
        now: String,
    },
    /// It is of the future.
    #[error("Signature not yet current: {signed} is still later than {most} ({now} + 5 min.)")]
    Early {
        /// Its date.
        signed: String,
        /// The latest that is accepted.
        most: String,
        /// The time here.
        now: String,
    },
    /// It does not cover the body, or covers it compressed.
    #[error("The signature must cover the plain body: '{0}' is not accepted")]
    Payload(String),
    /// Key, request or body are not those that were signed.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access \
         Key and signing method."
    )]
    Mismatch,
}
