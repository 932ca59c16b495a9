//! A network between two programs that gets slow, or drops everything without telling anybody.

use anyhow::Result;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// Chunks on their way in one direction of a connection.
const ON_THE_WAY: usize = 256;

/// What the network does.
#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    /// How long everything takes, in each direction.
    delay: Duration,
    /// Nothing arrives any more; connections stay open.
    is_cut: bool,
}

/// Passes connections on to a server.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
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
        let (weather, seen) = watch::channel(Weather::default());
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connect(client, server, seen.clone()));
            }
        });
        Ok(Relay {
            address,
            weather,
            _runtime: runtime,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on everything takes so long in each direction.
    pub fn delay(&self, delay: Duration) {
        self.weather.send_modify(|weather| weather.delay = delay);
    }

    /// From now on nothing arrives, and nobody is told.
    pub fn cut(&self) {
        self.weather.send_modify(|weather| weather.is_cut = true);
    }
}

async fn connect(client: TcpStream, server: SocketAddr, mut weather: watch::Receiver<Weather>) {
    if weather.wait_for(|weather| !weather.is_cut).await.is_err() {
        return;
    }
    // who cannot be reached refuses
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::spawn(pass(from_client, to_server, weather.clone()));
    tokio::spawn(pass(from_server, to_client, weather));
}

/// Passes on what arrives, in time; the end as well.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut weather: watch::Receiver<Weather>) {
    let (sender, mut on_the_way) = mpsc::channel::<(Instant, Vec<u8>)>(ON_THE_WAY);
    tokio::spawn(async move {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(bytes @ 1..) = from.read(&mut buffer).await {
            if sender.send((Instant::now(), buffer[..bytes].to_vec())).await.is_err() {
                return;
            }
        }
    });
    while let Some((arrived, bytes)) = on_the_way.recv().await {
        let due = arrived + weather.borrow().delay;
        sleep_until(due).await;
        if weather.wait_for(|weather| !weather.is_cut).await.is_err() || to.write_all(&bytes).await.is_err() {
            return;
        }
    }
    // the end is cut off as well
    let _ = weather.wait_for(|weather| !weather.is_cut).await;
}
