//! The `Authorization` header of AWS's Signature Version 4: who has signed, for what and when, which headers, and the
//! signature.
//!
//! ```text
//! AWS4-HMAC-SHA256 Credential=ID/20150830/us-east-1/kinesis/aws4_request, SignedHeaders=host;x-amz-date, Signature=5d67…
//! ```

/// The only algorithm.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The end of every credential scope.
const TERMINATOR: &str = "aws4_request";
/// Hexadecimal digits of a signature, and of the hash of a body.
pub(super) const DIGITS: usize = 64;

/// What a request claims, which its signature has to prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim<'a> {
    /// The id of the access key.
    pub(super) key: &'a str,
    /// `YYYYMMDD`
    pub(super) date: &'a str,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    /// Names of headers, separated by `;`.
    headers: &'a str,
    /// In hexadecimal digits.
    pub(super) signature: &'a [u8; DIGITS],
}

/// The header is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// It is of another scheme.
    #[error("Missing Authentication Token")]
    Scheme,
    /// A part is missing, or is there twice.
    #[error("Authorization header requires '{0}' parameter once")]
    Part(&'static str),
    /// The credential is not one.
    #[error("Credential must have exactly 5 slash-delimited elements, ID/YYYYMMDD/region/service/aws4_request")]
    Credential,
    /// The names of headers are not in order, or one is there twice.
    #[error("SignedHeaders must be names of headers in order, separated by semicolons")]
    Headers,
    /// The signature is not one.
    #[error("Signature must have 64 hexadecimal digits")]
    Signature,
}

impl<'a> Claim<'a> {
    /// Reads the header's value.
    pub(super) fn parse(value: &'a str) -> Result<Claim<'a>, ClaimError> {
        let rest = value.trim().strip_prefix(ALGORITHM).ok_or(ClaimError::Scheme)?;
        if !rest.is_empty() && !rest.starts_with(' ') {
            return Err(ClaimError::Scheme);
        }
        let (mut credential, mut headers, mut signature) = (None, None, None);
        for part in rest.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, twice) = match part.split_once('=') {
                Some(("Credential", text)) => ("Credential", credential.replace(text).is_some()),
                Some(("SignedHeaders", text)) => ("SignedHeaders", headers.replace(text).is_some()),
                Some(("Signature", text)) => ("Signature", signature.replace(text).is_some()),
                // what AWS may add one day is signed by nobody
                _ => continue,
            };
            if twice {
                return Err(ClaimError::Part(name));
            }
        }
        let credential = credential.ok_or(ClaimError::Part("Credential"))?;
        let headers = headers.ok_or(ClaimError::Part("SignedHeaders"))?;
        let signature = signature.ok_or(ClaimError::Part("Signature"))?;
        let mut parts = credential.split('/');
        let mut part = || {
            parts
                .next()
                .filter(|part| !part.is_empty())
                .ok_or(ClaimError::Credential)
        };
        let (key, date, region, service, end) = (part()?, part()?, part()?, part()?, part()?);
        if end != TERMINATOR || parts.next().is_some() {
            return Err(ClaimError::Credential);
        }
        // in order, no name is there twice, so that what is signed is never longer than the head
        if headers.is_empty() || !headers.split(';').is_sorted_by(|one, next| one < next) {
            return Err(ClaimError::Headers);
        }
        let signature = <&[u8; DIGITS]>::try_from(signature.as_bytes()).ok();
        let signature =
            signature.filter(|digits| digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')));
        Ok(Claim {
            key,
            date,
            region,
            service,
            headers,
            signature: signature.ok_or(ClaimError::Signature)?,
        })
    }

    /// The names of the headers that are signed, in order.
    pub(super) fn headers(&self) -> impl Iterator<Item = &'a str> {
        self.headers.split(';')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNATURE: &str = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";

    #[test]
    fn the_parts_stand_in_any_order_with_or_without_blanks() {
        let credential = "Credential=AKID/20150830/us-east-1/iam/aws4_request";
        let headers = "SignedHeaders=content-type;host";
        for text in [
            format!("AWS4-HMAC-SHA256 {credential}, {headers}, Signature={SIGNATURE}"),
            format!("AWS4-HMAC-SHA256 {credential},{headers},Signature={SIGNATURE}"),
            format!(" AWS4-HMAC-SHA256  Signature={SIGNATURE} , {headers},,{credential}, New=1"),
        ] {
            let claim = Claim::parse(&text).unwrap();
            let scope = [claim.key, claim.date, claim.region, claim.service];
            assert_eq!(scope, ["AKID", "20150830", "us-east-1", "iam"], "{text}");
            assert!(claim.headers().eq(["content-type", "host"]), "{text}");
            assert_eq!(claim.signature, SIGNATURE.as_bytes(), "{text}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let credential = "Credential=AKID/20150830/us-east-1/iam/aws4_request";
        let all = format!("AWS4-HMAC-SHA256 {credential}, SignedHeaders=a;b, Signature={SIGNATURE}");
        for (from, to, error) in [
            ("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256", ClaimError::Scheme),
            ("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA2561", ClaimError::Scheme),
            ("AWS4-HMAC-SHA256", "Bearer", ClaimError::Scheme),
            (credential, "", ClaimError::Part("Credential")),
            ("SignedHeaders=a;b", "", ClaimError::Part("SignedHeaders")),
            ("Signature=5", "signature=5", ClaimError::Part("Signature")),
            ("a;b,", "a;b, SignedHeaders=a,", ClaimError::Part("SignedHeaders")),
            ("iam/", "", ClaimError::Credential),
            ("iam/", "iam//", ClaimError::Credential),
            ("AKID", "", ClaimError::Credential),
            ("AKID", "A/KID", ClaimError::Credential),
            ("aws4_request", "aws5_request", ClaimError::Credential),
            ("a;b", "b;a", ClaimError::Headers),
            ("a;b", "a;a", ClaimError::Headers),
            ("a;b", "", ClaimError::Headers),
            ("5d67", "5D67", ClaimError::Signature),
            ("5d67", "567", ClaimError::Signature),
            ("5d67", "5g67", ClaimError::Signature),
        ] {
            assert_eq!(Claim::parse(&all.replace(from, to)), Err(error), "{from} {to}");
        }
        assert_eq!(Claim::parse(""), Err(ClaimError::Scheme));
        assert_eq!(Claim::parse("AWS4-HMAC-SHA256"), Err(ClaimError::Part("Credential")));
    }
}
