//! A clock that this machine's wall clock does not move: how long something lies back may decide what is deleted.
//!
//! In S3 it is the server's clock, asked by writing a small object and looking at the time of that write. On `file://`
//! it is the time since this machine was started, which the kernel counts whatever the wall clock is set to; it means
//! nothing after another start or on another machine, so a moment names the clock that it was read from.

use super::error::LakeError;
use super::name::CONTROL_FOLDER;
use super::store::{Lake, Store};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A moment on one clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Which clock.
    clock: String,
    seconds: u64,
}

impl Moment {
    /// How long `earlier` lies back at least; `None` when it was read from another clock, or this one was set back.
    pub fn since(&self, earlier: &Moment) -> Option<Duration> {
        let seconds = self.seconds.checked_sub(earlier.seconds)?;
        // both are whole seconds, so the first of them may not have passed
        (self.clock == earlier.clock).then(|| Duration::from_secs(seconds.saturating_sub(1)))
    }
}

impl Lake {
    /// The present moment, by a clock that the wall clock of this machine does not move.
    pub async fn now(&self) -> Result<Moment, LakeError> {
        match &self.store {
            Store::S3(store) => {
                let key = format!("{CONTROL_FOLDER}/clock");
                let (clock, seconds) = ("s3".to_owned(), store.time(&key).await?);
                Ok(Moment { clock, seconds })
            }
            Store::File(_) => {
                let clock = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
                let clock = clock.map_err(|source| LakeError::Io {
                    action: "read",
                    object: "the kernel's boot_id".to_owned(),
                    source,
                })?;
                let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
                Ok(Moment {
                    clock: clock.trim().to_owned(),
                    seconds: now.tv_sec.unsigned_abs(),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(clock: &str, seconds: u64) -> Moment {
        Moment {
            clock: clock.to_owned(),
            seconds,
        }
    }

    #[test]
    fn only_moments_of_one_clock_lie_apart() {
        assert_eq!(at("a", 70).since(&at("a", 9)), Some(Duration::from_secs(60)));
        assert_eq!(at("a", 9).since(&at("a", 9)), Some(Duration::ZERO));
        assert_eq!(at("a", 8).since(&at("a", 9)), None);
        assert_eq!(at("b", 70).since(&at("a", 9)), None);
    }
}
