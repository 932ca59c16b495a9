//! Why nothing was exported.

use engine::Class;
use ingest::lake::LakeError;
use parquet::errors::ParquetError;
use sinks::SinkError;

/// Why nothing was exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The tables could not be read.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The target could not be read or written.
    #[error(transparent)]
    Target(#[from] LakeError),
    /// A system call at the start failed.
    #[error("cannot start the I/O threads")]
    Start {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The tables are empty because nothing was committed yet.
    #[error("nothing to export: schema {schema} has no commit yet")]
    NoCommit {
        /// The schema.
        schema: String,
    },
    /// There are no cleaned tables.
    #[error(
        "schema {schema} was computed with --cleaned off, so there are no cleaned tables to export: start the engine \
         with --cleaned postgres"
    )]
    NotKept {
        /// The schema.
        schema: String,
    },
    /// Something else stands where the manifest would.
    #[error("{url}/{manifest} is not the manifest of an export ({why}): use a folder of its own as --to")]
    NotAnExport {
        /// The target.
        url: String,
        /// The manifest's name.
        manifest: &'static str,
        /// How it shows.
        why: String,
    },
    /// The target belongs to another schema.
    #[error("{url} holds an export of schema {found}, not {schema}: use another --to, or remove its {manifest}")]
    OtherSchema {
        /// The target.
        url: String,
        /// The schema there.
        found: String,
        /// The schema that was to be exported.
        schema: String,
        /// The manifest's name.
        manifest: &'static str,
    },
    /// A table cannot be stored as Parquet.
    #[error("cannot write {table} as Parquet")]
    Format {
        /// The table.
        table: &'static str,
        /// Why not.
        #[source]
        source: ParquetError,
    },
    /// A column whose values have no form in Parquet here.
    #[error("column {column} of {table} is of a type that is not exported: {ty}")]
    Type {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// Its type.
        ty: &'static str,
    },
    /// A file was removed after it was written and before it was published.
    #[error("{key} is gone before it was published: is the target cleared by something else? start again")]
    Vanished {
        /// The file.
        key: String,
    },
    /// Other exports replaced the manifest again and again.
    #[error("{url} was replaced by other exports {times} times while this one was being published: start again")]
    Contended {
        /// The target.
        url: String,
        /// How often.
        times: usize,
    },
    /// It was told to stop.
    #[error("stopped before everything was written: nothing was published")]
    Stopped,
}

impl ExportError {
    /// What another attempt can do.
    pub fn class(&self) -> Class {
        match self {
            ExportError::Sink(error) => Class::of_sink(error),
            ExportError::NotKept { .. } | ExportError::NotAnExport { .. } | ExportError::OtherSchema { .. } => {
                Class::Usage
            }
            _ => Class::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_other_attempt_changes_is_a_fault_of_usage() {
        let schema = || "s".to_owned();
        assert_eq!(ExportError::NotKept { schema: schema() }.class(), Class::Usage);
        assert_eq!(ExportError::NoCommit { schema: schema() }.class(), Class::Failed);
        let no_tables = SinkError::NoTables { schema: schema() };
        assert_eq!(ExportError::from(no_tables).class(), Class::Failed);
        assert_eq!(ExportError::Stopped.class(), Class::Failed);
    }
}
