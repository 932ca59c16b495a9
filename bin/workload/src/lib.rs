//! Synthetic workloads: what producers send, made from a seed.
//!
//! ```text
//! seed ─▶ generate ─▶ records ─▶ a lake of objects
//!                        │
//! MariaDB ─▶ rows ───────┴─▶ emulate ─▶ a gateway, or Kafka
//! ```
//!
//! [`generate`] makes records and writes them as a lake; [`emulate`] sends them, or rows of existing tables, to a
//! gateway or to Kafka as the users' emulators do; [`progress`] shows on standard error how far such work is.
//!
//! The crate knows nothing of the command line: options come checked, and errors go back typed.

#![forbid(unsafe_code)]

pub mod emulate;
pub mod generate;
pub mod progress;

/// The kinds of records, in the order of their numbers.
pub const KINDS: [&str; 3] = ["pin", "geo", "user"];
