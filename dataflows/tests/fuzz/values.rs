//! Objects of older layouts: values one after the other, lists of them, and what is neither.

use super::byte_fuzz::Target;
use dataflows::split_values;
use serde_json::Value;

/// What the values of a text are as far as it is JSON, lists taken apart, and whether all of it is.
fn values(input: &[u8]) -> (Vec<Value>, bool) {
    let mut found = Vec::new();
    for value in serde_json::Deserializer::from_slice(input).into_iter::<Value>() {
        match value {
            Ok(Value::Array(elements)) if !elements.is_empty() => found.extend(elements),
            Ok(value) => found.push(value),
            Err(_) => return (found, false),
        }
    }
    (found, true)
}

#[rustfmt::skip]
const TOKENS: &[&[u8]] = &[
    b"[", b"]", b"{", b"}", b",", b"\n", b"\n{", b"\n[", b"\n\"", b"\"", b"[[1],2]", b"{\"ind\":1}", b"\"x\"", b"7",
    b"null", b"[]", b" ", b"\\", b"\\ud83d", b"\xff", b"1e400", b"\x0c",
];

#[test]
fn values_are_cut_as_serde_json_cuts_them_and_no_byte_is_lost() {
    let target = Target {
        name: "values",
        tokens: TOKENS,
        bytes: 20_000_000,
    };
    target.run(|input, _| {
        let parts: Vec<&[u8]> = split_values(input).filter_map(Result::ok).collect();
        let (expected, is_json) = values(input);
        let found = parts.iter().map(|part| serde_json::from_slice::<Value>(part).ok());
        let first: Vec<Option<Value>> = found.take(expected.len()).collect();
        assert_eq!(first, expected.iter().cloned().map(Some).collect::<Vec<_>>());
        if is_json {
            assert_eq!(parts.len(), expected.len());
            assert_eq!(parts.is_empty(), input.trim_ascii().is_empty());
        }
        // in order, and nothing between two parts but what makes lists of them
        let mut rest = input;
        for part in &parts {
            let begin = part.as_ptr() as usize - rest.as_ptr() as usize;
            assert!(begin <= rest.len(), "a part lies before the one before it");
            between(&rest[..begin]);
            rest = &rest[begin + part.len()..];
        }
        between(rest);
        is_json
    });
}

fn between(bytes: &[u8]) {
    let is_punctuation = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'[' | b']' | b',');
    assert!(
        bytes.iter().all(is_punctuation),
        "{} is in no part",
        bytes.escape_ascii()
    );
}
