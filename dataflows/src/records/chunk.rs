//! Bytes of many records, looked over at once: whether they are UTF-8, and where strings may end.
//!
//! Both cost a fraction of what they would record by record, and the scanner then goes from mark to mark instead of
//! reading what lies between.

use std::fmt;
use std::ops::Range;
use wide::u8x16;

/// Where strings may end: a bit for every byte, set at quotes, backslashes and control characters. Made once and used
/// for one [`Chunk`] after the other.
#[derive(Default)]
pub struct Marks {
    words: Vec<u64>,
}

impl fmt::Debug for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Marks").finish_non_exhaustive()
    }
}

impl Marks {
    pub(super) fn set(&mut self, bytes: &[u8]) {
        let (blocks, rest) = bytes.as_chunks();
        self.words.clear();
        self.words.extend(blocks.iter().map(marks));
        if !rest.is_empty() {
            let mut last = [b' '; 64];
            last[..rest.len()].copy_from_slice(rest);
            self.words.push(marks(&last));
        }
    }

    /// The first mark at or behind a place.
    #[inline(always)]
    pub(super) fn next(&self, from: usize) -> Option<usize> {
        let mut word = from / 64;
        let mut bits = self.words.get(word)? >> (from % 64) << (from % 64);
        while bits == 0 {
            word += 1;
            bits = *self.words.get(word)?;
        }
        Some(word * 64 + bits.trailing_zeros() as usize)
    }
}

#[inline(always)]
fn marks(bytes: &[u8; 64]) -> u64 {
    let (parts, _) = bytes.as_chunks::<16>();
    parts.iter().rev().fold(0, |word, part| {
        let bytes = u8x16::new(*part);
        let control = bytes.min(u8x16::splat(0x1f)).simd_eq(bytes);
        let marked = control | bytes.simd_eq(u8x16::splat(b'"')) | bytes.simd_eq(u8x16::splat(b'\\'));
        word << 16 | u64::from(marked.to_bitmask())
    })
}

/// A text with the marks of the chunk it is part of.
#[derive(Clone, Copy, Debug)]
pub struct Marked<'a> {
    /// The text.
    pub text: &'a str,
    pub(super) marks: &'a Marks,
    /// Where the text begins in the chunk.
    pub(super) start: usize,
}

/// Bytes of many records.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    bytes: &'a [u8],
    text: Option<&'a str>,
    marks: &'a Marks,
}

impl<'a> Chunk<'a> {
    /// Looks `bytes` over.
    pub fn new(bytes: &'a [u8], marks: &'a mut Marks) -> Chunk<'a> {
        marks.set(bytes);
        Chunk {
            bytes,
            text: simdutf8::basic::from_utf8(bytes).ok(),
            marks,
        }
    }

    /// A part as text or, where it is not UTF-8, as bytes.
    ///
    /// # Panics
    /// When `range` is not within the chunk.
    #[inline]
    pub fn part(&self, range: Range<usize>) -> Result<Marked<'a>, &'a [u8]> {
        let (start, bytes) = (range.start, &self.bytes[range.clone()]);
        let text = match self.text {
            // no text either where a character lies across the part's edge
            Some(text) => text.get(range),
            None => simdutf8::basic::from_utf8(bytes).ok(),
        };
        let marks = self.marks;
        text.map(|text| Marked { text, marks, start }).ok_or(bytes)
    }

    /// The lines without their `\n`, in order; the last one may lack it.
    pub fn lines(self) -> impl Iterator<Item = Result<Marked<'a>, &'a [u8]>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let rest = &self.bytes[at..];
            if rest.is_empty() {
                return None;
            }
            let end = at + memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let line = self.part(at..end);
            at = (end + 1).min(self.bytes.len());
            Some(line)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn marks_are_quotes_backslashes_and_control_characters(
            bytes in prop::collection::vec(prop_oneof![Just(b'"'), Just(b'\\'), Just(0x1f), Just(0x20), Just(b'a'), any::<u8>()], 0..300)
        ) {
            let mut marks = Marks::default();
            // what an earlier chunk has left must not show
            marks.set(&[b'"'; 500]);
            marks.set(&bytes);
            let is_mark = |byte: &u8| matches!(byte, b'"' | b'\\' | ..0x20);
            for from in 0..bytes.len() + 70 {
                let expected = (from..bytes.len()).find(|at| is_mark(&bytes[*at]));
                prop_assert_eq!(marks.next(from), expected);
            }
        }
    }
}
