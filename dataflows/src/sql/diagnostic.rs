//! What is wrong with a file, where, and what to write instead.

use std::fmt;

/// A place in a file: both count from 1, the column in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One error: what is not accepted, where, and why. Displayed as `file:line:column: message`, the hint on a line of
/// its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// The file, as its name was given.
    pub file: String,
    /// Where in the file.
    pub position: Position,
    /// What is wrong.
    pub message: String,
    /// What to write instead, where one can say.
    pub hint: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.position, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Diagnostic {}

/// An error of a file that is being compiled, without the file's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fault {
    pub position: Position,
    pub message: String,
    pub hint: Option<String>,
}

impl Fault {
    pub fn new(position: Position, message: impl Into<String>) -> Fault {
        Fault {
            position,
            message: message.into(),
            hint: None,
        }
    }

    pub fn hint(self, hint: impl Into<String>) -> Fault {
        Fault {
            hint: Some(hint.into()),
            ..self
        }
    }

    pub fn of(self, file: &str) -> Diagnostic {
        Diagnostic {
            file: file.to_owned(),
            position: self.position,
            message: self.message,
            hint: self.hint,
        }
    }
}

/// What a step of the compiler gives: a value or one error.
pub(crate) type Checked<T> = Result<T, Fault>;
