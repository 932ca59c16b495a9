//! Checks of single values: durations, addresses, names, host files. Each returns the value or a message.

use super::secret::mask_value;
use ingest::coverage::{AcceptGap, AcceptGapError};
use ingest::lake::{LakeError, LakeUrl};
use std::path::PathBuf;
use std::time::Duration;

/// `30s`, `5m`, `1h30m`, `5ms`, or seconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("invalid duration `{text}`: expected 5ms, 30s, 5m or 1h30m");
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let (mut total, mut digits) = (0u64, String::new());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let milliseconds = match c {
            '0'..='9' => {
                digits.push(c);
                continue;
            }
            'm' if chars.next_if_eq(&'s').is_some() => 1,
            's' => 1_000,
            'm' => 60_000,
            'h' => 3_600_000,
            'd' => 86_400_000,
            _ => return Err(wrong()),
        };
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        total = number
            .checked_mul(milliseconds)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(wrong)?;
        digits.clear();
    }
    if text.is_empty() || !digits.is_empty() {
        Err(wrong())
    } else {
        Ok(Duration::from_millis(total))
    }
}

/// A pace is a part of what readers of the tables wait; the fence's heartbeat comes once a second.
pub(super) fn check_pace(text: &str) -> Result<Duration, String> {
    let pace = parse_duration(text)?;
    if pace <= Duration::from_secs(1) {
        Ok(pace)
    } else {
        Err(format!("`{text}` exceeds the maximum of 1s"))
    }
}

/// A process sends a beat a second, and one that is late has not failed.
pub(super) fn check_peer_timeout(text: &str) -> Result<Duration, String> {
    let timeout = parse_duration(text)?;
    if timeout >= Duration::from_secs(3) {
        Ok(timeout)
    } else {
        Err(format!("`{text}` is below the minimum of 3s"))
    }
}

pub(super) fn to_path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        Err("the path is empty".into())
    } else {
        Ok(PathBuf::from(text))
    }
}

/// The URL of a lake is logged, so it must not contain keys of S3.
pub(super) fn check_lake_url(url: &str) -> Result<LakeUrl, String> {
    without_secret(url)?;
    url.parse().map_err(|error: LakeError| causes::with_causes(&error))
}

/// The URL of a target of the same forms.
pub(super) fn check_target_url(url: &str) -> Result<LakeUrl, String> {
    without_secret(url)?;
    url.parse().map_err(|error: LakeError| match error {
        LakeError::Url { why, .. } => {
            format!("invalid target `{url}`: {why} (expected file:///folder or s3://bucket/prefix)")
        }
        other => causes::with_causes(&other),
    })
}

pub(super) fn check_http_url(url: &str) -> Result<String, String> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    match rest {
        Some(host) if !host.is_empty() && !host.starts_with('/') => without_secret(url).map(|()| url.to_owned()),
        _ => Err(format!(
            "invalid URL `{}`: expected http://host:port or https://host",
            mask_value(url)
        )),
    }
}

/// Refuses a URL that is logged and holds a secret.
fn without_secret(url: &str) -> Result<(), String> {
    match mask_value(url) {
        masked if masked == url => Ok(()),
        masked => Err(format!(
            "`{masked}`: the URL contains a secret; use AWS credentials instead"
        )),
    }
}

pub(super) fn check_bootstrap(servers: &str) -> Result<String, String> {
    // of an address with a user nothing is repeated
    if servers.contains('@') {
        return Err("invalid broker address: expected HOST:PORT; user and password are the properties sasl.username and sasl.password".into());
    }
    let wrong = |server: &str| Err(format!("invalid address `{server}`: expected HOST:PORT"));
    for server in servers.split(',') {
        // librdkafka also takes a protocol before the host
        let address = server
            .trim()
            .rsplit_once("://")
            .map_or(server.trim(), |(_, address)| address);
        let port = address
            .rsplit_once(':')
            .map_or(Some(9092), |(_, port)| port.parse::<u16>().ok());
        if address.is_empty() || address.starts_with(':') || port.is_none() {
            return wrong(server);
        }
    }
    Ok(servers.to_owned())
}

/// Kafka's rule for topic names, and `+`, which stands in names of lakes.
pub(super) fn check_topic(name: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'+');
    if name.is_empty() || name.len() > 249 || name == "." || name == ".." || !name.bytes().all(plain) {
        return Err(format!(
            "invalid topic name `{name}`: expected letters, digits, `.`, `_` and `-`, at most 249"
        ));
    }
    Ok(name.to_owned())
}

pub(super) fn check_gap(gap: &str) -> Result<AcceptGap, String> {
    gap.parse().map_err(|error: AcceptGapError| error.to_string())
}

pub(super) fn check_level(level: &str) -> Result<String, String> {
    tracing_subscriber::EnvFilter::try_new(level)
        .map(|_| level.to_owned())
        .map_err(|error| format!("invalid log level `{level}` ({error}): expected error, warn, info, debug or trace"))
}

pub(super) fn read_hosts(path: &str) -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    let mut hosts = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let host = line.trim();
        if host.is_empty() || host.starts_with('#') {
            continue;
        }
        let valid = host
            .rsplit_once(':')
            .is_some_and(|(name, port)| !name.is_empty() && port.parse::<u16>().is_ok());
        if !valid {
            return Err(format!(
                "{path}:{}: invalid address `{host}`: expected HOST:PORT",
                index + 1
            ));
        }
        hosts.push(host.to_owned());
    }
    if hosts.is_empty() {
        Err(format!("{path} contains no host"))
    } else {
        Ok(hosts)
    }
}
