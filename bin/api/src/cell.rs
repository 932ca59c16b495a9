//! Values and rows as JSON and CSV.
//!
//! JSON: integers as numbers (64 bits, exact), doubles as numbers with the digits that PostgreSQL prints, `"NaN"` and
//! `"Infinity"` as texts; numerics as texts, so that no digit is lost; timestamps as ISO 8601 without a zone
//! (`2020-08-28T03:52:47`); bytes as `\x…`. CSV: as PostgreSQL's `COPY … WITH (FORMAT csv, HEADER)`: null is nothing, an
//! empty text is `""`.

use operators::{ColumnType, Table, Value};
use sinks::text;

/// A table with what its rows need to be written: the columns' names as JSON.
#[derive(Debug)]
pub struct Shape {
    /// The table.
    pub table: Table,
    /// `"name":` of each column.
    labels: Vec<Vec<u8>>,
}

impl Shape {
    /// Prepares to write rows of a table.
    pub fn new(table: Table) -> Shape {
        let label = |column: &operators::Column| {
            let mut label = Vec::new();
            json_text(&mut label, column.name);
            label.push(b':');
            label
        };
        Shape {
            labels: table.columns.iter().map(label).collect(),
            table,
        }
    }

    /// All columns, in order.
    pub fn all(&self) -> Vec<usize> {
        (0..self.table.columns.len()).collect()
    }

    /// Appends `{"column":value,…}` with these columns.
    pub fn json_row(&self, out: &mut Vec<u8>, row: &[Value], columns: &[usize]) {
        out.push(b'{');
        for (place, column) in columns.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            out.extend_from_slice(&self.labels[*column]);
            json(out, &row[*column], self.table.columns[*column].ty);
        }
        out.push(b'}');
    }

    /// Appends a line of CSV with these columns.
    pub fn csv_row(&self, out: &mut Vec<u8>, row: &[Value], columns: &[usize]) {
        for (place, column) in columns.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            if let Some(text) = text::value(&row[*column], self.table.columns[*column].ty) {
                csv_text(out, &text, columns.len() == 1);
            }
        }
        out.push(b'\n');
    }

    /// Appends the line of CSV that names these columns.
    pub fn csv_header(&self, out: &mut Vec<u8>, columns: &[usize]) {
        for (place, column) in columns.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            csv_text(out, self.table.columns[*column].name, columns.len() == 1);
        }
        out.push(b'\n');
    }
}

/// Appends a value as JSON.
pub fn json(out: &mut Vec<u8>, value: &Value, ty: ColumnType) {
    match (value, ty) {
        (Value::Null, _) => out.extend_from_slice(b"null"),
        (Value::Int(value), ColumnType::Bool) => {
            out.extend_from_slice(if *value == 0 { b"false" } else { b"true" });
        }
        (Value::Int(_), ColumnType::Date) => json_text(out, &text::value(value, ty).unwrap_or_default()),
        (Value::Int(micros), ColumnType::Timestamp) => json_text(out, &text::timestamp(*micros).replacen(' ', "T", 1)),
        (Value::Int(value), _) => out.extend_from_slice(value.to_string().as_bytes()),
        (Value::Float(value), _) => json_double(out, *value),
        (Value::Floats(values), _) => {
            out.push(b'[');
            for (place, value) in values.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                match value {
                    Some(value) => json_double(out, *value),
                    None => out.extend_from_slice(b"null"),
                }
            }
            out.push(b']');
        }
        (Value::Text(_) | Value::String(_), _) => json_text(out, value.as_str().unwrap_or_default()),
        (Value::Bytes(_), _) => json_text(out, &text::value(value, ty).unwrap_or_default()),
    }
}

fn json_double(out: &mut Vec<u8>, value: f64) {
    let text = text::float8(value);
    if value.is_finite() {
        out.extend_from_slice(text.as_bytes());
    } else {
        json_text(out, &text);
    }
}

/// Appends a text as JSON.
pub fn json_text(out: &mut Vec<u8>, text: &str) {
    // writing to memory does not fail, and a text is always JSON
    let _ = serde_json::to_writer(&mut *out, text);
}

/// Appends a field of CSV that is not null. Where it is the `only` one of its line it must not look like the end of the
/// data.
fn csv_text(out: &mut Vec<u8>, text: &str, only: bool) {
    let is_special = |byte: u8| matches!(byte, b',' | b'"' | b'\n' | b'\r');
    let is_end = only && text == "\\.";
    if !text.is_empty() && !is_end && !text.bytes().any(is_special) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    for byte in text.bytes() {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use operators::Column;

    fn shape() -> Shape {
        const fn column(name: &'static str, ty: ColumnType) -> Column {
            Column { name, ty, comment: "" }
        }
        const COLUMNS: [Column; 8] = [
            column("name", ColumnType::Text),
            column("big", ColumnType::Int8),
            column("share", ColumnType::Numeric),
            column("mean", ColumnType::Float8),
            column("at", ColumnType::Timestamp),
            column("day", ColumnType::Date),
            column("is", ColumnType::Bool),
            column("many", ColumnType::Float8Array),
        ];
        Shape::new(Table {
            name: "t",
            comment: "",
            key: 1,
            columns: &COLUMNS,
        })
    }

    fn row() -> Vec<Value> {
        vec![
            Value::String("Côte \"d'Ivoire\"\n".into()),
            Value::Int(i64::MAX),
            Value::String("12.50".into()),
            Value::Float(1e20),
            Value::Int(1_598_586_767_250_000),
            Value::Int(0),
            Value::Int(1),
            Value::Floats(vec![Some(1.5), None, Some(f64::NAN)].into()),
        ]
    }

    #[test]
    fn json_is_pinned() {
        let (shape, mut out) = (shape(), Vec::new());
        shape.json_row(&mut out, &row(), &shape.all());
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"name":"Côte \"d'Ivoire\"\n","big":9223372036854775807,"share":"12.50","mean":1e+20,"at":"2020-08-28T03:52:47.25","day":"1970-01-01","is":true,"many":[1.5,null,"NaN"]}"#
        );
        let mut out = Vec::new();
        shape.json_row(&mut out, &vec![Value::Null; 8], &[2, 0]);
        assert_eq!(String::from_utf8(out).unwrap(), r#"{"share":null,"name":null}"#);
    }

    #[test]
    fn csv_is_pinned() {
        let (shape, mut out) = (shape(), Vec::new());
        shape.csv_header(&mut out, &shape.all());
        shape.csv_row(&mut out, &row(), &shape.all());
        let mut odd = vec![Value::Null; 8];
        odd[0] = Value::String("".into());
        shape.csv_row(&mut out, &odd, &[0, 1, 3]);
        odd[0] = Value::String("\\.".into());
        shape.csv_row(&mut out, &odd, &[0, 1]);
        shape.csv_row(&mut out, &odd, &[0]);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "name,big,share,mean,at,day,is,many\n\
             \"Côte \"\"d'Ivoire\"\"\n\",9223372036854775807,12.50,1e+20,2020-08-28 03:52:47.25,1970-01-01,t,\"{1.5,NULL,NaN}\"\n\
             \"\",,\n\\.,\n\"\\.\"\n"
        );
    }
}
