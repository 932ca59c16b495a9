//! The fast decoder: one pass over the usual shape, a flat object of strings, numbers and literals, in place.
//!
//! Contract: where it answers, the reference decoder gives the same answer and notes nothing; whatever looks odd is
//! `None`, and the reference decides. Odd are: nested values, wrappings, deletes, control characters (so raw line
//! breaks too), keys with escapes, exponents, missing or conflicting keys, fields that the reference would have to
//! note, U+0000. A property test holds it to that.

use super::chunk::Marks;
use super::field::Field;
use super::kind::Kind;
use super::names::{self, Names};
use super::scanner::{Scanner, Text, Where};
use crate::cleaning::sentinel;
use crate::exec::{Columns, Payload, Straight};
use operators::{Ind, Symbol};

/// The key of a record of the usual shape, and what was seen of the rest. `marks` are of a chunk in which the text
/// begins at `start`.
#[inline]
pub(super) fn scan<'a>(kind: Kind, text: &'a str, marks: &Marks, start: usize) -> Option<(Ind, Seen<'a>)> {
    let scanner = Scanner::new(text, marks, start);
    match kind {
        Kind::Pin => pin(scanner),
        Kind::Geo => geo(scanner),
        Kind::User => user(scanner),
    }
}

/// The columns that are read of a kind's records.
pub(super) fn columns(kind: Kind) -> Columns {
    match kind {
        Kind::Pin => Columns {
            names: [Some("category"), Some("poster_name")],
            ints: [Some("follower_count"), None],
        },
        Kind::Geo => Columns {
            names: [Some("country"), None],
            ints: [Some("timestamp"), None],
        },
        Kind::User => Columns {
            names: [Some("user_name"), Some("user_name")],
            ints: [Some("age"), Some("date_joined")],
        },
    }
}

/// What stands for null in the texts of [`columns`]; a user's two names have no more than the empty one.
fn sentinels(kind: Kind) -> [&'static [&'static str]; 2] {
    match kind {
        Kind::Pin => [sentinel::NONE, sentinel::USER],
        Kind::Geo | Kind::User => [sentinel::NONE, sentinel::NONE],
    }
}

/// A scanned record whose names are still texts: the values of [`columns`].
pub(super) struct Seen<'a> {
    kind: Kind,
    texts: [Text<'a>; 2],
    ints: [Option<i64>; 2],
}

impl<'a> Seen<'a> {
    /// The payload; `None` when a name is too long.
    pub(super) fn payload(self, straight: &Straight, names: &mut Names) -> Option<Payload> {
        let Seen { kind, texts, ints } = self;
        let found = match kind {
            Kind::Pin | Kind::Geo => {
                let [first, second] = sentinels(kind);
                [
                    name(texts[0], first, straight.keeps(0), names)?,
                    name(texts[1], second, straight.keeps(1), names)?,
                ]
            }
            Kind::User => {
                let [mut scratch_first, mut scratch_last] = std::mem::take(&mut names.scratch);
                let [first, last] = texts;
                let halves = match (first.present(&mut scratch_first), last.present(&mut scratch_last)) {
                    (Some(first), Some(last)) => Some(first.zip(last).filter(|_| straight.keeps(0))),
                    _ => None,
                };
                let halves = halves.map(|halves| halves.map(|(first, last)| names.user(first, last)));
                names.scratch = [scratch_first, scratch_last];
                halves?.map_or([None; 2], |halves| halves.map(Some))
            }
        };
        Some(straight.payload(found, ints))
    }

