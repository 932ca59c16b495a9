//! Requests that are signed with an access key: AWS's Signature Version 4, in the `Authorization` header.
//!
//! The signature covers the hash of the body, so that most requests can be verified only when their body is there. A
//! client that names the hash in `x-amz-content-sha256` is verified by its head, and the body has to have that hash.
//! What a request means is signed: its host, date, body, and the headers in [`SIGNED`]. A body that the signature does
//! not cover (`UNSIGNED-PAYLOAD`, `STREAMING-…`) is refused, and so are compressed ones and signatures in the query of
//! a URL.
//!
//! A signature is valid for five minutes around its date, as often as it is sent. A session token is signed like any
//! other header and says nothing here: keys are those of the token files.

use super::authorization::{Claim, DIGITS};
use super::caller::Caller;
use super::quote::shortened;
use super::signature_error::SignatureError;
use super::token_file::Secret;
use super::tokens::Tokens;
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use hyper::Method;
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, HOST, HeaderMap, HeaderName};
use hyper::http::request::Parts;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::time::SystemTime;
use subtle::ConstantTimeEq;

const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const BODY_HASH: HeaderName = HeaderName::from_static("x-amz-content-sha256");
/// Headers that have to be signed where they are there; host and date have to be there.
/// `Content-Type` need not be: some SDKs do not sign it, and no body means something in both of the forms that it chooses from.
const SIGNED: [HeaderName; 5] = [
    HOST,
    DATE,
    BODY_HASH,
    HeaderName::from_static("x-amz-target"),
    HeaderName::from_static("x-amz-security-token"),
];
/// Bytes of a path with its query: what is signed has up to three for each.
const TARGET: usize = 8 << 10;
/// How far a signature's date may be from now.
const SKEW: SignedDuration = SignedDuration::from_mins(5);
const DATE_FORMAT: &str = "%Y%m%dT%H%M%SZ";

/// Which signatures are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureScope {
    /// The service that they are for.
    pub service: &'static str,
    /// The region that they are for; `None`: any.
    pub region: Option<String>,
}

/// A request whose signature is known to be right, or will be when its body is there.
pub struct SignedRequest {
    caller: Caller,
    signed: Signed,
    /// The hash that the client has named, and with which the signature is right.
    body_hash: Option<String>,
    is_verified: bool,
}

/// What a signature covers, but for the body.
struct Signed {
    key: String,
    secret: Secret,
    region: String,
    service: &'static str,
    time: SystemTime,
    method: Method,
    target: String,
    headers: Vec<(String, String)>,
    signature: [u8; DIGITS],
}

impl SignedRequest {
    /// The signature of a request with this head. It is verified now where the head names the hash of the body.
    pub fn of(tokens: &Tokens, scope: &SignatureScope, head: &Parts) -> Result<SignedRequest, SignatureError> {
        SignedRequest::with(|id| tokens.access_key(id), scope, head, Timestamp::now())
    }

    fn with(
        access_key: impl FnOnce(&str) -> Option<(Caller, Secret)>,
        scope: &SignatureScope,
        head: &Parts,
        now: Timestamp,
    ) -> Result<SignedRequest, SignatureError> {
        let headers = &head.headers;
        let claim = Claim::parse(only(headers, &AUTHORIZATION)?.ok_or(SignatureError::Missing)?)?;
        let date = only(headers, &DATE)?.ok_or(SignatureError::Date)?;
        let time = parse_date(date).ok_or(SignatureError::Date)?;
        let (caller, secret) = access_key(claim.key).ok_or(SignatureError::UnknownKey)?;
        if claim.service != scope.service {
            return Err(SignatureError::Service(scope.service));
        }
        if scope.region.as_ref().is_some_and(|region| region != claim.region) {
            return Err(SignatureError::Region(shortened(claim.region).to_owned()));
        }
        check_time(time, now)?;
        if !date.starts_with(claim.date) || claim.date.len() != 8 {
            return Err(SignatureError::Day);
        }
        let is_signed = |name: &HeaderName| claim.headers().any(|signed| signed == name.as_str());
        let needed = |name: &HeaderName| *name == HOST || headers.contains_key(name);
        if let Some(unsigned) = SIGNED.iter().find(|name| needed(name) && !is_signed(name)) {
            return Err(SignatureError::Unsigned(unsigned.clone()));
        }
        let body_hash = only(headers, &BODY_HASH)?.map(str::to_owned);
        let encoding = only(headers, &CONTENT_ENCODING)?.filter(|encoding| !encoding.eq_ignore_ascii_case("identity"));
        let not_hash = body_hash.as_deref().filter(|hash| !is_hash(hash));
        if let Some(other) = encoding.or(not_hash) {
            return Err(SignatureError::Payload(shortened(other).to_owned()));
        }
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        if target.len() > TARGET {
            return Err(SignatureError::Mismatch);
        }
        let signed = Signed {
            key: claim.key.to_owned(),
            secret,
            region: claim.region.to_owned(),
            service: scope.service,
            time: time.into(),
            method: head.method.clone(),
            target: target.to_owned(),
            headers: values(headers, &claim)?,
            signature: *claim.signature,
        };
        if let Some(hash) = &body_hash {
            signed.verify(SignableBody::Precomputed(hash.clone()))?;
        }
        Ok(SignedRequest {
            caller,
            signed,
            is_verified: body_hash.is_some(),
            body_hash,
        })
    }

