//! Expressions.

use super::converter::{Converter, DEEPEST, TOP, position};
use super::text::{simple, string, ty};
use crate::sql::ast::{Expr, ExprKind, Test};
use crate::sql::diagnostic::{Fault, Position};
use crate::sql::plan::{Arith, CompareOp, TimeUnit};
use crate::sql::types::Ty;
use sqlparser::ast::{
    AccessExpr, BinaryOperator, CastKind, DateTimeField, Expr as Tree, ExtractSyntax, InTarget, ObjectName, Spanned,
    Subscript, UnaryOperator, Value, ValueWithSpan,
};

impl Converter<'_> {
    /// An expression; `near` is its position where it has none.
    pub(super) fn expr(&mut self, tree: &Tree, near: Position) -> Option<Expr> {
        if self.depth >= DEEPEST {
            let fault = Fault::new(near, format!("expressions nest deeper than {DEEPEST}"));
            return self.refuse(fault.hint("name the inner ones in a subquery or WITH"));
        }
        self.depth += 1;
        let start = tree.span().start;
        let at = if start.line == 0 { near } else { position(start) };
        let kind = self.kind(tree, at);
        self.depth -= 1;
        kind.map(|kind| Expr { position: at, kind })
    }

    pub(super) fn boxed(&mut self, tree: &Tree, near: Position) -> Option<Box<Expr>> {
        self.expr(tree, near).map(Box::new)
    }

    /// Both, so that the errors of both are found.
    fn both(&mut self, left: &Tree, right: &Tree, near: Position) -> Option<(Box<Expr>, Box<Expr>)> {
        let (left, right) = (self.boxed(left, near), self.boxed(right, near));
        left.zip(right)
    }

    pub(super) fn exprs(&mut self, trees: &[Tree], near: Position) -> Option<Vec<Expr>> {
        let converted: Vec<_> = trees.iter().map(|tree| self.expr(tree, near)).collect();
        converted.into_iter().collect()
    }

    fn kind(&mut self, tree: &Tree, at: Position) -> Option<ExprKind> {
        let is = |converter: &mut Converter, expr: &Tree, test, negated| {
            converter.not_distinct(expr, at)?;
            let expr = converter.boxed(expr, at)?;
            Some(ExprKind::Is { expr, test, negated })
        };
        match tree {
            Tree::Nested(inner) => self.expr(inner, at).map(|inner| inner.kind),
            Tree::Value(value) => self.value(value, at),
            Tree::Identifier(ident) => {
                let name = self.name(ident)?;
                Some(ExprKind::Column { relation: None, name })
            }
            Tree::CompoundIdentifier(parts) => match parts.as_slice() {
                [relation, name] => {
                    let (relation, name) = (self.name(relation), self.name(name));
                    Some(ExprKind::Column {
                        relation: Some(relation?),
                        name: name?,
                    })
                }
                _ => self.refuse(Fault::new(
                    at,
                    format!("{tree}: a column has at most a relation before it"),
                )),
            },
            Tree::CompoundFieldAccess { root, access_chain } => self.element(root, access_chain, at),
            Tree::IsNull(e) => is(self, e, Test::Null, false),
            Tree::IsNotNull(e) => is(self, e, Test::Null, true),
            Tree::IsTrue(e) => is(self, e, Test::True, false),
            Tree::IsNotTrue(e) => is(self, e, Test::True, true),
            Tree::IsFalse(e) => is(self, e, Test::False, false),
            Tree::IsNotFalse(e) => is(self, e, Test::False, true),
            Tree::IsUnknown(e) => is(self, e, Test::Unknown, false),
            Tree::IsNotUnknown(e) => is(self, e, Test::Unknown, true),
            Tree::IsDistinctFrom(left, right) | Tree::IsNotDistinctFrom(left, right) => {
                let negated = matches!(tree, Tree::IsNotDistinctFrom(..));
                self.not_distinct(left, at)?;
                let (left, right) = self.both(left, right, at)?;
                Some(ExprKind::Distinct { left, right, negated })
            }
            Tree::In {
                expr,
                target: InTarget::List(list),
                negated,
                global: false,
            } => {
                let (expr, list) = (self.boxed(expr, at), self.exprs(list, at));
                Some(ExprKind::In {
                    expr: expr?,
                    list: list?,
                    negated: *negated,
                })
            }
            Tree::In { .. } => {
                let fault = Fault::new(at, "IN takes a list of constants");
                self.refuse(fault.hint("e IN ('a', 'b')"))
            }
            Tree::Between {
                expr,
                negated,
                low,
                high,
            } => {
                let (expr, bounds) = (self.boxed(expr, at), self.both(low, high, at));
                let (low, high) = bounds?;
                Some(ExprKind::Between {
                    expr: expr?,
                    low,
                    high,
                    negated: *negated,
                })
            }
            Tree::Like {
                negated,
                any: false,
                expr,
                pattern,
                escape_char: None,
            } => {
                let (expr, pattern) = (self.boxed(expr, at), self.literal(pattern, at));
                Some(ExprKind::Like {
                    expr: expr?,
                    pattern: pattern?,
                    negated: *negated,
                })
            }
            Tree::Like { .. } => {
                self.refuse(Fault::new(at, "LIKE takes no ESCAPE and no ANY").hint("a backslash escapes"))
            }
            Tree::ILike { .. } => {
                let fault = Fault::new(at, "ILIKE depends on the database's collation");
                self.refuse(fault.hint("lower(e COLLATE \"C\") LIKE 'pattern'"))
            }
            Tree::UnaryOp { op, expr } => self.unary(op, expr, at),
            Tree::BinaryOp { left, op, right } => self.binary(tree, left, op, right, at),
            Tree::Cast {
                kind: CastKind::Cast | CastKind::DoubleColon,
                expr,
                data_type,
                format: None,
            } => {
                let (expr, ty) = (self.boxed(expr, at), self.checked(ty(data_type, at)));
                Some(ExprKind::Cast(expr?, ty?))
            }
            Tree::Extract {
                field,
                syntax: ExtractSyntax::From,
                expr,
            } => {
                let (unit, expr) = (self.unit(field, at), self.boxed(expr, at));
                Some(ExprKind::Extract(unit?, expr?))
            }
            Tree::Collate { expr, collation } => {
                let expr = self.boxed(expr, at);
                self.collation(collation, at)?;
                Some(ExprKind::Collate(expr?))
            }
            Tree::TypedString(typed) => {
                let ty = self.checked(ty(&typed.data_type, at));
                let text = self.checked(string(&typed.value));
                match (ty?, text?) {
                    (ty @ (Ty::Date | Ty::Timestamp), text) => Some(ExprKind::Typed(ty, text)),
                    (ty, _) => {
                        self.refuse(Fault::new(at, format!("a text as {ty} is not accepted")).hint("the plain literal"))
                    }
                }
            }
            Tree::Case {
                operand,
                conditions,
                else_result,
                ..
            } => {
                let operand = operand.as_ref().map(|operand| self.boxed(operand, at));
                let branches: Vec<_> = conditions
                    .iter()
                    .map(|branch| self.expr(&branch.condition, at).zip(self.expr(&branch.result, at)))
                    .collect();
                let otherwise = else_result.as_ref().map(|otherwise| self.boxed(otherwise, at));
                Some(ExprKind::Case {
                    operand: operand.map_or(Some(None), |operand| operand.map(Some))?,
                    branches: branches.into_iter().collect::<Option<_>>()?,
                    otherwise: otherwise.map_or(Some(None), |otherwise| otherwise.map(Some))?,
                })
            }
            Tree::Tuple(parts) => Some(ExprKind::Row(self.exprs(parts, at)?)),
            Tree::Function(function) => self.function(function, at),
            Tree::Position { expr, r#in } => {
                let (part, text) = self.both(expr, r#in, at)?;
                Some(self.plain_call("strpos", vec![*text, *part]))
            }
            Tree::Substring {
                expr,
                substring_from: Some(from),
                substring_for: count,
                special: _,
                shorthand: _,
            } => {
                let count = count.as_ref().map(|count| self.expr(count, at));
                let args = [self.expr(expr, at), self.expr(from, at)];
                let args: Option<Vec<_>> = args.into_iter().chain(count).collect();
                Some(self.plain_call("substr", args?))
            }
            Tree::Trim {
                trim_where,
                trim_what,
                expr,
                trim_characters: None,
            } => {
                let what = trim_what.as_ref().map(|what| self.expr(what, at));
                let args: Option<Vec<_>> = [self.expr(expr, at)].into_iter().chain(what).collect();
                use sqlparser::ast::TrimWhereField::{Both, Leading, Trailing};
                let name = match trim_where {
                    None | Some(Both) => "btrim",
                    Some(Leading) => "ltrim",
                    Some(Trailing) => "rtrim",
                };
                Some(self.plain_call(name, args?))
            }
            Tree::Subquery(_) | Tree::Exists { .. } => {
                let fault = Fault::new(at, "a query inside an expression is not accepted");
                self.refuse(fault.hint("a subquery in FROM, or a result of its own"))
            }
            Tree::Interval(_) => {
                let fault = Fault::new(at, "intervals are not accepted: their length depends on the day");
                self.refuse(fault.hint("compare with a timestamp, or date_trunc('day', e)"))
            }
            Tree::AtTimeZone { .. } => {
                let fault = Fault::new(at, "AT TIME ZONE depends on the time zones of the database's machine");
                self.refuse(fault.hint("times are in UTC; convert where you read"))
            }
            Tree::SimilarTo { .. } | Tree::RLike { .. } => {
                self.refuse(Fault::new(at, "regular expressions are not accepted").hint("LIKE"))
            }
            Tree::Ceil { .. } | Tree::Floor { .. } => {
                self.refuse(Fault::new(at, "ceil and floor are not accepted").hint("round(e), or integer division"))
            }
            Tree::GroupingSets(_) | Tree::Cube(_) | Tree::Rollup(_) => {
                self.refuse(Fault::new(at, "one set of GROUP BY columns a result").hint("one file for each"))
            }
            _ => self.refuse(Fault::new(at, format!("`{}` is not accepted", short(tree)))),
        }
    }

    /// To PostgreSQL, an IS directly behind IS DISTINCT FROM is an error.
    fn not_distinct(&mut self, operand: &Tree, at: Position) -> Option<()> {
        match operand {
            Tree::IsDistinctFrom(..) | Tree::IsNotDistinctFrom(..) => {
                self.refuse(Fault::new(at, "IS behind IS DISTINCT FROM").hint("(a IS DISTINCT FROM b) IS …"))
            }
            _ => Some(()),
        }
    }

    fn value(&mut self, value: &ValueWithSpan, at: Position) -> Option<ExprKind> {
        match &value.value {
            Value::Null => Some(ExprKind::Null),
            Value::Boolean(value) => Some(ExprKind::Bool(*value)),
            Value::Number(digits, false) => self.number(digits, at),
            Value::Placeholder(text) if text == TOP => Some(ExprKind::Top),
            Value::Placeholder(text) => {
                let fault = Fault::new(at, format!("`{text}` is not accepted: {{top}} is the one placeholder"));
                self.refuse(fault)
            }
            _ => Some(ExprKind::Text(self.checked(string(value))?)),
        }
    }

    fn number(&mut self, digits: &str, at: Position) -> Option<ExprKind> {
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        // 10^36 bounds all that is computed
        if !plain || digits.len() > 36 || !digits.starts_with(|first: char| first.is_ascii_digit()) {
            let fault = Fault::new(at, format!("the number {digits} is not accepted"));
            return self.refuse(fault.hint("at most 35 digits, one before the point, no exponent"));
        }
        if digits.ends_with('.') {
            let fault = Fault::new(at, format!("the number {digits} ends with its point"));
            return self.refuse(fault.hint(format!("{digits}0")));
        }
        Some(ExprKind::Number {
            negative: false,
            digits: digits.to_owned(),
        })
    }

    /// A text literal where nothing else may stand.
    fn literal(&mut self, tree: &Tree, at: Position) -> Option<String> {
        match tree {
            Tree::Value(value) => self.checked(string(value)),
            _ => self.refuse(Fault::new(
                at,
                "a pattern is a text in single quotes, so that it can be checked",
            )),
        }
    }

    /// `column[1]` or `relation.column[1]`.
    fn element(&mut self, root: &Tree, chain: &[AccessExpr], at: Position) -> Option<ExprKind> {
        let index = |access: &AccessExpr| match access {
            AccessExpr::Subscript(Subscript::Index {
                index:
                    Tree::Value(ValueWithSpan {
                        value: Value::Number(digits, false),
                        ..
                    }),
            }) => digits.parse::<i64>().ok(),
            _ => None,
        };
        let (column, index) = match (root, chain) {
            (root, [access]) => (self.boxed(root, at)?, index(access)),
            (Tree::Identifier(relation), [AccessExpr::Dot(Tree::Identifier(column)), access]) => {
                let (relation, name) = (self.name(relation), self.name(column));
                let kind = ExprKind::Column {
                    relation: Some(relation?),
                    name: name?,
                };
                (Box::new(Expr { position: at, kind }), index(access))
            }
            _ => return self.refuse(Fault::new(at, "only a column can be an array").hint("relation.column[1]")),
        };
        match index {
            Some(index) => Some(ExprKind::Element(column, index)),
            None => {
                let fault = Fault::new(at, "of an array one element can be used, by its number");
                self.refuse(fault.hint("column[1]"))
            }
        }
    }

    fn unary(&mut self, op: &UnaryOperator, expr: &Tree, at: Position) -> Option<ExprKind> {
        match op {
            // PostgreSQL has it for numbers alone
            UnaryOperator::Plus => self.refuse(Fault::new(at, "the sign + is not accepted").hint("without the +")),
            UnaryOperator::Not => Some(ExprKind::Not(self.boxed(expr, at)?)),
            UnaryOperator::Minus => Some(match self.expr(expr, at)? {
                // PostgreSQL's grammar too takes the minus into the number
                Expr {
                    kind: ExprKind::Number { negative, digits },
                    ..
                } => ExprKind::Number {
                    negative: !negative,
                    digits,
                },
                expr => ExprKind::Negate(Box::new(expr)),
            }),
            _ => self.refuse(Fault::new(at, format!("the operator {op} is not accepted"))),
        }
    }

    fn binary(
        &mut self,
        tree: &Tree,
        left: &Tree,
        op: &BinaryOperator,
        right: &Tree,
        at: Position,
    ) -> Option<ExprKind> {
        let compare = match op {
            BinaryOperator::And | BinaryOperator::Or => {
                let parts = self.exprs_of(&chain(tree, op), at)?;
                return Some(match op {
                    BinaryOperator::And => ExprKind::And(parts),
                    _ => ExprKind::Or(parts),
                });
            }
            BinaryOperator::Eq => Some(CompareOp::Equal),
            BinaryOperator::NotEq => Some(CompareOp::NotEqual),
            BinaryOperator::Lt => Some(CompareOp::Less),
            BinaryOperator::LtEq => Some(CompareOp::LessOrEqual),
            BinaryOperator::Gt => Some(CompareOp::Greater),
            BinaryOperator::GtEq => Some(CompareOp::GreaterOrEqual),
            _ => None,
        };
        if let Some(compare) = compare {
            let chained = |side: &Tree| matches!(side, Tree::BinaryOp { op, .. } if is_comparison(op));
            if chained(left) || chained(right) {
                return self.refuse(Fault::new(at, "comparisons do not chain").hint("a < b AND b < c"));
            }
            let (left, right) = self.both(left, right, at)?;
            return Some(ExprKind::Compare(compare, left, right));
        }
        let arith = match op {
            BinaryOperator::Plus => Arith::Add,
            BinaryOperator::Minus => Arith::Subtract,
            BinaryOperator::Multiply => Arith::Multiply,
            BinaryOperator::Divide => Arith::Divide,
            BinaryOperator::Modulo => Arith::Remainder,
            BinaryOperator::StringConcat => {
                let (left, right) = self.both(left, right, at)?;
                return Some(ExprKind::Concat(left, right));
            }
            BinaryOperator::PGRegexMatch
            | BinaryOperator::PGRegexIMatch
            | BinaryOperator::PGRegexNotMatch
            | BinaryOperator::PGRegexNotIMatch => {
                return self.refuse(Fault::new(at, "regular expressions are not accepted").hint("LIKE"));
            }
            _ => return self.refuse(Fault::new(at, format!("the operator {op} is not accepted"))),
        };
        let (left, right) = self.both(left, right, at)?;
        Some(ExprKind::Arith(arith, left, right))
    }

    fn exprs_of(&mut self, trees: &[&Tree], near: Position) -> Option<Vec<Expr>> {
        let converted: Vec<_> = trees.iter().map(|tree| self.expr(tree, near)).collect();
        converted.into_iter().collect()
    }

    fn unit(&mut self, field: &DateTimeField, at: Position) -> Option<TimeUnit> {
        match field {
            DateTimeField::Year => Some(TimeUnit::Year),
            DateTimeField::Quarter => Some(TimeUnit::Quarter),
            DateTimeField::Month => Some(TimeUnit::Month),
            DateTimeField::Week(None) => Some(TimeUnit::Week),
            DateTimeField::Day => Some(TimeUnit::Day),
            DateTimeField::Dow => Some(TimeUnit::Dow),
            DateTimeField::Isodow => Some(TimeUnit::IsoDow),
            DateTimeField::Doy => Some(TimeUnit::Doy),
            DateTimeField::Isoyear => Some(TimeUnit::IsoYear),
            DateTimeField::Hour => Some(TimeUnit::Hour),
            DateTimeField::Minute => Some(TimeUnit::Minute),
            _ => {
                let fault = Fault::new(at, format!("EXTRACT({field} FROM …) is not accepted"));
                self.refuse(fault.hint("year, quarter, month, week, day, dow, isodow, doy, isoyear, hour or minute"))
            }
        }
    }

    fn collation(&mut self, collation: &ObjectName, at: Position) -> Option<()> {
        let ident = self.checked(simple(collation, "collation"))?;
        if ident.quote_style == Some('"') && ident.value == "C" {
            return Some(());
        }
        let fault = Fault::new(at, format!("COLLATE {collation} depends on the database's machine"));
        self.refuse(fault.hint("COLLATE \"C\""))
    }
}

/// The parts of `a AND b AND c`, which sqlparser nests to the left. What stands in parentheses is a part of its own.
fn chain<'a>(tree: &'a Tree, op: &BinaryOperator) -> Vec<&'a Tree> {
    let mut parts = Vec::new();
    let mut rest = tree;
    while let Tree::BinaryOp { left, op: here, right } = rest
        && here == op
    {
        parts.push(&**right);
        rest = left;
    }
    parts.push(rest);
    parts.reverse();
    parts
}

fn is_comparison(op: &BinaryOperator) -> bool {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(op, Eq | Gt | GtEq | Lt | LtEq | NotEq)
}

/// The text of a tree, cut.
fn short(tree: &Tree) -> String {
    let text = tree.to_string();
    match text.char_indices().nth(40) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
