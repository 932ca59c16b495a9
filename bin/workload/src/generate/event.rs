//! One record to be written: of which post, in which version and in which form.

use super::random::Random;

/// The tag of the random stream that chooses forms; see those of `record`.
const CHOICE: u64 = 4;

/// One record to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    /// 0 = pin, 1 = geo, 2 = user.
    pub kind: u8,
    /// The index of the post.
    pub ind: u64,
    /// 0 for the first content of this record; any other number is a correction with contents of its own.
    pub version: u32,
    /// How it is written.
    pub form: Form,
}

/// How a record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// As producers send it.
    Plain,
    /// In one of [`Form::ODD`] odd forms.
    Odd(u8),
    /// As a delete: `{"ind":N,"__deleted":true}`.
    Delete,
}

impl Form {
    /// How many odd forms there are.
    pub const ODD: u8 = 13;
    /// How many of them, the first ones, are accepted as records of the post; the others are dead letters.
    pub const ACCEPTED: u8 = 6;

    /// Whether the record counts for its post.
    pub fn is_accepted(self) -> bool {
        !matches!(self, Form::Odd(number) if number >= Form::ACCEPTED)
    }
}

/// A record with its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// 0 = pin, 1 = geo, 2 = user.
    pub kind: u8,
    /// The index of the post: the Kafka key, as digits.
    pub ind: u64,
    /// The value, compact JSON without a line end.
    pub json: Vec<u8>,
}

/// Which odd form an event has, and whether it has one at all.
pub(super) fn choose_form(seed: u64, place: u64, dirty: u64) -> Form {
    if dirty == 0 {
        return Form::Plain;
    }
    let mut random = Random::of([seed, CHOICE, place, 0]);
    if !random.chance(dirty) {
        return Form::Plain;
    }
    let accepted = u64::from(Form::ACCEPTED);
    let number = match random.below(2) {
        0 => random.below(accepted),
        _ => accepted + random.below(u64::from(Form::ODD) - accepted),
    };
    Form::Odd(number as u8)
}
