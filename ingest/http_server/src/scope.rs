//! The scopes of a token: which requests it authorizes.

use std::fmt;
use std::str::FromStr;

/// A part of what a server does, as a token may open it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// `produce`, `produce:PATTERN`: to write to the topics whose names fit, `*` standing for any characters.
    Produce(String),
    /// `read`: to ask for topics, streams and results.
    Read,
    /// `raw`: to read the bytes of records as they were sent.
    Raw,
    /// `metrics`: to read `/metrics`.
    Metrics,
    /// `admin`: to create and delete topics, where the server allows it at all.
    Admin,
}

/// What a request needs of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need<'a> {
    /// To write to this topic.
    Produce(&'a str),
    /// To ask for topics, streams and results.
    Read,
    /// To read the bytes of records as they were sent.
    Raw,
    /// To read `/metrics`.
    Metrics,
    /// To create and delete topics.
    Admin,
}

/// A scope is not one of those that there are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown scope: produce, produce:TOPIC, read, raw, metrics and admin are those that there are")]
pub struct ScopeError;

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Scope, ScopeError> {
        match text {
            "produce" => Ok(Scope::Produce("*".to_owned())),
            "read" => Ok(Scope::Read),
            "raw" => Ok(Scope::Raw),
            "metrics" => Ok(Scope::Metrics),
            "admin" => Ok(Scope::Admin),
            text => {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'*');
                let pattern = text.strip_prefix("produce:").filter(|pattern| !pattern.is_empty());
                let pattern = pattern.filter(|pattern| pattern.bytes().all(plain));
                pattern
                    .map(|pattern| Scope::Produce(pattern.to_owned()))
                    .ok_or(ScopeError)
            }
        }
    }
}

impl Scope {
    /// Whether it is enough.
    pub fn covers(&self, need: Need<'_>) -> bool {
        match (self, need) {
            (Scope::Produce(pattern), Need::Produce(topic)) => fits(pattern, topic),
            (Scope::Read, Need::Read)
            | (Scope::Raw, Need::Raw)
            | (Scope::Metrics, Need::Metrics)
            | (Scope::Admin, Need::Admin) => true,
            _ => false,
        }
    }
}

/// What is missing, as an answer names it.
impl fmt::Display for Need<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // under which name the topic is known behind the server is not told
            Need::Produce(_) => f.write_str("produce for this topic"),
            Need::Read => f.write_str("read"),
            Need::Raw => f.write_str("raw"),
            Need::Metrics => f.write_str("metrics"),
            Need::Admin => f.write_str("admin"),
        }
    }
}

/// Whether a topic's name fits a pattern: each piece between two `*` is found behind the piece before it.
fn fits(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let Some(last) = pieces.next_back() else {
        return rest.is_empty();
    };
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_whole_names() {
        for (pattern, name, expected) in [
            ("pin", "pin", true),
            ("pin", "pins", false),
            ("pin.*", "pin.a", true),
            ("pin.*", "pin", false),
            ("pin.*", "xpin.a", false),
            ("*.pin", "0a3.pin", true),
            ("*.pin", "0a3.pin.x", false),
            ("*", "anything", true),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
            ("**", "", true),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn scopes_cover_what_they_say_and_nothing_else() {
        let needs = [
            Need::Produce("u.pin"),
            Need::Read,
            Need::Raw,
            Need::Metrics,
            Need::Admin,
        ];
        for (index, text) in ["produce", "read", "raw", "metrics", "admin"].into_iter().enumerate() {
            let scope: Scope = text.parse().unwrap();
            for (other, need) in needs.into_iter().enumerate() {
                assert_eq!(scope.covers(need), index == other, "{text} {need}");
            }
        }
        let own: Scope = "produce:u.*".parse().unwrap();
        assert!(own.covers(needs[0]) && !own.covers(Need::Produce("v.pin")));
        for wrong in [
            "",
            "write",
            "produce:",
            "Read",
            "produce:a b",
            "produce:a/b",
            "read:x",
            "*",
            "all",
        ] {
            assert!(wrong.parse::<Scope>().is_err(), "{wrong}");
        }
    }
}
