//! How much of a request has to be there before it is served.
//!
//! The HTTP server's buffers for a connection take several times what a small request does, so a request waits outside
//! the server until its body is complete, or a record of a stream, or as much as the server may wait for itself.
//! Whatever is not plain, the server decides.

use super::split::Nesting;

/// Bytes of a body that may wait outside the server.
const BODY: usize = 64 << 10;

/// What a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextRead {
    /// The rest of its head.
    Head,
    /// The rest of its body, or of the first object in it.
    Body,
    /// Nothing: all that is needed is there.
    Nothing,
    /// The rest, in the server.
    Server,
}

/// What is known of a request's beginning.
pub(super) struct Arrival {
    /// How far its bytes were looked at.
    seen: usize,
    stage: Stage,
}

enum Stage {
    Head,
    /// The body ends here.
    Sized {
        start: usize,
        end: usize,
    },
    Chunked {
        start: usize,
        chunk: Chunk,
        nesting: Nesting,
    },
    Decided(NextRead),
}

/// Where in a chunk the next byte stands.
enum Chunk {
    Size { bytes: usize, digits: usize },
    Data { left: usize },
    End,
}

impl Arrival {
    pub(super) fn new() -> Arrival {
        Arrival {
            seen: 0,
            stage: Stage::Head,
        }
    }

    /// Looks at all bytes that have arrived; those that were there before are the same.
    pub(super) fn look(&mut self, bytes: &[u8]) -> NextRead {
        if matches!(self.stage, Stage::Head) {
            let Some(end) = head_end(bytes, self.seen) else {
                self.seen = bytes.len();
                return NextRead::Head;
            };
            self.seen = end;
            self.stage = framing(&bytes[..end]);
        }
        let next_read = match &mut self.stage {
            Stage::Head => NextRead::Head,
            Stage::Decided(next_read) => *next_read,
            Stage::Sized { end, .. } if bytes.len() >= *end => NextRead::Nothing,
            Stage::Sized { start, .. } if bytes.len() >= *start + BODY => NextRead::Server,
            Stage::Sized { .. } => NextRead::Body,
            Stage::Chunked { start, chunk, nesting } => {
                let new = bytes[self.seen..].iter();
                let found = new
                    .map(|byte| chunk.take(*byte, nesting))
                    .find(|next| *next != NextRead::Body);
                self.seen = bytes.len();
                let is_long = bytes.len() >= *start + BODY;
                found.unwrap_or(if is_long { NextRead::Server } else { NextRead::Body })
            }
        };
        if matches!(next_read, NextRead::Nothing | NextRead::Server) {
            self.stage = Stage::Decided(next_read);
        }
        next_read
    }
}

impl Chunk {
    /// What is awaited after this byte.
    fn take(&mut self, byte: u8, nesting: &mut Nesting) -> NextRead {
        match self {
            Chunk::Size { bytes, digits } => match (byte, char::from(byte).to_digit(16)) {
                (_, Some(digit)) if *digits < 7 => {
                    (*bytes, *digits) = (*bytes << 4 | digit as usize, *digits + 1);
                }
                (b'\r', _) if *digits > 0 => {}
                (b'\n', _) if *digits > 0 => match *bytes {
                    // the end of the body
                    0 => return NextRead::Nothing,
                    left => *self = Chunk::Data { left },
                },
                _ => return NextRead::Server,
            },
            Chunk::Data { left } => {
                *left -= 1;
                if *left == 0 {
                    *self = Chunk::End;
                }
                let was_outside = nesting.is_outside();
                match (was_outside, byte) {
                    (true, byte) if byte.is_ascii_whitespace() => {}
                    (true, b'{') | (false, _) => nesting.take(byte),
                    // no object
                    (true, _) => return NextRead::Server,
                }
                if !was_outside && nesting.is_outside() {
                    return NextRead::Nothing;
                }
            }
            Chunk::End if byte == b'\n' => *self = Chunk::Size { bytes: 0, digits: 0 },
            Chunk::End if byte == b'\r' => {}
            Chunk::End => return NextRead::Server,
        }
        NextRead::Body
    }
}

