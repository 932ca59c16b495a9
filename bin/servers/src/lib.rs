//! Servers on this machine alone: a private PostgreSQL cluster, an S3 server in this process, librdkafka's mock broker,
//! and Apache Kafka.
//!
//! ```text
//! Postgres    a cluster of its own    ─┐
//! S3Server    a thread, with faults    ├─▶ an address on 127.0.0.1, a folder, an end when it is dropped
//! Broker      a thread of librdkafka   │
//! Kafka       a process, with Java    ─┘
//! ```
//!
//! `pinflow demo` shows the whole way of the data on one machine with them, and the tests start the same ones. Apache
//! Kafka, which needs Java and its jars, is for the tests; the demo has the mock broker.
//! Each listens on 127.0.0.1 on a free port, keeps its files in one directory, and takes both away when it is
//! dropped; a child process ends with this one even when this one is killed (see [`process`]).
//!
//! They are not for production: the S3 server does not fsync, the broker keeps a few megabytes a partition, and the
//! cluster's superuser password stands in its URL.

#![forbid(unsafe_code)]

pub mod broker;
mod error;
pub mod kafka;
mod ports;
pub mod postgres;
pub mod process;
pub mod s3;

pub use broker::Broker;
pub use error::ServerError;
pub use kafka::{Kafka, KafkaOptions};
pub use ports::free_port;
pub use postgres::{Login, Postgres, PostgresOptions};
pub use s3::S3Server;
