//! The rules of records once more, for their meaning alone: values by serde_json, the calendar by jiff, no care for speed.

use dataflows::{Kind, Reason};
use jiff::civil::{Date, DateTime, date};
use operators::{Row, Value};
use serde_json::{Map, Value as Json};

/// How deep a record may be nested.
const DEPTH: usize = 64;
/// Fields of names, and the most bytes of one.
const NAMES: [&str; 3] = ["poster_name", "category", "country"];
const LONGEST_NAME: usize = 512;

/// What a record says.
#[derive(Debug, PartialEq)]
pub struct Record {
    pub key: i64,
    /// The cleaned row, or none for a delete.
    pub row: Option<Row>,
    /// Fields that were altered, with the reasons, in no order.
    pub altered: Vec<(&'static str, &'static str)>,
}

/// What the value of a record says; the reasons of which one is given where it says nothing.
pub fn record(kind: Kind, value: &[u8]) -> Result<Record, Vec<Reason>> {
    let text = std::str::from_utf8(value).map_err(|_| vec![Reason::BadUtf8])?;
    let Ok(json) = serde_json::from_str::<Json>(text) else {
        return Err(no_json(text));
    };
    if depth(text) > DEPTH {
        return Err(vec![Reason::TooDeep]);
    }
    let fields = unwrapped(json).map_err(|reason| vec![reason])?;
    let key = key(&fields).map_err(|reason| vec![reason])?;
    let mut altered = Vec::new();
    let is_deleted = matches!(fields.get("__deleted"), Some(Json::Bool(true)))
        || fields.get("__deleted").and_then(Json::as_str) == Some("true");
    let row = (!is_deleted).then(|| {
        let mut fields = Fields {
            of: &fields,
            altered: &mut altered,
        };
        match kind {
            Kind::Pin => fields.pin(key),
            Kind::Geo => fields.geo(key),
            Kind::User => fields.user(key),
        }
    });
    Ok(Record { key, row, altered })
}

/// The reasons that a text may have which is not JSON.
fn no_json(text: &str) -> Vec<Reason> {
    if text.trim_ascii().is_empty() {
        return vec![Reason::Empty];
    }
    let mut reasons = vec![Reason::NotJson];
    if text.contains("\\ud") || text.contains("\\uD") {
        reasons.push(Reason::BadUtf8);
    }
    if text.matches(['[', '{']).count() > DEPTH {
        reasons.push(Reason::TooDeep);
    }
    reasons
}

/// How deep arrays and objects of a JSON text lie within each other.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut is_text) = (0usize, 0, false);
    let mut chars = json.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            '"' => is_text = !is_text,
            '[' | '{' if !is_text => depth += 1,
            ']' | '}' if !is_text => depth -= 1,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// The object inside at most three wrappings: a list of one, or an object whose only field is `value`.
fn unwrapped(mut json: Json) -> Result<Map<String, Json>, Reason> {
    for _ in 0..3 {
        json = match json {
            Json::Array(mut only) if only.len() == 1 => only.remove(0),
            Json::Object(mut object) if object.len() == 1 && object.contains_key("value") => object["value"].take(),
            json => json,
        };
    }
    match json {
        Json::Object(fields) => Ok(fields),
        Json::String(text) if text.is_empty() => Err(Reason::Empty),
        Json::String(_) => Err(Reason::JsonString),
        _ => Err(Reason::NotObject),
    }
}

fn key(fields: &Map<String, Json>) -> Result<i64, Reason> {
    let of = |name: &str| fields.get(name).unwrap_or(&Json::Null);
    if of("index") == "index" || of("ind") == "ind" {
        return Err(Reason::HeaderRow);
    }
    let keys: Vec<i64> = [of("index"), of("ind")].into_iter().filter_map(integer).collect();
    match keys[..] {
        [] => Err(Reason::NoKey),
        [one, other] if one != other => Err(Reason::KeyConflict),
        [key, ..] => Ok(key),
    }
}

/// A JSON integer, or a text of digits.
pub fn integer(json: &Json) -> Option<i64> {
    match json {
        Json::Number(number) => number.as_i64(),
        Json::String(text) => digits(text),
        _ => None,
    }
}

