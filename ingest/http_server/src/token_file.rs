//! Token files: one token a line, followed by its name, scopes and rate.
//!
//! ```text
//! # whoever has a bare token may do everything
//! 4f1c9a7e52d84b06
//! b7d03e915c6a4f28  name=mobile      scopes=produce:*.pin,produce:*.geo  rate=200
//! e18a6c04d95b7f32  name=prometheus  scopes=metrics
//! AKIAPINFLOW000001 secret=Zm9vYmFyL2Jhei9xdXV4  name=agent  scopes=produce
//! ```
//!
//! With a secret the first word is the id of an AWS access key, which is sent with every request and opens nothing: the
//! signature that is made with the secret does.

use super::error::ServerError;
use super::files;
use super::rate::Rate;
use super::scope::{Scope, ScopeError};
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::Path;

/// A token shorter than this is a mistake.
const SHORTEST: usize = 16;
/// A name that is longer is none.
const LONGEST_NAME: usize = 64;
/// AWS's own limit for the id of an access key.
const LONGEST_ID: usize = 128;

/// The secret of an access key.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(pub(super) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What a line says about a token; the token itself is kept as its SHA-256 digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Of the token, or of the id of an access key.
    pub(super) digest: [u8; 32],
    /// What requests with this access key are signed with; `None`: it is a token.
    pub(super) secret: Option<Secret>,
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
        let said = |entry: &Entry| (entry.digest, entry.named);
        said(self) == said(other) && self.agrees(other) && (!self.named || self.name == other.name)
    }

    /// Whether both open the same to whoever has the same token.
    pub(super) fn agrees(&self, other: &Entry) -> bool {
        (&self.secret, &self.scopes, self.rate) == (&other.secret, &other.scopes, other.rate)
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
    #[error("expected name=, scopes=, rate= or secret= after the token")]
    Attribute,
    #[error("duplicate attribute: name=, scopes=, rate= and secret= occur at most once")]
    Duplicate,
    #[error("the id of an access key, before secret=, is {SHORTEST} to {LONGEST_ID} letters, digits and `_`")]
    AccessKey,
    #[error("a secret has at least {SHORTEST} visible ASCII characters")]
    Secret,
    #[error("a name is 1 to {LONGEST_NAME} letters, digits, `.`, `_` and `-`")]
    Name,
    #[error(transparent)]
    Scope(#[from] ScopeError),
    #[error("a rate is a whole number of requests and records a second, from 1")]
    Rate,
}

/// What a file says.
pub(super) struct TokenFile {
    pub(super) entries: Vec<Entry>,
    /// The lines that are wrong.
    pub(super) wrong: Vec<WrongLine>,
    /// Of its bytes.
    pub(super) digest: [u8; 32],
}

/// Reads a file, which others may read where it may be `exposed`.
pub(super) fn read(path: &Path, exposed: bool) -> Result<TokenFile, ServerError> {
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
    Ok(TokenFile {
        entries,
        wrong,
        digest: Sha256::digest(&content).into(),
    })
}

fn parse(line: &[u8], default_name: impl Fn() -> String) -> Result<Entry, LineError> {
    let text = std::str::from_utf8(line).map_err(|_| LineError::Token)?;
    let mut words = text.split_ascii_whitespace();
    let token = words.next().unwrap_or_default();
    if token.len() < SHORTEST || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(LineError::Token);
    }
    let (mut name, mut scopes, mut rate, mut secret) = (None, None, None, None);
    for word in words {
        let twice = match word.split_once('=') {
            Some(("name", text)) => name.replace(check_name(text)?).is_some(),
            Some(("scopes", text)) => scopes.replace(parse_scopes(text)?).is_some(),
            Some(("rate", text)) => rate.replace(parse_rate(text)?).is_some(),
            Some(("secret", text)) => secret.replace(parse_secret(text)?).is_some(),
            // the word may be a part of a token that holds a space
            _ => return Err(LineError::Attribute),
        };
        if twice {
            return Err(LineError::Duplicate);
        }
    }
    let is_id = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if secret.is_some() && !(token.len() <= LONGEST_ID && token.bytes().all(is_id)) {
        return Err(LineError::AccessKey);
    }
    Ok(Entry {
        digest: Sha256::digest(token).into(),
        secret,
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

fn parse_secret(text: &str) -> Result<Secret, LineError> {
    let is_secret = text.len() >= SHORTEST && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_secret.then(|| Secret(text.to_owned())).ok_or(LineError::Secret)
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
    fn with_a_secret_it_is_an_access_key() {
        let key = of("AKIAPINFLOW000001 name=agent secret=a/b+c=secret-secret rate=3").unwrap();
        assert_eq!(key.secret, Some(Secret("a/b+c=secret-secret".to_owned())));
        assert_eq!((key.name.as_str(), key.rate), ("agent", Rate::new(3)));
        assert!(!format!("{key:?}").contains("secret-secret"));
        let token = of("AKIAPINFLOW000001 name=agent rate=3").unwrap();
        assert!(key.digest == token.digest && !key.agrees(&token) && !key.is_same(&token));
    }

    #[test]
    fn a_wrong_line_says_why_and_not_what_stands_in_it() {
        for (line, said) in [
            ("s3cr3t-s3cr3t", "at least 16"),
            ("s3cr3t-s3cr3t-s\u{e9}cret", "visible ASCII"),
            (
                "s3cr3t-s3cr3t-s3cr3t s3cr3t",
                "expected name=, scopes=, rate= or secret= after the token",
            ),
            ("s3cr3t-s3cr3t-s3cr3t scope=s3cr3t", "after the token"),
            ("s3cr3t-s3cr3t-s3cr3t name=", "a name is"),
            ("s3cr3t-s3cr3t-s3cr3t name=s3cr3t/", "a name is"),
            ("s3cr3t-s3cr3t-s3cr3t scopes=", "unknown scope"),
            ("s3cr3t-s3cr3t-s3cr3t scopes=read,", "unknown scope"),
            ("s3cr3t-s3cr3t-s3cr3t scopes=s3cr3t", "unknown scope"),
            ("s3cr3t-s3cr3t-s3cr3t rate=0", "a rate is"),
            ("s3cr3t-s3cr3t-s3cr3t rate=-1", "a rate is"),
            ("s3cr3t-s3cr3t-s3cr3t rate=1 rate=2", "duplicate attribute"),
            ("s3cr3t-s3cr3t-s3cr3t scopes=read scopes=raw", "duplicate attribute"),
            ("s3cr3ts3cr3ts3cr3t secret=s3cr3t", "a secret has"),
            ("s3cr3ts3cr3ts3cr3t secret=s3cr3ts3cr3t\u{e9}s3cr3t", "a secret has"),
            (
                "s3cr3t-s3cr3t-s3cr3t secret=s3cr3ts3cr3ts3cr3t",
                "the id of an access key",
            ),
        ] {
            let error = of(line).unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains("s3cr3t"), "{line}: {error}");
        }
    }
}
