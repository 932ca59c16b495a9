//! Small random contents of the cleaned tables: ties, nulls, and the ends of what cleaning lets pass.

use super::Choices;
use dataflows::CLEANED;
use operators::{ColumnType, Row, Table, Value};
use std::fmt::Write;

/// The rows of each cleaned table, by kind; the first value of each is its key.
pub type Data = Vec<Vec<Row>>;

const TEXTS: [&str; 24] = [
    "a",
    "art",
    "b",
    "Zoo",
    "travel",
    "éducation",
    "A",
    "ab",
    "aab",
    "a,b,,c",
    "%",
    "_",
    "a_b",
    "100%",
    "\\",
    "a\\b",
    "it's",
    "日本",
    "日本語",
    "𝒳y",
    " a ",
    "x\n y",
    "a\"b",
    "",
];
const INTS: [i64; 14] = [
    0,
    1,
    2,
    3,
    5,
    10,
    1_000,
    12_000,
    -1,
    -7,
    i64::MAX,
    i64::MIN,
    1 << 40,
    -2,
];
const AGES: [i64; 16] = [
    18,
    20,
    24,
    25,
    35,
    36,
    50,
    51,
    17,
    0,
    -1,
    150,
    99,
    7,
    i32::MAX as i64,
    i32::MIN as i64,
];
/// 2020-08-28 03:52:47 and others: ends of years, ISO years that differ, before 1970, years 1 and 9999.
const TIMES: [i64; 12] = [
    1_598_586_767_000_000,
    1_598_586_767_500_000,
    1_609_459_199_999_999,
    1_609_459_200_000_000,
    1_609_632_000_000_000,
    1_577_664_000_000_000,
    1_582_934_400_000_001,
    0,
    -1,
    -62_135_596_800_000_000,
    253_402_300_799_999_999,
    1_445_685_711_000_000,
];
const DOUBLES: [f64; 12] = [
    0.0,
    1.0,
    -1.5,
    89.9787,
    -173.293,
    0.1,
    0.3,
    1e15,
    1e-7,
    -1e300,
    5e-324,
    123_456.789,
];

/// Up to twelve keys, each with records of some kinds.
pub fn data(choices: &mut Choices) -> Data {
    let mut data: Data = vec![Vec::new(); CLEANED.len()];
    for key in 1..=choices.below(13) as i64 {
        let key = match choices.below(40) {
            39 => i64::MAX - key,
            38 => i64::MIN + key,
            _ => key,
        };
        for (table, rows) in CLEANED.iter().zip(&mut data) {
            if choices.below(4) < 3 {
                rows.push(row(choices, table, key));
            }
        }
    }
    data
}

fn row(choices: &mut Choices, table: &Table, key: i64) -> Row {
    let rest = table.columns[1..].iter().map(|column| {
        if choices.one_in(6) {
            return Value::Null;
        }
        match column.ty {
            ColumnType::Text => {
                // a few of them, so that they tie; an empty text is null once it is cleaned
                let few = if choices.one_in(2) { TEXTS.len() - 1 } else { 4 };
                match choices.below(60) {
                    59 => Value::from("é".repeat(256).as_str()),
                    _ => Value::from(TEXTS[choices.below(few)]),
                }
            }
            ColumnType::Int8 => {
                let few = if choices.one_in(3) { INTS.len() } else { 5 };
                Value::Int(INTS[choices.below(few)])
            }
            ColumnType::Int4 => {
                let few = if choices.one_in(3) { AGES.len() } else { 8 };
                Value::Int(AGES[choices.below(few)])
            }
            ColumnType::Timestamp => Value::Int(TIMES[choices.below(TIMES.len())]),
            ColumnType::Float8Array => {
                let mut element = || (!choices.one_in(8)).then(|| DOUBLES[choices.below(DOUBLES.len())]);
                Value::Floats([element(), element()].into())
            }
            ColumnType::Float8 | ColumnType::Bytes | ColumnType::Bool | ColumnType::Date | ColumnType::Numeric => {
                unreachable!("no cleaned table has such a column")
            }
        }
    });
    std::iter::once(Value::Int(key)).chain(rest).collect()
}

/// Statements that make the cleaned tables of the session, empty.
pub fn create() -> String {
    let mut sql = String::new();
    for table in &CLEANED {
        let column = |column: &operators::Column| format!("\"{}\" {}", column.name, column.ty.name());
        let columns: Vec<_> = table.columns.iter().map(column).collect();
        writeln!(sql, "CREATE TEMP TABLE {} ({});", table.name, columns.join(", ")).expect("writing to a String");
    }
    sql
}

/// Statements that replace what the tables hold.
pub fn fill(data: &Data) -> String {
    let mut sql = String::new();
    for (table, rows) in CLEANED.iter().zip(data) {
        writeln!(sql, "TRUNCATE {};", table.name).expect("writing to a String");
        for row in rows {
            let values: Vec<_> = table
                .columns
                .iter()
                .zip(row)
                .map(|(column, value)| literal(column.ty, value))
                .collect();
            writeln!(sql, "INSERT INTO {} VALUES ({});", table.name, values.join(", ")).expect("writing to a String");
        }
    }
    sql
}

fn literal(ty: ColumnType, value: &Value) -> String {
    match (value, ty) {
        (Value::Null, _) => "NULL".to_owned(),
        (Value::Int(micros), ColumnType::Timestamp) => {
            // by parts: an interval of so many seconds would be rounded
            let (days, rest) = (micros.div_euclid(86_400_000_000), micros.rem_euclid(86_400_000_000));
            format!("timestamp 'epoch' + interval '{days} days' + {rest} * interval '1 microsecond'")
        }
        (Value::Int(value), _) => format!("'{value}'"),
        (Value::Floats(values), _) => {
            let values = values
                .iter()
                .map(|value| value.map_or("NULL".to_owned(), |value| format!("{value:e}")));
            format!("'{{{}}}'", values.collect::<Vec<_>>().join(","))
        }
        (value, _) => format!("'{}'", value.as_str().expect("a text").replace('\'', "''")),
    }
}
