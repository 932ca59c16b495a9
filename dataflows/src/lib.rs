//! What is computed: the records and their cleaning, the posts they add up to, and ten results, each with its SQL.
//!
//! The way of a record: [`records::Decoder`] reads the bytes of one record into an [`Event`]; [`build`] keeps the
//! latest records of each `ind` together as one [`Post`] (that is the join) and feeds the posts to every entry of
//! [`RESULTS`]. [`naive`] computes the same tables from the same records with a plain scan, for tests and for
//! `verify --replay`.
//!
//! Nothing here knows where records come from or where tables are kept.

#![forbid(unsafe_code)]

pub mod cleaning;
pub mod exec;
pub mod naive;
pub mod post;
pub mod records;
pub mod results;
pub mod sql;

pub use cleaning::CLEANED;
pub use post::{Event, Payload, Post};
pub use records::{
    Block, Chunk, Decoder, Kind, Limits, Marked, Marks, Raw, Reason, Unreadable, kind_of_fields, split_values,
};
pub use results::{Definition, Options, RESULTS, build, definitions_hash};
