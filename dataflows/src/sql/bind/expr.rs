//! Expressions: names and types.

use super::binder::Binder;
use super::literal;
use super::relation::What;
use super::value::{Clause, Context, Value};
use crate::sql::ast::{Expr, ExprKind, Test};
use crate::sql::diagnostic::{Fault, Position};
use crate::sql::plan::{Arith, CompareOp, ExprId, Scalar};
use crate::sql::types::Ty;

/// How deep an expression nests once columns of subqueries stand for what they are.
const DEEPEST: u32 = 200;

/// How many operands and operators a query has once columns of subqueries stand for what they are: PostgreSQL plans a
/// query in more time than in proportion to them.
pub(super) const MOST_PARTS: u64 = 20_000;

impl<'a> Binder<'a> {
    /// An expression with a type: what has none is text.
    pub(super) fn typed(&mut self, cx: &mut Context, expr: &'a Expr) -> Option<ExprId> {
        match self.value(cx, expr)? {
            Value::Expr(e) => Some(e),
            Value::Literal(text) => Some(self.text(text)),
            Value::Null => Some(self.plan.add(Scalar::Null, Ty::Text)),
        }
    }

    /// A condition.
    pub(super) fn condition(&mut self, cx: &mut Context, expr: &'a Expr) -> Option<ExprId> {
        match self.value(cx, expr)? {
            Value::Expr(e) if self.plan.ty(e) == Ty::Bool => Some(e),
            Value::Null => Some(self.plan.add(Scalar::Null, Ty::Bool)),
            Value::Literal(_) => self.refuse(
                Fault::new(expr.position, "a condition must be boolean, not a text literal").hint("true or false"),
            ),
            Value::Expr(e) => {
                let message = format!(
                    "a condition must be boolean, and {} is {}",
                    self.show(expr),
                    self.plan.ty(e)
                );
                self.refuse(Fault::new(expr.position, message))
            }
        }
    }

