//! Records that are produced while something breaks.

use crate::workload::Workload;
use crate::{Kafka, Producer};
use anyhow::{Context, Result, anyhow};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// After so many rounds a tombstone follows, for a record from the middle of what has been produced.
const DELETE_EVERY: usize = 25;

/// A thread that produces a workload, a few records at a time and now and then a tombstone, until it is told to stop.
pub struct BackgroundLoad {
    stop: Arc<AtomicBool>,
    produced: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<Workload>>>,
}

impl BackgroundLoad {
    /// Produces `count` records every `pause`, each time until the broker has them.
    pub fn start(workload: Workload, kafka: &Kafka, count: usize, pause: Duration) -> Result<BackgroundLoad> {
        let (stop, produced) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let producer = Producer::new(&kafka.bootstrap())?;
        let (stopped, counter) = (Arc::clone(&stop), Arc::clone(&produced));
        let produce = move || {
            let mut workload = workload;
            let mut round = 0usize;
            while !stopped.load(Ordering::Relaxed) {
                workload.produce(&producer, count)?;
                round += 1;
                if round.is_multiple_of(DELETE_EVERY) {
                    let kind = (round / DELETE_EVERY % 3) as u8;
                    let entries = workload.log.iter().filter(|((of, _), _)| *of == kind);
                    let old = entries.filter_map(|(_, entries)| entries.get(entries.len() / 2));
                    if let Some(ind) = old.map(|(ind, _)| *ind).next() {
                        workload.delete(&producer, kind, ind)?;
                        counter.fetch_add(1, Ordering::Relaxed);
                    }
                }
                counter.fetch_add(count as u64, Ordering::Relaxed);
                std::thread::sleep(pause);
            }
            Ok(workload)
        };
        let thread = std::thread::Builder::new()
            .name("background-load".into())
            .spawn(produce)?;
        Ok(BackgroundLoad {
            stop,
            produced,
            thread: Some(thread),
        })
    }

    /// Records that the broker has acknowledged.
    pub fn produced(&self) -> u64 {
        self.produced.load(Ordering::Relaxed)
    }

    /// Stops, and gives back the workload, which knows everything that was produced.
    pub fn finish(mut self) -> Result<Workload> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("a background load is finished once")?;
        thread.join().map_err(|_| anyhow!("the background load panicked"))?
    }
}

impl Drop for BackgroundLoad {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
