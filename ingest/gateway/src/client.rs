//! A client's connection before a request is complete, and between two requests.
//!
//! Most connections of a crowd say nothing, or begin a request and do not end it. They cost what they have sent, which
//! counts against the budget; the HTTP server and its buffers come into being when there is something to serve.
//!
//! Where tokens are asked for, what waits here before its token is known, or without one, has a part of the budget: it
//! leaves the rest to those who have a token.

use super::arrival::{Arrival, NextRead};
use super::budget::{OverBudget, Permit};
use super::budget_lease::BudgetLease;
use super::state::State;
use http_server::Entry;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout_at};

/// Bytes of a request's head at most, and of the server's buffers.
pub(super) const HEAD: usize = 16 << 10;
/// Headers of a request.
pub(super) const HEADERS: usize = 100;
/// Bytes of one read.
const READ: usize = 8 << 10;
/// Bytes by which the room for what was read ahead grows.
const STEP: usize = 256;

/// A connection, with the bytes that were read ahead of the server.
pub(super) struct Client<S> {
    stream: S,
    ahead: Vec<u8>,
}

/// What a request takes of the budget while it waits here.
pub(super) struct Ahead {
    lease: BudgetLease,
    /// The same bytes of what all clients without a known token may take together; `None`: its token is known, or none
    /// is asked for.
    share: Option<Permit>,
}

impl Ahead {
    /// Nothing yet.
    pub(super) fn none(state: &State, entry: &Arc<Entry>) -> Ahead {
        Ahead {
            lease: BudgetLease::none(&state.budget, entry),
            share: state.tokens.are_asked_for().then(|| state.unknown.none()),
        }
    }

    /// Its head is there: who has a token takes of the budget what there is.
    fn look(&mut self, state: &State, request: &[u8]) {
        if self.share.is_some() && state.tokens.caller(&credentials(request)).is_some() {
            self.share = None;
        }
    }

    /// Takes so many bytes more, if they are free.
    fn take(&mut self, state: &State, bytes: usize) -> Result<(), OverBudget> {
        let Some(share) = &mut self.share else {
            return self.lease.take(&state.budget, bytes);
        };
        let permit = state.unknown.take(bytes)?;
        self.lease.take(&state.budget, bytes)?;
        share.add(permit);
        Ok(())
    }

    /// The same as soon as they are free.
    pub(super) async fn wait(&mut self, state: &State, bytes: usize, timeout: Duration) -> Result<(), OverBudget> {
        let Some(share) = &mut self.share else {
            return state.take_within(&mut self.lease, bytes, timeout).await;
        };
        let permit = state.room(&state.unknown, &self.lease, bytes, timeout).await?;
        state.take_within(&mut self.lease, bytes, timeout).await?;
        share.add(permit);
        Ok(())
    }
}

/// Why no request came.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoRequest {
    /// The client has closed its side.
    #[error("the connection was closed")]
    Closed,
    /// No head came in time.
    #[error("no request came in time")]
    Slow,
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

    /// Waits until a request is there as far as it can be awaited here, or something that cannot be one. From its head
    /// on it is under way, and what its client takes for the body counts where the rest of that is read.
    pub(super) async fn request(
        &mut self,
        state: &State,
        taken: &mut Ahead,
        entry: &Arc<Entry>,
    ) -> Result<(), NoRequest> {
        let mut arrival = Arrival::new();
        let mut until = Instant::now() + state.limits.header_timeout;
        let mut under_way = None;
        loop {
            match arrival.look(&self.ahead) {
                NextRead::Head if self.ahead.len() >= HEAD || !may_begin(&self.ahead) => return Ok(()),
                NextRead::Head => {}
                NextRead::Body => {
                    if under_way.is_none() {
                        under_way = Some(entry.begin());
                        taken.look(state, &self.ahead);
                        until = Instant::now() + state.limits.body_timeout;
                    }
                    entry.waits_for_body(0);
                }
                NextRead::Nothing => {
                    entry.has_body();
                    return Ok(());
                }
                NextRead::Server => return Ok(()),
            }
            // what has to wait counts
            let bytes = self.ahead.len() - taken.lease.bytes();
            if taken.take(state, bytes).is_err() {
                if under_way.is_some() {
                    // it is read there, or refused in its own words
                    return Ok(());
                }
                let began = Instant::now();
                taken.wait(state, bytes, state.limits.header_timeout).await?;
                // the client is not to blame for what it waited for us
                until += began.elapsed();
            }
            let read = timeout_at(until, std::future::poll_fn(|context| self.poll_ahead(context))).await;
            match read.map_or(Ok(None), |read| read.map(Some))? {
                Some(1..) => {}
                Some(_) => return Err(NoRequest::Closed),
                // the server says so
                None if under_way.is_some() => return Ok(()),
                None => return Err(NoRequest::Slow),
            }
        }
    }

    fn poll_ahead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // on the stack of this call: a connection that says nothing has no buffer
        let mut space = [MaybeUninit::uninit(); READ];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
        let read = buffer.filled();
        if self.ahead.capacity() - self.ahead.len() < read.len() {
            // most bodies stay small, and one that comes byte by byte is not moved for each
            self.ahead.reserve_exact(read.len().next_multiple_of(STEP));
        }
        self.ahead.extend_from_slice(read);
        Poll::Ready(Ok(read.len()))
    }
}

/// The headers of a request's head that say who sends it; the server judges them again.
fn credentials(request: &[u8]) -> HeaderMap {
    let lines = request.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let fields = lines.skip(1).take_while(|line| !line.is_empty()).filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        Some((name, value))
    });
    fields.take(HEADERS).collect()
}

/// Whether a method may begin so: who speaks TLS, or something else, need not be waited for.
fn may_begin(bytes: &[u8]) -> bool {
    let first = bytes.first().copied().unwrap_or(b'G');
    first.is_ascii_alphabetic() || matches!(first, b'\r' | b'\n')
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
    fn a_head_tells_who_sends_it_and_its_body_does_not() {
        for (head, found) in [
            ("POST / HTTP/1.1\r\nX-Api-Key:  a b \r\n\r\nx-api-key: c", Some("a b")),
            ("POST / HTTP/1.1\nhost: g\nx-api-key:a\nx-api-key: b\n\n", Some("a")),
            ("x-api-key: a\r\nhost: g\r\n\r\n", None),
            ("POST / HTTP/1.1\r\nhost: g\r\n\r\nx-api-key: a\r\n", None),
            ("POST / HTTP/1.1\r\nx-api-key\r\n: b\r\nx api-key: a\r\n\r\n", None),
        ] {
            let headers = credentials(head.as_bytes());
            assert_eq!(
                headers.get("x-api-key").map(|value| value.as_bytes()),
                found.map(str::as_bytes),
                "{head}"
            );
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
