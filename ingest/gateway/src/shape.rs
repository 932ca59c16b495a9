//! Shapes that a body must have before its content is looked at: objects that are objects, lists that end.
//!
//! serde takes an array for a struct (`["k","v"]` for a record), which no old server did; and a list of many tiny
//! elements takes more memory than its text.

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// A value that is written as a JSON object.
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<T>, D::Error> {
        struct Fields<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(Fields(PhantomData)).map(Object)
    }
}

/// A list of objects; of more than `MOST` one more is kept, so that it shows, and the rest is only read over.
pub(super) struct List<T, const MOST: usize>(pub(super) Vec<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for List<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<List<T, MOST>, D::Error> {
        struct Elements<T, const MOST: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Elements<T, MOST> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of records")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
                let mut elements = Vec::new();
                while elements.len() <= MOST {
                    match seq.next_element::<Object<T>>()? {
                        Some(Object(element)) => elements.push(element),
                        None => return Ok(elements),
                    }
                }
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(elements)
            }
        }
        deserializer.deserialize_seq(Elements::<T, MOST>(PhantomData)).map(List)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Field<'a> {
        #[serde(borrow)]
        raw: &'a serde_json::value::RawValue,
    }

    #[test]
    fn an_array_is_no_object_and_a_list_ends() {
        let Object(field) = serde_json::from_str::<Object<Field<'_>>>(r#"{"raw": [1, 2]}"#).unwrap();
        assert_eq!(field.raw.get(), "[1, 2]");
        assert!(serde_json::from_str::<Object<Field<'_>>>("[7]").is_err());
        let count = |text: &str| {
            serde_json::from_str::<List<Field<'_>, 2>>(text)
                .map(|list| list.0.len())
                .ok()
        };
        assert_eq!(count("[]"), Some(0));
        assert_eq!(count(r#"[{"raw":1},{"raw":2}]"#), Some(2));
        assert_eq!(count(r#"[{"raw":1},{"raw":2},{"raw":3},7,[]]"#), Some(3));
        assert_eq!(count("[[7]]"), None);
        assert_eq!(count("{}"), None);
    }
}
