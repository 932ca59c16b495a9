//! One CSV file per table, for `--out`.
//!
//! `{table}.csv`: UTF-8, LF, a header of column names, quotes only where RFC 4180 needs them, null as nothing, rows
//! sorted by the unquoted text of their columns from left to right, byte by byte; values as Postgres prints them. Files
//! are written under temporary names and renamed when all are whole: where one cannot be written, what stood there stays.

use crate::error::SinkError;
use crate::text;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use values::{Row, Table};

/// Writes one file per table into `dir`, which is created when absent.
pub fn write_tables(dir: &Path, tables: &[(Table, Vec<Row>)]) -> Result<(), SinkError> {
    std::fs::create_dir_all(dir).map_err(|source| failed(dir, source))?;
    let part = |table: &Table| dir.join(format!(".{}.csv.part", table.name));
    let mut written = tables.iter().map(|(table, rows)| {
        let part = part(table);
        write_table(&part, table, rows).map_err(|source| failed(&part, source))
    });
    if let Err(error) = written.try_for_each(|written| written) {
        // they take room where there may be none, and are of no use to anybody
        for (table, _) in tables {
            let _ = std::fs::remove_file(part(table));
        }
        return Err(error);
    }
    for (table, _) in tables {
        let path = dir.join(format!("{}.csv", table.name));
        std::fs::rename(part(table), &path).map_err(|source| failed(&path, source))?;
    }
    // the names are durable only with their directory
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|source| failed(dir, source))
}

fn write_table(path: &Path, table: &Table, rows: &[Row]) -> std::io::Result<()> {
    let cell = |(value, column): (&values::Value, &values::Column)| text::value(value, column.ty);
    let cells = |row: &Row| -> Vec<String> {
        row.iter()
            .zip(table.columns)
            .map(|pair| cell(pair).unwrap_or_default())
            .collect()
    };
    let mut lines: Vec<Vec<String>> = rows.iter().map(cells).collect();
    lines.sort_unstable();
    let file = BufWriter::with_capacity(1 << 16, File::create(path)?);
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::Any(b'\n'))
        .quote_style(csv::QuoteStyle::Necessary)
        .from_writer(file);
    writer
        .write_record(table.columns.iter().map(|column| column.name))
        .map_err(std::io::Error::other)?;
    for line in &lines {
        writer.write_record(line).map_err(std::io::Error::other)?;
    }
    let mut file = writer.into_inner().map_err(csv::IntoInnerError::into_error)?;
    file.flush()?;
    file.get_ref().sync_all()
}

fn failed(path: &Path, source: std::io::Error) -> SinkError {
    SinkError::Io {
        object: path.display().to_string(),
        source,
    }
}
