//! The users' three tables, from the real data beside the checkout: complete places and users, and the published part
//! of the posts. The other posts have their real index and category, and a title that says that they are made up.

use crate::need;
use anyhow::{Context, Result};
use flate2::read::MultiGzDecoder;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write as _};
use std::path::Path;

/// The columns of each table, in order.
pub const COLUMNS: [&[&str]; 3] = [
    &[
        "index",
        "unique_id",
        "title",
        "description",
        "poster_name",
        "follower_count",
        "tag_list",
        "is_image_or_video",
        "image_src",
        "downloaded",
        "save_location",
        "category",
    ],
    &["ind", "timestamp", "latitude", "longitude", "country"],
    &["ind", "first_name", "last_name", "age", "date_joined"],
];

/// Their names.
pub const NAMES: [&str; 3] = ["pinterest_data", "geolocation_data", "user_data"];

/// The rows of the three tables, in order of their index.
pub struct Tables(pub [Vec<Value>; 3]);

/// A round of the recorded stream: the row, and its three records.
pub struct Round {
    /// The row that was chosen.
    pub row: u64,
    /// Pin, geo, user.
    pub records: [Value; 3],
}

/// A file of the real data, unpacked.
#[expect(
    clippy::disallowed_methods,
    reason = "the real data is a known set of small files beside the checkout"
)]
pub fn unpacked(path: &Path) -> Result<String> {
    let mut text = String::new();
    MultiGzDecoder::new(File::open(path)?)
        .read_to_string(&mut text)
        .with_context(|| format!("unpacking {}", path.display()))?;
    Ok(text)
}

/// The stream that was recorded with the seed 100; `None` where the real data is absent.
pub fn recorded() -> Result<Option<Vec<Round>>> {
    let Some(path) = need::data("seed100_first2525.jsonl.gz") else {
        return Ok(None);
    };
    let mut rounds = Vec::new();
    for line in unpacked(&path)?.lines() {
        let mut round: Value = serde_json::from_str(line)?;
        rounds.push(Round {
            row: round["row"].as_u64().context("a round without its row")?,
            records: ["pin", "geo", "user"].map(|kind| round[kind].take()),
        });
    }
    Ok(Some(rounds))
}

impl Tables {
    /// The real tables; `None` where the real data is absent.
    pub fn real() -> Result<Option<Tables>> {
        let files = [
            "pinterest_data.partial.jsonl.gz",
            "category_by_index.json",
            "geolocation_data.csv.gz",
            "user_data.csv.gz",
        ];
        let Some(files) = files.iter().map(|name| need::data(name)).collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        let ranges: Value = serde_json::from_str(&std::fs::read_to_string(&files[1])?)?;
        let mut pins = Vec::new();
        for range in ranges["ranges"].as_array().context("ranges of categories")? {
            let ends = [&range["first_index"], &range["last_index"]].map(Value::as_u64);
            let [Some(first), Some(last)] = ends else { continue };
            pins.extend((first..=last).map(|index| made_up(index, &range["category"])));
        }
        for line in unpacked(&files[0])?.lines() {
            let pin: Value = serde_json::from_str(line)?;
            let index = pin["index"].as_u64().context("a pin without an index")?;
            *pins.get_mut(index as usize).context("an index beyond the table")? = pin;
        }
        Ok(Some(Tables([pins, csv(&files[2], 1)?, csv(&files[3], 2)?])))
    }

    /// Statements that make and fill the tables.
    pub fn sql(&self, mysql: bool) -> String {
        let quote = if mysql { '`' } else { '"' };
        let types = if mysql {
            ["INT", "FLOAT", "DATETIME", "TEXT"]
        } else {
            ["integer", "real", "timestamp", "text"]
        };
        let mut sql = String::new();
        for ((rows, columns), name) in self.0.iter().zip(COLUMNS).zip(NAMES) {
            let column = |column: &&str| {
                let of = match *column {
                    "index" | "ind" => format!("{} PRIMARY KEY", types[0]),
                    "downloaded" | "age" => types[0].to_owned(),
                    "latitude" | "longitude" => types[1].to_owned(),
                    "timestamp" | "date_joined" => types[2].to_owned(),
                    _ => types[3].to_owned(),
                };
                format!("{quote}{column}{quote} {of}")
            };
            let list = columns.iter().map(column).collect::<Vec<_>>().join(", ");
            writeln!(sql, "CREATE TABLE {name} ({list});").expect("writing to a String");
            for rows in rows.chunks(500) {
                let values = rows.iter().map(|row| {
                    let values = columns.iter().map(|column| literal(&row[column], mysql));
                    format!("({})", values.collect::<Vec<_>>().join(", "))
                });
                let values = values.collect::<Vec<_>>().join(",\n");
                writeln!(sql, "INSERT INTO {name} VALUES {values};").expect("writing to a String");
            }
        }
        sql
    }

