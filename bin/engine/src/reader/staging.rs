//! How history's rows get into staging.

use super::state::{Phase, Reader};
use crate::protocol::ReaderReport;
use crate::staging::{Offer, StagingError};
use std::sync::mpsc::TryRecvError;
use std::time::Duration;

/// Rows gathered before they are offered for staging.
const STAGE_ROWS: usize = 2048;
/// When to look again whether staging has room.
const AGAIN: Duration = Duration::from_millis(2);

impl Reader {
    /// Reads nothing more, and hands over what waits.
    pub(super) fn begin_flush(&mut self) {
        if let Phase::Hydrating = self.phase {
            self.phase = Phase::Flushing(None);
            self.flush();
        }
    }

    /// Hands over the last rows, then reports when they have arrived.
    pub(super) fn flush(&mut self) {
        if self.decode.waiting() > 0 && !self.offer() {
            return;
        }
        let pass = self.pass.number;
        let Phase::Flushing(flushed) = &mut self.phase else {
            return;
        };
        let Some(staging) = self.context.staging.as_ref().filter(|_| self.pass.fence.is_some()) else {
            self.phase = Phase::Staged;
            self.reports.push(ReaderReport::Staged { pass, rows: [0; 4] });
            return;
        };
        let flushed = flushed.get_or_insert_with(|| staging.flush(pass, self.wake.clone()));
        match flushed.try_recv() {
            Ok(Ok(())) => {
                self.phase = Phase::Staged;
                let rows = self.staged;
                self.reports.push(ReaderReport::Staged { pass, rows });
            }
            Ok(Err(error)) => self.lose_staging(&error),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => self.lose_staging(&StagingError::TaskGone),
        }
    }

    /// Offers the rows that are waiting when they are enough; false while staging cannot take them.
    pub(super) fn stage(&mut self) -> bool {
        self.decode.waiting() < STAGE_ROWS || self.offer()
    }

    /// Offers the rows that are waiting; false when staging cannot take them, now or at all.
    fn offer(&mut self) -> bool {
        let Some(staging) = self.context.staging.as_ref().filter(|_| self.pass.fence.is_some()) else {
            self.decode.forget_rows();
            return true;
        };
        let rows = self.decode.take_rows();
        if rows.is_empty() {
            return true;
        }
        let counted = rows.counted();
        match staging.offer(self.pass.number, rows) {
            Ok(()) => {
                let staged = self.staged.iter_mut().zip(counted);
                staged.for_each(|(staged, rows)| *staged += rows);
                true
            }
            Err(Offer::Full(rows)) => {
                self.decode.put_back(rows);
                self.again.activate_after(AGAIN);
                false
            }
            Err(Offer::Lost(error)) => {
                self.lose_staging(&error);
                false
            }
        }
    }

    fn lose_staging(&mut self, error: &StagingError) {
        let (pass, error) = (self.pass.number, causes::with_causes(error));
        self.reports.push(ReaderReport::StagingLost { pass, error });
        self.phase = Phase::Broken;
    }
}
