//! `POST /pin/`, as FastAPI with pydantic answers it: the item echoed, or a list of what is wrong with it.
//!
//! Fields are checked by pydantic's lax rules (`"7"` and `7.0` are whole numbers). Unknown fields are accepted and not
//! echoed. Kafka gets the body as it was sent, unknown fields included.

use super::api_error::ApiError;
use super::body::{self, Body};
use super::config::{Field, FieldType};
use super::fastapi_error::{FastApiError, Repeats, decode_error, invalid, invalid_json, problem};
use super::media_type::MediaType;
use super::record;
use super::reply::Reply;
use super::send::Record;
use super::state::State;
use http_server::quote::QUOTED;
use serde::de::{Deserializer as _, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// A record of the stream with this index.
pub(super) async fn item(
    state: &Arc<State>,
    index: usize,
    media: MediaType,
    incoming: &mut Body,
) -> Result<Reply, FastApiError> {
    let stream = &state.streams[index];
    let missing = || ApiError::NoTopic(stream.name.clone());
    let name = stream.topic.as_deref().ok_or_else(missing)?;
    let limits = &state.limits;
    let taken = body::read(incoming, limits.body_bytes, limits.body_timeout, &state.budget).await?;
    let text = std::str::from_utf8(&taken.bytes);
    let text = text.map_err(|error| invalid_json(error.valid_up_to(), "Invalid UTF-8"))?;
    let echo = check(text, &stream.fields, is_json(media))?;
    let value = record::one_line(text);
    let ind = record::key_of(&value, &state.key_fields).ok().flatten();
    let topic = state.topics.get(name).await;
    let topic = topic.map_err(|error| ApiError::topic(error, &stream.name))?;
    let record = Record {
        ind,
        value: Some(value.as_bytes()),
        ..Record::default()
    };
    let sent = state.send(&topic, record, &Arc::new(taken.permit));
    let length = text.len();
    // Kafka's client has a copy
    drop(value);
    drop(taken.bytes);
    let delivered = state.delivered(&topic, sent).await;
    delivered.map_err(|error| ApiError::delivery(error, &stream.name))?;
    Ok(Reply::json(echo).counted(1, length))
}

/// Whether FastAPI would parse the body: without a type it does.
fn is_json(media: MediaType) -> bool {
    media != MediaType::Other
}

/// The echo of an item, or the answer that says what is wrong.
fn check(text: &str, fields: &[Field], json: bool) -> Result<String, FastApiError> {
    if text.is_empty() {
        return Err(invalid(problem("missing", &["body"], "Field required", "null")));
    }
    let no_object = |input: &str| {
        let message = "Input should be a valid dictionary or object to extract fields from";
        invalid(problem(
            "model_attributes_type",
            &["body"],
            message,
            Repeats::new().take(input),
        ))
    };
    if !json {
        // what is too long to be repeated is not copied either
        let input = if text.len() > QUOTED {
            "null".to_owned()
        } else {
            quoted(text)
        };
        return Err(no_object(&input));
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let values = deserializer.deserialize_any(Values(fields)).and_then(|values| {
        deserializer.end()?;
        Ok(values)
    });
    let values = match values {
        Ok(Some(values)) => values,
        Ok(None) => return Err(no_object(text.trim())),
        Err(error) => return Err(decode_error(text, &error)),
    };
    let (mut echo, mut problems) = (String::with_capacity(text.len() + 2), Vec::new());
    let mut repeats = Repeats::new();
    for (field, value) in fields.iter().zip(values) {
        let path = ["body", &field.name];
        match value.map(RawValue::get) {
            None if field.required => {
                problems.push(problem("missing", &path, "Field required", repeats.take(text.trim())))
            }
            None => {}
            Some("null") if !field.required => append(&mut echo, &field.name, "null"),
            Some(raw) => match convert(raw, field.ty) {
                Ok(value) => append(&mut echo, &field.name, &value),
                Err((kind, message)) => problems.push(problem(kind, &path, message, repeats.take(raw))),
            },
        }
    }
    if !problems.is_empty() {
        return Err(FastApiError::Invalid(problems));
    }
    echo.push_str(if echo.is_empty() { "{}" } else { "}" });
    Ok(echo)
}

fn append(echo: &mut String, name: &str, value: &str) {
    echo.push(if echo.is_empty() { '{' } else { ',' });
    // most names need no escapes, and there are many of them in a request
    if name.bytes().any(|byte| byte < b' ' || matches!(byte, b'"' | b'\\')) {
        echo.push_str(&quoted(name))
    } else {
        echo.extend(["\"", name, "\""])
    }
    echo.push(':');
    echo.push_str(value);
}

/// A value as pydantic makes it, in JSON; or its error's type and message.
fn convert(raw: &str, ty: FieldType) -> Result<Cow<'_, str>, (&'static str, &'static str)> {
    // without escapes it is written as it came
    if ty == FieldType::Text && raw.starts_with('"') && !raw.contains('\\') {
        return Ok(Cow::Borrowed(raw));
    }
    let text = raw
        .starts_with('"')
        .then(|| serde_json::from_str::<String>(raw).unwrap_or_default());
    let is_number = raw.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    match (ty, text) {
        (FieldType::Text, Some(text)) => Ok(quoted(&text).into()),
        (FieldType::Text, None) => Err(("string_type", "Input should be a valid string")),
        (FieldType::Whole, Some(text)) => {
            let digits = text.trim();
            let plain = digits.strip_prefix(['-', '+']).unwrap_or(digits);
            let whole = plain.strip_suffix(".0").unwrap_or(plain);
            let good = !whole.is_empty() && whole.len() <= 4300 && whole.bytes().all(|byte| byte.is_ascii_digit());
            let message = "Input should be a valid integer, unable to parse string as an integer";
            let minus = if digits.starts_with('-') { "-" } else { "" };
            let trimmed = whole.trim_start_matches('0');
            match (good, trimmed) {
                (false, _) => Err(("int_parsing", message)),
                (true, "") => Ok("0".into()),
                (true, trimmed) => Ok(format!("{minus}{trimmed}").into()),
            }
        }
        (FieldType::Whole, None) if is_number => {
            if raw.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit()) {
                return Ok(raw.into());
            }
            let message = "Input should be a valid integer, got a number with a fractional part";
            match raw.parse::<f64>() {
                Ok(number) if number.fract() == 0.0 && number.abs() < 1e15 => Ok(format!("{number:.0}").into()),
                _ => Err(("int_from_float", message)),
            }
        }
        (FieldType::Whole, None) if raw == "true" => Ok("1".into()),
        (FieldType::Whole, None) if raw == "false" => Ok("0".into()),
        (FieldType::Whole, None) => Err(("int_type", "Input should be a valid integer")),
        (FieldType::Number, Some(text)) => {
            let message = "Input should be a valid number, unable to parse string as a number";
            let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
            number
                .map(|number| format!("{number:?}").into())
                .ok_or(("float_parsing", message))
        }
        (FieldType::Number, None) if is_number => {
            let whole = raw.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit());
            Ok(if whole { format!("{raw}.0").into() } else { raw.into() })
        }
        (FieldType::Number, None) if raw == "true" => Ok("1.0".into()),
        (FieldType::Number, None) if raw == "false" => Ok("0.0".into()),
        (FieldType::Number, None) => Err(("float_type", "Input should be a valid number")),
    }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// The values of the declared fields; `None` for what is no object.
