//! What the terminal says while the demo runs: what the page shows, a line at a time.

use super::common::say;
use crate::status::{Run, duration, grouped};
use api::{Phase, StatusBody};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// How often a line about the replay is printed.
const REPLAY: Duration = Duration::from_secs(2);
/// How often a line about the live stream is printed.
const LIVE: Duration = Duration::from_secs(10);

/// Follows the run by its status.
pub(super) struct Story {
    run: Run,
    told: Instant,
    last: String,
}

impl Story {
    /// Of the run that listens there.
    pub(super) fn of(address: SocketAddr) -> Story {
        Story {
            run: Run::new(address, None),
            told: Instant::now(),
            last: String::new(),
        }
    }

    /// Tells how far the replay is, now and then.
    pub(super) fn replay(&mut self, runtime: &Runtime) {
        if self.told.elapsed() >= REPLAY {
            self.tell(runtime, replaying);
        }
    }

    /// Tells where the lake ends and Kafka goes on.
    pub(super) fn hand_over(&mut self, runtime: &Runtime) {
        self.tell(runtime, |body| Some(handed_over(body)));
    }

    /// Tells how the run keeps up, now and then.
    pub(super) fn live(&mut self, runtime: &Runtime) {
        if self.told.elapsed() >= LIVE {
            self.tell(runtime, |body| Some(following(body)));
        }
    }

    fn tell(&mut self, runtime: &Runtime, line: impl Fn(&StatusBody) -> Option<String>) {
        self.told = Instant::now();
        // whether the run still runs is looked at elsewhere
        let answer = runtime.block_on(self.run.ask()).ok();
        let body = answer.and_then(|answer| serde_json::from_slice(&answer).ok());
        // nothing is said twice
        if let Some(line) = body.and_then(|body| line(&body)).filter(|line| *line != self.last) {
            say(&line);
            self.last = line;
        }
    }
}

fn replaying(body: &StatusBody) -> Option<String> {
    if body.phase != Phase::Replaying {
        return None;
    }
    let left = match body.replay.eta_seconds {
        Some(0.0) => return Some("the history is read: committing it".to_owned()),
        Some(left) => format!(", {} left", duration(left)),
        None => String::new(),
    };
    Some(format!("replaying: {} % of the history{left}", body.replay.percent))
}

fn handed_over(body: &StatusBody) -> String {
    let place = |of: &api::PartitionStatus| {
        let end = of.lake_end?;
        Some(format!("{}/{} {}", of.topic, of.partition, grouped(end)))
    };
    let places: Vec<String> = body.partitions.iter().filter_map(place).collect();
    format!("hand-over from the lake to Kafka at the offsets {}", places.join(", "))
}

fn following(body: &StatusBody) -> String {
    let committed: i64 = body.partitions.iter().filter_map(|of| of.frontier).sum();
    let waiting: i64 = body.partitions.iter().map(|of| of.lag_records).sum();
    let rejected: u64 = body.rejects.values().sum();
    let visible = match (body.freshness_ms.p50, body.freshness_ms.p99) {
        (Some(p50), Some(p99)) => format!(", visible after {p50} ms (p99 {p99} ms)"),
        _ => String::new(),
    };
    let (committed, waiting) = (grouped(committed), grouped(waiting));
    let rejected = grouped(i64::try_from(rejected).unwrap_or(i64::MAX));
    format!(
        "{}: commit {} has {committed} records, {waiting} wait{visible}; dead letters: {rejected}",
        body.phase,
        grouped(body.commit)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body() -> StatusBody {
        let body = serde_json::json!({
            "phase": "live",
            "replay": { "percent": 63.1, "eta_seconds": 41.2 },
            "partitions": [
                { "topic": "geo", "partition": 0, "lake_end": 21090, "start": 0, "frontier": 22000, "end": 22007,
                  "lag_records": 7, "lag_seconds": 0.1, "trend": "steady" },
                { "topic": "pin", "partition": 0, "lake_end": null, "start": 0, "frontier": null, "end": 3,
                  "lag_records": 3, "lag_seconds": 0.1, "trend": "steady" },
            ],
            "commit": 1370, "commits_per_second": 12.5, "freshness_ms": { "p50": 11.0, "p99": 27.0 }, "operators": [],
            "rejects": { "not_json": 3, "no_key": 1 }, "gaps": 0, "last_error": null, "last_error_at": null,
            "bottleneck": "Nothing: no records arrive.",
        });
        serde_json::from_value(body).unwrap()
    }

    #[test]
    fn the_lines_say_what_the_status_says() {
        let mut body = body();
        assert_eq!(
            following(&body),
            "live: commit 1,370 has 22,000 records, 10 wait, visible after 11 ms (p99 27 ms); dead letters: 4"
        );
        assert_eq!(
            handed_over(&body),
            "hand-over from the lake to Kafka at the offsets geo/0 21,090"
        );
        assert_eq!(replaying(&body), None);
        body.phase = Phase::Replaying;
        assert_eq!(replaying(&body).unwrap(), "replaying: 63.1 % of the history, 41 s left");
        body.replay.eta_seconds = Some(0.0);
        assert_eq!(replaying(&body).unwrap(), "the history is read: committing it");
        body.replay.eta_seconds = None;
        assert_eq!(replaying(&body).unwrap(), "replaying: 63.1 % of the history");
    }
}
