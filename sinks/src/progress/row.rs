//! The one row of the table `progress`.

use crate::error::SinkError;

/// The row of the table that has one.
pub(crate) fn one_row<'r>(schema: &str, rows: &'r [tokio_postgres::Row]) -> Result<&'r tokio_postgres::Row, SinkError> {
    match rows {
        [row] => Ok(row),
        [] => Err(missing_row(schema)),
        _ => Err(SinkError::Progress {
            schema: schema.into(),
            what: "it has more than one row".into(),
        }),
    }
}

/// The error when that row is not there.
pub(crate) fn missing_row(schema: &str) -> SinkError {
    SinkError::Progress {
        schema: schema.into(),
        what: "its row is missing".into(),
    }
}
