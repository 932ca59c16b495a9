//! Filters as PostgREST writes them: `country=eq.Albania`, `rank=not.in.(1,2)`.
//!
//! They mean what they mean in a `WHERE` of PostgreSQL: a comparison with null is neither true nor false, and neither is
//! its negation. Texts are compared by their bytes.

use super::like::Pattern;
use super::literal;
use crate::error::{ApiError, nearest, shown};
use crate::order::compare;
use operators::{Column, Value};

/// Values of a list at most.
const MOST_VALUES: usize = 1000;

/// The operators.
const OPERATORS: [&str; 10] = ["eq", "neq", "gt", "gte", "lt", "lte", "like", "ilike", "in", "is"];

/// A condition on one column.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// The column, by number.
    pub column: usize,
    /// Whether it is negated.
    pub negated: bool,
    /// What is asked.
    pub test: Test,
}

/// What a [`Filter`] asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// A comparison with a value.
    Compare(Comparison, Value),
    /// Whether it is one of these values.
    In(Vec<Value>),
    /// Whether it is null.
    IsNull,
    /// Whether a boolean is this.
    Is(bool),
    /// Whether it matches; without a difference between cases?
    Like(Pattern, bool),
}

/// How values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
}

impl Comparison {
    /// As SQL writes it.
    pub fn sql(self) -> &'static str {
        match self {
            Comparison::Equal => "=",
            Comparison::NotEqual => "<>",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
        }
    }

    fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Comparison::Equal => order.is_eq(),
            Comparison::NotEqual => order.is_ne(),
            Comparison::Greater => order.is_gt(),
            Comparison::GreaterOrEqual => order.is_ge(),
            Comparison::Less => order.is_lt(),
            Comparison::LessOrEqual => order.is_le(),
        }
    }
}

impl Filter {
    /// Reads the condition that `text` puts on a column.
    pub fn parse(number: usize, column: &Column, text: &str) -> Result<Filter, ApiError> {
        let (negated, condition) = match text.strip_prefix("not.") {
            Some(condition) => (true, condition),
            None => (false, text),
        };
        let filter = |test| Filter {
            column: number,
            negated,
            test,
        };
        if negated && condition == "null" {
            return Ok(filter(Test::IsNull));
        }
        let (operator, operand) = condition.split_once('.').unwrap_or((condition, ""));
        let wrong = |error: String, hint: String| {
            let error = ApiError::bad(format!("column {}: {error}", column.name), hint);
            error.with("column", column.name).with("operator", operator)
        };
        let value = |text: &str| {
            literal::parse(column.ty, text).ok_or_else(|| {
                let ty = column.ty.name();
                let hint = format!("expected {}", literal::expected(column.ty));
                wrong(format!("invalid {ty} {} for {operator}", shown(text)), hint)
            })
        };
        let comparison = match operator {
            "eq" => Comparison::Equal,
            "neq" => Comparison::NotEqual,
            "gt" => Comparison::Greater,
            "gte" => Comparison::GreaterOrEqual,
            "lt" => Comparison::Less,
            "lte" => Comparison::LessOrEqual,
            "like" | "ilike" => {
                let folds = operator == "ilike";
                if column.ty != operators::ColumnType::Text {
                    let error = format!("{operator} on a column of type {}", column.ty.name());
                    return Err(wrong(error, "patterns are for columns of type text".to_owned()));
                }
                let pattern = Pattern::parse(operand, folds);
                let pattern = pattern.ok_or_else(|| {
                    let error = format!("the pattern {} ends in a lone backslash", shown(operand));
                    wrong(error, "write two of them for one".to_owned())
                })?;
                return Ok(filter(Test::Like(pattern, folds)));
            }
            "in" => {
                let texts = list(operand).ok_or_else(|| {
                    let error = format!("invalid list {}", shown(operand));
                    wrong(error, "expected in.(a,b,\"c,d\")".to_owned())
                })?;
                if texts.len() > MOST_VALUES {
                    let error = format!("a list of {} values", texts.len());
                    return Err(wrong(error, format!("a list has {MOST_VALUES} values at most")));
                }
                let values = texts.iter().map(|text| value(text));
                return Ok(filter(Test::In(values.collect::<Result<_, _>>()?)));
            }
            "is" => {
                let is_bool = column.ty == operators::ColumnType::Bool;
                return match operand.to_ascii_lowercase().as_str() {
                    "null" => Ok(filter(Test::IsNull)),
                    "not_null" | "not.null" => Ok(Filter {
                        negated: !negated,
                        ..filter(Test::IsNull)
                    }),
                    "true" if is_bool => Ok(filter(Test::Is(true))),
                    "false" if is_bool => Ok(filter(Test::Is(false))),
                    _ => Err(wrong(
                        format!("invalid operand {} for is", shown(operand)),
                        "expected is.null, is.not_null, or for booleans is.true or is.false".to_owned(),
                    )),
                };
            }
            _ => {
                let nearest = nearest(operator, &OPERATORS);
                let hint = match nearest {
                    Some(nearest) => format!("did you mean {nearest}?"),
                    None => format!("expected OPERATOR.VALUE, where OPERATOR is {}", OPERATORS.join(", ")),
                };
                let error = format!("there is no operator {}", shown(operator));
                return Err(wrong(error, hint).with("nearest", nearest));
            }
        };
        Ok(filter(Test::Compare(comparison, value(operand)?)))
    }

