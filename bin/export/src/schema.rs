//! How the columns of a table are stored: the one place that maps types of PostgreSQL to types of Parquet.
//!
//! The primary key is required, everything else optional. Timestamps have no zone (`isAdjustedToUTC = false`), so that a
//! reader shows the same digits as PostgreSQL, whatever zone it is in.

use super::error::ExportError;
use operators::{Column, ColumnType, Table};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::TypePtr;
use std::fmt::Write;
use std::sync::Arc;

/// How the values of a column are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    /// `INT32`
    Int32,
    /// `INT64`, also for timestamps
    Int64,
    /// `DOUBLE`
    Double,
    /// `BYTE_ARRAY`
    Text,
    /// `LIST` of optional `DOUBLE`
    Doubles,
}

impl Storage {
    /// The storage of a type; `None` for those that no cleaned table has.
    pub(crate) fn of(ty: ColumnType) -> Option<Storage> {
        match ty {
            ColumnType::Text => Some(Storage::Text),
            ColumnType::Int4 => Some(Storage::Int32),
            ColumnType::Int8 | ColumnType::Timestamp => Some(Storage::Int64),
            ColumnType::Float8 => Some(Storage::Double),
            ColumnType::Float8Array => Some(Storage::Doubles),
            ColumnType::Bytes | ColumnType::Bool | ColumnType::Date | ColumnType::Numeric => None,
        }
    }
}

/// The storage of each column of a table.
pub(crate) fn storages(table: &'static Table) -> Result<Vec<Storage>, ExportError> {
    let storage = |column: &Column| {
        Storage::of(column.ty).ok_or(ExportError::Type {
            table: table.name,
            column: column.name,
            ty: column.ty.name(),
        })
    };
    table.columns.iter().map(storage).collect()
}

/// The schema of a table's file.
pub(crate) fn schema(table: &'static Table) -> Result<TypePtr, ExportError> {
    let failed = |source| ExportError::Format {
        table: table.name,
        source,
    };
    parse_message_type(&message(table)?).map(Arc::new).map_err(failed)
}

/// The same in Parquet's notation.
fn message(table: &'static Table) -> Result<String, ExportError> {
    let mut text = format!("message {} {{\n", table.name);
    for (index, (column, storage)) in table.columns.iter().zip(storages(table)?).enumerate() {
        let repetition = if index < table.key { "REQUIRED" } else { "OPTIONAL" };
        let name = column.name;
        let field = match (storage, column.ty) {
            (Storage::Int64, ColumnType::Timestamp) => format!("INT64 {name} (TIMESTAMP(MICROS,false));"),
            (Storage::Int32, _) => format!("INT32 {name};"),
            (Storage::Int64, _) => format!("INT64 {name};"),
            (Storage::Double, _) => format!("DOUBLE {name};"),
            (Storage::Text, _) => format!("BYTE_ARRAY {name} (STRING);"),
            (Storage::Doubles, _) => {
                format!("group {name} (LIST) {{ REPEATED group list {{ OPTIONAL DOUBLE element; }} }}")
            }
        };
        // writing to a text does not fail
        let _ = writeln!(text, "  {repetition} {field}");
    }
    text.push('}');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataflows::CLEANED;

    #[test]
    fn the_cleaned_tables_have_these_schemas() {
        let messages: Vec<String> = CLEANED.iter().map(|table| message(table).unwrap()).collect();
        assert_eq!(
            messages,
            [
                "message pin_table {\n  REQUIRED INT64 ind;\n  OPTIONAL BYTE_ARRAY unique_id (STRING);\n  \
                 OPTIONAL BYTE_ARRAY title (STRING);\n  OPTIONAL BYTE_ARRAY description (STRING);\n  \
                 OPTIONAL INT64 follower_count;\n  OPTIONAL BYTE_ARRAY poster_name (STRING);\n  \
                 OPTIONAL BYTE_ARRAY tag_list (STRING);\n  OPTIONAL BYTE_ARRAY is_image_or_video (STRING);\n  \
                 OPTIONAL BYTE_ARRAY image_src (STRING);\n  OPTIONAL BYTE_ARRAY save_location (STRING);\n  \
                 OPTIONAL BYTE_ARRAY category (STRING);\n}",
                "message geo_table {\n  REQUIRED INT64 ind;\n  OPTIONAL BYTE_ARRAY country (STRING);\n  \
                 OPTIONAL group coordinates (LIST) { REPEATED group list { OPTIONAL DOUBLE element; } }\n  \
                 OPTIONAL INT64 timestamp (TIMESTAMP(MICROS,false));\n}",
                "message user_table {\n  REQUIRED INT64 ind;\n  OPTIONAL BYTE_ARRAY user_name (STRING);\n  \
                 OPTIONAL INT32 age;\n  OPTIONAL INT64 date_joined (TIMESTAMP(MICROS,false));\n}",
            ]
        );
        for table in &CLEANED {
            assert_eq!(schema(table).unwrap().get_fields().len(), table.columns.len());
        }
    }

    #[test]
    fn a_type_without_a_form_is_named() {
        static NUMBERS: Table = Table {
            name: "numbers",
            comment: "",
            key: 1,
            columns: &[Column {
                name: "n",
                ty: ColumnType::Numeric,
                comment: "",
            }],
        };
        let said = schema(&NUMBERS).unwrap_err().to_string();
        assert_eq!(said, "column n of numbers is of a type that is not exported: numeric");
    }
}
