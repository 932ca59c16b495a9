//! Values that must not be shown, and texts that contain such values.
//!
//! A value that is a connection string is taken apart and shown without its passwords; one that cannot be is not shown
//! at all. In other texts what looks like a secret is masked, rather too much than too little.

use sinks::Conninfo;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// What stands where a secret was.
pub const MASK: &str = "***";

/// A connection string that debug output and logs show without its passwords.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself: for the connection, never for a message.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mask_connection(&self.0))
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A longer file holds no secret.
const LONGEST_SECRET: u64 = 1 << 20;

/// Reads a secret from its file: what stands in it, without the line's end.
pub fn read_file(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let failed = |error: std::io::Error| format!("cannot read {shown}: {error}");
    let mut text = String::new();
    #[expect(clippy::disallowed_methods, reason = "what is read is limited by `take`")]
    let length = File::open(path)
        .and_then(|file| file.take(LONGEST_SECRET + 1).read_to_string(&mut text))
        .map_err(failed)?;
    let secret = text.trim_end_matches(['\n', '\r']);
    match (secret.is_empty(), length as u64 > LONGEST_SECRET) {
        (true, _) => Err(format!("{shown} is empty")),
        (_, true) => Err(format!("{shown} is longer than {LONGEST_SECRET} bytes")),
        _ => Ok(secret.to_owned()),
    }
}

/// Whether a setting of this name holds a secret: librdkafka's properties, Java's, AWS's, and parameters of URLs. What
/// only names a file or an address is none.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let is_place = ["file", "files", "location", "url"]
        .iter()
        .any(|end| name.ends_with(end));
    let words = [
        "password",
        "passwd",
        "passphrase",
        "secret",
        "token",
        "credential",
        "jaas",
        "signature",
        "private",
        "access_key",
        "access-key",
        "access.key",
        "accesskey",
        "api_key",
        "api-key",
        "api.key",
        "apikey",
        "ssl_key",
        ".pem",
        "oauthbearer.config",
    ];
    !is_place && words.iter().any(|word| name.contains(word))
}

/// A connection string without its passwords; [`MASK`] for a text that cannot be taken apart.
pub fn mask_connection(text: &str) -> String {
    match (Conninfo::parse(text), text.split_once("://")) {
        (Ok(conninfo), _) => conninfo.masked(),
        // MySQL's
        (Err(_), Some(("mysql" | "mariadb", _))) => mask_value(text),
        (Err(_), Some((scheme @ ("postgres" | "postgresql"), _))) => format!("{scheme}://{MASK}"),
        (Err(_), _) => MASK.to_owned(),
    }
}

/// A value without the secrets in it, whatever it may be: a connection string, another URL, `name=value`.
pub fn mask_value(text: &str) -> String {
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        return mask_connection(text);
    }
    let start = text.find("://").map_or(0, |found| found + 3);
    let is_url = start > 0;
    let without_user = if is_url {
        mask_without_host(&mask_user_part(text, start), start)
    } else {
        mask_user_part(text, start)
    };
    // a password may hold blanks, and nothing says where it ends
    mask_settings(&without_user, |c| is_url && c == '&', |_, _| "")
}

/// A shorter secret is masked where it stands by itself, not within a word.
const LEAST_WITHIN_WORDS: usize = 4;

/// A text in which `secret` is replaced by `shown`, wherever it occurs. One of fewer than four characters is left in the
/// middle, at the beginning and at the end of longer words: a password `e` occurs in most words of a message, which tell
/// nothing of it, while a value that a message repeats is quoted or stands by itself.
pub fn mask_occurrences(text: &str, secret: &str, shown: &str) -> String {
    let Some(first) = secret.chars().next() else {
        return text.to_owned();
    };
    if secret.chars().nth(LEAST_WITHIN_WORDS - 1).is_some() {
        return text.replace(secret, shown);
    }
    let (mut masked, mut copied, mut from) = (String::with_capacity(text.len()), 0, 0);
    while let Some(found) = text[from..].find(secret) {
        let (start, end) = (from + found, from + found + secret.len());
        if continues_word(text, start) || continues_word(text, end) {
            from = start + first.len_utf8();
        } else {
            masked.push_str(&text[copied..start]);
            masked.push_str(shown);
            (copied, from) = (end, end);
        }
    }
    masked.push_str(&text[copied..]);
    masked
}

/// Whether the characters on both sides of a place belong to one word.
fn continues_word(text: &str, at: usize) -> bool {
    let (before, after) = text.split_at(at);
    let sides = [before.chars().next_back(), after.chars().next()];
    sides.iter().all(|side| side.is_some_and(char::is_alphanumeric))
}

/// A text that repeats arguments, without the secrets in these, and in the URLs and settings that occur in it otherwise.
/// Where an argument ends is known, whatever blanks and quotes stand in it.
pub fn mask_repeated(text: &str, arguments: impl IntoIterator<Item = String>) -> String {
    // a value may be repeated without its flag
    let with_values = arguments.into_iter().flat_map(|argument| {
        let value = argument.split_once('=').map(|(_, value)| value.to_owned());
        [Some(argument), value]
    });
    let mut hidden: Vec<(String, String)> = with_values
        .flatten()
        .map(|shown| (mask_value(&shown), shown))
        .filter(|(masked, shown)| masked != shown)
        .collect();
    // a longer one may hold a shorter one
    hidden.sort_by_key(|(_, shown)| std::cmp::Reverse(shown.len()));
    let masked = hidden
        .iter()
        .fold(text.to_owned(), |text, (masked, shown)| text.replace(shown, masked));
    mask_text(&masked)
}

