//! Cuts concatenated JSON objects apart as their bytes arrive.
//!
//! Only braces and strings are followed; whether a piece is JSON is its reader's question. Memory is bounded by the
//! size of one object, and between two objects there is none.

use bytes::{Buf, Bytes, BytesMut};

/// What is left behind a longer object is copied, so that a few bytes do not keep its memory.
const LONG: usize = 16 << 10;

/// Cuts a stream of bytes into top-level objects.
pub(super) struct Splitter {
    held: BytesMut,
    /// How far `held` was looked at.
    seen: usize,
    nesting: Nesting,
    limit: usize,
}

/// How deep in a JSON text a byte stands.
#[derive(Default)]
pub(super) struct Nesting {
    depth: usize,
    inside: bool,
    escaped: bool,
}

impl Nesting {
    /// Advances to the next byte.
    pub(super) fn take(&mut self, byte: u8) {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.inside => self.escaped = true,
            b'"' => self.inside = !self.inside,
            b'{' | b'[' if !self.inside => self.depth += 1,
            b'}' | b']' if !self.inside => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }

    /// Whether no object or array is open.
    pub(super) fn is_outside(&self) -> bool {
        self.depth == 0
    }
}

/// Why a stream cannot be cut.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SplitError {
    /// Something other than an object stands where one should begin.
    #[error("a record is a JSON object")]
    NoObject,
    /// An object has more bytes than the limit.
    #[error("a record has too many bytes")]
    TooLarge,
    /// The stream ended inside an object.
    #[error("the last record breaks off")]
    Unfinished,
}

impl Splitter {
    pub(super) fn new(limit: usize) -> Splitter {
        Splitter {
            held: BytesMut::new(),
            seen: 0,
            nesting: Nesting::default(),
            limit,
        }
    }

    /// Adds bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// Bytes that wait for the rest of their object, or to be cut.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// The next whole object, or `None` until more bytes come.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, SplitError> {
        if self.nesting.is_outside() {
            let start = self.held.iter().position(|byte| !byte.is_ascii_whitespace());
            let start = start.unwrap_or(self.held.len());
            self.held.advance(start);
            self.seen = 0;
            match self.held.first() {
                None => return Ok(None),
                Some(b'{') => {}
                Some(_) => return Err(SplitError::NoObject),
            }
        }
        while let Some(byte) = self.held.get(self.seen) {
            self.seen += 1;
            self.nesting.take(*byte);
            if self.seen > self.limit {
                return Err(SplitError::TooLarge);
            }
            if self.nesting.is_outside() {
                let object = self.held.split_to(self.seen).freeze();
                self.seen = 0;
                if self.held.is_empty() || object.len() > LONG {
                    self.held = BytesMut::from(&self.held[..]);
                }
                return Ok(Some(object));
            }
        }
        Ok(None)
    }

    /// The stream has ended: nothing but white space may be left.
    pub(super) fn finish(&self) -> Result<(), SplitError> {
        if self.held.iter().all(u8::is_ascii_whitespace) {
            Ok(())
        } else {
            Err(SplitError::Unfinished)
        }
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str, step: usize) -> Result<Vec<String>, SplitError> {
        let mut splitter = Splitter::new(64);
        let mut objects = Vec::new();
        for piece in text.as_bytes().chunks(step) {
            splitter.feed(piece);
            while let Some(object) = splitter.next()? {
                objects.push(String::from_utf8(object.to_vec()).unwrap());
            }
        }
        splitter.finish().map(|()| objects)
    }

    #[test]
    fn objects_are_cut_wherever_the_pieces_end() {
        let text = "{\"a\":\"}{\\\"\"}\n{\"b\":[{},{}]}{} \r\n";
        for step in 1..text.len() {
            let objects = split(text, step).unwrap();
            assert_eq!(objects, ["{\"a\":\"}{\\\"\"}", "{\"b\":[{},{}]}", "{}"], "{step}");
        }
    }

    #[test]
    fn a_long_object_leaves_no_memory_behind() {
        let mut splitter = Splitter::new(1 << 20);
        splitter.feed(format!("{{\"a\":\"{}\"}}{{\"b", "x".repeat(900_000)).as_bytes());
        let object = splitter.next().unwrap().unwrap();
        assert_eq!((object.len(), splitter.held()), (900_008, 3));
        assert!(splitter.held.capacity() < 100, "{}", splitter.held.capacity());
        splitter.feed(b"\":1}");
        assert_eq!(splitter.next().unwrap().as_deref(), Some(&b"{\"b\":1}"[..]));
        assert_eq!(splitter.held.capacity(), 0);
    }

    #[test]
    fn what_is_no_object_is_told() {
        assert_eq!(split("{} 7", 1), Err(SplitError::NoObject));
        assert_eq!(split("{\"a\":", 2), Err(SplitError::Unfinished));
        assert_eq!(
            split(&format!("{{\"a\":\"{}\"}}", "x".repeat(80)), 10),
            Err(SplitError::TooLarge)
        );
        assert_eq!(split("", 1), Ok(vec![]));
    }
}
