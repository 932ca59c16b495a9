//! What FastAPI says to an item that is wrong, in the words of pydantic and of Python's JSON decoder.

use super::api_error::ApiError;
use super::body::ReadError;
use super::reply::{JSON, Reply};
use http_server::quote::{QUOTED, Quoted, to_json};
use hyper::StatusCode;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

/// The body of an error.
#[derive(Serialize)]
struct Errors<T> {
    detail: T,
}

/// One entry of `detail`.
#[derive(Serialize)]
struct Problem<'a, L, I> {
    #[serde(rename = "type")]
    kind: &'a str,
    loc: L,
    msg: &'a str,
    input: I,
    #[serde(skip_serializing_if = "Option::is_none")]
    ctx: Option<Context<'a>>,
}

#[derive(Serialize)]
struct Context<'a> {
    error: &'a str,
}

/// `{}`
#[derive(Serialize)]
struct Empty {}

/// Why a request is not served, in FastAPI's words.
pub(super) enum FastApiError {
    Api(ApiError),
    /// What is wrong with the body: the entries of `detail`, in JSON.
    Invalid(Vec<Box<RawValue>>),
}

impl From<ApiError> for FastApiError {
    fn from(error: ApiError) -> FastApiError {
        FastApiError::Api(error)
    }
}

impl From<ReadError> for FastApiError {
    fn from(error: ReadError) -> FastApiError {
        FastApiError::Api(error.into())
    }
}

impl FastApiError {
    pub(super) fn reply(&self) -> Reply {
        match self {
            FastApiError::Api(error) => {
                let text = error.to_string();
                let body = to_json(&Errors { detail: Quoted(&text) });
                error.with_headers(Reply::new(error.status(), JSON, body))
            }
            FastApiError::Invalid(problems) => {
                let body = to_json(&Errors { detail: problems });
                Reply::new(StatusCode::UNPROCESSABLE_ENTITY, JSON, body)
            }
        }
    }
}

/// What errors repeat of the input: all of an answer together no more than [`QUOTED`] bytes, `null` for the rest.
pub(super) struct Repeats(usize);

impl Repeats {
    /// Nothing yet.
    pub(super) fn new() -> Repeats {
        Repeats(QUOTED)
    }

    /// An input that is to be repeated, or what stands for it.
    pub(super) fn take<'t>(&mut self, input: &'t str) -> &'t str {
        match self.0.checked_sub(input.len()) {
            Some(left) => {
                self.0 = left;
                input
            }
            None => "null",
        }
    }
}

/// One entry of `detail`; `input` is JSON.
pub(super) fn problem(kind: &str, path: &[&str], message: &str, input: &str) -> Box<RawValue> {
    let input: &RawValue = serde_json::from_str(input).unwrap_or(RawValue::NULL);
    raw(&Problem {
        kind,
        loc: path,
        msg: message,
        input,
        ctx: None,
    })
}

fn raw(problem: &impl Serialize) -> Box<RawValue> {
    to_raw_value(problem).expect("a problem has no keys but names")
}

pub(super) fn invalid(problem: Box<RawValue>) -> FastApiError {
    FastApiError::Invalid(vec![problem])
}

/// A body that is no JSON; the position counts characters.
pub(super) fn invalid_json(position: usize, words: &str) -> FastApiError {
    invalid(raw(&Problem {
        kind: "json_invalid",
        loc: ("body", position),
        msg: "JSON decode error",
        input: Empty {},
        ctx: Some(Context { error: words }),
    }))
}

/// What Python's decoder says where ours stopped.
pub(super) fn decode_error(text: &str, error: &serde_json::Error) -> FastApiError {
    let before: usize = text
        .split_inclusive('\n')
        .take(error.line().saturating_sub(1))
        .map(str::len)
        .sum();
    let mut offset = (before + error.column()).min(text.len());
    let said = error.to_string();
    let end = said.starts_with("EOF");
    if !end {
        offset = offset.saturating_sub(1);
    }
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let last = text[..offset].trim_end().chars().next_back();
    let words = if said.contains("string") && end {
        "Unterminated string starting at"
    } else if said.contains("control character") {
        "Invalid control character at"
    } else if said.contains("trailing characters") {
        "Extra data"
    } else if said.contains("expected `:`") {
        "Expecting ':' delimiter"
    } else if said.contains("key must be a string") || (said.contains("object") && matches!(last, Some('{' | ','))) {
        "Expecting property name enclosed in double quotes"
    } else if said.contains("expected `,`") || said.contains("parsing an object") {
        "Expecting ',' delimiter"
    } else if said.contains("escape") {
        "Invalid \\escape"
    } else {
        "Expecting value"
    };
    invalid_json(text[..offset].chars().count(), words)
}
