//! How much of dead letters is kept.

/// What is kept of dead letters. The defaults are 4 KiB of a key and of a value, 100,000 rows and 256 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RejectLimits {
    /// Bytes of a key, and of a value, from its beginning.
    pub record_bytes: usize,
    /// Rows of the table.
    pub rows: u64,
    /// Bytes of all keys and values of the table.
    pub bytes: u64,
}

impl Default for RejectLimits {
    fn default() -> RejectLimits {
        RejectLimits {
            record_bytes: 4096,
            rows: 100_000,
            bytes: 256 << 20,
        }
    }
}

impl RejectLimits {
    /// Room for this many times as much.
    pub(crate) fn times(self, factor: u64) -> RejectLimits {
        RejectLimits {
            rows: self.rows.saturating_mul(factor),
            bytes: self.bytes.saturating_mul(factor),
            ..self
        }
    }

    /// What is kept of a key or a value.
    pub(crate) fn cut<'a>(&self, bytes: &'a Option<Vec<u8>>) -> Option<&'a [u8]> {
        bytes
            .as_deref()
            .map(|bytes| &bytes[..bytes.len().min(self.record_bytes)])
    }
}

/// How much the table holds, at most: a dead letter that was there already is counted again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

impl Held {
    /// Whether this is half of what there is room for.
    pub(crate) fn is_half(self, limits: &RejectLimits) -> bool {
        self.rows > limits.rows / 2 || self.bytes > limits.bytes / 2
    }

    pub(crate) fn is_over(self, limits: &RejectLimits) -> bool {
        self.rows > limits.rows || self.bytes > limits.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_are_cut() {
        let limits = RejectLimits {
            record_bytes: 2,
            ..RejectLimits::default()
        };
        assert_eq!(limits.cut(&Some(vec![1, 2, 3])), Some(&[1, 2][..]));
        assert_eq!(limits.cut(&Some(vec![1])), Some(&[1][..]));
        assert_eq!(limits.cut(&None), None);
    }
}
