//! The page at `/`: files that are a part of the program, and what they are served with.
//!
//! ```text
//! assets/ ─▶ files: bytes, gzip, ETag ─▶ GET /, /page/… ─▶ a browser ─▶ GET /api/… of the same address
//! ```
//!
//! The page knows the API alone ([`docs/page.md`](../../../docs/page.md)); nothing of the engine is in here. It needs no
//! build: the files in `assets/` are what a browser gets, but for comments and indentation.
#![forbid(unsafe_code)]

mod files;
mod lean;

use files::{FILES, File};
use http_server::{Body, Refusal, Request, response};
use hyper::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, ETAG, HeaderMap, HeaderValue,
    IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};

/// What the page may do: run its own scripts and ask the server that it comes from.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'; form-action 'none'";

/// Answers a request for a file of the page; `None` for other paths. There is nothing secret in them: the API asks who
/// may read.
pub fn answer(request: &Request) -> Option<Response<Body>> {
    let file = find(request.head.uri.path())?;
    Some(match request.reads() {
        Ok(()) => served(file, &request.head.headers),
        Err(refusal) => Refusal::response(&refusal),
    })
}

fn find(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

fn served(file: &File, headers: &HeaderMap) -> Response<Body> {
    let is_known = lists(headers, IF_NONE_MATCH).any(|tag| tag == file.etag || tag == "*");
    let mut answer = if is_known {
        let mut answer = response(StatusCode::NOT_MODIFIED, file.media, "");
        answer.headers_mut().remove(hyper::header::CONTENT_TYPE);
        answer
    } else if lists(headers, ACCEPT_ENCODING).any(|coding| accepts_gzip(&coding)) {
        let mut answer = response(StatusCode::OK, file.media, file.gzip.clone());
        answer
            .headers_mut()
            .insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        answer
    } else {
        response(StatusCode::OK, file.media, file.plain.clone())
    };
    let own = answer.headers_mut();
    for (name, value) in [
        // always asked for again, so that a new engine has its own page; the ETag makes that cheap
        (CACHE_CONTROL, "no-cache"),
        (VARY, "accept-encoding"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ] {
        own.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(etag) = HeaderValue::from_str(&file.etag) {
        own.insert(ETAG, etag);
    }
    answer
}

/// The elements of a header that is a list.
fn lists(headers: &HeaderMap, name: hyper::header::HeaderName) -> impl Iterator<Item = String> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let values: Vec<String> = values
        .flat_map(|value| value.split(','))
        .map(|value| value.trim().to_owned())
        .collect();
    values.into_iter()
}

fn accepts_gzip(coding: &str) -> bool {
    let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
    let weight = weight.trim().trim_start_matches("q=");
    let is_none = !weight.is_empty() && weight.parse() == Ok(0.0_f32);
    name.trim().eq_ignore_ascii_case("gzip") && !is_none
}

#[cfg(test)]
mod tests;
