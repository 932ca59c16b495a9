//! What is known of the log, and what follows from it: decisions without input or output.
//!
//! | module | decides |
//! |---|---|
//! | [`generations`] | which record of two partitions is newer when partitions were added |
//! | [`growth`] | what has changed between two looks at Kafka |
//! | [`hand_over`] | what Kafka has to supply after history, and what is lost |
//! | [`holes`] | which holes of history hold no record |
//! | [`identity`] | whether a topic is still the one that the tables were made of |
//! | [`persisted`] | which records of an object the tables hold already |
//! | [`sparse`] | where the lines of an object with holes inside stand |
//!
//! The coordinator and the readers ask, and do what comes out. A property test (`model`) drives all of it with random
//! histories of a log against a model of Kafka and of the lake.

pub mod generations;
pub mod growth;
pub mod hand_over;
pub mod holes;
pub mod identity;
#[cfg(test)]
mod model;
pub mod persisted;
pub mod sparse;
