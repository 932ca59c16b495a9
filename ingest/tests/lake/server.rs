//! An S3 server over a folder, on 127.0.0.1, with a fault for every request that wants one.

use hyper::body::{Bytes, Frame, Incoming};
use hyper::{Request, Response, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use ingest::lake::S3Credentials;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::Sleep;

const KEY: &str = "test";

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The server refuses with this status and code.
    Status(u16, &'static str),
    /// The connection closes without an answer.
    Reset,
    /// The connection closes after so many bytes of the body.
    Cut(usize),
    /// The body stops after so many bytes, and the connection stays open.
    Stall(usize),
    /// One bit of the body's byte at this index (modulo its length) is flipped.
    Flip(usize),
}

/// A request as it was seen: `GET bucket/key`, its `Range` header, and how many such requests came before.
#[derive(Debug, Clone)]
pub struct Seen {
    pub request: String,
    pub range: Option<String>,
    /// Whether a PUT has `If-Match` or `If-None-Match`.
    pub conditional: bool,
    pub before: usize,
}

type Hook = dyn Fn(&Seen) -> Fault + Send + Sync;

#[derive(Default)]
struct State {
    hook: Mutex<Option<Arc<Hook>>>,
    log: Mutex<Vec<Seen>>,
}

/// A running server; it ends with the runtime.
pub struct Server {
    pub endpoint: String,
    state: Arc<State>,
}

impl Server {
    /// Serves the folders of `root` as buckets.
    pub async fn start(root: &Path) -> Server {
        let files = s3s_fs::FileSystem::new(root).unwrap();
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(KEY, KEY));
        let service = builder.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State::default());
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                socket.set_nodelay(true).unwrap();
                let (service, state) = (service.clone(), shared.clone());
                let answer = hyper::service::service_fn(move |request| {
                    let (service, state) = (service.clone(), state.clone());
                    async move { answer(service, state, request).await }
                });
                tokio::spawn(async move {
                    let http = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = http.serve_connection(TokioIo::new(socket), answer).await;
                });
            }
        });
        Server { endpoint, state }
    }

    pub fn credentials() -> S3Credentials {
        S3Credentials {
            access_key: KEY.to_string(),
            secret_key: KEY.to_string(),
        }
    }

    /// Injects faults from now on, and forgets the requests so far.
    pub fn inject(&self, hook: impl Fn(&Seen) -> Fault + Send + Sync + 'static) {
        self.state.log.lock().unwrap().clear();
        *self.state.hook.lock().unwrap() = Some(Arc::new(hook));
    }

    /// The requests since the last [`Server::inject`] of which `request` is a part.
    pub fn requests(&self, request: &str) -> Vec<Seen> {
        let log = self.state.log.lock().unwrap();
        log.iter()
            .filter(|seen| seen.request.contains(request))
            .cloned()
            .collect()
    }
}

async fn answer(
    service: S3Service,
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<Pieces>, io::Error> {
    let header = |name| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_string)
    };
    let path = request.uri().path().replace("%2B", "+").replace("%3D", "=");
    let line = format!("{} {}", request.method(), path.trim_start_matches('/'));
    let (range, if_match) = (header(header::RANGE), header(header::IF_MATCH));
    let writes = request.method() == hyper::Method::PUT;
    let conditional = writes && (if_match.is_some() || header(header::IF_NONE_MATCH).is_some());
    // s3s-fs looks at it when it writes, and ignores it when it reads
    let if_match = if_match.filter(|_| !writes);
    let fault = {
        let mut log = state.log.lock().unwrap();
        let before = log.iter().filter(|seen| seen.request == line).count();
        log.push(Seen {
            request: line,
            range,
            conditional,
            before,
        });
        let hook = state.hook.lock().unwrap().clone();
        hook.map_or(Fault::None, |hook| hook(&log[log.len() - 1]))
    };
    match fault {
        Fault::Status(status, code) => return Ok(refusal(status, code)),
        Fault::Reset => return Err(io::ErrorKind::ConnectionReset.into()),
        _ => {}
    }
    let answered = hyper::service::Service::call(&service, request).await;
    let (head, mut body) = answered
        .map_err(|error| io::Error::other(format!("{error:?}")))?
        .into_parts();
    // s3s-fs ignores If-Match on GET.
    let etag = head.headers.get(header::ETAG).and_then(|value| value.to_str().ok());
    if head.status.is_success() && if_match.is_some() && if_match.as_deref() != etag {
        return Ok(refusal(412, "PreconditionFailed"));
    }
    let whole = body.store_all_limited(64 << 20).await.map_err(io::Error::other)?;
    let pieces = match fault {
        Fault::Cut(at) if at < whole.len() => vec![Piece::Bytes(whole.slice(..at)), pause(), Piece::Break],
        Fault::Stall(at) if at < whole.len() => vec![Piece::Bytes(whole.slice(..at)), Piece::Silence],
        Fault::Flip(at) if !whole.is_empty() => {
            let mut flipped = whole.to_vec();
            flipped[at % whole.len()] ^= 1;
            vec![Piece::Bytes(flipped.into())]
        }
        _ => vec![Piece::Bytes(whole)],
    };
    Ok(Response::from_parts(head, Pieces(pieces.into())))
}

fn refusal(status: u16, code: &str) -> Response<Pieces> {
    let xml = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>as told</Message></Error>");
    let pieces = Pieces(VecDeque::from([Piece::Bytes(Bytes::from(xml))]));
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/xml")
        .body(pieces)
        .unwrap()
}

/// Time for the bytes so far to leave: a body that breaks takes what hyper still holds with it.
fn pause() -> Piece {
    Piece::Pause(Box::pin(tokio::time::sleep(Duration::from_millis(5))))
}

enum Piece {
    Bytes(Bytes),
    Pause(Pin<Box<Sleep>>),
    Break,
    Silence,
}

/// A body that may end badly.
pub struct Pieces(VecDeque<Piece>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(Piece::Pause(pause)) = self.0.front_mut() {
            ready!(pause.as_mut().poll(context));
            self.0.pop_front();
        }
        match self.0.pop_front() {
            Some(Piece::Bytes(bytes)) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Some(Piece::Break) => Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
            Some(Piece::Silence) => {
                self.0.push_front(Piece::Silence);
                Poll::Pending
            }
            Some(Piece::Pause(_)) | None => Poll::Ready(None),
        }
    }
}
