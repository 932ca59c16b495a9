//! Incremental building blocks that know no pins: the latest record of each key, counts, distinct counts, the
//! greatest value, ranks with ties, exact medians; and the vocabulary they share (positions, names, tables).

#![forbid(unsafe_code)]

pub mod position;
pub mod symbol;
pub mod table;

pub use position::{Position, PositionError};
pub use symbol::Symbol;
pub use table::{Column, ColumnType, Row, Table, Value};
