//! The reference decoder: JSON by serde_json, then the rules, one after the other. It defines what a record means.
//!
//! The value is parsed completely before anything is decided, because a later duplicate of a key replaces an
//! earlier one, and because half a surrogate pair condemns a record wherever it stands.

use super::field::Field;
use super::json::{Json, Object, WRAPPINGS, parse};
use super::kind::Kind;
use super::names::Names;
use super::notes::{Notes, Why};
use super::reason::{Limits, Reason};
use crate::cleaning::{self, sentinel};
use operators::{Ind, Row, Value};
use std::borrow::Cow;

/// Decodes a value: its key, and its cleaned fields or `None` for a delete.
pub(super) fn decode<'a>(
    kind: Kind,
    text: &'a str,
    limits: &Limits,
    notes: &mut Notes,
) -> Result<(Ind, Option<Cleaned<'a>>), Reason> {
    let object = record(parse(text, limits)?)?;
    let key = object.key()?;
    if object.deleted() {
        return Ok((key, None));
    }
    Ok((key, Some(clean(kind, object.fields, notes))))
}

/// The key that a tombstone's key names: digits, a JSON integer, a JSON string of digits, or an object with `ind` or
/// `index`.
pub(super) fn tombstone_key(key: &[u8], limits: &Limits) -> Option<Ind> {
    let text = simdutf8::basic::from_utf8(key).ok()?;
    // digits may have leading zeros, which JSON would refuse
    if let Some(key) = cleaning::digits(text) {
        return Some(Ind(key));
    }
    match parse(text, limits).ok()? {
        Json::Object(object) => object.key().ok(),
        scalar => scalar.integer().map(Ind),
    }
}

/// The known fields of the object in `text` after unwrapping: whether each is there.
pub(super) fn fields_present(text: &str) -> Option<[bool; Field::COUNT]> {
    let object = record(parse(text, &Limits::default()).ok()?).ok()?;
    Some(object.fields.map(|field| !matches!(field, Json::Absent)))
}

/// Takes off the wrappings and expects an object.
fn record(mut json: Json<'_>) -> Result<Box<Object<'_>>, Reason> {
    for _ in 0..WRAPPINGS {
        json = match json {
            Json::Array(Some(only)) => *only,
            Json::Object(mut object) if object.wraps() => std::mem::replace(&mut object.value, Json::Absent),
            _ => break,
        }
    }
    match json {
        Json::Object(object) => Ok(object),
        Json::Text(text) if text.is_empty() => Err(Reason::Empty),
        Json::Text(_) => Err(Reason::JsonString),
        _ => Err(Reason::NotObject),
    }
}

// ---- what a record says --------------------------------------------------------------------------------------

impl Object<'_> {
    fn key(&self) -> Result<Ind, Reason> {
        let (index, ind) = (&self.fields[Field::Index as usize], &self.fields[Field::Ind as usize]);
        let holds = |json: &Json, name: &str| matches!(json, Json::Text(text) if text == name);
        if holds(index, Field::Index.name()) || holds(ind, Field::Ind.name()) {
            return Err(Reason::HeaderRow);
        }
        match (index.integer(), ind.integer()) {
            (Some(index), Some(ind)) if index != ind => Err(Reason::KeyConflict),
            (index, ind) => index.or(ind).map(Ind).ok_or(Reason::NoKey),
        }
    }

    fn deleted(&self) -> bool {
        match &self.fields[Field::Deleted as usize] {
            Json::Bool(deleted) => *deleted,
            Json::Text(text) => text == "true",
            _ => false,
        }
    }
}

impl Json<'_> {
    /// A JSON integer or a string of digits, within i64.
    fn integer(&self) -> Option<i64> {
        match self {
            Json::Integer(integer) => Some(*integer),
            Json::Text(text) => cleaning::digits(text),
            _ => None,
        }
    }
}

/// The cleaned fields of one record.
pub(super) enum Cleaned<'a> {
    Pin(Box<CleanedPin<'a>>),
    Geo {
        country: Option<Cow<'a, str>>,
        latitude: Option<f64>,
        longitude: Option<f64>,
        timestamp: Option<i64>,
    },
    User {
        first: Option<Cow<'a, str>>,
        last: Option<Cow<'a, str>>,
        age: Option<i32>,
        joined: Option<i64>,
    },
}

pub(super) struct CleanedPin<'a> {
    unique_id: Option<Cow<'a, str>>,
    title: Option<Cow<'a, str>>,
    description: Option<Cow<'a, str>>,
    followers: Option<i64>,
    poster: Option<Cow<'a, str>>,
    tags: Option<Cow<'a, str>>,
    media: Option<Cow<'a, str>>,
    image: Option<Cow<'a, str>>,
    location: Option<Cow<'a, str>>,
    category: Option<Cow<'a, str>>,
}

