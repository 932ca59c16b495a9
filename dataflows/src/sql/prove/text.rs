//! Text, and what is computed of it.

use super::{Proved, Prover, Reason};
use crate::sql::plan::{ExprId, Scalar};
use crate::sql::types::{Facts, LONGEST_TEXT, Ty};

/// A character of UTF-8 has at most this many bytes.
const CHARACTER: u32 = 4;

impl Prover<'_> {
    pub(super) fn text(&self, e: ExprId, scalar: &Scalar, args: &[Facts]) -> Proved {
        use Scalar::*;
        let nullable = args.iter().any(|facts| facts.nullable);
        let value = args[0];
        let longest = value.bytes.unwrap_or(LONGEST_TEXT);
        let same = |bytes| {
            Ok(Facts {
                bytes,
                ordered: args
                    .iter()
                    .zip(scalar.arguments())
                    .any(|(facts, a)| self.plan.ty(a) == Ty::Text && facts.ordered),
                ..Facts::text(bytes).nullable(nullable)
            })
        };
        let first = |count: u32| {
            let most = count.saturating_mul(CHARACTER);
            same(match value.bytes {
                Some(bytes) => Some(bytes.min(most)),
                // n characters of wide text are bounded unless n is
                None => Some(most).filter(|most| *most < LONGEST_TEXT),
            })
        };
        match scalar {
            Length(_) | StrPos(..) => Ok(Facts::range(0, i128::from(longest) + 1).nullable(nullable)),
            Left(_, count) | Right(_, count) | Substr { count: Some(count), .. } => first(*count),
            Substr { count: None, .. } | SplitPart(..) | Trim(..) => same(value.bytes),
            Lower(argument) | Upper(argument) => {
                if !value.ordered {
                    return self.doubt(e, Reason::Collation(*argument));
                }
                same(value.bytes)
            }
            CollateC(_) => Ok(Facts { ordered: true, ..value }),
            Concat(left, right) => match (value.bytes, args[1].bytes) {
                (Some(a), Some(b)) if a + b <= LONGEST_TEXT / 2 => same(Some(a + b)),
                (Some(_), Some(_)) => self.doubt(e, Reason::Long),
                (None, _) => self.doubt(e, Reason::Wide(*left)),
                (_, None) => self.doubt(e, Reason::Wide(*right)),
            },
            Replace(text, _, to) => match (value.bytes, args[2].bytes) {
                // each byte is at most replaced by the new text
                (Some(a), Some(b)) if u64::from(a) * u64::from(b.max(1)) <= u64::from(LONGEST_TEXT / 2) => {
                    same(Some(a * b.max(1)))
                }
                (Some(_), Some(_)) => self.doubt(e, Reason::Long),
                (None, _) => self.doubt(e, Reason::Wide(*text)),
                (_, None) => self.doubt(e, Reason::Wide(*to)),
            },
            // an integer in decimal digits
            Cast(_) => same(Some(20)),
            _ => unreachable!("{scalar:?} is no operation on text"),
        }
    }
}
