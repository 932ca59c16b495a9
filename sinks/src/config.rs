//! Where Postgres is and how to talk to it: a checked configuration.
//!
//! The URL is libpq's (`postgres://user:password@host:port/database?sslmode=…` or `key=value` words). Two of libpq's
//! words are not known to tokio-postgres and are taken out here: `sslmode=verify-ca|verify-full` and `sslrootcert`.
//! Nothing is read from the environment or from `~/.pgpass`: secrets are the caller's business.

use crate::error::SinkError;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio_postgres::config::Host;

/// How much of the server's certificate is checked. The names and meanings are libpq's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// TLS when the server offers it, unchecked (the default).
    Prefer,
    /// TLS or nothing; unchecked, unless a root certificate is given: then as [`SslMode::VerifyCa`].
    Require,
    /// TLS with a certificate that a known authority signed, whatever its name.
    VerifyCa,
    /// TLS with a certificate that a known authority signed for this host.
    VerifyFull,
}

/// What the caller knows about the target, not yet checked.
#[derive(Clone)]
pub struct PostgresConfig {
    /// libpq connection URL, or `key=value` words. A password in it is never printed.
    pub url: String,
    /// The schema that holds every table of ours; created when absent.
    pub schema: String,
    /// PEM file of the authorities to trust for `sslmode=verify-…` (and `require`), instead of the system's.
    pub ssl_root_cert: Option<PathBuf>,
    /// What a live statement may take before the server cancels it and the commit is tried again; zero: no limit.
    pub statement_timeout: Duration,
    /// How `pg_stat_activity` calls our connections.
    pub application_name: String,
}

impl PostgresConfig {
    /// A configuration with the defaults: statement time-out 5 minutes, application name `pinflow`.
    pub fn new(url: impl Into<String>, schema: impl Into<String>) -> PostgresConfig {
        PostgresConfig {
            url: url.into(),
            schema: schema.into(),
            ssl_root_cert: None,
            statement_timeout: Duration::from_secs(300),
            application_name: "pinflow".into(),
        }
    }

    /// Checks everything that can be checked without a server.
    pub fn check(&self) -> Result<(), SinkError> {
        self.target().map(|_| ())
    }

    pub(crate) fn target(&self) -> Result<Target, SinkError> {
        check_schema(&self.schema)?;
        let (url, mode, root) = split_tls_words(&self.url)?;
        let mut pg: tokio_postgres::Config = url.parse().map_err(|source| SinkError::Url { source })?;
        let root = self.ssl_root_cert.clone().or(root);
        let mode = match mode {
            SslMode::Require if root.is_some() => SslMode::VerifyCa,
            mode => mode,
        };
        pg.ssl_mode(match mode {
            SslMode::Disable => tokio_postgres::config::SslMode::Disable,
            SslMode::Prefer => tokio_postgres::config::SslMode::Prefer,
            _ => tokio_postgres::config::SslMode::Require,
        });
        if pg.get_application_name().is_none() {
            pg.application_name(&self.application_name);
        }
        if pg.get_connect_timeout().is_none() {
            pg.connect_timeout(Duration::from_secs(10));
        }
        // a peer that vanished without a word is noticed within about half a minute
        pg.keepalives(true);
        pg.keepalives_idle(Duration::from_secs(10));
        pg.keepalives_interval(Duration::from_secs(5));
        pg.keepalives_retries(4);
        if pg.get_tcp_user_timeout().is_none() {
            pg.tcp_user_timeout(Duration::from_secs(30));
        }
        Ok(Target { pg, mode, root })
    }
}

impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("url", &"(hidden)")
            .field("schema", &self.schema)
            .field("ssl_root_cert", &self.ssl_root_cert)
            .field("statement_timeout", &self.statement_timeout)
            .field("application_name", &self.application_name)
            .finish()
    }
}

/// A checked target.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) pg: tokio_postgres::Config,
    pub(crate) mode: SslMode,
    pub(crate) root: Option<PathBuf>,
}

impl Target {
    /// The database; it is called like the user when the URL names none.
    pub(crate) fn database(&self) -> &str {
        self.pg.get_dbname().or(self.pg.get_user()).unwrap_or_default()
    }

    /// What was tried when a connection fails: every host with its port, and the database.
    pub(crate) fn cannot_connect(&self) -> String {
        let ports = self.pg.get_ports();
        let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
        let place = |(index, host): (usize, &Host)| match host {
            Host::Tcp(host) if host.contains(':') => format!("[{host}]:{}", port(index)),
            Host::Tcp(host) => format!("{host}:{}", port(index)),
            Host::Unix(folder) => format!("{}/.s.PGSQL.{}", folder.display(), port(index)),
        };
        let mut places: Vec<String> = self.pg.get_hosts().iter().enumerate().map(place).collect();
        if places.is_empty() {
            let address = |(index, address)| format!("{}", SocketAddr::new(address, port(index)));
            places = self
                .pg
                .get_hostaddrs()
                .iter()
                .copied()
                .enumerate()
                .map(address)
                .collect();
        }
        let (places, database) = (places.join(" or "), self.database());
        format!("cannot connect to postgres at {places}, database {database}")
    }
}

