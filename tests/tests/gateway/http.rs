//! A client that says exactly what it is told, and hands back exactly what came.

use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub const PATIENCE: Duration = Duration::from_secs(30);

/// An answer as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_str(&self.body).with_context(|| format!("no JSON: {self:?}"))
    }
}

/// A connection.
pub struct Connection(pub BufReader<TcpStream>);

impl Connection {
    pub fn open(at: SocketAddr) -> Result<Connection> {
        let stream = TcpStream::connect_timeout(&at, PATIENCE).with_context(|| format!("connecting to {at}"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Connection(BufReader::new(stream)))
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.get_mut().write_all(bytes).context("writing a request")
    }

    /// A whole request on this connection, which stays open.
    pub fn send(&mut self, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<()> {
        let mut head = format!("{line} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| *name == "host") {
            head += "host: localhost\r\n";
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() || line.starts_with('P') {
            head += &format!("content-length: {}\r\n", body.len());
        }
        head += "\r\n";
        let request = [head.as_bytes(), body].concat();
        self.write(&request)
    }

    /// Status and headers.
    pub fn head(&mut self) -> Result<(u16, BTreeMap<String, String>)> {
        let mut line = String::new();
        ensure!(
            self.0.read_line(&mut line)? > 0,
            "the connection ended without an answer"
        );
        let status = line.split_whitespace().nth(1).context("a status")?.parse()?;
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            ensure!(
                headers.insert(name.to_owned(), value.to_owned()).is_none(),
                "{name} occurs twice"
            );
        }
        Ok((status, headers))
    }

    /// One piece of a chunked body; empty at its end.
    pub fn chunk(&mut self) -> Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let size = usize::from_str_radix(line.trim(), 16).with_context(|| format!("a chunk's size: {line:?}"))?;
        let mut bytes = vec![0; size + 2];
        self.0.read_exact(&mut bytes)?;
        bytes.truncate(size);
        Ok(String::from_utf8(bytes)?)
    }

    pub fn answer(&mut self) -> Result<Answer> {
        let (status, headers) = self.head()?;
        let body = match (headers.get("content-length"), headers.get("transfer-encoding")) {
            (Some(length), None) => {
                let mut bytes = vec![0; length.parse()?];
                self.0.read_exact(&mut bytes)?;
                String::from_utf8(bytes)?
            }
            (None, Some(_)) => {
                let mut body = String::new();
                loop {
                    let piece = self.chunk()?;
                    if piece.is_empty() {
                        break body;
                    }
                    body += &piece;
                }
            }
            other => bail!("a body of what length? {other:?}"),
        };
        Ok(Answer { status, headers, body })
    }

    /// Whether the server has closed its side.
    pub fn is_closed(&mut self) -> Result<bool> {
        let mut byte = [0];
        match self.0.get_mut().read(&mut byte) {
            Ok(0) => Ok(true),
            Ok(_) => bail!("there is something to be read"),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(true),
            Err(error) => Err(error).context("waiting for the end of a connection"),
        }
    }
}

/// A request on a connection of its own.
pub fn ask(at: SocketAddr, line: &str, headers: &[(&str, &str)], body: &str) -> Result<Answer> {
    let mut connection = Connection::open(at)?;
    connection
        .send(line, headers, body.as_bytes())
        .with_context(|| line.to_owned())?;
    connection.answer().with_context(|| format!("the answer to {line}"))
}

pub const JSON: (&str, &str) = ("content-type", "application/json");
pub const V2: (&str, &str) = ("content-type", "application/vnd.kafka.json.v2+json");
pub const V2_BINARY: (&str, &str) = ("content-type", "application/vnd.kafka.binary.v2+json");

/// A text in base64, as RFC 4648 writes it.
pub fn base64(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::new();
    for group in text.as_bytes().chunks(3) {
        let bits = (0..3).fold(0, |bits, at| {
            bits << 8 | usize::from(group.get(at).copied().unwrap_or(0))
        });
        for at in 0..4 {
            let digit = ALPHABET[bits >> (18 - 6 * at) & 63];
            encoded.push(if at <= group.len() { char::from(digit) } else { '=' });
        }
    }
    encoded
}
