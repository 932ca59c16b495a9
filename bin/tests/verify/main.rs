//! `verify` against real tables: it finds what hands have edited, exactly that, and mends it.

mod edits;
mod fence;
mod kafka;
mod log;
#[path = "../program/mod.rs"]
mod program;
mod world;
