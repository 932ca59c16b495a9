//! Gzip as it arrives: each piece of a compressed body gives what it decompresses to, a bounded part at a time.
//!
//! Whoever reads counts what comes out before asking for more, so that a small input that stands for a large body is
//! noticed as early as any other body that is too long. What comes out was decompressed and is not yet verified: the
//! checksum of a member stands at its end.

use bytes::{Buf, Bytes};
use flate2::write::GzDecoder;
use std::io::{self, Write};

/// Bytes that come out at once.
const PIECE: usize = 16 << 10;
/// Bytes of a member's header at most: it may hold the name of a file and a comment, which nobody here reads.
const HEADER: usize = 4 << 10;
/// Bytes of a header up to the length of its extra field, and the flag that says that there is one (RFC 1952, 2.3).
const BEGIN: usize = 12;
const EXTRA: u8 = 4;

/// Why bytes are not gzip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GzipError {
    /// A header, the compressed data, or a checksum is wrong; or something else follows.
    #[error("it is damaged, or something else follows it")]
    Damaged,
    /// A header is longer than 4 KiB.
    #[error("its header has more than {HEADER} bytes")]
    Header,
    /// The input ends before the end of a member.
    #[error("it breaks off")]
    Unfinished,
}

/// Decompresses a stream of gzip members, one behind the other.
#[derive(Default)]
pub struct Gunzip {
    member: Option<Member>,
    /// What came out and was not handed on.
    ready: Bytes,
}

/// The member that is being read.
struct Member {
    decoder: GzDecoder<Vec<u8>>,
    /// Bytes of its header so far.
    header: usize,
    /// The first of them.
    begin: [u8; BEGIN],
}

impl Gunzip {
    /// What a decoder takes while it waits for more input: the window, tables, the buffer behind them, and a header.
    pub const BYTES: usize = 80 << 10;

    /// One that has read nothing, and takes nothing.
    pub fn new() -> Gunzip {
        Gunzip::default()
    }

    /// Reads some of the input, from its beginning, and takes off what it has read. `None`: the input is used up, and
    /// more is needed. What comes out is at most 16 KiB, however much the input stands for.
    ///
    /// # Errors
    ///
    /// Where the input is not gzip; nothing more can be read then.
    pub fn next(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, GzipError> {
        while self.ready.is_empty() {
            if input.is_empty() {
                return Ok(None);
            }
            let member = self.member.get_or_insert_with(Member::new);
            match member.read(input)? {
                Read::Content(bytes) => self.ready = bytes.into(),
                Read::End => self.member = None,
            }
        }
        Ok(Some(self.ready.split_to(PIECE.min(self.ready.len()))))
    }

    /// The input has ended. No input at all is an empty body.
    ///
    /// # Errors
    ///
    /// Where it ended inside of a member, or the last one is not what its checksum says.
    pub fn finish(&mut self) -> Result<(), GzipError> {
        self.member.take().map_or(Ok(()), |mut member| member.finish())
    }
}

/// What a member made of its input.
enum Read {
    Content(Vec<u8>),
    /// It ended before: nothing of the input belongs to it.
    End,
}

impl Member {
    #[expect(
        clippy::disallowed_methods,
        reason = "a write takes no more input than fills the decoder's buffer, which is emptied after each"
    )]
    fn new() -> Member {
        Member {
            decoder: GzDecoder::new(Vec::new()),
            header: 0,
            begin: [0; BEGIN],
        }
    }

    fn read(&mut self, input: &mut Bytes) -> Result<Read, GzipError> {
        let in_header = self.decoder.header().is_none();
        if in_header && self.header < BEGIN {
            // the decoder makes room for an extra field before it has come
            let part = input.len().min(BEGIN - self.header);
            self.begin[self.header..][..part].copy_from_slice(&input[..part]);
            let is_whole = self.header + part == BEGIN;
            if let [0x1f, 0x8b, _, flags, .., low, high] = self.begin
                && is_whole
                && flags & EXTRA != 0
                && usize::from(u16::from_le_bytes([low, high])) > HEADER
            {
                return Err(GzipError::Header);
            }
        }
        let read = self.decoder.write(input).map_err(|error| reason(&error))?;
        input.advance(read);
        if in_header {
            self.header += read;
            if self.header > HEADER {
                return Err(GzipError::Header);
            }
        } else if read == 0 {
            self.finish()?;
            return Ok(Read::End);
        } else {
            self.decoder.flush().map_err(|error| reason(&error))?;
        }
        Ok(Read::Content(std::mem::take(self.decoder.get_mut())))
    }

    fn finish(&mut self) -> Result<(), GzipError> {
        self.decoder.try_finish().map_err(|error| reason(&error))
    }
}

