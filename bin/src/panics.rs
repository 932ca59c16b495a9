//! A panic ends the process where nothing else would notice that a thread is gone.
//!
//! Left out are threads whose panics end where they happen: those that read the lake (the object fails), the HTTP side
//! (the connection ends), displays; and the main thread, which unwinds so that servers it has started are stopped.

/// Whether a command would wait without end for a thread of this name.
fn awaited(thread: &str) -> bool {
    let of_gateway = ["gateway:watch", "gateway:files"].contains(&thread);
    of_gateway || thread.starts_with("kafka-") || thread == sinks::stager::THREAD || thread == engine::IO_THREADS
}

/// Installs the hook: after the usual message such a thread ends the process with exit code 1.
pub fn install() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        default(info);
        let thread = std::thread::current();
        let name = thread.name().unwrap_or_default();
        if awaited(name) {
            eprintln!("error: thread {name} panicked: the process ends");
            std::process::exit(crate::exit::FAILED.into());
        }
    }));
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    const THREAD: &str = "PINFLOW_TEST_PANIC";

    /// Not a test by itself: the process that panics.
    #[test]
    #[ignore = "run by the_threads_that_a_command_waits_for_end_the_process"]
    fn child() {
        let Ok(name) = std::env::var(THREAD) else { return };
        super::install();
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
        let began = Instant::now();
        let output = Command::new(std::env::current_exe().unwrap())
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
            engine::IO_THREADS,
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
}
