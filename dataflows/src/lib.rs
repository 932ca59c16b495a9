//! What is computed: the records and their cleaning, the posts they add up to, and ten results, each with its SQL.
//!
//! The way of a record: [`records::Decoder`] reads the bytes of one record into an [`Event`]; [`build`] keeps what is
//! needed of the latest records of each `ind` together as one row (that is the join) and computes every result of these
//! rows, as its SQL says ([`exec`]). [`naive`] computes the same tables from the same records with a plain scan, for tests and for
//! `verify --replay`.
//!
//! Nothing here knows where records come from or where tables are kept.

#![forbid(unsafe_code)]

pub mod cleaning;
pub mod exec;
pub mod naive;
pub mod records;
pub mod results;
pub mod sql;

pub use cleaning::CLEANED;
pub use exec::{Event, Payload};
pub use records::{
    Block, Chunk, Decoder, Kind, Limits, Marked, Marks, Raw, Reason, Unreadable, kind_of_fields, split_values,
};
pub use results::{Definition, Options, RESULTS, build, definitions_hash};