/// What a head says of the body behind it.
fn framing(head: &[u8]) -> Stage {
    let (start, mut length) = (head.len(), None);
    let mut chunked = false;
    for line in head.split(|byte| *byte == b'\n').skip(1) {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(0);
        let (name, value) = (
            &line[..colon],
            line[colon..].strip_prefix(b":").unwrap_or_default().trim_ascii(),
        );
        if name.eq_ignore_ascii_case(b"content-length") {
            let digits = std::str::from_utf8(value)
                .ok()
                .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            match digits.and_then(|text| text.parse::<u32>().ok()) {
                Some(bytes) if length.is_none() => length = Some(bytes as usize),
                _ => return Stage::Decided(NextRead::Server),
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") && value.eq_ignore_ascii_case(b"chunked") {
            chunked = true;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") || name.eq_ignore_ascii_case(b"expect") {
            return Stage::Decided(NextRead::Server);
        }
    }
    match (length, chunked) {
        (None, false) => Stage::Decided(NextRead::Nothing),
        (Some(length), false) => Stage::Sized {
            start,
            end: start + length,
        },
        (None, true) => Stage::Chunked {
            start,
            chunk: Chunk::Size { bytes: 0, digits: 0 },
            nesting: Nesting::default(),
        },
        (Some(_), true) => Stage::Decided(NextRead::Server),
    }
}

/// Where the head ends, behind its empty line; the first `seen` bytes are known not to hold a whole one.
fn head_end(bytes: &[u8], seen: usize) -> Option<usize> {
    let from = seen.saturating_sub(2);
    memchr::memchr_iter(b'\n', &bytes[from..]).find_map(|at| match bytes[from + at + 1..] {
        [b'\n', ..] => Some(from + at + 2),
        [b'\r', b'\n', ..] => Some(from + at + 3),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is awaited when the bytes come in two parts, for every cut.
    fn all(text: &str) -> NextRead {
        let bytes = text.as_bytes();
        let mut whole = Arrival::new();
        let next_read = whole.look(bytes);
        for cut in 0..bytes.len() {
            let mut arrival = Arrival::new();
            let first = arrival.look(&bytes[..cut]);
            assert_eq!(arrival.look(bytes), next_read, "{text:?} {cut}");
            if matches!(first, NextRead::Nothing | NextRead::Server) {
                assert_eq!(first, next_read, "{text:?} {cut}");
            }
        }
        next_read
    }

    #[test]
    fn a_head_ends_with_an_empty_line_wherever_it_was_cut() {
        for head in [
            "GET / HTTP/1.1\r\nhost: g\r\n\r\n",
            "GET / HTTP/1.1\nhost: g\n\n",
            "a\r\n\n",
            "a\n\r\n",
        ] {
            for seen in 0..head.len() {
                assert_eq!(head_end(&head.as_bytes()[..seen], 0), None, "{head:?} {seen}");
                assert_eq!(head_end(head.as_bytes(), seen), Some(head.len()), "{head:?} {seen}");
            }
            let with_body = format!("{head}{{}}");
            assert_eq!(head_end(with_body.as_bytes(), 0), Some(head.len()));
            assert_eq!(all(head), NextRead::Nothing);
        }
        for open in ["", "\r", "\n", "a\r\n\r", "a\r\r", "a\nb\n"] {
            assert_eq!(all(open), NextRead::Head, "{open:?}");
        }
    }

    #[test]
    fn a_body_of_known_length_is_awaited_and_a_long_one_is_the_servers() {
        let head = |more: &str| format!("POST / HTTP/1.1\r\nhost: g\r\n{more}\r\n");
        assert_eq!(all(&head("Content-Length: 3\r\n")), NextRead::Body);
        assert_eq!(all(&(head("content-length:3\r\n") + "{}")), NextRead::Body);
        assert_eq!(all(&(head("content-length: 3 \r\n") + "{} ")), NextRead::Nothing);
        assert_eq!(all(&head("content-length: 0\r\n")), NextRead::Nothing);
        for odd in [
            "content-length: 3\r\nContent-Length: 3\r\n",
            "content-length: +3\r\n",
            "content-length: \r\n",
            "content-length: 99999999999999999999\r\n",
            "content-length: 3\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: gzip\r\n",
            "expect: 100-continue\r\ncontent-length: 3\r\n",
        ] {
            assert_ne!(all(&head(odd)), NextRead::Body, "{odd}");
        }
        let mut arrival = Arrival::new();
        let long = head("content-length: 1000000\r\n") + &"x".repeat(BODY);
        assert_eq!(arrival.look(&long.as_bytes()[..1_000]), NextRead::Body);
        assert_eq!(arrival.look(long.as_bytes()), NextRead::Server);
    }

    #[test]
    fn of_a_stream_the_first_object_is_awaited() {
        let head = "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n";
        for (body, next_read) in [
            ("", NextRead::Body),
            ("6\r\n{\"a\":{\r\n", NextRead::Body),
            ("6\r\n{\"a\":{\r\n4\r\n}\"}\"\r\n", NextRead::Body),
            ("6\r\n{\"a\":1\r\n1\r\n}\r\n", NextRead::Nothing),
            ("8\r\n {\"a\":{}\r\n1\r\n}\r\n", NextRead::Nothing),
            ("0\r\n\r\n", NextRead::Nothing),
            ("2\r\n  \r\n0\r\n\r\n", NextRead::Nothing),
            ("2\r\n[]\r\n", NextRead::Server),
            ("x\r\n", NextRead::Server),
            ("\r\n", NextRead::Server),
            ("ffffffff\r\n", NextRead::Server),
            ("2;a=b\r\n{}\r\n", NextRead::Server),
            ("2\r\n {xx", NextRead::Server),
        ] {
            assert_eq!(all(&format!("{head}{body}")), next_read, "{body:?}");
        }
    }
}