    /// The same without those names that stand in the record as they are interned, which are appended to `names`.
    /// Gives the record back if one of its names does not.
    pub(super) fn without_names(self, straight: &Straight, names: &mut Vec<&'a str>) -> Result<Nameless, Seen<'a>> {
        let Seen { kind, texts, ints } = self;
        let found = match kind {
            Kind::Pin | Kind::Geo => {
                let [first, second] = sentinels(kind);
                match (texts[0].plain_name(first), texts[1].plain_name(second)) {
                    (Some(first), Some(second)) => [
                        first.filter(|_| straight.keeps(0)),
                        second.filter(|_| straight.keeps(1)),
                    ],
                    _ => return Err(self),
                }
            }
            Kind::User => match (texts[0].plain(), texts[1].plain()) {
                (Some(first), Some(last)) if first.is_empty() || last.is_empty() || !straight.keeps(0) => [None; 2],
                (Some(first), Some(last)) if names::is_usual(first, last) => [Some(first), Some(last)],
                _ => return Err(self),
            },
        };
        names.extend(found.into_iter().flatten());
        Ok(Nameless {
            named: found.map(|name| name.is_some()),
            ints,
        })
    }
}

/// A scanned record whose names are being looked up, and which of them it has.
pub(super) struct Nameless {
    named: [bool; 2],
    ints: [Option<i64>; 2],
}

impl Nameless {
    /// The payload; takes the record's names from `names`.
    pub(super) fn payload(&self, straight: &Straight, names: &mut impl Iterator<Item = Symbol>) -> Payload {
        let mut next = |named: bool| named.then(|| names.next().expect("a symbol for every name"));
        let names = [next(self.named[0]), next(self.named[1])];
        straight.payload(names, self.ints)
    }
}

fn pin<'a>(mut scanner: Scanner<'a, '_>) -> Option<(Ind, Seen<'a>)> {
    let (mut key, mut followers) = (Key::default(), None);
    let (mut category, mut poster) = (Text::NULL, Text::NULL);
    scanner.fields(|scanner, name| {
        match name {
            Some(Field::Index) => key.index = Some(scanner.integer()?),
            Some(Field::Ind) => key.ind = Some(scanner.integer()?),
            Some(Field::Category) => category = scanner.text()?,
            Some(Field::PosterName) => poster = scanner.text()?,
            Some(Field::FollowerCount) => followers = scanner.followers()?,
            Some(
                Field::UniqueId
                | Field::Title
                | Field::Description
                | Field::TagList
                | Field::IsImageOrVideo
                | Field::ImageSrc
                | Field::SaveLocation,
            ) => {
                scanner.text()?;
            }
            Some(Field::Deleted) => return None,
            _ => scanner.skip()?,
        }
        Some(())
    })?;
    let seen = Seen {
        kind: Kind::Pin,
        texts: [category, poster],
        ints: [followers, None],
    };
    Some((key.get()?, seen))
}

fn geo<'a>(mut scanner: Scanner<'a, '_>) -> Option<(Ind, Seen<'a>)> {
    let (mut key, mut country, mut time) = (Key::default(), Text::NULL, None);
    scanner.fields(|scanner, name| {
        match name {
            Some(Field::Ind) => key.ind = Some(scanner.integer()?),
            Some(Field::Index) => key.index = Some(scanner.integer()?),
            Some(Field::Timestamp) => time = scanner.time()?,
            Some(Field::Latitude | Field::Longitude) => scanner.number()?,
            Some(Field::Country) => country = scanner.text()?,
            Some(Field::Deleted) => return None,
            _ => scanner.skip()?,
        }
        Some(())
    })?;
    let seen = Seen {
        kind: Kind::Geo,
        texts: [country, Text::NULL],
        ints: [time, None],
    };
    Some((key.get()?, seen))
}

fn user<'a>(mut scanner: Scanner<'a, '_>) -> Option<(Ind, Seen<'a>)> {
    let (mut key, mut age, mut joined) = (Key::default(), None, None);
    let (mut first, mut last) = (Text::NULL, Text::NULL);
    scanner.fields(|scanner, name| {
        match name {
            Some(Field::Ind) => key.ind = Some(scanner.integer()?),
            Some(Field::Index) => key.index = Some(scanner.integer()?),
            Some(Field::FirstName) => first = scanner.text()?,
            Some(Field::LastName) => last = scanner.text()?,
            Some(Field::Age) => age = scanner.age()?,
            Some(Field::DateJoined) => joined = scanner.time()?,
            Some(Field::Deleted) => return None,
            _ => scanner.skip()?,
        }
        Some(())
    })?;
    let seen = Seen {
        kind: Kind::User,
        texts: [first, last],
        ints: [age.map(i64::from), joined],
    };
    Some((key.get()?, seen))
}

/// The key fields as far as they were seen.
#[derive(Default)]
struct Key {
    index: Option<i64>,
    ind: Option<i64>,
}

impl Key {
    fn get(&self) -> Option<Ind> {
        match (self.index, self.ind) {
            (Some(index), Some(ind)) => (index == ind).then_some(Ind(index)),
            (index, ind) => index.or(ind).map(Ind),
        }
    }
}

/// A name, interned if it is kept: `Some(None)` for null, `None` for one that is too long.
fn name(text: Text<'_>, sentinels: &[&str], is_kept: bool, names: &mut Names) -> Option<Option<Symbol>> {
    let mut scratch = std::mem::take(&mut names.scratch[0]);
    let name = match text.name(&mut scratch, sentinels) {
        Some(Some(_)) if !is_kept => Some(None),
        Some(Some(Where::Here(text))) => Some(Some(names.intern(text))),
        Some(Some(Where::Scratch)) => std::str::from_utf8(&scratch).ok().map(|text| Some(names.intern(text))),
        Some(None) => Some(None),
        None => None,
    };
    names.scratch[0] = scratch;
    name
}
