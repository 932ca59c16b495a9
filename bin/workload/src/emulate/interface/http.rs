//! One HTTP client for all interfaces: connections are kept, answers are bounded in time and size, TLS is rustls.

use super::error::{DestinationError, certificates};
use super::outcome::SendOutcome;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::RootCertStore;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A request may take this long; one that the gateway still works on is asked again afterwards.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// A connection is there by then, or tried again.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Bytes of an answer at most: the FastAPI era echoes the record.
const ANSWER_LIMIT: usize = 16 << 20;
/// What of an answer is shown.
const SHOWN: usize = 300;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// PUT instead of POST.
    pub put: bool,
    /// The interface's own path.
    pub path: String,
    /// The type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// `Retry-After`, from now.
    pub retry_after: Option<Duration>,
    /// The body.
    pub body: Bytes,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(SHOWN)]);
        write!(f, "answer {} {}", self.status, text.trim())
    }
}

/// The client.
pub struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: String,
    authorization: Option<HeaderValue>,
}

impl Http {
    /// A client for what lies behind this URL, with a token and certificates of its own if need be. The files are
    /// read now; connections are made when they are needed.
    pub fn open(
        base: &str,
        connections: usize,
        token_file: Option<&Path>,
        ca_file: Option<&Path>,
    ) -> Result<Http, DestinationError> {
        let authorization = token_file.map(bearer).transpose()?;
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_LIMIT));
        let roots = if base.starts_with("https://") {
            roots(ca_file)?
        } else {
            RootCertStore::empty()
        };
        let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(DestinationError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(connections)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Http {
            client,
            base: base.to_owned(),
            authorization,
        })
    }

    /// Asks once. No answer at all is a reason to ask again.
    pub async fn ask(&self, call: Call) -> Result<Answer, SendOutcome> {
        let again = |why: String| SendOutcome::Retry { why, after: None };
        let mut request = Request::builder()
            .method(if call.put { Method::PUT } else { Method::POST })
            .uri(format!("{}{}", self.base, call.path))
            .header(CONTENT_TYPE, call.content_type);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(Bytes::from(call.body))).map_err(|error| {
            SendOutcome::Stop(format!(
                "no request can be made for {}{}: {error}",
                self.base, call.path
            ))
        })?;
        let exchange = async {
            let response = self
                .client
                .request(request)
                .await
                .map_err(|error| again(causes::with_causes(&error)))?;
            let (status, retry_after) = (response.status().as_u16(), retry_after(response.headers()));
            let body = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await;
            let body = body.map_err(|error| again(format!("the answer broke off: {error}")))?;
            Ok(Answer {
                status,
                retry_after,
                body: body.to_bytes(),
            })
        };
        match tokio::time::timeout(REQUEST_LIMIT, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(again(format!("no answer within {} s", REQUEST_LIMIT.as_secs()))),
        }
    }
}

/// The `Authorization` header of the first token of a file.
pub fn bearer(file: &Path) -> Result<HeaderValue, DestinationError> {
    let path = || file.to_owned();
    let token = std::fs::read_to_string(file).map_err(|source| DestinationError::Token { path: path(), source })?;
    // a file may hold several while they are exchanged: the first is in use
    let token = token
        .lines()
        .map(str::trim)
        // an access key signs requests, and opens nothing by itself
        .filter(|line| {
            !line
                .split_ascii_whitespace()
                .skip(1)
                .any(|word| word.starts_with("secret="))
        })
        .find(|line| !line.is_empty() && !line.starts_with('#'))
        // name, scopes and rate stand behind it
        .and_then(|line| line.split_ascii_whitespace().next());
    let token = token.ok_or_else(|| DestinationError::NoToken { path: path() })?;
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|source| DestinationError::InvalidToken { path: path(), source })?;
    value.set_sensitive(true);
    Ok(value)
}

fn roots(file: Option<&Path>) -> Result<RootCertStore, DestinationError> {
    let mut store = RootCertStore::empty();
    let Some(file) = file else {
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if store.is_empty() {
            return Err(DestinationError::NoSystemRoots);
        }
        return Ok(store);
    };
    let path = || file.to_owned();
    let pem = std::fs::read(file).map_err(certificates(file))?;
    for certificate in rustls_pemfile::certs(&mut pem.as_slice()) {
        let certificate = certificate.map_err(certificates(file))?;
        store
            .add(certificate)
            .map_err(|source| DestinationError::InvalidCertificate { path: path(), source })?;
    }
    if store.is_empty() {
        return Err(DestinationError::NoCertificate { path: path() });
    }
    Ok(store)
}

/// Seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Duration::try_from(at.duration_since(jiff::Timestamp::now())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_token_is_sent_and_no_access_key() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let lines = "# ours\n\nAKIAPINFLOW00000001 secret=0123456789abcdef name=k\n secret=0123456789  name=t\nanother-token-01\n";
        std::fs::write(&file, lines).unwrap();
        assert_eq!(bearer(file.path()).unwrap(), "Bearer secret=0123456789");
        std::fs::write(&file, "AKIAPINFLOW00000001 secret=0123456789abcdef\n").unwrap();
        assert!(matches!(bearer(file.path()), Err(DestinationError::NoToken { .. })));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let after = |text: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(text).unwrap())]);
            retry_after(&headers)
        };
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        let in_a_minute = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(60);
        let date = jiff::fmt::rfc2822::DateTimePrinter::new()
            .timestamp_to_rfc9110_string(&in_a_minute)
            .unwrap();
        let pause = after(&date).unwrap();
        assert!((58..=60).contains(&pause.as_secs()), "{date}: {pause:?}");
        assert_eq!(after("soon"), None);
        // a date that has passed
        assert_eq!(after("Sat, 21 Nov 2020 10:00:00 GMT"), None);
    }
}
