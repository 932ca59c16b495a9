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
mod tests {
    use super::*;

    #[test]
    fn connection_strings_are_shown_without_their_passwords() {
        for (text, expected) in [
            ("postgres://me:s3cr3t@db:5432/x", "postgres://me:***@db:5432/x"),
            ("postgres://u:ab/cd@db/x", "postgres://u:***@db/x"),
            ("postgres://u:ab?cd#e@db/x", "postgres://u:***@db/x"),
            (
                "postgres://u:p@a:1,b:2/x?password=q&port=1",
                "postgres://u:***@a:1,b:2/x?password=***&port=1",
            ),
            ("postgres://u@db/x?p%61ssword=q", "postgres://u@db/x?p%61ssword=***"),
            (
                "host=db password='two \\' words' user=me",
                "host=db password=*** user=me",
            ),
            ("mysql://u:ab/cd@db/x", "mysql://u:***@db/x"),
            // what cannot be taken apart
            ("postgres://me:s3:c@r3t@db/x", "postgres://***"),
            ("postgres://me:s3cr3t/x", "postgres://***"),
            ("postgresql://me@db/x?password=s3&cr3t", "postgresql://***"),
            ("host=db password=s3 cr3t", "***"),
            ("jdbc:postgresql://db/x?user=me&password=s3cr3t", "***"),
            ("POSTGRES://me:s3cr3t@db/x", "***"),
            ("s3cr3t", "***"),
            ("", "***"),
        ] {
            assert_eq!(mask_connection(text), expected);
            assert_eq!(
                format!("{0:?} {0}", Secret::new(text)),
                format!("{expected} {expected}")
            );
        }
    }

    #[test]
    fn other_values_lose_what_looks_like_a_secret() {
        for (text, expected) in [
            ("https://a:b/c d@e:1/f", "https://a:***@e:1/f"),
            ("s3://AKIA:ab/cd@bucket/x", "s3://AKIA:***@bucket/x"),
            (
                "https://host/x?X-Amz-Security-Token=ab%2F&a=b",
                "https://host/x?X-Amz-Security-Token=***&a=b",
            ),
            (
                "org.x.PlainLoginModule required username=\"me\" password=\"a \\\" b\";",
                "org.x.PlainLoginModule required username=\"me\" password=***;",
            ),
            ("aws_secret_access_key = ab/cd", "aws_secret_access_key =***"),
            ("me:s3/cr3t@broker:9092", "me:***@broker:9092"),
            ("aws_access_key_id=ab", "aws_access_key_id=***"),
            ("password=s3 cr3t user=x", "password=***"),
            ("password=s3&cr3t", "password=***"),
            ("https://host/x?token=s3 cr3t&a=b", "https://host/x?token=***&a=b"),
            ("postgresql+psycopg://u:s3 cr3t", "postgresql+psycopg://u:***"),
            ("mysql://u:s3\tcr3t@h/x y", "mysql://u:***@h/x y"),
            ("http://u:s3/cr3t", "http://u:***"),
            // and what does not stays as it is
            ("s3://bucket/a:b", "s3://bucket/a:b"),
            ("http://[::1]:80/x", "http://[::1]:80/x"),
            ("http://a:1,b:2", "http://a:1,b:2"),
            ("https://host:80/x", "https://host:80/x"),
            ("mysql://me@host:3306/x", "mysql://me@host:3306/x"),
            ("file:///a:b@c", "file:///a:b@c"),
            ("s3://bucket/prefix", "s3://bucket/prefix"),
            ("a:9092,b:9092", "a:9092,b:9092"),
            ("/data/a:b@c", "/data/a:b@c"),
            ("ssl.ca.location=/ca.pem", "ssl.ca.location=/ca.pem"),
            ("--token-file=/run/token", "--token-file=/run/token"),
            ("the password", "the password"),
        ] {
            assert_eq!(mask_value(text), expected);
        }
    }

