//! The built program, started with nothing of this process's environment.

use std::process::{Command, Output};

/// Runs it to its end.
pub fn pinflow(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pinflow"))
        .args(arguments)
        .env_clear()
        .output()
        .unwrap()
}
