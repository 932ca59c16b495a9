//! A panic ends the process where nothing else would notice that a thread is gone.
//!
//! Left out are threads whose panics end where they happen: those that read the lake (the object fails), the HTTP side
//! (the connection ends), displays; and the main thread, which unwinds so that servers it has started are stopped. In a
//! run it does not: it would wait for workers that wait for it. There the threads of the dataflow end the process, too;
//! a panic of one that exchanges data with another process, or listens to its beat, means that the other one is gone.

use engine::{DataflowThread, Handle};
use std::sync::OnceLock;

/// Whether a command would wait without end for a thread of this name.
fn awaited(thread: &str) -> bool {
    let of_gateway = ["gateway:watch", "gateway:files"].contains(&thread);
    of_gateway || thread.starts_with("kafka-") || thread == sinks::stager::THREAD || thread == engine::IO_THREAD
}

/// The run of this process, and where its processes are.
static RUN: OnceLock<(Handle, Vec<String>)> = OnceLock::new();

/// From now on the panic of a thread of this run, or of the main thread, which waits for them, ends the process.
pub fn watch_run(run: Handle, addresses: Vec<String>) {
    // a process has one run
    let _ = RUN.set((run, addresses));
}

/// Installs the hook: after the usual message a thread that is waited for ends the process with exit code 1.
pub fn install() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or_default();
        if let Some((run, addresses)) = RUN.get() {
            match DataflowThread::of_name(name) {
                // the connection closed after everybody had finished
                Some(DataflowThread::Peer(_) | DataflowThread::Beat(_)) if run.is_over() => return,
                Some(DataflowThread::Peer(peer)) => end_with_peer(peer, addresses, "is gone"),
                Some(DataflowThread::Beat(peer)) => {
                    end_with_peer(peer, addresses, info.payload_as_str().unwrap_or("is gone"));
                }
                Some(DataflowThread::Worker) => {
                    default(info);
                    std::process::exit(crate::exit::FAILED.into());
                }
                None if name == "main" => {
                    default(info);
                    std::process::exit(crate::exit::FAILED.into());
                }
                None => {}
            }
        }
        default(info);
        if awaited(name) {
            eprintln!("error: thread {name} panicked: the process ends");
            std::process::exit(crate::exit::FAILED.into());
        }
    }));
}

/// Ends this process because of another one of its run.
fn end_with_peer(peer: usize, addresses: &[String], what: &str) -> ! {
    let address = addresses.get(peer).map_or("unknown", String::as_str);
    eprintln!("error: process {peer} ({address}) {what}: all processes end together");
    std::process::exit(crate::exit::FAILED.into());
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    const THREAD: &str = "PINFLOW_TEST_PANIC";
    const OF_RUN: &str = "PINFLOW_TEST_PANIC_RUN";

    /// Not a test by itself: the process that panics.
    #[test]
    #[ignore = "run by the_threads_that_a_command_waits_for_end_the_process"]
    fn child() {
        let Ok(name) = std::env::var(THREAD) else { return };
        super::install();
        if std::env::var_os(OF_RUN).is_some() {
            super::watch_run(engine::Handle::default(), vec!["a:1".into(), "b:2".into()]);
        }
        if name == sinks::stager::THREAD {
            // the stager itself: no server is there, and it says so by the callback
            let config = sinks::PostgresConfig::new("postgres://x@127.0.0.1:1/x?sslmode=disable", "pinflow");
            let definition = Arc::new(sinks::Definition {
                results: Vec::new(),
                cleaned: Vec::new(),
                hash: 0,
                keep_cleaned: false,
                drop: Vec::new(),
            });
            let wake = Arc::new(|| panic!("on purpose"));
            let options = sinks::StagerOptions::default();
            let _stager = sinks::Stager::start(config, definition, 1, options, wake).unwrap();
            std::thread::sleep(Duration::from_secs(60));
        }
        let thread = std::thread::Builder::new().name(name);
        let _ = thread.spawn(|| panic!("on purpose")).unwrap().join();
        std::process::exit(42);
    }

    fn ends_with(thread: &str) -> (Option<i32>, String) {
        ends(thread, Command::new(std::env::current_exe().unwrap()))
    }

    /// The same in a process with a run of two processes.
    fn ends_run_with(thread: &str) -> (Option<i32>, String) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env(OF_RUN, "1");
        ends(thread, command)
    }

    fn ends(thread: &str, mut command: Command) -> (Option<i32>, String) {
        let began = Instant::now();
        let output = command
            .args(["--ignored", "--exact", "panics::tests::child", "--nocapture"])
            .env(THREAD, thread)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(began.elapsed() < Duration::from_secs(30), "{thread}");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    }

    #[test]
    fn the_threads_that_a_command_waits_for_end_the_process() {
        for thread in [
            "kafka-reader",
            "kafka-cluster",
            sinks::stager::THREAD,
            engine::IO_THREAD,
        ] {
            let (code, stderr) = ends_with(thread);
            assert_eq!(code, Some(1), "{thread}: {stderr}");
            assert!(stderr.contains("on purpose"), "{stderr}");
            assert!(stderr.contains(&format!("error: thread {thread} panicked")), "{stderr}");
        }
        for thread in ["lake-0", "pinflow:http"] {
            assert_eq!(ends_with(thread).0, Some(42), "{thread}");
        }
    }

    #[test]
    fn the_threads_of_a_run_end_the_process_and_a_peer_that_is_gone_is_named() {
        for thread in ["timely:recv-1", "timely:send-1"] {
            let (code, stderr) = ends_run_with(thread);
            assert_eq!(code, Some(1), "{thread}: {stderr}");
            let gone = "error: process 1 (b:2) is gone: all processes end together";
            assert!(stderr.contains(gone) && !stderr.contains("on purpose"), "{stderr}");
        }
        let (code, stderr) = ends_run_with("pinflow:peer-1");
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.contains("error: process 1 (b:2) on purpose: all"), "{stderr}");
        for thread in ["timely:work-0", "main"] {
            let (code, stderr) = ends_run_with(thread);
            assert_eq!(code, Some(1), "{thread}: {stderr}");
            assert!(stderr.contains("on purpose"), "{stderr}");
            assert_eq!(ends_with(thread).0, Some(42), "{thread} without a run");
        }
        assert_eq!(ends_run_with("lake-0").0, Some(42));
    }
}
