//! Pieces on their way into the lake: those that wait for a task, and those that a task writes.
//!
//! The number of tasks is bounded, and [`Uploads::has_room`] says whether more may be cut; who asks it first keeps the
//! bytes in memory bounded too.

use super::cutter::Piece;
use super::error::ArchiveError;
use super::writer::{Stored, Writer};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::task::{JoinError, JoinSet};
use values::Partition;

/// Pieces that wait for a task.
const READY: usize = 4096;

/// Writes pieces, many at a time.
pub(super) struct Uploads {
    writer: Arc<Writer>,
    /// Tasks at the same time.
    most_tasks: usize,
    /// Bytes of pieces that wait or are written.
    most_bytes: usize,
    ready: VecDeque<Upload>,
    tasks: JoinSet<Finished>,
    in_flight_bytes: usize,
}

/// A piece to be written.
pub(super) struct Upload {
    /// The index of its partition.
    pub(super) index: usize,
    /// Its number in the partition.
    pub(super) number: u64,
    /// The topic's name.
    pub(super) topic: Arc<str>,
    /// The Kafka partition.
    pub(super) partition: Partition,
    pub(super) piece: Piece,
}

/// What became of a piece.
pub(super) struct Finished {
    /// The index of its partition.
    pub(super) index: usize,
    /// Its number in the partition.
    pub(super) number: u64,
    pub(super) stored: Result<Stored, ArchiveError>,
    bytes: usize,
}

impl Uploads {
    pub(super) fn new(writer: Arc<Writer>, most_tasks: usize, most_bytes: usize) -> Uploads {
        Uploads {
            writer,
            most_tasks,
            most_bytes,
            ready: VecDeque::new(),
            tasks: JoinSet::new(),
            in_flight_bytes: 0,
        }
    }

    /// Whether more pieces may be cut.
    pub(super) fn has_room(&self) -> bool {
        self.ready.len() < READY && self.in_flight_bytes < self.most_bytes
    }

    /// Whether nothing waits and nothing is being written.
    pub(super) fn is_idle(&self) -> bool {
        self.ready.is_empty() && self.tasks.is_empty()
    }

    /// The number of pieces that are being written.
    pub(super) fn running(&self) -> usize {
        self.tasks.len()
    }

    /// Queues a piece.
    pub(super) fn push(&mut self, upload: Upload) {
        self.in_flight_bytes += cost(&upload.piece);
        self.ready.push_back(upload);
    }

    /// Starts as many tasks as may run.
    pub(super) fn launch(&mut self) {
        while self.tasks.len() < self.most_tasks
            && let Some(upload) = self.ready.pop_front()
        {
            let writer = Arc::clone(&self.writer);
            self.tasks.spawn(async move {
                let Upload {
                    index,
                    number,
                    topic,
                    partition,
                    piece,
                } = upload;
                let bytes = cost(&piece);
                let stored = writer.store(&topic, partition, piece).await;
                Finished {
                    index,
                    number,
                    stored,
                    bytes,
                }
            });
        }
    }

    /// The next piece that a task is done with; `None` when there is no task. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Option<Result<Finished, ArchiveError>> {
        let joined = self.tasks.join_next().await?;
        Some(self.settle(joined))
    }

    /// The same without waiting.
    pub(super) fn try_next(&mut self) -> Option<Result<Finished, ArchiveError>> {
        let joined = self.tasks.try_join_next()?;
        Some(self.settle(joined))
    }

    /// Gives up what is being written.
    pub(super) fn abort(&mut self) {
        self.tasks.abort_all();
    }

    fn settle(&mut self, joined: Result<Finished, JoinError>) -> Result<Finished, ArchiveError> {
        let finished = joined.map_err(|_| ArchiveError::Panicked)?;
        let left = self.in_flight_bytes.checked_sub(finished.bytes);
        self.in_flight_bytes = left.expect("a piece's bytes are counted when it is queued");
        Ok(finished)
    }
}

/// What a piece takes of memory.
fn cost(piece: &Piece) -> usize {
    piece.content.capacity() + size_of::<Piece>() + 512
}
