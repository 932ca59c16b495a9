//! The three tables as files of a folder: `pinterest_data*`, `geolocation_data*` and `user_data*`, each `.csv`,
//! `.jsonl` or `.json` (an object a line), plain or `.gz`. Several files of a table are read in order of their names.
//!
//! A line of JSONL is sent as it stands, ASCII-escaped. CSV has no types: the columns that are numbers in the users'
//! tables are numbers, an empty number is null, and a first column without a name (the index that pandas writes) is
//! left out.

use super::super::item::{Cell, Item, TABLES, ascii, ind_of, row};
use super::super::options::EmulateOptions;
use super::error::{SourceError, file};
use super::select::{classic_rows, kinds};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc::Sender;

/// Bytes of a line at most.
const LINE_LIMIT: u64 = 8 << 20;
/// Bytes of tables that `--classic` holds to choose from.
const TABLES_LIMIT: usize = 1 << 30;

type Result<T> = std::result::Result<T, SourceError>;
type Rows = Box<dyn Iterator<Item = Result<Item>> + Send>;

/// Hands over rows of the three tables; files are read on a thread of their own.
pub async fn run(options: &EmulateOptions, folder: &Path, out: Sender<Item>) -> Result<()> {
    let mut tables = Vec::new();
    for kind in kinds(options) {
        tables.push(rows(kind, folder, options.iso_dates)?);
    }
    let posts = options.posts.unwrap_or(u64::MAX);
    let classic = options.classic.then(|| classic_rows(options));
    let read = move || match classic {
        Some(numbers) => choose(tables, numbers, &out),
        None => in_order(tables, posts, &out),
    };
    tokio::task::spawn_blocking(read)
        .await
        .map_err(|source| SourceError::Panicked {
            thread: "the reader",
            source,
        })?
}

fn in_order(mut tables: Vec<Rows>, posts: u64, out: &Sender<Item>) -> Result<()> {
    for _ in 0..posts {
        let mut found = false;
        for rows in &mut tables {
            if let Some(next) = rows.next() {
                found = true;
                if out.blocking_send(next?).is_err() {
                    return Ok(());
                }
            }
        }
        if !found {
            break;
        }
    }
    Ok(())
}

