//! What a condition says about its parts.

use super::{MOST_STEPS, Prover, both, hull};
use crate::sql::plan::{CompareOp, ExprId, Scalar};
use crate::sql::types::{Facts, Ty};
use hashbrown::{HashMap, HashSet};

/// What is known of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sql) enum Truth {
    /// It holds.
    True,
    /// It is false, and not null.
    False,
    /// It is false or null.
    NotTrue,
}

impl Prover<'_> {
    /// From here on rows are those on which the condition is so.
    pub fn assume(&mut self, condition: ExprId, truth: Truth) {
        let before = self.assumed.len();
        let changed = self.learn(condition, truth);
        if changed || self.assumed.len() != before {
            self.known.clear();
        }
    }

    /// Whether anything was learned.
    fn learn(&mut self, condition: ExprId, truth: Truth) -> bool {
        use Scalar::*;
        self.steps += 1;
        if self.steps > MOST_STEPS {
            return false;
        }
        let plan = self.plan;
        let truth = match truth {
            Truth::NotTrue => match self.prove(condition) {
                // false or null, and it is never null
                Ok(facts) if !facts.nullable => Truth::False,
                _ => return self.learn_not_true(condition),
            },
            truth => truth,
        };
        let holds = truth == Truth::True;
        match plan.scalar(condition) {
            Not(inner) => self.learn(*inner, if holds { Truth::False } else { Truth::True }),
            And(parts) if holds => parts
                .iter()
                .fold(false, |any, part| self.learn(*part, Truth::True) | any),
            Or(parts) if !holds => parts
                .iter()
                .fold(false, |any, part| self.learn(*part, Truth::False) | any),
            And(parts) | Or(parts) => self.learn_either(parts, truth),
            IsNull(e) if !holds => self.not_null(*e),
            IsTrue(e) if holds => self.learn(*e, Truth::True),
            IsFalse(e) if holds => self.learn(*e, Truth::False),
            Compare(op, left, right) => {
                let op = if holds { *op } else { op.negated() };
                let (left, right) = (*left, *right);
                let mut any = self.not_null(left) | self.not_null(right);
                any |= self.compared(op, left, right);
                any | self.compared(op.swapped(), right, left)
            }
            In(value, items) => {
                let mut any = self.not_null(*value);
                let items: Option<Vec<Facts>> = items.iter().map(|item| self.prove(*item).ok()).collect();
                if let Some(items) = items.filter(|_| holds)
                    && let Some(facts) = items.into_iter().reduce(hull)
                {
                    any |= self.narrow(*value, facts.low, facts.high, facts.nonzero);
                }
                any
            }
            scalar if scalar.is_strict() => self.not_null(condition),
            _ => false,
        }
    }

    /// NOT a AND NOT b, where each is false or null: both are so.
    fn learn_not_true(&mut self, condition: ExprId) -> bool {
        match self.plan.scalar(condition) {
            Scalar::Or(parts) => parts
                .iter()
                .fold(false, |any, part| self.learn(*part, Truth::NotTrue) | any),
            _ => false,
        }
    }

    /// One of the parts is so, but who knows which: what all of them say.
    fn learn_either(&mut self, parts: &[ExprId], truth: Truth) -> bool {
        let mut branches: Vec<HashMap<ExprId, Facts>> = Vec::with_capacity(parts.len());
        for part in parts {
            let mut branch = self.clone();
            branch.assume(*part, truth);
            self.steps = branch.steps;
            branches.push(branch.assumed);
        }
        let Some(first) = branches.pop() else { return false };
        let mut any = false;
        for (e, facts) in first {
            let all = branches
                .iter()
                .try_fold(facts, |facts, branch| Some(hull(facts, *branch.get(&e)?)));
            if let Some(facts) = all {
                any |= self.assumed.insert(e, facts) != Some(facts);
            }
        }
        any
    }

    fn not_null(&mut self, e: ExprId) -> bool {
        let mut any = false;
        let mut todo = vec![e];
        let mut seen = HashSet::new();
        while let Some(e) = todo.pop() {
            let Ok(facts) = self.prove(e) else { continue };
            if facts.nullable {
                any |= self.put(e, facts.nullable(false));
            }
            if self.plan.scalar(e).is_strict() {
                let arguments = self.plan.scalar(e).arguments().into_iter();
                todo.extend(arguments.filter(|part| seen.insert(*part)));
            }
        }
        any
    }

    /// `e op other` holds: what the range of `other` says about `e`.
    fn compared(&mut self, op: CompareOp, e: ExprId, other: ExprId) -> bool {
        let Ok(known) = self.prove(other) else { return false };
        let ty = self.plan.ty(e);
        if matches!(ty, Ty::Text | Ty::Float8) {
            return false;
        }
        // a numeric below 5 may lie above 4
        let step = i128::from(ty != Ty::Numeric);
        let (low, high) = match op {
            CompareOp::Equal => (known.low, known.high),
            CompareOp::NotEqual if known.low == 0 && known.high == 0 => {
                return self.narrow(e, i128::MIN, i128::MAX, true);
            }
            CompareOp::NotEqual => return false,
            CompareOp::Less => (i128::MIN, known.high.saturating_sub(step)),
            CompareOp::LessOrEqual => (i128::MIN, known.high),
            CompareOp::Greater => (known.low.saturating_add(step), i128::MAX),
            CompareOp::GreaterOrEqual => (known.low, i128::MAX),
        };
        let positive = matches!(op, CompareOp::Greater) && known.low >= 0;
        let negative = matches!(op, CompareOp::Less) && known.high <= 0;
        let equal = matches!(op, CompareOp::Equal) && known.nonzero;
        self.narrow(e, low, high, positive || negative || equal)
    }

    /// `e` lies within `low..=high`.
    fn narrow(&mut self, e: ExprId, low: i128, high: i128, nonzero: bool) -> bool {
        let Ok(facts) = self.prove(e) else { return false };
        let narrow = Facts {
            nullable: true,
            low,
            high,
            nonzero,
            total: u128::MAX,
            unscaled: u128::MAX,
            ..facts
        };
        let new = both(facts, narrow);
        let mut any = new != facts && self.put(e, new);
        // a cast between integers, or to a numeric, keeps the value
        if let Scalar::Cast(argument) = self.plan.scalar(e)
            && self.plan.ty(*argument).is_integer()
            && matches!(self.plan.ty(e), Ty::Int4 | Ty::Int8 | Ty::Numeric)
        {
            any |= self.narrow(*argument, low, high, nonzero);
        }
        any
    }

    /// Whether that can be assumed.
    fn put(&mut self, e: ExprId, facts: Facts) -> bool {
        if self.constant(e) {
            return false;
        }
        self.assumed.insert(e, facts);
        self.known.clear();
        true
    }
}