    /// Writes the tables as files: pins as JSONL, places as pandas' CSV, users as packed CSV in two parts.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let mut pins = File::create(folder.join("pinterest_data.jsonl"))?;
        let lines: String = self.0[0].iter().map(|pin| format!("{pin}\n")).collect();
        pins.write_all(lines.as_bytes())?;
        std::fs::write(
            folder.join("geolocation_data.csv"),
            self.csv(1, 0..self.0[1].len(), true),
        )?;
        let half = self.0[2].len() / 2;
        for (part, range) in [(1, 0..half), (2, half..self.0[2].len())] {
            let file = File::create(folder.join(format!("user_data.part{part}.csv.gz")))?;
            let mut packed = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
            packed.write_all(self.csv(2, range, false).as_bytes())?;
            packed.finish()?;
        }
        Ok(())
    }

    fn csv(&self, kind: usize, range: std::ops::Range<usize>, numbered: bool) -> String {
        let mut text = format!("{}{}\n", if numbered { "," } else { "" }, COLUMNS[kind].join(","));
        for (number, row) in self.0[kind][range].iter().enumerate() {
            if numbered {
                write!(text, "{number},").expect("writing to a String");
            }
            let values = COLUMNS[kind].iter().map(|column| match &row[column] {
                Value::String(value) => format!("\"{}\"", value.replace('"', "\"\"")),
                other => other.to_string(),
            });
            text.push_str(&values.collect::<Vec<_>>().join(","));
            text.push('\n');
        }
        text
    }
}

fn made_up(index: u64, category: &Value) -> Value {
    json!({
        "index": index,
        "unique_id": format!("00000000-0000-4000-8000-{index:012}"),
        "title": "made up: this row was never published",
        "description": "No description available",
        "poster_name": "User Info Error",
        "follower_count": "User Info Error",
        "tag_list": "N,o, ,T,a,g,s, ,A,v,a,i,l,a,b,l,e",
        "is_image_or_video": "image",
        "image_src": "Image src error.",
        "downloaded": 0,
        "save_location": format!("Local save in /data/{}", category.as_str().unwrap_or_default()),
        "category": category,
    })
}

/// The rows of one of the published CSV files: an index without a name first, fields with commas in quotes.
fn csv(path: &Path, kind: usize) -> Result<Vec<Value>> {
    let mut rows = Vec::new();
    for line in unpacked(path)?.lines().skip(1) {
        let mut fields = vec![String::new()];
        let mut in_quotes = false;
        for c in line.chars() {
            match c {
                '"' => in_quotes = !in_quotes,
                ',' if !in_quotes => fields.push(String::new()),
                c => fields.last_mut().context("a field")?.push(c),
            }
        }
        let mut row = serde_json::Map::new();
        for (name, field) in COLUMNS[kind].iter().zip(fields.into_iter().skip(1)) {
            let value = match *name {
                "ind" | "age" => json!(field.parse::<i64>()?),
                "latitude" | "longitude" => json!(field.parse::<f64>()?),
                _ => json!(field),
            };
            row.insert((*name).to_owned(), value);
        }
        rows.push(Value::Object(row));
    }
    Ok(rows)
}

fn literal(value: &Value, mysql: bool) -> String {
    match value {
        Value::Null => "NULL".into(),
        Value::String(text) => {
            let text = text.replace('\'', "''");
            // a backslash escapes in MySQL alone
            format!("'{}'", if mysql { text.replace('\\', "\\\\") } else { text })
        }
        other => other.to_string(),
    }
}
