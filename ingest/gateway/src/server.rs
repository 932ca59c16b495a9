//! The life cycle of the server: accept, serve, evict, shut down.
//!
//! At the end the gateway first says that it is not ready, and serves on while balancers notice. Then no connection is
//! accepted any more, and requests under way are answered; who is not done in time is cut off unanswered, which
//! acknowledges nothing. What they produced is waited for last, as long as Kafka may take for a record.

use super::access_log::AccessLogWriter;
use super::budget::Budget;
use super::client::{Ahead, Client, HEAD, HEADERS, NoRequest};
use super::config::GatewayConfig;
use super::error::GatewayError;
use super::handshake::{self, Bounded};
use super::http_errors::HttpErrors;
use super::metrics::Metrics;
use super::openapi;
use super::producer::Producer;
use super::readiness::Readiness;
use super::route::Router;
use super::sequence::SequenceClock;
use super::service::answer;
use super::state::{State, UNKNOWN};
use super::topics::Topics;
use super::watch::Watch;
use http_server::{
    Certificate, Connections, Entry, Place, RequestIds, ServerError, Signal, SignatureScope, Sites, Tokens,
    WriteTimeout,
};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 4096;
/// A connection without a request for so long gives its buffers back.
const IDLE: Duration = Duration::from_secs(1);
/// For the tasks of connections that are closed at the end to be gone.
const CLOSING: Duration = Duration::from_secs(1);

/// A gateway that listens.
pub struct Gateway {
    state: Arc<State>,
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    _watch: Watch,
}

/// How a gateway is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It serves on for [`Limits::drain_delay`](super::Limits::drain_delay), not ready any more.
    AfterDelay,
    /// No further connection is taken.
    Now,
}

/// How a gateway has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Requests under way were answered, or had their time.
    InOrder,
    /// It was told to end once more while they were.
    CutOff,
}

impl Gateway {
    /// Reads tokens and certificates, makes the producer and binds the address. Kafka need not answer yet.
    pub async fn start(config: GatewayConfig) -> Result<Gateway, GatewayError> {
        let refused = |action| move |source| ServerError::System { action, source };
        let limits = config.limits.clone();
        let tokens = Tokens::read(&config.tokens)?;
        let sites = Sites::new(config.listen, tokens.are_asked_for(), &config.hosts)?;
        let certificate = config.tls.as_ref();
        let certificate = certificate.map(|tls| Certificate::read(tls, config.tokens.exposed));
        let certificate = certificate.transpose()?;
        let tls = certificate.as_ref().map(Certificate::acceptor).transpose()?;
        let producer = Producer::new(&config.kafka, limits.produce_timeout, limits.body_bytes)?;
        let listener = listen(config.listen).map_err(|source| ServerError::Listen {
            address: config.listen,
            source,
        })?;
        let address = listener.local_addr().map_err(refused("name the bound address"))?;
        let access_log = AccessLogWriter::start(config.access_log).map_err(refused("start a thread"))?;
        let router = Router::new(&config.streams, config.prefixes.as_deref())?;
        let state = Arc::new(State {
            router,
            openapi: openapi::describe(&config).into(),
            topics: Arc::new(Topics::new(&config, producer)),
            access_log,
            budget: Budget::new(limits.in_flight_bytes),
            unknown: Budget::new(limits.in_flight_bytes / UNKNOWN),
            connections: Connections::new(limits.connections),
            metrics: Metrics::new(),
            readiness: Readiness::new(),
            streams: config.streams,
            key_fields: config.key_fields,
            create_topics: config.create_topics,
            delete_topics: config.delete_topics,
            version: config.version,
            process_metrics: config.process_metrics,
            ids: RequestIds::new(),
            sequence_clock: SequenceClock::new(),
            signatures: SignatureScope {
                service: "kinesis",
                region: config.region,
            },
            tokens,
            sites,
            is_encrypted: tls.is_some(),
            limits,
        });
        let watch = Watch::start(Arc::clone(&state), certificate).map_err(refused("start a thread"))?;
        Ok(Gateway {
            state,
            listener,
            address,
            tls,
            _watch: watch,
        })
    }

