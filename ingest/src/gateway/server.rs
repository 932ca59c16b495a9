//! The life of the server: accept, serve, make room, and end in order.
//!
//! At the end no connection is accepted any more, requests under way are answered, and what they produced is waited
//! for; whoever is not done in time is cut off unanswered, which acknowledges nothing.

use super::access::Access;
use super::auth::Tokens;
use super::config::GatewayConfig;
use super::connections::{Connections, Place};
use super::error::GatewayError;
use super::limits::Budget;
use super::metrics::Metrics;
use super::openapi;
use super::produce::Producer;
use super::reluctant::Reluctant;
use super::service::{Ids, Shared, answer};
use super::tls::Certificate;
use super::topics::Topics;
use super::watch::Watch;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 4096;
/// Bytes of a request's head, and of what is read ahead.
const BUFFER: usize = 64 << 10;
const HEADERS: usize = 100;

/// A gateway that listens.
pub struct Gateway {
    shared: Arc<Shared>,
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    drain: Duration,
    header: Duration,
    _watch: Watch,
}

impl Gateway {
    /// Reads tokens and certificates, makes the producer and binds the address. Kafka need not answer yet.
    pub async fn start(config: GatewayConfig) -> Result<Gateway, GatewayError> {
        let refused = |action| move |source| GatewayError::System { action, source };
        let limits = config.limits.clone();
        let tokens = Tokens::read(&config.token_files)?;
        let certificate = config.tls.as_ref().map(Certificate::read).transpose()?;
        let tls = certificate.as_ref().map(Certificate::acceptor).transpose()?;
        let producer = Producer::new(&config.kafka, limits.produce_timeout, limits.body_bytes)?;
        let listener = listen(config.listen).map_err(|source| GatewayError::Listen {
            address: config.listen,
            source,
        })?;
        let address = listener.local_addr().map_err(refused("tell the address"))?;
        let shared = Arc::new(Shared {
            openapi: openapi::describe(&config),
            topics: Arc::new(Topics::new(&config, producer)),
            access: Access::start(config.access_log).map_err(refused("start a thread"))?,
            budget: Budget::new(limits.in_flight_bytes),
            connections: Connections::new(limits.connections),
            metrics: Metrics::new(),
            obstacle: RwLock::new(Some("Kafka was not asked yet".to_owned())),
            ending: AtomicBool::new(false),
            streams: config.streams,
            key_fields: config.key_fields,
            create_topics: config.create_topics,
            delete_topics: config.delete_topics,
            version: config.version,
            process_metrics: config.process_metrics,
            ids: Ids::new(),
            tokens,
            limits,
        });
        let watch = Watch::start(Arc::clone(&shared), certificate).map_err(refused("start a thread"))?;
        let (drain, header) = (shared.limits.drain_timeout, shared.limits.header_timeout);
        Ok(Gateway {
            shared,
            listener,
            address,
            tls,
            drain,
            header,
            _watch: watch,
        })
    }

    /// The bound address: the port is real even when 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`, then ends in order.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let (ending, told) = watch::channel(false);
        tokio::select! {
            () = self.accept(told) => {}
            () = stop => {}
        }
        self.shared.ending.store(true, Ordering::Relaxed);
        let Gateway {
            shared,
            listener,
            drain,
            ..
        } = self;
        // from here on connections are refused
        drop(listener);
        // a connection that is gone has no receiver
        let _ = ending.send(true);
        let all = async {
            while shared.connections.count() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(drain, all).await.is_err() {
            let left = shared.connections.count();
            tracing::warn!("{left} connections were not done within {drain:?} and are cut off");
        }
        let flushed = Arc::clone(&shared);
        let flush = tokio::task::spawn_blocking(move || flushed.topics.producer.flush(drain));
        if flush.await.is_err() {
            tracing::error!("the last flush panicked");
        }
    }

    async fn accept(&self, ending: watch::Receiver<bool>) {
        loop {
            let (stream, peer) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // out of file descriptors, most likely: wait for connections to end
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let place = self.shared.connections.place().await;
            let (shared, tls) = (Arc::clone(&self.shared), self.tls.clone());
            let (ending, header) = (ending.clone(), self.header);
            tokio::spawn(connection(shared, stream, peer, tls, place, ending, header));
        }
    }
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn connection(
    shared: Arc<Shared>,
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    place: Place,
    ending: watch::Receiver<bool>,
    header: Duration,
) {
    // it only costs latency when it fails
    let _ = stream.set_nodelay(true);
    match tls {
        // boxed, a plain connection does not take the room of an encrypted one
        None => Box::pin(drive(shared, stream, peer, place, ending, header)).await,
        Some(acceptor) => {
            let handshake = tokio::time::timeout(header, acceptor.accept(stream));
            let shaken = tokio::select! {
                shaken = handshake => shaken,
                () = place.entry.close.notified() => return,
            };
            match shaken {
                Ok(Ok(stream)) => Box::pin(drive(shared, stream, peer, place, ending, header)).await,
                Ok(Err(error)) => tracing::debug!("{peer}: no TLS connection: {error}"),
                Err(_) => tracing::debug!("{peer}: no TLS connection in time"),
            }
        }
    }
}

/// Serves a connection until it ends, has to make room, or the gateway ends.
async fn drive<S: AsyncRead + AsyncWrite + Unpin>(
    shared: Arc<Shared>,
    stream: S,
    peer: SocketAddr,
    place: Place,
    mut ending: watch::Receiver<bool>,
    header: Duration,
) {
    let entry = Arc::clone(&place.entry);
    let stream = Reluctant::new(stream, Arc::clone(&entry), shared.limits.body_timeout);
    let service = service_fn(move |request| {
        let (shared, entry) = (Arc::clone(&shared), Arc::clone(&entry));
        // hyper keeps room for an answer in every connection: most are idle, and an answer in the making is large
        Box::pin(async move { Ok::<_, Infallible>(answer(shared, entry, peer.ip(), request).await) })
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(header)
        .max_buf_size(BUFFER)
        .max_headers(HEADERS)
        // a client may close its half when it has sent its request
        .half_close(true);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let mut told = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                // a client that goes away is its own business
                if let Err(error) = ended {
                    tracing::trace!("{peer}: {error}");
                }
                return;
            }
            () = place.entry.close.notified() => return,
            _ = ending.wait_for(|ending| *ending), if !told => {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
