//! A network between two programs: it can take its time, and it can be cut as a network is, without a word to either side.
//!
//! A cut drops packets, as a firewall does: a filter on the sockets lets the kernel neither take in nor acknowledge what
//! arrives, so that the time-outs of TCP itself run, and a new connection is not even refused. Connections of before the
//! cut stay dead when the network is whole again.

use crate::listen::listen;
use anyhow::{Context, Result};
use socket2::{SockFilter, SockRef};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// BPF's instruction that returns a constant. As the first of a filter, with 0: of each packet no byte is kept.
const RETURN: u16 = 0x06;
/// Pieces of at most [`PIECE`] bytes that are on their way in one direction.
const ON_THE_WAY: usize = 4096;
const PIECE: usize = 64 << 10;

/// Passes connections on to a server.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    network: Arc<Network>,
    /// Connections end with it.
    _runtime: Runtime,
}

#[derive(Clone, Copy, Debug, Default)]
struct Health {
    is_cut: bool,
    /// How often it was cut.
    cuts: u64,
}

/// Where in what a client sends the network is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// These bytes do not reach the server, what stands before them does.
    Before(&'static [u8]),
    /// These bytes reach the server, and no answer to them comes back.
    After(&'static [u8]),
}

#[derive(Debug)]
struct Network {
    listener: TcpListener,
    health: watch::Sender<Health>,
    /// Where it is cut next.
    next: Mutex<Option<(&'static [u8], Cut)>>,
    /// How long what is sent is on its way.
    delay: Duration,
}

impl Relay {
    /// Passes connections on to `server`.
    pub fn to(server: SocketAddr) -> Result<Relay> {
        Relay::slow(server, Duration::ZERO)
    }

    /// The same, where what is sent arrives so much later, in either direction. It carries no less for it.
    pub fn slow(server: SocketAddr, delay: Duration) -> Result<Relay> {
        let (runtime, listener) = listen()?;
        let address = listener.local_addr()?;
        let network = Arc::new(Network {
            listener,
            health: watch::Sender::default(),
            next: Mutex::default(),
            delay,
        });
        let accepting = Arc::clone(&network);
        runtime.spawn(async move {
            while let Ok((client, _)) = accepting.listener.accept().await {
                tokio::spawn(connect(client, server, Arc::clone(&accepting)));
            }
        });
        Ok(Relay {
            address,
            network,
            _runtime: runtime,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Drops everything from now on; connections stay open.
    pub fn cut(&self) -> Result<()> {
        self.network.cut().context("cutting a network")
    }

    /// Cuts the network when a client next sends the bytes of `cut` behind `behind`, both of them in one piece.
    pub fn cut_at(&self, behind: &'static [u8], cut: Cut) {
        *self.network.next() = Some((behind, cut));
    }

    /// How often it was cut.
    pub fn cuts(&self) -> u64 {
        self.network.health.borrow().cuts
    }

    /// New connections reach the server again.
    pub fn heal(&self) -> Result<()> {
        let listener = SockRef::from(&self.network.listener);
        self.network.health.send_modify(|health| health.is_cut = false);
        listener.detach_filter().context("healing a network")
    }
}

impl Network {
    fn next(&self) -> MutexGuard<'_, Option<(&'static [u8], Cut)>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cut(&self) -> io::Result<()> {
        deafen(SockRef::from(&self.listener))?;
        self.health.send_modify(|health| {
            *health = Health {
                is_cut: true,
                cuts: health.cuts + 1,
            }
        });
        Ok(())
    }

    /// How much of what a client sends is passed on, if the network is to be cut there.
    fn is_cut_in(&self, sent: &[u8]) -> Option<usize> {
        let mut next = self.next();
        let (behind, cut) = (*next)?;
        let (Cut::Before(bytes) | Cut::After(bytes)) = cut;
        let begin = find(sent, behind)? + behind.len();
        let at = begin + find(&sent[begin..], bytes)?;
        *next = None;
        Some(match cut {
            Cut::Before(_) => at,
            Cut::After(_) => at + bytes.len(),
        })
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// Lets the kernel drop what arrives for a socket.
fn deafen(socket: SockRef<'_>) -> io::Result<()> {
    socket.attach_filter(&[SockFilter::new(RETURN, 0, 0, 0)])
}

async fn connect(client: TcpStream, server: SocketAddr, network: Arc<Network>) {
    let cuts = network.health.borrow().cuts;
    // the client sees its connection closed
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let mut health = network.health.subscribe();
    let is_cut = async {
        let _ = health.wait_for(|health| health.is_cut || health.cuts > cuts).await;
    };
    let passed = async {
        tokio::join!(
            pass(&client, &server, &network, Side::Client),
            pass(&server, &client, &network, Side::Server)
        )
    };
    tokio::select! {
        biased;
        () = is_cut => {
            for stream in [&client, &server] {
                let _ = deafen(SockRef::from(stream));
            }
            // open, and silent
            std::future::pending().await
        }
        _ = passed => {}
    }
}

/// Who sends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

/// Passes on what arrives, and the end, each when its time has come.
async fn pass(from: &TcpStream, to: &TcpStream, network: &Network, side: Side) {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(ON_THE_WAY);
    let read = async move {
        let mut buffer = vec![0; PIECE];
        loop {
            let read = read(from, &mut buffer).await.unwrap_or(0);
            let arrives = Instant::now() + network.delay;
            // an empty piece is the end
            if sender.send((arrives, buffer[..read].to_vec())).await.is_err() || read == 0 {
                return;
            }
        }
    };
    let write = async move {
        while let Some((arrives, piece)) = receiver.recv().await {
            if network.delay > Duration::ZERO {
                tokio::time::sleep_until(arrives).await;
            }
            if network.health.borrow().is_cut {
                return std::future::pending().await;
            }
            let cut = if side == Side::Client {
                network.is_cut_in(&piece)
            } else {
                None
            };
            let passed = cut.unwrap_or(piece.len());
            if passed > 0 && write_all(to, &piece[..passed]).await.is_err() {
                return;
            }
            if cut.is_some() {
                let _ = network.cut();
                return std::future::pending().await;
            }
            if piece.is_empty() {
                let _ = SockRef::from(to).shutdown(std::net::Shutdown::Write);
                return;
            }
        }
    };
    let read = async {
        read.await;
        std::future::pending::<()>().await
    };
    tokio::select! {
        () = write => {}
        () = read => {}
    }
}

async fn read(from: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        from.readable().await?;
        match from.try_read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done,
        }
    }
}

async fn write_all(to: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        to.writable().await?;
        match to.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    /// Sends back what arrives.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                std::thread::spawn(move || std::io::copy(&mut stream.try_clone().unwrap(), &mut stream));
            }
        });
        address
    }

    fn connected(relay: &Relay) -> TcpStream {
        let stream = TcpStream::connect(relay.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        stream
    }

    fn answers(stream: &mut TcpStream, text: &[u8]) -> bool {
        let mut answer = vec![0; text.len()];
        stream.write_all(text).is_ok() && stream.read_exact(&mut answer).is_ok() && answer == text
    }

    #[test]
    fn a_cut_network_takes_nothing_in_and_connections_of_before_stay_dead() {
        let relay = Relay::to(echo()).unwrap();
        let mut before = connected(&relay);
        assert!(answers(&mut before, b"before"));
        relay.cut().unwrap();
        assert!(!answers(&mut before, b"lost"));
        let refused = TcpStream::connect_timeout(&relay.address(), Duration::from_millis(300));
        assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
        relay.heal().unwrap();
        assert!(answers(&mut connected(&relay), b"after"));
        assert!(!answers(&mut before, b"lost too"));
        assert_eq!(relay.cuts(), 1);
    }

    #[test]
    fn a_network_is_cut_at_what_a_client_sends() {
        for (cut, arrives) in [
            (Cut::Before(b"end"), &b"some text of the "[..]),
            (Cut::After(b"end"), b"some text of the end"),
        ] {
            let server = TcpListener::bind("127.0.0.1:0").unwrap();
            let relay = Relay::to(server.local_addr().unwrap()).unwrap();
            relay.cut_at(b"text", cut);
            let mut client = connected(&relay);
            client.write_all(b"some text of the end, and more").unwrap();
            let (mut stream, _) = server.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            let mut arrived = vec![0; arrives.len()];
            stream.read_exact(&mut arrived).unwrap();
            assert_eq!(arrived, arrives);
            stream.read_exact(&mut [0]).unwrap_err();
            assert_eq!(relay.cuts(), 1);
        }
    }

    #[test]
    fn a_slow_network_delays_and_carries_no_less() {
        let relay = Relay::slow(echo(), Duration::from_millis(200)).unwrap();
        let mut client = connected(&relay);
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let began = Instant::now();
        for _ in 0..50 {
            client.write_all(b"piece").unwrap();
            std::thread::sleep(Duration::from_millis(2));
        }
        client.read_exact(&mut [0; 250]).unwrap();
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(400), "{took:?}");
        assert!(
            took < Duration::from_secs(5),
            "the pieces waited for each other: {took:?}"
        );
    }
}