    #[test]
    fn every_secret_in_a_text_is_masked() {
        for (text, expected) in [
            ("https://a:b@c https://d:e/f@g", "https://a:***@c https://d:***@g"),
            (
                "unexpected argument 'postgres://u:a/b@c/d' found",
                "unexpected argument 'postgres://u:***@c/d' found",
            ),
            (
                "'--kafka-property=sasl.password=ab' found",
                "'--kafka-property=sasl.password=***' found",
            ),
            ("it's 'sasl.password=ab' found", "it's 'sasl.password=*** found"),
            ("sasl.password=ab' found", "sasl.password=*** found"),
            (
                "'x' sasl.password=ab'\n'ssl.key.password=c'd'",
                "'x' sasl.password=***\n'ssl.key.password=***'",
            ),
            (
                "'\u{1b}[33msasl.password=a\u{1b}[31mb\u{1b}[0m' found",
                "'\u{1b}[33msasl.password=***\u{1b}[0m' found",
            ),
            ("password = 'a b' and token=c", "password =*** and token=***"),
        ] {
            assert_eq!(mask_text(text), expected);
        }
    }

    #[test]
    fn an_argument_that_is_repeated_keeps_its_quotes() {
        for (argument, masked) in [
            (
                "--kafka-property=sasl.password=a b'c",
                "--kafka-property=sasl.password=***",
            ),
            ("sasl.password='a b'", "sasl.password=***"),
            ("--postgres=host=db password=ab", "--postgres=host=db password=***"),
            ("postgres://u:a'b@c/d", "postgres://u:***@c/d"),
        ] {
            let text = |argument: &str| format!("error: unexpected argument '{argument}' found\n\nUsage: pinflow\n");
            let found = mask_repeated(&text(argument), [argument.to_owned()]);
            assert_eq!(found, text(masked));
        }
    }

    #[test]
    fn a_password_is_put_into_every_form_of_connection_string() {
        for form in [
            "postgres://me@db:1/x",
            "postgres://db/x?connect_timeout=3",
            "host=db user=me",
        ] {
            let config: tokio_postgres::Config = with_password(form, "a/b'\\@ ü").parse().unwrap();
            assert_eq!(config.get_password(), Some("a/b'\\@ ü".as_bytes()), "{form}");
        }
        assert_eq!(with_password("postgres://me:a/b@db/x", "new"), "postgres://me:a/b@db/x");
        assert_eq!(with_password("mysql://me@db:1/x", "a/b"), "mysql://me:a%2Fb@db:1/x");
        assert_eq!(with_password("mysql://me:old@db/x", "new"), "mysql://me:old@db/x");
        assert_eq!(with_password("mysql://me:@db/x", "new"), "mysql://me:new@db/x");
        assert_eq!(with_password("mysql://me@db/x", ""), "mysql://me@db/x");
        assert_eq!(with_password("nonsense", "new"), "nonsense");
    }

    #[test]
    fn secrets_are_known_by_name() {
        for name in [
            "sasl.password",
            "ssl.key.password",
            "ssl.keystore.password",
            "ssl.key.pem",
            "sasl.jaas.config",
            "sasl.oauthbearer.config",
            "sasl.oauthbearer.client.secret",
            "sasl.oauthbearer.assertion.private.key.passphrase",
            "AWS_SECRET_ACCESS_KEY",
            "aws.session.token",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in [
            "security.protocol",
            "sasl.username",
            "ssl.ca.location",
            "ssl.key.location",
            "sasl.oauthbearer.token.endpoint.url",
            "client.id",
        ] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn a_secret_is_what_stands_in_its_file_without_the_end_of_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        for (content, expected) in [
            ("a b", Ok("a b")),
            (" a \r\n\n", Ok(" a ")),
            ("", Err("is empty")),
            ("\n", Err("is empty")),
        ] {
            std::fs::write(&file, content).unwrap();
            let read = read_file(&file);
            match expected {
                Ok(secret) => assert_eq!(read.as_deref(), Ok(secret)),
                Err(what) => assert_eq!(read, Err(format!("{} {what}", file.display()))),
            }
        }
        assert!(
            read_file(Path::new("/dev/zero"))
                .unwrap_err()
                .contains("/dev/zero is longer")
        );
        std::fs::write(&file, b"\xff").unwrap();
        for unreadable in [file.as_path(), folder.path(), Path::new("/nonexistent")] {
            let error = read_file(unreadable).unwrap_err();
            assert!(
                error.starts_with(&format!("cannot read {}: ", unreadable.display())),
                "{error}"
            );
        }
    }
}
