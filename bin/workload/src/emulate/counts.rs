//! What was sent and what became of it: shown while it happens, on standard error, and as JSON at the end.

use crate::KINDS;
use crate::progress::{ProgressStyle, set_active_bar};
use indicatif::ProgressBar;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Counts of records; shared by the senders and the display.
#[derive(Debug)]
pub struct Counts {
    began: Instant,
    acknowledged: [AtomicU64; 3],
    refused: [AtomicU64; 3],
    given_up: AtomicU64,
    retries: AtomicU64,
    first_refusal: Mutex<Option<String>>,
}

/// The final counts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Totals {
    /// Records that the receiver has said it has, by kind.
    pub acknowledged: BTreeMap<&'static str, u64>,
    /// Records that it will never take, by kind.
    pub refused: BTreeMap<&'static str, u64>,
    /// Records that were sent and neither acknowledged nor refused: whether they were taken is unknown.
    pub unacknowledged: u64,
    /// Attempts beyond the first of a record.
    pub retries: u64,
    /// Wall time.
    pub seconds: f64,
    /// Acknowledged records over wall time.
    pub records_per_second: f64,
}

impl Default for Counts {
    fn default() -> Self {
        Counts {
            began: Instant::now(),
            acknowledged: Default::default(),
            refused: Default::default(),
            given_up: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            first_refusal: Mutex::new(None),
        }
    }
}

impl Counts {
    /// A record is in Kafka.
    pub fn acknowledged(&self, kind: usize) {
        self.acknowledged[kind].fetch_add(1, Ordering::Relaxed);
    }

    /// A record will never be.
    pub fn refused(&self, kind: usize, why: String) {
        self.refused[kind].fetch_add(1, Ordering::Relaxed);
        tracing::debug!("refused: {why}");
        let mut first = self.first_refusal.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(why);
    }

    /// A record was sent, perhaps more than once, and no answer decided about it.
    pub fn given_up(&self) {
        self.given_up.fetch_add(1, Ordering::Relaxed);
    }

    /// A record is sent once more.
    pub fn sent_again(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// Records refused, and what was said of the first.
    pub fn refusals(&self) -> Option<(u64, String)> {
        let first = self.first_refusal.lock().unwrap_or_else(PoisonError::into_inner);
        Some((sum(&self.refused), first.clone()?))
    }

    /// The counts so far.
    pub fn totals(&self) -> Totals {
        let by_kind = |counts: &[AtomicU64; 3]| {
            let counts = counts.iter().map(|count| count.load(Ordering::Relaxed));
            KINDS.into_iter().zip(counts).collect()
        };
        let seconds = self.began.elapsed().as_secs_f64();
        Totals {
            acknowledged: by_kind(&self.acknowledged),
            refused: by_kind(&self.refused),
            unacknowledged: self.given_up.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
            seconds: (seconds * 1000.0).round() / 1000.0,
            records_per_second: (sum(&self.acknowledged) as f64 / seconds.max(0.001)).round(),
        }
    }
}

fn sum(counts: &[AtomicU64; 3]) -> u64 {
    counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
}

/// Shows the counts on standard error until it is dropped: a bar on a terminal, else a line of JSON each second.
pub async fn show(counts: Arc<Counts>, style: ProgressStyle, posts: Option<u64>) {
    let bar = match style {
        ProgressStyle::Bar => Some(Shown::new(posts)),
        _ => None,
    };
    let every = match bar {
        Some(_) => Duration::from_millis(100),
        None => Duration::from_secs(1),
    };
    let mut tick = tokio::time::interval(every);
    tick.tick().await;
    loop {
        tick.tick().await;
        match &bar {
            Some(Shown(bar)) => {
                let totals = counts.totals();
                // a post is as far as its records of any kind are
                bar.set_position(totals.acknowledged.values().copied().max().unwrap_or(0));
                let records: u64 = totals.acknowledged.values().sum();
                let (rate, retries) = (totals.records_per_second, totals.retries);
                bar.set_message(format!(
                    "{records} records acknowledged, {rate}/s, {retries} sent again"
                ));
            }
            None => match serde_json::to_string(&counts.totals()) {
                Ok(line) => eprintln!("{line}"),
                Err(error) => tracing::debug!("no progress is shown: {error}"),
            },
        }
    }
}

/// A bar for which log lines make room.
struct Shown(ProgressBar);

impl Shown {
    fn new(posts: Option<u64>) -> Shown {
        let (bar, template) = match posts {
            Some(posts) => (ProgressBar::new(posts), "{bar:40} {percent:>3}% {msg}, {eta} left"),
            None => (ProgressBar::new_spinner(), "{spinner} {msg}"),
        };
        let bar = bar.with_style(indicatif::ProgressStyle::with_template(template).expect("the template is ours"));
        set_active_bar(Some(bar.clone()));
        Shown(bar)
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        set_active_bar(None);
        self.0.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_by_kind() {
        let counts = Counts::default();
        counts.acknowledged(0);
        counts.acknowledged(2);
        counts.refused(1, "a".into());
        counts.refused(1, "b".into());
        counts.sent_again();
        let json = serde_json::to_value(counts.totals()).unwrap();
        assert_eq!(json["acknowledged"], serde_json::json!({"pin": 1, "geo": 0, "user": 1}));
        assert_eq!(json["refused"]["geo"], 2);
        assert_eq!((&json["retries"], &json["unacknowledged"]), (&1.into(), &0.into()));
        assert_eq!(counts.refusals(), Some((2, "a".into())));
    }
}