    /// Whose key it is.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Whether it is known already that the owner of the key has signed it.
    pub fn is_verified(&self) -> bool {
        self.is_verified
    }

    /// Bytes that are kept of its head.
    pub fn bytes(&self) -> usize {
        let headers = self.signed.headers.iter();
        self.signed.target.len() + headers.map(|(name, value)| name.len() + value.len()).sum::<usize>()
    }

    /// Whether this is the body that was signed, by a key that is still valid.
    pub fn verify(&mut self, body: &[u8]) -> Result<(), SignatureError> {
        if !self.caller.is_valid() {
            return Err(SignatureError::UnknownKey);
        }
        match &self.body_hash {
            Some(hash) if hash.as_bytes().ct_eq(hash_of(body).as_bytes()).into() => {}
            Some(_) => return Err(SignatureError::Mismatch),
            None => self.signed.verify(SignableBody::Bytes(body))?,
        }
        self.is_verified = true;
        Ok(())
    }
}

impl Signed {
    /// Makes the signature that the secret makes, and compares.
    fn verify(&self, body: SignableBody<'_>) -> Result<(), SignatureError> {
        let made = self.sign(body).ok_or(SignatureError::Mismatch)?;
        let is_same: bool = made.as_bytes().ct_eq(&self.signature).into();
        is_same.then_some(()).ok_or(SignatureError::Mismatch)
    }

    /// The signature, unless something could not have been signed.
    fn sign(&self, body: SignableBody<'_>) -> Option<String> {
        let identity = Credentials::new(&self.key, &self.secret.0, None, None, "token file").into();
        let mut settings = SigningSettings::default();
        // all that are given are signed
        settings.excluded_headers = None;
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(self.service)
            .time(self.time)
            .settings(settings)
            .build()
            .ok()?
            .into();
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let request = SignableRequest::new(self.method.as_str(), self.target.as_str(), headers, body).ok()?;
        Some(sign(request, &params).ok()?.into_parts().1)
    }
}

/// The values of the signed headers; a header that is not there could not have been signed.
fn values(headers: &HeaderMap, claim: &Claim<'_>) -> Result<Vec<(String, String)>, SignatureError> {
    let mut all = Vec::new();
    for name in claim.headers() {
        let before = all.len();
        for value in headers.get_all(name) {
            let value = value.to_str().map_err(|_| SignatureError::Mismatch)?;
            all.push((name.to_owned(), value.to_owned()));
        }
        if all.len() == before {
            return Err(SignatureError::Mismatch);
        }
    }
    Ok(all)
}

/// The value of a header that may be there once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, SignatureError> {
    let mut values = headers.get_all(name).iter();
    let wrong = || SignatureError::Header(name.clone());
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| wrong()),
        (Some(_), Some(_)) => Err(wrong()),
    }
}

fn parse_date(text: &str) -> Option<Timestamp> {
    let time = DateTime::strptime(DATE_FORMAT, text).ok()?;
    let time = time.to_zoned(TimeZone::UTC).ok()?.timestamp();
    (date_of(time) == text).then_some(time)
}

fn date_of(time: Timestamp) -> String {
    time.strftime(DATE_FORMAT).to_string()
}

fn check_time(signed: Timestamp, now: Timestamp) -> Result<(), SignatureError> {
    // in whole seconds, as dates are written
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let (least, most) = (now.saturating_sub(SKEW), now.saturating_add(SKEW));
    let (least, most) = (least.unwrap_or(now), most.unwrap_or(now));
    if signed < least {
        return Err(SignatureError::Expired {
            signed: date_of(signed),
            least: date_of(least),
            now: date_of(now),
        });
    }
    if signed > most {
        return Err(SignatureError::Early {
            signed: date_of(signed),
            most: date_of(most),
            now: date_of(now),
        });
    }
    Ok(())
}

fn is_hash(text: &str) -> bool {
    text.len() == DIGITS && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

fn hash_of(body: &[u8]) -> String {
    let mut digits = String::with_capacity(DIGITS);
    for byte in Sha256::digest(body) {
        write!(digits, "{byte:02x}").expect("writing to a String");
    }
    digits
}

#[cfg(test)]
mod tests;
