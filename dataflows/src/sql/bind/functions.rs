//! Functions, and casts that are written.

use super::binder::Binder;
use super::literal;
use super::value::{Context, Value};
use crate::sql::ast::{Call, Expr, ExprKind};
use crate::sql::diagnostic::{Fault, Position};
use crate::sql::plan::{ExprId, Scalar, Side, TimeUnit};
use crate::sql::types::Ty;

/// The greatest number of decimals that round takes.
const MOST_DECIMALS: i64 = 20;

impl<'a> Binder<'a> {
    pub(super) fn call(&mut self, cx: &mut Context, call: &'a Call, at: Position) -> Option<Value<'a>> {
        if let Some(value) = self.window_function(cx, call, at) {
            return value;
        }
        if let Some(value) = self.aggregate(cx, call, at) {
            return value;
        }
        let name = call.name.as_str();
        if call.star || call.distinct || call.within.is_some() || call.filter.is_some() {
            let fault = Fault::new(at, format!("{name} is not a known aggregate"));
            return self.refuse(fault.hint(AGGREGATES));
        }
        match (name, call.args.as_slice()) {
            ("coalesce", [_, ..]) => self.choice(cx, call, at, Scalar::Coalesce),
            ("greatest", [_, ..]) => self.choice(cx, call, at, Scalar::Greatest),
            ("least", [_, ..]) => self.choice(cx, call, at, Scalar::Least),
            ("nullif", [value, other]) => self.null_if(cx, value, other, at),
            ("abs", [e]) => {
                let e = self.exact_number(cx, e, name)?;
                let ty = self.plan.ty(e);
                self.made(Scalar::Abs(e), ty)
            }
            ("mod", [a, b]) => {
                let (a, b) = (self.exact_number(cx, a, name), self.exact_number(cx, b, name));
                let (a, b) = self.unify(Value::Expr(a?), Value::Expr(b?), name, at)?;
                let ty = self.plan.ty(a);
                self.made(Scalar::Arith(crate::sql::plan::Arith::Remainder, a, b), ty)
            }
            ("sign", [e]) => {
                let e = self.numeric(cx, e, name, "sign")?;
                self.made(Scalar::Sign(e), Ty::Numeric)
            }
            ("round", [e]) => {
                let e = self.numeric(cx, e, name, "round")?;
                self.made(Scalar::Round(e, 0), Ty::Numeric)
            }
            ("round", [e, decimals]) => {
                let e = self.exact_number(cx, e, name);
                let decimals = self.count(decimals, 0, MOST_DECIMALS, "the number of decimals");
                let e = self.cast(e?, Ty::Numeric);
                self.made(Scalar::Round(e, decimals? as u16), Ty::Numeric)
            }
            ("date_trunc", [unit, e]) => self.date_trunc(cx, unit, e),
            ("length" | "char_length" | "character_length", [e]) => {
                let e = self.text_argument(cx, e, name)?;
                self.made(Scalar::Length(e), Ty::Int4)
            }
            ("left" | "right", [e, count]) => {
                let e = self.text_argument(cx, e, name);
                let count = self.count(count, 0, i64::from(i32::MAX), "the number of characters")? as u32;
                let scalar = match name {
                    "left" => Scalar::Left(e?, count),
                    _ => Scalar::Right(e?, count),
                };
                self.made(scalar, Ty::Text)
            }
            ("substr" | "substring", [e, from, rest @ ..]) if rest.len() <= 1 => {
                let text = self.text_argument(cx, e, name);
                let from = self.count(from, 1, i64::from(i32::MAX), "the first character");
                let count = match rest.first() {
                    None => Some(None),
                    Some(count) => self
                        .count(count, 0, i64::from(i32::MAX), "the number of characters")
                        .map(|count| Some(count as u32)),
                };
                let scalar = Scalar::Substr {
                    text: text?,
                    from: from? as u32,
                    count: count?,
                };
                self.made(scalar, Ty::Text)
            }
            ("replace", [text, from, to]) => {
                let args = [text, from, to].map(|e| self.text_argument(cx, e, name));
                let [text, from, to] = args;
                self.made(Scalar::Replace(text?, from?, to?), Ty::Text)
            }
            ("split_part", [text, delimiter, part]) => {
                let (text, delimiter) = (
                    self.text_argument(cx, text, name),
                    self.text_argument(cx, delimiter, name),
                );
                let part = self.count(part, 1, i64::from(i32::MAX), "the number of the part")?;
                self.made(Scalar::SplitPart(text?, delimiter?, part as u32), Ty::Text)
            }
            ("strpos" | "starts_with", [text, part]) => {
                let (text, part) = (self.text_argument(cx, text, name), self.text_argument(cx, part, name));
                match name {
                    "strpos" => self.made(Scalar::StrPos(text?, part?), Ty::Int4),
                    _ => self.made(Scalar::StartsWith(text?, part?), Ty::Bool),
                }
            }
            ("btrim" | "ltrim" | "rtrim", [text, rest @ ..]) if rest.len() <= 1 => {
                let text = self.text_argument(cx, text, name);
                let characters = match rest.first() {
                    None => Some(self.text(" ")),
                    Some(characters) => self.text_argument(cx, characters, name),
                };
                let side = match name {
                    "btrim" => Side::Both,
                    "ltrim" => Side::Left,
                    _ => Side::Right,
                };
                self.made(Scalar::Trim(side, text?, characters?), Ty::Text)
            }
            ("lower" | "upper", [e]) => {
                let e = self.text_argument(cx, e, name)?;
                let scalar = match name {
                    "lower" => Scalar::Lower(e),
                    _ => Scalar::Upper(e),
                };
                self.made(scalar, Ty::Text)
            }
            ("date_part", _) => {
                let fault = Fault::new(at, "date_part gives double precision");
                self.refuse(fault.hint("EXTRACT(year FROM …)::integer"))
            }
            _ => {
                let count = call.args.len();
                if FUNCTIONS.split(", ").any(|known| known == name) {
                    return self.refuse(Fault::new(at, format!("{name} does not take {count} arguments")));
                }
                let fault = Fault::new(at, format!("the function {name} is not accepted"));
                self.refuse(fault.hint(format!("functions: {FUNCTIONS}; aggregates: {AGGREGATES}")))
            }
        }
    }

    fn made(&mut self, scalar: Scalar, ty: Ty) -> Option<Value<'a>> {
        Some(Value::Expr(self.plan.add(scalar, ty)))
    }

