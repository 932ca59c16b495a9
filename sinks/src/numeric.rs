//! `numeric` in Postgres' binary form.
//!
//! The form is that of `numeric_send`: digits in base 10,000, the weight of the first, a sign, and how many decimals are
//! shown. In this process a numeric is the text that Postgres prints.

use bytes::{BufMut, BytesMut};
use std::error::Error;
use tokio_postgres::types::{FromSql, Type};

/// Decimal digits of one digit.
const GROUP: usize = 4;
const POSITIVE: u16 = 0;
const NEGATIVE: u16 = 0x4000;

/// A finite numeric.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Numeric {
    /// Base 10,000, the greatest first; neither the first nor the last is 0.
    digits: Vec<i16>,
    /// The first digit counts 10,000 to the power of this.
    weight: i16,
    negative: bool,
    /// Decimals.
    scale: u16,
}

/// `-12.50`; `None` for anything that is not written as Postgres writes a finite numeric.
pub(crate) fn parse(text: &str) -> Option<Numeric> {
    let numeric = read(text)?;
    (numeric.text() == text).then_some(numeric)
}

fn read(text: &str) -> Option<Numeric> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, decimals) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let ends_in_point = unsigned.ends_with('.');
    if whole.is_empty() || ends_in_point || !is_number(whole) || !is_number(decimals) {
        return None;
    }
    let groups = whole.len().div_ceil(GROUP);
    let mut padded = "0".repeat(groups * GROUP - whole.len());
    padded.push_str(whole);
    padded.push_str(decimals);
    padded.push_str(&"0".repeat(decimals.len().next_multiple_of(GROUP) - decimals.len()));
    let mut digits: Vec<i16> = Vec::with_capacity(padded.len() / GROUP);
    for start in (0..padded.len()).step_by(GROUP) {
        digits.push(padded[start..start + GROUP].parse().ok()?);
    }
    let leading = digits.iter().take_while(|digit| **digit == 0).count();
    digits.drain(..leading);
    while digits.last() == Some(&0) {
        digits.pop();
    }
    let weight = if digits.is_empty() {
        0
    } else {
        i16::try_from(groups).ok()? - 1 - i16::try_from(leading).ok()?
    };
    Some(Numeric {
        negative: unsigned.len() < text.len() && !digits.is_empty(),
        weight,
        scale: u16::try_from(decimals.len()).ok().filter(|scale| *scale <= 0x3fff)?,
        digits,
    })
}

impl Numeric {
    /// Writes it as `numeric_recv` reads it.
    pub(crate) fn put(&self, out: &mut BytesMut) {
        out.put_i16(self.digits.len() as i16);
        out.put_i16(self.weight);
        out.put_u16(if self.negative { NEGATIVE } else { POSITIVE });
        out.put_u16(self.scale);
        self.digits.iter().for_each(|digit| out.put_i16(*digit));
    }

    /// As Postgres prints it.
    pub(crate) fn text(&self) -> String {
        let digit = |place: i32| {
            let index = usize::try_from(i32::from(self.weight) - place).ok();
            index.and_then(|index| self.digits.get(index)).copied().unwrap_or(0)
        };
        let mut text = String::new();
        for place in (0..=i32::from(self.weight).max(0)).rev() {
            text.push_str(&format!("{:04}", digit(place)));
        }
        let whole = text.trim_start_matches('0');
        let whole = if whole.is_empty() { "0" } else { whole };
        let mut decimals = String::new();
        for place in 1..=self.scale.div_ceil(GROUP as u16).into() {
            decimals.push_str(&format!("{:04}", digit(-place)));
        }
        let sign = if self.negative { "-" } else { "" };
        match &decimals[..usize::from(self.scale)] {
            "" => format!("{sign}{whole}"),
            decimals => format!("{sign}{whole}.{decimals}"),
        }
    }
}

impl<'a> FromSql<'a> for Numeric {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Numeric, Box<dyn Error + Sync + Send>> {
        let mut words = raw.chunks_exact(2).map(|word| u16::from_be_bytes([word[0], word[1]]));
        let mut next = || words.next().ok_or("a numeric that ends early");
        let (count, weight, sign, scale) = (next()?, next()? as i16, next()?, next()?);
        if !matches!(sign, POSITIVE | NEGATIVE) {
            return Err("a numeric that is not finite".into());
        }
        let digits = (0..count).map(|_| next().map(|digit| digit as i16));
        Ok(Numeric {
            digits: digits.collect::<Result<_, _>>()?,
            weight,
            negative: sign == NEGATIVE,
            scale,
        })
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::NUMERIC
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_and_written_as_they_are() {
        for text in [
            "0",
            "0.00",
            "1",
            "-1",
            "10000",
            "99999999.9999",
            "-0.0001",
            "0.00001000",
            "123456789012345678901234567890.123456",
            "100000000",
            "0.5",
            "-12.50",
        ] {
            let numeric = parse(text).unwrap();
            assert_eq!(numeric.text(), text);
            let mut bytes = BytesMut::new();
            numeric.put(&mut bytes);
            assert_eq!(Numeric::from_sql(&Type::NUMERIC, &bytes).unwrap(), numeric, "{text}");
        }
        // as numeric_send gives them
        let sent = |text: &str| {
            let mut bytes = BytesMut::new();
            parse(text).unwrap().put(&mut bytes);
            bytes
                .chunks(2)
                .map(|word| i16::from_be_bytes([word[0], word[1]]))
                .collect::<Vec<_>>()
        };
        assert_eq!(sent("12345.6"), [3, 1, 0, 1, 1, 2345, 6000]);
        assert_eq!(sent("-0.00010"), [1, -1, 0x4000, 5, 1]);
        assert_eq!(sent("0.00"), [0, 0, 0, 2]);
        for none in [
            "", "-", "1.", ".5", "1e3", "NaN", "+1", "1_0", " 1", "--1", "Infinity", "-0", "007",
        ] {
            assert_eq!(parse(none), None, "{none:?}");
        }
    }
}
