//! Which names a request may be sent to, and which pages a browser may send one from.
//!
//! A browser sends requests to servers that only its own machine, or its own network, can reach, for any page that asks
//! it to. Two headers tell: `Origin` names the page, and `Host` the name that the page used, also where that name was made to
//! resolve to this machine after the page was loaded (DNS rebinding). Programs send no `Origin`.
//!
//! An address, or a name without a dot, cannot be made to resolve to something else, so that these are accepted where
//! others than this machine are served at all; every other name has to be configured.

use super::quote::shortened;
use super::site::{HostError, Site, check_host};
use hyper::header::{HOST, HeaderMap, HeaderValue, ORIGIN};
use hyper::{Uri, Version};
use std::net::SocketAddr;

/// Why a request may not come from where it comes from, or go to where it goes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SiteError {
    /// It says `HTTP/1.1` and names no host.
    #[error("a request of HTTP/1.1 has a Host header")]
    NoHost,
    /// It names more than one.
    #[error("a request has one Host header")]
    SeveralHosts,
    /// It was sent to a name that is not one of this server's.
    #[error("Host `{0}` is not a name of this server: gateway.hosts lists them")]
    Host(String),
    /// A page of another site sends it.
    #[error("Origin `{0}` may not send requests here: gateway.hosts lists who may")]
    Origin(String),
}

impl SiteError {
    /// Whether the request is malformed, and not merely unwanted.
    pub fn is_malformed(&self) -> bool {
        matches!(self, SiteError::NoHost | SiteError::SeveralHosts)
    }
}

/// Which hosts a request may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hosts {
    /// Those that mean this machine, and the configured ones.
    Local,
    /// Those that cannot be made to resolve to something else, and the configured ones.
    Fixed,
    /// All: a page that does not know a token gets nothing.
    All,
}

/// The names of a server, and the sites whose pages may send requests to it.
#[derive(Debug)]
pub struct Sites {
    hosts: Hosts,
    configured: Vec<Site>,
}

impl Sites {
    /// For a server that listens on this address, asks for tokens or not, and has these further names.
    pub fn new(listen: SocketAddr, tokens: bool, configured: &[String]) -> Result<Sites, HostError> {
        let hosts = match (tokens, listen.ip().to_canonical().is_loopback()) {
            (false, true) => Hosts::Local,
            (true, _) if configured.is_empty() => Hosts::All,
            _ => Hosts::Fixed,
        };
        let site = |text: &String| Some(Site::parse(&check_host(text).ok()?)?.0);
        let configured = configured
            .iter()
            .map(|text| site(text).ok_or_else(|| HostError(text.clone())));
        let configured = configured.collect::<Result<_, _>>()?;
        Ok(Sites { hosts, configured })
    }

    /// Whether a request with this head may be looked at further.
    pub fn check(&self, uri: &Uri, version: Version, headers: &HeaderMap) -> Result<(), SiteError> {
        self.check_host(uri, version, headers)?;
        for origin in headers.get_all(ORIGIN) {
            let origin = text(origin);
            if !self.may_send(&origin) {
                return Err(SiteError::Origin(shortened(&origin).to_owned()));
            }
        }
        Ok(())
    }

    /// The same whatever page sends it.
    pub fn check_host(&self, uri: &Uri, version: Version, headers: &HeaderMap) -> Result<(), SiteError> {
        let mut hosts = headers.get_all(HOST).iter();
        match (hosts.next(), hosts.next(), uri.authority()) {
            (_, Some(_), _) => return Err(SiteError::SeveralHosts),
            // no browser speaks HTTP/1.0
            (None, _, None) if version > Version::HTTP_10 => return Err(SiteError::NoHost),
            (host, None, target) => {
                // a target in absolute form counts, and the header may not contradict it
                let target = target.map(|target| target.as_str());
                let host = host.map(text);
                for named in host.as_deref().into_iter().chain(target) {
                    if !self.is_ours(named) {
                        return Err(SiteError::Host(shortened(named).to_owned()));
                    }
                }
            }
        }
        Ok(())
    }

    fn is_ours(&self, host: &str) -> bool {
        let accepted = |site: &Site| match self.hosts {
            Hosts::Local => site.is_local(),
            Hosts::Fixed | Hosts::All => site.is_fixed(),
        };
        match Site::parse(host) {
            Some((site, _)) => self.hosts == Hosts::All || accepted(&site) || self.configured.contains(&site),
            None => self.hosts == Hosts::All,
        }
    }

    /// Whether a page of this origin may send requests; `null` is a page that does not say where it is from.
    fn may_send(&self, origin: &str) -> bool {
        let Some((scheme, host)) = origin.split_once("://") else {
            return false;
        };
        let Some((site, _)) = Site::parse(host) else {
            return false;
        };
        let web = ["http", "https"].iter().any(|web| scheme.eq_ignore_ascii_case(web));
        let local = self.hosts == Hosts::Local && site.is_local();
        web && (local || self.configured.contains(&site))
    }
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sites(listen: &str, tokens: bool, configured: &[&str]) -> Sites {
        let configured: Vec<String> = configured.iter().map(|host| (*host).to_owned()).collect();
        Sites::new(listen.parse().unwrap(), tokens, &configured).unwrap()
    }

