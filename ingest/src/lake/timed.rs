//! How long a source of bytes takes: the time inside its calls, not the time between them.

use std::io::{self, Read};
use std::time::{Duration, Instant};

/// A source that adds up how long its reads take.
pub(super) struct Timed<R> {
    source: R,
    took: Duration,
}

impl<R: Read> Timed<R> {
    /// Of a source that took `took` to open.
    pub(super) fn new(source: R, took: Duration) -> Timed<R> {
        Timed { source, took }
    }

    /// How long opening and all reads so far took.
    pub(super) fn took(&self) -> Duration {
        self.took
    }
}

impl<R: Read> Read for Timed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let began = Instant::now();
        let read = self.source.read(buffer);
        self.took += began.elapsed();
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Slow(Duration);

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            std::thread::sleep(self.0);
            Ok(buffer.len())
        }
    }

    #[test]
    fn only_reads_are_counted() {
        let mut timed = Timed::new(Slow(Duration::from_millis(5)), Duration::from_secs(1));
        let began = Instant::now();
        timed.read_exact(&mut [0; 4]).unwrap();
        let read = began.elapsed();
        std::thread::sleep(Duration::from_millis(50));
        timed.read_exact(&mut [0; 4]).unwrap();
        let took = timed.took() - Duration::from_secs(1);
        assert!(took >= Duration::from_millis(10), "{took:?}");
        assert!(
            took < began.elapsed() - Duration::from_millis(50) + Duration::from_millis(1),
            "{took:?} {read:?}"
        );
    }
}
