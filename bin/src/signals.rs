//! Signals that ask this process to end: one place that waits for them.
//!
//! Each command says what a signal means to it; by convention the first one asks for an orderly end and a second one
//! ends the process at once, with exit code [`INTERRUPTED`].

use std::future::poll_fn;
use std::io;
use std::task::Poll;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// The exit code of a process that a second signal ended.
pub const INTERRUPTED: i32 = 130;

/// SIGTERM and Ctrl-C.
pub const STOP: [SignalKind; 2] = [SignalKind::terminate(), SignalKind::interrupt()];

/// Watches for signals of these kinds from now on, instead of ending by them. `on_signal` is called for each, with its
/// kind and how many have come, on a thread of its own; the returned channel holds the same number.
pub fn watch_signals(
    kinds: &[SignalKind],
    mut on_signal: impl FnMut(SignalKind, usize) + Send + 'static,
) -> io::Result<watch::Receiver<usize>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    let signals: io::Result<Vec<_>> = kinds.iter().map(|kind| Ok((*kind, signal(*kind)?))).collect();
    let mut signals = signals?;
    drop(entered);
    let (sender, count) = watch::channel(0);
    std::thread::Builder::new()
        .name("pinflow:signals".into())
        .spawn(move || {
            runtime.block_on(async {
                for number in 1.. {
                    let kind = poll_fn(|cx| {
                        let mut come = signals
                            .iter_mut()
                            .filter_map(|(kind, signal)| signal.poll_recv(cx).is_ready().then_some(*kind));
                        come.next().map_or(Poll::Pending, Poll::Ready)
                    });
                    let kind = kind.await;
                    sender.send_replace(number);
                    on_signal(kind, number);
                }
            });
        })?;
    Ok(count)
}

/// True once SIGTERM or Ctrl-C has come; a second one ends the process at once. `what_follows` is logged with the first.
pub fn stop(what_follows: &'static str) -> io::Result<watch::Receiver<bool>> {
    let (sender, stop) = watch::channel(false);
    let on_signal = move |_, count| {
        if count > 1 {
            std::process::exit(INTERRUPTED);
        }
        tracing::info!("stopping: {what_follows}");
        sender.send_replace(true);
    };
    watch_signals(&STOP, on_signal)?;
    Ok(stop)
}
