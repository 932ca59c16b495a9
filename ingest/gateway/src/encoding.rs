//! Base64 as the old servers read it: padding may be missing.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const JAVAS: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The bytes of a base64 text; `None` when it is none.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    JAVAS.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_may_be_missing_and_nothing_else() {
        for text in ["dg==", "dg", "dh=="] {
            assert_eq!(base64(text).as_deref(), Some(&b"v"[..]), "{text}");
        }
        assert_eq!(base64("").as_deref(), Some(&b""[..]));
        for text in ["!", "d", "dg==\n", " dg==", "_-8=", "d=g="] {
            assert_eq!(base64(text), None, "{text}");
        }
    }
}
