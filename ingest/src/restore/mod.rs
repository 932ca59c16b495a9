//! From the lake back to Kafka: the records of each partition in the order of their offsets, into the partition that
//! they came from.
//!
//! The way of a restore: `plan` lists the lake and refuses one that lacks records; `claim` keeps other restores of the
//! same topics away; `target` looks at the topics, which must be empty or hold what an earlier restore has written;
//! `stream` reads a partition in order, and `line` makes the record of each line; `write` sends them in windows through
//! a `producer`; `compare` reads all of it back. `headers` names the place in the lake that each record comes from, which
//! is all that a restore needs to go on after an interruption.
//!
//! Nothing here knows what a record means: the caller says which key a value has, and what a delete looks like
//! ([`Meaning`]). The lake keeps neither timestamps nor headers, and of keys only those of deletes.

mod claim;
mod compare;
mod error;
mod headers;
mod line;
mod options;
mod plan;
mod producer;
mod report;
mod run;
mod stream;
mod target;
mod timeouts;
mod write;

pub use error::{RestoreError, Wrong};
pub use headers::{OFFSET_HEADER, RESTORED_HEADER};
pub use options::{Meaning, Observer, Pass, RestoreOptions, RestoreTopic};
pub use producer::check_properties;
pub use report::{PartitionReport, RestoreReport};
pub use run::restore;
