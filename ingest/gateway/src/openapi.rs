//! The description of all interfaces, in OpenAPI 3.1: `/openapi.json`. It follows the configured streams, and names no
//! topic of Kafka's: who asks for it needs no token.

use super::config::{Field, FieldType, GatewayConfig};
use serde_json::{Map, Value, json};

/// The paths that are the same for every configuration.
const TEMPLATE: &str = include_str!("openapi.json");

/// What every request may be answered with, where its path says nothing else.
const COMMON: [(&str, &str); 8] = [
    ("400", "the body is not what its Content-Encoding says"),
    (
        UNAUTHORIZED,
        "no valid token; 40101: Kafka does not accept the credentials of the gateway",
    ),
    (
        "403",
        "the scopes of the token, or Kafka, do not allow it, or it is a cross-site request",
    ),
    ("408", "the body did not come in time"),
    ("413", "the body is too large"),
    ("415", "the body is compressed in another way than with gzip"),
    (
        "429",
        "too much in flight, or too many records with this token: Retry-After",
    ),
    ("503", "Kafka does not answer: Retry-After"),
];
const UNAUTHORIZED: &str = "401";

/// The whole description.
pub(super) fn describe(config: &GatewayConfig) -> String {
    let mut document: Value = serde_json::from_str(TEMPLATE).expect("the template is JSON");
    document["info"]["version"] = json!(config.version);
    document["info"]["description"] = json!(format!("Producer interfaces in front of Kafka. {}", prefixes(config)));
    if !config.tokens.files.is_empty() {
        document["security"] = json!([{ "bearer": [] }, { "key": [] }, { "basic": [] }]);
    }
    let mut streams = config.streams.iter().filter(|stream| stream.topic.is_some());
    for stream in streams.clone() {
        document["paths"][format!("/{}/", stream.name)] = item(&stream.name, &stream.fields);
    }
    let stream = streams.next().map_or("pin", |stream| stream.name.as_str());
    // clients may use these whatever the topics are called; strict names know the topics' own
    let alias = config.aliases.first().map(|(alias, _)| alias.as_str());
    let topic = alias.map_or_else(|| format!("example.{stream}"), str::to_owned);
    let examples = [("topic", topic.as_str()), ("stream", alias.unwrap_or(stream))];
    let paths = document["paths"].as_object_mut().expect("the template has paths");
    for path in paths.values_mut().filter_map(Value::as_object_mut) {
        for (name, described) in path {
            if name == "parameters" {
                add_examples(described, &examples);
            } else {
                add_common_responses(described);
            }
        }
    }
    document.to_string()
}

/// Shows a value of each parameter of these names.
fn add_examples(parameters: &mut Value, examples: &[(&str, &str)]) {
    for parameter in parameters.as_array_mut().into_iter().flatten() {
        if let Some((_, example)) = examples.iter().find(|(name, _)| parameter["name"] == *name) {
            parameter["example"] = json!(example);
        }
    }
}

/// Adds what every request may be answered with; where no token is required none is refused.
fn add_common_responses(operation: &mut Value) {
    let needs_no_token = operation["security"].as_array().is_some_and(Vec::is_empty);
    let Some(responses) = operation["responses"].as_object_mut() else {
        return;
    };
    for (status, description) in COMMON {
        if status == UNAUTHORIZED && needs_no_token {
            continue;
        }
        let response = json!({ "description": description });
        responses.entry(status).or_insert(response);
    }
}

/// What may stand before the paths.
fn prefixes(config: &GatewayConfig) -> &'static str {
    match config.prefixes.as_deref() {
        None => "A stage or another prefix of one segment may stand before the paths of the interfaces.",
        Some([]) => "Nothing may stand before the paths of the interfaces.",
        Some(_) => "One of the configured prefixes may stand before the paths of the interfaces.",
    }
}

fn item(name: &str, fields: &[Field]) -> Value {
    let schema = |field: &Field| {
        let ty = match field.ty {
            FieldType::Text => "string",
            FieldType::Whole => "integer",
            FieldType::Number => "number",
        };
        (
            field.name.clone(),
            if field.required {
                json!({ "type": ty })
            } else {
                json!({ "type": [ty, "null"] })
            },
        )
    };
    let properties: Map<String, Value> = fields.iter().map(schema).collect();
    let required: Vec<&str> = fields
        .iter()
        .filter(|field| field.required)
        .map(|field| field.name.as_str())
        .collect();
    let model = json!({ "type": "object", "properties": properties, "required": required });
    let body = json!({ "required": true, "content": { "application/json": { "schema": model } } });
    json!({ "post": {
        "tags": ["FastAPI"],
        "summary": format!("One {name} record"),
        "requestBody": body,
        "responses": {
            "200": { "description": "the item, echoed" },
            "404": { "description": "the topic does not exist" },
            "422": { "description": "what is wrong with the body" },
        },
    } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_says_what_it_may_be_answered_with() {
        let template: Value = serde_json::from_str(TEMPLATE).unwrap();
        let paths = template["paths"].as_object().unwrap();
        for (path, described) in paths {
            for (method, operation) in described.as_object().unwrap() {
                if method == "parameters" {
                    continue;
                }
                let mut operation = operation.clone();
                let done = ["200", "207"].map(|status| operation["responses"][status].is_object());
                assert!(done.contains(&true), "{method} {path}");
                add_common_responses(&mut operation);
                let is_open = operation["security"].is_array();
                assert_eq!(operation["responses"]["401"].is_object(), !is_open, "{method} {path}");
                assert!(operation["responses"]["503"].is_object(), "{method} {path}");
            }
        }
    }
}
