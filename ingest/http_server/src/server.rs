//! A server for processes that answer small requests to read.
//!
//! It has a thread and a runtime of its own, so that it answers while the process is busy. Connections are bounded in
//! number and time: when all are taken, the one without a request for the longest makes room, so that nobody keeps a
//! probe out. Answers that last, such as streams of events, take a part of the connections at most and are never closed
//! for others. Bodies of requests are not read. The server itself decides which names and sites a request may be sent
//! to and from; whose token opens what is decided by the handler, path by path.

use super::body::{Body, Held, whole};
use super::connections::{Connections, Place};
use super::cors::{Cors, Origin};
use super::entry::Entry;
use super::error::ServerError;
use super::priority::lower_priority;
use super::refusal::Refusal;
use super::request::Request;
use super::sites::Sites;
use super::streams::Streams;
use super::tokens::{TokenSettings, Tokens};
use super::write_timeout::WriteTimeout;
use hyper::header::{HOST, HeaderMap, ORIGIN};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

/// How often the files of tokens are read again.
const REFRESH: Duration = Duration::from_millis(500);
/// Bytes of a request's head at most, and of the buffers of a connection.
const HEAD: usize = 16 << 10;

/// The bounds of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLimits {
    /// Connections at the same time.
    pub connections: usize,
    /// Of these, connections whose answer is a stream; the rest is for all other requests. Less than `connections`.
    pub streams: usize,
    /// For a request's head, and for a connection without a request.
    pub head_timeout: Duration,
    /// A connection takes no further request after so long, and its last answer has so long again. A stream has no end
    /// in time.
    pub connection_timeout: Duration,
    /// For a client to take a further byte of its answer.
    pub write_timeout: Duration,
}

impl Default for ServerLimits {
    /// Those of a server for probes and metrics: 64 connections, none of them a stream, a head within 10 s.
    fn default() -> ServerLimits {
        ServerLimits {
            connections: 64,
            streams: 0,
            head_timeout: Duration::from_secs(10),
            connection_timeout: Duration::from_secs(300),
            write_timeout: Duration::from_secs(30),
        }
    }
}

/// The settings of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// The name of its thread.
    pub thread: &'static str,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where tokens come from; nowhere: no token is needed.
    pub tokens: TokenSettings,
    /// Names under which it is reached, and whose pages may send requests to it.
    pub hosts: Vec<String>,
    /// Origins whose pages may read answers; see [`Origin`].
    pub cors_origins: Vec<Origin>,
    /// The bounds.
    pub limits: ServerLimits,
}

/// A running server; it ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What all connections share.
struct Shared<H> {
    tokens: Tokens,
    sites: Sites,
    cors: Cors,
    streams: Arc<Streams>,
    limits: ServerLimits,
    handler: H,
}

impl Server {
    /// Reads the tokens, binds the address and starts to answer. The handler runs on the server's runtime: it may wait,
    /// and must not block.
    ///
    /// # Errors
    ///
    /// Where a file of tokens or a host is wrong, or the address cannot be bound.
    pub fn start<H, F>(settings: ServerSettings, handler: H) -> Result<Server, ServerError>
    where
        H: Fn(Request) -> F + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let refused = |action| move |source| ServerError::System { action, source };
        let listen = settings.listen;
        let tokens = Tokens::read(&settings.tokens)?;
        let sites = Sites::new(listen, tokens.are_asked_for(), &settings.hosts)?;
        let bound = |source| ServerError::Listen {
            address: listen,
            source,
        };
        let listener = std::net::TcpListener::bind(listen).map_err(bound)?;
        listener.set_nonblocking(true).map_err(bound)?;
        let address = listener.local_addr().map_err(refused("name the bound address"))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(refused("start a runtime"))?;
        let listener = {
            let _runtime = runtime.enter();
            TcpListener::from_std(listener).map_err(bound)?
        };
        let limits = settings.limits;
        let shared = Arc::new(Shared {
            tokens,
            sites,
            cors: Cors::new(settings.cors_origins),
            streams: Streams::new(limits.streams.min(limits.connections.saturating_sub(1))),
            limits,
            handler,
        });
        let (stop, stopped) = oneshot::channel();
        let serving = move || {
            lower_priority();
            runtime.block_on(serve(listener, shared, stopped));
            // a file of tokens that cannot be read in time is not waited for
            runtime.shutdown_timeout(Duration::from_millis(100));
        };
        let thread = std::thread::Builder::new().name(settings.thread.into()).spawn(serving);
        let thread = thread.map_err(refused("start a thread"))?;
        Ok(Server {
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// The bound address: the port is real even when 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // a panic of that thread has been reported by the panic hook
            let _ = thread.join();
        }
    }
}

