//! Bytes with a log position, from anywhere.
//!
//! A source hands over records as bytes together with (topic, partition, offset); topics are numbered by the caller,
//! and nothing here knows what a record means.

pub mod archive;
pub mod coverage;
mod failpoint;
pub mod gateway;
pub mod kafka;
pub mod lake;