    /// Whether a row passes.
    pub fn holds(&self, columns: &[Column], row: &[Value]) -> bool {
        let (value, ty) = (&row[self.column], columns[self.column].ty);
        let holds = match &self.test {
            Test::IsNull => return value.is_null() != self.negated,
            Test::Is(wanted) => return (*value == Value::Int((*wanted).into())) != self.negated,
            // of an empty list it is known that null is not in it
            Test::In(values) if values.is_empty() => false,
            _ if value.is_null() => return false,
            Test::Compare(comparison, with) => comparison.holds(compare(ty, value, with)),
            Test::In(values) => values.iter().any(|with| compare(ty, value, with).is_eq()),
            Test::Like(pattern, _) => pattern.matches(value.as_str().unwrap_or_default()),
        };
        holds != self.negated
    }
}

/// The values of `(a,b,"c,d")`; `None` when it is not written like this.
fn list(text: &str) -> Option<Vec<String>> {
    let inner = text.strip_prefix('(')?.strip_suffix(')')?;
    let (mut values, mut chars) = (Vec::new(), inner.chars().peekable());
    if inner.is_empty() {
        return Some(values);
    }
    loop {
        let mut value = String::new();
        if chars.next_if_eq(&'"').is_some() {
            loop {
                match chars.next()? {
                    '"' => break,
                    '\\' => value.push(chars.next()?),
                    c => value.push(c),
                }
            }
        } else {
            while let Some(c) = chars.next_if(|c| *c != ',') {
                value.push(c);
            }
        }
        values.push(value);
        match chars.next() {
            None => return Some(values),
            Some(',') => {}
            Some(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use operators::ColumnType;

    const COLUMNS: [Column; 3] = [
        column("name", ColumnType::Text),
        column("count", ColumnType::Int8),
        column("mean", ColumnType::Float8),
    ];

    const fn column(name: &'static str, ty: ColumnType) -> Column {
        Column { name, ty, comment: "" }
    }

    fn holds(column: usize, condition: &str, value: Value) -> bool {
        let filter = Filter::parse(column, &COLUMNS[column], condition).unwrap();
        let mut row = vec![Value::Null; 3];
        row[column] = value;
        filter.holds(&COLUMNS, &row)
    }

    #[test]
    fn conditions_hold_as_in_a_where() {
        for (condition, less, equal, null) in [
            ("eq.5", false, true, false),
            ("neq.5", true, false, false),
            ("gt.5", false, false, false),
            ("gte.5", false, true, false),
            ("lt.5", true, false, false),
            ("lte.5", true, true, false),
            ("not.eq.5", true, false, false),
            ("in.(5,6)", false, true, false),
            ("not.in.(5,6)", true, false, false),
            ("in.()", false, false, false),
            ("not.in.()", true, true, true),
            ("is.null", false, false, true),
            ("not.is.null", true, true, false),
            ("not.null", true, true, false),
            ("is.not_null", true, true, false),
            ("not.is.not_null", false, false, true),
        ] {
            let found = [Value::Int(4), Value::Int(5), Value::Null].map(|value| holds(1, condition, value));
            assert_eq!(found, [less, equal, null], "{condition}");
        }
        assert!(holds(0, "like.A*", Value::from("Albania")) && !holds(0, "like.a*", Value::from("Albania")));
        assert!(holds(0, "ilike.a*", Value::from("Albania")) && !holds(0, "not.ilike.a*", Value::Null));
        assert!(holds(0, "eq.a.b", Value::from("a.b")) && holds(0, "eq.", Value::from("")));
        assert!(holds(2, "eq.NaN", Value::Float(f64::NAN)) && holds(2, "gt.1e300", Value::Float(f64::NAN)));
        assert!(holds(2, "eq.0", Value::Float(-0.0)));
    }

    #[test]
    fn lists_have_quoted_values() {
        let of = |text: &str| list(text).map(|values| values.join("|"));
        assert_eq!(of("(a,b c,)").as_deref(), Some("a|b c|"));
        assert_eq!(of(r#"("a,b","c\"d\\",e)"#).as_deref(), Some(r#"a,b|c"d\|e"#));
        for wrong in ["", "a", "(a", r#"("a)"#, r#"("a"b)"#, "(a,b", r#"("a\"#] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (column, condition, operator, said) in [
            (1, "eq.x", "eq", "invalid bigint `x` for eq"),
            (1, "gtee.5", "gtee", "there is no operator `gtee`"),
            (1, "5", "5", "there is no operator `5`"),
            (1, "like.5", "like", "like on a column of type bigint"),
            (1, "is.true", "is", "invalid operand `true` for is"),
            (1, "in.5", "in", "invalid list `5`"),
            (0, "like.a\\", "like", "ends in a lone backslash"),
        ] {
            let error = Filter::parse(column, &COLUMNS[column], condition).unwrap_err();
            assert_eq!(error.more["column"], COLUMNS[column].name);
            assert_eq!(error.more["operator"], operator);
            assert!(error.error.contains(said), "{}", error.error);
        }
        let error = Filter::parse(1, &COLUMNS[1], "gtee.5").unwrap_err();
        assert_eq!(error.more["nearest"], "gte");
    }
}
