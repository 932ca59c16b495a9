//! Any bytes, cut anywhere.

use super::*;
use crate::byte_fuzz::{Random, Target};
use serde_json::value::RawValue;

/// Bytes of an object.
const LIMIT: usize = 200;

/// The objects that come out of a stream that arrives in such pieces, and how it ends.
fn split(input: &[u8], mut piece: impl FnMut() -> usize) -> (Vec<Bytes>, Result<(), SplitError>) {
    let (mut splitter, mut objects) = (Splitter::new(LIMIT), Vec::new());
    let mut rest = input;
    loop {
        loop {
            match splitter.next() {
                Ok(Some(object)) => objects.push(object),
                Ok(None) => break,
                Err(error) => return (objects, Err(error)),
            }
        }
        if rest.is_empty() {
            return (objects, splitter.finish());
        }
        let (now, later) = rest.split_at(piece().clamp(1, rest.len()));
        splitter.feed(now);
        rest = later;
    }
}

/// The objects at the beginning of a stream, as far as it is objects within the limit, and whether that is all of it.
fn objects(input: &[u8]) -> (Vec<&[u8]>, bool) {
    let mut objects = Vec::new();
    for object in serde_json::Deserializer::from_slice(input).into_iter::<&RawValue>() {
        match object.as_ref().map(|object| object.get().as_bytes()) {
            Ok(object) if object.starts_with(b"{") && object.len() <= LIMIT => objects.push(object),
            _ => return (objects, false),
        }
    }
    (objects, true)
}

#[rustfmt::skip]
const TOKENS: &[&[u8]] = &[
    b"{", b"}", b"[", b"]", b"\"", b"\\", b"\\\"", b"{}", b"{\"a\":\"}{\"}", b"{\"value\":{\"data\":1}}", b"\n",
    b"\r\n", b" ", b"\x0c", b"7", b"\\u007d", b"null", b"\xff", b"\xef\xbb\xbf", b",",
];

#[test]
fn objects_are_those_that_serde_json_finds_wherever_the_body_is_cut() {
    let target = Target {
        name: "split",
        tokens: TOKENS,
        bytes: 10_000_000,
    };
    target.run(|input, random: &mut Random| {
        let whole = split(input, || input.len());
        assert_eq!(split(input, || 1), whole, "byte by byte");
        assert_eq!(split(input, || random.zipf(7) as usize), whole, "cut anywhere");
        let (found, end) = whole;
        let (expected, is_all) = objects(input);
        assert!(found.len() >= expected.len(), "{found:?}, and not {expected:?}");
        assert!(
            found.iter().zip(&expected).all(|(found, expected)| found == expected),
            "{found:?}"
        );
        if is_all {
            assert_eq!((found.len(), end), (expected.len(), Ok(())));
            return true;
        }
        // nothing is left out: the objects stand one behind the other, white space between them
        let mut rest = input;
        for object in &found {
            assert!((1..=LIMIT).contains(&object.len()));
            rest = rest.trim_ascii_start();
            rest = rest.strip_prefix(&object[..]).expect("an object of the body");
        }
        let rest = rest.trim_ascii_start();
        match end {
            Ok(()) => assert!(rest.is_empty(), "an end before the end"),
            Err(SplitError::NoObject) => assert!(!rest.is_empty() && !rest.starts_with(b"{")),
            Err(SplitError::TooLarge) => assert!(rest.starts_with(b"{") && rest.len() > LIMIT),
            Err(SplitError::Unfinished) => assert!(rest.starts_with(b"{") && rest.len() <= LIMIT),
        }
        false
    });
}
