//! What commands print on standard output.

use crate::exit::Failure;
use anyhow::Context;
use std::fmt::Display;
use std::io::{ErrorKind, Write};

/// Prints a text. A reader that is gone, such as `head`, has seen what it wanted, and changes no exit code.
///
/// # Errors
///
/// Whatever else keeps the text from being written, such as a full disk.
pub fn print(text: impl Display) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => Ok(printed.context("cannot write to standard output")?),
    }
}
