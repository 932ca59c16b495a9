//! A client's connection before a request's head is complete, and between two requests.
//!
//! Most connections of a crowd say nothing, or begin a head and do not end it. They cost what they have sent, which
//! counts against the budget; the HTTP server and its buffers come into being when a head is complete.

use super::budget::OverBudget;
use super::held::Held;
use super::state::State;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of a request's head at most, and of what is read ahead.
pub(super) const HEAD: usize = 16 << 10;
/// Bytes of one read.
const READ: usize = 8 << 10;

/// A connection, with the bytes that were read ahead of the server.
pub(super) struct Client<S> {
    stream: S,
    ahead: Vec<u8>,
}

/// Why no request came.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoRequest {
    /// The client has closed its side.
    #[error("the connection was closed")]
    Closed,
    /// A head has begun, and nothing of the budget was free for the rest.
    #[error(transparent)]
    Budget(#[from] OverBudget),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl<S: AsyncRead + Unpin> Client<S> {
    /// A connection from which these bytes were read.
    pub(super) fn new(stream: S, ahead: Vec<u8>) -> Client<S> {
        Client { stream, ahead }
    }

    /// Both again.
    pub(super) fn into_parts(self) -> (S, Vec<u8>) {
        (self.stream, self.ahead)
    }

    /// Waits until a request's head is there, or something that cannot be one.
    pub(super) async fn head(&mut self, state: &State, held: &mut Held) -> Result<(), NoRequest> {
        let mut seen = 0;
        while !head_ends(&self.ahead, seen) && self.ahead.len() < HEAD && may_begin(&self.ahead) {
            // what did not make a head has to wait, and counts
            let bytes = self.ahead.len() - held.bytes();
            if held.take(&state.budget, bytes).is_err() {
                state.make_room();
                held.add(state.budget.wait(bytes, state.limits.header_timeout).await?);
            }
            seen = self.ahead.len();
            let read = std::future::poll_fn(|context| self.poll_ahead(context)).await?;
            if read == 0 {
                return Err(NoRequest::Closed);
            }
        }
        Ok(())
    }

    fn poll_ahead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // on the stack of this call: a connection that says nothing has no buffer
        let mut space = [MaybeUninit::uninit(); READ];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
        let read = buffer.filled();
        self.ahead.reserve_exact(read.len());
        self.ahead.extend_from_slice(read);
        Poll::Ready(Ok(read.len()))
    }
}

/// Whether a method may begin so: who speaks TLS, or something else, need not be waited for.
fn may_begin(bytes: &[u8]) -> bool {
    let first = bytes.first().copied().unwrap_or(b'G');
    first.is_ascii_alphabetic() || matches!(first, b'\r' | b'\n')
}

/// Whether an empty line ends the head; the first `seen` bytes are known not to hold a whole one.
fn head_ends(bytes: &[u8], seen: usize) -> bool {
    let new = &bytes[seen.saturating_sub(2)..];
    memchr::memchr_iter(b'\n', new).any(|at| matches!(new[at + 1..], [b'\n', ..] | [b'\r', b'\n', ..]))
}

impl<S: AsyncRead + Unpin> AsyncRead for Client<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let taken = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(&self.ahead[..taken]);
        if taken == self.ahead.len() {
            self.ahead = Vec::new();
        } else {
            self.ahead.drain(..taken);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Client<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_an_empty_line_wherever_it_was_cut() {
        for head in [
            "GET / HTTP/1.1\r\nhost: g\r\n\r\n",
            "GET / HTTP/1.1\nhost: g\n\n",
            "a\r\n\n",
            "a\n\r\n",
        ] {
            for seen in 0..head.len() {
                assert!(!head_ends(&head.as_bytes()[..seen], 0), "{head:?} {seen}");
                assert!(head_ends(head.as_bytes(), seen), "{head:?} {seen}");
            }
            let with_body = format!("{head}{{}}");
            assert!(head_ends(with_body.as_bytes(), 0));
        }
        for open in ["", "\r", "\n", "a\r\n\r", "a\r\r", "a\nb\n"] {
            assert!(!head_ends(open.as_bytes(), 0), "{open:?}");
        }
    }

    #[tokio::test]
    async fn what_was_read_ahead_comes_first() {
        use tokio::io::AsyncReadExt;
        let mut client = Client::new(&b"second"[..], b"first ".to_vec());
        let mut four = [0; 4];
        client.read_exact(&mut four).await.unwrap();
        let mut rest = [0; 8];
        client.read_exact(&mut rest).await.unwrap();
        assert_eq!([&four[..], &rest[..]].concat(), b"first second");
    }
}
