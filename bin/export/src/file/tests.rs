//! What is written is read back by another half of the library, whatever the limits of row groups.

#[path = "../../../../tests/src/parquet_rows.rs"]
mod parquet_rows;

use super::*;
use dataflows::CLEANED;
use operators::Row;
use parquet_rows::{ParquetRows, read};

/// Writes rows; the file, and in how many pieces it came.
fn write(table: &'static Table, rows: &[Row], limits: GroupLimits) -> (ParquetRows, usize) {
    let about = vec![KeyValue::new("pinflow.commit".to_owned(), "7".to_owned())];
    let mut file = ParquetFile::new(table, about, limits).unwrap();
    let (mut bytes, mut pieces) = (Vec::new(), 1);
    for row in rows {
        if let Some(piece) = file.push(row).unwrap() {
            assert!(!piece.is_empty(), "a row group without bytes");
            bytes.extend_from_slice(&piece);
            pieces += 1;
        }
    }
    let (rest, counted) = file.finish().unwrap();
    bytes.extend_from_slice(&rest);
    assert_eq!(counted, rows.len() as u64);
    (read(Bytes::from(bytes)).unwrap(), pieces)
}

fn text(text: &str) -> Value {
    Value::String(text.into())
}

/// Rows of each cleaned table with all that its types can hold.
fn samples(count: i64) -> [Vec<Row>; 3] {
    let texts = ["", "a", "é\u{301} 👩‍👩‍👧 \u{feff}", "a,b\n\"c\"", "\u{1}", "\u{10ffff}"];
    let long = "x".repeat(100_000);
    let doubles = [
        0.0,
        -0.0,
        1.5,
        f64::MAX,
        f64::MIN_POSITIVE,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
    ];
    // the years 1 and 9999, a microsecond before and after 1970, and what PostgreSQL's own limits come to
    let times = [
        -62_135_596_800_000_000,
        253_402_300_799_999_999,
        -1,
        0,
        1,
        i64::MIN,
        i64::MAX,
    ];
    let some = |index: i64, value: Value| if index % 5 == 4 { Value::Null } else { value };
    let at = |index: i64, most: usize| index as usize % most;
    let pin = |ind: i64| {
        let mut row = vec![Value::Int(ind)];
        for column in 1..11 {
            row.push(match column {
                4 => some(ind, Value::Int([0, i64::MAX, i64::MIN, 12_000][at(ind, 4)])),
                3 if ind % 97 == 0 => text(&long),
                column => some(ind + column, text(texts[at(ind + column, texts.len())])),
            });
        }
        row
    };
    let geo = |ind: i64| {
        let length = at(ind, 4);
        let list = (0..length).map(|element| (at(ind, 3) != element).then(|| doubles[at(ind + element as i64, 8)]));
        let list = Value::Floats(list.collect());
        vec![
            Value::Int(ind),
            some(ind, text("Côte d’Ivoire")),
            some(ind + 1, list),
            some(ind + 2, Value::Int(times[at(ind, 7)])),
        ]
    };
    let user = |ind: i64| {
        let age = [i64::from(i32::MIN), i64::from(i32::MAX), 20][at(ind, 3)];
        vec![
            Value::Int(ind),
            some(ind, text("A B")),
            some(ind + 1, Value::Int(age)),
            some(ind + 2, Value::Int(times[at(ind, 7)])),
        ]
    };
    let rows = |row: &dyn Fn(i64) -> Row| (0..count).map(|ind| row(ind - 3)).collect();
    [rows(&pin), rows(&|ind| geo(ind.abs())), rows(&|ind| user(ind.abs()))]
}

#[test]
fn rows_come_back_as_they_were_in_row_groups_of_any_size() {
    for (rows, bytes) in [
        (1, 1 << 20),
        (7, 1 << 20),
        (1_000, 1),
        (1_000, 50_000),
        (1_000_000, 64 << 20),
    ] {
        for (table, samples) in CLEANED.iter().zip(samples(300)) {
            let limits = GroupLimits { rows, bytes };
            let (found, pieces) = write(table, &samples, limits);
            assert!(found.rows == samples, "{} with {limits:?}", table.name);
            let names: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
            assert_eq!(found.columns, names);
            assert_eq!(found.about["pinflow.commit"], "7");
            assert_eq!(found.groups.iter().sum::<i64>(), 300);
            assert!(
                found.groups.iter().all(|group| *group <= rows as i64),
                "{:?}",
                found.groups
            );
            if rows == 1 || bytes == 1 {
                // the last of them comes before the footer
                assert_eq!((found.groups.len(), pieces), (300, 301));
            }
        }
    }
}

#[test]
fn a_table_without_rows_is_a_file_without_row_groups() {
    for table in &CLEANED {
        let (found, pieces) = write(table, &[], GroupLimits::default());
        assert_eq!((found.rows.len(), found.groups.len(), pieces), (0, 0, 1));
        assert_eq!(found.columns.len(), table.columns.len());
    }
}

#[test]
fn more_texts_than_are_handed_over_at_a_time_stay_in_their_rows() {
    let [pins, ..] = samples(10_000);
    let (found, _) = write(&CLEANED[0], &pins, GroupLimits::default());
    assert!(found.rows == pins);
    assert_eq!(found.groups.len(), 1);
}

#[test]
fn a_value_of_another_type_is_an_error_that_names_the_table() {
    let mut file = ParquetFile::new(&CLEANED[2], Vec::new(), GroupLimits::default()).unwrap();
    let row = [Value::Int(1), Value::Null, Value::Int(1 << 40), Value::Null];
    let error = file.push(&row).unwrap_err();
    let said = causes::with_causes(&error);
    assert!(said.starts_with("cannot write user_table as Parquet: "), "{said}");
}