/// A schema's name also becomes part of a channel name and of error texts, so it is kept plain.
fn check_schema(schema: &str) -> Result<(), SinkError> {
    let plain = schema
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    let starts = schema
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_lowercase() || b == b'_');
    if !plain || !starts || schema.len() > 48 || schema.starts_with("pg_") {
        return Err(SinkError::SchemaName { schema: schema.into() });
    }
    Ok(())
}

/// Takes `sslmode` and `sslrootcert` out of a URL or of `key=value` words.
fn split_tls_words(url: &str) -> Result<(String, SslMode, Option<PathBuf>), SinkError> {
    let is_url = url.starts_with("postgres://") || url.starts_with("postgresql://");
    let (head, words, separator) = match (is_url, url.split_once('?')) {
        (true, Some((head, query))) => (head, query, '&'),
        (true, None) => (url, "", '&'),
        (false, _) => ("", url, ' '),
    };
    let (mut mode, mut root, mut rest) = (SslMode::Prefer, None, Vec::new());
    for word in words.split(separator).filter(|word| !word.is_empty()) {
        match word.split_once('=') {
            Some(("sslmode", value)) => mode = parse_mode(value)?,
            Some(("sslrootcert", value)) => root = Some(PathBuf::from(percent_decoded(value, is_url))),
            _ => rest.push(word),
        }
    }
    let rest = rest.join(if is_url { "&" } else { " " });
    let url = match (is_url, rest.is_empty()) {
        (true, false) => format!("{head}?{rest}"),
        (true, true) => head.to_string(),
        (false, _) => rest,
    };
    Ok((url, mode, root))
}

fn parse_mode(value: &str) -> Result<SslMode, SinkError> {
    Ok(match value {
        "disable" => SslMode::Disable,
        "prefer" | "allow" => SslMode::Prefer,
        "require" => SslMode::Require,
        "verify-ca" => SslMode::VerifyCa,
        "verify-full" => SslMode::VerifyFull,
        _ => return Err(SinkError::SslMode { mode: value.into() }),
    })
}

fn percent_decoded(text: &str, encoded: bool) -> String {
    if !encoded {
        return text.into();
    }
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = (byte == b'%').then(|| tail.get(..2)).flatten();
        match hex
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok())
        {
            Some(decoded) => {
                bytes.push(decoded);
                rest = &tail[2..];
            }
            None => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_words_leave_the_url() {
        let (url, mode, root) =
            split_tls_words("postgres://u:p@h/d?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem&connect_timeout=3")
                .unwrap();
        assert_eq!(url, "postgres://u:p@h/d?connect_timeout=3");
        assert_eq!((mode, root), (SslMode::VerifyFull, Some("/etc/ca.pem".into())));
        let (url, mode, _) = split_tls_words("host=/run/pg user=x sslmode=disable").unwrap();
        assert_eq!((url.as_str(), mode), ("host=/run/pg user=x", SslMode::Disable));
        assert!(matches!(
            split_tls_words("host=x sslmode=maybe"),
            Err(SinkError::SslMode { .. })
        ));
    }

    #[test]
    fn a_root_certificate_makes_require_verify() {
        let mut config = PostgresConfig::new("postgres://h/d?sslmode=require", "pinflow");
        assert_eq!(config.target().unwrap().mode, SslMode::Require);
        config.ssl_root_cert = Some("/etc/ca.pem".into());
        assert_eq!(config.target().unwrap().mode, SslMode::VerifyCa);
    }

    #[test]
    fn a_connection_is_named_by_its_hosts_and_database_without_the_password() {
        for (url, expected) in [
            ("postgres://u:secret@h/d", "h:5432, database d"),
            ("postgres://u:secret@127.0.0.1:1", "127.0.0.1:1, database u"),
            ("postgres://u@a:1,b:2/d", "a:1 or b:2, database d"),
            (
                "host=/run/pg port=7 user=u password=secret",
                "/run/pg/.s.PGSQL.7, database u",
            ),
            ("hostaddr=::1 user=u dbname=d", "[::1]:5432, database d"),
        ] {
            let target = PostgresConfig::new(url, "pinflow").target().unwrap();
            assert_eq!(
                target.cannot_connect(),
                format!("cannot connect to postgres at {expected}"),
                "{url}"
            );
        }
    }

    #[test]
    fn schema_names_are_plain_and_passwords_hidden() {
        for bad in ["", "Pinflow", "1a", "a-b", "pg_x", &"x".repeat(49)] {
            assert!(
                matches!(
                    PostgresConfig::new("host=x", bad).check(),
                    Err(SinkError::SchemaName { .. })
                ),
                "{bad}"
            );
        }
        let config = PostgresConfig::new("postgres://u:secret@h/d", "pinflow");
        config.check().unwrap();
        assert!(!format!("{config:?}").contains("secret"));
    }
}