struct Fields<'f> {
    of: &'f Map<String, Json>,
    altered: &'f mut Vec<(&'static str, &'static str)>,
}

impl Fields<'_> {
    fn pin(&mut self, key: i64) -> Row {
        const USER: &[&str] = &["User Info Error"];
        let location = self.text("save_location", &[]);
        let location = location.map(|text| text.strip_prefix("Local save in ").unwrap_or(&text).to_owned());
        vec![
            Value::Int(key),
            text(self.text("unique_id", &[])),
            text(self.text("title", &["No Title Data Available"])),
            text(self.text(
                "description",
                &["No description available Story format", "No description available"],
            )),
            self.read("follower_count", |json| match json {
                Json::Number(_) => json.as_i64().map(Some),
                Json::String(text) if USER.contains(&&**text) => Some(None),
                Json::String(text) => followers(text).map(Some),
                _ => None,
            })
            .flatten()
            .into(),
            text(self.text("poster_name", USER)),
            text(self.text("tag_list", &["N,o, ,T,a,g,s, ,A,v,a,i,l,a,b,l,e"])),
            text(self.text("is_image_or_video", &[])),
            text(self.text("image_src", &["Image src error."])),
            text(location.filter(|text| !text.is_empty())),
            text(self.text("category", &[])),
        ]
    }

    fn geo(&mut self, key: i64) -> Row {
        let country = text(self.text("country", &[]));
        let mut degrees = |name| {
            self.read(name, |json| match json {
                Json::Number(_) => json.as_f64(),
                Json::String(text) => decimal(text),
                _ => None,
            })
        };
        let coordinates = [degrees("latitude"), degrees("longitude")];
        vec![
            Value::Int(key),
            country,
            Value::Floats(coordinates.into()),
            self.time("timestamp"),
        ]
    }

    fn user(&mut self, key: i64) -> Row {
        let (first, last) = (self.text("first_name", &[]), self.text("last_name", &[]));
        let name = first.and_then(|first| Some(format!("{first} {}", last?)));
        let age = self.read("age", |json| integer(json).filter(|age| i32::try_from(*age).is_ok()));
        vec![Value::Int(key), text(name), age.into(), self.time("date_joined")]
    }

    fn time(&mut self, name: &'static str) -> Value {
        self.read(name, |json| micros(json.as_str()?)).into()
    }

    /// A text, null where it is empty or one of `sentinels`.
    fn text(&mut self, name: &'static str, sentinels: &[&str]) -> Option<String> {
        let text = self.read(name, |json| json.as_str().map(str::to_owned))?;
        let plain: String = text.chars().filter(|c| *c != '\0').collect();
        if plain != text {
            self.altered.push((name, "nul"));
        }
        let present = !plain.is_empty() && !sentinels.contains(&&*plain);
        let is_too_long = present && NAMES.contains(&name) && plain.len() > LONGEST_NAME;
        if is_too_long {
            self.altered.push((name, "too_long"));
        }
        (present && !is_too_long).then_some(plain)
    }

    /// What a field holds, read by `read`; one that is missing, null or empty holds nothing.
    fn read<T>(&mut self, name: &'static str, read: impl Fn(&Json) -> Option<T>) -> Option<T> {
        let json = self.of.get(name)?;
        if json.is_null() || json == "" {
            return None;
        }
        let read = read(json);
        if read.is_none() {
            self.altered.push((name, "unreadable"));
        }
        read
    }
}

