//! The media types that requests come with.

use hyper::header::{CONTENT_TYPE, HeaderMap};

/// The media type of a request's body, as far as the dialects tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MediaType {
    /// The request names none.
    Absent,
    /// It names nothing.
    Empty,
    /// `application/json`
    Json,
    /// `application/vnd.kafka.json.v2+json`
    KafkaJson,
    /// `application/vnd.kafka.binary.v2+json`
    KafkaBinary,
    /// Another `application/…+json`
    OtherJson,
    Other,
}

impl MediaType {
    /// Parameters and case do not matter.
    pub(super) fn of(headers: &HeaderMap) -> MediaType {
        let Some(value) = headers.get(CONTENT_TYPE) else {
            return MediaType::Absent;
        };
        let value = value.as_bytes();
        let end = value.iter().position(|byte| *byte == b';').unwrap_or(value.len());
        let media = value[..end].trim_ascii();
        let is = |name: &str| media.eq_ignore_ascii_case(name.as_bytes());
        let begins = |name: &str| {
            media
                .get(..name.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
        };
        let ends = |name: &str| {
            media.len() >= name.len() && media[media.len() - name.len()..].eq_ignore_ascii_case(name.as_bytes())
        };
        match () {
            () if is("application/vnd.kafka.json.v2+json") => MediaType::KafkaJson,
            () if is("application/json") => MediaType::Json,
            () if is("application/vnd.kafka.binary.v2+json") => MediaType::KafkaBinary,
            () if media.is_empty() => MediaType::Empty,
            () if begins("application/") && ends("+json") => MediaType::OtherJson,
            () => MediaType::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_parameters_do_not_matter() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, text.parse().unwrap());
            MediaType::of(&headers)
        };
        assert_eq!(MediaType::of(&HeaderMap::new()), MediaType::Absent);
        assert_eq!(of("Application/JSON ; charset=utf-8"), MediaType::Json);
        assert_eq!(of("application/vnd.kafka.json.v2+json"), MediaType::KafkaJson);
        assert_eq!(of(" application/vnd.kafka.Binary.v2+json"), MediaType::KafkaBinary);
        assert_eq!(of("application/problem+json"), MediaType::OtherJson);
        assert_eq!(of(";x"), MediaType::Empty);
        for other in ["text/plain", "json", "application/jsonx", "+json", "application/x"] {
            assert_eq!(of(other), MediaType::Other, "{other}");
        }
    }
}
