//! A network between two programs that can start to drop everything, without closing a connection.

use anyhow::Result;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// Passes connections on to a server.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    is_cut: watch::Sender<bool>,
    /// Connections end with it.
    _runtime: Runtime,
}

impl Relay {
    /// Passes connections on to `server`.
    pub fn to(server: SocketAddr) -> Result<Relay> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let (is_cut, seen) = watch::channel(false);
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connect(client, server, seen.clone()));
            }
        });
        Ok(Relay {
            address,
            is_cut,
            _runtime: runtime,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Drops everything from now on; connections stay open.
    pub fn cut(&self) {
        self.is_cut.send_replace(true);
    }
}

async fn connect(client: TcpStream, server: SocketAddr, mut is_cut: watch::Receiver<bool>) {
    if is_cut.wait_for(|is_cut| !is_cut).await.is_err() {
        return;
    }
    // the client sees its connection closed
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::spawn(pass(from_client, to_server, is_cut.clone()));
    tokio::spawn(pass(from_server, to_client, is_cut));
}

/// Passes on what arrives, and the end.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut is_cut: watch::Receiver<bool>) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        // the end is dropped as well
        if is_cut.wait_for(|is_cut| !is_cut).await.is_err() {
            return;
        }
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