struct Values<'f>(&'f [Field]);

macro_rules! no_object {
    ($($visit:ident: $ty:ty),*) => {
        $(fn $visit<E: Error>(self, _: $ty) -> Result<Self::Value, E> { Ok(None) })*
        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> { Ok(None) }
    };
}

impl<'de> Visitor<'de> for Values<'_> {
    type Value = Option<Vec<Option<&'de RawValue>>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    no_object!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values = vec![None; self.0.len()];
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            match self.0.iter().position(|field| field.name == *name) {
                Some(index) => values[index] = Some(map.next_value()?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Some(values))
    }
}

#[cfg(test)]
mod tests {
    use super::super::reply::ReplyBody;
    use super::*;

    fn fields() -> Vec<Field> {
        let field = |name: &str, ty, required| Field {
            name: name.into(),
            ty,
            required,
        };
        vec![
            field("category", FieldType::Text, true),
            field("index", FieldType::Whole, true),
            field("latitude", FieldType::Number, false),
        ]
    }

    fn said(text: &str) -> String {
        match check(text, &fields(), true).map_err(|error| error.reply().body) {
            Ok(echo) => echo,
            Err(ReplyBody::Whole(Some(body))) => String::from_utf8(body.to_vec()).unwrap(),
            Err(_) => panic!("{text}"),
        }
    }

