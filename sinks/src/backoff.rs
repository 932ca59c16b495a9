//! The pauses between tries.

use std::time::Duration;

/// Waits that double from `first` to `longest`, each shortened by up to a half at random so that many clients that
/// failed together do not return together.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    longest: Duration,
    random: u64,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Backoff {
        let clock = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Backoff {
            next: first,
            longest,
            random: clock.as_nanos() as u64 ^ u64::from(std::process::id()) << 32 | 1,
        }
    }

    pub(crate) fn pause(&mut self) -> Duration {
        // xorshift64: quality does not matter here
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let full = self.next;
        self.next = (full * 2).min(self.longest);
        full - full.mul_f64((self.random % 1024) as f64 / 2048.0)
    }

    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep(self.pause()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_stay_bounded() {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(80));
        for full in [10, 20, 40, 80, 80, 80] {
            let pause = backoff.pause();
            assert!(
                pause <= Duration::from_millis(full) && pause >= Duration::from_millis(full / 2),
                "{pause:?}"
            );
        }
    }
}
