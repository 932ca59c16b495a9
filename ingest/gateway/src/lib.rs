//! HTTP gateway to Kafka: the dialects that producers speak already.
//!
//! ```text
//!  HTTP ──▶ http_server ──▶ client ──▶ service ──▶ fastapi, rest_v2, rest_v3, kinesis ──▶ producer ──▶ Kafka
//!            connections,    a head     route,      a dialect each                          │
//!            TLS, tokens     within     admit         ▲     body: within the budget         │
//!                            the budget               └──── delivered, reply ◀──────────────┘
//! ```
//!
//! | files | contents |
//! |---|---|
//! | `server`, `handshake`, `client`, `arrival`, `http_errors` | the life of a connection, from its first byte to its last |
//! | `service`, `route`, `target`, `prefix`, `api_error`, `reply` | a request: where it goes, who may send it, why it is refused |
//! | `fastapi*`, `rest_v2`, `rest_v3*`, `kinesis*`, `openapi` | the dialects |
//! | `body`, `content_encoding`, `budget*`, `unreported`, `calls` | what requests may hold, together and each |
//! | `record`, `shape`, `split`, `encoding`, `media_type`, `partition`, `placement`, `sequence` | one record: its key, its form, its place |
//! | `topics`, `metadata`, `admin`, `producer`, `properties`, `client_failure` | Kafka |
//! | `access_log`, `request_log`, `metrics`, `operations`, `readiness`, `watch` | what operators see |
//!
//! What a client sees is exactly what its old server said (`fastapi`, `rest_v2`, `rest_v3`, `kinesis`); what
//! all of them share is the promise that an answer of success follows the acknowledgement of all replicas in sync.
//! Everything is bounded: bodies, bytes in flight, connections, and how long anything may take.
//!
//! The streams ([`Stream`]: a name, a topic, the fields of a record) are handed in; nothing here knows what a record
//! means. A value is stored as it was sent. The one thing looked for inside is the field that makes its key, so that
//! all records of one key stay in one partition.
//!
//! It keeps no state of its own: sequence numbers are Kafka's offsets, and a restart loses only what was never
//! acknowledged. It does not read records, does not deduplicate retries, and does not transform.

#![forbid(unsafe_code)]

mod access_log;
mod admin;
mod api_error;
mod arrival;
mod body;
mod budget;
mod budget_lease;
#[cfg(test)]
#[path = "../../../tests/src/byte_fuzz.rs"]
mod byte_fuzz;
mod calls;
mod client;
mod client_failure;
mod config;
mod content_encoding;
mod encoding;
mod error;
mod fastapi;
mod fastapi_error;
mod handshake;
mod http_errors;
mod kinesis;
mod kinesis_api;
mod kinesis_api_error;
mod kinesis_api_streams;
mod kinesis_call;
mod kinesis_error;
mod kinesis_form;
mod kinesis_input;
mod kinesis_put;
mod kinesis_record;
mod kinesis_request;
mod kinesis_shards;
mod kinesis_streams;
mod media_type;
mod metadata;
mod metrics;
mod openapi;
mod operations;
mod partition;
mod placement;
#[cfg(test)]
mod plain;
mod prefix;
mod producer;
mod properties;
mod readiness;
mod record;
mod reply;
mod request_log;
mod rest;
mod rest_v2;
mod rest_v3;
mod rest_v3_batch;
mod rest_v3_item;
mod rest_v3_links;
mod rest_v3_record;
mod rest_v3_source;
mod rest_v3_view;
mod route;
mod send;
mod sequence;
mod server;
mod service;
mod shape;
mod split;
mod state;
mod target;
mod topics;
mod unreported;
mod watch;

pub use access_log::AccessLog;
pub use budget::RECORD_OVERHEAD;
pub use config::{Field, FieldType, GatewayConfig, Limits, Stream};
pub use error::GatewayError;
pub use metrics::example_metrics;
pub use placement::{key_in_value, partition_of, topic_of_stream};
pub use prefix::{PrefixError, check_prefix};
pub use properties::check as check_properties;
pub use server::{Ended, Gateway, Stop};
