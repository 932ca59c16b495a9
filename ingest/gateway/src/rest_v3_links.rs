//! The addresses and names that version 3 of the REST proxy gives its resources.

use super::state::State;
use hyper::header::HOST;
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::fmt::Write as _;

/// What stands in a segment of a path as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Bytes of a host: it is repeated in every address.
const HOST_BYTES: usize = 255;

/// Where the resources of a request are: under the host and the prefix that it was sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Links {
    base: String,
}

impl Links {
    pub(super) fn of(state: &State, head: &Parts, path: &str) -> Links {
        let header = head.headers.get(HOST).and_then(|value| value.to_str().ok());
        let header = || header?.parse::<Authority>().ok();
        let authority = head.uri.authority().cloned().or_else(header);
        // without one the addresses are paths
        let authority = authority.filter(|authority| authority.as_str().len() <= HOST_BYTES);
        let scheme = if state.is_encrypted { "https" } else { "http" };
        let origin = authority.map_or_else(String::new, |authority| format!("{scheme}://{authority}"));
        Links {
            base: origin + state.router.prefix(path),
        }
    }

    /// The address of what these names stand for, one below the other.
    pub(super) fn to(&self, names: &[&str]) -> String {
        let mut address = format!("{}/v3/clusters", self.base);
        for name in names {
            write!(address, "/{}", utf8_percent_encode(name, SEGMENT)).expect("writing to a String");
        }
        address
    }
}

/// The name of a resource: of the cluster, and of what it holds by kind and name.
pub(super) fn resource_name(cluster: &str, parts: &[(&str, &str)]) -> String {
    let mut name = format!("crn:///kafka={cluster}");
    for (kind, part) in parts {
        write!(name, "/{kind}={part}").expect("writing to a String");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_and_stand_below_the_base() {
        let links = Links {
            base: "https://gateway:8080/kafka".to_owned(),
        };
        assert_eq!(links.to(&[]), "https://gateway:8080/kafka/v3/clusters");
        let expected = "https://gateway:8080/kafka/v3/clusters/a-_Z09/topics/old%20name%2Fx/partitions/-";
        assert_eq!(
            links.to(&["a-_Z09", "topics", "old name/x", "partitions", "-"]),
            expected
        );
        let name = resource_name("c", &[("topic", "u.pin"), ("partition", "3")]);
        assert_eq!(name, "crn:///kafka=c/topic=u.pin/partition=3");
    }
}
