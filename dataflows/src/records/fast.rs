//! The fast decoder: one pass over the usual shape, a flat object of strings, numbers and literals, in place.
//!
//! Contract: where it answers, the reference decoder gives the same answer and notes nothing; whatever looks odd is
//! `None`, and the reference decides. Odd are: nested values, wrappings, deletes, control characters (so raw line
//! breaks too), keys with escapes, exponents, missing or conflicting keys, fields that the reference would have to
//! note, U+0000. A property test holds it to that.

use super::Kind;
use super::chunk::Marks;
use super::field::Field;
use super::names::{self, Names};
use super::scanner::{Scanner, Text, Where};
use crate::cleaning::sentinel;
use crate::post::{Payload, UserName};
use operators::Symbol;

/// The key of a record of the usual shape, and what was seen of the rest. `marks` are of a chunk in which the text
/// begins at `start`.
#[inline]
pub(super) fn scan<'a>(kind: Kind, text: &'a str, marks: &Marks, start: usize) -> Option<(i64, Seen<'a>)> {
    let scanner = Scanner::new(text, marks, start);
    match kind {
        Kind::Pin => pin(scanner),
        Kind::Geo => geo(scanner),
        Kind::User => user(scanner),
    }
}

/// A scanned record whose names are still texts.
pub(super) enum Seen<'a> {
    Pin {
        followers: Option<i64>,
        category: Text<'a>,
        poster: Text<'a>,
    },
    Geo {
        country: Text<'a>,
        time: Option<i64>,
    },
    User {
        first: Text<'a>,
        last: Text<'a>,
        age: Option<i32>,
        joined: Option<i64>,
    },
}

impl<'a> Seen<'a> {
    /// The payload; `None` when a name is too long.
    pub(super) fn payload(self, names: &mut Names) -> Option<Payload> {
        Some(match self {
            Seen::Pin {
                followers,
                category,
                poster,
            } => {
                let category = name(category, sentinel::NONE, names)?;
                Payload::pin(followers, category, name(poster, sentinel::USER, names)?)
            }
            Seen::Geo { country, time } => Payload::geo(name(country, sentinel::NONE, names)?, time),
            Seen::User {
                first,
                last,
                age,
                joined,
            } => {
                let [mut scratch_first, mut scratch_last] = std::mem::take(&mut names.scratch);
                let name = match (first.present(&mut scratch_first), last.present(&mut scratch_last)) {
                    (Some(first), Some(last)) => Some(first.zip(last).map(|(first, last)| names.user(first, last))),
                    _ => None,
                };
                names.scratch = [scratch_first, scratch_last];
                Payload::user(name?, age, joined)
            }
        })
    }

    /// The same without those names that stand in the record as they are interned, which are appended to `names`.
    /// Gives the record back if one of its names does not.
    pub(super) fn without_names(self, names: &mut Vec<&'a str>) -> Result<Nameless, Seen<'a>> {
        Ok(match self {
            Seen::Pin {
                followers,
                category,
                poster,
            } => match (category.plain_name(sentinel::NONE), poster.plain_name(sentinel::USER)) {
                (Some(category), Some(poster)) => {
                    names.extend([category, poster].into_iter().flatten());
                    Nameless::Pin {
                        followers,
                        category: category.is_some(),
                        poster: poster.is_some(),
                    }
                }
                _ => return Err(self),
            },
            Seen::Geo { country, time } => match country.plain_name(sentinel::NONE) {
                Some(country) => {
                    names.extend(country);
                    Nameless::Geo {
                        country: country.is_some(),
                        time,
                    }
                }
                None => return Err(self),
            },
            Seen::User {
                first,
                last,
                age,
                joined,
            } => match (first.plain(), last.plain()) {
                (Some(first), Some(last)) if first.is_empty() || last.is_empty() => Nameless::User {
                    named: false,
                    age,
                    joined,
                },
                (Some(first), Some(last)) if names::is_usual(first, last) => {
                    names.extend([first, last]);
                    Nameless::User {
                        named: true,
                        age,
                        joined,
                    }
                }
                _ => return Err(self),
            },
        })
    }
}

/// A scanned record whose names are being looked up, and which of them it has.
pub(super) enum Nameless {
    Pin {
        followers: Option<i64>,
        category: bool,
        poster: bool,
    },
    Geo {
        country: bool,
        time: Option<i64>,
    },
    User {
        named: bool,
        age: Option<i32>,
        joined: Option<i64>,
    },
}

impl Nameless {
    /// The payload; takes the record's names from `names`.
    pub(super) fn payload(&self, names: &mut impl Iterator<Item = Symbol>) -> Payload {
        let mut next = || names.next().expect("a symbol for every name");
        match *self {
            Nameless::Pin {
                followers,
                category,
                poster,
            } => {
                let category = category.then(&mut next);
                Payload::pin(followers, category, poster.then(next))
            }
            Nameless::Geo { country, time } => Payload::geo(country.then(next), time),
            Nameless::User { named, age, joined } => {
                let name = named.then(|| UserName(next(), next()));
                Payload::user(name, age, joined)
            }
        }
    }
}

fn pin<'a>(mut scanner: Scanner<'a, '_>) -> Option<(i64, Seen<'a>)> {
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
    let seen = Seen::Pin {
        followers,
        category,
        poster,
    };
    Some((key.get()?, seen))
}

fn geo<'a>(mut scanner: Scanner<'a, '_>) -> Option<(i64, Seen<'a>)> {
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
    Some((key.get()?, Seen::Geo { country, time }))
}

fn user<'a>(mut scanner: Scanner<'a, '_>) -> Option<(i64, Seen<'a>)> {
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
    let seen = Seen::User {
        first,
        last,
        age,
        joined,
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
    fn get(&self) -> Option<i64> {
        match (self.index, self.ind) {
            (Some(index), Some(ind)) => (index == ind).then_some(index),
            (index, ind) => index.or(ind),
        }
    }
}

/// A name, interned: `Some(None)` for null, `None` for one that is too long.
fn name(text: Text<'_>, sentinels: &[&str], names: &mut Names) -> Option<Option<Symbol>> {
    let mut scratch = std::mem::take(&mut names.scratch[0]);
    let name = match text.name(&mut scratch, sentinels) {
        Some(Some(Where::Here(text))) => Some(Some(names.intern(text))),
        Some(Some(Where::Scratch)) => std::str::from_utf8(&scratch).ok().map(|text| Some(names.intern(text))),
        Some(None) => Some(None),
        None => None,
    };
    names.scratch[0] = scratch;
    name
}