    fn choice(
        &mut self,
        cx: &mut Context,
        call: &'a Call,
        at: Position,
        make: impl Fn(Vec<ExprId>) -> Scalar,
    ) -> Option<Value<'a>> {
        let values: Vec<_> = call.args.iter().map(|arg| self.value(cx, arg)).collect();
        let values = values.into_iter().collect::<Option<Vec<_>>>()?;
        let ty = self.common(&values, &call.name, at)?;
        let mut args = Vec::with_capacity(values.len());
        for value in values {
            let e = self.coerce(value, ty, at);
            args.push(self.checked(e)?);
        }
        self.made(make(args), ty)
    }

    /// The result is the first argument as PostgreSQL's `=` takes it: there is one between integers of both sizes and
    /// between dates and timestamps, so these keep their type.
    fn null_if(&mut self, cx: &mut Context, value: &'a Expr, other: &'a Expr, at: Position) -> Option<Value<'a>> {
        let (first, second) = (self.value(cx, value), self.value(cx, other));
        let (first, second) = (first?, second?);
        let (left, right) = self.unify(first, second, "nullif", at)?;
        let value = match first {
            Value::Expr(e) => e,
            _ => return self.refuse(Fault::new(at, "nullif of a literal is not accepted")),
        };
        let value = match self.plan.ty(left) {
            Ty::Numeric | Ty::Float8 => left,
            _ => value,
        };
        let ty = self.plan.ty(value);
        self.made(Scalar::NullIf { value, left, right }, ty)
    }

    /// Of integers PostgreSQL computes sign and round in double precision.
    fn numeric(&mut self, cx: &mut Context, expr: &'a Expr, name: &str, what: &str) -> Option<ExprId> {
        let e = self.exact_number(cx, expr, name)?;
        if self.plan.ty(e) == Ty::Numeric {
            return Some(e);
        }
        let fault = Fault::new(
            expr.position,
            format!("{name} of an integer is double precision in PostgreSQL"),
        );
        self.refuse(fault.hint(format!("{what}({}::numeric)", self.show_operand(expr))))
    }

    /// A number that is written out.
    fn count(&mut self, expr: &'a Expr, least: i64, most: i64, what: &str) -> Option<i64> {
        let number = match &expr.kind {
            ExprKind::Number { negative, digits } => literal::number(*negative, digits),
            _ => None,
        };
        match number {
            Some((Scalar::Int(number), Ty::Int4)) if (least..=most).contains(&number) => Some(number),
            _ => {
                let message = format!("{what} must be an integer literal from {least} to {most}");
                self.refuse(Fault::new(expr.position, message))
            }
        }
    }

    fn date_trunc(&mut self, cx: &mut Context, unit: &'a Expr, e: &'a Expr) -> Option<Value<'a>> {
        const UNITS: [TimeUnit; 7] = [
            TimeUnit::Year,
            TimeUnit::Quarter,
            TimeUnit::Month,
            TimeUnit::Week,
            TimeUnit::Day,
            TimeUnit::Hour,
            TimeUnit::Minute,
        ];
        let found = match &unit.kind {
            ExprKind::Text(text) => UNITS.into_iter().find(|unit| unit.name() == text.to_ascii_lowercase()),
            _ => None,
        };
        let bound = self.typed(cx, e)?;
        let Some(found) = found else {
            let fault = Fault::new(unit.position, "date_trunc does not take this unit");
            return self.refuse(fault.hint("'year', 'quarter', 'month', 'week', 'day', 'hour' or 'minute'"));
        };
        match self.plan.ty(bound) {
            Ty::Timestamp => self.made(Scalar::Truncate(found, bound), Ty::Timestamp),
            Ty::Date => {
                let fault = Fault::new(e.position, "date_trunc of a date depends on the session's time zone");
                self.refuse(fault.hint(format!(
                    "date_trunc('{}', {}::timestamp)",
                    found.name(),
                    self.show_operand(e)
                )))
            }
            ty => self.refuse(Fault::new(
                e.position,
                format!("date_trunc takes a timestamp, not {ty}"),
            )),
        }
    }

    pub(super) fn cast_to(&mut self, cx: &mut Context, inner: &'a Expr, ty: Ty, at: Position) -> Option<Value<'a>> {
        if let ExprKind::Extract(unit, e) = &inner.kind {
            let time = self.typed(cx, e)?;
            let e = match self.plan.ty(time) {
                Ty::Date if matches!(unit, TimeUnit::Hour | TimeUnit::Minute) => {
                    return self.refuse(Fault::new(e.position, format!("a date has no {}", unit.name())));
                }
                Ty::Date | Ty::Timestamp => self.plan.add(Scalar::Extract(*unit, time), Ty::Int4),
                ty => {
                    let message = format!("EXTRACT takes a date or timestamp, and {} is {ty}", self.show(e));
                    return self.refuse(Fault::new(e.position, message));
                }
            };
            return match ty {
                Ty::Int4 => Some(Value::Expr(e)),
                Ty::Int8 | Ty::Numeric => {
                    let fault = Fault::new(at, "EXTRACT is cast to integer first");
                    self.refuse(fault.hint(format!("EXTRACT({} FROM …)::integer", unit.name())))
                }
                _ => self.refuse(Fault::new(at, format!("EXTRACT is not cast to {ty}")).hint("::integer")),
            };
        }
        let e = match self.value(cx, inner)? {
            Value::Expr(e) => e,
            value => {
                let literal = self.coerce(value, ty, at);
                return self.checked(literal).map(Value::Expr);
            }
        };
        let from = self.plan.ty(e);
        let allowed = match (from, ty) {
            _ if from == ty => true,
            (Ty::Int4 | Ty::Int8 | Ty::Numeric, Ty::Int4 | Ty::Int8 | Ty::Numeric) => true,
            (Ty::Int4 | Ty::Int8, Ty::Text) => true,
            (Ty::Date, Ty::Timestamp) | (Ty::Timestamp, Ty::Date) => true,
            (Ty::Bool, Ty::Int4) => true,
            _ => false,
        };
        if allowed {
            return Some(Value::Expr(self.cast(e, ty)));
        }
        let shown = self.show(inner);
        let fault = Fault::new(at, format!("{shown} is {from}, and its cast to {ty} is not accepted"));
        self.refuse(match (from, ty) {
            (Ty::Text, _) => {
                fault.hint("a text may hold anything, and one that is no such value would stop every commit")
            }
            (Ty::Date | Ty::Timestamp, Ty::Text) => {
                fault.hint("how a time is written depends on the session's settings")
            }
            (_, Ty::Float8) => fault.hint(format!("{shown} as it is, or ::numeric")),
            (_, Ty::Bool) => fault.hint(format!("{shown} <> 0")),
            (Ty::Float8, _) => fault.hint("double precision is only compared"),
            _ => fault,
        })
    }
}

const FUNCTIONS: &str = "abs, btrim, char_length, coalesce, date_trunc, greatest, least, left, length, lower, ltrim, mod, \
                         nullif, replace, right, round, rtrim, sign, split_part, starts_with, strpos, substr, upper";

pub(super) const AGGREGATES: &str =
    "count, sum, avg, min, max, bool_and, every, bool_or, percentile_cont, percentile_disc, mode";

/// Whether a function is an aggregate.
pub(in crate::sql) fn is_aggregate(name: &str) -> bool {
    AGGREGATES.split(", ").any(|known| known == name)
}
