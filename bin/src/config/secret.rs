//! Values that must not be shown, and texts that contain such values.

use std::fmt;

/// What stands where a secret was.
pub const MASK: &str = "***";

/// A text that debug output and logs do not show.
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
        f.write_str(&mask_text(&self.0))
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Whether a librdkafka property of this name holds a secret.
pub fn is_secret_property(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [
        "password",
        "secret",
        "token",
        ".pem",
        "ssl_key",
        "oauthbearer.config",
        "credential",
        "jaas",
    ]
    .iter()
    .any(|word| name.contains(word))
}

/// The text with the passwords inside it masked: in the user part of URLs, in their parameters, and in
/// `password=…` settings of a connection string.
pub fn mask_text(text: &str) -> String {
    mask_parameters(&mask_user_parts(text))
}

/// `scheme://user:password@host` → `scheme://user:***@host`, for every URL in the text.
fn mask_user_parts(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(found) = rest.find("://") {
        let (head, tail) = rest.split_at(found + 3);
        masked.push_str(head);
        let authority = tail.find(['/', '?', '#', ' ']).map_or(tail, |end| &tail[..end]);
        rest = match authority.rfind('@') {
            Some(at) => {
                let user = &authority[..at];
                match user.split_once(':') {
                    Some((name, _)) => masked.extend([name, ":", MASK]),
                    None => masked.push_str(user),
                }
                &tail[at..]
            }
            None => tail,
        };
    }
    masked.push_str(rest);
    masked
}

/// `password=value` → `password=***`, quoted values included.
fn mask_parameters(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(found) = rest.to_ascii_lowercase().find("password") {
        let after_word = &rest[found + "password".len()..];
        let after_name = after_word.trim_start();
        let Some(value) = after_name.strip_prefix('=').map(str::trim_start) else {
            let (head, tail) = rest.split_at(found + "password".len());
            masked.push_str(head);
            rest = tail;
            continue;
        };
        masked.push_str(&rest[..found + "password".len()]);
        masked.push('=');
        masked.push_str(MASK);
        rest = match value.strip_prefix('\'') {
            Some(quoted) => after_quote(quoted),
            None => &value[value.find([' ', '&', '#', '\t', '\n']).unwrap_or(value.len())..],
        };
    }
    masked.push_str(rest);
    masked
}

/// What follows a quoted value in which a backslash escapes the next character.
fn after_quote(quoted: &str) -> &str {
    let mut escaped = false;
    for (index, c) in quoted.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\'' => return &quoted[index + 1..],
            _ => {}
        }
    }
    ""
}

/// A connection string with the password put in; one that is there already stays.
pub fn with_password(url: &str, password: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        let quoted = password.replace('\\', "\\\\").replace('\'', "\\'");
        return format!("{url} password='{quoted}'");
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    match authority.rsplit_once('@') {
        Some((user, _)) if user.contains(':') => url.to_owned(),
        Some((user, host)) => format!("{scheme}://{user}:{}@{host}{tail}", percent(password)),
        None => {
            let joint = if tail.contains('?') { '&' } else { '?' };
            format!("{scheme}://{authority}{tail}{joint}password={}", percent(password))
        }
    }
}

/// Percent-encodes everything but letters and digits, so that no character can end the password.
fn percent(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() {
            encoded.push(byte as char);
        } else {
            write!(encoded, "%{byte:02X}").expect("writing to a String");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_masked_wherever_they_stand() {
        let cases = [
            ("postgres://me:s3cr3t@db:5432/x", "postgres://me:***@db:5432/x"),
            (
                "postgres://me:s3:c@r3t@db/x?sslmode=require",
                "postgres://me:***@db/x?sslmode=require",
            ),
            (
                "postgres://me@db/x?password=s3cr3t&a=b",
                "postgres://me@db/x?password=***&a=b",
            ),
            ("host=db password=s3cr3t user=me", "host=db password=*** user=me"),
            (
                "host=db password = 'two \\' words' user=me",
                "host=db password=*** user=me",
            ),
            ("https://a:b@c https://d:e@f", "https://a:***@c https://d:***@f"),
            ("postgres://db/password", "postgres://db/password"),
            ("s3://bucket/prefix", "s3://bucket/prefix"),
        ];
        for (text, expected) in cases {
            assert_eq!(mask_text(text), expected);
            assert_eq!(format!("{:?}", Secret::new(text)), expected);
        }
    }

    #[test]
    fn a_password_is_put_into_every_form_of_connection_string() {
        assert_eq!(
            with_password("postgres://me@db:1/x", "a/b'@"),
            "postgres://me:a%2Fb%27%40@db:1/x"
        );
        assert_eq!(with_password("postgres://me:old@db/x", "new"), "postgres://me:old@db/x");
        assert_eq!(
            with_password("postgres://db/x?a=b", "p"),
            "postgres://db/x?a=b&password=p"
        );
        assert_eq!(
            with_password("host=db user=me", "a'b"),
            "host=db user=me password='a\\'b'"
        );
        for form in [
            "postgres://me@db:1/x",
            "postgres://db/x?connect_timeout=3",
            "host=db user=me",
        ] {
            let config: tokio_postgres::Config = with_password(form, "a/b'\\@ ü").parse().unwrap();
            assert_eq!(config.get_password(), Some("a/b'\\@ ü".as_bytes()), "{form}");
        }
    }

    #[test]
    fn secret_properties_are_known_by_name() {
        for name in [
            "sasl.password",
            "ssl.key.password",
            "ssl.key.pem",
            "sasl.oauthbearer.client.secret",
        ] {
            assert!(is_secret_property(name), "{name}");
        }
        for name in ["security.protocol", "sasl.username", "ssl.ca.location", "client.id"] {
            assert!(!is_secret_property(name), "{name}");
        }
    }
}
