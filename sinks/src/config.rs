//! Where Postgres is and how to talk to it: a checked configuration.
//!
//! The URL is libpq's (`postgres://user:password@host:port/database?sslmode=…` or `key=value` words). What libpq says
//! about TLS is not known to tokio-postgres and is taken out here: `sslmode`, `sslrootcert`, `sslcert` and `sslkey`.
//! Nothing is read from the environment, from `~/.pgpass` or from `~/.postgresql`: secrets are the caller's business.

use crate::conninfo::Conninfo;
use crate::error::SinkError;
use crate::reject_limits::RejectLimits;
use crate::target::{ClientFiles, Root, SslMode, Target};
use crate::tls;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use tokio_postgres::config::Host;

/// What the caller knows about the target, not yet checked.
#[derive(Clone)]
pub struct PostgresConfig {
    /// libpq connection URL, or `key=value` words. A password in it is never printed.
    pub url: String,
    /// The schema that holds every table of ours; created when absent.
    pub schema: String,
    /// What is checked of the server's certificate; wins over `sslmode` in the URL. When neither is given:
    /// [`SslMode::VerifyFull`] with a root certificate, else [`SslMode::Prefer`].
    pub ssl_mode: Option<SslMode>,
    /// PEM file of the authorities to trust instead of the system's, or `system` for these; wins over `sslrootcert` in
    /// the URL.
    pub ssl_root_cert: Option<PathBuf>,
    /// PEM file of the certificate that we show to the server, with those that lead to its authority; wins over
    /// `sslcert` in the URL.
    pub ssl_cert: Option<PathBuf>,
    /// PEM file of its key, not encrypted; wins over `sslkey` in the URL.
    pub ssl_key: Option<PathBuf>,
    /// What a live statement may take before the server cancels it and the commit is tried again; zero: no limit.
    pub statement_timeout: Duration,
    /// How much of dead letters is kept.
    pub rejects: RejectLimits,
    /// How `pg_stat_activity` calls our connections.
    pub application_name: String,
}

impl PostgresConfig {
    /// A configuration with the defaults: statement time-out 5 minutes, application name `pinflow`.
    pub fn new(url: impl Into<String>, schema: impl Into<String>) -> PostgresConfig {
        PostgresConfig {
            url: url.into(),
            schema: schema.into(),
            ssl_mode: None,
            ssl_root_cert: None,
            ssl_cert: None,
            ssl_key: None,
            statement_timeout: Duration::from_secs(300),
            rejects: RejectLimits::default(),
            application_name: "pinflow".into(),
        }
    }

    /// Checks everything that can be checked without a server; certificates and keys are read.
    pub fn check(&self) -> Result<(), SinkError> {
        tls::connector(&self.target()?).map(drop)
    }

    pub(crate) fn target(&self) -> Result<Target, SinkError> {
        check_schema(&self.schema)?;
        let conninfo = Conninfo::parse(&self.url).map_err(|source| SinkError::Url { source })?;
        let url = conninfo.without(&TLS_SETTINGS);
        let mut pg: tokio_postgres::Config = url
            .parse()
            .map_err(|source: tokio_postgres::Error| SinkError::UrlValue { source: source.into() })?;
        let file = |given: &Option<PathBuf>, name: &str| {
            let in_url = conninfo.get(name).filter(|path| !path.is_empty()).map(PathBuf::from);
            given.clone().or(in_url)
        };
        let root = file(&self.ssl_root_cert, "sslrootcert").map(Root::of);
        let client = match (file(&self.ssl_cert, "sslcert"), file(&self.ssl_key, "sslkey")) {
            (Some(certificate), Some(key)) => Some(ClientFiles { certificate, key }),
            (None, None) => None,
            _ => return Err(SinkError::HalfACertificate),
        };
        let in_url = conninfo.get("sslmode").map(str::parse::<SslMode>).transpose()?;
        let mode = match (self.ssl_mode.or(in_url), &root) {
            (None, None) => SslMode::Prefer,
            (None, Some(_)) => SslMode::VerifyFull,
            (Some(mode), Some(Root::System)) if mode != SslMode::VerifyFull => return Err(SinkError::SystemRoot),
            (Some(SslMode::Require), Some(_)) => SslMode::VerifyCa,
            (Some(mode), _) => mode,
        };
        // as in libpq: there is no TLS over a socket of this machine
        let local = |host: &Host| matches!(host, Host::Unix(_));
        let mode = if !pg.get_hosts().is_empty() && pg.get_hosts().iter().all(local) {
            SslMode::Disable
        } else {
            mode
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
        Ok(Target { pg, mode, root, client })
    }
}

impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("url", &"(hidden)")
            .field("schema", &self.schema)
            .field("ssl_mode", &self.ssl_mode)
            .field("ssl_root_cert", &self.ssl_root_cert)
            .field("ssl_cert", &self.ssl_cert)
            .field("ssl_key", &self.ssl_key)
            .field("statement_timeout", &self.statement_timeout)
            .field("rejects", &self.rejects)
            .field("application_name", &self.application_name)
            .finish()
    }
}

