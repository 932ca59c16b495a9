//! The text of an error of tokio-postgres: its own is only `db error` or `error connecting to server`, and what happened
//! stands in its sources.

use causes::with_causes;
use std::fmt;
use tokio_postgres::error::{DbError, SqlState};

/// What PostgreSQL answered, or why it could not be reached, in one line: of an answer its message, SQLSTATE, detail and
/// hint; of a lost connection the system's words.
///
/// It has no `source`: its text contains the sources of the error in it.
#[derive(Debug)]
pub struct PostgresError(tokio_postgres::Error);

impl PostgresError {
    /// The SQLSTATE of an answer; none when the connection failed.
    pub fn code(&self) -> Option<&SqlState> {
        self.0.code()
    }

    /// The answer; none when the connection failed.
    pub fn as_db_error(&self) -> Option<&DbError> {
        self.0.as_db_error()
    }

    /// Whether the connection failed: reset, closed, timed out, or answered what is not the protocol. Not so where the
    /// cause is a value of the wrong type, or a password.
    pub(crate) fn is_of_connection(&self) -> bool {
        let cause = std::error::Error::source(&self.0);
        self.code().is_none() && cause.is_none_or(|cause| cause.is::<std::io::Error>())
    }
}

impl From<tokio_postgres::Error> for PostgresError {
    fn from(error: tokio_postgres::Error) -> PostgresError {
        PostgresError(error)
    }
}

impl std::error::Error for PostgresError {}

impl fmt::Display for PostgresError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0.as_db_error() {
            Some(db) => of_answer(db),
            None => {
                let cause = std::error::Error::source(&self.0);
                match cause.and_then(|cause| cause.downcast_ref()) {
                    Some(system) => of_system(system),
                    None => with_causes(&self.0),
                }
            }
        };
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        f.write_str(lines.next().unwrap_or_default())?;
        lines.try_for_each(|line| write!(f, " {line}"))
    }
}

fn of_answer(db: &DbError) -> String {
    let mut text = format!("{} ({})", db.message(), db.code().code());
    for (name, part) in [("detail", db.detail()), ("hint", db.hint())] {
        if let Some(part) = part {
            text.push_str(&format!("; {name}: {part}"));
        }
    }
    text
}

/// `connection refused`: what was being done is said before it.
fn of_system(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => error.kind().to_string(),
    }
}
