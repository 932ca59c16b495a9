//! Objects of older layouts: which kind they are when no topic says so, and where their records begin and end.

use super::field::Field;
use super::kind::Kind;
use super::reason::Reason;
use super::reference;
use serde_json::value::RawValue;

/// The kind whose own fields the record has most of; `None` when it has none, or as many of two kinds.
pub fn kind_of_fields(value: &[u8]) -> Option<Kind> {
    let present = reference::fields_present(simdutf8::basic::from_utf8(value).ok()?)?;
    let mut counts = [0; Kind::ALL.len()];
    for field in Field::ALL.into_iter().filter(|field| present[*field as usize]) {
        match field {
            Field::Index | Field::Ind | Field::Deleted => {}
            Field::Timestamp | Field::Latitude | Field::Longitude | Field::Country => counts[Kind::Geo as usize] += 1,
            Field::FirstName | Field::LastName | Field::Age | Field::DateJoined => counts[Kind::User as usize] += 1,
            _ => counts[Kind::Pin as usize] += 1,
        }
    }
    let most = counts.into_iter().max().filter(|most| *most > 0)?;
    let mut kinds = Kind::ALL.into_iter().filter(|kind| counts[*kind as usize] == most);
    kinds.next().filter(|_| kinds.next().is_none())
}

/// The records of a whole object: one value (perhaps over many lines), an array of values, or values one after the
/// other.
///
/// What cannot be parsed is a part too, so that decoding it yields its reason and its bytes are kept: from the error
/// to the next line that begins with `{`, `[` or `"`, else to the end. An object without any value is `Err(Empty)`.
pub fn split_values(bytes: &[u8]) -> impl Iterator<Item = Result<&[u8], Reason>> {
    Parts {
        rest: bytes,
        elements: Vec::new().into_iter(),
        any: false,
    }
}

struct Parts<'a> {
    rest: &'a [u8],
    /// What is left of an array.
    elements: std::vec::IntoIter<&'a RawValue>,
    any: bool,
}

impl<'a> Iterator for Parts<'a> {
    type Item = Result<&'a [u8], Reason>;

    fn next(&mut self) -> Option<Self::Item> {
        let before = self.any;
        self.any = true;
        if let Some(element) = self.elements.next() {
            return Some(Ok(element.get().as_bytes()));
        }
        self.rest = self.rest.trim_ascii_start();
        if self.rest.is_empty() {
            return (!before).then_some(Err(Reason::Empty));
        }
        let Some(value) = first_value(self.rest) else {
            let (broken, rest) = self.rest.split_at(resume(self.rest));
            self.rest = rest;
            return Some(Ok(broken.trim_ascii_end()));
        };
        self.rest = &self.rest[value.len()..];
        if let Ok(elements) = serde_json::from_slice::<Vec<&RawValue>>(value)
            && !elements.is_empty()
        {
            self.elements = elements.into_iter();
            return self.next();
        }
        Some(Ok(value))
    }
}

/// The value at the beginning of `bytes`, which begin with no white space.
fn first_value(bytes: &[u8]) -> Option<&[u8]> {
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<&RawValue>();
    values.next()?.ok().map(|value| value.get().as_bytes())
}

/// Where parsing goes on after an error in the value at the beginning.
fn resume(bytes: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', bytes)
        .map(|end| end + 1)
        .find(|start| matches!(bytes.get(*start), Some(b'{' | b'[' | b'"')))
        .unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Vec<String> {
        split_values(text.as_bytes())
            .map(|part| {
                part.map_or_else(
                    |reason| reason.to_string(),
                    |part| String::from_utf8(part.to_vec()).unwrap(),
                )
            })
            .collect()
    }

    #[test]
    fn one_object_many_lines() {
        assert_eq!(
            parts("{\n  \"index\": 1,\n  \"a\": [1, 2]\n}\n"),
            ["{\n  \"index\": 1,\n  \"a\": [1, 2]\n}"]
        );
    }

    #[test]
    fn arrays_and_concatenations() {
        assert_eq!(parts("[{\"ind\":1}, {\"ind\":2}]"), ["{\"ind\":1}", "{\"ind\":2}"]);
        assert_eq!(
            parts("{\"ind\":1}{\"ind\":2}\n\n {\"ind\":3}"),
            ["{\"ind\":1}", "{\"ind\":2}", "{\"ind\":3}"]
        );
        assert_eq!(parts("[1][2,3]\n\"x\""), ["1", "2", "3", "\"x\""]);
        assert_eq!(parts("[]"), ["[]"]);
        assert_eq!(parts(" \n"), ["empty"]);
        assert_eq!(parts(""), ["empty"]);
    }

    #[test]
    fn a_broken_value_costs_no_other() {
        assert_eq!(
            parts("{\"ind\":1}\n{\"ind\":\n{\"ind\":3}\n"),
            ["{\"ind\":1}", "{\"ind\":", "{\"ind\":3}"]
        );
        assert_eq!(
            parts("{\"ind\":1} oops {\"ind\":2}"),
            ["{\"ind\":1}", "oops {\"ind\":2}"]
        );
        assert_eq!(parts("[{\"ind\":1},"), ["[{\"ind\":1},"]);
    }

    #[test]
    fn invalid_utf8_is_a_part() {
        let parts: Vec<_> = split_values(b"{\"a\":\"\xff\"}\n{\"ind\":2}").collect();
        assert_eq!(parts, [Ok(&b"{\"a\":\"\xff\"}"[..]), Ok(&b"{\"ind\":2}"[..])]);
    }

    #[test]
    fn kinds_by_their_fields() {
        assert_eq!(
            kind_of_fields(br#"{"index":1,"category":"art","title":"x"}"#),
            Some(Kind::Pin)
        );
        assert_eq!(
            kind_of_fields(br#"[{"value":{"ind":1,"country":"Guam"}}]"#),
            Some(Kind::Geo)
        );
        assert_eq!(
            kind_of_fields(br#"{"index":1,"name":"Maya","age":25,"role":"engineer"}"#),
            Some(Kind::User)
        );
        assert_eq!(kind_of_fields(br#"{"ind":1,"age":25,"country":"Guam"}"#), None);
        assert_eq!(kind_of_fields(br#"{"ind":1}"#), None);
        assert_eq!(kind_of_fields(b"x"), None);
    }
}
