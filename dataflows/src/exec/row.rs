//! The rows of relations: packed cells in a few fixed sizes, and one of any size.

use operators::latest::Slots;
use operators::{Key, Route, Routing, Symbol, Tuple};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Names and words of a row.
pub(crate) type Parts<'a> = (&'a [Option<Symbol>], &'a [u32]);

/// A row or key of packed cells.
pub(crate) trait Cells: Key {
    /// What lies in it.
    fn parts(&self) -> Parts<'_>;

    /// The same, to be written.
    fn parts_mut(&mut self) -> (&mut [Option<Symbol>], &mut [u32]);

    /// Bytes that a row of so many names and words owns on the heap.
    fn heap(_names: usize, _words: usize) -> usize {
        0
    }

    /// A row of so many names and words, nulls and zeros.
    fn empty(names: usize, words: usize) -> Self;

    /// A row of so many names and words, filled from nulls and zeros.
    #[inline]
    fn fill(names: usize, words: usize, fill: impl FnOnce(&mut [Option<Symbol>], &mut [u32])) -> Self {
        let mut row = Self::empty(names, words);
        let (names, words) = row.parts_mut();
        fill(names, words);
        row
    }
}

impl<const S: usize, const P: usize> Cells for Tuple<S, P> {
    #[inline]
    fn parts(&self) -> Parts<'_> {
        (&self.names, &self.plain)
    }

    #[inline]
    fn parts_mut(&mut self) -> (&mut [Option<Symbol>], &mut [u32]) {
        (&mut self.names, &mut self.plain)
    }

    #[inline]
    fn empty(_: usize, _: usize) -> Self {
        Tuple::EMPTY
    }
}

/// A row of any size, for what no fixed size was made for.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Wide {
    names: Box<[Option<Symbol>]>,
    plain: Box<[u32]>,
}

impl Cells for Wide {
    fn parts(&self) -> Parts<'_> {
        (&self.names, &self.plain)
    }

    fn parts_mut(&mut self) -> (&mut [Option<Symbol>], &mut [u32]) {
        (&mut self.names, &mut self.plain)
    }

    fn heap(names: usize, words: usize) -> usize {
        allocated(size_of::<u32>() * names) + allocated(size_of::<u32>() * words)
    }

    fn empty(names: usize, words: usize) -> Self {
        Wide {
            names: vec![None; names].into(),
            plain: vec![0; words].into(),
        }
    }
}

/// What an allocator takes for so many bytes: blocks beyond the least are aligned to 16 bytes.
pub(crate) fn allocated(bytes: usize) -> usize {
    match bytes {
        0..=8 => bytes.next_multiple_of(8),
        _ => bytes.next_multiple_of(16),
    }
}

impl Route for Wide {
    fn route(&self, routing: Routing) -> u64 {
        let route = self
            .names
            .iter()
            .fold(0u64, |route, name| (route, *name).route(routing));
        self.plain
            .iter()
            .fold(route, |route, word| (route, *word).route(routing))
    }
}

/// What is kept of one record: a [`Tuple`] of the size that most kinds need, or more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Payload {
    /// At most two names and three words.
    Small(Tuple<2, 3>),
    /// More.
    Large(Box<Wide>),
}

const _: () = assert!(size_of::<Payload>() == 24 && size_of::<Option<Payload>>() == 24);

impl Payload {
    /// A payload of so many names and words, filled from nulls and zeros.
    pub(crate) fn fill(names: usize, words: usize, fill: impl FnOnce(&mut [Option<Symbol>], &mut [u32])) -> Payload {
        if names <= 2 && words <= 3 {
            Payload::Small(Tuple::fill(names, words, fill))
        } else {
            Payload::Large(Box::new(Wide::fill(names, words, fill)))
        }
    }

    fn parts(&self) -> Parts<'_> {
        match self {
            Payload::Small(tuple) => tuple.parts(),
            Payload::Large(row) => row.parts(),
        }
    }
}

