//! What a failed request to an S3 server means: an outage, one object that cannot be read, or a refusal.
//!
//! A server that cannot be reached, is overloaded or does not accept the credentials *any more* is waited for: sessions
//! expire and keys are rotated while a program runs. The same before anything has ever succeeded is a wrong setting, and
//! said at once. A refusal that concerns a single object is only believed when the lake can still be listed: see
//! `S3Store::settle`.

use super::super::availability::{Availability, RequestKind};
use super::super::error::LakeError;
use super::super::request_error::{self, RequestError, short, sources};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use std::error::Error;

/// Codes of a server that is busy, or of two writers at the same moment.
const BUSY: [&str; 8] = [
    "SlowDown",
    "RequestTimeout",
    "InternalError",
    "ServiceUnavailable",
    "Throttling",
    "ThrottlingException",
    "ConditionalRequestConflict",
    "OperationAborted",
];

/// Codes that say that the credentials are not accepted, whatever is asked for.
const NOT_ACCEPTED: [&str; 8] = [
    "NotSignedUp",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "TokenRefreshRequired",
    "RequestExpired",
    CLOCK,
];
const CLOCK: &str = "RequestTimeTooSkewed";

const KEYS_HINT: &str =
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile with AWS_PROFILE, or give the machine a role";
const POLICY_HINT: &str = "the policy must allow s3:ListBucket on the bucket and s3:GetObject on its objects";
const CLOCK_HINT: &str = "set this machine's clock";

/// What one attempt of a request came to, when it failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It may go better next time.
    Transient(RequestError),
    /// The object cannot be read; true of this object alone when the lake can be listed.
    Unconfirmed(LakeError),
    /// It will not go better.
    Permanent(LakeError),
}

/// Says what a failed attempt means.
pub(super) fn classify_error<E>(
    availability: &Availability,
    kind: RequestKind,
    action: &'static str,
    object: &str,
    error: SdkError<E>,
) -> Failure
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    let code = error.code().unwrap_or_default().to_string();
    let object = object.to_string();
    let refused = |source: RequestError| {
        Failure::Permanent(LakeError::Refused {
            action,
            object: object.clone(),
            source,
        })
    };
    match &error {
        SdkError::ServiceError(_) => {}
        SdkError::ConstructionFailure(_) => return refused(unsent(error)),
        SdkError::DispatchFailure(failure) if failure.is_user() => return refused(unsent(error)),
        _ => {
            return match credentials_error(&error) {
                Some(CredentialsError::ProviderTimedOut(_)) | None => Failure::Transient(unanswered(error)),
                Some(CredentialsError::CredentialsNotLoaded(_)) => {
                    no_access(availability, RequestError::NoCredentials, KEYS_HINT)
                }
                Some(_) => {
                    let failed = RequestError::Credentials(request_error::SdkError::new(error));
                    no_access(availability, failed, KEYS_HINT)
                }
            };
        }
    }
    let said = match error.message() {
        Some(message) if !message.is_empty() => format!("{code} ({})", short(message)),
        _ => code.clone(),
    };
    let answer = RequestError::Answered { status, code: said };
    if NOT_ACCEPTED.contains(&code.as_str()) {
        let hint = if code == CLOCK { CLOCK_HINT } else { KEYS_HINT };
        return no_access(availability, answer, hint);
    }
    match (status, kind) {
        (429 | 500.., _) => Failure::Transient(answer),
        _ if BUSY.contains(&code.as_str()) => Failure::Transient(answer),
        (404, RequestKind::Listing) => no_lake(availability, action, object, answer),
        (404, _) if code == "NoSuchBucket" => no_lake(availability, action, object, answer),
        (403, RequestKind::Listing) => no_access(availability, answer, POLICY_HINT),
        (404, RequestKind::Object) => Failure::Unconfirmed(LakeError::Missing { action, object }),
        (404, RequestKind::Change) => Failure::Permanent(LakeError::Missing { action, object }),
        (403, RequestKind::Object) => Failure::Unconfirmed(LakeError::Inaccessible { object, source: answer }),
        // a HEAD is answered without a code: an expired session looks like this
        (400, RequestKind::Object) if matches!(code.as_str(), "" | "BadRequest") => {
            Failure::Unconfirmed(LakeError::Refused {
                action,
                object,
                source: answer,
            })
        }
        (412 | 416, _) => Failure::Permanent(LakeError::Changed { object }),
        _ => refused(answer),
    }
}

/// Every request is refused: an outage when something was before.
fn no_access(availability: &Availability, why: RequestError, hint: &'static str) -> Failure {
    if availability.has_answered() {
        Failure::Transient(why)
    } else {
        Failure::Permanent(LakeError::NoAccess {
            lake: availability.lake().to_owned(),
            source: why,
            hint,
        })
    }
}

/// The bucket is not there: an outage when it was before.
fn no_lake(availability: &Availability, action: &'static str, object: String, why: RequestError) -> Failure {
    if availability.has_answered() {
        Failure::Transient(why)
    } else {
        Failure::Permanent(LakeError::NoLake { action, object })
    }
}

fn credentials_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a CredentialsError> {
    sources(error).find_map(|error| error.downcast_ref())
}

/// A request that the SDK did not send.
fn unsent(error: impl Error + Send + Sync + 'static) -> RequestError {
    request_error::SdkError::new(error).into()
}

/// An attempt without an answer.
fn unanswered<E>(error: SdkError<E>) -> RequestError
where
    E: Error + Send + Sync + 'static,
{
    let wrapped = match &error {
        SdkError::TimeoutError(_) => return RequestError::Silent,
        SdkError::DispatchFailure(failure) if failure.is_timeout() => return RequestError::Silent,
        SdkError::DispatchFailure(failure) if failure.is_io() => RequestError::Connection,
        SdkError::ResponseError(_) => RequestError::Unreadable,
        _ => RequestError::Sdk,
    };
    wrapped(request_error::SdkError::new(error))
}
