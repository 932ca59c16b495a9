//! What can go wrong, classed once: connect again, try again, or stop.

use crate::conninfo::ConninfoError;
use crate::postgres_error::PostgresError;
use std::path::PathBuf;
use tokio_postgres::error::SqlState;

/// Everything the sinks can fail with. [`SinkError::class`] says what to do about it; the sink itself has already
/// dealt with the first two classes, so an error that reaches a caller means: stop.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The connection string cannot be read.
    #[error("postgres url (expected postgres://user@host:port/database)")]
    Url {
        /// Which rule is broken; nothing of the string is repeated.
        #[source]
        source: ConninfoError,
    },
    /// A setting of the connection string has a value that it cannot have.
    #[error("postgres url")]
    UrlValue {
        /// What tokio-postgres says: it names the setting and does not repeat the value.
        #[source]
        source: PostgresError,
    },
    /// An `sslmode` that libpq does not have either.
    #[error("unknown sslmode; one of disable, allow, prefer, require, verify-ca, verify-full")]
    SslMode,
    /// A client certificate without its key, or a key without its certificate.
    #[error("sslcert and sslkey belong together: give both files, or none")]
    HalfACertificate,
    /// The system's authorities sign for anybody, so that the name has to be checked.
    #[error("sslrootcert=system goes with sslmode=verify-full alone")]
    SystemRoot,
    /// TLS cannot be set up.
    #[error("tls to postgres")]
    Tls {
        /// What rustls says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A certificate or a key cannot be used.
    #[error("tls to postgres: {}{}", file.display(), key.as_ref().map_or(String::new(), |key| format!(" with the key {}", key.display())))]
    TlsFile {
        /// The file.
        file: PathBuf,
        /// The key that was to go with the certificate.
        key: Option<PathBuf>,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The system's store of certificates cannot be used.
    #[error("tls to postgres: the system has no root certificates; name them with sslrootcert")]
    NoSystemRoots,
    /// A schema name outside `[a-z_][a-z0-9_]*`, longer than 48 bytes or starting with `pg_`.
    #[error("schema {schema:?}: lower-case letters, digits and _ only, at most 48, not starting with a digit or pg_")]
    SchemaName {
        /// The name given.
        schema: String,
    },
    /// The database cannot hold every text.
    #[error(
        "database {database} is encoded in {encoding}, wanted UTF8; use another one: \
         CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
    )]
    Encoding {
        /// The database.
        database: String,
        /// Its encoding, as Postgres calls it.
        encoding: String,
    },
    /// The server takes no writes until it is promoted.
    #[error(
        "postgres at {server} is a standby, which takes no writes; of several hosts, target_session_attrs=read-write \
         finds the one that does"
    )]
    Standby {
        /// Its address.
        server: String,
    },
    /// Postgres answered with an error, or the connection broke.
    #[error("{context}")]
    Postgres {
        /// What was being done, on which object.
        context: String,
        /// The answer, or why there was none.
        #[source]
        source: PostgresError,
    },
    /// A table exists with another shape.
    #[error("table {table}: {object} is {found}, wanted {wanted}; rename or drop the table, or use another schema")]
    SchemaMismatch {
        /// `schema.table`
        table: String,
        /// The column, or `primary key`.
        object: String,
        /// What stands there.
        found: String,
        /// What we would have created.
        wanted: String,
    },
    /// The schema holds results that the definition lacks or has otherwise, or was asked to drop what it must not.
    #[error("schema {schema}: {}", list(.problems))]
    Results {
        /// The schema.
        schema: String,
        /// All of them.
        problems: Vec<ResultProblem>,
    },
    /// The control tables are those of an earlier version and cannot be given the columns of this one.
    #[error("control tables of schema {schema} lack columns of this version; {reason}; {hint}")]
    Upgrade {
        /// The schema.
        schema: String,
        /// What is in the way.
        reason: String,
        /// What to do about it, with the statements.
        hint: String,
    },
    /// The role cannot make the tables of new results.
    #[error("schema {schema}: role {role} may not create tables; GRANT CREATE ON SCHEMA \"{schema}\" TO {role}")]
    MayNotCreate {
        /// The schema.
        schema: String,
        /// The role, quoted.
        role: String,
    },
    /// There are no tables to be read.
    #[error("schema {schema} lacks tables of pinflow's: `pinflow run` and `pinflow backfill` make them")]
    NoTables {
        /// The schema.
        schema: String,
    },
    /// A table vanished or was altered while we ran.
    #[error("{context}; the tables were altered under a running pinflow, restart it")]
    SchemaChanged {
        /// What was being done, on which object.
        context: String,
        /// The answer.
        #[source]
        source: PostgresError,
    },
    /// A newer run holds the fence: this one must end and commits nothing.
    #[error(
        "fenced: a newer run ({by}) holds fence {theirs}, ours is {ours}; this process has committed nothing since"
    )]
    Fenced {
        /// The number this run took.
        ours: i64,
        /// The number in the progress row.
        theirs: i64,
        /// The run that took it.
        by: String,
    },
    /// Postgres is behind what it has answered to this run: the fence or commits of ours are gone. Nothing more is
    /// committed; a new start reads what the tables hold now and goes on from there.
    #[error(
        "schema {schema}: {what}; postgres has lost committed transactions, for example in a failover to an \
         asynchronous replica; start again"
    )]
    FenceLost {
        /// The schema.
        schema: String,
        /// What was found, and what this run knows.
        what: String,
    },
    /// Somebody else works in the schema.
    #[error("schema {schema} is held by {holder}; stop it, or use --takeover")]
    Held {
        /// The schema.
        schema: String,
        /// Application name, process id, address and since when.
        holder: String,
    },
    /// The session of an older run, or our own lost one, does not end, although this run has taken over.
    #[error("schema {schema} is still locked by {holder}, which was to end; end it, or start again")]
    LockKept {
        /// The schema.
        schema: String,
        /// Application name, process id, address and since when.
        holder: String,
    },
    /// The progress row is gone or was changed by a hand that does not hold the fence.
    #[error("progress of schema {schema}: {what}; restart to read it again")]
    Progress {
        /// The schema.
        schema: String,
        /// What was found.
        what: String,
    },
    /// Tables hold results of other definitions and this step is no full snapshot.
    #[error(
        "schema {schema} holds results of definitions {found}, ours are {ours}: the first commit must be a full snapshot"
    )]
    DefinitionsChanged {
        /// The schema.
        schema: String,
        /// The hash in the progress row.
        found: String,
        /// Ours.
        ours: String,
    },
    /// A step would move a partition's frontier back.
    #[error(
        "frontier {topic}/{partition} would move back from {committed} to {offered}; use another --schema or --out"
    )]
    MovesBack {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The next offset in Postgres.
        committed: i64,
        /// The next offset of the step.
        offered: i64,
    },
    /// A step holds more than one net row for a primary key, or a multiplicity other than 1 and -1.
    #[error("table {table}: {what} for key ({key}): changes must be net, one row a key")]
    NotNet {
        /// The table.
        table: &'static str,
        /// Which rule is broken.
        what: &'static str,
        /// The key, as text.
        key: String,
    },
    /// A value does not fit its column.
    #[error("table {table}, column {column}: {what}")]
    Value {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// What does not fit.
        what: String,
    },
    /// The staged history is not what the workers counted: read it again.
    #[error("staged history of {table}: {found} rows, {expected} expected; it must be read again")]
    Rehydrate {
        /// The cleaned table, or `rejects`.
        table: String,
        /// Rows found, or why they cannot be counted.
        found: String,
        /// Rows the workers sent.
        expected: u64,
    },
    /// Dead letters of history were taken for surplus that the tables have room for: read it again. The next staging
    /// tables keep more.
    #[error("staged dead letters of schema {schema}: some that there is room for were not kept; it must be read again")]
    Restage {
        /// The schema.
        schema: String,
    },
    /// A thread of ours panicked: a defect, whose message went to the panic hook.
    #[error("thread {thread} panicked")]
    Panicked {
        /// Its name.
        thread: &'static str,
    },
    /// A call that the order prepare, take the fence, commit does not allow.
    #[error("{0}")]
    Order(&'static str),
    /// A file could not be written, or a thread not be started.
    #[error("{object}")]
    Io {
        /// The file or the thread.
        object: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// What stands between the results that a schema holds and those that are defined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResultProblem {
    /// Its table would go stale.
    #[error("result {table} is no longer defined: use --drop {table} or restore its file")]
    Gone {
        /// The result.
        table: String,
    },
    /// Its table cannot hold it.
    #[error("table {table}: {object} is {found}, wanted {wanted}: --drop {table} to recreate it, or restore its file")]
    Reshaped {
        /// The result.
        table: String,
        /// The column, or `primary key`.
        object: String,
        /// What stands there.
        found: String,
        /// What it would have to be.
        wanted: String,
    },
    /// It was named to be dropped.
    #[error("--drop {table}: {reason}")]
    NotDroppable {
        /// The name given.
        table: String,
        /// Why not.
        reason: String,
    },
}

fn list(problems: &[ResultProblem]) -> String {
    let texts: Vec<String> = problems.iter().map(ResultProblem::to_string).collect();
    texts.join("; ")
}

/// What an error asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The connection is gone or useless: make a new one, then see what was committed.
    Reconnect,
    /// The same transaction may succeed later on the same connection.
    Retry,
    /// Trying again cannot help.
    Stop,
}

