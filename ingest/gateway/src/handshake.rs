//! A TLS connection before its handshake has ended, when its client is not authenticated.
//!
//! rustls keeps what is no whole message: up to 64 KiB for a client that announces as much and never sends the rest. So
//! little is read of a connection until its handshake has ended, and that much of the budget is taken for it.

use super::client::{Ahead, HEAD};
use super::state::State;
use http_server::Entry;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Bytes that are read of a connection before it is encrypted: several times what clients send, of whom no certificate is
/// asked.
const HANDSHAKE: usize = HEAD;

/// The stream of a connection after its handshake.
///
/// # Errors
/// The handshake fails, takes too long or too many bytes, or nothing of the budget becomes free for it.
pub(super) async fn encrypted<S: AsyncRead + AsyncWrite + Unpin>(
    state: &State,
    acceptor: TlsAcceptor,
    stream: S,
    entry: &Arc<Entry>,
) -> io::Result<TlsStream<Bounded<S>>> {
    let timeout = state.limits.header_timeout;
    let mut taken = Ahead::none(state, entry);
    taken.wait(state, HANDSHAKE, timeout).await.map_err(io::Error::other)?;
    let bounded = Bounded {
        stream,
        left: Some(HANDSHAKE),
    };
    let mut stream = tokio::time::timeout(timeout, acceptor.accept(bounded)).await??;
    stream.get_mut().0.left = None;
    Ok(stream)
}

/// A stream of which so many bytes may be read, if it is bounded.
pub(super) struct Bounded<S> {
    stream: S,
    left: Option<usize>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        if let Some(left) = &mut this.left {
            let read = buffer.filled().len() - before;
            let within = left.checked_sub(read);
            *left = within.ok_or_else(|| io::Error::other("a TLS handshake of more than 16 KiB"))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
