//! An error's text with its causes.

use std::error::Error;

/// The text of an error and of its sources. A cause that a text names already is not repeated.
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