fn reason(error: &io::Error) -> GzipError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => GzipError::Unfinished,
        _ => GzipError::Damaged,
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, GzBuilder, write::GzEncoder};

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn gunzip(input: &[u8], step: usize) -> Result<Vec<u8>, GzipError> {
        let (mut gunzip, mut content) = (Gunzip::new(), Vec::new());
        for piece in input.chunks(step) {
            let mut piece = Bytes::copy_from_slice(piece);
            while let Some(bytes) = gunzip.next(&mut piece)? {
                content.extend_from_slice(&bytes);
            }
        }
        gunzip.finish().map(|()| content)
    }

    #[test]
    fn members_are_one_content_wherever_they_are_cut() {
        let input = [gzip(b"{\"a\""), gzip(b""), gzip(b":1}")].concat();
        for step in 1..=input.len() {
            assert_eq!(gunzip(&input, step).as_deref(), Ok(&b"{\"a\":1}"[..]), "{step}");
        }
        assert_eq!(gunzip(b"", 1).as_deref(), Ok(&b""[..]));
    }

    #[test]
    fn what_is_flushed_comes_out_at_once() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        let mut gunzip = Gunzip::new();
        for content in [&b"first"[..], b"second", b"third"] {
            encoder.write_all(content).unwrap();
            encoder.flush().unwrap();
            let mut piece = Bytes::from(std::mem::take(encoder.get_mut()));
            let mut found = Vec::new();
            while let Some(bytes) = gunzip.next(&mut piece).unwrap() {
                found.extend_from_slice(&bytes);
            }
            assert_eq!(found, content);
        }
        assert_eq!(gunzip.finish(), Err(GzipError::Unfinished));
    }

    #[test]
    fn much_comes_out_in_parts() {
        let content = vec![b'x'; 50 << 20];
        let mut input = Bytes::from(gzip(&content));
        assert!(input.len() < 100_000);
        let (mut gunzip, mut length) = (Gunzip::new(), 0);
        while let Some(bytes) = gunzip.next(&mut input).unwrap() {
            assert!(bytes.len() <= PIECE, "{}", bytes.len());
            length += bytes.len();
        }
        assert_eq!((length, gunzip.finish()), (content.len(), Ok(())));
    }

    #[test]
    fn what_is_not_gzip_or_not_all_of_it_is_told() {
        let whole = gzip(b"some content that is long enough to be compressed, long enough to be compressed");
        for step in [1, 7, whole.len()] {
            for end in 1..whole.len() {
                let found = gunzip(&whole[..end], step);
                // a part of a checksum is a wrong one
                let is_in_trailer = end >= whole.len() - 8;
                assert!(
                    found == Err(GzipError::Unfinished) || (is_in_trailer && found.is_err()),
                    "{end}"
                );
            }
            for behind in [&b"\0"[..], b"{}", b"\x1f\x8c", b"\r\n"] {
                // it may be half of a header
                assert!(gunzip(&[&whole, behind].concat(), step).is_err());
                let longer = [&whole[..], behind, &[b' '; 10][..]].concat();
                assert_eq!(gunzip(&longer, step), Err(GzipError::Damaged));
            }
            assert_eq!(gunzip(b"{\"ind\":1, \"x\":2}", step), Err(GzipError::Damaged));
        }
        for at in whole.len() - 8..whole.len() {
            let mut wrong = whole.clone();
            wrong[at] ^= 1;
            assert_eq!(
                gunzip(&wrong, 5),
                Err(GzipError::Damaged),
                "a checksum, or a length: {at}"
            );
        }
    }

    #[test]
    fn a_header_may_name_a_file_and_not_fill_the_memory() {
        let named = |length: usize| {
            let builder = GzBuilder::new().filename("x".repeat(length));
            let mut encoder = builder.write(Vec::new(), Compression::default());
            encoder.write_all(b"content").unwrap();
            encoder.finish().unwrap()
        };
        for step in [1, 100, 10_000] {
            assert_eq!(gunzip(&named(200), step).as_deref(), Ok(&b"content"[..]), "{step}");
            assert_eq!(gunzip(&named(5_000), step), Err(GzipError::Header), "{step}");
        }
        let extra = |length: usize| {
            let builder = GzBuilder::new().extra(vec![0; length]);
            let mut encoder = builder.write(Vec::new(), Compression::default());
            encoder.write_all(b"content").unwrap();
            encoder.finish().unwrap()
        };
        for step in [1, 5, 100, 10_000] {
            assert_eq!(gunzip(&extra(200), step).as_deref(), Ok(&b"content"[..]), "{step}");
            // refused before it has come
            assert_eq!(gunzip(&extra(60_000)[..BEGIN], step), Err(GzipError::Header), "{step}");
        }
    }
}