async fn serve<H, F>(listener: TcpListener, shared: Arc<Shared<H>>, stopped: oneshot::Receiver<()>)
where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    tokio::select! {
        () = accept(listener, &shared) => {}
        () = refresh(&shared) => {}
        _ = stopped => {}
    }
}

/// Reads the files of tokens again and again; a file system that hangs holds up no answer.
async fn refresh<H: Send + Sync + 'static>(shared: &Arc<Shared<H>>) {
    loop {
        sleep(REFRESH).await;
        let shared = Arc::clone(shared);
        if tokio::task::spawn_blocking(move || shared.tokens.refresh())
            .await
            .is_err()
        {
            tracing::error!("reading the tokens again panicked");
        }
    }
}

async fn accept<H, F>(listener: TcpListener, shared: &Arc<Shared<H>>)
where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let connections = Connections::new(shared.limits.connections);
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let place = connections.place().await;
                // it only costs latency when it fails
                let _ = stream.set_nodelay(true);
                tokio::spawn(connection(Arc::clone(shared), stream, peer, place));
            }
            Err(error) => {
                // out of file descriptors, most likely: wait for connections to end
                tracing::warn!("cannot accept a connection: {error}");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Serves a connection until it ends, its time is over, or another needs its place.
async fn connection<H, F>(shared: Arc<Shared<H>>, stream: TcpStream, peer: SocketAddr, place: Place)
where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let entry = place.entry();
    let limits = &shared.limits;
    let stream = WriteTimeout::new(stream, Arc::clone(entry), limits.write_timeout);
    let service = service_fn(|request: hyper::Request<_>| {
        let (shared, entry) = (Arc::clone(&shared), Arc::clone(entry));
        // the body is dropped: a client that sends one is not waited for
        let head = request.into_parts().0;
        Box::pin(async move {
            let under_way = entry.begin();
            let response = answer(&shared, &entry, peer, head).await;
            // until the last of it is handed over
            Ok::<_, Infallible>(response.map(|body| Held::new(body, under_way)))
        })
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(HEAD);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut end = pin!(sleep(limits.connection_timeout));
    let mut takes_requests = true;
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                // a client that goes away is its own business
                if let Err(error) = ended {
                    tracing::trace!("{peer}: {error}");
                }
                return;
            }
            // it may have been meant for what the connection did a moment ago: who needs the room asks again
            _ = entry.signalled() => if entry.is_waited_for() {
                return;
            },
            () = end.as_mut() => {
                if takes_requests {
                    takes_requests = false;
                    connection.as_mut().graceful_shutdown();
                } else if !entry.is_streaming() {
                    return;
                }
                end.as_mut().reset(Instant::now() + limits.connection_timeout);
            }
        }
    }
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Whether the page that sends a request is one of this server, under the name and the port that the request was sent to.
/// A browser leaves out the usual port in both headers.
fn is_own_page(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let page = text(ORIGIN).and_then(|origin| Some(origin.split_once("://")?.1));
    let hosts = headers.get_all(HOST).iter().count() == 1 && headers.get_all(ORIGIN).iter().count() == 1;
    let is_own = page
        .zip(text(HOST))
        .is_some_and(|(page, host)| page.eq_ignore_ascii_case(host));
    hosts && is_own
}

/// The answer to a request: the handler's, unless it may not be sent from where it comes, or only asks for that.
async fn answer<H, F>(shared: &Shared<H>, entry: &Arc<Entry>, peer: SocketAddr, head: Parts) -> Response<Body>
where
    H: Fn(Request) -> F,
    F: Future<Output = Response<Body>>,
{
    let (cors, sites) = (&shared.cors, &shared.sites);
    let origin = cors.origin(&head.method, &head.headers);
    let checked = match origin {
        Some(_) => sites.check_host(&head.uri, head.version, &head.headers),
        // a browser names the origin of a page also when the page loads its own modules
        None if is_read(&head.method) && is_own_page(&head.headers) => {
            sites.check_host(&head.uri, head.version, &head.headers)
        }
        None => sites.check(&head.uri, head.version, &head.headers),
    };
    let mut response = match checked {
        Err(error) => Refusal::from(error).response(),
        Ok(()) if origin.is_some() && Cors::is_preflight(&head.method, &head.headers) => {
            let mut response = Response::new(whole(""));
            *response.status_mut() = StatusCode::NO_CONTENT;
            Cors::preflight(response.headers_mut());
            response
        }
        Ok(()) => {
            let request = Request {
                caller: shared.tokens.caller(&head.headers),
                head,
                peer,
                entry: Arc::clone(entry),
                streams: Arc::clone(&shared.streams),
            };
            (shared.handler)(request).await
        }
    };
    cors.allow(origin, response.headers_mut());
    response
}
