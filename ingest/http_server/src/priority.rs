//! Threads that answer requests let those that compute go first.
//!
//! A thousand clients of a stream are a burst of work at each event. On a machine with few processors it would fall into
//! the time of a commit, which all of these clients wait for.

use rustix::process::{getpriority_process, setpriority_process};
use rustix::thread::gettid;

/// The niceness that is added: a tenth of the processor time of a thread without it, where there is not enough for both.
const NICER: i32 = 10;

/// Makes the present thread nicer, where the system allows it. Other threads of the process stay as they are.
pub fn lower_priority() {
    // on Linux a priority belongs to a thread, which is named by its id where a process could be
    let thread = Some(gettid());
    let lowered = getpriority_process(thread).and_then(|nice| setpriority_process(thread, nice + NICER));
    if let Err(error) = lowered {
        tracing::debug!(%error, "a thread keeps its priority");
    }
}

/// Lets threads run that wait for this processor, between the rows of an event and between its clients: a scheduler may let
/// a thread go on to the end of its time slice, whatever its priority.
pub fn give_way() {
    std::thread::yield_now();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_present_thread_alone_becomes_nicer() {
        let nice = || getpriority_process(Some(gettid())).unwrap();
        let before = nice();
        let after = std::thread::spawn(move || {
            lower_priority();
            nice()
        });
        assert_eq!(after.join().unwrap(), (before + NICER).min(19));
        assert_eq!(nice(), before);
    }
}
