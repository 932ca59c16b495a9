//! Names, literals and types.

use super::converter::{Converter, position};
use crate::sql::ast::Name;
use crate::sql::diagnostic::{Checked, Fault, Position};
use crate::sql::types::Ty;
use sqlparser::ast::{
    DataType, ExactNumberInfo, Ident, ObjectName, ObjectNamePart, Spanned, TimezoneInfo, Value, ValueWithSpan,
};

/// Words that PostgreSQL takes for no name of a table or column unless they are quoted, and sqlparser does.
const RESERVED: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "column",
    "constraint",
    "create",
    "current_catalog",
    "current_date",
    "current_role",
    "current_time",
    "current_timestamp",
    "current_user",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "fetch",
    "for",
    "foreign",
    "from",
    "grant",
    "group",
    "having",
    "in",
    "initially",
    "intersect",
    "into",
    "lateral",
    "leading",
    "limit",
    "localtime",
    "localtimestamp",
    "not",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "placing",
    "primary",
    "references",
    "returning",
    "select",
    "session_user",
    "some",
    "symmetric",
    "system_user",
    "table",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "variadic",
    "when",
    "where",
    "window",
    "with",
    "authorization",
    "binary",
    "collation",
    "concurrently",
    "cross",
    "current_schema",
    "freeze",
    "full",
    "ilike",
    "inner",
    "is",
    "isnull",
    "join",
    "left",
    "like",
    "natural",
    "notnull",
    "outer",
    "overlaps",
    "right",
    "similar",
    "tablesample",
    "verbose",
];

/// The longest name that PostgreSQL keeps whole, in bytes.
const LONGEST_NAME: usize = 63;

/// A name of a table, a relation or a column.
pub(super) fn name(ident: &Ident) -> Checked<Name> {
    let name = label(ident)?;
    if ident.quote_style.is_none() && RESERVED.contains(&name.text.as_str()) {
        let text = name.text;
        let fault = Fault::new(
            name.position,
            format!("{text} is a word of SQL and no name, unless it is quoted"),
        );
        return Err(fault.hint(format!("\"{text}\"")));
    }
    Ok(name)
}

/// A name behind AS in a select list, which may be any word.
pub(super) fn label(ident: &Ident) -> Checked<Name> {
    let position = position(ident.span.start);
    let text = match ident.quote_style {
        Some('"') => ident.value.clone(),
        Some(quote) => return Err(Fault::new(position, format!("a name cannot stand in {quote}"))),
        None => ident.value.to_ascii_lowercase(),
    };
    if text.len() > LONGEST_NAME {
        return Err(Fault::new(
            position,
            format!("the name {text} has more than {LONGEST_NAME} bytes"),
        ));
    }
    if text.is_empty() {
        return Err(Fault::new(position, "a name cannot be empty"));
    }
    Ok(Name { text, position })
}

/// The one part of a name without a schema.
pub(super) fn simple<'a>(name: &'a ObjectName, what: &str) -> Checked<&'a Ident> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(ident)] => Ok(ident),
        _ => Err(Fault::new(
            position(name.span().start),
            format!("{name}: a {what} has no schema here"),
        )
        .hint(format!("the {what}'s name alone"))),
    }
}

pub(super) fn string(value: &ValueWithSpan) -> Checked<String> {
    let fault = |message: &str| Fault::new(position(value.span.start), message);
    match &value.value {
        Value::SingleQuotedString(text) => Ok(text.clone()),
        Value::EscapedStringLiteral(_) | Value::UnicodeStringLiteral(_) => {
            Err(fault("a text with escapes is not accepted").hint("'…', with '' for one quote"))
        }
        Value::DollarQuotedString(_) => {
            Err(fault("a text in dollar quotes is not accepted").hint("'…', with '' for one quote"))
        }
        _ => Err(fault("a text in single quotes is expected")),
    }
}

/// A type that casts may name.
pub(super) fn ty(ty: &DataType, at: Position) -> Checked<Ty> {
    let fault = |hint: &str| {
        let fault = Fault::new(
            at,
            format!("the type {} is not accepted", ty.to_string().to_lowercase()),
        );
        Err(match hint {
            "" => fault,
            hint => fault.hint(hint),
        })
    };
    match ty {
        DataType::Bool | DataType::Boolean => Ok(Ty::Bool),
        DataType::Int(None) | DataType::Integer(None) | DataType::Int4(None) => Ok(Ty::Int4),
        DataType::BigInt(None) | DataType::Int8(None) => Ok(Ty::Int8),
        DataType::Numeric(ExactNumberInfo::None)
        | DataType::Decimal(ExactNumberInfo::None)
        | DataType::Dec(ExactNumberInfo::None) => Ok(Ty::Numeric),
        DataType::Text => Ok(Ty::Text),
        DataType::Date => Ok(Ty::Date),
        DataType::Timestamp(None, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => Ok(Ty::Timestamp),
        DataType::DoublePrecision | DataType::Float8 => Ok(Ty::Float8),
        DataType::Timestamp(..) => fault("timestamp: times are in UTC and have no zone"),
        DataType::Numeric(_) | DataType::Decimal(_) | DataType::Dec(_) => {
            fault("numeric, and round(e, 2) for a number of decimals")
        }
        DataType::Varchar(_) | DataType::CharacterVarying(_) | DataType::Char(_) | DataType::Character(_) => {
            fault("text, and left(e, 40) for a number of characters")
        }
        DataType::SmallInt(_) | DataType::Int2(_) => fault("integer"),
        DataType::Float(_) | DataType::Float4 | DataType::Real => fault("double precision"),
        _ => fault(""),
    }
}

impl Converter<'_> {
    pub(super) fn name(&mut self, ident: &Ident) -> Option<Name> {
        self.checked(name(ident))
    }
}
