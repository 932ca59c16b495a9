//! Values in Postgres' binary form: as elements of array parameters and as fields of a binary `COPY`.
//!
//! One encoder serves both, so what a test finds in one holds for the other. Values are checked once, before
//! anything is sent ([`check_row`]): a value that Postgres would refuse must be a typed error that names the column,
//! not a commit that fails for ever.
//!
//! The binary formats are those of PostgreSQL's documentation, "COPY, Binary Format", and of `array_recv`.

use crate::error::SinkError;
use crate::float_text::floats_as_text;
use crate::numeric;
use crate::rows::CleanedRow;
use bytes::{BufMut, BytesMut};
use std::error::Error;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use values::{ColumnType, Row, Table, Value};

/// Microseconds from 1970-01-01 to 2000-01-01, where Postgres' timestamps start.
pub(crate) const EPOCH_2000: i64 = 946_684_800_000_000;

/// The element type of the array parameter that carries a column. Arrays travel as text, because `unnest` would
/// flatten an array of arrays.
pub(crate) fn carrier_name(ty: ColumnType) -> &'static str {
    match ty {
        ColumnType::Float8Array => "text",
        other => other.name(),
    }
}

fn carrier(ty: ColumnType) -> ColumnType {
    match ty {
        ColumnType::Float8Array => ColumnType::Text,
        other => other,
    }
}

fn oid(ty: ColumnType) -> u32 {
    match ty {
        ColumnType::Text => Type::TEXT,
        ColumnType::Int4 => Type::INT4,
        ColumnType::Int8 => Type::INT8,
        ColumnType::Float8 => Type::FLOAT8,
        ColumnType::Timestamp => Type::TIMESTAMP,
        ColumnType::Float8Array => Type::FLOAT8_ARRAY,
        ColumnType::Bytes => Type::BYTEA,
        ColumnType::Bool => Type::BOOL,
        ColumnType::Date => Type::DATE,
        ColumnType::Numeric => Type::NUMERIC,
    }
    .oid()
}

/// Checks that a row fits its table: number of columns, types, ranges, no U+0000 in text, no null in the key.
pub(crate) fn check_row(table: &Table, row: &Row) -> Result<(), SinkError> {
    if row.len() != table.columns.len() {
        let what = format!("a row of {} values for {} columns", row.len(), table.columns.len());
        let column = table.columns.first().map_or("", |column| column.name);
        return Err(SinkError::Value {
            table: table.name,
            column,
            what,
        });
    }
    for (index, (value, column)) in row.iter().zip(table.columns).enumerate() {
        let fault = match (value, column.ty) {
            (Value::Null, _) => (index < table.key).then_some("null in the primary key"),
            (Value::Int(v), ColumnType::Int4) => i32::try_from(*v).is_err().then_some("out of integer's range"),
            (Value::Int(_), ColumnType::Int8) => None,
            (Value::Int(v), ColumnType::Timestamp) => {
                // 4714 BC to 294276 AD; ours are far inside
                v.checked_sub(EPOCH_2000)
                    .is_none()
                    .then_some("out of timestamp's range")
            }
            (Value::Float(_), ColumnType::Float8) => None,
            (Value::Text(_) | Value::String(_), ColumnType::Text) => {
                let text = value.as_str().unwrap_or_default();
                text.as_bytes()
                    .contains(&0)
                    .then_some("U+0000 in text, which postgres cannot store")
            }
            (Value::Int(v), ColumnType::Bool) => (!(0..=1).contains(v)).then_some("neither true nor false"),
            (Value::Int(v), ColumnType::Date) => days_since_2000(*v).is_none().then_some("out of date's range"),
            (Value::String(text), ColumnType::Numeric) => numeric::parse(text).is_none().then_some("no numeric"),
            (Value::Floats(_), ColumnType::Float8Array) | (Value::Bytes(_), ColumnType::Bytes) => None,
            _ => Some("a value of another type"),
        };
        if let Some(fault) = fault {
            let what = format!("{fault}: {value:?}");
            return Err(SinkError::Value {
                table: table.name,
                column: column.name,
                what,
            });
        }
    }
    Ok(())
}

