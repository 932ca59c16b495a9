//! The threads that are started for the dataflow of a run, by name.
//!
//! When one of them panics, timely leaves the others waiting without end: whoever runs the engine has to end the process
//! from its panic hook.

use crate::peers::beat::LISTENER;

/// A thread of the dataflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataflowThread {
    /// It exchanges data with the process of this number, and panics when that is gone.
    Peer(usize),
    /// It listens to the beat of the process of this number, and panics when that is silent or gone; with what happened as
    /// the message.
    Beat(usize),
    /// It computes.
    Worker,
}

impl DataflowThread {
    /// The thread of this name, if it is one of the dataflow.
    pub fn of_name(name: &str) -> Option<DataflowThread> {
        if let Some(peer) = name.strip_prefix(LISTENER) {
            return peer.parse().ok().map(DataflowThread::Beat);
        }
        let name = name.strip_prefix("timely:")?;
        let peer = name.strip_prefix("recv-").or_else(|| name.strip_prefix("send-"));
        let peer = peer.and_then(|peer| peer.parse().ok());
        Some(peer.map_or(DataflowThread::Worker, DataflowThread::Peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[test]
    fn threads_are_known_by_the_names_that_timely_gives_them() {
        let of = DataflowThread::of_name;
        assert_eq!(of("timely:recv-1"), Some(DataflowThread::Peer(1)));
        assert_eq!(of("timely:send-12"), Some(DataflowThread::Peer(12)));
        assert_eq!(of("pinflow:peer-3"), Some(DataflowThread::Beat(3)));
        assert_eq!((of("kafka-reader"), of("pinflow:io")), (None, None));
        let names = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&names);
        let workers = timely::execute(timely::Config::process(2), move |_| {
            let name = std::thread::current().name().map(str::to_owned);
            seen.lock().unwrap().push(name.unwrap());
        });
        drop(workers.unwrap());
        let names = names.lock().unwrap();
        assert_eq!(names.len(), 2);
        assert!(
            names.iter().all(|name| of(name) == Some(DataflowThread::Worker)),
            "{names:?}"
        );
    }
}