fn text(text: Option<String>) -> Value {
    text.as_deref().map_or(Value::Null, Value::from)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `^\d+$`, within 64 bits.
pub fn digits(text: &str) -> Option<i64> {
    text.parse().ok().filter(|_| is_digits(text))
}

/// `^\d+(\.\d+)?[kM]?$`, an integer within 64 bits: the point is moved within the text.
pub fn followers(text: &str) -> Option<i64> {
    let (number, zeros) = match text.strip_suffix('k') {
        Some(number) => (number, "000"),
        None => text.strip_suffix('M').map_or((text, ""), |number| (number, "000000")),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let moved = format!("{whole}{fraction}{zeros}");
    let (integer, rest) = moved.split_at(whole.len() + zeros.len());
    let is_whole = rest.bytes().all(|digit| digit == b'0');
    integer.parse().ok().filter(|_| is_whole)
}

/// What JSON reads of a number without its plus and its leading zeros.
pub fn decimal(text: &str) -> Option<f64> {
    let (sign, number) = match text.strip_prefix('-') {
        Some(number) => ("-", number),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let end = number.find(['.', 'e', 'E']).unwrap_or(number.len());
    let (whole, rest) = number.split_at(end);
    // JSON would allow white space at the end
    if !is_digits(whole) || rest.contains(char::is_whitespace) {
        return None;
    }
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    serde_json::from_str(&format!("{sign}{whole}{rest}")).ok()
}

/// Microseconds since 1970 of a time, by the shape of its text: every digit counts as 9.
pub fn micros(text: &str) -> Option<i64> {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    let number = |from: usize, to: usize| text[from..to].parse::<i64>().expect("digits by its shape");
    let (day, begin) = if let Some(rest) = shape.strip_prefix("9999-99-99") {
        let begin = 10 + usize::from(rest.starts_with([' ', 'T', 't']));
        (day(number(0, 4), number(5, 7), number(8, 10))?, begin)
    } else if let Some(rest) = shape.strip_prefix("99/99/9999") {
        let begin = if rest.starts_with(", ") { 12 } else { 10 };
        (day(number(6, 10), number(0, 2), number(3, 5))?, begin)
    } else {
        return None;
    };
    let midnight = micros_of(day.to_datetime(jiff::civil::Time::midnight()));
    let micros = match &shape[begin..] {
        "" if begin == 10 => midnight,
        clock if begin > 10 && clock.starts_with("99:99:99") => {
            let (hour, minute, second) = (
                number(begin, begin + 2),
                number(begin + 3, begin + 5),
                number(begin + 6, begin + 8),
            );
            if hour > 23 || minute > 59 || second > 59 {
                return None;
            }
            let (fraction, zone) = fraction(&text[begin + 8..])?;
            midnight + ((hour * 60 + minute) * 60 + second - east(zone)?) * 1_000_000 + fraction
        }
        _ => return None,
    };
    let years = micros_of(date(1, 1, 1).at(0, 0, 0, 0))..=micros_of(date(9999, 12, 31).at(23, 59, 59, 999_999_999));
    years.contains(&micros).then_some(micros)
}

fn day(year: i64, month: i64, day: i64) -> Option<Date> {
    Date::new(year as i16, month as i8, day as i8).ok()
}

fn micros_of(time: DateTime) -> i64 {
    let since = time.duration_since(date(1970, 1, 1).at(0, 0, 0, 0));
    // towards the past, as a calendar counts
    since.as_nanos().div_euclid(1000) as i64
}

/// The year of a time.
pub fn year(micros: i64) -> i16 {
    let since = jiff::SignedDuration::from_micros(micros);
    let time = date(1970, 1, 1).at(0, 0, 0, 0).checked_add(since);
    time.expect("a time of the calendar").year()
}

/// Microseconds of a fraction, cut, and what stands behind it.
fn fraction(text: &str) -> Option<(i64, &str)> {
    let Some(rest) = text.strip_prefix('.') else {
        return Some((0, text));
    };
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, zone) = rest.split_at(end);
    let six: String = digits.chars().chain("000000".chars()).take(6).collect();
    (!digits.is_empty()).then(|| (six.parse().expect("six digits"), zone))
}

/// Seconds of a zone east of Greenwich.
fn east(zone: &str) -> Option<i64> {
    let zone = match zone.strip_prefix(' ') {
        Some("") => return None,
        Some(zone) => zone,
        None => zone,
    };
    if matches!(zone, "" | "Z" | "z") {
        return Some(0);
    }
    let (hours, minutes) = match zone.get(1..)?.split_once(':') {
        Some((hours, minutes)) => (hours, minutes),
        None if zone.len() == 5 => (zone.get(1..3)?, zone.get(3..)?),
        None => (zone.get(1..)?, "00"),
    };
    let two = |text: &str| text.parse::<i64>().ok().filter(|_| text.len() == 2 && is_digits(text));
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    let seconds = (hours * 60 + minutes) * 60;
    match zone.as_bytes()[0] {
        _ if hours > 23 || minutes > 59 => None,
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}