/// Writes one value with its length before it (-1 for null), as both array elements and `COPY` fields want it.
/// The value has passed [`check_row`] for a column of type `ty`.
pub(crate) fn put_value(out: &mut BytesMut, value: &Value, ty: ColumnType) {
    let field = out.len();
    match (value, ty) {
        (Value::Null, _) => out.put_i32(-1),
        (Value::Int(v), ColumnType::Int4) => {
            out.put_i32(4);
            out.put_i32(*v as i32);
        }
        (Value::Int(v), ColumnType::Timestamp) => put_i64(out, v - EPOCH_2000),
        (Value::Int(v), ColumnType::Bool) => put_bool(out, *v != 0),
        (Value::Int(v), ColumnType::Date) => put_i32(out, days_since_2000(*v).unwrap_or_default()),
        (Value::Int(v), _) => put_i64(out, *v),
        (Value::String(text), ColumnType::Numeric) => {
            let start = begin_field(out);
            numeric::parse(text).unwrap_or_default().put(out);
            end_field(out, start);
        }
        (Value::Float(v), _) => put_i64(out, v.to_bits() as i64),
        (Value::Text(symbol), _) => put_bytes(out, symbol.text().as_bytes()),
        (Value::String(text), _) => put_bytes(out, text.as_bytes()),
        (Value::Floats(values), ColumnType::Text) => put_bytes(out, floats_as_text(values).as_bytes()),
        (Value::Floats(values), _) => {
            let start = begin_field(out);
            put_array_header(out, values.len(), oid(ColumnType::Float8));
            for value in values {
                match value {
                    Some(value) => put_i64(out, value.to_bits() as i64),
                    None => out.put_i32(-1),
                }
            }
            end_field(out, start);
        }
        (Value::Bytes(bytes), _) => put_bytes(out, bytes),
    }
    debug_assert!(is_one_field(&out[field..]), "a field is as long as it says");
}

/// Whether these bytes are a length and as many bytes, or the length -1 alone.
fn is_one_field(bytes: &[u8]) -> bool {
    bytes
        .split_first_chunk()
        .is_some_and(|(length, field)| i32::from_be_bytes(*length).max(0) as usize == field.len())
}

/// Days since 1970-01-01 as Postgres counts them, within what `date` holds: 4714 BC to the year 5874897.
fn days_since_2000(days: i64) -> Option<i32> {
    let days = i32::try_from(days.checked_sub(EPOCH_2000 / 86_400_000_000)?).ok()?;
    (-2_451_545..2_145_031_949).contains(&days).then_some(days)
}

/// One column of a cleaned row; a delete has its key alone.
pub(crate) fn put_cleaned(out: &mut BytesMut, cleaned: &CleanedRow, column: usize, ty: ColumnType) {
    match &cleaned.row {
        Some(row) => put_value(out, &row[column], ty),
        None if column == 0 => put_i64(out, cleaned.ind.0),
        None => out.put_i32(-1),
    }
}

pub(crate) fn put_i64(out: &mut BytesMut, value: i64) {
    out.put_i32(8);
    out.put_i64(value);
}

pub(crate) fn put_i32(out: &mut BytesMut, value: i32) {
    out.put_i32(4);
    out.put_i32(value);
}

pub(crate) fn put_i16(out: &mut BytesMut, value: i16) {
    out.put_i32(2);
    out.put_i16(value);
}

pub(crate) fn put_bool(out: &mut BytesMut, value: bool) {
    out.put_i32(1);
    out.put_u8(value.into());
}

pub(crate) fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    // records are bounded to 8 MiB long before this; 2 GiB cannot be reached
    out.put_i32(i32::try_from(bytes.len()).expect("a field of at least 2 GiB"));
    out.put_slice(bytes);
}

