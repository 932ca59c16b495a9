//! One Parquet file, made row group by row group.
//!
//! A row group ends at a million rows or at 64 MiB of values, whichever comes first, so that a reader can read groups in
//! parallel and the writer holds one in memory. Pages are compressed with zstd, which all readers of today know.

use super::columns::Columns;
use super::error::ExportError;
use super::schema::{schema, storages};
use bytes::Bytes;
use operators::{Table, Value};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;
use std::sync::Arc;

/// Where a row group ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupLimits {
    /// Rows.
    pub(crate) rows: usize,
    /// Bytes of its values, before they are encoded; the last row may pass it.
    pub(crate) bytes: usize,
}

impl Default for GroupLimits {
    fn default() -> GroupLimits {
        GroupLimits {
            rows: 1_000_000,
            bytes: 64 << 20,
        }
    }
}

/// A file on its way. Its bytes leave as soon as a row group is complete.
pub(crate) struct ParquetFile {
    table: &'static Table,
    writer: SerializedFileWriter<Vec<u8>>,
    group: Columns,
    limits: GroupLimits,
    rows: u64,
}

impl ParquetFile {
    /// Begins a file of a table's rows, which come in the order of their keys; `about` is its key-value metadata.
    pub(crate) fn new(
        table: &'static Table,
        about: Vec<KeyValue>,
        limits: GroupLimits,
    ) -> Result<ParquetFile, ExportError> {
        let storages = storages(table)?;
        let key = (0..table.key).map(|index| SortingColumn {
            column_idx: index as i32,
            descending: false,
            nulls_first: false,
        });
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_sorting_columns(Some(key.collect()))
            .set_key_value_metadata(Some(about));
        // no key comes twice
        for column in &table.columns[..table.key] {
            properties = properties.set_column_dictionary_enabled(ColumnPath::from(column.name), false);
        }
        let writer = SerializedFileWriter::new(Vec::new(), schema(table)?, Arc::new(properties.build()));
        Ok(ParquetFile {
            table,
            writer: writer.map_err(|source| failed(table, source))?,
            group: Columns::new(&storages, table.key),
            limits,
            rows: 0,
        })
    }

    /// Appends a row; the next bytes of the file, when it completes a row group.
    pub(crate) fn push(&mut self, row: &[Value]) -> Result<Option<Bytes>, ExportError> {
        self.group.push(row).map_err(|source| failed(self.table, source))?;
        self.rows += 1;
        if self.group.rows() < self.limits.rows && self.group.bytes() < self.limits.bytes {
            return Ok(None);
        }
        self.end_group().map_err(|source| failed(self.table, source)).map(Some)
    }

    /// The last bytes of the file, and how many rows it has.
    pub(crate) fn finish(mut self) -> Result<(Bytes, u64), ExportError> {
        let end = |mut writer: SerializedFileWriter<Vec<u8>>, group: &mut Columns| {
            if group.rows() > 0 {
                group.write(writer.next_row_group()?)?;
            }
            writer.into_inner()
        };
        let bytes = end(self.writer, &mut self.group).map_err(|source| failed(self.table, source))?;
        Ok((bytes.into(), self.rows))
    }

    fn end_group(&mut self) -> Result<Bytes, ParquetError> {
        self.group.write(self.writer.next_row_group()?)?;
        self.writer.flush()?;
        // the writer counts what it has written by itself
        Ok(std::mem::take(self.writer.inner_mut()).into())
    }
}

fn failed(table: &'static Table, source: ParquetError) -> ExportError {
    ExportError::Format {
        table: table.name,
        source,
    }
}

#[cfg(test)]
mod tests;
