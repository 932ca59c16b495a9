//! Cuts one partition's records into pieces, each of which becomes an object.
//!
//! Where a piece ends follows from offsets: at every offset that is a multiple of `flush.size`, at every hole, and
//! where the folder changes; also where the piece would grow beyond a fixed number of bytes, which follows from the
//! records. So a restart cuts the same. Only the clock (`rotate.schedule.interval.ms`) and lack of memory cut elsewhere,
//! and what they have cut is found in the lake and continued after.
//!
//! A piece *covers* the offsets of its records and the holes around them that are known by then: those that lie before
//! it and were not covered yet, and those after it when it was the hole that ended it.

use std::ops::Range;
use std::sync::Arc;
use values::Offset;

/// Records with consecutive offsets, as lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The folder below the topic.
    pub folder: Arc<str>,
    /// The offset of the first line; of a piece without lines the first covered offset.
    pub start: Offset,
    /// The number of lines.
    pub count: u64,
    /// The offsets that the piece stands for.
    pub covers: Range<Offset>,
    /// The lines, each with its newline.
    pub content: Vec<u8>,
    /// Records that are not in the lake but beside it, and must be durable before the piece is.
    pub letters: Vec<DeadLetter>,
}

/// A record that is kept beside the lake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its offset.
    pub offset: Offset,
    /// What is kept of it.
    pub content: Vec<u8>,
}

/// The limits of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CutOptions {
    /// `flush.size`: pieces end at its multiples, so none has more records.
    pub flush_size: u64,
    /// A piece ends when it has so many bytes.
    pub piece_bytes: usize,
}

/// Cuts one partition.
#[derive(Debug)]
pub struct Cutter {
    options: CutOptions,
    /// Everything below is in pieces that were cut.
    from: Offset,
    /// Everything below has been seen.
    seen: Offset,
    open: Option<Open>,
    letters: Vec<DeadLetter>,
    /// The folder of the last record, for a piece that has none.
    folder: Arc<str>,
}

#[derive(Debug)]
struct Open {
    folder: Arc<str>,
    start: Offset,
    /// The offset after the last record.
    next: Offset,
    content: Vec<u8>,
}

impl Cutter {
    /// Cuts from offset `from` on; `folder` is for a piece that stands for a hole alone.
    pub fn new(options: CutOptions, from: Offset, folder: Arc<str>) -> Cutter {
        Cutter {
            options,
            from,
            seen: from,
            open: None,
            letters: Vec::new(),
            folder,
        }
    }

    /// Everything below has been seen.
    pub fn seen(&self) -> Offset {
        self.seen
    }

