//! The beat between two processes: a byte a second, in both directions, as long as the run lasts.
//!
//! A process that was stopped, whose machine is gone, or whose network drops what is sent to it, keeps its connections;
//! timely would wait for it without end. Here it is silent for longer than it may be, and the thread that listens to it
//! panics: that is a [`DataflowThread`](crate::DataflowThread), so the process ends. A process that ends in order says
//! so before.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// What threads that listen to a process are called, before its number.
pub(crate) const LISTENER: &str = "pinflow:peer-";

/// Between two beats.
const BEAT: Duration = Duration::from_secs(1);
const ALIVE: u8 = 1;
/// The run is over for the process that says this.
const OVER: u8 = 2;

/// The beat of this process. When it is dropped, the others are told that the run is over here.
#[derive(Debug)]
pub(crate) struct Beat {
    stop: Option<SyncSender<()>>,
    sender: Option<JoinHandle<()>>,
}

impl Beat {
    /// Begins to send to all of `peers`, and to listen to each: none may be silent for `silence`.
    pub(crate) fn start(peers: Vec<(usize, TcpStream)>, silence: Duration) -> std::io::Result<Beat> {
        let mut streams = Vec::new();
        for (process, stream) in peers {
            stream.set_read_timeout(Some(silence))?;
            // a peer that does not read delays no beat to the others for longer
            stream.set_write_timeout(Some(BEAT))?;
            streams.push(stream.try_clone()?);
            let listener = Builder::new().name(format!("{LISTENER}{process}"));
            listener.spawn(move || listen(stream, silence))?;
        }
        let (stop, stopped) = sync_channel(0);
        let sender = Builder::new().name("pinflow:beat".to_owned()).spawn(move || {
            loop {
                // who cannot be told will be missed by its listener
                let mut tell = |what| streams.retain_mut(|stream| stream.write_all(&[what]).is_ok());
                tell(ALIVE);
                if stopped.recv_timeout(BEAT) != Err(RecvTimeoutError::Timeout) {
                    return tell(OVER);
                }
            }
        })?;
        Ok(Beat {
            stop: Some(stop),
            sender: Some(sender),
        })
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(sender) = self.sender.take() {
            let _ = sender.join();
        }
    }
}

/// Listens to a process until the run is over there.
///
/// # Panics
/// The process is silent or gone.
#[expect(clippy::panic, reason = "the end of the process: see the module's head")]
fn listen(mut stream: TcpStream, silence: Duration) {
    let mut heard = [0; 64];
    loop {
        match stream.read(&mut heard) {
            Ok(0) => panic!("is gone"),
            Ok(bytes) if heard[..bytes].contains(&OVER) => return,
            // this process was stopped itself, and what was sent meanwhile is still to be read
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {
                panic!("has been silent for {silence:?}")
            }
            Err(_) => panic!("is gone"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::time::Instant;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (one, listener.accept().unwrap().0)
    }

    /// How listening ends: `None` in order, else what was said of the peer.
    fn ends(silence: Duration, peer: impl FnOnce(TcpStream) + Send + 'static) -> Option<String> {
        let (ours, theirs) = pair();
        ours.set_read_timeout(Some(silence)).unwrap();
        std::thread::spawn(move || peer(theirs));
        let ended = std::thread::spawn(move || listen(ours, silence)).join();
        ended.err().map(|said| {
            let text = said.downcast_ref::<String>().cloned();
            text.or(said.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap()
        })
    }

    #[test]
    fn a_peer_may_end_in_order_only_and_may_not_be_silent() {
        let silence = Duration::from_millis(300);
        assert_eq!(ends(silence, drop), Some("is gone".to_owned()));
        let began = Instant::now();
        let silent = |stream| {
            std::thread::sleep(Duration::from_secs(5));
            drop(stream);
        };
        assert_eq!(ends(silence, silent), Some("has been silent for 300ms".to_owned()));
        assert!(began.elapsed() >= silence);
        let beats = |mut stream: TcpStream| {
            for _ in 0..10 {
                stream.write_all(&[ALIVE]).unwrap();
                std::thread::sleep(Duration::from_millis(100));
            }
            stream.write_all(&[ALIVE, OVER]).unwrap();
        };
        let began = Instant::now();
        assert_eq!(ends(silence, beats), None);
        assert!(began.elapsed() > silence * 3);
    }

    #[test]
    fn a_beat_is_heard_until_it_is_dropped() {
        let ((ours, mut theirs), (second, mut gone)) = (pair(), pair());
        let beat = Beat::start(vec![(1, ours), (2, second)], Duration::from_secs(30)).unwrap();
        // one that ended in order is not missed, and keeps the others' beat from nothing
        gone.write_all(&[OVER]).unwrap();
        drop(gone);
        let mut heard = [0; 3];
        theirs.read_exact(&mut heard).unwrap();
        assert_eq!(heard, [ALIVE; 3]);
        theirs.write_all(&[OVER]).unwrap();
        drop(beat);
        let mut rest = Vec::new();
        theirs.read_to_end(&mut rest).unwrap();
        assert_eq!(rest.last(), Some(&OVER));
    }
}
