//! How the body of a request is compressed.

use hyper::header::{CONTENT_ENCODING, HeaderMap};

/// The encodings that are accepted, as a header says it.
pub(super) const ACCEPTED: &str = "gzip, identity";

/// The encoding of a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ContentEncoding {
    Identity,
    Gzip,
    /// Another one, or several.
    Unknown,
}

impl ContentEncoding {
    /// Case does not matter, and `identity` says nothing.
    pub(super) fn of(headers: &HeaderMap) -> ContentEncoding {
        let mut found = ContentEncoding::Identity;
        for value in headers.get_all(CONTENT_ENCODING) {
            for coding in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                let is = |name: &str| coding.eq_ignore_ascii_case(name.as_bytes());
                found = match found {
                    _ if coding.is_empty() || is("identity") => found,
                    ContentEncoding::Identity if is("gzip") || is("x-gzip") => ContentEncoding::Gzip,
                    _ => ContentEncoding::Unknown,
                };
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_once_is_accepted_and_nothing_else() {
        use ContentEncoding::{Gzip, Identity, Unknown};
        for (values, encoding) in [
            (&[][..], Identity),
            (&[""], Identity),
            (&["identity"], Identity),
            (&["Identity", "identity, "], Identity),
            (&["gzip"], Gzip),
            (&[" GZip "], Gzip),
            (&["x-gzip"], Gzip),
            (&["identity", "gzip"], Gzip),
            (&["gzip, gzip"], Unknown),
            (&["gzip", "gzip"], Unknown),
            (&["br"], Unknown),
            (&["gzip, deflate"], Unknown),
            (&["deflate, gzip"], Unknown),
            (&["gzip;q=1"], Unknown),
            (&["gzipx"], Unknown),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_ENCODING, value.parse().unwrap());
            }
            assert_eq!(ContentEncoding::of(&headers), encoding, "{values:?}");
        }
    }
}
