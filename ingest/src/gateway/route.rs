//! Which interface a path belongs to. Paths are read from their end: whatever a stage or a proxy puts in front does
//! not matter.

use super::config::Stream;
use hyper::Method;
use std::borrow::Cow;

/// The dialects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interface {
    /// `POST /pin/`
    FastApi,
    /// `POST /topics/{topic}`
    RestV2,
    /// `POST /v3/clusters/{id}/topics/{topic}/records`
    RestV3,
    /// `PUT /streams/{stream}/record`
    Kinesis,
    /// The gateway's own: health, metrics, description
    Operations,
}

impl Interface {
    /// Its name in logs and metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Interface::FastApi => "fastapi",
            Interface::RestV2 => "rest_v2",
            Interface::RestV3 => "rest_v3",
            Interface::Kinesis => "kinesis",
            Interface::Operations => "operations",
        }
    }
}

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target<'p> {
    /// A record of the stream with this index.
    Item(usize),
    ListTopics,
    DescribeTopic(Cow<'p, str>),
    Produce(Cow<'p, str>),
    ProduceToPartition(Cow<'p, str>, Cow<'p, str>),
    Stream {
        cluster: Cow<'p, str>,
        topic: Cow<'p, str>,
    },
    PutRecord(Cow<'p, str>),
    PutRecords(Cow<'p, str>),
    ListStreams,
    DescribeStream(Cow<'p, str>),
    CreateStream(Cow<'p, str>),
    DeleteStream(Cow<'p, str>),
    Health,
    Ready,
    Metrics,
    Version,
    OpenApi,
    /// The path exists, this method does not; these do.
    WrongMethod(&'static str),
    Nowhere,
}

impl Target<'_> {
    /// Whether it is served without a token.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Target::Health | Target::Ready | Target::Version | Target::OpenApi)
    }
}

/// Reads a path.
pub(super) fn route<'p>(method: &Method, path: &'p str, streams: &[Stream]) -> (Interface, Target<'p>) {
    use Interface::{FastApi, Kinesis, Operations, RestV2, RestV3};
    let get = method == Method::GET || method == Method::HEAD;
    let post = method == Method::POST;
    let put = method == Method::PUT;
    let pick = |right: bool, target: Target<'p>, allowed: &'static str| match right {
        true => target,
        false => Target::WrongMethod(allowed),
    };
    let own = match path {
        "/healthz" => Some(Target::Health),
        "/readyz" => Some(Target::Ready),
        "/metrics" => Some(Target::Metrics),
        "/version" => Some(Target::Version),
        "/openapi.json" => Some(Target::OpenApi),
        _ => None,
    };
    if let Some(target) = own {
        return (Operations, pick(get, target, "GET, HEAD"));
    }
    // the longest path has six segments; what stands before them is nobody's business
    let mut segments = [""; 6];
    let trimmed = path.strip_suffix('/').unwrap_or(path);
    for (slot, segment) in segments.iter_mut().zip(trimmed.rsplit('/')) {
        *slot = segment;
    }
    match segments {
        _ if trimmed.is_empty() => (FastApi, Target::Nowhere),
        ["records", topic, "topics", cluster, "clusters", "v3"] => {
            let (cluster, topic) = (decode(cluster), decode(topic));
            (RestV3, pick(post, Target::Stream { cluster, topic }, "POST"))
        }
        [partition, "partitions", topic, "topics", ..] => {
            let target = Target::ProduceToPartition(decode(topic), decode(partition));
            (RestV2, pick(post, target, "POST"))
        }
        ["record", stream, "streams", ..] => (Kinesis, pick(put, Target::PutRecord(decode(stream)), "PUT")),
        ["records", stream, "streams", ..] => (Kinesis, pick(put, Target::PutRecords(decode(stream)), "PUT")),
        [topic, "topics", ..] => match () {
            () if post => (RestV2, Target::Produce(decode(topic))),
            () => (
                RestV2,
                pick(get, Target::DescribeTopic(decode(topic)), "GET, HEAD, POST"),
            ),
        },
        [stream, "streams", ..] => match () {
            () if post => (Kinesis, Target::CreateStream(decode(stream))),
            () if method == Method::DELETE => (Kinesis, Target::DeleteStream(decode(stream))),
            () => (
                Kinesis,
                pick(get, Target::DescribeStream(decode(stream)), "GET, HEAD, POST, DELETE"),
            ),
        },
        ["topics", ..] => (RestV2, pick(get, Target::ListTopics, "GET, HEAD")),
        ["streams", ..] => (Kinesis, pick(get, Target::ListStreams, "GET, HEAD")),
        [name, ..] => match streams.iter().position(|stream| stream.name == name) {
            Some(index) => (FastApi, pick(post, Target::Item(index), "POST")),
            None => (FastApi, Target::Nowhere),
        },
    }
}

/// `%2E` → `.`; what is not an escape, or not UTF-8, stays as it is.
fn decode(segment: &str) -> Cow<'_, str> {
    if !segment.contains('%') {
        return Cow::Borrowed(segment);
    }
    let hex = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let (bytes, mut decoded, mut at) = (segment.as_bytes(), Vec::with_capacity(segment.len()), 0);
    while let Some(byte) = bytes.get(at) {
        match (byte, hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap_or(b'%'));
                at += 3;
            }
            _ => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).map_or(Cow::Borrowed(segment), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(method: Method, path: &str) -> Target<'_> {
        let stream = |name: &str| Stream {
            name: name.to_owned(),
            topic: None,
            fields: Vec::new(),
        };
        route(&method, path, &["pin", "geo", "user"].map(stream)).1
    }

    #[test]
    fn any_prefix_is_ignored() {
        for prefix in ["", "/test", "/dev/kafka", "/streams/x", "/topics"] {
            let path = format!("{prefix}/topics/u.pin");
            assert_eq!(at(Method::POST, &path), Target::Produce("u.pin".into()), "{path}");
            let path = format!("{prefix}/pin/");
            if prefix.is_empty() || prefix == "/test" {
                assert_eq!(at(Method::POST, &path), Target::Item(0), "{path}");
            }
            let path = format!("{prefix}/streams/s/record");
            assert_eq!(at(Method::PUT, &path), Target::PutRecord("s".into()), "{path}");
        }
        let v3 = Target::Stream {
            cluster: "c".into(),
            topic: "t".into(),
        };
        assert_eq!(at(Method::POST, "/kafka/v3/clusters/c/topics/t/records"), v3);
        let partition = Target::ProduceToPartition("t".into(), "3".into());
        assert_eq!(at(Method::POST, "/prod/topics/t/partitions/3"), partition);
        assert_eq!(at(Method::GET, "/prod/topics"), Target::ListTopics);
        assert_eq!(at(Method::GET, "/streams"), Target::ListStreams);
        assert_eq!(at(Method::DELETE, "/streams/a%2Db"), Target::DeleteStream("a-b".into()));
        assert_eq!(at(Method::POST, "/user"), Target::Item(2));
    }

    #[test]
    fn other_methods_and_paths_are_told_apart() {
        assert_eq!(at(Method::GET, "/pin/"), Target::WrongMethod("POST"));
        assert_eq!(at(Method::POST, "/streams/s/record"), Target::WrongMethod("PUT"));
        assert_eq!(at(Method::PUT, "/healthz"), Target::WrongMethod("GET, HEAD"));
        for nowhere in ["/", "", "//", "/pins", "/pin/x", "/prefix/healthz"] {
            assert_eq!(at(Method::POST, nowhere), Target::Nowhere, "{nowhere}");
        }
        assert_eq!(at(Method::POST, "/topics/%zz"), Target::Produce("%zz".into()));
        assert_eq!(at(Method::POST, "/topics/%ff"), Target::Produce("%ff".into()));
    }
}
