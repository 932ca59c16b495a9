//! An S3 server in this process (s3s over a directory), with a hook for faults.
//!
//! A bucket is a folder of the root, an object a file in it: files put there by hand are objects too. The server
//! speaks plain HTTP on 127.0.0.1, path style, with fixed credentials. `If-Match` on GET, which s3s-fs ignores, is
//! answered here, from the entity tag of the answer.
//!
//! Not a model of S3's guarantees: nothing is fsynced, a LIST walks
//! the whole bucket and names no entity tags, and a file overwritten by hand keeps the tag of its last PUT.

mod body;
mod condition;
mod fault;
mod locks;

pub use fault::{Fault, FaultHook, Seen};

use crate::error::ServerError;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The one access key that the server knows.
pub const ACCESS_KEY: &str = "pinflow-embedded";

/// Its secret.
pub const SECRET_KEY: &str = "pinflow-embedded-secret";

/// The region to sign for; the server takes any.
pub const REGION: &str = "us-east-1";

const STOP_LIMIT: Duration = Duration::from_secs(5);

/// A running server; stopped when dropped. The root directory belongs to the caller and stays.
#[derive(Debug)]
pub struct S3Server {
    root: PathBuf,
    address: SocketAddr,
    faults: Arc<fault::Faults>,
    stop: watch::Sender<bool>,
    runtime: Option<Runtime>,
    accepting: Option<tokio::task::JoinHandle<()>>,
}

impl S3Server {
    /// Serves `root`, which is created if absent, on a free port of 127.0.0.1.
    pub fn start(root: impl AsRef<Path>) -> Result<S3Server, ServerError> {
        S3Server::start_on(root, 0)
    }

    /// Serves `root` on that port of 127.0.0.1: a stopped server comes back under its address.
    pub fn start_on(root: impl AsRef<Path>, port: u16) -> Result<S3Server, ServerError> {
        let root = root.as_ref().to_owned();
        std::fs::create_dir_all(&root).map_err(ServerError::io(format!("creating {}", root.display())))?;
        let files = s3s_fs::FileSystem::new(&root).map_err(|error| ServerError::Directory {
            path: root.clone(),
            what: "S3 buckets",
            reason: format!("{error:?}"),
        })?;
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        builder.set_access(condition::Conditions);
        let service = builder.build();

        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime
            .worker_threads(1)
            .thread_name("embedded-s3")
            .enable_all()
            .build();
        let runtime = runtime.map_err(ServerError::io("starting the S3 server's runtime"))?;
        let bound = std::net::TcpListener::bind(("127.0.0.1", port));
        let listener = bound.and_then(|listener| {
            listener.set_nonblocking(true)?;
            let _entered = runtime.enter();
            TcpListener::from_std(listener)
        });
        let listener = listener.map_err(ServerError::io(format!("listening on 127.0.0.1:{port} for S3")))?;
        let address = listener
            .local_addr()
            .map_err(ServerError::io("reading the S3 server's address"))?;
        let faults = Arc::new(fault::Faults::default());
        let (stop, stopped) = watch::channel(false);
        let accepting = runtime.spawn(accept(listener, service, faults.clone(), stopped));
        Ok(S3Server {
            root,
            address,
            faults,
            stop,
            runtime: Some(runtime),
            accepting: Some(accepting),
        })
    }

    /// `http://127.0.0.1:PORT`, for `--s3-endpoint`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The environment that gives an S3 client of another process this server's credentials.
    pub fn environment(&self) -> [(&'static str, &'static str); 4] {
        [
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            ("AWS_REGION", REGION),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ]
    }

    /// Makes an empty bucket and returns its folder; one that exists is left as it is.
    pub fn create_bucket(&self, name: &str) -> Result<PathBuf, ServerError> {
        let folder = self.root.join(name);
        std::fs::create_dir_all(&folder).map_err(ServerError::io(format!("creating bucket {}", folder.display())))?;
        Ok(folder)
    }

    /// From now on every request is shown to `hook`, which says what goes wrong with it.
    pub fn set_faults(&self, hook: impl Fn(&Seen<'_>) -> Fault + Send + Sync + 'static) {
        self.faults.set(Some(Arc::new(hook)));
    }

    /// No faults any more.
    pub fn clear_faults(&self) {
        self.faults.set(None);
    }

    /// Requests answered since the start, faults included.
    pub fn requests(&self) -> u64 {
        self.faults.requests()
    }

    /// Takes no new connections, lets the requests under way finish for at most five seconds, then ends.
    pub fn stop(mut self) {
        self.shut_down(STOP_LIMIT);
    }

    fn shut_down(&mut self, limit: Duration) {
        let _ = self.stop.send(true);
        let (Some(runtime), Some(accepting)) = (self.runtime.take(), self.accepting.take()) else {
            return;
        };
        if tokio::runtime::Handle::try_current().is_ok() {
            // blocking here would stop the caller's own runtime
            runtime.shutdown_background();
            return;
        }
        let _ = runtime.block_on(async { tokio::time::timeout(limit, accepting).await });
        runtime.shutdown_timeout(Duration::from_secs(1));
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.shut_down(Duration::from_millis(100));
    }
}

async fn accept(
    listener: TcpListener,
    service: S3Service,
    faults: Arc<fault::Faults>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((socket, _)) = accepted {
                    connections.spawn(serve(socket, service.clone(), faults.clone(), stopped.clone()));
                } else {
                    // out of file descriptors, most likely: some will be free soon
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
            Some(_) = connections.join_next() => {}
            _ = stopped.changed() => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve(socket: TcpStream, service: S3Service, faults: Arc<fault::Faults>, mut stopped: watch::Receiver<bool>) {
    // without this a small answer waits for the acknowledgement of the one before it
    let _ = socket.set_nodelay(true);
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let (service, faults) = (service.clone(), faults.clone());
        async move { faults.answer(&service, request).await }
    });
    let http = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    let connection = http.serve_connection(TokioIo::new(socket), service);
    tokio::pin!(connection);
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = stopped.changed() => connection.as_mut().graceful_shutdown(),
        }
    }
}
