//! A record's JSON, parsed by serde_json as far as it may matter: the known fields of an object, the element of an
//! array that has just one, and no container deeper than a wrapped record can be. All the rest is checked and dropped.
//!
//! serde_json's numbers are what they are: an integer beyond 64 bits arrives as a double (and is no integer), and a
//! number beyond the range of doubles is an error, hence not JSON.

use super::field::Field;
use super::reason::{Limits, Reason};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

/// How many wrappings (`[…]` or `{"value": …}`) may stand around a record.
pub(super) const WRAPPINGS: usize = 3;

/// A parsed value, as far as it is kept.
pub(super) enum Json<'a> {
    /// No such field.
    Absent,
    Null,
    Bool(bool),
    Integer(i64),
    Number(f64),
    Text(Cow<'a, str>),
    /// An array, with its element when it has just one.
    Array(Option<Box<Json<'a>>>),
    Object(Box<Object<'a>>),
    /// An array or object too deep to be a record.
    Nested,
}

/// An object: its known fields and its field `value`, the last of duplicates each.
pub(super) struct Object<'a> {
    pub(super) fields: [Json<'a>; Field::COUNT],
    /// The field `value`.
    pub(super) value: Json<'a>,
    /// Whether there is a field other than `value`.
    others: bool,
}

impl Object<'_> {
    /// Whether this is a wrapping: a single field, `value`.
    pub(super) fn wraps(&self) -> bool {
        !self.others && !matches!(self.value, Json::Absent)
    }
}

/// Parses a whole text.
pub(super) fn parse<'a>(text: &'a str, limits: &Limits) -> Result<Json<'a>, Reason> {
    let too_deep = Cell::new(false);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let seed = Seed {
        level: 0,
        depth: limits.depth,
        too_deep: &too_deep,
    };
    let parsed = seed
        .deserialize(&mut deserializer)
        .and_then(|json| deserializer.end().map(|()| json));
    parsed.map_err(|error| {
        if too_deep.get() {
            return Reason::TooDeep;
        }
        if text.trim_ascii().is_empty() {
            return Reason::Empty;
        }
        // serde_json tells the kinds of syntax errors apart by their text alone; a test pins these
        let error = error.to_string();
        if error.starts_with("recursion limit exceeded") {
            return Reason::TooDeep;
        }
        if error.starts_with("lone leading surrogate") || error.starts_with("unexpected end of hex escape") {
            return Reason::BadUtf8;
        }
        Reason::NotJson
    })
}

/// Parses the value at nesting `level` (the root's is 0).
#[derive(Clone, Copy)]
struct Seed<'c> {
    level: usize,
    depth: usize,
    too_deep: &'c Cell<bool>,
}

impl Seed<'_> {
    fn enter<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.level >= self.depth {
            self.too_deep.set(true);
            return Err(E::custom("nested too deep"));
        }
        Ok(Seed {
            level: self.level + 1,
            ..self
        })
    }

    /// Whether a container at this level can be a record or a wrapping of one.
    fn kept(self) -> bool {
        self.level <= WRAPPINGS
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Json<'de>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(i64::try_from(value).map_or(Json::Number(value as f64), Json::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Json<'de>, A::Error> {
        let inner = self.enter()?;
        let mut first = None;
        let mut count = 0u64;
        while let Some(element) = elements.next_element_seed(inner)? {
            count += 1;
            first = (count == 1 && self.kept()).then_some(element);
        }
        Ok(if self.kept() {
            Json::Array(first.map(Box::new))
        } else {
            Json::Nested
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json<'de>, A::Error> {
        let inner = self.enter()?;
        if !self.kept() {
            while entries.next_key_seed(Key)?.is_some() {
                entries.next_value_seed(inner)?;
            }
            return Ok(Json::Nested);
        }
        let mut object = Box::new(Object {
            fields: [const { Json::Absent }; Field::COUNT],
            value: Json::Absent,
            others: false,
        });
        while let Some(name) = entries.next_key_seed(Key)? {
            let json = entries.next_value_seed(inner)?;
            match name {
                Name::Known(field) => object.fields[field as usize] = json,
                Name::Value => object.value = json,
                Name::Unknown => {}
            }
            object.others |= !matches!(name, Name::Value);
        }
        Ok(Json::Object(object))
    }
}

/// The key of an object's entry.
enum Name {
    Known(Field),
    Value,
    Unknown,
}

struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Name;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Name, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Name;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E>(self, name: &str) -> Result<Name, E> {
        Ok(match Field::from_name(name) {
            Some(field) => Name::Known(field),
            None if name == "value" => Name::Value,
            None => Name::Unknown,
        })
    }
}