/// A text without the secrets in the URLs and settings that occur in it. A URL ends at a blank.
fn mask_text(text: &str) -> String {
    let words = text
        .split_inclusive(char::is_whitespace)
        .map(|word| match word.find("://") {
            Some(found) => mask_user_part(word, found + 3),
            None => word.to_owned(),
        });
    mask_settings(&words.collect::<String>(), |c| c == '&' || c.is_whitespace(), closing)
}

/// What ends a value that stands in a quotation begun `before` it: the closing quote, with the escape sequences of a
/// terminal before it.
fn closing<'a>(before: &str, value: &'a str) -> &'a str {
    let Some(quote @ ('\'' | '"' | '`')) = value.chars().next_back() else {
        return "";
    };
    let line = &before[before.rfind('\n').map_or(0, |end| end + 1)..];
    if line.matches(quote).count() % 2 == 0 {
        return "";
    }
    let mut inner = &value[..value.len() - 1];
    while let Some((rest, sequence)) = inner.rsplit_once("\u{1b}[") {
        match sequence.strip_suffix('m') {
            Some(numbers) if numbers.bytes().all(|byte| byte.is_ascii_digit() || byte == b';') => inner = rest,
            _ => break,
        }
    }
    &value[inner.len()..]
}

/// `scheme://user:password@host` → `scheme://user:***@host`. The password may hold anything: it is what stands between
/// the first colon and the last `@`. `start` is where the user begins.
fn mask_user_part(url: &str, start: usize) -> String {
    let rest = &url[start..];
    let Some(colon) = rest.find(':').filter(|_| !rest.starts_with('/')) else {
        return url.to_owned();
    };
    let before = &url[..start + colon];
    match rest.rfind('@') {
        // `user@host:port` has no password; the user may hold an `@`, as Azure's do
        Some(at) if at < colon => url.to_owned(),
        Some(at) => format!("{before}:{MASK}{}", &rest[at..]),
        None => url.to_owned(),
    }
}

/// `scheme://user:password`, whose host is missing, → `scheme://user:***`.
fn mask_without_host(url: &str, start: usize) -> String {
    let rest = &url[start..];
    match rest.find(':') {
        Some(colon) if !rest.contains('@') && !is_place(rest, colon) => format!("{}:{MASK}", &url[..start + colon]),
        _ => url.to_owned(),
    }
}

/// Whether what stands around the first colon of a URL without a user is a host and a port, or a path.
fn is_place(rest: &str, colon: usize) -> bool {
    let after = &rest[colon + 1..];
    let port = &after[..after.find(['/', '?', '#', ',']).unwrap_or(after.len())];
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
    is_port || rest.starts_with('[') || rest[..colon].contains(['/', '?', '#'])
}

/// `password=value` → `password=***` for every name of a secret, quoted values included. An unquoted value ends before a
/// character that `ends` it; `closing` is what of its end belongs to the text around it, given the text before it.
fn mask_settings(
    text: &str,
    ends: impl Fn(char) -> bool,
    closing: impl for<'a> Fn(&str, &'a str) -> &'a str,
) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(equals) = rest.find('=') {
        let (head, tail) = rest.split_at(equals + 1);
        masked.push_str(head);
        let name = head[..equals].trim_end();
        let in_name = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '%');
        let name = &name[name.trim_end_matches(in_name).len()..];
        rest = tail;
        if is_secret_name(name) {
            masked.push_str(MASK);
            let value = tail.trim_start();
            rest = match value.chars().next() {
                Some(quote @ ('\'' | '"')) => after_quote(&value[1..], quote),
                _ => {
                    let end = value.find(&ends).unwrap_or(value.len());
                    &value[end - closing(&masked, &value[..end]).len()..]
                }
            };
        }
    }
    masked.push_str(rest);
    masked
}

/// What follows a quoted value in which a backslash escapes the next character.
fn after_quote(quoted: &str, quote: char) -> &str {
    let mut escaped = false;
    for (index, c) in quoted.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return &quoted[index + 1..],
            _ => {}
        }
    }
    ""
}

/// A connection string with the password put in; one that is there already stays, and so does a text that cannot be
/// taken apart.
pub fn with_password(url: &str, password: &str) -> String {
    if let Ok(conninfo) = Conninfo::parse(url) {
        return conninfo.with_password(password);
    }
    let Some((scheme @ ("mysql" | "mariadb"), rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let Some((user, host)) = authority.rsplit_once('@') else {
        return url.to_owned();
    };
    // an empty one is none
    match user.strip_suffix(':').unwrap_or(user) {
        user if user.contains(':') || password.is_empty() => url.to_owned(),
        user => {
            let password = sinks::conninfo::percent_encoded(password);
            format!("{scheme}://{user}:{password}@{host}{tail}")
        }
    }
}

#[cfg(test)]
mod tests;
