//! Literals: numbers as PostgreSQL types them, and texts that stand for a value of another type.

use super::binder::Binder;
use super::value::Value;
use crate::sql::diagnostic::{Checked, Fault, Position};
use crate::sql::plan::{ExprId, Scalar};
use crate::sql::types::Ty;
use std::sync::Arc;

/// integer if it fits, else bigint, else numeric, as PostgreSQL.
pub(super) fn number(negative: bool, digits: &str) -> Option<(Scalar, Ty)> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut unscaled: i128 = format!("{whole}{fraction}").parse().ok()?;
    if negative {
        unscaled = -unscaled;
    }
    if fraction.is_empty()
        && !digits.contains('.')
        && let Ok(value) = i64::try_from(unscaled)
    {
        let ty = if i32::try_from(value).is_ok() {
            Ty::Int4
        } else {
            Ty::Int8
        };
        return Some((Scalar::Int(value), ty));
    }
    let scale = fraction.len() as u16;
    Some((Scalar::Numeric { unscaled, scale }, Ty::Numeric))
}

/// The value of a text literal as a type, in the forms that no setting of the database changes.
fn parse(text: &str, ty: Ty) -> Option<Scalar> {
    let plain_time = |text: &str| {
        // 2020-08-28 03:52:47.123456: what the cleaning reads, less its other forms
        let ok = text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            10 => byte == b' ',
            13 | 16 => byte == b':',
            19 => byte == b'.',
            _ => byte.is_ascii_digit(),
        });
        let length = [10, 19].contains(&text.len()) || (21..=26).contains(&text.len());
        (ok && length).then(|| crate::cleaning::micros(text)).flatten()
    };
    match ty {
        Ty::Text => Some(Scalar::Text(text.into())),
        Ty::Date if text.len() == 10 => {
            let days = plain_time(text)?.div_euclid(86_400_000_000);
            Some(Scalar::Date(i32::try_from(days).ok()?))
        }
        Ty::Timestamp => plain_time(text).map(Scalar::Timestamp),
        Ty::Int4 | Ty::Int8 => {
            let (negative, digits) = match text.strip_prefix('-') {
                Some(digits) => (true, digits),
                None => (false, text),
            };
            let plain = !digits.is_empty() && digits.len() < 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
            match number(negative, plain.then_some(digits)?)? {
                (value, Ty::Int4) => Some(value),
                (value, Ty::Int8) if ty == Ty::Int8 => Some(value),
                _ => None,
            }
        }
        _ => None,
    }
}

impl Binder<'_> {
    pub(super) fn text(&mut self, text: &str) -> ExprId {
        self.plan.add(Scalar::Text(Arc::from(text)), Ty::Text)
    }

    /// A text literal as a value of `ty`.
    pub(super) fn literal(&mut self, text: &str, ty: Ty, at: Position) -> Checked<ExprId> {
        match parse(text, ty) {
            Some(scalar) => Ok(self.plan.add(scalar, ty)),
            None => {
                let fault = Fault::new(at, format!("invalid {ty} literal '{text}'"));
                Err(match ty {
                    Ty::Date => fault.hint("'2020-12-31'"),
                    Ty::Timestamp => fault.hint("'2020-12-31' or '2020-12-31 23:59:59'"),
                    Ty::Bool => fault.hint("true or false"),
                    _ => fault.hint("a number without quotes"),
                })
            }
        }
    }

    /// A value as `ty`, to which PostgreSQL converts it by itself: literals, null, and wider numbers and times.
    pub(super) fn coerce(&mut self, value: Value<'_>, ty: Ty, at: Position) -> Checked<ExprId> {
        match value {
            Value::Expr(e) => Ok(self.cast(e, ty)),
            Value::Null => Ok(self.plan.add(Scalar::Null, ty)),
            Value::Literal(text) => self.literal(text, ty, at),
        }
    }

    /// A cast, unless it is none; of a constant at once.
    pub(super) fn cast(&mut self, e: ExprId, ty: Ty) -> ExprId {
        if self.plan.ty(e) == ty {
            return e;
        }
        let scalar = match (self.plan.scalar(e), ty) {
            (Scalar::Int(value), Ty::Int8) => Scalar::Int(*value),
            (Scalar::Int(value), Ty::Numeric) => Scalar::Numeric {
                unscaled: (*value).into(),
                scale: 0,
            },
            (Scalar::Null, _) => Scalar::Null,
            _ => Scalar::Cast(e),
        };
        self.plan.add(scalar, ty)
    }
}
