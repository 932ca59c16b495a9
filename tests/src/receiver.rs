//! An HTTP server that writes down what it is asked and answers as a test wants: a gateway from its clients' side.

use crate::listen::listen;
use anyhow::Result;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

/// A request that came.
#[derive(Clone, Debug)]
pub struct ReceivedRequest {
    /// Which request it was, from 0.
    pub number: usize,
    /// GET, POST, PUT.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// Headers by their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Bytes,
    /// When its body was there.
    pub at: Instant,
    /// The status that was answered; `None`: the connection was cut.
    pub status: Option<u16>,
}

impl ReceivedRequest {
    /// The body as JSON; null when it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// What to answer.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A status, headers and a body.
    Status(u16, Vec<(&'static str, String)>, String),
    /// Nothing: the connection is closed.
    Cut,
}

impl Reply {
    /// 200 with this body.
    pub fn ok(body: impl Into<String>) -> Reply {
        Reply::Status(200, Vec::new(), body.into())
    }
}

/// The server; gone when dropped.
pub struct Receiver {
    url: String,
    requests: Arc<Mutex<Vec<ReceivedRequest>>>,
    _runtime: Runtime,
}

type Answer = dyn Fn(&ReceivedRequest) -> Reply + Send + Sync;

impl Receiver {
    /// Starts a server that answers with `answer`, after `delay`.
    pub fn start(
        delay: Duration,
        answer: impl Fn(&ReceivedRequest) -> Reply + Send + Sync + 'static,
    ) -> Result<Receiver> {
        Receiver::start_with(delay, Arc::new(answer), None)
    }

    /// The same behind TLS, with a certificate chain and a key in PEM.
    pub fn start_tls(
        certificate: &Path,
        key: &Path,
        answer: impl Fn(&ReceivedRequest) -> Reply + Send + Sync + 'static,
    ) -> Result<Receiver> {
        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer};
        let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_file(key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Receiver::start_with(
            Duration::ZERO,
            Arc::new(answer),
            Some(TlsAcceptor::from(Arc::new(config))),
        )
    }

    fn start_with(delay: Duration, answer: Arc<Answer>, tls: Option<TlsAcceptor>) -> Result<Receiver> {
        let (runtime, listener) = listen()?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr()?);
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, log, tls) = (Arc::clone(&answer), Arc::clone(&log), tls.clone());
                tokio::spawn(async move {
                    let _ = stream.set_nodelay(true);
                    match tls {
                        None => serve(stream, delay, answer, log).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, delay, answer, log).await;
                            }
                        }
                    }
                });
            }
        });
        Ok(Receiver {
            url,
            requests,
            _runtime: runtime,
        })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What came so far, in the order in which bodies were complete.
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What came and was answered with 200.
    pub fn taken(&self) -> Vec<ReceivedRequest> {
        let mut requests = self.requests();
        requests.retain(|request| request.status == Some(200));
        requests
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    delay: Duration,
    answer: Arc<Answer>,
    log: Arc<Mutex<Vec<ReceivedRequest>>>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
            let headers = head.headers.iter();
            let headers = headers.map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                (name.as_str().to_owned(), value)
            });
            let mut received = ReceivedRequest {
                number: 0,
                method: head.method.to_string(),
                path: head.uri.to_string(),
                headers: headers.collect(),
                body,
                at: Instant::now(),
                status: None,
            };
            let reply = {
                let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                received.number = log.len();
                let reply = answer(&received);
                if let Reply::Status(status, ..) = &reply {
                    received.status = Some(*status);
                }
                log.push(received);
                reply
            };
            tokio::time::sleep(delay).await;
            match reply {
                Reply::Cut => Err(std::io::Error::other("cut")),
                Reply::Status(status, headers, body) => {
                    let response = headers
                        .into_iter()
                        .fold(Response::builder().status(status), |response, (name, value)| {
                            response.header(name, value)
                        });
                    response
                        .body(Full::new(Bytes::from(body)))
                        .map_err(std::io::Error::other)
                }
            }
        }
    });
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