impl SinkError {
    /// Wraps an error of the server with what was being done.
    pub(crate) fn postgres(context: impl Into<String>, source: tokio_postgres::Error) -> SinkError {
        let (context, source) = (context.into(), PostgresError::from(source));
        match source.code() {
            Some(code) if SCHEMA_CHANGED.contains(&code.code()) => SinkError::SchemaChanged { context, source },
            _ => SinkError::Postgres { context, source },
        }
    }

    /// What this error asks for.
    pub fn class(&self) -> Class {
        match self {
            SinkError::Postgres { source, .. } => class_of(source),
            // it may be promoted
            SinkError::Standby { .. } => Class::Reconnect,
            _ => Class::Stop,
        }
    }

    /// Whether it is the definition or the command line that has to change: exit code 2.
    pub fn is_usage(&self) -> bool {
        matches!(self, SinkError::Results { .. })
    }

    /// Whether the server has reached a limit of its own, as of the queue of notifications (program_limit_exceeded).
    pub(crate) fn is_a_limit(&self) -> bool {
        matches!(self, SinkError::Postgres { source, .. } if source.code() == Some(&SqlState::PROGRAM_LIMIT_EXCEEDED))
    }

    /// Whether another run holds the schema, because it took over or was there before: exit code 3.
    pub fn is_fenced(&self) -> bool {
        matches!(self, SinkError::Fenced { .. } | SinkError::Held { .. })
    }
}

