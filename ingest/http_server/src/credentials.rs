//! What a request says about who sends it: a token, as `Authorization: Bearer` or as `x-api-key`, or a user and a
//! password, as HTTP Basic.
//!
//! The password is a token, and the user its name: so the key and the secret of another service that speaks Basic go on
//! working, once they stand in a token file.

use super::token_file::Entry;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{AUTHORIZATION, HeaderMap};
use std::borrow::Cow;

/// Who a request says it comes from.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Credentials<'h> {
    /// The user of HTTP Basic; `None`: a token is all there is.
    user: Option<String>,
    /// The token, or the password.
    pub(super) token: Cow<'h, [u8]>,
}

impl<'h> Credentials<'h> {
    /// `None` where there are none, or what is there cannot be read. A proxy in front may have a user and a password of
    /// its own, so that these count where there is no token.
    pub(super) fn of(headers: &'h HeaderMap) -> Option<Credentials<'h>> {
        let authorization = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
        let key = headers.get("x-api-key").map(|value| value.as_bytes());
        if let Some(token) = authorization.and_then(|value| of_scheme(value, b"bearer ")).or(key) {
            let token = Cow::Borrowed(token);
            return Some(Credentials { user: None, token });
        }
        basic(of_scheme(authorization?, b"basic ")?)
    }

    /// Whether who has this token may call itself so; a token without a name belongs to any user.
    pub(super) fn may_be_of(&self, entry: &Entry) -> bool {
        let is_named_so = |user: &String| !entry.named || *user == entry.name;
        self.user.as_ref().is_none_or(is_named_so)
    }
}

/// What follows a scheme, whose case does not matter.
fn of_scheme<'v>(value: &'v [u8], scheme: &[u8]) -> Option<&'v [u8]> {
    let (found, rest) = value.split_at_checked(scheme.len())?;
    found.eq_ignore_ascii_case(scheme).then(|| rest.trim_ascii())
}

/// User and password, in base64, with a colon between them: the first, which no user has in its name.
fn basic<'h>(encoded: &[u8]) -> Option<Credentials<'h>> {
    let mut user = STANDARD.decode(encoded).ok()?;
    let colon = user.iter().position(|byte| *byte == b':')?;
    let token = user.split_off(colon + 1);
    user.pop();
    Some(Credentials {
        user: Some(String::from_utf8(user).ok()?),
        token: Cow::Owned(token),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(&'static str, &str)]) -> Option<(Option<String>, Vec<u8>)> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        Credentials::of(&map).map(|found| (found.user, found.token.into_owned()))
    }

    fn basic(text: &str) -> String {
        format!("Basic {}", STANDARD.encode(text))
    }

    #[test]
    fn a_user_ends_at_the_first_colon() {
        for (text, user, token) in [
            ("mobile:secret", "mobile", "secret"),
            ("mobile:a:b:", "mobile", "a:b:"),
            (":secret", "", "secret"),
            ("mobile:", "mobile", ""),
            ("m\u{fc}ller:x y", "m\u{fc}ller", "x y"),
        ] {
            let value = basic(text);
            for value in [value.clone(), value.replace("Basic", "bASIC "), value + " "] {
                let found = of(&[("authorization", &value)]);
                assert_eq!(found, Some((Some(user.to_owned()), token.into())), "{value}");
            }
        }
        for wrong in [
            "Basic",
            "Basic ",
            "Basic mobile:secret",
            "Basic bW9iaWxl",
            "Basic bW9iaWxlOnNlY3JldA=",
            "Basic bW9iaWxl OnNlY3JldA==",
            "Basic bW9iaWxlOnNlY3JldB==",
            "Basic /zpzZWNyZXQ=",
            "Digest bW9iaWxlOnNlY3JldA==",
            "BasicbW9iaWxlOnNlY3JldA==",
        ] {
            assert_eq!(of(&[("authorization", wrong)]), None, "{wrong}");
        }
    }

    #[test]
    fn a_token_goes_before_a_password() {
        let basic = basic("proxy:secret");
        let token = |token: &str| Some((None, token.into()));
        assert_eq!(of(&[("authorization", "Bearer a"), ("x-api-key", "b")]), token("a"));
        assert_eq!(of(&[("authorization", &basic), ("x-api-key", "b")]), token("b"));
        assert_eq!(of(&[("authorization", "Basic !"), ("x-api-key", "b")]), token("b"));
        assert_eq!(of(&[("x-api-key", "b")]), token("b"));
        assert_eq!(of(&[]), None);
    }
}
