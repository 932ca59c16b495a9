//! The parameters of a URL's query.

use crate::error::ApiError;
use percent_encoding::percent_decode;

/// Parameters of a request at most.
const MOST: usize = 100;

/// Splits a query into names and values. `+` is a space, as forms write it.
pub fn parse(query: Option<&str>) -> Result<Vec<(String, String)>, ApiError> {
    let query = query.unwrap_or_default();
    let parts: Vec<&str> = query.split('&').filter(|part| !part.is_empty()).collect();
    if parts.len() > MOST {
        let error = format!("{} parameters, of which there may be {MOST}", parts.len());
        return Err(ApiError::bad(error, "`in.(…)` takes a list of values"));
    }
    let pair = |part: &&str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        Ok((decode(name)?, decode(value)?))
    };
    parts.iter().map(pair).collect()
}

/// A part of a URL without percent encoding.
fn decode(text: &str) -> Result<String, ApiError> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode(spaced.as_bytes()).decode_utf8().map(String::from);
    let decoded = decoded.map_err(|_| ApiError::bad("the query is not UTF-8", "percent-encode UTF-8"))?;
    if decoded.contains('\0') {
        return Err(ApiError::bad("the query contains U+0000", "no text in the tables does"));
    }
    Ok(decoded)
}

/// The value of a parameter that may be given once.
pub fn once<'a>(params: &'a [(String, String)], name: &str) -> Result<Option<&'a str>, ApiError> {
    let mut values = params.iter().filter(|(of, _)| of == name);
    let first = values.next().map(|(_, value)| value.as_str());
    if values.next().is_some() {
        return Err(ApiError::bad(format!("`{name}` is given twice"), "give it once").with("parameter", name));
    }
    Ok(first)
}

/// Refuses parameters that are none of `names`.
pub fn only(params: &[(String, String)], names: &[&str]) -> Result<(), ApiError> {
    match params.iter().find(|(name, _)| !names.contains(&name.as_str())) {
        Some((name, _)) => Err(unknown(name, names)),
        None => Ok(()),
    }
}

/// A parameter that there is not.
pub fn unknown(name: &str, names: &[&str]) -> ApiError {
    let hint = match (crate::error::nearest(name, names), names) {
        (Some(nearest), _) => format!("did you mean {nearest}?"),
        (None, []) => "this route takes no parameters".to_owned(),
        (None, names) => format!("the parameters are {}", names.join(", ")),
    };
    ApiError::bad(format!("there is no parameter {}", crate::error::shown(name)), hint)
        .with("parameter", name)
        .with("nearest", crate::error::nearest(name, names))
}

/// A whole number within `range`, or `default` when the parameter is not given.
pub fn whole(
    params: &[(String, String)],
    name: &str,
    range: std::ops::RangeInclusive<u64>,
) -> Result<Option<u64>, ApiError> {
    let Some(text) = once(params, name)? else {
        return Ok(None);
    };
    match text.parse::<u64>().ok().filter(|number| range.contains(number)) {
        Some(number) => Ok(Some(number)),
        None => {
            let (least, most) = range.into_inner();
            let hint = if most == u64::MAX {
                format!("expected a whole number of at least {least}")
            } else {
                format!("expected a whole number from {least} to {most}")
            };
            let error = format!("invalid {name} {}", crate::error::shown(text));
            Err(ApiError::bad(error, hint).with("parameter", name))
        }
    }
}

/// A duration such as `5s`, `250ms` or `1m`; a number alone is of the `unit` that is usual there.
pub fn duration(text: &str, unit: &str) -> Option<std::time::Duration> {
    let digits = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let (number, given) = text.split_at(digits);
    let number: f64 = number.parse().ok()?;
    let seconds = match if given.is_empty() { unit } else { given } {
        "ms" => number / 1000.0,
        "s" => number,
        "m" | "min" => number * 60.0,
        _ => return None,
    };
    std::time::Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn names_and_values_are_decoded() {
        let params = parse(Some("country=eq.C%C3%B4te+d%27Ivoire&&limit=3&flag")).unwrap();
        let expected = [("country", "eq.Côte d'Ivoire"), ("limit", "3"), ("flag", "")];
        assert_eq!(
            params,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        assert_eq!(parse(None), Ok(Vec::new()));
        assert!(parse(Some("a=%ff")).is_err() && parse(Some("a=%00")).is_err());
        assert!(parse(Some(&"a=1&".repeat(MOST + 1))).is_err());
    }

    #[test]
    fn parameters_are_checked() {
        let params = parse(Some("limit=3&pace=7&pace=8&x=-1")).unwrap();
        assert_eq!(whole(&params, "limit", 0..=9), Ok(Some(3)));
        assert_eq!(whole(&params, "none", 0..=9), Ok(None));
        assert!(whole(&params, "limit", 4..=9).unwrap_err().hint.contains("from 4 to 9"));
        assert!(whole(&params, "x", 0..=9).is_err());
        assert!(once(&params, "pace").is_err());
        let error = only(&params, &["limits", "pace", "x"]).unwrap_err();
        assert_eq!(error.more["nearest"], "limits");
    }

    #[test]
    fn durations_have_units() {
        for (text, expected) in [
            ("5s", Some(Duration::from_secs(5))),
            ("250ms", Some(Duration::from_millis(250))),
            ("1m", Some(Duration::from_secs(60))),
            ("1.5", Some(Duration::from_millis(1500))),
            ("", None),
            ("s", None),
            ("5h", None),
            ("-1s", None),
            ("1e9s", None),
        ] {
            assert_eq!(duration(text, "s"), expected, "{text}");
        }
    }
}
