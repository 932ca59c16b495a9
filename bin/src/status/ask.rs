//! Asks a run for its status.

use anyhow::{Context, anyhow, bail};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::net::SocketAddr;
use std::time::Duration;

/// The route.
const PATH: &str = "/api/status";
/// An answer is there by then.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer at most.
const ANSWER_LIMIT: usize = 16 << 20;

/// A run that is asked.
pub(crate) struct Run {
    client: Client<HttpConnector, Empty<Bytes>>,
    address: SocketAddr,
    token: Option<HeaderValue>,
}

impl Run {
    /// The run that listens there, asked with the token if there is one.
    pub(crate) fn new(address: SocketAddr, token: Option<HeaderValue>) -> Run {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build_http();
        Run { client, address, token }
    }

    /// Asks once; the body of the answer.
    pub(crate) async fn ask(&self) -> anyhow::Result<Bytes> {
        let url = format!("http://{}{PATH}", self.address);
        let mut request = Request::get(&url);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request.body(Empty::new()).context("no request can be made")?;
        let answered = async {
            let response = self.client.request(request).await.map_err(|error| {
                let why = causes::with_causes(&error);
                anyhow!(
                    "no answer from {url}: {why}; does `pinflow run --listen {}` run?",
                    self.address
                )
            })?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await;
            let body = body.map_err(|error| anyhow!("the answer of {url} broke off: {error}"))?;
            anyhow::Ok((status, body.to_bytes()))
        };
        let (status, body) = match tokio::time::timeout(TIMEOUT, answered).await {
            Ok(answered) => answered?,
            Err(_) => bail!("no answer from {url} within {TIMEOUT:?}"),
        };
        match status {
            StatusCode::OK => Ok(body),
            StatusCode::UNAUTHORIZED => bail!("{url} requires a token: give --token-file FILE"),
            StatusCode::NOT_FOUND => {
                bail!("{url} does not exist: the process that listens there is no run, or an older one")
            }
            status => {
                let text: String = String::from_utf8_lossy(&body).trim().chars().take(200).collect();
                bail!("{url} answered {status}: {text}")
            }
        }
    }
}