/// undefined_table, undefined_column, undefined_schema, datatype_mismatch, "cached plan must not change result type",
/// undefined_object, invalid_column_reference (ON CONFLICT without its key), wrong_object_type
const SCHEMA_CHANGED: [&str; 8] = ["42P01", "42703", "3F000", "42804", "0A000", "42704", "42P10", "42809"];

fn class_of(error: &PostgresError) -> Class {
    let Some(code) = error.code() else {
        // Other causes than the connection would only come again.
        return if error.is_of_connection() {
            Class::Reconnect
        } else {
            Class::Stop
        };
    };
    match code.code() {
        // statement or lock time-out, serialisation, deadlock
        "57014" | "55P03" | "40001" | "40P01" | "40003" => Class::Retry,
        // shutdown, crash, starting up, session ended by a time-out, read-only after a switch-over
        "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "25P04" | "25006" => Class::Reconnect,
        // prepared statement unknown: a pooler gave us another session
        "26000" => Class::Reconnect,
        code if code.starts_with("08") => Class::Reconnect,
        // disk full, out of memory, too many connections, limits; and errors of the operating system
        code if code.starts_with("53") || code.starts_with("58") => Class::Retry,
        _ => Class::Stop,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error;

    fn io() -> std::io::Error {
        std::io::Error::from(std::io::ErrorKind::PermissionDenied)
    }

    fn postgres() -> tokio_postgres::Error {
        "port=none".parse::<tokio_postgres::Config>().expect_err("no port")
    }

    /// At least one error of every variant that has a source.
    fn with_sources() -> Vec<SinkError> {
        vec![
            SinkError::Url {
                source: ConninfoError::Port,
            },
            SinkError::UrlValue {
                source: postgres().into(),
            },
            SinkError::Tls { source: io().into() },
            SinkError::TlsFile {
                file: "ca.pem".into(),
                key: Some("ca.key".into()),
                source: "no certificate in it".into(),
            },
            SinkError::Postgres {
                context: "writing counts".into(),
                source: postgres().into(),
            },
            SinkError::SchemaChanged {
                context: "writing counts".into(),
                source: postgres().into(),
            },
            SinkError::Io {
                object: "counts.csv".into(),
                source: io(),
            },
        ]
    }

    #[test]
    fn no_error_repeats_its_cause() {
        for error in with_sources() {
            let text = error.to_string();
            let mut cause = error.source();
            assert!(cause.is_some(), "{error:?}");
            while let Some(inner) = cause {
                let said = inner.to_string();
                assert!(!said.is_empty() && !text.contains(&said), "{text:?} repeats {said:?}");
                cause = inner.source();
            }
            let whole = causes::with_causes(&error);
            let said = error.source().map(ToString::to_string).unwrap_or_default();
            assert_eq!(whole.matches(&said).count(), 1, "{whole}");
        }
    }

    #[test]
    fn an_error_of_postgres_is_one_line_and_keeps_what_tokio_postgres_hides_in_sources() {
        let error = SinkError::UrlValue {
            source: postgres().into(),
        };
        let said = Error::source(&postgres()).map(ToString::to_string).unwrap_or_default();
        let whole = causes::with_causes(&error);
        assert!(whole.starts_with("postgres url: ") && whole.contains(&said), "{whole}");
        assert!(!whole.contains('\n'), "{whole}");
    }
}
