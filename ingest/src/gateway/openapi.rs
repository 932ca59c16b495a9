//! The description of all interfaces, in OpenAPI 3.1: `/openapi.json`. It follows the configured streams, and names no
//! topic of Kafka's: who asks for it needs no token.

use super::config::{Field, FieldType, GatewayConfig};
use serde_json::{Map, Value, json};

/// The whole description.
pub(super) fn describe(config: &GatewayConfig) -> String {
    let mut paths = Map::new();
    for stream in config.streams.iter().filter(|stream| stream.topic.is_some()) {
        paths.insert(format!("/{}/", stream.name), item(&stream.name, &stream.fields));
    }
    let mut streams = config.streams.iter().filter(|stream| stream.topic.is_some());
    let stream = streams.next().map_or("pin", |stream| stream.name.as_str());
    // clients may use these whatever the topics are called; strict names know the topics' own
    let alias = config.aliases.first().map(|(alias, _)| alias.as_str());
    let topic = alias.map_or_else(|| format!("example.{stream}"), str::to_owned);
    let stream = alias.unwrap_or(stream);
    for (path, described) in [rest_v2(&topic), rest_v3(&topic), kinesis(stream), operations()]
        .into_iter()
        .flatten()
    {
        paths.insert(path.to_owned(), described);
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "pinflow gateway",
            "version": config.version,
            "description": format!("Four producer interfaces in front of Kafka. {}", prefixes(config)),
        },
        "paths": paths,
        "components": { "securitySchemes": {
            "bearer": { "type": "http", "scheme": "bearer" },
            "key": { "type": "apiKey", "in": "header", "name": "x-api-key" },
        } },
    });
    if !config.tokens.files.is_empty() {
        document["security"] = json!([{ "bearer": [] }, { "key": [] }]);
    }
    document.to_string()
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
        "responses": responses(&[
            ("200", "the item, echoed"), ("404", "the topic does not exist"), ("422", "what is wrong with the body"),
        ]),
    } })
}

fn rest_v2(topic: &str) -> Vec<(&'static str, Value)> {
    let any = json!({});
    let record = |content: &Value| {
        json!({
            "type": "object",
            "properties": { "key": content, "value": content, "partition": { "type": ["integer", "null"], "minimum": 0 } },
            "additionalProperties": false,
        })
    };
    let body = |content: &Value| {
        json!({ "schema": {
            "type": "object",
            "properties": { "records": { "type": "array", "minItems": 1, "items": record(content) } },
            "required": ["records"],
            "additionalProperties": false,
        } })
    };
    let base64 = json!({ "type": ["string", "null"], "contentEncoding": "base64" });
    let content = json!({
        "application/vnd.kafka.json.v2+json": body(&any),
        "application/vnd.kafka.binary.v2+json": body(&base64),
    });
    let request = json!({ "required": true, "content": content });
    let answers = responses(&[
        ("200", "the delivery result of each record"),
        ("400", "no JSON"),
        ("404", "40401 no such topic, 40402 no such partition"),
        ("415", "another content type"),
        ("403", "40301 Kafka does not let the gateway write to the topic"),
        (
            "422",
            "no records, an unknown field, a negative partition, or no base64",
        ),
    ]);
    let produce =
        json!({ "tags": ["REST v2"], "summary": "Produce records", "requestBody": request, "responses": answers });
    vec![
        (
            "/topics",
            json!({ "get": {
            "tags": ["REST v2"], "summary": "Names of topics", "responses": responses(&[("200", "an array of names")]),
        } }),
        ),
        (
            "/topics/{topic}",
            json!({
                "parameters": [parameter("topic", topic)],
                "post": produce,
                "get": {
                    "tags": ["REST v2"],
                    "summary": "A topic's partitions",
                    "responses": responses(&[("200", "the topic"), ("404", "40401 no such topic")]),
                },
            }),
        ),
        (
            "/topics/{topic}/partitions/{partition}",
            json!({
                "parameters": [parameter("topic", topic), {
                    "name": "partition", "in": "path", "required": true, "schema": { "type": "integer" }, "example": 0,
                }],
                "post": produce,
            }),
        ),
    ]
}

fn rest_v3(topic: &str) -> Vec<(&'static str, Value)> {
    let data =
        json!({ "type": "object", "properties": { "type": { "enum": ["JSON", "BINARY", "STRING"] }, "data": {} } });
    let record = json!({ "type": "object", "properties": {
        "key": data,
        "value": data,
        "partition_id": { "type": ["integer", "null"], "minimum": 0 },
        "timestamp": { "type": "string", "format": "date-time" },
        "headers": { "type": "array", "items": {
            "type": "object",
            "properties": { "name": { "type": "string" }, "value": { "type": "string", "contentEncoding": "base64" } },
            "required": ["name"],
        } },
    } });
    let answers = responses(&[
        ("200", "a report for each record"),
        ("400", "no record"),
        ("404", "40403 no such topic"),
        ("413", "the record is too large"),
        ("415", "another content type"),
        ("422", "key or value cannot be read"),
    ]);
    vec![(
        "/v3/clusters/{cluster}/topics/{topic}/records",
        json!({
            "parameters": [parameter("cluster", "any"), parameter("topic", topic)],
            "post": {
                "tags": ["REST v3"],
                "summary": "Produce a stream of records: concatenated JSON objects, one report each",
                "requestBody": { "required": true, "content": { "application/json": { "schema": record } } },
                "responses": answers,
            },
        }),
    )]
}

