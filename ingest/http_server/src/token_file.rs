//! Token files: one token a line, followed by its name, scopes and rate.
//!
//! ```text
//! # whoever has a bare token may do everything
//! 4f1c9a7e52d84b06
//! b7d03e915c6a4f28  name=mobile      scopes=produce:*.pin,produce:*.geo  rate=200
//! e18a6c04d95b7f32  name=prometheus  scopes=metrics
//! ```

use super::error::ServerError;
use super::files;
use super::rate::Rate;
use super::scope::{Scope, ScopeError};
use sha2::{Digest, Sha256};
use std::path::Path;

/// A token shorter than this is a mistake.
const SHORTEST: usize = 16;
/// A name that is longer is none.
const LONGEST_NAME: usize = 64;

/// What a line says about a token; the token itself is kept as its SHA-256 digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) digest: [u8; 32],
    /// What the access log calls it: its name, else file and line.
    pub(super) name: String,
    /// Whether that is a name of its own.
    pub(super) named: bool,
    /// `None`: everything.
    pub(super) scopes: Option<Vec<Scope>>,
    pub(super) rate: Option<Rate>,
}

impl Entry {
    /// Whether both say the same of the same token; the line on which one without a name stands may change.
    pub(super) fn is_same(&self, other: &Entry) -> bool {
        let said = |entry: &Entry| (entry.digest, entry.named, entry.rate);
        said(self) == said(other) && self.scopes == other.scopes && (!self.named || self.name == other.name)
    }
}

/// A line of a file that says nothing, and why; never what stands in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WrongLine {
    pub(super) line: usize,
    pub(super) reason: LineError,
}

/// Why a line describes no token; never with what stands in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum LineError {
    #[error("a token has at least {SHORTEST} visible ASCII characters and no spaces")]
    Token,
    #[error("expected name=, scopes= or rate= after the token")]
    Attribute,
    #[error("duplicate attribute: name=, scopes= and rate= occur at most once")]
    Duplicate,
    #[error("a name is 1 to {LONGEST_NAME} letters, digits, `.`, `_` and `-`")]
    Name,
    #[error(transparent)]
    Scope(#[from] ScopeError),
    #[error("a rate is a whole number of requests and records a second, from 1")]
    Rate,
}

/// The tokens of a file, which others may read where it may be `exposed`, and the lines that are wrong.
pub(super) fn read(path: &Path, exposed: bool) -> Result<(Vec<Entry>, Vec<WrongLine>), ServerError> {
    let content = files::read_secret(path, exposed)?;
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let (mut entries, mut wrong): (Vec<Entry>, Vec<WrongLine>) = (Vec::new(), Vec::new());
    for (index, line) in content.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).enumerate() {
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let line_number = index + 1;
        match parse(line, || format!("{file}:{line_number}")) {
            Ok(entry) => entries.push(entry),
            Err(reason) => wrong.push(WrongLine {
                line: line_number,
                reason,
            }),
        }
    }
    Ok((entries, wrong))
}

fn parse(line: &[u8], default_name: impl Fn() -> String) -> Result<Entry, LineError> {
    let text = std::str::from_utf8(line).map_err(|_| LineError::Token)?;
    let mut words = text.split_ascii_whitespace();
    let token = words.next().unwrap_or_default();
    if token.len() < SHORTEST || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(LineError::Token);
    }
    let (mut name, mut scopes, mut rate) = (None, None, None);
    for word in words {
        let twice = match word.split_once('=') {
            Some(("name", text)) => name.replace(check_name(text)?).is_some(),
            Some(("scopes", text)) => scopes.replace(parse_scopes(text)?).is_some(),
            Some(("rate", text)) => rate.replace(parse_rate(text)?).is_some(),
            // the word may be a part of a token that holds a space
            _ => return Err(LineError::Attribute),
        };
        if twice {
            return Err(LineError::Duplicate);
        }
    }
    Ok(Entry {
        digest: Sha256::digest(token).into(),
        named: name.is_some(),
        name: name.unwrap_or_else(default_name),
        scopes,
        rate,
    })
}

fn check_name(text: &str) -> Result<String, LineError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err(LineError::Name)
    }
}

fn parse_scopes(text: &str) -> Result<Vec<Scope>, LineError> {
    text.split(',').map(|scope| Ok(scope.parse::<Scope>()?)).collect()
}

fn parse_rate(text: &str) -> Result<Rate, LineError> {
    let rate = text.parse().ok().and_then(Rate::new);
    rate.ok_or(LineError::Rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Entry, LineError> {
        parse(line.as_bytes(), || "tokens:7".to_owned())
    }

    #[test]
    fn a_line_is_a_token_and_what_it_may() {
        let bare = of("0123456789abcdef").unwrap();
        assert_eq!((bare.name.as_str(), &bare.scopes, bare.rate), ("tokens:7", &None, None));
        let full = of("0123456789abcdef\tname=a.B-1_  rate=20 scopes=produce:*.pin,read").unwrap();
        assert_eq!((full.name.as_str(), full.rate), ("a.B-1_", Rate::new(20)));
        assert_eq!(full.scopes, Some(vec![Scope::Produce("*.pin".to_owned()), Scope::Read]));
        assert_eq!(full.digest, bare.digest);
        // of a token itself any visible character may be a part
        assert!(of("name=0123456789abcdef,#").is_ok());
    }

    #[test]
    fn a_wrong_line_says_why_and_not_what_stands_in_it() {
        for (line, said) in [
            ("secret-secret", "at least 16"),
            ("secret-secret-s\u{e9}cret", "visible ASCII"),
            (
                "secret-secret-secret secret",
                "expected name=, scopes= or rate= after the token",
            ),
            ("secret-secret-secret scope=secret", "after the token"),
            ("secret-secret-secret name=", "a name is"),
            ("secret-secret-secret name=secret/", "a name is"),
            ("secret-secret-secret scopes=", "unknown scope"),
            ("secret-secret-secret scopes=read,", "unknown scope"),
            ("secret-secret-secret scopes=secret", "unknown scope"),
            ("secret-secret-secret rate=0", "a rate is"),
            ("secret-secret-secret rate=-1", "a rate is"),
            ("secret-secret-secret rate=1 rate=2", "duplicate attribute"),
            ("secret-secret-secret scopes=read scopes=raw", "duplicate attribute"),
        ] {
            let error = of(line).unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains("secret"), "{line}: {error}");
        }
    }
}
