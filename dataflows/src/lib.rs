//! What is computed: records and their cleaning, and results, each defined by a file of SQL.
//!
//! ```text
//!  bytes ──▶ records::Decoder ──▶ Event ──▶ latest ──▶ one row a post ──▶ exec ──▶ changed rows of each result
//!               (cleaning)                  (the join)                     ▲
//!                                               result.sql ──▶ sql ──▶ plan┘
//! ```
//!
//! | module | contents |
//! |---|---|
//! | [`records`] | one record from its bytes: a fast scanner, and the reference decoder for unusual forms |
//! | [`cleaning`] | what each field becomes, and the cleaned tables |
//! | [`sql`] | the text of a result: parsed, bound, proved free of run-time errors, planned |
//! | [`exec`] | plans as one dataflow, in which equal parts of several results are one operator |
//! | [`Results`] | the compiled results of a run |
//! | [`State`] | the same tables from the same records by plain loops, for tests and for `verify --replay` |
//!
//! Nothing here depends on where records come from or where tables are stored.

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
