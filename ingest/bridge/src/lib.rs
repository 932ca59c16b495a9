//! A Kinesis stream into Kafka: each record once, in order, with its shard and its sequence number.
//!
//! ```text
//!             ListShards                 GetRecords                      one transaction
//!  Kinesis ──▶ plan: which shards ──▶ readers, one a shard ──▶ session ──▶ records and positions ──▶ Kafka
//!                may be read            within the budget                       │
//!                  ▲                                                            ▼
//!                  └──────────── positions, read at the start ◀──── topic of positions
//! ```
//!
//! | files | contents |
//! |---|---|
//! | `config`, `error`, `observer` | what a bridge is told, why it ends, what it shows |
//! | `kinesis`, `failure`, `patience` | the requests to Kinesis, and what their failures mean |
//! | `shard`, `plan`, `reader` | a shard, the order of shards, and the task that reads one |
//! | `positions`, `positions_topic` | how far each shard was copied, and where that is kept |
//! | `aggregated`, `route` | a record: what is packed in it, where it goes |
//! | `producer`, `properties` | transactions |
//! | `session`, `session_error`, `run` | the copy while all is well, and what follows when something is not |
//!
//! A transaction contains records and how far they take each shard, so a record is in Kafka, for readers of committed
//! records, exactly if its position is. The transactional id is that of the stream's positions: a second bridge of them
//! fences the first one. A child shard is read when all of its parents are at their end, so that records of one
//! partition key keep their order while a stream is resharded.
//!
//! Nothing here depends on what a record means: kinds, topics and names of key fields are handed in, and the gateway's
//! own functions place records, so that both put a key into the same partition.

#![forbid(unsafe_code)]

mod aggregated;
mod config;
mod error;
mod failure;
mod kinesis;
mod observer;
mod patience;
mod plan;
mod positions;
mod positions_topic;
mod producer;
mod properties;
mod reader;
mod route;
mod run;
mod session;
mod session_error;
mod shard;

pub use config::{Beginning, BridgeConfig, KinesisConfig};
pub use error::{BridgeError, RequestError};
pub use observer::{Copied, Observer};
pub use properties::check as check_properties;
pub use run::bridge;
