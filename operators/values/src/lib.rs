//! Plain values and the structures that hold them, without a dataflow: tables and their rows, interned names, log
//! positions with their offsets and partitions, tuples of a shape chosen at run time, packed integers, and the hash
//! index under all keyed state.
//!
//! ```text
//! a record ─▶ Position (generation, Partition, Offset), Ind
//!          ─▶ Row of a Table ─▶ Tuple, packed integers, Symbol (interned names) ─▶ index: state by key
//! ```
//!
//! Operators compute with these values and sinks write them, so they are a crate of their own: a program that only
//! writes tables does not compile a dataflow system.

#![forbid(unsafe_code)]

pub mod footprint;
pub mod ind;
pub mod index;
mod number;
mod offset;
pub mod packed;
pub mod packed_positions;
pub mod partition;
pub mod position;
pub mod symbol;
pub mod table;
pub mod tuple;

pub use footprint::{Footprint, Per};
pub use ind::Ind;
pub use index::Index;
pub use number::NumberError;
pub use offset::Offset;
pub use packed::Packed64;
pub use partition::Partition;
pub use position::{Position, PositionError};
pub use symbol::{Interner, Symbol};
pub use table::{Column, ColumnType, Row, Table, Value};
pub use tuple::Tuple;
