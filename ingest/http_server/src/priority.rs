//! Threads that answer requests let those that compute go first.
//!
//! A thousand clients of a stream are a burst of work at each event. On a machine with few processors it would fall into
//! the time of a commit, which all of these clients wait for. So these threads have a lower priority, and pause while there
//! is urgent work.

use rustix::process::{getpriority_process, setpriority_process};
use rustix::thread::gettid;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

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

/// How long urgent work is waited for: what takes longer does not need the processor all the time.
const LONGEST: Duration = Duration::from_millis(5);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_micros(200);

/// When urgent work began, in microseconds since [`START`], from 1; 0: there is none.
static URGENT: AtomicU64 = AtomicU64::new(0);
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Work of this process begins that others wait for. One at a time: the next one begins where it did not end.
pub fn begin_urgent_work() {
    URGENT.store(now(), Ordering::Relaxed);
}

/// It has ended.
pub fn end_urgent_work() {
    URGENT.store(0, Ordering::Relaxed);
}

/// Lets others go first, between the rows of an event and between its clients: threads that wait for this processor, since
/// a scheduler may let a thread go on to the end of its time slice, whatever its priority; and urgent work, which other
/// processes do a part of and which suffers from whatever else uses the processors and their caches.
pub fn give_way() {
    std::thread::yield_now();
    while is_urgent() {
        std::thread::sleep(LOOK);
    }
}

fn is_urgent() -> bool {
    let began = URGENT.load(Ordering::Relaxed);
    began != 0 && u128::from(now().saturating_sub(began)) < LONGEST.as_micros()
}

fn now() -> u64 {
    START.elapsed().as_micros() as u64 + 1
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

    #[test]
    fn urgent_work_is_waited_for_until_it_ends_or_takes_too_long() {
        assert!(!is_urgent());
        begin_urgent_work();
        assert!(is_urgent());
        end_urgent_work();
        assert!(!is_urgent());
        begin_urgent_work();
        let began = Instant::now();
        give_way();
        assert!(began.elapsed() >= LONGEST - LOOK && !is_urgent());
        end_urgent_work();
    }
}
