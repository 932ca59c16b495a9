//! What a request of Kinesis's own protocol asks for: its operation, by the header that names it, and its form.

use http_server::Need;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName};

const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const SERVICE: &str = "Kinesis_20131202.";
const JSON: &str = "application/x-amz-json-1.1";
const CBOR: &str = "application/x-amz-cbor-1.1";

/// The operations that are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    PutRecord,
    PutRecords,
    ListStreams,
    ListShards,
    DescribeStream,
    DescribeStreamSummary,
    CreateStream,
    DeleteStream,
}

/// How a request is written, and is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Bytes are base64.
    Json,
    /// What clients in Java write.
    Cbor,
}

/// A request's operation, if it is one, and its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) operation: Option<Operation>,
    pub(super) form: Form,
}

impl Call {
    /// What the head of a request says; none where it is of no AWS client.
    pub(super) fn of(headers: &HeaderMap) -> Option<Call> {
        let mut targets = headers.get_all(TARGET).iter();
        let target = targets.next()?;
        let named = target.to_str().ok().filter(|_| targets.next().is_none());
        Some(Call {
            operation: named.and_then(|text| Operation::named(text.strip_prefix(SERVICE)?)),
            form: Form::of(headers),
        })
    }

    /// What it needs of a token, as far as its head says.
    pub(super) fn need(self) -> Option<Need<'static>> {
        match self.operation? {
            // the topic of a record may be told by its partition key
            Operation::PutRecord | Operation::PutRecords => None,
            Operation::ListStreams
            | Operation::ListShards
            | Operation::DescribeStream
            | Operation::DescribeStreamSummary => Some(Need::Read),
            Operation::CreateStream | Operation::DeleteStream => Some(Need::Admin),
        }
    }
}

impl Form {
    /// What the head of a request says; JSON where it does not.
    fn of(headers: &HeaderMap) -> Form {
        let media = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
        let start = media.trim_ascii_start().get(..CBOR.len());
        if start.is_some_and(|start| start.eq_ignore_ascii_case(CBOR.as_bytes())) {
            Form::Cbor
        } else {
            Form::Json
        }
    }

    /// The media type of an answer.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Form::Json => JSON,
            Form::Cbor => CBOR,
        }
    }
}

impl Operation {
    fn named(name: &str) -> Option<Operation> {
        Some(match name {
            "PutRecord" => Operation::PutRecord,
            "PutRecords" => Operation::PutRecords,
            "ListStreams" => Operation::ListStreams,
            "ListShards" => Operation::ListShards,
            "DescribeStream" => Operation::DescribeStream,
            "DescribeStreamSummary" => Operation::DescribeStreamSummary,
            "CreateStream" => Operation::CreateStream,
            "DeleteStream" => Operation::DeleteStream,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_names_the_operation_and_the_form() {
        let of = |fields: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, value.parse().unwrap());
            }
            Call::of(&headers)
        };
        let call = |operation, form| Some(Call { operation, form });
        let put = ("x-amz-target", "Kinesis_20131202.PutRecord");
        let json = ("content-type", "application/x-amz-json-1.1");
        let cbor = ("content-type", "Application/X-Amz-Cbor-1.1 ; x=y");
        assert_eq!(of(&[put, json]), call(Some(Operation::PutRecord), Form::Json));
        assert_eq!(of(&[put, cbor]), call(Some(Operation::PutRecord), Form::Cbor));
        assert_eq!(of(&[put]), call(Some(Operation::PutRecord), Form::Json));
        assert_eq!(of(&[json]), None);
        assert_eq!(of(&[put, put]), call(None, Form::Json));
        for target in [
            "Kinesis_20131202.GetRecords",
            "Kinesis_20131202.",
            "kinesis_20131202.PutRecord",
            "DynamoDB_20120810.PutItem",
            "",
        ] {
            assert_eq!(of(&[("x-amz-target", target)]), call(None, Form::Json), "{target}");
        }
    }
}
