//! The access log: one JSON object a request.
//!
//! Requests append to a buffer, and a thread writes it out a few times a second, so that a reader that does not read
//! delays no request. What does not fit meanwhile is counted and left out.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

/// Bytes of lines that wait to be written.
const HELD: usize = 4 << 20;
/// How long the end waits for the last lines to be read.
const LAST: Duration = Duration::from_secs(1);
/// How often lines are written.
const PAUSE: Duration = Duration::from_millis(50);

/// Where the access log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessLog {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// Standard error, among the other log lines.
    Stderr,
}

/// What a line says about a request.
pub(super) struct Line<'a> {
    pub(super) id: &'a str,
    pub(super) peer: std::net::IpAddr,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    /// What the token of the request is called.
    pub(super) token: Option<&'a str>,
    pub(super) interface: &'static str,
    pub(super) status: u16,
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) took: Duration,
}

struct Shared {
    lines: Mutex<String>,
    dropped: AtomicU64,
    stop: AtomicBool,
}

/// A running access log.
pub(super) struct AccessLogWriter {
    shared: Arc<Shared>,
    is_on: bool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl AccessLogWriter {
    pub(super) fn start(to: AccessLog) -> std::io::Result<AccessLogWriter> {
        let shared = Arc::new(Shared {
            lines: Mutex::default(),
            dropped: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let writer = Arc::clone(&shared);
        let thread = match to {
            AccessLog::Off => None,
            to => {
                let thread = std::thread::Builder::new().name("gateway:access".into());
                Some(thread.spawn(move || write_out(&writer, to))?)
            }
        };
        Ok(AccessLogWriter {
            shared,
            is_on: thread.is_some(),
            thread: Mutex::new(thread),
        })
    }

    /// Adds a line.
    pub(super) fn line(&self, line: &Line<'_>) {
        if !self.is_on {
            return;
        }
        let mut lines = self.shared.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() > HELD {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        append(&mut lines, line);
    }

    /// Writes out what there is, and ends, since not everything that holds the log ends before the process does; a reader
    /// that does not read is not waited for.
    pub(super) async fn finish(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            thread.thread().unpark();
            // a panic of that thread has been reported by the panic hook
            let joined = tokio::task::spawn_blocking(move || thread.join());
            let _ = tokio::time::timeout(LAST, joined).await;
        }
    }

    /// Lines left out so far.
    pub(super) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for AccessLogWriter {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

fn append(lines: &mut String, line: &Line<'_>) {
    let now = jiff::Timestamp::try_from(SystemTime::now()).unwrap_or_default();
    let text = |text: &str| serde_json::to_string(text).unwrap_or_default();
    let Line {
        peer,
        interface,
        status,
        records,
        bytes,
        ..
    } = line;
    let (id, method, path) = (text(line.id), text(line.method), text(line.path));
    let token = line.token.map_or_else(|| "null".to_owned(), text);
    let milliseconds = line.took.as_secs_f64() * 1e3;
    writeln!(
        lines,
        "{{\"time\":\"{now:.3}\",\"id\":{id},\"peer\":\"{peer}\",\"token\":{token},\"method\":{method},\"path\":{path},\
         \"interface\":\"{interface}\",\"status\":{status},\"records\":{records},\"bytes\":{bytes},\"ms\":{milliseconds:.3}}}"
    )
    .expect("writing to a String");
}

fn write_out(shared: &Shared, to: AccessLog) {
    let mut ready = String::new();
    loop {
        // asked before the lines are taken, so that the last ones are written
        let last = shared.stop.load(Ordering::Relaxed);
        std::mem::swap(
            &mut ready,
            &mut shared.lines.lock().unwrap_or_else(PoisonError::into_inner),
        );
        if !ready.is_empty() {
            // the reader has gone, and there is nothing else to write to
            let _ = match to {
                AccessLog::Stderr => std::io::stderr().write_all(ready.as_bytes()),
                _ => std::io::stdout()
                    .write_all(ready.as_bytes())
                    .and_then(|()| std::io::stdout().flush()),
            };
            ready.clear();
        }
        if last {
            return;
        }
        std::thread::park_timeout(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_json_object_whatever_a_client_sends() {
        let mut lines = String::new();
        let path = "/topics/\"x\"\n\u{7}";
        append(
            &mut lines,
            &Line {
                id: "a\"b",
                peer: [127, 0, 0, 1].into(),
                method: "POST",
                path,
                token: Some("mo\"bile"),
                interface: "rest_v2",
                status: 200,
                records: 3,
                bytes: 70,
                took: Duration::from_micros(1500),
            },
        );
        assert_eq!(lines.matches('\n').count(), 1);
        let line: serde_json::Value = serde_json::from_str(&lines).unwrap();
        assert_eq!((&line["path"], &line["token"]), (&path.into(), &"mo\"bile".into()));
        assert_eq!(
            (&line["status"], &line["ms"]),
            (&serde_json::json!(200), &serde_json::json!(1.5))
        );
    }
}
