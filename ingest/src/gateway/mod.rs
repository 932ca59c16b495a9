//! HTTP gateway to Kafka: four dialects that producers speak already.
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

mod access_log;
mod admin;
mod api_error;
mod arrival;
mod auth;
mod body;
mod budget;
mod budget_lease;
mod calls;
mod client;
mod client_failure;
mod config;
mod connections;
mod encoding;
mod entry;
mod error;
mod fastapi;
mod files;
mod http_errors;
mod kinesis;
mod kinesis_record;
mod media_type;
mod metadata;
mod metrics;
mod openapi;
mod operations;
mod partition;
mod producer;
mod properties;
mod quote;
mod rate;
mod readiness;
mod record;
mod reply;
mod request_id;
mod request_log;
mod rest;
mod rest_v2;
mod rest_v3;
mod rest_v3_item;
mod rest_v3_source;
mod route;
mod scope;
mod send;
mod sequence;
mod server;
mod service;
mod shape;
mod sites;
mod split;
mod state;
mod tls;
mod token_file;
mod topics;
mod unreported;
mod watch;
mod write_timeout;

pub use access_log::AccessLog;
pub use auth::{Caller, Token, Tokens};
pub use budget::RECORD_OVERHEAD;
pub use config::{Field, FieldType, GatewayConfig, Limits, Stream, TlsFiles, TokenSettings};
pub use connections::{Connections, Place};
pub use entry::RequestGuard;
pub use error::GatewayError;
pub use metrics::example_metrics;
pub use properties::check as check_properties;
pub use rate::{Exhausted, Rate};
pub use route::{PrefixError, check_prefix};
pub use scope::{Need, Scope, ScopeError};
pub use server::{Ended, Gateway, Stop};
pub use sites::{HostError, SiteError, Sites, check_host};
