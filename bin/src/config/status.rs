//! Checked settings of `status`.

use super::layers::Effective;
use super::problem::ConfigError;
use super::reader::Reader;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// What `status` needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusSettings {
    /// Where the run listens.
    pub address: SocketAddr,
    /// The first token of this file is sent.
    pub token_file: Option<PathBuf>,
    /// Print the status again every second.
    pub watch: bool,
    /// Print the answer as it is.
    pub json: bool,
}

impl StatusSettings {
    /// Checks the settings of `status`.
    pub fn check(effective: &Effective) -> Result<StatusSettings, ConfigError> {
        let mut reader = Reader::new(effective);
        let listen = reader.listen();
        let token_file = reader.first_path("gateway.token_files");
        let (watch, json) = (reader.switch("status.watch"), reader.switch("audit.json"));
        let message = "`status` needs --listen ADDR:PORT, the address of `run --listen`".to_owned();
        let Some(listen) = reader.need("serve.listen", listen, message) else {
            return reader.refuse();
        };
        reader.done(StatusSettings {
            address: reached(listen),
            token_file,
            watch,
            json,
        })
    }
}

/// Where a listener is reached from its own machine: one of all addresses is reached at this machine's own.
fn reached(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_of_all_addresses_is_reached_at_this_machine() {
        for (listen, address) in [
            ("0.0.0.0:9464", "127.0.0.1:9464"),
            ("[::]:9464", "[::1]:9464"),
            ("10.0.0.7:80", "10.0.0.7:80"),
        ] {
            assert_eq!(reached(listen.parse().unwrap()), address.parse().unwrap());
        }
    }
}