    /// Bytes that wait in the open piece.
    pub fn open_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.content.len())
    }

    /// Takes a record, of which `append` writes the line; pieces that are complete are handed to `out`.
    pub fn push(
        &mut self,
        offset: Offset,
        folder: &Arc<str>,
        append: impl FnOnce(&mut Vec<u8>),
        out: &mut impl FnMut(Piece),
    ) {
        if offset < self.seen {
            return;
        }
        if self
            .open
            .as_ref()
            .is_some_and(|open| open.next != offset || open.folder != *folder)
        {
            self.cut(offset, out);
        }
        self.seen = offset.next();
        let open = self.open.get_or_insert_with(|| Open {
            folder: Arc::clone(folder),
            start: offset,
            next: offset,
            content: Vec::new(),
        });
        append(&mut open.content);
        open.next = offset.next();
        let full = open.next.0.rem_euclid(self.options.flush_size.max(1) as i64) == 0
            || open.content.len() >= self.options.piece_bytes;
        if full {
            self.cut(offset.next(), out);
        }
    }

    /// Takes note of a record that gets no line: a hole, with what is kept of it elsewhere.
    pub fn skip(&mut self, offset: Offset, letter: Option<Vec<u8>>, out: &mut impl FnMut(Piece)) {
        if offset < self.seen {
            return;
        }
        self.cut(offset, out);
        self.letters
            .extend(letter.map(|content| DeadLetter { offset, content }));
        self.seen = offset.next();
    }

    /// Below `next` there is no record that was not pushed.
    pub fn reached(&mut self, next: Offset) {
        self.seen = self.seen.max(next);
    }

    /// Ends the open piece; a hole that nothing stands for yet becomes a piece without lines.
    pub fn flush(&mut self, out: &mut impl FnMut(Piece)) {
        self.cut(self.seen, out);
        if self.from < self.seen {
            out(Piece {
                folder: Arc::clone(&self.folder),
                start: self.from,
                count: 0,
                covers: self.from..self.seen,
                content: Vec::new(),
                letters: std::mem::take(&mut self.letters),
            });
            self.from = self.seen;
        }
    }

    /// Ends the open piece, which then covers everything below `to`.
    fn cut(&mut self, to: Offset, out: &mut impl FnMut(Piece)) {
        let Some(open) = self.open.take() else { return };
        debug_assert!(open.start >= self.from && open.next <= to);
        self.folder = Arc::clone(&open.folder);
        out(Piece {
            folder: open.folder,
            start: open.start,
            count: (open.next - open.start) as u64,
            covers: self.from..to,
            content: open.content,
            letters: std::mem::take(&mut self.letters),
        });
        self.from = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(flush_size: u64, from: Offset, offsets: &[Offset], end: Offset) -> Vec<Piece> {
        let options = CutOptions {
            flush_size,
            piece_bytes: 1 << 20,
        };
        let folder: Arc<str> = "f".into();
        let mut cutter = Cutter::new(options, from, Arc::clone(&folder));
        let mut pieces = Vec::new();
        for offset in offsets {
            let append = |out: &mut Vec<u8>| out.extend_from_slice(format!("{offset}\n").as_bytes());
            cutter.push(*offset, &folder, append, &mut |piece| pieces.push(piece));
        }
        cutter.reached(end);
        cutter.flush(&mut |piece| pieces.push(piece));
        pieces
    }

    #[test]
    fn pieces_end_at_multiples_and_holes() {
        let pieces = cut(4, Offset(1), &[2, 3, 4, 5, 8, 9].map(Offset), Offset(12));
        let shown: Vec<_> = pieces
            .iter()
            .map(|piece| (piece.start, piece.count, piece.covers.clone()))
            .collect();
        assert_eq!(
            shown,
            [
                (Offset(2), 2, Offset::range(1..4)),
                (Offset(4), 2, Offset::range(4..8)),
                (Offset(8), 2, Offset::range(8..12))
            ]
        );
    }

    #[test]
    fn a_hole_alone_is_a_piece_without_lines() {
        let pieces = cut(4, Offset(5), &[], Offset(9));
        assert_eq!(
            (pieces.len(), pieces[0].count, pieces[0].covers.clone()),
            (1, 0, Offset::range(5..9))
        );
        assert!(cut(4, Offset(5), &[], Offset(5)).is_empty());
    }

    #[test]
    fn letters_travel_with_the_piece_that_covers_them() {
        let options = CutOptions {
            flush_size: 10,
            piece_bytes: 1 << 20,
        };
        let folder: Arc<str> = "f".into();
        let mut cutter = Cutter::new(options, Offset(0), Arc::clone(&folder));
        let mut pieces = Vec::new();
        let mut out = |piece| pieces.push(piece);
        cutter.push(Offset(0), &folder, |line| line.extend_from_slice(b"0\n"), &mut out);
        cutter.skip(Offset(1), Some(b"dead".to_vec()), &mut out);
        cutter.push(Offset(2), &folder, |line| line.extend_from_slice(b"2\n"), &mut out);
        cutter.flush(&mut out);
        let shown: Vec<_> = pieces
            .iter()
            .map(|piece| (piece.start, piece.covers.clone(), piece.letters.len()))
            .collect();
        assert_eq!(
            shown,
            [(Offset(0), Offset::range(0..1), 0), (Offset(2), Offset::range(1..3), 1)]
        );
    }

    /// A cutter from offset 0 on, into pieces of at most 6 bytes.
    fn small() -> (Cutter, Arc<str>) {
        let options = CutOptions {
            flush_size: 100,
            piece_bytes: 6,
        };
        let folder: Arc<str> = "f".into();
        (Cutter::new(options, Offset(0), Arc::clone(&folder)), folder)
    }

    fn shown(pieces: &[Piece]) -> Vec<(&str, Range<Offset>, &str)> {
        let mut shown = Vec::new();
        for piece in pieces {
            let content = std::str::from_utf8(&piece.content).unwrap();
            shown.push((&*piece.folder, piece.covers.clone(), content));
        }
        shown
    }

    #[test]
    fn pieces_end_where_they_are_full_or_the_folder_changes() {
        let (mut cutter, folder) = small();
        let other: Arc<str> = "g".into();
        let mut pieces = Vec::new();
        let mut out = |piece| pieces.push(piece);
        let mut waiting = vec![cutter.open_bytes()];
        let mut push = |offset, folder: &Arc<str>, line: &[u8]| {
            cutter.push(Offset(offset), folder, |out| out.extend_from_slice(line), &mut out);
            waiting.push(cutter.open_bytes());
        };
        push(0, &folder, b"abcd\n");
        // one byte short of the limit, which is then passed
        push(1, &folder, b"e\n");
        // at the limit
        push(2, &folder, b"fghij\n");
        push(3, &folder, b"k\n");
        push(4, &other, b"l\n");
        cutter.reached(Offset(5));
        cutter.flush(&mut out);
        assert_eq!(waiting, [0, 5, 0, 0, 2, 2]);
        assert_eq!(
            shown(&pieces),
            [
                ("f", Offset::range(0..2), "abcd\ne\n"),
                ("f", Offset::range(2..3), "fghij\n"),
                ("f", Offset::range(3..4), "k\n"),
                ("g", Offset::range(4..5), "l\n"),
            ]
        );
    }

    /// A reader that begins again gives records twice.
    #[test]
    fn what_was_seen_already_is_passed_over() {
        let (mut cutter, folder) = small();
        let mut pieces = Vec::new();
        let mut out = |piece| pieces.push(piece);
        for offset in [0, 1, 0, 1] {
            cutter.push(Offset(offset), &folder, |out| out.extend_from_slice(b"a\n"), &mut out);
        }
        cutter.skip(Offset(1), Some(b"seen".to_vec()), &mut out);
        assert_eq!((cutter.seen(), cutter.open_bytes()), (Offset(2), 4));
        cutter.skip(Offset(2), Some(b"dead".to_vec()), &mut out);
        assert_eq!(cutter.seen(), Offset(3));
        cutter.skip(Offset(2), Some(b"again".to_vec()), &mut out);
        cutter.push(Offset(2), &folder, |out| out.extend_from_slice(b"late\n"), &mut out);
        // what is behind is no news either
        cutter.reached(Offset(1));
        assert_eq!(cutter.seen(), Offset(3));
        cutter.flush(&mut out);
        assert_eq!(
            shown(&pieces),
            [("f", Offset::range(0..2), "a\na\n"), ("f", Offset::range(2..3), "")]
        );
        let dead = DeadLetter {
            offset: Offset(2),
            content: b"dead".to_vec(),
        };
        assert_eq!(
            (pieces[0].letters.as_slice(), pieces[1].letters.as_slice()),
            (&[][..], &[dead][..])
        );
    }

    proptest! {
        /// Whatever is missing and wherever it starts: everything is covered once, and lines stand at their offsets.
        #[test]
        fn everything_is_covered_once(
            flush_size in 1u64..6,
            from in 0i64..5,
            present in proptest::collection::vec(any::<bool>(), 0..40),
        ) {
            let from = Offset(from);
            let end = from.plus(present.len() as u64);
            let there = Offset::each(from..end).zip(&present).filter(|(_, there)| **there);
            let offsets: Vec<Offset> = there.map(|(offset, _)| offset).collect();
            let pieces = cut(flush_size, from, &offsets, end);
            let mut at = from;
            let mut found = Vec::new();
            for piece in &pieces {
                prop_assert_eq!(piece.covers.start, at);
                prop_assert!(piece.count <= flush_size);
                at = piece.covers.end;
                let lines = String::from_utf8(piece.content.clone()).unwrap();
                for (line, offset) in lines.lines().zip(Offset::each(piece.start..Offset::MAX)) {
                    prop_assert_eq!(line, offset.to_string());
                    prop_assert!(piece.covers.contains(&offset));
                    found.push(offset);
                }
            }
            prop_assert_eq!(at, end);
            prop_assert_eq!(found, offsets.clone());
            // cut again from any piece's edge: the same pieces follow
            for (index, piece) in pieces.iter().enumerate() {
                let rest: Vec<Offset> = offsets.iter().copied().filter(|offset| *offset >= piece.covers.start).collect();
                prop_assert_eq!(&cut(flush_size, piece.covers.start, &rest, end)[..], &pieces[index..]);
            }
        }
    }
}
