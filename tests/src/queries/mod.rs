//! Random results and random data for them: what the meaning of SQL here is compared with PostgreSQL's on.

pub mod choices;
pub mod data;
pub mod expr;
pub mod mutate;
pub mod partitions;
pub mod query;

pub use choices::{Choices, reduce};
pub use data::{Data, data};
pub use query::{Accepted, Queries, accepted};
