//! What types around one number have in common: their text is that of the number.

/// Prints a type as its number, also for debugging: a range of offsets reads `4..9`.
macro_rules! print_as_number {
    ($type:ident) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

/// A text that is not a number of digits alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a number of digits")]
pub struct NumberError;

/// Reads a type from the digits of its number: what Kafka numbers is never negative, and has no sign.
macro_rules! parse_as_number {
    ($type:ident) => {
        impl std::str::FromStr for $type {
            type Err = crate::number::NumberError;

            fn from_str(text: &str) -> Result<$type, Self::Err> {
                // what is empty is refused below
                let digits = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
                let number = digits.and_then(|digits| digits.parse().ok());
                number.map($type).ok_or(crate::number::NumberError)
            }
        }
    };
}

pub(crate) use {parse_as_number, print_as_number};
