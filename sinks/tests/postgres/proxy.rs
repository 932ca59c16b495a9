//! Connections that are cut at a COMMIT.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Forwards to Postgres until a client says COMMIT; then cuts the connection, before or after the server has heard it.
pub struct Proxy {
    pub port: u16,
    /// How many COMMITs still to cut.
    pub cuts: Arc<AtomicU32>,
    /// Whether the server hears it, so that only its answer is lost.
    pub forward_first: Arc<AtomicBool>,
    /// Whether no answer between a BEGIN and its COMMIT comes through before the COMMIT was sent.
    pub answers_wait: Arc<AtomicBool>,
    /// What the server hears instead of the next BEGIN, as one that was cancelled is answered with an error.
    pub instead: Arc<Mutex<Option<&'static str>>>,
}

impl Proxy {
    pub async fn start(server: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy {
            port: listener.local_addr().unwrap().port(),
            cuts: Arc::default(),
            forward_first: Arc::default(),
            answers_wait: Arc::default(),
            instead: Arc::default(),
        };
        let (cuts, forward_first) = (proxy.cuts.clone(), proxy.forward_first.clone());
        let (answers_wait, instead) = (proxy.answers_wait.clone(), proxy.instead.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (cuts, forward_first) = (cuts.clone(), forward_first.clone());
                let (answers_wait, instead) = (answers_wait.clone(), instead.clone());
                tokio::spawn(async move {
                    let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                    let _ = pump(client, server, &cuts, &forward_first, &answers_wait, &instead).await;
                });
            }
        });
        proxy
    }
}

/// How a commit begins.
const BEGIN: &[u8] = b"BEGIN READ WRITE\0";

async fn pump(
    mut client: TcpStream,
    mut server: TcpStream,
    cuts: &AtomicU32,
    forward_first: &AtomicBool,
    answers_wait: &AtomicBool,
    instead: &Mutex<Option<&'static str>>,
) -> std::io::Result<()> {
    let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut waiting = false;
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let read = read?;
                if let Some(at) = up[..read].windows(BEGIN.len()).position(|window| window == BEGIN)
                    && let Some(instead) = instead.lock().unwrap().take()
                {
                    // as long as it
                    let length = BEGIN.len() - 1;
                    up[at..][..length].copy_from_slice(format!("{instead:length$}").as_bytes());
                }
                let bytes = &up[..read];
                if bytes.is_empty() {
                    return Ok(());
                }
                let says = |word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
                let commit = says(b"COMMIT\0");
                waiting = (waiting || says(BEGIN) && answers_wait.load(Ordering::Relaxed)) && !commit;
                if commit && cuts.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
                    if forward_first.load(Ordering::Relaxed) {
                        server.write_all(bytes).await?;
                        // the answers up to that of the COMMIT, which the client does not get
                        let mut answers = Vec::new();
                        while !answers.windows(7).any(|window| window == b"COMMIT\0") {
                            match server.read(&mut down).await? {
                                0 => return Ok(()),
                                read => answers.extend_from_slice(&down[..read]),
                            }
                        }
                    }
                    return Ok(());
                }
                server.write_all(bytes).await?;
            }
            read = server.read(&mut down), if !waiting => {
                let bytes = &down[..read?];
                if bytes.is_empty() {
                    return Ok(());
                }
                client.write_all(bytes).await?;
            }
        }
    }
}
