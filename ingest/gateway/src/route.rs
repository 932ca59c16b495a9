//! Which interface a path belongs to.
//!
//! A stage of API Gateway or a proxy may put a prefix in front of an interface's own path: one of a configured list,
//! else any single segment that is no name of ours. So no path of one interface is a prefix of another's, and what a
//! proxy in front decides by the beginning of a path holds here too. Names of paths are compared as they are written:
//! an escaped or differently cased one is another name.

use super::config::Stream;
use super::prefix::{PrefixError, check_prefix, is_own_name, is_plain};
use super::target::{Interface, Target, View};
use hyper::Method;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// Segments of the longest path behind its prefix.
const LONGEST: usize = 7;
/// Finds the interface of a path.
#[derive(Debug)]
pub(super) struct Router {
    streams: Vec<String>,
    /// `None`: any single segment.
    prefixes: Option<Vec<String>>,
}

impl Router {
    pub(super) fn new(streams: &[Stream], prefixes: Option<&[String]>) -> Result<Router, PrefixError> {
        let names: Vec<&str> = streams.iter().map(|stream| stream.name.as_str()).collect();
        let check = |prefixes: &[String]| prefixes.iter().map(|prefix| check_prefix(prefix, &names)).collect();
        Ok(Router {
            prefixes: prefixes.map(check).transpose()?,
            streams: names.into_iter().map(str::to_owned).collect(),
        })
    }

    /// Whether a segment is a name of ours, however it is cased.
    fn is_own_name(&self, segment: &str) -> bool {
        is_own_name(segment, self.streams.iter().map(String::as_str))
    }