    pub(super) fn value(&mut self, cx: &mut Context, expr: &'a Expr) -> Option<Value<'a>> {
        let value = self.value_inside(cx, expr)?;
        if let Value::Expr(e) = value {
            if self.plan.depth(e) > DEEPEST {
                let fault = Fault::new(
                    expr.position,
                    format!("expressions nest deeper than {DEEPEST}, subqueries included"),
                );
                return self.refuse(fault.hint("a result of its own for the inner ones"));
            }
            if self.plan.size(e) > MOST_PARTS {
                return self.too_large(expr.position);
            }
            if matches!(cx.clause, Clause::Item | Clause::Having | Clause::Order) {
                self.written_as_key(e, expr)?;
            }
            self.origin.insert(e, expr);
        }
        Some(value)
    }

    /// PostgreSQL takes an expression for a key of GROUP BY where both are written in the same way, and not where they
    /// mean the same: `x % 3` is not `mod(x, 3)`.
    fn written_as_key(&mut self, e: ExprId, expr: &Expr) -> Option<()> {
        let mut keys = self.written_keys.iter().filter(|(key, _)| *key == e).peekable();
        let Some((_, key)) = keys.peek().filter(|_| !self.plan.scalar(e).is_literal()) else {
            return Some(());
        };
        let mut written = expr;
        loop {
            let text = self.compared(written);
            if keys.clone().any(|(_, key)| *key == text) {
                return Some(());
            }
            match &written.kind {
                // a cast that changes nothing is not there
                ExprKind::Cast(inner, _) => written = inner,
                _ => break,
            }
        }
        let fault = Fault::new(
            expr.position,
            format!("{} is not written as in GROUP BY", self.show(expr)),
        );
        // the outermost parentheses are the printer's own
        let inner = key.strip_prefix('(').and_then(|key| key.strip_suffix(')'));
        let hint = inner.unwrap_or(key).to_owned();
        self.refuse(fault.hint(hint))
    }

    pub(super) fn too_large<T>(&mut self, at: Position) -> Option<T> {
        let message = format!(
            "with the subqueries and results written out, as PostgreSQL computes it, this query has more than \
             {MOST_PARTS} operands and operators"
        );
        self.refuse(Fault::new(at, message).hint("use computed columns fewer times"))
    }

    fn value_inside(&mut self, cx: &mut Context, expr: &'a Expr) -> Option<Value<'a>> {
        let at = expr.position;
        let boolean = |binder: &mut Self, scalar| Some(Value::Expr(binder.plan.add(scalar, Ty::Bool)));
        match &expr.kind {
            ExprKind::Null => Some(Value::Null),
            ExprKind::Text(text) => Some(Value::Literal(text)),
            ExprKind::Bool(value) => boolean(self, Scalar::Bool(*value)),
            ExprKind::Top => {
                self.uses_top = true;
                self.number(false, &self.top.to_string(), at)
            }
            ExprKind::Number { negative, digits } => self.number(*negative, digits, at),
            ExprKind::Typed(ty, text) => {
                let literal = self.literal(text, *ty, at);
                self.checked(literal).map(Value::Expr)
            }
            ExprKind::Column { relation, name } => {
                let what = self.resolve(cx.scope, relation.as_ref(), name);
                match self.checked(what)? {
                    What::Expr(e) => Some(Value::Expr(e)),
                    What::Array(kind, column) => {
                        let message = format!("{} is an array, of which only elements can be used", name.text);
                        let count = self.schema.kinds[kind].columns[column].elements.unwrap_or(1);
                        let hint = format!("{}[1] to {}[{count}]", name.text, name.text);
                        self.refuse(Fault::new(at, message).hint(hint))
                    }
                }
            }
            ExprKind::Element(array, index) => self.element(cx, array, *index, at),
            ExprKind::Not(inner) => {
                let inner = self.condition(cx, inner)?;
                boolean(self, Scalar::Not(inner))
            }
            ExprKind::And(parts) | ExprKind::Or(parts) => {
                let bound: Vec<_> = parts.iter().map(|part| self.condition(cx, part)).collect();
                let parts = bound.into_iter().collect::<Option<Vec<_>>>()?;
                boolean(
                    self,
                    match &expr.kind {
                        ExprKind::And(_) => Scalar::And(parts),
                        _ => Scalar::Or(parts),
                    },
                )
            }
            ExprKind::Compare(op, left, right) => {
                let (left, right) = self.pair(cx, left, right, op.sign(), at)?;
                boolean(self, Scalar::Compare(*op, left, right))
            }
            ExprKind::Distinct { left, right, negated } => {
                let (left, right) = self.pair(cx, left, right, "IS DISTINCT FROM", at)?;
                let distinct = self.plan.add(Scalar::IsDistinct(left, right), Ty::Bool);
                Some(Value::Expr(self.negated(distinct, *negated)))
            }
            ExprKind::Between {
                expr: inner,
                low,
                high,
                negated,
            } => {
                let (least, value) = (self.value(cx, low), self.value(cx, inner));
                let most = self.value(cx, high);
                let (least, value, most) = (least?, value?, most?);
                let (value_low, least) = self.unify(value, least, "BETWEEN", at)?;
                let (value_high, most) = self.unify(value, most, "BETWEEN", at)?;
                let above = Scalar::Compare(CompareOp::GreaterOrEqual, value_low, least);
                let below = Scalar::Compare(CompareOp::LessOrEqual, value_high, most);
                let parts = [above, below].map(|part| self.plan.add(part, Ty::Bool));
                for part in parts {
                    self.origin.insert(part, expr);
                }
                let between = self.plan.add(Scalar::And(parts.to_vec()), Ty::Bool);
                Some(Value::Expr(self.negated(between, *negated)))
            }
            ExprKind::In { expr, list, negated } => self.within(cx, expr, list, *negated, at),
            ExprKind::Is { expr, test, negated } => {
                let scalar = match test {
                    Test::Null => match self.value(cx, expr)? {
                        Value::Expr(e) => Scalar::IsNull(e),
                        _ => return self.refuse(Fault::new(at, "IS NULL of a literal is not accepted")),
                    },
                    Test::True => Scalar::IsTrue(self.condition(cx, expr)?),
                    Test::False => Scalar::IsFalse(self.condition(cx, expr)?),
                    Test::Unknown => Scalar::IsNull(self.condition(cx, expr)?),
                };
                let is = self.plan.add(scalar, Ty::Bool);
                Some(Value::Expr(self.negated(is, *negated)))
            }
            ExprKind::Like { expr, pattern, negated } => {
                let text = self.text_argument(cx, expr, "LIKE")?;
                let escapes = pattern.bytes().rev().take_while(|byte| *byte == b'\\').count();
                if escapes % 2 == 1 {
                    let fault = Fault::new(
                        at,
                        "the pattern ends with its escape character, which PostgreSQL refuses",
                    );
                    return self.refuse(fault.hint("\\\\ for one backslash"));
                }
                let like = self.plan.add(Scalar::Like(text, pattern.as_str().into()), Ty::Bool);
                Some(Value::Expr(self.negated(like, *negated)))
            }
            ExprKind::Arith(op, left, right) => self.arith(cx, *op, left, right, at),
            ExprKind::Negate(inner) => {
                let e = self.exact_number(cx, inner, "-")?;
                let ty = self.plan.ty(e);
                Some(Value::Expr(self.plan.add(Scalar::Negate(e), ty)))
            }
            ExprKind::Concat(left, right) => {
                let (left, right) = (self.text_argument(cx, left, "||"), self.text_argument(cx, right, "||"));
                Some(Value::Expr(self.plan.add(Scalar::Concat(left?, right?), Ty::Text)))
            }
            ExprKind::Collate(inner) => {
                let e = self.text_argument(cx, inner, "COLLATE")?;
                Some(Value::Expr(self.plan.add(Scalar::CollateC(e), Ty::Text)))
            }
            ExprKind::Cast(inner, ty) => self.cast_to(cx, inner, *ty, at),
            ExprKind::Extract(unit, _) => {
                let fault = Fault::new(at, "EXTRACT is accepted with a cast to integer only");
                self.refuse(fault.hint(format!("EXTRACT({} FROM …)::integer", unit.name())))
            }
            ExprKind::Case {
                operand,
                branches,
                otherwise,
            } => self.case(cx, operand.as_deref(), branches, otherwise.as_deref(), at),
            ExprKind::Row(_) => {
                let fault = Fault::new(at, "a row of values can only be counted");
                self.refuse(fault.hint("count(DISTINCT (a, b))"))
            }
            ExprKind::Call(call) => self.call(cx, call, at),
        }
    }

    fn number(&mut self, negative: bool, digits: &str, at: Position) -> Option<Value<'a>> {
        match literal::number(negative, digits) {
            Some((scalar, ty)) => Some(Value::Expr(self.plan.add(scalar, ty))),
            None => self.refuse(Fault::new(at, format!("the number {digits} is not accepted"))),
        }
    }

    pub(super) fn negated(&mut self, e: ExprId, negated: bool) -> ExprId {
        if negated {
            self.plan.add(Scalar::Not(e), Ty::Bool)
        } else {
            e
        }
    }

    fn element(&mut self, cx: &mut Context, array: &'a Expr, index: i64, at: Position) -> Option<Value<'a>> {
        let ExprKind::Column { relation, name } = &array.kind else {
            return self.refuse(Fault::new(at, "only a column can be an array"));
        };
        let what = self.resolve(cx.scope, relation.as_ref(), name);
        let What::Array(kind, column) = self.checked(what)? else {
            return self.refuse(Fault::new(at, format!("{} is not an array", name.text)));
        };
        let column_of = &self.schema.kinds[kind].columns[column];
        let (count, ty) = (column_of.elements.unwrap_or(0), column_of.ty);
        match u8::try_from(index) {
            Ok(element) if (1..=count).contains(&element) => Some(Value::Expr(self.field(kind, column, element, ty))),
            _ => self.refuse(Fault::new(at, format!("{} has the elements 1 to {count}", name.text))),
        }
    }

    fn within(
        &mut self,
        cx: &mut Context,
        expr: &'a Expr,
        list: &'a [Expr],
        negated: bool,
        at: Position,
    ) -> Option<Value<'a>> {
        let value = self.value(cx, expr);
        let items: Vec<_> = list.iter().map(|item| self.value(cx, item)).collect();
        let mut values = vec![value?];
        values.extend(items.into_iter().collect::<Option<Vec<_>>>()?);
        let ty = self.common(&values, "IN", at)?;
        let mut bound = Vec::with_capacity(values.len());
        for (place, value) in values.into_iter().enumerate() {
            let position = if place == 0 { at } else { list[place - 1].position };
            let coerced = self.coerce(value, ty, position);
            let e = self.checked(coerced)?;
            let scalar = self.plan.scalar(e);
            let constant = scalar.is_literal() && *scalar != Scalar::Null;
            if place > 0 && !constant {
                let fault = Fault::new(position, "IN takes constants that are not null");
                return self.refuse(fault.hint("e = a OR e = b"));
            }
            bound.push(e);
        }
        let value = bound.remove(0);
        let within = self.plan.add(Scalar::In(value, bound), Ty::Bool);
        Some(Value::Expr(self.negated(within, negated)))
    }

    fn case(
        &mut self,
        cx: &mut Context,
        operand: Option<&'a Expr>,
        branches: &'a [(Expr, Expr)],
        otherwise: Option<&'a Expr>,
        at: Position,
    ) -> Option<Value<'a>> {
        let operand = match operand {
            None => None,
            // PostgreSQL makes it text before it looks at the conditions
            Some(operand) => Some(Value::Expr(self.typed(cx, operand)?)),
        };
        let (mut conditions, mut values) = (Some(Vec::new()), Some(Vec::new()));
        for (when, then) in branches {
            let condition = match operand {
                None => self.condition(cx, when),
                Some(operand) => self.value(cx, when).and_then(|value| {
                    let (left, right) = self.unify(operand, value, "=", when.position)?;
                    Some(self.plan.add(Scalar::Compare(CompareOp::Equal, left, right), Ty::Bool))
                }),
            };
            let value = self.value(cx, then);
            conditions = conditions.zip(condition).map(|(all, one)| push(all, one));
            values = values.zip(value).map(|(all, one)| push(all, one));
        }
        let otherwise = match otherwise {
            None => Some(Value::Null),
            Some(otherwise) => self.value(cx, otherwise),
        };
        let (conditions, values) = (conditions?, push(values?, otherwise?));
        let ty = self.common(&values, "CASE", at)?;
        let mut coerced = Vec::with_capacity(values.len());
        for value in values {
            let e = self.coerce(value, ty, at);
            coerced.push(self.checked(e)?);
        }
        let otherwise = coerced.pop()?;
        let branches = conditions.into_iter().zip(coerced).collect();
        Some(Value::Expr(self.plan.add(Scalar::Case(branches, otherwise), ty)))
    }