    /// The bound address: the port is real even when 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the first of `stops`, then ends in order. A second one ends the delay before the end, one after that
    /// the wait for requests under way.
    pub async fn serve(self, mut stops: mpsc::Receiver<Stop>) -> Ended {
        // every connection has a copy of `alive`: when the last is gone, all have ended
        let (alive, mut all_ended) = mpsc::channel(1);
        {
            let mut accept = std::pin::pin!(self.accept(&alive));
            let stop = tokio::select! {
                never = &mut accept => match never {},
                stop = next(&mut stops) => stop,
            };
            self.state.readiness.end();
            let delay = self.state.limits.drain_delay;
            if stop == Stop::AfterDelay && !delay.is_zero() {
                tracing::info!("ending: not ready any more, requests are served for another {delay:?}");
                tokio::select! {
                    never = accept => match never {},
                    () = tokio::time::sleep(delay) => {}
                    _ = next(&mut stops) => {}
                }
            }
        }
        tracing::info!("ending: requests under way are answered");
        drop(alive);
        let Gateway { state, listener, .. } = self;
        // from here on connections are refused
        drop(listener);
        state.connections.signal(Signal::End);
        let timeout = state.limits.drain_timeout;
        let done = async {
            if tokio::time::timeout(timeout, all_ended.recv()).await.is_err() {
                let left = state.connections.count();
                tracing::warn!("{left} connections were not done within {timeout:?} and are cut off");
                state.connections.signal(Signal::CutOff);
                let _ = tokio::time::timeout(CLOSING, all_ended.recv()).await;
            }
            // no record is under way for longer
            let timeout = state.limits.produce_timeout;
            let topics = Arc::clone(&state.topics);
            let flush = tokio::task::spawn_blocking(move || topics.producer.flush(timeout));
            if flush.await.is_err() {
                tracing::error!("the last flush panicked");
            }
        };
        let ended = tokio::select! {
            () = done => Ended::InOrder,
            _ = next(&mut stops) => Ended::CutOff,
        };
        state.access_log.finish().await;
        ended
    }

    async fn accept(&self, alive: &mpsc::Sender<()>) -> Infallible {
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
            let place = self.state.connections.place().await;
            // it only costs latency when it fails
            let _ = stream.set_nodelay(true);
            let (state, alive) = (Arc::clone(&self.state), alive.clone());
            // a task each, and what a request needs in one box: with many connections, every box on the way to it is
            // a wait for memory each time that something has come
            match self.tls.clone() {
                None => tokio::spawn(drive(state, stream, peer, place, alive)),
                Some(acceptor) => tokio::spawn(async move {
                    if let Some(stream) = encrypted(&state, acceptor, stream, peer, &place).await {
                        tokio::spawn(drive(state, stream, peer, place, alive));
                    }
                }),
            };
        }
    }
}

