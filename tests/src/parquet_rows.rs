//! A Parquet file as rows of a table, read by the library's record reader, which shares no code with its column writers.
//!
//! The tests of the exporter's own crate include this file by its path.

#![allow(dead_code, reason = "each of the programs that include it uses a part")]

use operators::{Row, Value};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, FileReader, SerializedFileReader};
use parquet::record::Field;
use std::collections::BTreeMap;

/// What a file holds.
pub struct ParquetRows {
    /// The names of its columns.
    pub columns: Vec<String>,
    /// Its rows, in order.
    pub rows: Vec<Row>,
    /// Rows of each row group.
    pub groups: Vec<i64>,
    /// Its key-value metadata.
    pub about: BTreeMap<String, String>,
}

/// Reads a whole file.
pub fn read(file: impl ChunkReader + 'static) -> Result<ParquetRows> {
    let reader = SerializedFileReader::new(file)?;
    let metadata = reader.metadata();
    let about = metadata.file_metadata().key_value_metadata().into_iter().flatten();
    let about = about.map(|item| (item.key.clone(), item.value.clone().unwrap_or_default()));
    let columns = metadata.file_metadata().schema().get_fields().iter();
    let mut read = ParquetRows {
        columns: columns.map(|field| field.name().to_owned()).collect(),
        rows: Vec::new(),
        groups: metadata.row_groups().iter().map(|group| group.num_rows()).collect(),
        about: about.collect(),
    };
    for row in reader.get_row_iter(None)? {
        let values = row?.into_columns().into_iter().map(|(_, field)| value(field));
        read.rows.push(values.collect::<Result<_>>()?);
    }
    Ok(read)
}

fn value(field: Field) -> Result<Value> {
    Ok(match field {
        Field::Null => Value::Null,
        Field::Int(value) => Value::Int(value.into()),
        Field::Long(value) | Field::TimestampMicros(value) => Value::Int(value),
        Field::Double(value) => Value::Float(value),
        Field::Str(text) => Value::String(text.into()),
        Field::ListInternal(list) => {
            let element = |field: &Field| match field {
                Field::Null => Ok(None),
                Field::Double(value) => Ok(Some(*value)),
                other => Err(ParquetError::General(format!("no double: {other:?}"))),
            };
            Value::Floats(list.elements().iter().map(element).collect::<Result<_>>()?)
        }
        other => return Err(ParquetError::General(format!("not one of ours: {other:?}"))),
    })
}
