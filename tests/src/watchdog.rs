//! Ends a test program one of whose tests takes too long, by the test's name, and writes down how long each test took.
//!
//! A test is known by its thread, which libtest names after it; it is watched from the first part of the harness that it
//! uses until its thread ends.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

/// How long a test may take.
const LIMIT: Duration = Duration::from_secs(600);
/// The same of the long versions: the page is looked at for an hour, results are drawn for another.
const LONG_LIMIT: Duration = Duration::from_secs(7_200);
/// Where durations are written to, when it is set; a line is `PROGRAM,TEST,SECONDS`.
const DURATIONS: &str = "PINFLOW_TEST_DURATIONS";
/// As `timeout` ends.
const EXIT: i32 = 124;

static RUNNING: Mutex<BTreeMap<String, Instant>> = Mutex::new(BTreeMap::new());

/// Watches the test whose thread calls this, from now on.
pub fn watch() {
    thread_local! { static WATCHED: Option<Watched> = Watched::begin(); }
    // a thread that ends builds nothing any more
    let _ = WATCHED.try_with(|_| ());
}

struct Watched {
    test: String,
    begun: Instant,
}

impl Watched {
    /// None for a thread that is no test's: tests have a name, and are not the main thread.
    fn begin() -> Option<Watched> {
        static WATCHDOG: Once = Once::new();
        let test = std::thread::current().name().filter(|name| *name != "main")?.to_owned();
        WATCHDOG.call_once(|| {
            std::thread::spawn(guard);
        });
        let begun = Instant::now();
        running().insert(test.clone(), begun);
        Some(Watched { test, begun })
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        running().remove(&self.test);
        if let Some(path) = std::env::var_os(DURATIONS) {
            // a test is no less right when its duration cannot be written
            let _ = write_down(path.into(), &self.test, self.begun.elapsed());
        }
    }
}

fn running() -> MutexGuard<'static, BTreeMap<String, Instant>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn guard() {
    let limit = if crate::versions::long() { LONG_LIMIT } else { LIMIT };
    loop {
        std::thread::sleep(Duration::from_secs(1));
        if let Some(test) = late(&running(), Instant::now(), limit) {
            // as libtest would say it: what counts failures finds it
            let mut err = std::io::stderr();
            let _ = writeln!(err, "\ntest {test} ... FAILED");
            let _ = writeln!(
                err,
                "{test} takes more than {} s: its program ends here",
                limit.as_secs()
            );
            std::process::exit(EXIT);
        }
    }
}

/// A test that takes too long.
fn late(running: &BTreeMap<String, Instant>, now: Instant, limit: Duration) -> Option<String> {
    let mut late = running
        .iter()
        .filter(|(_, begun)| now.saturating_duration_since(**begun) > limit);
    late.next().map(|(test, _)| test.clone())
}

fn write_down(path: PathBuf, test: &str, took: Duration) -> std::io::Result<()> {
    let program = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    let program = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // cargo appends a hash to the name
    let program = program.rsplit_once('-').map_or(&*program, |(name, _)| name);
    let line = format!("{program},{test},{:.1}\n", took.as_secs_f64());
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(line.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_watched_until_its_thread_ends() {
        let test = std::thread::Builder::new().name("watched".into());
        let (watching, watched) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let thread = test.spawn(move || {
            watch();
            watch();
            watching.send(()).unwrap();
            ended.recv().unwrap();
        });
        watched.recv().unwrap();
        let begun = running().get("watched").copied().expect("it is watched");
        // others run meanwhile
        let alone = BTreeMap::from([("watched".to_owned(), begun)]);
        let limit = Duration::from_secs(5);
        let is_late = |seconds| late(&alone, begun + Duration::from_secs(seconds), limit).is_some();
        assert!(!is_late(5) && is_late(6));
        end.send(()).unwrap();
        thread.unwrap().join().unwrap();
        assert!(!running().contains_key("watched"));
        std::thread::spawn(watch).join().unwrap();
        assert!(running().keys().all(|test| test.contains("::")), "{:?}", running());
    }
}
