//! How far history has been read: a bar on a terminal, one JSON line a second elsewhere, a log line now and then
//! under `run`. All on standard error.

use indicatif::ProgressBar;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The bar that log lines have to make room for.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Makes log lines leave room for this bar from now on, or for none.
pub fn set_active_bar(bar: Option<ProgressBar>) {
    *BAR.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = bar;
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgressStyle {
    /// A bar with the remaining time.
    Bar,
    /// One JSON object a line, once a second.
    Lines,
    /// A log line every ten seconds.
    Log,
}

impl ProgressStyle {
    /// What suits a command that ends: a bar on a terminal, else lines.
    pub fn for_terminal() -> ProgressStyle {
        if std::io::stderr().is_terminal() {
            ProgressStyle::Bar
        } else {
            ProgressStyle::Lines
        }
    }
}

/// What has been done and what there is to do. Shared with the thread that shows it.
#[derive(Debug, Default)]
struct Counts {
    objects: AtomicU64,
    objects_total: AtomicU64,
    bytes: AtomicU64,
    bytes_total: AtomicU64,
    records: AtomicU64,
    rejected: AtomicU64,
}

/// A running display. Dropped before [`Progress::finish`] it says nothing more: what comes next is why.
#[derive(Debug)]
pub struct Progress {
    counts: Arc<Counts>,
    /// The display waits for its end here: a message when history is read, and a closed channel else.
    end: Option<SyncSender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Progress {
    /// Starts to show progress on standard error.
    pub fn start(style: ProgressStyle) -> Progress {
        Progress::start_with(style, |line| eprintln!("{line}"))
    }

    fn start_with(style: ProgressStyle, print: impl Fn(String) + Send + 'static) -> Progress {
        let counts = Arc::new(Counts::default());
        let shared = Arc::clone(&counts);
        let (sender, end) = sync_channel(1);
        let show = move || match style {
            ProgressStyle::Bar => show_bar(&shared, &end),
            ProgressStyle::Lines => show_lines(&shared, &end, Duration::from_secs(1), |counts, began| {
                print(json(counts, began))
            }),
            ProgressStyle::Log => show_lines(&shared, &end, Duration::from_secs(10), log),
        };
        let thread = std::thread::Builder::new().name("pinflow:progress".into()).spawn(show);
        Progress {
            counts,
            end: Some(sender),
            thread: thread
                .inspect_err(|error| tracing::warn!("no progress is shown: {error}"))
                .ok(),
        }
    }

    /// History has so many objects and bytes; what was counted before is forgotten.
    pub fn total(&self, objects: u64, bytes: u64) {
        let counts = &self.counts;
        for count in [&counts.objects, &counts.bytes, &counts.records, &counts.rejected] {
            count.store(0, Ordering::Relaxed);
        }
        counts.objects_total.store(objects, Ordering::Relaxed);
        counts.bytes_total.store(bytes, Ordering::Relaxed);
    }

    /// History is read: the display ends with a last line.
    pub fn finish(self) {
        if let Some(end) = &self.end {
            // the thread prints the line before this returns; it is gone only if it has panicked
            let _ = end.try_send(());
        }
    }

    /// One more object has been read.
    pub fn object(&self, records: u64, bytes: u64, rejected: u64) {
        self.counts.objects.fetch_add(1, Ordering::Relaxed);
        self.counts.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.counts.records.fetch_add(records, Ordering::Relaxed);
        self.counts.rejected.fetch_add(rejected, Ordering::Relaxed);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // a panic of that thread has been reported by the panic hook
            let _ = thread.join();
        }
    }
}

/// How a display ends.
enum End {
    /// With a last line.
    Read,
    /// With nothing more.
    GivenUp,
}

/// Waits so long, or until the display is to end.
fn ended(end: &Receiver<()>, limit: Duration) -> Option<End> {
    match end.recv_timeout(limit) {
        Err(RecvTimeoutError::Timeout) => None,
        Ok(()) => Some(End::Read),
        Err(RecvTimeoutError::Disconnected) => Some(End::GivenUp),
    }
}

fn show_lines(counts: &Counts, end: &Receiver<()>, every: Duration, mut show: impl FnMut(&Counts, Instant)) {
    let began = Instant::now();
    let mut due = began + every;
    loop {
        match ended(end, due.saturating_duration_since(Instant::now())) {
            None => show(counts, began),
            Some(End::Read) => return show(counts, began),
            Some(End::GivenUp) => return,
        }
        due += every;
    }
}

fn show_bar(counts: &Counts, end: &Receiver<()>) {
    let template = "{bar:40} {percent:>3}% {bytes} of {total_bytes}, {msg}, {bytes_per_sec}, {eta} left";
    let bar = ProgressBar::new(0)
        .with_style(indicatif::ProgressStyle::with_template(template).expect("the template is ours"));
    set_active_bar(Some(bar.clone()));
    let update = || {
        bar.set_length(counts.bytes_total.load(Ordering::Relaxed));
        bar.set_position(counts.bytes.load(Ordering::Relaxed));
        bar.set_message(format!("{} records", counts.records.load(Ordering::Relaxed)));
    };
    let end = loop {
        update();
        if let Some(end) = ended(end, Duration::from_millis(100)) {
            break end;
        }
    };
    update();
    match end {
        End::Read => bar.finish(),
        End::GivenUp => bar.abandon(),
    }
    set_active_bar(None);
}

/// One line of JSON. The remaining time is left out until there is something to estimate it from.
fn json(counts: &Counts, began: Instant) -> String {
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let seconds = began.elapsed().as_secs_f64();
    let (bytes, bytes_total) = (of(&counts.bytes), of(&counts.bytes_total));
    let mut line = serde_json::json!({
        "objects": of(&counts.objects),
        "objects_total": of(&counts.objects_total),
        "bytes": bytes,
        "bytes_total": bytes_total,
        "records": of(&counts.records),
        "rejected": of(&counts.rejected),
        "seconds": (seconds * 10.0).round() / 10.0,
        "records_per_second": (of(&counts.records) as f64 / seconds.max(0.001)).round(),
    });
    if bytes > 0 {
        let left = bytes_total.saturating_sub(bytes) as f64 / bytes as f64 * seconds;
        line["eta_seconds"] = left.round().into();
    }
    line.to_string()
}

fn log(counts: &Counts, began: Instant) {
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    if of(&counts.objects_total) == 0 {
        // there is no history, or it has not been listed yet
        return;
    }
    tracing::info!(
        objects = of(&counts.objects),
        objects_total = of(&counts.objects_total),
        records = of(&counts.records),
        seconds = began.elapsed().as_secs(),
        "history read so far"
    );
}

/// Standard error for log lines: a bar that is being drawn makes room for each.
#[derive(Debug, Default)]
pub struct BarAwareStderr;

impl Write for BarAwareStderr {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let bar = BAR.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
        match bar {
            Some(bar) => bar.suspend(|| std::io::stderr().write_all(line))?,
            None => std::io::stderr().write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_json_and_the_last_one_has_everything() {
        let (sender, lines) = crossbeam_channel::bounded(100);
        let progress = Progress::start_with(ProgressStyle::Lines, move |line| sender.send(line).unwrap());
        progress.total(9, 9);
        progress.object(1, 1, 1);
        // history is read again from the start
        progress.total(2, 300);
        progress.object(10, 100, 1);
        std::thread::sleep(Duration::from_millis(1100));
        progress.object(20, 200, 0);
        progress.finish();
        let lines: Vec<serde_json::Value> = lines.iter().map(|line| serde_json::from_str(&line).unwrap()).collect();
        let (first, last) = (&lines[0], lines.last().unwrap());
        assert!(lines.len() >= 2, "{lines:?}");
        assert_eq!(
            (first["records"].as_u64(), first["bytes"].as_u64()),
            (Some(10), Some(100))
        );
        assert!((2.0..=3.0).contains(&first["eta_seconds"].as_f64().unwrap()), "{first}");
        assert_eq!(
            (last["records"].as_u64(), last["objects"].as_u64()),
            (Some(30), Some(2))
        );
        assert_eq!(
            (last["bytes_total"].as_u64(), last["eta_seconds"].as_f64()),
            (Some(300), Some(0.0))
        );
        assert_eq!(last["rejected"].as_u64(), Some(1));
    }

    #[test]
    fn a_display_that_is_given_up_says_nothing_more() {
        let (sender, lines) = crossbeam_channel::bounded(100);
        let progress = Progress::start_with(ProgressStyle::Lines, move |line| sender.send(line).unwrap());
        progress.total(2, 300);
        drop(progress);
        assert_eq!(lines.iter().count(), 0);
    }
}