pub(crate) fn put_optional_bytes(out: &mut BytesMut, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => put_bytes(out, bytes),
        None => out.put_i32(-1),
    }
}

fn begin_field(out: &mut BytesMut) -> usize {
    out.put_i32(0);
    out.len()
}

fn end_field(out: &mut BytesMut, start: usize) {
    let length = i32::try_from(out.len() - start).expect("a field of at least 2 GiB");
    out[start - 4..start].copy_from_slice(&length.to_be_bytes());
}

fn put_array_header(out: &mut BytesMut, length: usize, element: u32) {
    if length == 0 {
        out.put_i32(0);
        out.put_i32(0);
        out.put_u32(element);
        return;
    }
    out.put_i32(1); // dimensions
    out.put_i32(1); // may hold nulls
    out.put_u32(element);
    out.put_i32(i32::try_from(length).expect("an array of at least 2^31 elements"));
    out.put_i32(1); // lower bound
}

/// Bytes of one message of a `COPY`.
pub(crate) const COPY_CHUNK: usize = 256 << 10;

/// The header of a binary `COPY`.
pub(crate) fn put_copy_header(out: &mut BytesMut) {
    out.put_slice(b"PGCOPY\n\xff\r\n\0");
    out.put_i32(0);
    out.put_i32(0);
}

/// The trailer of a binary `COPY`.
pub(crate) fn put_copy_trailer(out: &mut BytesMut) {
    out.put_i16(-1);
}

/// One parameter of a statement: one column of many rows, or a single value.
pub(crate) enum Param<'a> {
    /// A column of table rows, as an array.
    Column {
        rows: &'a [&'a Row],
        column: usize,
        ty: ColumnType,
    },
    /// A column of cleaned rows, as an array: null but for the key where the row is a delete.
    Cleaned {
        rows: &'a [&'a CleanedRow],
        column: usize,
        ty: ColumnType,
    },
    /// Integers as an array.
    Int8s(Vec<Option<i64>>),
    /// Small integers as an array.
    Int4s(Vec<Option<i32>>),
    /// Smaller integers as an array.
    Int2s(Vec<i16>),
    /// Texts as an array.
    Texts(Vec<Option<&'a str>>),
    /// Byte strings as an array.
    Byteas(Vec<Option<&'a [u8]>>),
    /// JSON documents as an array.
    Jsons(Vec<&'a serde_json::Value>),
    /// One value.
    One(Box<dyn ToSql + Sync + Send + 'a>),
}

impl<'a> Param<'a> {
    pub(crate) fn one(value: impl ToSql + Sync + Send + 'a) -> Param<'a> {
        Param::One(Box::new(value))
    }
}

impl std::fmt::Debug for Param<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // parameters hold people's data: they do not go to logs
        f.write_str("Param")
    }
}

impl ToSql for Param<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Param::Column { rows, column, ty } => {
                let ty = carrier(*ty);
                put_array_header(out, rows.len(), oid(ty));
                for row in *rows {
                    put_value(out, &row[*column], ty);
                }
                Ok(IsNull::No)
            }
            Param::Cleaned { rows, column, ty } => {
                let ty = carrier(*ty);
                put_array_header(out, rows.len(), oid(ty));
                for row in *rows {
                    put_cleaned(out, row, *column, ty);
                }
                Ok(IsNull::No)
            }
            Param::Int8s(values) => values.to_sql(ty, out),
            Param::Int4s(values) => values.to_sql(ty, out),
            Param::Int2s(values) => values.to_sql(ty, out),
            Param::Texts(values) => values.to_sql(ty, out),
            Param::Byteas(values) => values.to_sql(ty, out),
            Param::Jsons(values) => values.to_sql(ty, out),
            Param::One(value) => value.to_sql_checked(ty, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        // the statements are ours and cast every parameter; the values were checked against the table
        true
    }

    to_sql_checked!();
}