impl Cleaned<'_> {
    /// The row of the cleaned table; names that repeat are interned.
    pub(super) fn into_row(self, ind: Ind, names: &mut Names) -> Row {
        let text = Value::string;
        let mut name = |name: Option<Cow<'_, str>>| name.map_or(Value::Null, |name| Value::Text(names.intern(&name)));
        match self {
            Cleaned::Pin(pin) => vec![
                Value::Int(ind.0),
                text(pin.unique_id),
                text(pin.title),
                text(pin.description),
                pin.followers.into(),
                name(pin.poster),
                text(pin.tags),
                text(pin.media),
                text(pin.image),
                text(pin.location),
                name(pin.category),
            ],
            Cleaned::Geo {
                country,
                latitude,
                longitude,
                timestamp,
            } => vec![
                Value::Int(ind.0),
                name(country),
                Value::Floats(Box::new([latitude, longitude])),
                timestamp.into(),
            ],
            Cleaned::User {
                first,
                last,
                age,
                joined,
            } => vec![
                Value::Int(ind.0),
                first
                    .zip(last)
                    .map_or(Value::Null, |(first, last)| format!("{first} {last}").as_str().into()),
                age.map(i64::from).into(),
                joined.into(),
            ],
        }
    }
}

fn clean<'a>(kind: Kind, fields: [Json<'a>; Field::COUNT], notes: &mut Notes) -> Cleaned<'a> {
    let mut reader = Reader { kind, fields, notes };
    match kind {
        Kind::Pin => Cleaned::Pin(Box::new(CleanedPin {
            unique_id: reader.text(Field::UniqueId, sentinel::NONE),
            title: reader.text(Field::Title, sentinel::TITLE),
            description: reader.text(Field::Description, sentinel::DESCRIPTION),
            followers: reader.followers(),
            poster: reader.name(Field::PosterName, sentinel::USER),
            tags: reader.text(Field::TagList, sentinel::TAGS),
            media: reader.text(Field::IsImageOrVideo, sentinel::NONE),
            image: reader.text(Field::ImageSrc, sentinel::IMAGE),
            location: reader
                .text(Field::SaveLocation, sentinel::NONE)
                .and_then(cleaning::save_location),
            category: reader.name(Field::Category, sentinel::NONE),
        })),
        Kind::Geo => Cleaned::Geo {
            country: reader.name(Field::Country, sentinel::NONE),
            latitude: reader.decimal(Field::Latitude),
            longitude: reader.decimal(Field::Longitude),
            timestamp: reader.time(Field::Timestamp),
        },
        Kind::User => Cleaned::User {
            first: reader.text(Field::FirstName, sentinel::NONE),
            last: reader.text(Field::LastName, sentinel::NONE),
            age: reader.age(),
            joined: reader.time(Field::DateJoined),
        },
    }
}

/// Takes fields out of a record, and notes those that cannot be read. The empty text is null for every type.
struct Reader<'a, 'n> {
    kind: Kind,
    fields: [Json<'a>; Field::COUNT],
    notes: &'n mut Notes,
}

impl<'a> Reader<'a, '_> {
    fn note(&mut self, field: Field, why: Why) {
        self.notes.note(self.kind, field, why);
    }

    fn text(&mut self, field: Field, sentinels: &[&str]) -> Option<Cow<'a, str>> {
        match self.take(field)? {
            Json::Text(text) => {
                let (text, had_nul) = cleaning::without_nul(text);
                if had_nul {
                    self.note(field, Why::Nul);
                }
                cleaning::present(text, sentinels)
            }
            _ => self.unreadable(field),
        }
    }

    fn name(&mut self, field: Field, sentinels: &[&str]) -> Option<Cow<'a, str>> {
        let name = self.text(field, sentinels)?;
        if name.len() > cleaning::LONGEST_NAME {
            self.note(field, Why::TooLong);
            return None;
        }
        Some(name)
    }

    fn followers(&mut self) -> Option<i64> {
        let field = Field::FollowerCount;
        match self.take(field)? {
            Json::Integer(followers) => Some(followers),
            Json::Text(text) if sentinel::USER.contains(&&*text) => None,
            Json::Text(text) => cleaning::followers(&text).or_else(|| self.unreadable(field)),
            _ => self.unreadable(field),
        }
    }

    fn age(&mut self) -> Option<i32> {
        let age = self.take(Field::Age)?.integer().and_then(|age| i32::try_from(age).ok());
        age.or_else(|| self.unreadable(Field::Age))
    }

    fn decimal(&mut self, field: Field) -> Option<f64> {
        let number = match self.take(field)? {
            Json::Integer(integer) => Some(integer as f64),
            Json::Number(number) => Some(number),
            Json::Text(text) => cleaning::decimal(&text),
            _ => None,
        };
        number.or_else(|| self.unreadable(field))
    }

    fn time(&mut self, field: Field) -> Option<i64> {
        let time = match self.take(field)? {
            Json::Text(text) => cleaning::micros(&text),
            _ => None,
        };
        time.or_else(|| self.unreadable(field))
    }

    /// The field, unless it is missing, null or the empty text.
    fn take(&mut self, field: Field) -> Option<Json<'a>> {
        match std::mem::replace(&mut self.fields[field as usize], Json::Absent) {
            Json::Absent | Json::Null => None,
            Json::Text(text) if text.is_empty() => None,
            json => Some(json),
        }
    }

    fn unreadable<T>(&mut self, field: Field) -> Option<T> {
        self.note(field, Why::Unreadable);
        None
    }
}
