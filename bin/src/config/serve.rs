//! Checked settings of the HTTP side of a process: where it listens, and who may ask.

use super::forms::to_path;
use super::reader::Reader;
use http_server::{Origin, OriginError, Rate, TokenSettings, check_host};
use std::net::SocketAddr;

/// Where and for whom `/metrics` and its siblings are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeSettings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where tokens come from; nowhere: no token is needed.
    pub tokens: TokenSettings,
    /// Names under which it is reached, and whose pages may send requests to it.
    pub hosts: Vec<String>,
    /// Origins whose pages may read answers.
    pub cors_origins: Vec<Origin>,
}

impl Reader<'_> {
    /// Where a process listens: this machine alone, unless an address is given.
    pub(super) fn listen(&mut self) -> Option<SocketAddr> {
        self.optional("serve.listen", |text| {
            // `:9000` is a common notation, and not meant to serve other machines
            let address = match text.strip_prefix(':') {
                Some(port) => format!("127.0.0.1:{port}"),
                None => text.replace("localhost:", "127.0.0.1:"),
            };
            let wrong = || format!("invalid address `{text}`: expected ADDR:PORT, such as 127.0.0.1:9464");
            address.parse().map_err(|_| wrong())
        })
    }

    /// Names of the server, and of the sites whose pages may send requests to it.
    pub(super) fn hosts(&mut self) -> Vec<String> {
        self.list("gateway.hosts", |text| {
            check_host(text).map_err(|error| error.to_string())
        })
    }

    /// Where tokens come from, and what they may send.
    pub(super) fn tokens(&mut self) -> TokenSettings {
        let rate = self.optional_whole("gateway.token_rate", 1, i64::from(u32::MAX));
        let settings = TokenSettings {
            files: self.list("gateway.token_files", to_path),
            exposed: self.switch("gateway.insecure"),
            rate: rate.and_then(|rate| Rate::new(u32::try_from(rate).unwrap_or(u32::MAX))),
        };
        if settings.rate.is_some() && settings.files.is_empty() {
            self.missing("--token-rate requires --token-file".into());
        }
        settings
    }

    /// The HTTP side of a process, if it has one.
    pub(super) fn serve(&mut self) -> Option<ServeSettings> {
        let (tokens, hosts) = (self.tokens(), self.hosts());
        let cors_origins = self.list("serve.cors_origins", |text| {
            text.parse().map_err(|error: OriginError| error.to_string())
        });
        let listen = self.listen()?;
        Some(ServeSettings {
            listen,
            tokens,
            hosts,
            cors_origins,
        })
    }
}
