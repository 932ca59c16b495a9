//! The texts of errors: each says what failed and on which object; its causes are its sources, and none is said twice.

use causes::with_causes;
use ingest::archive::ArchiveError;
use ingest::kafka::{KafkaConfigError, KafkaError};
use ingest::lake::{LakeError, RequestError};
use std::error::Error;
use std::io;
use std::time::Duration;

fn refused() -> io::Error {
    io::Error::from(io::ErrorKind::PermissionDenied)
}

fn answered() -> RequestError {
    RequestError::Answered {
        status: 403,
        code: "AccessDenied (not you)".into(),
    }
}

/// Of every variant with a source at least one, and some without.
fn of_the_lake() -> Vec<LakeError> {
    let object = || "topics/pin/0.json".to_owned();
    vec![
        LakeError::NoAccess {
            lake: "s3://lake".into(),
            source: RequestError::NoCredentials,
            hint: "set AWS_PROFILE",
        },
        LakeError::Inaccessible {
            object: object(),
            source: refused().into(),
        },
        LakeError::Io {
            action: "read",
            object: object(),
            source: refused(),
        },
        LakeError::Refused {
            action: "write",
            object: object(),
            source: answered(),
        },
        LakeError::Unavailable {
            action: "list",
            object: object(),
            waited: Duration::from_secs(45),
            source: RequestError::Silent,
        },
        LakeError::Corrupt {
            object: object(),
            source: "the gzip stream is cut short".into(),
        },
        LakeError::Metadata {
            object: object(),
            source: "pinflow-end is \"many\"".into(),
        },
        LakeError::Missing {
            action: "read",
            object: object(),
        },
    ]
}

fn of_kafka() -> Vec<KafkaError> {
    let native = || rdkafka::error::KafkaError::ClientCreation("no brokers".into());
    vec![
        KafkaError::client("create a consumer", native()),
        KafkaError::Refused {
            question: "the topics".into(),
            source: native().into(),
        },
        KafkaError::Config(KafkaConfigError::NoBootstrap),
        KafkaError::NotAuthorized { topic: "pin".into() },
    ]
}

/// No text contains that of a cause, and the whole text has each cause once.
fn check(error: &dyn Error) {
    let whole = with_causes(error);
    let mut outer = error;
    while let Some(cause) = outer.source() {
        let (text, said) = (outer.to_string(), cause.to_string());
        assert!(
            !said.is_empty() && !text.contains(&said),
            "{text:?} repeats its cause {said:?}"
        );
        assert_eq!(whole.matches(&said).count(), 1, "{whole:?} names {said:?} once");
        outer = cause;
    }
}

#[test]
fn no_error_repeats_its_cause() {
    of_the_lake().iter().for_each(|error| check(error));
    of_kafka().iter().for_each(|error| check(error));
    let archive = of_the_lake().into_iter().map(ArchiveError::from);
    archive.for_each(|error| check(&error));
    let archive = of_kafka().into_iter().map(ArchiveError::from);
    archive.for_each(|error| check(&error));
    check(&io::Error::from(of_the_lake().remove(2)));
}

#[test]
fn the_whole_text_says_what_failed_on_which_object_and_why() {
    let texts: Vec<String> = of_the_lake().iter().map(|error| with_causes(error)).collect();
    assert_eq!(
        texts,
        [
            "cannot use s3://lake (set AWS_PROFILE): there are no credentials",
            "cannot read topics/pin/0.json, although the lake can be listed: permission denied",
            "cannot read topics/pin/0.json: permission denied",
            "cannot write topics/pin/0.json (check credentials, bucket policy and region): the server answered 403 \
             AccessDenied (not you)",
            "cannot list topics/pin/0.json: given up after 45 s of attempts: no answer in time",
            "topics/pin/0.json is damaged: the gzip stream is cut short",
            "the metadata of topics/pin/0.json is not readable: pinflow-end is \"many\"",
            "cannot read topics/pin/0.json: it does not exist",
        ]
    );
    assert_eq!(
        with_causes(&of_kafka()[0]),
        "librdkafka failed to create a consumer: Client creation error: no brokers"
    );
}
