//! A proxy before PostgreSQL that cuts a connection at its COMMIT, and changes words of what clients send.

use crate::Postgres;
use crate::listen::listen;
use anyhow::{Result, ensure};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// How a commit ends: a query on its way, and the tags that answer it.
const COMMIT: &[u8] = b"COMMIT\0";
const ROLLBACK: &[u8] = b"ROLLBACK\0";
/// The longest of them, but for one byte.
const PART: usize = ROLLBACK.len() - 1;

/// What becomes of a COMMIT whose connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The server never hears it.
    Unheard,
    /// The server has answered it, and the answer is lost.
    Unanswered,
}

/// See the module's head. Connections end with it.
#[derive(Debug)]
pub struct PostgresProxy {
    url: String,
    cuts: Arc<Mutex<VecDeque<Cut>>>,
    _runtime: Runtime,
}

impl PostgresProxy {
    /// Passes connections on to the server.
    pub fn to(postgres: &Postgres) -> Result<PostgresProxy> {
        PostgresProxy::replacing(postgres, &[])
    }

    /// The same, and the server hears the second text of a pair wherever a client says the first one. Both are equally
    /// long, and the first one comes in one piece.
    pub fn replacing(postgres: &Postgres, words: &[(&str, &str)]) -> Result<PostgresProxy> {
        for (from, to) in words {
            ensure!(from.len() == to.len(), "{from:?} and {to:?} are not equally long");
        }
        let bytes = |(from, to): &(&str, &str)| (from.as_bytes().to_vec(), to.as_bytes().to_vec());
        let words: Arc<[(Vec<u8>, Vec<u8>)]> = words.iter().map(bytes).collect();
        let (runtime, listener) = listen()?;
        let (server, port) = (postgres.port(), listener.local_addr()?.port());
        let cuts = Arc::new(Mutex::new(VecDeque::new()));
        let ordered = Arc::clone(&cuts);
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (words, ordered) = (Arc::clone(&words), Arc::clone(&ordered));
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await {
                        // both connections end with it, as of a network that fails
                        let _ = pass(client, server, &words, &ordered).await;
                    }
                });
            }
        });
        let (real, ours) = (format!("127.0.0.1:{server}"), format!("127.0.0.1:{port}"));
        Ok(PostgresProxy {
            url: postgres.url().replace(&real, &ours),
            cuts,
            _runtime: runtime,
        })
    }

    /// The URL of the database behind it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Cuts the next COMMITs, one in each of these ways.
    pub fn cut(&self, cuts: &[Cut]) {
        lock(&self.cuts).extend(cuts);
    }

    /// How many of them are still to come.
    pub fn cuts_left(&self) -> usize {
        lock(&self.cuts).len()
    }
}

async fn pass(
    mut client: TcpStream,
    mut server: TcpStream,
    words: &[(Vec<u8>, Vec<u8>)],
    cuts: &Mutex<VecDeque<Cut>>,
) -> std::io::Result<()> {
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    let (mut up, mut down) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    // the end of what was said before: a COMMIT may come in two pieces
    let mut said = Vec::new();
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let bytes = &mut up[..read?];
                if bytes.is_empty() {
                    return Ok(());
                }
                for (from, to) in words {
                    replace(bytes, from, to);
                }
                said.extend_from_slice(bytes);
                let commits = holds(&said, COMMIT);
                said.drain(..said.len().saturating_sub(COMMIT.len() - 1));
                let cut = if commits { lock(cuts).pop_front() } else { None };
                match cut {
                    None => server.write_all(bytes).await?,
                    Some(Cut::Unheard) => return Ok(()),
                    Some(Cut::Unanswered) => {
                        server.write_all(bytes).await?;
                        return hear_out(&mut server, &mut down).await;
                    }
                }
            }
            read = server.read(&mut down) => {
                let bytes = &down[..read?];
                if bytes.is_empty() {
                    return Ok(());
                }
                client.write_all(bytes).await?;
            }
        }
    }
}

/// Reads the answers up to that of a COMMIT.
async fn hear_out(server: &mut TcpStream, buffer: &mut [u8]) -> std::io::Result<()> {
    let mut heard = Vec::new();
    while !holds(&heard, COMMIT) && !holds(&heard, ROLLBACK) {
        heard.drain(..heard.len().saturating_sub(PART));
        match server.read(buffer).await? {
            0 => return Ok(()),
            read => heard.extend_from_slice(&buffer[..read]),
        }
    }
    Ok(())
}

fn holds(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    while let Some(at) = bytes.windows(from.len()).position(|window| window == from) {
        bytes[at..][..from.len()].copy_from_slice(to);
    }
}

fn lock(cuts: &Mutex<VecDeque<Cut>>) -> MutexGuard<'_, VecDeque<Cut>> {
    cuts.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_replaced_wherever_they_are() {
        let mut bytes = *b"SET a = 30; SET b = 30";
        replace(&mut bytes, b"= 30", b"=  1");
        assert_eq!(&bytes, b"SET a =  1; SET b =  1");
        assert!(holds(b"x COMMIT\0", COMMIT) && !holds(b"COMMIT", COMMIT));
    }
}
