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

/// Reads a type from the text of its number.
macro_rules! parse_as_number {
    ($type:ident) => {
        impl std::str::FromStr for $type {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<$type, Self::Err> {
                text.parse().map($type)
            }
        }
    };
}

pub(crate) use {parse_as_number, print_as_number};
