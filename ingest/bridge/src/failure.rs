//! What a failed request to Kinesis means.

use super::error::{BridgeError, RequestError};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use std::error::Error;

/// What follows from a failed request.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It may succeed later.
    Passing(RequestError),
    /// Later, and not so often.
    Throttled,
    /// The iterator is older than five minutes: a new one is needed.
    Expired,
    /// It will not succeed.
    Permanent(BridgeError),
}

/// Errors that mean that too much is asked.
const THROTTLED: [&str; 5] = [
    "ProvisionedThroughputExceededException",
    "LimitExceededException",
    "KMSThrottlingException",
    "Throttling",
    "ThrottlingException",
];
/// Errors of a busy server, whatever their status.
const BUSY: [&str; 3] = ["InternalFailure", "InternalFailureException", "ServiceUnavailable"];
/// Errors of credentials.
const CREDENTIALS: [&str; 6] = [
    "UnrecognizedClientException",
    "InvalidSignatureException",
    "InvalidClientTokenId",
    "IncompleteSignatureException",
    "MissingAuthenticationTokenException",
    "ExpiredTokenException",
];

const KEYS_HINT: &str =
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile with AWS_PROFILE, or give the machine a role";
const POLICY_HINT: &str = "the policy must allow kinesis:DescribeStreamSummary, kinesis:ListShards, \
                           kinesis:GetShardIterator and kinesis:GetRecords";
const STREAM_HINT: &str = "check the name, and the region in AWS_REGION";

/// Says what a failed request means.
pub(crate) fn classify<E>(asked: &'static str, stream: &str, error: SdkError<E>) -> Failure
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let refused = |hint: &'static str, source: RequestError| {
        Failure::Permanent(BridgeError::Refused {
            asked,
            stream: stream.to_owned(),
            hint,
            source,
        })
    };
    let unanswered = |error: SdkError<E>| RequestError::Unanswered(Box::new(error));
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    match &error {
        SdkError::ServiceError(_) => {}
        SdkError::ConstructionFailure(_) => return refused(STREAM_HINT, unanswered(error)),
        SdkError::DispatchFailure(failure) if failure.is_user() => return refused("", unanswered(error)),
        _ => {
            return match credentials_error(&error) {
                Some(CredentialsError::ProviderTimedOut(_)) | None => Failure::Passing(unanswered(error)),
                Some(_) => refused(KEYS_HINT, unanswered(error)),
            };
        }
    }
    let code = error.code().unwrap_or("an error without a name").to_owned();
    let message = error.message().unwrap_or_default().to_owned();
    let is = |codes: &[&str]| codes.contains(&code.as_str());
    let throttled = status == 429 || is(&THROTTLED);
    let busy = status >= 500 || is(&BUSY);
    let hint = match code.as_str() {
        "AccessDeniedException" => POLICY_HINT,
        "ResourceNotFoundException" => STREAM_HINT,
        _ if is(&CREDENTIALS) => KEYS_HINT,
        _ => "",
    };
    let expired = code == "ExpiredIteratorException";
    let answer = RequestError::Answered { code, message };
    match () {
        () if throttled => Failure::Throttled,
        () if expired => Failure::Expired,
        () if busy => Failure::Passing(answer),
        () => refused(hint, answer),
    }
}

/// The error of the credential chain among the causes.
fn credentials_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e CredentialsError> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}