/// The next stop; none comes when all senders are gone.
async fn next(stops: &mut mpsc::Receiver<Stop>) -> Stop {
    match stops.recv().await {
        Some(stop) => stop,
        None => std::future::pending().await,
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

/// The stream of a connection after its TLS handshake, unless that fails or the connection has to end.
async fn encrypted(
    state: &State,
    acceptor: TlsAcceptor,
    stream: TcpStream,
    peer: SocketAddr,
    place: &Place,
) -> Option<TlsStream<Bounded<TcpStream>>> {
    let shaken = tokio::select! {
        shaken = handshake::encrypted(state, acceptor, stream, place.entry()) => shaken,
        // there is no request yet
        _ = place.entry().signalled() => return None,
    };
    shaken
        .inspect_err(|error| tracing::debug!("{peer}: no TLS connection: {error}"))
        .ok()
}

/// Serves a connection until it ends, has to make room, or the gateway ends; `_alive` is dropped then.
async fn drive<S: AsyncRead + AsyncWrite + Unpin>(
    state: Arc<State>,
    stream: S,
    peer: SocketAddr,
    place: Place,
    _alive: mpsc::Sender<()>,
) {
    let mut ahead = Vec::new();
    let mut stream = stream;
    loop {
        let mut client = Client::new(stream, ahead);
        let mut taken = Ahead::none(&state, place.entry());
        let arrived = {
            let mut request = std::pin::pin!(client.request(&state, &mut taken, place.entry()));
            let mut ends = false;
            let arrived = loop {
                tokio::select! {
                    arrived = &mut request => break arrived,
                    signal = place.entry().signalled() => match signal {
                        // a request under way is finished
                        Signal::End if place.entry().is_busy() => ends = true,
                        Signal::End | Signal::MakeRoom | Signal::CutOff => return,
                    },
                }
            };
            if ends {
                // the server has to be told as well
                place.entry().signal(Signal::End);
            }
            arrived
        };
        match arrived {
            Ok(()) => {}
            // clients may go away at any time
            Err(NoRequest::Closed | NoRequest::Io(_)) => return,
            Err(error) => return tracing::debug!("{peer}: {error}"),
        }
        drop(taken);
        let _served = place.serve();
        // boxed, a connection without a request does not take the room of one that has
        match Box::pin(serve(&state, client, peer, place.entry())).await {
            Some(idle) => (stream, ahead) = idle,
            None => return,
        }
    }
}

/// Serves requests until the connection ends, or has been idle for a while: then it comes back, with what was read
/// ahead.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    state: &Arc<State>,
    client: Client<S>,
    peer: SocketAddr,
    entry: &Arc<Entry>,
) -> Option<(S, Vec<u8>)> {
    let stream = WriteTimeout::new(client, Arc::clone(entry), state.limits.body_timeout);
    let stream = HttpErrors::new(stream, Arc::clone(state), Arc::clone(entry), peer.ip());
    let (shared, own) = (Arc::clone(state), Arc::clone(entry));
    let service = service_fn(move |request| {
        let (state, entry) = (Arc::clone(&shared), Arc::clone(&own));
        // hyper keeps room for an answer in every connection: most are idle, and an answer in the making is large
        Box::pin(async move { Ok::<_, Infallible>(answer(state, entry, peer.ip(), request).await) })
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(state.limits.header_timeout)
        .max_buf_size(HEAD)
        // a buffer that held another request may have grown beyond
        .max_header_size(HEAD)
        .max_headers(HEADERS)
        // a client may close its half when it has sent its request
        .half_close(true);
    let mut connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut announced = false;
    let mut look = std::pin::pin!(tokio::time::sleep(IDLE));
    loop {
        tokio::select! {
            // a request that has arrived is read before the end is announced to the server, which would drop it
            biased;
            ended = &mut connection => {
                if let Err(error) = ended {
                    tracing::trace!("{peer}: {error}");
                }
                return None;
            }
            signal = entry.signalled() => match signal {
                Signal::CutOff => return None,
                Signal::End => {
                    announced = true;
                    std::pin::Pin::new(&mut connection).graceful_shutdown();
                }
                Signal::MakeRoom if entry.is_waited_for() => return None,
                // it was meant for what the connection did a moment ago; who needs the room asks again
                Signal::MakeRoom => {}
            },
            () = look.as_mut() => {
                let left = IDLE.saturating_sub(entry.idle_for());
                if left.is_zero() && !announced {
                    let parts = connection.into_parts();
                    let (stream, mut ahead) = parts.io.into_inner().into_inner().into_inner().into_parts();
                    ahead.splice(0..0, parts.read_buf);
                    return Some((stream, ahead));
                }
                look.as_mut().reset(Instant::now() + left.max(IDLE / 10));
            }
        }
    }
}
