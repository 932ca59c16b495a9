//! The rows of one row group, column by column, until they are written.
//!
//! Parquet stores whole columns of a row group, so its rows are in memory until it is complete; whoever pushes them bounds
//! their number and their bytes. Definition and repetition levels are those of the Dremel encoding: see "Nested Encoding"
//! in the documentation of the Parquet format.

use super::schema::Storage;
use bytes::Bytes;
use operators::Value;
use parquet::column::writer::ColumnWriterImpl;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::writer::{SerializedColumnWriter, SerializedRowGroupWriter};

/// Texts handed to the writer at a time.
const TEXTS_AT_ONCE: usize = 4096;

/// A value that is there, in a column that need not have one.
const DEFINED: i16 = 1;
/// A list that is null, one that is empty, a null in one, a value in one.
const NO_LIST: i16 = 0;
const EMPTY_LIST: i16 = 1;
const NO_ELEMENT: i16 = 2;
const ELEMENT: i16 = 3;

/// The columns of a row group.
pub(crate) struct Columns {
    columns: Vec<Column>,
    rows: usize,
    bytes: usize,
}

struct Column {
    values: Values,
    /// The definition level of each value, or of each element of a list.
    levels: Vec<i16>,
    /// Values are always there, and no level is written.
    required: bool,
}

enum Values {
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Double(Vec<f64>),
    /// One text after the other, and where each ends.
    Text {
        bytes: Vec<u8>,
        ends: Vec<usize>,
    },
    /// Elements, and the repetition level of each: 0 where a list begins.
    Doubles {
        elements: Vec<f64>,
        repeated: Vec<i16>,
    },
}

impl Columns {
    /// Columns of these storages, of which the first `key` are always there.
    pub(crate) fn new(storages: &[Storage], key: usize) -> Columns {
        let column = |(index, storage): (usize, &Storage)| Column {
            values: Values::new(*storage),
            levels: Vec::new(),
            required: index < key,
        };
        Columns {
            columns: storages.iter().enumerate().map(column).collect(),
            rows: 0,
            bytes: 0,
        }
    }

    /// Rows since the last row group was written.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// About how many bytes they take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends a row.
    pub(crate) fn push(&mut self, row: &[Value]) -> Result<(), ParquetError> {
        debug_assert_eq!(row.len(), self.columns.len(), "a row of another table");
        for (column, value) in self.columns.iter_mut().zip(row) {
            self.bytes += column.push(value)?;
        }
        self.rows += 1;
        Ok(())
    }

    /// Writes the rows as a row group, and forgets them.
    pub(crate) fn write(&mut self, mut group: SerializedRowGroupWriter<'_, Vec<u8>>) -> Result<(), ParquetError> {
        for column in &mut self.columns {
            let writer = group.next_column()?;
            let mut writer = writer.ok_or_else(|| ParquetError::General("more columns than the schema has".into()))?;
            column.write(&mut writer)?;
            writer.close()?;
        }
        group.close()?;
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }
}

impl Column {
    /// Appends a value; about how many bytes it takes.
    fn push(&mut self, value: &Value) -> Result<usize, ParquetError> {
        let level = match (value, &mut self.values) {
            (Value::Null, Values::Doubles { repeated, .. }) => {
                repeated.push(0);
                NO_LIST
            }
            (Value::Null, _) => 0,
            (Value::Int(value), Values::Int32(values)) => {
                let value = i32::try_from(*value);
                values.push(value.map_err(|error| ParquetError::External(error.into()))?);
                DEFINED
            }
            (Value::Int(value), Values::Int64(values)) => {
                values.push(*value);
                DEFINED
            }
            (Value::Float(value), Values::Double(values)) => {
                values.push(*value);
                DEFINED
            }
            (Value::Text(_) | Value::String(_), Values::Text { bytes, ends }) => {
                bytes.extend_from_slice(value.as_str().unwrap_or_default().as_bytes());
                ends.push(bytes.len());
                DEFINED
            }
            (Value::Floats(list), Values::Doubles { elements, repeated }) => {
                for (index, element) in list.iter().enumerate() {
                    repeated.push(i16::from(index > 0));
                    elements.extend(*element);
                    self.levels.push(if element.is_some() { ELEMENT } else { NO_ELEMENT });
                }
                if !list.is_empty() {
                    return Ok(list.len() * (size_of::<f64>() + 2 * size_of::<i16>()));
                }
                repeated.push(0);
                EMPTY_LIST
            }
            (value, _) => return Err(ParquetError::General(format!("a value of another type: {value:?}"))),
        };
        self.levels.push(level);
        Ok(size_of::<f64>() + value.as_str().map_or(0, str::len))
    }

    fn write(&mut self, writer: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let levels = (!self.required).then_some(self.levels.as_slice());
        match &mut self.values {
            Values::Int32(values) => batch(writer.typed::<Int32Type>(), values, levels)?,
            Values::Int64(values) => batch(writer.typed::<Int64Type>(), values, levels)?,
            Values::Double(values) => batch(writer.typed::<DoubleType>(), values, levels)?,
            Values::Text { bytes, ends } => {
                let bytes = Bytes::from(std::mem::take(bytes));
                let (mut start, mut ends_left) = (0, ends.as_slice());
                for levels in self.levels.chunks(TEXTS_AT_ONCE) {
                    let present = levels.iter().filter(|level| **level == DEFINED).count();
                    let (these, rest) = ends_left.split_at(present);
                    let text = |end: &usize| ByteArray::from(bytes.slice(std::mem::replace(&mut start, *end)..*end));
                    let mut texts: Vec<ByteArray> = these.iter().map(text).collect();
                    let levels = (!self.required).then_some(levels);
                    batch(writer.typed::<ByteArrayType>(), &mut texts, levels)?;
                    ends_left = rest;
                }
                ends.clear();
            }
            Values::Doubles { elements, repeated } => {
                let writer = writer.typed::<DoubleType>();
                writer.write_batch(elements, levels, Some(repeated))?;
                elements.clear();
                repeated.clear();
            }
        }
        self.levels.clear();
        Ok(())
    }
}

/// Writes values, and forgets them.
fn batch<T: DataType>(
    writer: &mut ColumnWriterImpl<'_, T>,
    values: &mut Vec<T::T>,
    levels: Option<&[i16]>,
) -> Result<(), ParquetError> {
    writer.write_batch(values, levels, None)?;
    values.clear();
    Ok(())
}

impl Values {
    fn new(storage: Storage) -> Values {
        match storage {
            Storage::Int32 => Values::Int32(Vec::new()),
            Storage::Int64 => Values::Int64(Vec::new()),
            Storage::Double => Values::Double(Vec::new()),
            Storage::Text => Values::Text {
                bytes: Vec::new(),
                ends: Vec::new(),
            },
            Storage::Doubles => Values::Doubles {
                elements: Vec::new(),
                repeated: Vec::new(),
            },
        }
    }
}