fn choose(tables: Vec<Rows>, numbers: impl Iterator<Item = u64>, out: &Sender<Item>) -> Result<()> {
    let mut held = Vec::new();
    let mut bytes = 0;
    for rows in tables {
        let mut table = Vec::new();
        for item in rows {
            let item = item?;
            bytes += item.value.len();
            if bytes > TABLES_LIMIT {
                return Err(SourceError::TooLarge);
            }
            table.push(item);
        }
        held.push(table);
    }
    for number in numbers {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        for item in held.iter().filter_map(|table| table.get(number)) {
            if out.blocking_send(item.clone()).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The rows of all files of a table.
fn rows(kind: usize, folder: &Path, iso_dates: bool) -> Result<Rows> {
    let listing = std::fs::read_dir(folder).map_err(file("listing", folder))?;
    let mut files = Vec::new();
    for entry in listing {
        let path = entry.map_err(file("listing", folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(TABLES[kind]) && Format::of(name).is_some() {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(SourceError::NoTable {
            folder: folder.to_owned(),
            table: TABLES[kind],
        });
    }
    files.sort();
    // a file is opened when it is its turn
    let all = files
        .into_iter()
        .flat_map(move |path| match open(kind, &path, iso_dates) {
            Ok(rows) => rows,
            Err(error) => Box::new(std::iter::once(Err(error))),
        });
    Ok(Box::new(all))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    Lines,
}

impl Format {
    fn of(name: &str) -> Option<Format> {
        let name = name.strip_suffix(".gz").unwrap_or(name);
        match name.rsplit_once('.')?.1 {
            "csv" => Some(Format::Csv),
            "jsonl" | "json" | "ndjson" => Some(Format::Lines),
            _ => None,
        }
    }
}

fn open(kind: usize, path: &Path, iso_dates: bool) -> Result<Rows> {
    let opened = File::open(path).map_err(file("opening", path))?;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let plain: Box<dyn BufRead + Send> = if name.ends_with(".gz") {
        Box::new(BufReader::new(unpacked(opened)))
    } else {
        Box::new(BufReader::new(opened))
    };
    match Format::of(name) {
        Some(Format::Csv) => csv_rows(kind, path.to_owned(), plain, iso_dates),
        _ => Ok(lines(kind, path.to_owned(), plain)),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "rows are taken one at a time, and none may be longer than its limit"
)]
fn unpacked(file: File) -> impl Read + Send {
    flate2::read::MultiGzDecoder::new(file)
}

fn lines(kind: usize, path: PathBuf, mut reader: Box<dyn BufRead + Send>) -> Rows {
    let mut next = move || -> Result<Option<Item>> {
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = (&mut reader).take(LINE_LIMIT + 1).read_until(b'\n', &mut line);
            let read = read.map_err(file("reading", &path))?;
            if read as u64 > LINE_LIMIT {
                return Err(SourceError::LongLine { path: path.clone() });
            }
            if read == 0 {
                return Ok(None);
            }
            let text = std::str::from_utf8(&line).map_err(|source| SourceError::Utf8 {
                path: path.clone(),
                source,
            })?;
            let text = text.trim_start_matches('\u{feff}').trim();
            if !text.is_empty() {
                return Ok(Some(Item {
                    kind: kind as u8,
                    ind: ind_of(text),
                    value: ascii(text).into_bytes(),
                    delete: false,
                }));
            }
        }
    };
    Box::new(until_error(move || next().transpose()))
}

fn csv_rows(kind: usize, path: PathBuf, reader: Box<dyn BufRead + Send>, iso_dates: bool) -> Result<Rows> {
    let mut csv = csv::ReaderBuilder::new().from_reader(reader);
    let headers = csv.headers().map_err(csv_error(&path))?.clone();
    // pandas writes its own index as a first column without a name
    let first = usize::from(
        headers
            .get(0)
            .is_some_and(|name| name.is_empty() || name == "Unnamed: 0"),
    );
    let mut record = csv::StringRecord::new();
    let next = move || -> Option<Result<Item>> {
        match csv.read_record(&mut record) {
            Ok(false) => None,
            Ok(true) => {
                let cells = headers.iter().zip(&record).skip(first);
                let cells = cells.map(|(name, text)| (name, cell(name, text)));
                Some(Ok(row(kind as u8, cells, iso_dates)))
            }
            Err(error) => Some(Err(csv_error(&path)(error))),
        }
    };
    Ok(Box::new(until_error(next)))
}

fn csv_error(path: &Path) -> impl FnOnce(csv::Error) -> SourceError {
    let path = path.to_owned();
    move |source| SourceError::Csv { path, source }
}

/// What a column is by its name; a text that is no number stays a text.
fn cell<'a>(name: &str, text: &'a str) -> Cell<'a> {
    match name {
        "index" | "ind" | "downloaded" | "age" => match text {
            "" => Cell::Null,
            _ => Cell::Integer(text),
        },
        "latitude" | "longitude" if text.is_empty() => Cell::Null,
        "latitude" | "longitude" => Cell::Float(text),
        "timestamp" | "date_joined" => Cell::Time(text),
        _ => Cell::Text(text),
    }
}

/// An iterator that ends after its first error.
fn until_error(mut next: impl FnMut() -> Option<Result<Item>> + Send) -> impl Iterator<Item = Result<Item>> + Send {
    let mut ended = false;
    std::iter::from_fn(move || {
        if ended {
            return None;
        }
        let item = next();
        ended = !matches!(item, Some(Ok(_)));
        item
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(rows: Rows) -> Vec<String> {
        rows.map(|item| String::from_utf8(item.unwrap().value).unwrap())
            .collect()
    }

    #[test]
    fn csv_has_types_by_name_and_loses_the_index_of_pandas() {
        let csv = ",ind,timestamp,latitude,longitude,country\n0,7,2019-01-01 07:21:13,-88.8298,,\"A, b\"\n";
        let reader = Box::new(std::io::Cursor::new(csv.as_bytes().to_vec()));
        let rows = csv_rows(1, "geolocation_data.csv".into(), reader, true).unwrap();
        assert_eq!(
            texts(rows),
            [
                r#"{"ind": 7, "timestamp": "2019-01-01T07:21:13", "latitude": -88.8298, "longitude": null, "country": "A, b"}"#
            ]
        );
    }

    #[test]
    fn lines_are_sent_as_they_stand() {
        let text = "\u{feff}{\"index\":3, \"title\":\"é\"}\n\n[1]\r\n{\"index\":\"4\"}";
        let reader = Box::new(std::io::Cursor::new(text.as_bytes().to_vec()));
        let rows: Vec<Item> = lines(0, "pinterest_data.jsonl".into(), reader)
            .map(Result::unwrap)
            .collect();
        assert_eq!(
            rows.iter().map(|item| item.ind).collect::<Vec<_>>(),
            [Some(3), None, Some(4)]
        );
        assert_eq!(rows[0].value, br#"{"index":3, "title":"\u00e9"}"#);
    }
}
