//! Which of the forms that a route has a client wants (RFC 9110, section 12.5.1).

use crate::error::ApiError;
use hyper::StatusCode;
use hyper::header::{ACCEPT, HeaderMap};

/// The media type of server-sent events.
pub const EVENTS: &str = "text/event-stream";
/// The media type of JSON.
pub const JSON: &str = "application/json";
/// The media type of CSV.
pub const CSV: &str = "text/csv";
/// The media type of newline-delimited JSON.
pub const NDJSON: &str = "application/x-ndjson";

/// Ranges in a header at most; what stands behind them does not count.
const MOST: usize = 32;

/// The place in `offered` of the media type that the client likes best; of several, the first.
///
/// # Errors
/// 406, when it accepts none of them.
pub fn choose(headers: &HeaderMap, offered: &[&str]) -> Result<usize, ApiError> {
    let mut ranges: Vec<(String, u32)> = Vec::new();
    for value in headers.get_all(ACCEPT) {
        let text = value.to_str().unwrap_or_default();
        ranges.extend(text.split(',').filter_map(range));
    }
    ranges.truncate(MOST);
    if ranges.is_empty() {
        return Ok(0);
    }
    let quality = |media: &str| {
        let (main, _) = media.split_once('/').unwrap_or((media, ""));
        let fits = [media.to_owned(), format!("{main}/*"), "*/*".to_owned()];
        // the most specific range counts
        let found = fits
            .iter()
            .find_map(|fit| ranges.iter().find(|(range, _)| range == fit));
        found.map_or(0, |(_, quality)| *quality)
    };
    let best = offered.iter().enumerate().rev().max_by_key(|(_, media)| quality(media));
    match best {
        Some((place, media)) if quality(media) > 0 => Ok(place),
        _ => {
            let hint = format!("this route answers with {}", offered.join(", "));
            let error = ApiError::new(StatusCode::NOT_ACCEPTABLE, "no acceptable media type", hint);
            Err(error.with("offered", offered.to_vec()))
        }
    }
}

/// A media range and its quality in thousandths. Other names of the same media type become the one that is used here.
fn range(text: &str) -> Option<(String, u32)> {
    let mut parts = text.split(';').map(str::trim);
    let media = parts.next()?.to_ascii_lowercase();
    let media = match media.as_str() {
        "" => return None,
        "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => NDJSON.to_owned(),
        _ => media,
    };
    let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    let quality = quality.map_or(Some(1.0), |quality| quality.parse::<f64>().ok());
    let quality = quality.filter(|quality| (0.0..=1.0).contains(quality))?;
    Some((media, (quality * 1000.0) as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(accept: &str) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        if !accept.is_empty() {
            headers.insert(ACCEPT, accept.parse().unwrap());
        }
        let offered = [JSON, CSV, NDJSON];
        choose(&headers, &offered).ok().map(|place| offered[place])
    }

    #[test]
    fn the_form_is_the_one_that_is_liked_best() {
        for (accept, expected) in [
            ("", Some(JSON)),
            ("*/*", Some(JSON)),
            ("text/csv", Some(CSV)),
            ("TEXT/CSV; charset=utf-8", Some(CSV)),
            ("text/*", Some(CSV)),
            ("application/x-ndjson", Some(NDJSON)),
            ("application/ndjson, */*;q=0.1", Some(NDJSON)),
            ("application/json;q=0.5, text/csv", Some(CSV)),
            ("application/json;q=0, */*", Some(CSV)),
            ("text/html, application/xhtml+xml, */*;q=0.8", Some(JSON)),
            ("text/html", None),
            ("application/json;q=0", None),
            ("nonsense", None),
            ("text/csv;q=2", Some(JSON)),
        ] {
            assert_eq!(chosen(accept), expected, "{accept}");
        }
    }
}
