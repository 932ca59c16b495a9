//! What the HTTP server answers by itself: 400, 414 or 431 to what is no request.
//!
//! It has no hook for them, so they are found where they are written: a status of the client's, while no request is
//! under way and every answer of ours is written. They get a request id, a line of the access log, and are counted.

use super::access_log::Line;
use super::state::State;
use http_server::{Entry, REQUEST_ID};
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How the server's own answers begin.
const BEGINNING: &[u8] = b"HTTP/1.1 4";
/// Their interface in metrics and logs.
const INTERFACE: &str = "http";

/// A stream whose writer may be the server itself.
pub(super) struct HttpErrors<S> {
    stream: S,
    state: Arc<State>,
    entry: Arc<Entry>,
    peer: IpAddr,
    /// Answers of ours that were written.
    written: u64,
    /// The server's answer with its id, and how much of it is written.
    own: Vec<u8>,
    done: usize,
}

impl<S> HttpErrors<S> {
    pub(super) fn new(stream: S, state: Arc<State>, entry: Arc<Entry>, peer: IpAddr) -> HttpErrors<S> {
        let written = entry.answers();
        HttpErrors {
            stream,
            state,
            entry,
            peer,
            written,
            own: Vec::new(),
            done: 0,
        }
    }

    /// The stream itself.
    pub(super) fn into_inner(self) -> S {
        self.stream
    }

    fn is_the_servers(&self, bytes: &[u8]) -> bool {
        bytes.starts_with(BEGINNING) && !self.entry.is_busy() && self.entry.answers() == self.written
    }

    /// Takes the server's answer instead of writing it.
    fn take(&mut self, bytes: &[u8]) {
        let id = self.state.ids.next();
        let line = bytes
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(bytes.len(), |at| at + 1);
        self.own = bytes[..line].to_vec();
        self.own.extend_from_slice(REQUEST_ID.as_str().as_bytes());
        self.own.extend_from_slice(b": ");
        self.own.extend_from_slice(id.as_bytes());
        self.own.extend_from_slice(b"\r\n");
        self.own.extend_from_slice(&bytes[line..]);
        self.done = 0;
        let status = bytes.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
        let status = status.and_then(|digits| digits.parse().ok()).unwrap_or(400);
        self.state.metrics.answered(INTERFACE, status, 0, Duration::ZERO);
        self.state.access_log.line(&Line {
            id: id.to_str().unwrap_or_default(),
            peer: self.peer,
            method: "-",
            path: "-",
            token: None,
            interface: INTERFACE,
            status,
            records: 0,
            bytes: 0,
            took: Duration::ZERO,
        });
    }
}

impl<S: AsyncWrite + Unpin> HttpErrors<S> {
    /// Writes what was taken.
    fn poll_own(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.done < self.own.len() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &self.own[self.done..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.done += written;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HttpErrors<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HttpErrors<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // in their order
        ready!(self.poll_own(context))?;
        if self.is_the_servers(bytes) {
            self.take(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_own(context))?;
        if let Some(first) = pieces.first().filter(|first| self.is_the_servers(first)) {
            self.take(first);
            return Poll::Ready(Ok(first.len()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_own(context))?;
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.written = self.entry.answers();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_own(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