    fn check(sites: &Sites, target: &str, version: Version, headers: &[(&str, &str)]) -> Result<(), SiteError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                hyper::header::HeaderName::try_from(*name).unwrap(),
                value.parse().unwrap(),
            );
        }
        sites.check(&target.parse().unwrap(), version, &map)
    }

    fn host(sites: &Sites, host: &str) -> bool {
        check(sites, "/", Version::HTTP_11, &[("host", host)]).is_ok()
    }

    fn origin(sites: &Sites, origin: &str) -> bool {
        check(
            sites,
            "/",
            Version::HTTP_11,
            &[("host", "localhost"), ("origin", origin)],
        )
        .is_ok()
    }

    const LOCAL: [&str; 9] = [
        "localhost",
        "LocalHost:8080",
        "localhost.",
        "localhost:",
        "127.0.0.1",
        "127.8.9.10:80",
        "[::1]",
        "[::1]:8080",
        "[::ffff:127.0.0.1]:1",
    ];
    const FOREIGN: [&str; 12] = [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.localhost.example",
        "127.1.evil",
        "localhost:80@evil.example",
        "localhost@evil.example",
        "evil.example#localhost",
        "localhost:80:80",
        "",
        "[::1",
    ];

    #[test]
    fn this_machine_alone_is_served_on_loopback_without_tokens() {
        for listen in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            let sites = sites(listen, false, &[]);
            for local in LOCAL {
                assert!(host(&sites, local), "{local}");
            }
            for foreign in FOREIGN
                .into_iter()
                .chain(["gateway", "10.0.0.1", "0.0.0.0:80", "[::]", "[fe80::1]"])
            {
                assert!(!host(&sites, foreign), "{foreign}");
            }
            for page in ["http://localhost:3000", "https://127.0.0.1", "http://[::1]:80"] {
                assert!(origin(&sites, page), "{page}");
            }
            for page in [
                "http://evil.example",
                "null",
                "",
                "file://",
                "http://localhost.evil.example",
                "chrome-extension://localhost",
                "http://localhost/",
                "http://localhost http://evil.example",
                "http://10.0.0.1",
                "localhost",
            ] {
                assert!(!origin(&sites, page), "{page}");
            }
        }
    }

    #[test]
    fn elsewhere_a_name_that_can_be_made_to_resolve_here_is_configured() {
        let sites = sites("0.0.0.0:1", false, &["Pins.Example.com", "10.0.0.9"]);
        let fixed = [
            "gateway",
            "gateway:8080",
            "10.1.2.3:80",
            "[fe80::1]:80",
            "pins.example.com.:443",
        ];
        for ours in LOCAL.into_iter().chain(fixed) {
            assert!(host(&sites, ours), "{ours}");
        }
        for foreign in FOREIGN.into_iter().chain(["x.pins.example.com"]) {
            assert!(!host(&sites, foreign), "{foreign}");
        }
        for page in [
            "https://pins.example.com",
            "HTTP://PINS.example.com:8443",
            "http://10.0.0.9:1",
        ] {
            assert!(origin(&sites, page), "{page}");
        }
        for page in [
            "http://localhost",
            "http://gateway",
            "http://10.0.0.8",
            "null",
            "https://evil.example",
        ] {
            assert!(!origin(&sites, page), "{page}");
        }
    }

    #[test]
    fn with_tokens_any_host_is_served_unless_there_is_a_list_and_no_foreign_page() {
        for listen in ["127.0.0.1:1", "0.0.0.0:1"] {
            let open = sites(listen, true, &[]);
            assert!(host(&open, "evil.example") && !origin(&open, "http://localhost"));
            let listed = sites(listen, true, &["pins.example.com"]);
            assert!(!host(&listed, "evil.example") && host(&listed, "pins.example.com"));
            assert!(origin(&listed, "https://pins.example.com") && !origin(&listed, "https://evil.example"));
        }
    }

    #[test]
    fn no_host_two_hosts_and_hosts_in_targets() {
        let sites = sites("127.0.0.1:1", false, &[]);
        assert_eq!(check(&sites, "/", Version::HTTP_10, &[]), Ok(()));
        assert_eq!(check(&sites, "/", Version::HTTP_11, &[]), Err(SiteError::NoHost));
        let foreign = || Err(SiteError::Host("evil.example".to_owned()));
        assert_eq!(
            check(&sites, "/", Version::HTTP_10, &[("host", "evil.example")]),
            foreign()
        );
        let two = [("host", "localhost"), ("host", "localhost")];
        assert_eq!(check(&sites, "/", Version::HTTP_11, &two), Err(SiteError::SeveralHosts));
        let local = [("host", "localhost")];
        assert_eq!(
            check(&sites, "http://evil.example/pin/", Version::HTTP_11, &local),
            foreign()
        );
        assert_eq!(
            check(&sites, "http://127.0.0.1:8080/pin/", Version::HTTP_11, &local),
            Ok(())
        );
        let evil = [("host", "evil.example")];
        assert_eq!(
            check(&sites, "http://localhost/pin/", Version::HTTP_11, &evil),
            foreign()
        );
        let two = [
            ("host", "localhost"),
            ("origin", "http://localhost"),
            ("origin", "http://evil.example"),
        ];
        assert!(check(&sites, "/", Version::HTTP_11, &two).is_err());
    }
}
