//! One client of a feed: it takes the newest event when its connection has room for one.
//!
//! Tables that are held in memory begin with pieces that all clients share. Where one of its tables is in PostgreSQL
//! alone, a client begins with a snapshot that it reads from there, piece by piece, and goes on from that commit.

use super::event::{Bounds, Event, LARGE};
use super::stored::{StoredSnapshot, Stores};
use crate::error::ApiError;
use crate::events;
use crate::shared::Shared;
use crate::state::{Content, State};
use bytes::Bytes;
use http_server::CutOff;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, watch};

/// A client that was quiet for so long gets a heartbeat.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Net changes for one client alone, where a snapshot is made of pieces that are shared.
const SMALL: Bounds = Bounds {
    changes: 5000,
    bytes: 48 << 10,
};

/// See the module's head.
pub(super) struct Client {
    shared: Arc<Shared>,
    stores: Arc<Stores>,
    tables: Vec<usize>,
    newest: watch::Receiver<Arc<Event>>,
    /// The commit that its events have led to, or will once `ready` and `stored` are sent.
    at: i64,
    /// What it has not been sent of its present event.
    ready: VecDeque<Bytes>,
    /// The rest of its present event, if that is a snapshot out of PostgreSQL.
    stored: Option<StoredSnapshot>,
    /// Its place among the clients with tables that are not held.
    place: Option<OwnedSemaphorePermit>,
}

impl Client {
    /// A client that has seen the commit `seen`, if any, and is to be where `event` ends.
    pub(super) async fn begin(
        shared: Arc<Shared>,
        stores: Arc<Stores>,
        tables: Vec<usize>,
        newest: watch::Receiver<Arc<Event>>,
        event: &Event,
        seen: Option<i64>,
    ) -> Result<Client, ApiError> {
        let state = &event.state;
        let mut client = Client {
            shared,
            stores,
            tables,
            newest,
            at: state.commit,
            ready: VecDeque::new(),
            stored: None,
            place: None,
        };
        if !client.is_held(state) {
            client.place = Some(client.stores.place()?);
        }
        if let Some(seen) = seen {
            client.at = seen;
            if client.catch_up(event) {
                return Ok(client);
            }
        }
        client.snapshot(state).await?;
        Ok(client)
    }

    /// The next piece; for `futures_util::stream::unfold`.
    pub(super) async fn next(mut self) -> Option<(Result<Bytes, CutOff>, Client)> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Some((Ok(piece), self));
            }
            if let Some(stored) = self.stored.take() {
                match stored.next().await {
                    Ok((piece, rest)) => {
                        self.stored = rest;
                        return Some((Ok(piece), self));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a stream was cut off in its snapshot");
                        return Some((Err(CutOff), self));
                    }
                }
            }
            match tokio::time::timeout(HEARTBEAT, self.newest.changed()).await {
                Err(_) => return Some((Ok(Bytes::from_static(events::HEARTBEAT)), self)),
                // the program ends
                Ok(Err(_)) => return None,
                Ok(Ok(())) => {
                    let event = Arc::clone(&self.newest.borrow_and_update());
                    if let Err(error) = self.take(&event).await {
                        // its client connects again, and gets the reason as an answer
                        tracing::debug!(error = error.error, "a stream was cut off");
                        return Some((Err(CutOff), self));
                    }
                }
            }
        }
    }

    /// Makes an event ready.
    async fn take(&mut self, event: &Event) -> Result<(), ApiError> {
        // a snapshot from PostgreSQL may be ahead of what was followed here
        if event.state.commit <= self.at {
            return Ok(());
        }
        if self.catch_up(event) {
            return Ok(());
        }
        // not of a newer state: the next event begins where this one ends
        self.snapshot(&event.state).await
    }

    /// Net changes from where the client is to where the event ends; false when they are not known or too large.
    fn catch_up(&mut self, event: &Event) -> bool {
        if self.at == event.state.commit {
            return true;
        }
        let own = if self.place.is_some() { &LARGE } else { &SMALL };
        let piece = event
            .since(&self.shared, &self.tables, self.at)
            .unwrap_or_else(|| own.changes(&self.shared, &self.tables, self.at, &event.state));
        let Some(piece) = piece else {
            return false;
        };
        self.ready.push_back(piece);
        self.at = event.state.commit;
        true
    }

    /// All rows, out of memory where all tables are there.
    async fn snapshot(&mut self, state: &State) -> Result<(), ApiError> {
        if let Some(pieces) = events::snapshot(&self.shared, state, &self.tables) {
            self.ready.extend(pieces);
            self.at = state.commit;
            return Ok(());
        }
        if self.place.is_none() {
            self.place = Some(self.stores.place()?);
        }
        let stored = self.stores.snapshot(&self.shared, state, &self.tables).await?;
        self.at = stored.commit();
        self.stored = Some(stored);
        Ok(())
    }

    fn is_held(&self, state: &State) -> bool {
        let held = |number: &usize| matches!(state.tables[*number].content, Content::Held(_));
        self.tables.iter().all(held)
    }
}
