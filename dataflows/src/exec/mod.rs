//! Results from records: the plan of a catalogue as one dataflow.
//!
//! The way of a record: a [`Layout`] says what is kept of it, in few bits; the latest records of a key are one row
//! (`row`); each relation's rows are read by one operator (`project`), which computes the expressions of all its
//! readers over chunks of rows (`program`, `vector`); and each node of the plan that keeps state is one or several
//! operators of the crate `operators` (`fold`, `rank`).
//!
//! What a plan means is defined by [`crate::sql::eval`]; nothing here knows which kinds of records there are: that is
//! the [`Schema`](crate::sql::Schema)'s.

mod build;
mod fold;
mod groups;
mod kept;
mod layout;
mod needs;
mod program;
mod project;
mod rank;
mod relations;
mod row;
mod steps;
mod straight;
mod sums;
mod vector;

pub(crate) use build::post;
pub use build::{ROOM, build, explain};
pub use kept::Layout;
#[cfg(test)]
pub(crate) use kept::halves;
pub use row::{Payload, Wide};
pub use steps::{Cost, Step};
pub(crate) use straight::{Columns, Straight};

/// One record on its way into the rows.
pub type Event = operators::latest::Event<Payload>;