/// Which part of a row a kind of records fills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// The first of its names, and how many there are.
    pub(crate) names: (usize, usize),
    /// The first word that holds some of its bits ...
    pub(crate) first: usize,
    /// ... and which bits of that and of the following ones are its own. A payload has the same words.
    pub(crate) masks: Vec<u32>,
}

/// The spans of all kinds, in the order of their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    pub(crate) spans: Vec<Span>,
    /// Of each kind the bit that says that there is a record: word and bit.
    pub(crate) present: Vec<(usize, u32)>,
    pub(crate) names: usize,
    pub(crate) words: usize,
}

impl Shape {
    #[inline]
    fn set(&self, names: &mut [Option<Symbol>], words: &mut [u32], slot: u8, payload: Option<&Payload>) {
        let span = &self.spans[usize::from(slot)];
        let (first, count) = span.names;
        let names = &mut names[first..first + count];
        let words = &mut words[span.first..span.first + span.masks.len()];
        match payload.map(Payload::parts) {
            Some((new_names, new_words)) => {
                // a handful, for which a call would cost more than the copy
                match (names, new_names) {
                    ([], _) => {}
                    ([name], [new, ..]) => *name = *new,
                    ([first, second], [new_first, new_second, ..]) => (*first, *second) = (*new_first, *new_second),
                    (names, new_names) => names.copy_from_slice(&new_names[..names.len()]),
                }
                for ((word, mask), new) in words.iter_mut().zip(&span.masks).zip(new_words) {
                    *word = *word & !mask | new;
                }
            }
            None => {
                names.fill(None);
                words
                    .iter_mut()
                    .zip(&span.masks)
                    .for_each(|(word, mask)| *word &= !mask);
            }
        }
    }

    fn is_empty(&self, words: &[u32]) -> bool {
        let has = |(word, bit): &(usize, u32)| words.get(*word).is_some_and(|word| word & bit != 0);
        !self.present.iter().any(has)
    }
}

/// The latest records of one key, joined into one row.
pub(crate) trait Post: Slots<Payload = Payload, Shape = Arc<Shape>> {
    /// Bytes that a row of this shape owns on the heap.
    fn heap(_: &Shape) -> usize {
        0
    }

    /// What lies in it.
    fn parts(&self) -> Parts<'_>;
}

/// The latest records of one key in a row of fixed size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Packed<const S: usize, const P: usize>(Tuple<S, P>);

/// How many kinds a schema has at most, until rows keep more positions.
pub(crate) const SLOTS: usize = operators::latest::MAX_SLOTS;

impl<const S: usize, const P: usize> Slots for Packed<S, P> {
    const SLOTS: usize = SLOTS;
    type Payload = Payload;
    type Shape = Arc<Shape>;

    #[inline]
    fn set(&mut self, shape: &Arc<Shape>, slot: u8, payload: Option<&Payload>) {
        shape.set(&mut self.0.names, &mut self.0.plain, slot, payload);
    }

    fn is_empty(&self, shape: &Arc<Shape>) -> bool {
        shape.is_empty(&self.0.plain)
    }
}

impl<const S: usize, const P: usize> Post for Packed<S, P> {
    #[inline]
    fn parts(&self) -> Parts<'_> {
        self.0.parts()
    }
}

/// The latest records of one key in a row of any size.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WidePost(Wide);

impl Slots for WidePost {
    const SLOTS: usize = SLOTS;
    type Payload = Payload;
    type Shape = Arc<Shape>;

    fn set(&mut self, shape: &Arc<Shape>, slot: u8, payload: Option<&Payload>) {
        if self.0.plain.is_empty() {
            self.0 = Wide::fill(shape.names, shape.words, |_, _| ());
        }
        shape.set(&mut self.0.names, &mut self.0.plain, slot, payload);
    }

    fn is_empty(&self, shape: &Arc<Shape>) -> bool {
        shape.is_empty(&self.0.plain)
    }
}

impl Post for WidePost {
    fn heap(shape: &Shape) -> usize {
        Wide::heap(shape.names, shape.words)
    }

    fn parts(&self) -> Parts<'_> {
        self.0.parts()
    }
}
