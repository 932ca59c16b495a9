//! Repeated log lines: each is let through at most once in ten seconds, with a count.
//!
//! librdkafka repeats what it cannot do for every connection and every try; a broker that is away for an hour would
//! fill a disk. Shared by all clients of the process, since they meet the same broker.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a line keeps its repetitions away.
const QUIET: Duration = Duration::from_secs(10);
/// Different lines that are remembered; when there are more, the oldest are forgotten, and said again.
const REMEMBERED: usize = 256;

/// See the module's head.
pub(super) static THROTTLE: Throttle = Throttle::new();

/// Remembers which lines were said when.
pub(super) struct Throttle(Mutex<Option<HashMap<String, Said>>>);

struct Said {
    at: Instant,
    /// Times that it was kept back since.
    since: u64,
}

impl Throttle {
    const fn new() -> Throttle {
        Throttle(Mutex::new(None))
    }

    /// The line as it is to be said now, or nothing.
    pub(super) fn pass(&self, line: &str) -> Option<String> {
        self.pass_at(line, Instant::now())
    }

    fn pass_at(&self, line: &str, now: Instant) -> Option<String> {
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let remembered = remembered.get_or_insert_with(HashMap::new);
        let kept_back = match remembered.get_mut(line) {
            Some(said) if now.saturating_duration_since(said.at) < QUIET => {
                said.since += 1;
                return None;
            }
            Some(said) => {
                said.at = now;
                std::mem::take(&mut said.since)
            }
            None => {
                while remembered.len() >= REMEMBERED {
                    let oldest = remembered.iter().min_by_key(|(_, said)| said.at);
                    let oldest = oldest.map(|(line, _)| line.clone()).unwrap_or_default();
                    remembered.remove(&oldest);
                }
                remembered.insert(line.to_owned(), Said { at: now, since: 0 });
                0
            }
        };
        Some(match kept_back {
            0 => line.to_owned(),
            times => format!("{line} (said {times} times more since it was last shown)"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_line_comes_once_in_ten_seconds_with_a_count() {
        let throttle = Throttle::new();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let refused = "127.0.0.1:1: Connection refused";
        assert_eq!(throttle.pass_at(refused, start).as_deref(), Some(refused));
        assert_eq!(throttle.pass_at(refused, after(1)), None);
        assert_eq!(
            throttle.pass_at("1/1 brokers are down", after(1)).as_deref(),
            Some("1/1 brokers are down")
        );
        assert_eq!(throttle.pass_at(refused, after(9)), None);
        let later = throttle.pass_at(refused, after(10)).expect("ten seconds have passed");
        assert_eq!(later, format!("{refused} (said 2 times more since it was last shown)"));
        assert_eq!(throttle.pass_at(refused, after(19)), None);
        assert!(throttle.pass_at(refused, after(31)).is_some());
    }

    #[test]
    fn no_more_is_remembered_than_fits() {
        let throttle = Throttle::new();
        let start = Instant::now();
        for n in 0..REMEMBERED as u64 + 10 {
            assert!(
                throttle
                    .pass_at(&format!("line {n}"), start + Duration::from_millis(n))
                    .is_some()
            );
        }
        let remembered = throttle.0.lock().unwrap();
        assert_eq!(remembered.as_ref().map(HashMap::len), Some(REMEMBERED));
    }
}
