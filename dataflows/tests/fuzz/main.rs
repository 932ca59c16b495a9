//! Records and their fields, read from any bytes: the same as plain references read from them.

#[path = "../../../tests/src/byte_fuzz.rs"]
mod byte_fuzz;
mod cleaning;
mod records;
mod reference;
mod values;
