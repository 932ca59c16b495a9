//! Why a row of a result is what it is: the posts that it is made of, which of them decide each aggregate, and the rows
//! that stand before it.
//!
//! All joins are by the key of the cleaned tables, so each row that a result groups is made of exactly one post, and
//! each post is in at most one group of each grouping. The queries here are the result's own, taken apart at each GROUP
//! BY: the rows that a grouping reads are joined to the rows that come out of it by the values that are grouped by.
//! Filters, limits and window functions below a grouping are computed over the same rows as in the result, so what they
//! drop is dropped here, too. For the usual result with one GROUP BY over the cleaned tables the posts of a row are one
//! SELECT over them, and the equality with the row's key is a condition on it.
//!
//! These are queries over the cleaned tables, as the result's own: whoever runs them together with a look at the
//! result's table has to do so in one snapshot.

mod ask;
mod block;
mod decide;
mod origin;
mod posts;
mod text;
mod walk;

pub use ask::{Arguments, ColumnWhy, Decides, WhyError, WhyQuery};
pub(super) use block::{Chain, chain};
pub use posts::Why;
