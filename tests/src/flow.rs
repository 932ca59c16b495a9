//! Records that flow while something breaks, and the proof afterwards.

use crate::scene::Feed;
use crate::{Kafka, LakeFolder, Pinflow, Postgres, Producer};
use anyhow::{Context, Result, anyhow};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// A verification takes at most this long.
const VERDICT: Duration = Duration::from_secs(60);

/// After so many rounds a tombstone follows, for a record from the middle of what has been produced.
const DELETE_EVERY: usize = 25;

/// A thread that produces a feed, a few records at a time and now and then a tombstone, until it is told to stop.
pub struct Flow {
    stop: Arc<AtomicBool>,
    produced: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<Feed>>>,
}

impl Flow {
    /// Produces `count` records every `pause`, each time until the broker has them.
    pub fn start(feed: Feed, kafka: &Kafka, count: usize, pause: Duration) -> Result<Flow> {
        let (stop, produced) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let producer = Producer::new(&kafka.bootstrap())?;
        let (stopped, counter) = (Arc::clone(&stop), Arc::clone(&produced));
        let flow = move || {
            let mut feed = feed;
            let mut round = 0usize;
            while !stopped.load(Ordering::Relaxed) {
                feed.produce(&producer, count)?;
                round += 1;
                if round.is_multiple_of(DELETE_EVERY) {
                    let kind = (round / DELETE_EVERY % 3) as u8;
                    let entries = feed.log.iter().filter(|((of, _), _)| *of == kind);
                    let old = entries.filter_map(|(_, entries)| entries.get(entries.len() / 2));
                    if let Some(ind) = old.map(|(ind, _)| *ind).next() {
                        feed.delete(&producer, kind, ind)?;
                        counter.fetch_add(1, Ordering::Relaxed);
                    }
                }
                counter.fetch_add(count as u64, Ordering::Relaxed);
                std::thread::sleep(pause);
            }
            Ok(feed)
        };
        let thread = std::thread::Builder::new().name("flow".into()).spawn(flow)?;
        Ok(Flow {
            stop,
            produced,
            thread: Some(thread),
        })
    }

    /// Records that the broker has acknowledged.
    pub fn produced(&self) -> u64 {
        self.produced.load(Ordering::Relaxed)
    }

    /// Stops, and gives back the feed, which knows everything that was produced.
    pub fn finish(mut self) -> Result<Feed> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("a flow is finished once")?;
        thread.join().map_err(|_| anyhow!("the flow panicked"))?
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Demands that `verify` and `verify --replay` find nothing in the schema `pinflow`.
pub fn prove(lake: Option<&LakeFolder>, kafka: &Kafka, postgres: &Postgres) -> Result<()> {
    prove_schema("pinflow", lake, kafka, postgres)
}

/// The same of any schema.
pub fn prove_schema(schema: &str, lake: Option<&LakeFolder>, kafka: &Kafka, postgres: &Postgres) -> Result<()> {
    let plain = Pinflow::new("verify").postgres(postgres).args(["--schema", schema]);
    plain.succeed(VERDICT).context("verify")?;
    let replay = plain.args(["--replay"]).kafka(kafka);
    let replay = lake.into_iter().fold(replay, |replay, lake| replay.lake(lake));
    replay.succeed(VERDICT).context("verify --replay")?;
    Ok(())
}
