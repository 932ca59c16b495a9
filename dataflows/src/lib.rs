//! What is computed: the records and their cleaning, and results, each a file of SQL.
//!
//! The way of a record: [`records::Decoder`] reads the bytes of one record into an [`Event`]; [`Results::build`] keeps
//! what is needed of the latest records of each `ind` together as one row (that is the join) and computes every result
//! of these rows, as its SQL says ([`exec`]). [`State`] computes the same tables from the same records by plain loops,
//! for tests and for `verify --replay`.
//!
//! Nothing here knows where records come from or where tables are kept.

#![forbid(unsafe_code)]

pub mod cleaning;
pub mod exec;
pub mod explain;
pub mod records;
pub mod results;
pub mod sql;
mod state;

pub use cleaning::CLEANED;
pub use exec::{Event, Payload};
pub use explain::Explanation;
pub use records::{
    Block, Chunk, Decoder, Kind, Limits, Marked, Marks, Raw, Reason, Unreadable, kind_of_fields, split_values,
};
pub use results::{Definition, Results};
pub use sql::Options;
pub use state::State;
