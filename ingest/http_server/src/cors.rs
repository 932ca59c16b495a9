//! Pages of other sites that may read answers: cross-origin resource sharing, as the Fetch standard defines it.
//!
//! A browser sends the request of such a page with an `Origin`, and hands the answer to the page only where
//! `Access-Control-Allow-Origin` names that origin. It asks first, with `OPTIONS`, before it sends headers of the
//! page's own, a token for instance. Only reading is opened: `GET` and `HEAD`. Cookies play no part, so that
//! `Access-Control-Allow-Credentials` is never sent.

use super::site::Site;
use hyper::Method;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN, VARY,
};
use std::str::FromStr;

/// The methods that are opened.
const METHODS: &str = "GET, HEAD, OPTIONS";
/// The headers of a page's own that a request may have.
const HEADERS: &str = "authorization, x-api-key, x-request-id, last-event-id, cache-control, if-none-match";
/// Seconds for which a browser need not ask again.
const MAX_AGE: u16 = 600;

/// A configured origin is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid origin `{0}`: expected SCHEME://HOST or SCHEME://HOST:PORT with http or https, as https://pins.example.com"
)]
pub struct OriginError(String);

/// Where a page comes from: scheme, host and port. Two are equal where a browser takes them for the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    is_https: bool,
    site: Site,
    port: u16,
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Origin, OriginError> {
        Origin::parse(text).ok_or_else(|| OriginError(text.to_owned()))
    }
}

impl Origin {
    fn parse(text: &str) -> Option<Origin> {
        let (scheme, host) = text.split_once("://")?;
        let is_https = scheme.eq_ignore_ascii_case("https");
        if !is_https && !scheme.eq_ignore_ascii_case("http") {
            return None;
        }
        let (site, port) = Site::parse(host)?;
        let port = match port {
            Some(port) => port.parse().ok()?,
            None if is_https => 443,
            None => 80,
        };
        Some(Origin { is_https, site, port })
    }
}

/// The origins whose pages may read answers.
#[derive(Debug, Default)]
pub(crate) struct Cors(Vec<Origin>);

impl Cors {
    pub(crate) fn new(origins: Vec<Origin>) -> Cors {
        Cors(origins)
    }

    /// The `Origin` of a request, where a page of this origin may send it.
    pub(crate) fn origin(&self, method: &Method, headers: &HeaderMap) -> Option<HeaderValue> {
        if !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
            return None;
        }
        let mut origins = headers.get_all(ORIGIN).iter();
        // two are the work of no browser
        let (Some(value), None) = (origins.next(), origins.next()) else {
            return None;
        };
        let origin = Origin::parse(value.to_str().ok()?)?;
        // a copy: the header itself would keep all of the request's head
        let copy = || HeaderValue::from_bytes(value.as_bytes()).ok();
        self.0.contains(&origin).then(copy).flatten()
    }

    /// Whether a request only asks what a page may send.
    pub(crate) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
        *method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// Adds to an answer what lets a page of this origin read it.
    pub(crate) fn allow(&self, origin: Option<HeaderValue>, headers: &mut HeaderMap) {
        if self.0.is_empty() {
            return;
        }
        // also where it is not one of these: a cache must not give them the answer to another
        headers.append(VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
    }

    /// Adds what the answer to a preflight says besides.
    pub(crate) fn preflight(headers: &mut HeaderMap) {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(HEADERS));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(MAX_AGE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(origins: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for origin in origins {
            headers.append(ORIGIN, origin.parse().unwrap());
        }
        headers
    }

    #[test]
    fn an_origin_is_scheme_host_and_port_and_nothing_else() {
        let of = |text: &str| text.parse::<Origin>().unwrap();
        for (one, other) in [
            ("https://pins.example.com", "HTTPS://Pins.Example.com:443"),
            ("http://pins.example.com:80", "http://pins.example.com"),
            ("http://[::1]:3000", "http://[0:0:0:0:0:0:0:1]:3000"),
        ] {
            assert_eq!(of(one), of(other), "{one}");
        }
        for (one, other) in [
            ("https://pins.example.com", "http://pins.example.com"),
            ("https://pins.example.com", "https://pins.example.com:8443"),
            ("https://pins.example.com", "https://www.pins.example.com"),
        ] {
            assert_ne!(of(one), of(other), "{one}");
        }
        for wrong in [
            "",
            "*",
            "null",
            "pins.example.com",
            "https://",
            "https://*.example.com",
            "https://pins.example.com/",
            "https://pins.example.com:",
            "https://pins.example.com:99999",
            "https://user@pins.example.com",
            "file://pins",
        ] {
            let error = wrong.parse::<Origin>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{wrong}`")), "{wrong}: {error}");
        }
    }

    #[test]
    fn reading_is_opened_for_exactly_the_configured_origins() {
        let cors = Cors::new(vec!["https://pins.example.com".parse().unwrap()]);
        let ours = with(&["https://pins.example.com"]);
        for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
            assert_eq!(
                cors.origin(&method, &ours).unwrap(),
                "https://pins.example.com",
                "{method}"
            );
        }
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            assert_eq!(cors.origin(&method, &ours), None, "{method}");
        }
        for others in [
            with(&[]),
            with(&["null"]),
            with(&["http://pins.example.com"]),
            with(&["https://pins.example.com.evil.example"]),
            with(&["https://pins.example.com", "https://evil.example"]),
            with(&["https://pins.example.com https://evil.example"]),
        ] {
            assert_eq!(cors.origin(&Method::GET, &others), None, "{others:?}");
        }
        assert_eq!(Cors::default().origin(&Method::GET, &ours), None);
        let mut headers = HeaderMap::new();
        Cors::default().allow(None, &mut headers);
        assert!(headers.is_empty());
        cors.allow(None, &mut headers);
        assert!(headers.contains_key(VARY) && !headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
        cors.allow(cors.origin(&Method::GET, &ours), &mut headers);
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "https://pins.example.com");
    }
}