    /// What follows a prefix, beginning with a slash.
    fn without_prefix<'p>(&self, path: &'p str) -> &'p str {
        let Some(prefixes) = &self.prefixes else {
            let Some((first, rest)) = path.get(1..).and_then(|path| path.split_once('/')) else {
                return path;
            };
            let is_prefix = !rest.is_empty() && is_plain(first) && !self.is_own_name(first);
            return if is_prefix { &path[1 + first.len()..] } else { path };
        };
        let stripped = prefixes.iter().filter_map(|prefix| path.strip_prefix(prefix.as_str()));
        let stripped = stripped.filter(|rest| rest.is_empty() || rest.starts_with('/'));
        stripped.min_by_key(|rest| rest.len()).unwrap_or(path)
    }

    /// What a path has in front of an interface's own.
    pub(super) fn prefix<'p>(&self, path: &'p str) -> &'p str {
        &path[..path.len() - self.without_prefix(path).len()]
    }

    /// Reads a path.
    pub(super) fn route<'p>(&self, method: &Method, path: &'p str) -> (Interface, Target<'p>) {
        use Interface::{FastApi, Kinesis, Operations, RestV2, RestV3};
        let get = method == Method::GET || method == Method::HEAD;
        let post = method == Method::POST;
        let put = method == Method::PUT;
        let pick = |right: bool, target: Target<'p>, allowed: &'static str| {
            if right { target } else { Target::WrongMethod(allowed) }
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
        let rest = self.without_prefix(path);
        if post && matches!(rest, "" | "/") {
            return (FastApi, Target::Root);
        }
        let Some(rest) = rest.strip_prefix('/') else {
            return (FastApi, Target::Nowhere);
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let mut all = [""; LONGEST + 1];
        let mut count = 0;
        for (slot, segment) in all.iter_mut().zip(rest.split('/')) {
            *slot = segment;
            count += 1;
        }
        match all[..count] {
            ["topics", topic] if post => (RestV2, Target::Produce(decode(topic))),
            ["topics", topic] => {
                let target = Target::DescribeTopic(decode(topic));
                (RestV2, pick(get, target, "GET, HEAD, POST"))
            }
            ["topics"] => (RestV2, pick(get, Target::ListTopics, "GET, HEAD")),
            ["topics", topic, "partitions", partition] => {
                let target = Target::ProduceToPartition(decode(topic), decode(partition));
                (RestV2, pick(post, target, "POST"))
            }
            ["v3", "clusters", cluster, "topics", topic, "records"] => {
                let (cluster, topic) = (decode(cluster), decode(topic));
                (RestV3, pick(post, Target::Stream { cluster, topic }, "POST"))
            }
            ["v3", "clusters", cluster, "topics", topic, "records:batch"] => {
                let (cluster, topic) = (decode(cluster), decode(topic));
                (RestV3, pick(post, Target::ProduceBatch { cluster, topic }, "POST"))
            }
            ["v3", "clusters", ref view @ ..] => match view_of(view) {
                Some(view) => (RestV3, pick(get, Target::View(view), "GET, HEAD")),
                None => (RestV3, Target::Nowhere),
            },
            ["consumers", ..] => (RestV2, Target::Consumers),
            ["streams"] => (Kinesis, pick(get, Target::ListStreams, "GET, HEAD")),
            ["streams", stream] if post => (Kinesis, Target::CreateStream(decode(stream))),
            ["streams", stream] if method == Method::DELETE => (Kinesis, Target::DeleteStream(decode(stream))),
            ["streams", stream] => {
                let target = Target::DescribeStream(decode(stream));
                (Kinesis, pick(get, target, "GET, HEAD, POST, DELETE"))
            }
            ["streams", stream, "record"] => (Kinesis, pick(put, Target::PutRecord(decode(stream)), "PUT")),
            ["streams", stream, "records"] => (Kinesis, pick(put, Target::PutRecords(decode(stream)), "PUT")),
            // what is not there says so in the words of those who would have it
            ["topics" | "brokers", ..] => (RestV2, Target::Nowhere),
            ["v3", ..] => (RestV3, Target::Nowhere),
            ["streams", ..] => (Kinesis, Target::Nowhere),
            [name] => match self.streams.iter().position(|stream| stream == name) {
                Some(index) => (FastApi, pick(post, Target::Item(index), "POST")),
                None => (FastApi, Target::Nowhere),
            },
            _ => (FastApi, Target::Nowhere),
        }
    }
}

/// What version 3 shows at a path behind `/v3/clusters`.
fn view_of<'p>(segments: &[&'p str]) -> Option<View<'p>> {
    Some(match *segments {
        [] => View::Clusters,
        [cluster] => View::Cluster(decode(cluster)),
        [cluster, "topics"] => View::Topics {
            cluster: decode(cluster),
        },
        [cluster, "topics", topic] => View::Topic {
            cluster: decode(cluster),
            topic: decode(topic),
        },
        [cluster, "topics", topic, "partitions"] => View::Partitions {
            cluster: decode(cluster),
            topic: decode(topic),
        },
        [cluster, "topics", topic, "partitions", partition] => View::Partition {
            cluster: decode(cluster),
            topic: decode(topic),
            partition: decode(partition),
        },
        _ => return None,
    })
}

