//! The fast decoder: one pass over the usual shape, a flat object of strings, numbers and literals, in place.
//!
//! Contract: where it answers, the reference decoder gives the same answer and notes nothing; whatever looks odd is
//! `None`, and the reference decides. Odd are: nested values, wrappings, deletes, control characters (so raw line
//! breaks too), keys with escapes, exponents, missing or conflicting keys, fields that the reference would have to
//! note, U+0000. A property test holds it to that.

use super::Kind;
use super::field::Field;
use super::names::Names;
use super::scanner::{Scanner, Text, Where};
use crate::cleaning::sentinel;
use crate::post::Payload;

/// The key and payload of a record of the usual shape.
pub(super) fn decode(kind: Kind, text: &str, names: &mut Names) -> Option<(i64, Payload)> {
    let scanner = Scanner::new(text)?;
    match kind {
        Kind::Pin => pin(scanner, names),
        Kind::Geo => geo(scanner, names),
        Kind::User => user(scanner, names),
    }
}

fn pin(mut scanner: Scanner<'_>, names: &mut Names) -> Option<(i64, Payload)> {
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
    let key = key.get()?;
    let category = match category.name(&mut names.scratch[0], sentinel::NONE)? {
        Some(Where::Here(text)) => Some(names.frequent(text)),
        Some(Where::Scratch) => Some(in_scratch(names, |names, text| names.frequent(text))?),
        None => None,
    };
    let poster = match poster.name(&mut names.scratch[0], sentinel::USER)? {
        Some(Where::Here(text)) => Some(names.rare(text)),
        Some(Where::Scratch) => Some(in_scratch(names, |names, text| names.rare(text))?),
        None => None,
    };
    Some((key, Payload::pin(followers, category, poster)))
}

fn geo(mut scanner: Scanner<'_>, names: &mut Names) -> Option<(i64, Payload)> {
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
    let key = key.get()?;
    let country = match country.name(&mut names.scratch[0], sentinel::NONE)? {
        Some(Where::Here(text)) => Some(names.frequent(text)),
        Some(Where::Scratch) => Some(in_scratch(names, |names, text| names.frequent(text))?),
        None => None,
    };
    Some((key, Payload::geo(country, time)))
}

fn user(mut scanner: Scanner<'_>, names: &mut Names) -> Option<(i64, Payload)> {
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
    let key = key.get()?;
    let [mut scratch_first, mut scratch_last] = std::mem::take(&mut names.scratch);
    let name = match (first.present(&mut scratch_first), last.present(&mut scratch_last)) {
        (Some(first), Some(last)) => Some(first.zip(last).map(|(first, last)| names.user(first, last))),
        _ => None,
    };
    names.scratch = [scratch_first, scratch_last];
    Some((key, Payload::user(name?, age, joined)))
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

/// `f` of the text in the scratch space.
fn in_scratch<T>(names: &mut Names, f: impl FnOnce(&mut Names, &str) -> T) -> Option<T> {
    let scratch = std::mem::take(&mut names.scratch[0]);
    let result = std::str::from_utf8(&scratch).ok().map(|text| f(names, text));
    names.scratch[0] = scratch;
    result
}