fn kinesis(topic: &str) -> Vec<(&'static str, Value)> {
    let put = |summary: &str, schema: Value| {
        json!({ "put": {
            "tags": ["Kinesis"],
            "summary": summary,
            "requestBody": { "required": true, "content": { "application/json": { "schema": schema } } },
            "responses": responses(&[
                ("200", "sequence numbers and shards"),
                ("400", "ValidationException, SerializationException, InvalidArgumentException"),
                ("404", "ResourceNotFoundException"),
            ]),
        } })
    };
    let with_stream = |mut path: Value| {
        path["parameters"] = json!([parameter("stream", topic)]);
        path
    };
    let key = json!({ "type": "string", "minLength": 1, "maxLength": 256 });
    let one = json!({
        "type": "object",
        "properties": { "StreamName": { "type": "string" }, "Data": {}, "PartitionKey": key },
        "required": ["Data", "PartitionKey"],
    });
    let entry = json!({
        "type": "object",
        "properties": { "data": { "type": "string" }, "partition-key": key },
        "required": ["data", "partition-key"],
    });
    let many = json!({
        "type": "object",
        "properties": { "records": { "type": "array", "minItems": 1, "maxItems": 500, "items": entry } },
        "required": ["records"],
    });
    let shards = json!({ "type": "object", "properties": { "ShardCount": { "type": "integer", "minimum": 1, "maximum": 10000 } } });
    vec![
        (
            "/streams",
            json!({ "get": {
            "tags": ["Kinesis"], "summary": "Names of streams", "responses": responses(&[("200", "the names")]),
        } }),
        ),
        (
            "/streams/{stream}",
            with_stream(json!({
                "get": {
                    "tags": ["Kinesis"],
                    "summary": "A stream's shards",
                    "responses": responses(&[("200", "the stream"), ("404", "ResourceNotFoundException")]),
                },
                "post": {
                    "tags": ["Kinesis"],
                    "summary": "Make a stream",
                    "requestBody": { "required": false, "content": { "application/json": { "schema": shards } } },
                    "responses": responses(&[
                        ("200", "made"), ("400", "ResourceInUseException, ValidationException"), ("403", "AccessDeniedException"),
                    ]),
                },
                "delete": {
                    "tags": ["Kinesis"],
                    "summary": "Delete a stream",
                    "responses": responses(&[
                        ("200", "deleted"), ("403", "AccessDeniedException"), ("404", "ResourceNotFoundException"),
                    ]),
                },
            })),
        ),
        ("/streams/{stream}/record", with_stream(put("One record", one))),
        ("/streams/{stream}/records", with_stream(put("Up to 500 records", many))),
    ]
}

fn operations() -> Vec<(&'static str, Value)> {
    let get = |summary: &str, statuses: &[(&str, &str)]| json!({ "get": { "tags": ["operations"], "summary": summary, "responses": responses(statuses) } });
    // no token is asked for
    let open = |summary: &str, statuses: &[(&str, &str)]| {
        let mut described = get(summary, statuses);
        described["get"]["security"] = json!([]);
        if let Some(responses) = described["get"]["responses"].as_object_mut() {
            responses.remove("401");
        }
        described
    };
    vec![
        ("/healthz", open("The process lives", &[("200", "ok")])),
        (
            "/readyz",
            open("Kafka can be reached", &[("200", "ready"), ("503", "why not")]),
        ),
        ("/metrics", get("OpenMetrics", &[("200", "the metrics")])),
        ("/version", open("Name and version", &[("200", "both")])),
    ]
}

fn parameter(name: &str, example: &str) -> Value {
    json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 }, "example": example })
}

/// Responses by status, and those that every path may give.
fn responses(statuses: &[(&str, &str)]) -> Value {
    let common = [
        (
            "401",
            "no valid token; 40101: Kafka does not accept the credentials of the gateway",
        ),
        (
            "403",
            "the scopes of the token, or Kafka, do not allow it, or it is a cross-site request",
        ),
        ("408", "the body did not come in time"),
        ("413", "the body is too large"),
    ];
    let common = common.into_iter().chain([
        (
            "429",
            "too much in flight, or too many records with this token: Retry-After",
        ),
        ("503", "Kafka does not answer: Retry-After"),
    ]);
    let mut all = Map::new();
    for (status, description) in common.chain(statuses.iter().copied()) {
        all.insert(status.to_owned(), json!({ "description": description }));
    }
    Value::Object(all)
}
