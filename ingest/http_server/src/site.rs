//! A host as `Host` and `Origin` name it: a name or an address, whatever the port.

use std::net::{IpAddr, Ipv6Addr};

/// A configured host is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid host `{0}`: a name or an address without scheme and port, as pins.example.com")]
pub struct HostError(pub(crate) String);

/// A configured host in the form in which hosts are compared.
pub fn check_host(text: &str) -> Result<String, HostError> {
    let wrong = || HostError(text.to_owned());
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Ok(format!("[{address}]"));
    }
    match Site::parse(text).ok_or_else(wrong)? {
        (_, Some(_)) => Err(wrong()),
        (Site::Address(IpAddr::V6(address)), _) => Ok(format!("[{address}]")),
        (Site::Address(address), _) => Ok(address.to_string()),
        (Site::Name(name), _) => Ok(name),
    }
}

/// A host as a header names it, whatever the port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Site {
    Address(IpAddr),
    Name(String),
}

impl Site {
    /// `HOST` or `HOST:PORT`, and the port, which may be empty.
    pub(crate) fn parse(text: &str) -> Option<(Site, Option<&str>)> {
        let (site, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']')?;
                let address: Ipv6Addr = address.parse().ok()?;
                let port = match port {
                    "" => None,
                    port => Some(port.strip_prefix(':')?),
                };
                (Site::Address(IpAddr::from(address).to_canonical()), port)
            }
            None => {
                let (host, port) = match text.split_once(':') {
                    Some((host, port)) => (host, Some(port)),
                    None => (text, None),
                };
                (Site::of(host)?, port)
            }
        };
        // an empty port is the scheme's own
        let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.len() <= 5;
        port.is_none_or(is_port).then_some((site, port))
    }

    fn of(host: &str) -> Option<Site> {
        if let Ok(address) = host.parse::<std::net::Ipv4Addr>() {
            return Some(Site::Address(address.into()));
        }
        // `localhost.` is `localhost`
        let name = host.strip_suffix('.').unwrap_or(host);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let fits = (1..=253).contains(&name.len()) && name.bytes().all(plain);
        let labels = name.split('.').all(|label| !label.is_empty());
        (fits && labels).then(|| Site::Name(name.to_ascii_lowercase()))
    }

    /// Whether it means this machine, whoever resolves it.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Site::Address(address) => address.is_loopback(),
            Site::Name(name) => name == "localhost",
        }
    }

    /// Whether it cannot be made to resolve to something else from outside.
    pub(crate) fn is_fixed(&self) -> bool {
        match self {
            Site::Address(_) => true,
            Site::Name(name) => !name.contains('.'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configured_hosts_are_names_or_addresses_alone() {
        for (text, host) in [
            ("Pins.example.com.", "pins.example.com"),
            ("::1", "[::1]"),
            ("[FE80::1]", "[fe80::1]"),
            ("10.0.0.1", "10.0.0.1"),
            ("gateway", "gateway"),
        ] {
            assert_eq!(check_host(text).as_deref(), Ok(host));
        }
        for wrong in [
            "",
            "*",
            "*.example.com",
            "https://x",
            "x:80",
            "x/",
            "a..b",
            ".x",
            "[::1]:80",
            "x y",
            ".",
        ] {
            assert!(check_host(wrong).is_err(), "{wrong}");
        }
    }
}