    #[test]
    fn the_item_is_echoed_in_the_models_order_and_types() {
        assert_eq!(
            said(r#"{"index": "07", "extra": [1], "category": "é\u00e9\n"}"#),
            "{\"category\":\"éé\\n\",\"index\":7}"
        );
        assert_eq!(
            said(r#"{"category":"a","index":7.0,"latitude":-3}"#),
            r#"{"category":"a","index":7,"latitude":-3.0}"#
        );
        assert_eq!(
            said(r#"{"category":"a","index":true,"latitude":null}"#),
            r#"{"category":"a","index":1,"latitude":null}"#
        );
    }

    #[test]
    fn what_is_wrong_is_said_in_pydantics_words() {
        assert_eq!(
            said(r#"{"category": 5}"#),
            concat!(
                r#"{"detail":[{"type":"string_type","loc":["body","category"],"msg":"Input should be a valid string","input":5},"#,
                r#"{"type":"missing","loc":["body","index"],"msg":"Field required","input":{"category": 5}}]}"#
            )
        );
        let kinds = [
            (r#""x""#, "int_parsing"),
            ("1.5", "int_from_float"),
            ("[]", "int_type"),
            ("null", "int_type"),
            (r#""""#, "int_parsing"),
        ];
        for (value, kind) in kinds {
            let said = said(&format!(r#"{{"category":"a","index":{value}}}"#));
            assert!(said.contains(&format!("{{\"type\":\"{kind}\"")), "{said}");
        }
        assert!(said("[1]").contains("model_attributes_type"));
        assert!(said("").contains(r#"{"type":"missing","loc":["body"],"msg":"Field required","input":null}"#));
    }

    #[test]
    fn all_errors_together_repeat_no_more_than_a_kibibyte() {
        let body = format!(r#"{{"category":{{"x":"{}"}}}}"#, "x".repeat(600));
        let said = said(&body);
        // the second and third would pass the limit
        assert!(said.len() < 1_300, "{}", said.len());
        assert_eq!(
            (
                said.matches("xxxxx").count() > 0,
                said.matches(r#""input":null"#).count()
            ),
            (true, 1),
            "{said}"
        );
    }

    /// Positions and words are Python's own for these texts.
    #[test]
    fn broken_json_is_reported_as_python_does() {
        for (text, position, words) in [
            ("{", 1, "Expecting property name enclosed in double quotes"),
            ("abc", 0, "Expecting value"),
            (r#"{"a" 1}"#, 5, "Expecting ':' delimiter"),
            (r#"{"a": 1 "b"}"#, 8, "Expecting ',' delimiter"),
            (r#"{"a": 1} x"#, 9, "Extra data"),
            (r#"{"a": }"#, 6, "Expecting value"),
            ("{'a': 1}", 1, "Expecting property name enclosed in double quotes"),
            ("é é", 0, "Expecting value"),
        ] {
            let said = said(text);
            let expected = format!(
                r#"{{"detail":[{{"type":"json_invalid","loc":["body",{position}],"msg":"JSON decode error","input":{{}},"ctx":{{"error":"{words}"}}}}]}}"#
            );
            assert_eq!(said, expected, "{text}");
        }
    }
}