    fn arith(
        &mut self,
        cx: &mut Context,
        op: Arith,
        left: &'a Expr,
        right: &'a Expr,
        at: Position,
    ) -> Option<Value<'a>> {
        let (a, b) = (
            self.exact_number(cx, left, op.sign()),
            self.exact_number(cx, right, op.sign()),
        );
        let (a, b) = (a?, b?);
        let (a, b) = self.unify(Value::Expr(a), Value::Expr(b), op.sign(), at)?;
        let ty = self.plan.ty(a);
        Some(Value::Expr(self.plan.add(Scalar::Arith(op, a, b), ty)))
    }

    /// An integer, bigint or numeric.
    pub(super) fn exact_number(&mut self, cx: &mut Context, expr: &'a Expr, what: &str) -> Option<ExprId> {
        let fault = match self.value(cx, expr)? {
            Value::Expr(e) => match self.plan.ty(e) {
                Ty::Int4 | Ty::Int8 | Ty::Numeric => return Some(e),
                Ty::Float8 => Fault::new(
                    expr.position,
                    format!("{what} of double precision is not computed: PostgreSQL's answer may differ by machine"),
                )
                .hint("compare it, or take an integer or numeric column"),
                Ty::Date | Ty::Timestamp => Fault::new(expr.position, format!("{what} of a time is not accepted"))
                    .hint("EXTRACT(…)::integer, or date_trunc"),
                ty => Fault::new(
                    expr.position,
                    format!("{what} takes numbers, and {} is {ty}", self.show(expr)),
                ),
            },
            Value::Literal(_) => {
                Fault::new(expr.position, format!("{what} takes numbers, not a text literal")).hint("without quotes")
            }
            Value::Null => Fault::new(expr.position, format!("{what} of NULL is NULL")),
        };
        self.refuse(fault)
    }

    /// A text.
    pub(super) fn text_argument(&mut self, cx: &mut Context, expr: &'a Expr, what: &str) -> Option<ExprId> {
        match self.value(cx, expr)? {
            Value::Literal(text) => Some(self.text(text)),
            Value::Expr(e) if self.plan.ty(e) == Ty::Text => Some(e),
            Value::Expr(e) => {
                let ty = self.plan.ty(e);
                let message = format!("{what} takes text, and {} is {ty}", self.show(expr));
                let fault = Fault::new(expr.position, message);
                self.refuse(if ty.is_integer() {
                    fault.hint(format!("{}::text", self.show_operand(expr)))
                } else {
                    fault
                })
            }
            Value::Null => self.refuse(Fault::new(expr.position, format!("{what} of NULL is NULL"))),
        }
    }

    fn pair(
        &mut self,
        cx: &mut Context,
        left: &'a Expr,
        right: &'a Expr,
        operator: &str,
        at: Position,
    ) -> Option<(ExprId, ExprId)> {
        let (left, right) = (self.value(cx, left), self.value(cx, right));
        self.unify(left?, right?, operator, at)
    }

    /// Both as the type in which PostgreSQL compares or computes them.
    pub(super) fn unify(
        &mut self,
        left: Value<'a>,
        right: Value<'a>,
        operator: &str,
        at: Position,
    ) -> Option<(ExprId, ExprId)> {
        let ty = self.common(&[left, right], operator, at)?;
        let (left, right) = (self.coerce(left, ty, at), self.coerce(right, ty, at));
        let (left, right) = (self.checked(left), self.checked(right));
        left.zip(right)
    }

    /// The one type of several values; text where none has a type.
    pub(super) fn common(&mut self, values: &[Value], what: &str, at: Position) -> Option<Ty> {
        let mut common = None;
        for value in values {
            let Value::Expr(e) = value else { continue };
            let ty = self.plan.ty(*e);
            let Some(before) = common else {
                common = Some(ty);
                continue;
            };
            let Some(both) = wider(before, ty) else {
                let message = format!("{what} has {before} and {ty}, which are not compared");
                return self.refuse(Fault::new(at, message).hint("a cast of one of them"));
            };
            common = Some(both);
        }
        Some(common.unwrap_or(Ty::Text))
    }
}

/// The type to which PostgreSQL converts both by itself.
fn wider(a: Ty, b: Ty) -> Option<Ty> {
    use Ty::{Date, Float8, Int4, Int8, Numeric, Timestamp};
    let rank = |ty| [Int4, Int8, Numeric, Float8].iter().position(|number| *number == ty);
    match (a, b) {
        _ if a == b => Some(a),
        (Date, Timestamp) | (Timestamp, Date) => Some(Timestamp),
        _ => Some(if rank(a)? > rank(b)? { a } else { b }),
    }
}

pub(super) fn push<T>(mut all: Vec<T>, one: T) -> Vec<T> {
    all.push(one);
    all
}
