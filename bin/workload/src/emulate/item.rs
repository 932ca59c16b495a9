//! A record on its way, and how rows of tables become one: as the users' Python scripts write them.

use std::fmt::Write;

/// The tables of the three kinds, as the users name them.
pub const TABLES: [&str; 3] = ["pinterest_data", "geolocation_data", "user_data"];

/// Their keys.
pub const KEYS: [&str; 3] = ["index", "ind", "ind"];

/// A record to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// 0 = pin, 1 = geo, 2 = user.
    pub kind: u8,
    /// The index of the post, where the record has one.
    pub ind: Option<u64>,
    /// The record as JSON, or something that should have been.
    pub value: Vec<u8>,
    /// The record removes its post; `value` says so in the lake's form.
    pub delete: bool,
}

/// A value of a row, in the form its database prints it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    /// No value.
    Null,
    /// A whole number in digits.
    Integer(&'a str),
    /// A number with a fraction, in digits.
    Float(&'a str),
    /// true or false.
    Bool(bool),
    /// A date with a time: `2020-08-28 03:52:47`.
    Time(&'a str),
    /// Anything else.
    Text(&'a str),
}

/// A row as `json.dumps(dict(row), default=str)` writes it: `", "` and `": "` between, ASCII only, dates with a space,
/// or with a `T` as `.isoformat()`. Numbers stay numbers.
pub fn row<'a>(kind: u8, cells: impl Iterator<Item = (&'a str, Cell<'a>)>, iso_dates: bool) -> Item {
    let (mut json, mut ind) = (String::with_capacity(512), None);
    json.push('{');
    for (name, cell) in cells {
        if json.len() > 1 {
            json.push_str(", ");
        }
        quoted(&mut json, name);
        json.push_str(": ");
        if name == KEYS[usize::from(kind)]
            && let Cell::Integer(digits) | Cell::Text(digits) = cell
        {
            ind = digits.parse().ok();
        }
        match cell {
            Cell::Null => json.push_str("null"),
            Cell::Bool(value) => json.push_str(if value { "true" } else { "false" }),
            Cell::Integer(digits) => match digits.parse::<i128>() {
                // without leading zeros
                Ok(number) => write!(json, "{number}").expect("writing to a String"),
                Err(_) => quoted(&mut json, digits),
            },
            Cell::Float(digits) => float(&mut json, digits),
            Cell::Time(text) => quoted(&mut json, &time(text, iso_dates)),
            Cell::Text(text) => quoted(&mut json, text),
        }
    }
    json.push('}');
    Item {
        kind,
        ind,
        value: json.into_bytes(),
        delete: false,
    }
}

/// A number as Python's `repr(float)` writes it, but for exponents; what JSON has no number for is a text.
fn float(json: &mut String, digits: &str) {
    match digits.parse::<f64>() {
        Ok(number) if number.is_finite() => {
            let number = serde_json::to_string(&number).expect("a finite number is JSON");
            json.push_str(&number);
        }
        _ => quoted(json, digits),
    }
}

/// Python's `str()` of a datetime: microseconds in six digits, or none at all.
fn time(text: &str, iso: bool) -> String {
    if !matches!(text.as_bytes().get(10), Some(b' ' | b'T')) {
        // `0000-00-00`, or something else that is no datetime to Python either
        return text.to_owned();
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut written = if iso {
        whole.replacen(' ', "T", 1)
    } else {
        whole.replacen('T', " ", 1)
    };
    // a zone stands behind the fraction
    let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
    let (micros, zone) = fraction.split_at(digits);
    if micros.bytes().any(|digit| digit != b'0') {
        write!(written, ".{micros:0<6}").expect("writing to a String");
    }
    written.push_str(zone);
    written
}

fn quoted(json: &mut String, text: &str) {
    let text = serde_json::to_string(text).expect("a text is JSON");
    json.push_str(&ascii(&text));
}

/// JSON with every character beyond printable ASCII escaped, as `json.dumps` does: such characters stand inside strings alone.
pub fn ascii(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    let mut units = [0; 2];
    for c in json.chars() {
        if c.is_ascii() && c != '\u{7f}' {
            escaped.push(c);
        } else {
            for unit in c.encode_utf16(&mut units) {
                write!(escaped, "\\u{unit:04x}").expect("writing to a String");
            }
        }
    }
    escaped
}

/// The index of a record, as a number or in digits, under either name.
pub fn ind_of(json: &str) -> Option<u64> {
    #[derive(serde::Deserialize)]
    struct Keys {
        index: Option<serde_json::Value>,
        ind: Option<serde_json::Value>,
    }
    let keys: Keys = serde_json::from_str(json).ok()?;
    match keys.index.or(keys.ind)? {
        serde_json::Value::Number(number) => number.as_u64(),
        serde_json::Value::String(digits) => digits.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected texts are the output of CPython 3.11's `json.dumps(…, default=str)`.
    #[test]
    fn rows_are_written_as_python_writes_them() {
        let cells = [
            ("index", Cell::Integer("7528")),
            ("title", Cell::Text("“Café”\n\"x\" 😍 \u{7f}\u{1}/")),
            ("latitude", Cell::Float("-89.9787")),
            ("longitude", Cell::Float("5")),
            ("timestamp", Cell::Time("2020-08-28 03:52:47")),
            ("exact", Cell::Time("2020-08-28 03:52:47.5")),
            ("poster", Cell::Null),
            ("live", Cell::Bool(true)),
        ];
        let item = row(0, cells.into_iter(), false);
        assert_eq!(item.ind, Some(7528));
        let expected = r#"{"index": 7528, "title": "\u201cCaf\u00e9\u201d\n\"x\" \ud83d\ude0d \u007f\u0001/", "#
            .to_owned()
            + r#""latitude": -89.9787, "longitude": 5.0, "timestamp": "2020-08-28 03:52:47", "#
            + r#""exact": "2020-08-28 03:52:47.500000", "poster": null, "live": true}"#;
        assert_eq!(String::from_utf8(item.value).unwrap(), expected);
        let item = row(
            1,
            [("timestamp", Cell::Time("2020-08-28 03:52:47.000000"))].into_iter(),
            true,
        );
        assert_eq!(item.value, br#"{"timestamp": "2020-08-28T03:52:47"}"#);
        assert_eq!(
            time("2020-08-28 03:52:47.25+00:00", true),
            "2020-08-28T03:52:47.250000+00:00"
        );
    }

    #[test]
    fn the_index_is_found_under_either_name() {
        assert_eq!(ind_of(r#"{"index":3,"x":1}"#), Some(3));
        assert_eq!(ind_of(r#"{"ind":"4"}"#), Some(4));
        for none in ["{}", "[1]", "x", r#"{"ind":-1}"#] {
            assert_eq!(ind_of(none), None, "{none}");
        }
    }
}