/// `%2E` → `.`; what is not an escape, or not UTF-8, stays as it is.
fn decode(segment: &str) -> Cow<'_, str> {
    percent_decode_str(segment)
        .decode_utf8()
        .unwrap_or(Cow::Borrowed(segment))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(prefixes: Option<&[&str]>) -> Result<Router, PrefixError> {
        let stream = |name: &str| Stream {
            name: name.to_owned(),
            topic: None,
            fields: Vec::new(),
        };
        let prefixes = prefixes.map(|all| all.iter().map(|prefix| (*prefix).to_owned()).collect::<Vec<_>>());
        Router::new(&["pin", "geo", "user"].map(stream), prefixes.as_deref())
    }

    fn at(method: Method, path: &str) -> (Interface, Target<'_>) {
        router(None).unwrap().route(&method, path)
    }

    fn target(method: Method, path: &str) -> Target<'_> {
        at(method, path).1
    }

    #[test]
    fn a_single_segment_may_stand_in_front() {
        for prefix in ["", "/test", "/prod-1", "/$default", "/pins"] {
            let path = format!("{prefix}/topics/u.pin");
            assert_eq!(target(Method::POST, &path), Target::Produce("u.pin".into()), "{path}");
            let path = format!("{prefix}/pin/");
            assert_eq!(target(Method::POST, &path), Target::Item(0), "{path}");
            let path = format!("{prefix}/streams/s/record");
            assert_eq!(target(Method::PUT, &path), Target::PutRecord("s".into()), "{path}");
        }
        let v3 = Target::Stream {
            cluster: "c".into(),
            topic: "t".into(),
        };
        assert_eq!(target(Method::POST, "/kafka/v3/clusters/c/topics/t/records"), v3);
        let partition = Target::ProduceToPartition("t".into(), "3".into());
        assert_eq!(target(Method::POST, "/prod/topics/t/partitions/3"), partition);
        assert_eq!(target(Method::GET, "/prod/topics"), Target::ListTopics);
        assert_eq!(target(Method::GET, "/streams/"), Target::ListStreams);
        assert_eq!(
            target(Method::DELETE, "/streams/a%2Db"),
            Target::DeleteStream("a-b".into())
        );
        assert_eq!(target(Method::POST, "/user"), Target::Item(2));
    }

    #[test]
    fn version_3_shows_a_cluster_down_to_its_partitions() {
        let (cluster, topic) = (|| "c".into(), || "u.pin".into());
        for (path, view) in [
            ("", View::Clusters),
            ("/", View::Clusters),
            ("/c", View::Cluster(cluster())),
            ("/c/topics", View::Topics { cluster: cluster() }),
            (
                "/c/topics/u%2Epin",
                View::Topic {
                    cluster: cluster(),
                    topic: topic(),
                },
            ),
            (
                "/c/topics/u.pin/partitions",
                View::Partitions {
                    cluster: cluster(),
                    topic: topic(),
                },
            ),
            (
                "/c/topics/u.pin/partitions/3/",
                View::Partition {
                    cluster: cluster(),
                    topic: topic(),
                    partition: "3".into(),
                },
            ),
        ] {
            for prefix in ["", "/kafka"] {
                let path = format!("{prefix}/v3/clusters{path}");
                assert_eq!(target(Method::POST, &path), Target::WrongMethod("GET, HEAD"), "{path}");
                assert_eq!(router(None).unwrap().prefix(&path), prefix);
                let found = target(Method::GET, &path);
                assert!(
                    matches!(&found, Target::View(found) if *found == view),
                    "{path}: {found:?}"
                );
            }
        }
        let batch = Target::ProduceBatch {
            cluster: cluster(),
            topic: topic(),
        };
        let path = "/kafka/v3/clusters/c/topics/u.pin/records:batch";
        assert_eq!(target(Method::POST, path), batch);
        assert_eq!(target(Method::GET, path), Target::WrongMethod("POST"));
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let found = at(method, "/kafka/consumers/group/instances/i/records");
            assert_eq!(found, (Interface::RestV2, Target::Consumers));
        }
    }

    #[test]
    fn no_name_of_ours_is_a_prefix_nor_two_segments_nor_an_escaped_one() {
        for prefix in [
            "/healthz",
            "/HealthZ",
            "/readyz",
            "/metrics",
            "/version",
            "/openapi.json",
            "/topics",
            "/streams",
            "/v3",
            "/pin",
            "/GEO",
            "/record",
            "/a/b",
            "/",
            "//",
            "/%68ealthz",
            "/a%2Fb",
            "/.",
            "/..",
            "/%2e%2e",
            "/a;b",
            "/healthz/",
            "/healthz//x",
            "/x//",
        ] {
            for (method, path) in [
                (Method::POST, "/topics/u.pin"),
                (Method::POST, "/pin/"),
                (Method::PUT, "/streams/s/record"),
                (Method::DELETE, "/streams/s"),
                (Method::POST, "/v3/clusters/c/topics/u.pin/records"),
            ] {
                // a topic or a stream may have any name
                if matches!((prefix, path), ("/topics" | "/streams", "/pin/")) {
                    continue;
                }
                let path = format!("{prefix}{path}");
                let found = target(method, &path);
                assert!(
                    matches!(found, Target::Nowhere | Target::WrongMethod(_)),
                    "{path}: {found:?}"
                );
            }
        }
        for path in [
            "/healthz/",
            "/healthz/x",
            "/x/healthz",
            "//healthz",
            "/Healthz",
            "/%68ealthz",
            "/metrics/",
        ] {
            assert_eq!(target(Method::GET, path), Target::Nowhere, "{path}");
        }
    }

    #[test]
    fn a_configured_list_is_all_there_is() {
        let router = router(Some(&["/prod/", "api/kafka", "/api"])).unwrap();
        let served = |path: &str| matches!(router.route(&Method::POST, path).1, Target::Item(1));
        for path in ["/geo", "/prod/geo/", "/api/kafka/geo", "/api/geo"] {
            assert!(served(path), "{path}");
        }
        for path in [
            "/test/geo",
            "/prod/prod/geo",
            "/prodx/geo",
            "/kafka/geo",
            "/apigeo",
            "/api/kafka",
        ] {
            assert!(!served(path), "{path}");
        }
        let root = |path: &str| router.route(&Method::POST, path).1 == Target::Root;
        assert!(root("/") && root("/prod") && root("/prod/") && root("/api/kafka/"));
        assert!(!root("/test") && !root("/prodx/") && !root("/prod//"));
        let none = self::router(Some(&[])).unwrap();
        assert_eq!(none.route(&Method::POST, "/test/geo").1, Target::Nowhere);
        assert_eq!(none.route(&Method::POST, "/geo").1, Target::Item(1));
        for wrong in ["/healthz", "a/Topics", "pin", "", "/", "a//b", "a b", "..", "%41"] {
            assert!(self::router(Some(&[wrong])).is_err(), "{wrong}");
        }
    }

    #[test]
    fn other_methods_and_paths_are_told_apart() {
        assert_eq!(target(Method::GET, "/pin/"), Target::WrongMethod("POST"));
        assert_eq!(target(Method::POST, "/streams/s/record"), Target::WrongMethod("PUT"));
        assert_eq!(target(Method::PUT, "/healthz"), Target::WrongMethod("GET, HEAD"));
        assert_eq!(target(Method::GET, "/"), Target::Nowhere);
        for nowhere in ["*", "//", "/pins", "/pin/x", "/prefix/healthz", "/a/b/c/d/e/f/g/h/i"] {
            assert_eq!(target(Method::POST, nowhere), Target::Nowhere, "{nowhere}");
        }
        assert_eq!(target(Method::POST, "/topics/%zz"), Target::Produce("%zz".into()));
        assert_eq!(target(Method::POST, "/topics/%ff"), Target::Produce("%ff".into()));
    }

    #[test]
    fn what_is_not_there_is_missed_in_the_words_of_its_interface() {
        for (path, interface) in [
            ("/topics/t/partitions/0/x", Interface::RestV2),
            ("/topics/t/partitions", Interface::RestV2),
            ("/test/brokers", Interface::RestV2),
            ("/v3", Interface::RestV3),
            ("/kafka/v3/clusters/c/brokers", Interface::RestV3),
            ("/v3/clusters/c/topics/t/configs", Interface::RestV3),
            ("/v3/clusters/c/topics/t/records/x/y/z", Interface::RestV3),
            ("/streams/s/x", Interface::Kinesis),
            ("/nothing", Interface::FastApi),
        ] {
            assert_eq!(at(Method::GET, path), (interface, Target::Nowhere), "{path}");
        }
        let records = "/v3/clusters/c/topics/t/records";
        assert_eq!(
            at(Method::GET, records),
            (Interface::RestV3, Target::WrongMethod("POST"))
        );
    }
}
