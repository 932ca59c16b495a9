//! Sends records at their time, several at once, and each until it is taken.
//!
//! - **Rate.** The n-th record is due n / rate after the start. Whatever a record costs moves no later one, so a
//!   receiver that stalls is caught up with afterwards.
//! - **Order.** Each post belongs to one of the senders by its index, and a sender has one record on its way: the
//!   records of a post arrive in order, and a record that is sent again cannot overtake a later one of its post.
//! - **Bounds.** A sender holds a few records; when one has to wait, the others go on until its queue is full.
//!
//! A record that was not taken is sent again as it was, with the same key, after a pause: the one that `Retry-After`
//! asks for, or one that doubles each time, with jitter.

use super::counts::Counts;
use super::interface::{Destination, SendOutcome};
use super::item::Item;
use super::options::EmulateOptions;
use super::stop::{StopReason, StopSignal};
use crate::generate::random::Random;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

/// Records that wait for their sender.
const QUEUE: usize = 16;
/// The pause after a first failure is below this; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// What no pause of our own exceeds.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// What no pause that is asked for exceeds.
const LONGEST_ASKED: Duration = Duration::from_secs(60);
/// A warning about the same trouble comes at most this often.
const WARN_EVERY: Duration = Duration::from_secs(5);

/// Sends what comes until it ends, the time is over, or the stop signal is given. Records that are still waiting then
/// were never sent. Several destinations share the senders, and by them the posts.
pub async fn run(
    options: &EmulateOptions,
    mut items: Receiver<Item>,
    destinations: &[Arc<Destination>],
    counts: Arc<Counts>,
    stop: StopSignal,
) {
    let mut senders = JoinSet::new();
    let mut queues: Vec<Sender<Item>> = Vec::with_capacity(options.connections);
    let warned = Arc::new(Warned::default());
    for number in 0..options.connections {
        let (queue, waiting) = channel(QUEUE);
        queues.push(queue);
        let sender = Delivery {
            destination: Arc::clone(&destinations[number % destinations.len()]),
            counts: Arc::clone(&counts),
            stop: stop.clone(),
            patience: options.patience,
            random: Random::of([options.seed, number as u64, u64::from(std::process::id()), 0]),
            warned: Arc::clone(&warned),
        };
        senders.spawn(sender.run(waiting));
    }
    let began = Instant::now();
    let end = options.duration.map(|duration| began + duration);
    let mut taken = 0u64;
    while let Some(item) = next(&mut items, &stop, end).await {
        if options.rate > 0 {
            let due = began + due(taken, options.rate);
            if end.is_some_and(|end| due >= end) {
                break;
            }
            tokio::select! {
                () = sleep_until(due) => {}
                () = stop.wait() => break,
            }
        }
        // a record without an index belongs to no order
        let place = item.ind.unwrap_or(taken) % queues.len() as u64;
        taken += 1;
        tokio::select! {
            sent = queues[place as usize].send(item) => {
                if sent.is_err() {
                    break;
                }
            }
            () = stop.wait() => break,
        }
    }
    // the source hears of the end by this
    drop((items, queues));
    while senders.join_next().await.is_some() {}
}

/// When the n-th record is due.
fn due(number: u64, rate: u64) -> Duration {
    let nanos = u128::from(number) * 1_000_000_000 / u128::from(rate);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

async fn next(items: &mut Receiver<Item>, stop: &StopSignal, end: Option<Instant>) -> Option<Item> {
    let item = async {
        match end {
            Some(end) => timeout_at(end, items.recv()).await.ok().flatten(),
            None => items.recv().await,
        }
    };
    tokio::select! {
        biased;
        () = stop.wait() => None,
        item = item => item,
    }
}

/// One of the senders.
struct Delivery {
    destination: Arc<Destination>,
    counts: Arc<Counts>,
    stop: StopSignal,
    patience: Duration,
    random: Random,
    warned: Arc<Warned>,
}

impl Delivery {
    async fn run(mut self, mut waiting: Receiver<Item>) {
        while let Some(item) = waiting.recv().await {
            if self.stop.reason().is_some() {
                // what is still waiting was never sent
                return;
            }
            self.deliver(&item).await;
        }
    }

    async fn deliver(&mut self, item: &Item) {
        let kind = usize::from(item.kind);
        let deadline = Instant::now() + self.patience;
        let mut failures = 0u32;
        loop {
            match self.destination.send(item).await {
                SendOutcome::Acknowledged => return self.counts.acknowledged(kind),
                SendOutcome::Refused(why) => return self.counts.refused(kind, why),
                SendOutcome::Stop(why) => {
                    self.counts.given_up();
                    return self.stop.stop(StopReason::DeliveryFailed(why));
                }
                SendOutcome::Retry { why, after } => {
                    failures += 1;
                    let pause = match after {
                        Some(asked) => asked.min(LONGEST_ASKED),
                        None => self.pause(failures),
                    };
                    let due = Instant::now() + pause;
                    if due > deadline {
                        self.counts.given_up();
                        let patience = self.patience;
                        return self.stop.stop(StopReason::DeliveryFailed(format!(
                            "a record was not taken within {patience:?} ({failures} attempts): {why}"
                        )));
                    }
                    self.warned.warn(&why);
                    tokio::select! {
                        () = sleep_until(due) => self.counts.sent_again(),
                        () = self.stop.wait() => return self.counts.given_up(),
                    }
                }
            }
        }
    }

    fn pause(&mut self, failures: u32) -> Duration {
        let bound = FIRST_PAUSE
            .saturating_mul(1 << failures.saturating_sub(1).min(16))
            .min(LONGEST_PAUSE);
        // never less than half of it: the trouble is somebody else's
        let half = bound.as_micros() as u64 / 2;
        Duration::from_micros(half + self.random.below_wide(half + 1))
    }
}

/// Keeps many senders from saying the same thing at once.
#[derive(Default)]
struct Warned(std::sync::Mutex<Option<Instant>>);

impl Warned {
    fn warn(&self, why: &str) {
        // somebody who is saying it now says it for all
        let Ok(mut last) = self.0.try_lock() else { return };
        if last.is_none_or(|last| last.elapsed() >= WARN_EVERY) {
            tracing::warn!("sending again what was not taken: {why}");
            *last = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_does_not_drift() {
        assert_eq!(due(0, 3), Duration::ZERO);
        assert_eq!(due(3_000_000_000, 3), Duration::from_secs(1_000_000_000));
        assert_eq!(due(7, 2000), Duration::from_micros(3500));
    }
}
