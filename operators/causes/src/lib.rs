//! The text of an error with its causes, printed in one way wherever an error is shown: by a command, in a log line, in
//! a message to another process.
//!
//! An error of this workspace says in its own text what failed and on which object; what caused it is its `source`.

#![forbid(unsafe_code)]

use std::error::Error;

/// The text of an error and of its sources, from the outermost to the innermost, separated by `: `. A cause that the
/// text before it contains already is not repeated: errors of other crates often contain their own causes.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let message = inner.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_is_named_once() {
        let error = anyhow::anyhow!("refused")
            .context("connect: refused")
            .context("cannot read a");
        assert_eq!(with_causes(error.as_ref()), "cannot read a: connect: refused");
    }
}
