//! A checked target: which Postgres, and what of TLS is demanded of it.

use crate::error::SinkError;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use tokio_postgres::config::Host;

/// How much of the server's certificate is checked. The names and meanings are libpq's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// TLS when the server offers it, unchecked; the default without a root certificate.
    Prefer,
    /// TLS or nothing; unchecked, unless a root certificate is given: then as [`SslMode::VerifyCa`].
    Require,
    /// TLS with a certificate that a known authority signed, whatever its name.
    VerifyCa,
    /// TLS with a certificate that a known authority signed for this host; the default with a root certificate.
    VerifyFull,
}

impl FromStr for SslMode {
    type Err = SinkError;

    /// libpq's words. `allow` tries without TLS first there, and is as good as `prefer`.
    fn from_str(word: &str) -> Result<SslMode, SinkError> {
        Ok(match word {
            "disable" => SslMode::Disable,
            "prefer" | "allow" => SslMode::Prefer,
            "require" => SslMode::Require,
            "verify-ca" => SslMode::VerifyCa,
            "verify-full" => SslMode::VerifyFull,
            _ => return Err(SinkError::SslMode),
        })
    }
}

/// The authorities to trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    /// Those of the system.
    System,
    /// Those in a file.
    File(PathBuf),
}

impl Root {
    /// libpq's words: `system`, or a file.
    pub(crate) fn of(path: PathBuf) -> Root {
        if path == Path::new("system") {
            Root::System
        } else {
            Root::File(path)
        }
    }
}

/// The certificate that we show, and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// A checked target.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) pg: tokio_postgres::Config,
    pub(crate) mode: SslMode,
    pub(crate) root: Option<Root>,
    pub(crate) client: Option<ClientFiles>,
}

impl Target {
    /// The database; it is called like the user when the URL names none.
    pub(crate) fn database(&self) -> &str {
        self.pg.get_dbname().or(self.pg.get_user()).unwrap_or_default()
    }

    /// What was tried when a connection fails: every host with its port, and the database.
    pub(crate) fn cannot_connect(&self) -> String {
        let (places, database) = (self.places(), self.database());
        format!("cannot connect to postgres at {places}, database {database}")
    }

    /// Every host with its port.
    pub(crate) fn places(&self) -> String {
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
        places.join(" or ")
    }
}
