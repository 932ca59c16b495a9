//! Incremental operators on timely and differential-dataflow: the latest record of each key, counts, sums, distinct
//! counts, the greatest value, ranks with ties, exact medians and percentiles.
//!
//! ```text
//!  records ──▶ latest ──▶ rows ──┬──▶ count ───▶ rank, top ──▶ changed rows
//!             (by key)           ├──▶ greatest ─▶ rank           of a result
//!                                ├──▶ distinct ─▶ count
//!                                ├──▶ median, ordered
//!                                └──▶ gather (to one worker)
//! ```
//!
//! The module of an operator states its contract: what it requires of its input, what its output accumulates to at the
//! close of each epoch, and what a change costs. An operator acts at the close of an epoch, in order, whatever the order of
//! the records; records of later epochs may arrive early, several epochs may close at once, and time may pass without
//! records. No operator depends on the number of workers, except to save work.
//!
//! Time is `u64`, a total order, because epochs are numbered by one coordinator and close one after the other: an
//! operator keeps the present alone, without the times at which it came about. Operators cannot be used within an
//! iteration, or in any scope whose timestamps are partially ordered.
//!
//! Every operator has a `name`, which timely's logs show, and those that exchange records take a [`Routing`]. The values
//! that they compute with (positions, names, tuples, tables) are those of the crate [`values`]; no operator knows the
//! kinds of records.

#![forbid(unsafe_code)]

mod combine;
pub mod count;
pub mod distinct;
mod epochs;
pub mod fold;
pub mod gather;
pub mod greatest;
mod keyed;
pub mod latest;
pub mod median;
mod order;
pub mod ordered;
mod ordered_group;
pub mod rank;
mod ranked_group;
pub mod route;
mod sorted;
pub mod state_size;
pub mod top;

pub use count::count;
pub use distinct::distinct_count;
pub use fold::fold;
pub use gather::gather;
pub use greatest::greatest;
pub use latest::{Event, Slots, latest};
pub use median::{Median, median};
pub use ordered::ordered;
pub use rank::{Keep, rank};
pub use ranked_group::Name;
pub use route::{Key, Route, Routing};
pub use state_size::{StateSize, StateSizeBuilder};
pub use top::top;
pub use values::{
    Column, ColumnType, Footprint, Ind, Interner, Offset, Packed64, Partition, Per, Position, PositionError, Row,
    Symbol, Table, Tuple, Value,
};
pub use values::{footprint, position, symbol, table, tuple};