/// What is taken out of a connection string before tokio-postgres reads it.
const TLS_SETTINGS: [&str; 4] = ["sslmode", "sslrootcert", "sslcert", "sslkey"];

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

#[cfg(test)]
mod tests {
    use super::*;
    use causes::with_causes;

    #[test]
    fn a_root_certificate_alone_makes_everything_verified() {
        for (url, given, mode) in [
            ("postgres://h/d", None, SslMode::Prefer),
            ("postgres://h/d", Some("/ca.pem"), SslMode::VerifyFull),
            ("postgres://h/d?sslrootcert=%2Fca.pem", None, SslMode::VerifyFull),
            ("host=h sslrootcert=/ca.pem", None, SslMode::VerifyFull),
            ("host=h sslrootcert=system", None, SslMode::VerifyFull),
            ("host=h sslrootcert=''", None, SslMode::Prefer),
            ("postgres://h/d?sslmode=require", None, SslMode::Require),
            ("postgres://h/d?sslmode=require", Some("/ca.pem"), SslMode::VerifyCa),
            ("postgres://h/d?sslmode=allow", Some("/ca.pem"), SslMode::Prefer),
            ("host=h sslmode = 'verify-ca'", Some("/ca.pem"), SslMode::VerifyCa),
            ("host=h sslmode=disable", Some("/ca.pem"), SslMode::Disable),
            ("host=/run/pg", Some("/ca.pem"), SslMode::Disable),
            ("host=/run/pg,h", Some("/ca.pem"), SslMode::VerifyFull),
        ] {
            let mut config = PostgresConfig::new(url, "pinflow");
            config.ssl_root_cert = given.map(PathBuf::from);
            assert_eq!(config.target().unwrap().mode, mode, "{url} and {given:?}");
        }
    }

    /// tokio-postgres alone takes it for a string that was cut off.
    #[test]
    fn an_empty_value_may_end_a_connection_string() {
        for url in [
            "host=h password=",
            "host=h password=''",
            "host=h password= ",
            "user=u password=\tsslmode=disable password=",
        ] {
            let target = PostgresConfig::new(url, "pinflow").target();
            let password = target
                .as_ref()
                .map(|target| target.pg.get_password().unwrap_or_default());
            assert!(matches!(password, Ok(b"")), "{url}");
        }
    }

    #[test]
    fn what_is_given_beside_the_url_wins() {
        let url = "postgres://h/d?sslmode=disable&sslrootcert=a&sslcert=b&sslkey=c";
        let mut config = PostgresConfig::new(url, "pinflow");
        let target = config.target().unwrap();
        let files = |certificate: &str, key: &str| ClientFiles {
            certificate: certificate.into(),
            key: key.into(),
        };
        assert_eq!(target.root, Some(Root::File("a".into())));
        assert_eq!((target.mode, target.client), (SslMode::Disable, Some(files("b", "c"))));
        config.ssl_mode = Some(SslMode::VerifyCa);
        config.ssl_root_cert = Some("x".into());
        config.ssl_cert = Some("y".into());
        config.ssl_key = Some("z".into());
        let target = config.target().unwrap();
        assert_eq!(target.root, Some(Root::File("x".into())));
        assert_eq!((target.mode, target.client), (SslMode::VerifyCa, Some(files("y", "z"))));
    }

    #[test]
    fn settings_of_tls_that_do_not_go_together_are_refused() {
        let error = |url: &str| PostgresConfig::new(url, "pinflow").check().unwrap_err();
        assert!(matches!(error("host=x sslmode=maybe"), SinkError::SslMode));
        assert!(matches!(error("host=x sslcert=a"), SinkError::HalfACertificate));
        assert!(matches!(error("host=x sslkey=a"), SinkError::HalfACertificate));
        assert!(matches!(
            error("host=x sslrootcert=system sslmode=require"),
            SinkError::SystemRoot
        ));
    }

    #[test]
    fn files_that_cannot_be_used_are_named_before_any_server_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("no.pem");
        std::fs::write(&text, "hello").unwrap();
        let text = text.display();
        // whatever sslmode makes of it
        for mode in ["disable", "prefer", "require", "verify-ca", "verify-full"] {
            for (settings, expected) in [
                ("sslrootcert=/nonexistent".to_owned(), "/nonexistent".to_owned()),
                (format!("sslrootcert={text}"), format!("{text}: no certificate in it")),
                (
                    "sslcert=/nonexistent sslkey=/absent".to_owned(),
                    "/nonexistent".to_owned(),
                ),
                (
                    format!("sslcert={text} sslkey=/absent"),
                    format!("{text}: no certificate in it"),
                ),
            ] {
                let url = format!("host=127.0.0.1 port=1 sslmode={mode} {settings}");
                let error = PostgresConfig::new(&url, "pinflow").check().unwrap_err();
                let error = with_causes(&error);
                assert!(error.contains(&expected), "{url}: {error}");
            }
        }
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
