//! libpq's connection strings taken apart: a URL, or `key=value` words.
//!
//! A string is read as tokio-postgres reads it, so that what is masked is what is a password there: in a URL the
//! credentials end at the first `@`, whatever they hold. What could be a password that was not encoded (a second `@`,
//! a setting of an unknown name) is refused, and no error repeats a part of the string.

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::borrow::Cow;
use std::ops::Range;

/// What stands where a password was.
const MASK: &str = "***";

/// The settings that tokio-postgres knows, and those that [`crate::PostgresConfig`] takes out before.
const KNOWN: [&str; 22] = [
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslrootcert",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];

/// Why a connection string cannot be read. Settings are numbered from 1, because their names may be pieces of a
/// password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConninfoError {
    /// A `@` in the hosts or in the name of the database.
    #[error("there is a second `@`; in a user, a password or a name it is written %40")]
    SecondAt,
    /// What stands before the first `@` looks like settings.
    #[error("there is a `?` and a `=` before the first `@`; in a password they are written %3F and %3D, and `@` %40")]
    LateAt,
    /// A host with brackets, or a port, that is none.
    #[error("host {0} is not of the form HOST or HOST:PORT; `/` and `?` in a password are written %2F and %3F")]
    Host(usize),
    /// A setting without `=` or without a value.
    #[error(
        "setting {0} is not of the form name=value; values with spaces stand in single quotes, in a URL `&` is %26"
    )]
    Setting(usize),
    /// A quoted value without its end.
    #[error("the quoted value of setting {0} does not end")]
    Quote(usize),
    /// A name that is not among libpq's settings.
    #[error(
        "setting {0} has a name that is not known; the names are those of libpq, as host, port, user, dbname, sslmode"
    )]
    Unknown(usize),
    /// A port that is no number.
    #[error("a port is not a number")]
    Port,
    /// Percent-encoded bytes that are no UTF-8.
    #[error("percent-encoded text is not UTF-8")]
    Encoding,
    /// A connection string in the place of a database's name.
    #[error("dbname is a name, not a connection string")]
    Nested,
}

/// A connection string, taken apart.
#[derive(Clone, Debug)]
pub struct Conninfo<'a> {
    text: &'a str,
    /// Of a URL: what stands before its settings, without the `?`.
    head: Option<&'a str>,
    /// Of a URL: where the user before the hosts ends.
    user_end: Option<usize>,
    /// Of a URL: the password before the hosts.
    password: Option<Range<usize>>,
    settings: Vec<Setting>,
}

/// One `name=value`.
#[derive(Clone, Debug)]
struct Setting {
    name: String,
    value: String,
    /// All of it in the text.
    whole: Range<usize>,
    /// The value as it is written, quotes included.
    written: Range<usize>,
}

impl<'a> Conninfo<'a> {
    /// Takes a connection string apart.
    pub fn parse(text: &'a str) -> Result<Conninfo<'a>, ConninfoError> {
        let conninfo = match scheme_of(text) {
            Some(start) => url(text, start)?,
            None => Conninfo {
                text,
                head: None,
                user_end: None,
                password: None,
                settings: words(text)?,
            },
        };
        for (index, setting) in conninfo.settings.iter().enumerate() {
            if !KNOWN.contains(&setting.name.as_str()) {
                return Err(ConninfoError::Unknown(index + 1));
            }
            let is_port = |port: &str| port.is_empty() || port.parse::<u16>().is_ok();
            if setting.name == "port" && !setting.value.split(',').all(is_port) {
                return Err(ConninfoError::Port);
            }
            if setting.name == "dbname" && (setting.value.contains("://") || setting.value.contains('=')) {
                return Err(ConninfoError::Nested);
            }
        }
        Ok(conninfo)
    }

    /// The string with its passwords masked.
    pub fn masked(&self) -> String {
        let passwords = self.settings.iter().filter(|setting| setting.name == "password");
        let in_settings = passwords.map(|setting| &setting.written);
        let (mut masked, mut end) = (String::with_capacity(self.text.len()), 0);
        for hidden in self.password.iter().chain(in_settings) {
            masked.push_str(&self.text[end..hidden.start]);
            masked.push_str(MASK);
            end = hidden.end;
        }
        masked.push_str(&self.text[end..]);
        masked
    }

    /// Whether there is a password in it. An empty one is none, as libpq has it.
    pub fn has_password(&self) -> bool {
        match (self.get("password"), &self.password) {
            // a setting wins over what stands before the hosts
            (Some(password), _) => !password.is_empty(),
            (None, Some(written)) => !written.is_empty(),
            (None, None) => false,
        }
    }

    /// The string with this password; one that is there already stays.
    pub fn with_password(&self, password: &str) -> String {
        if password.is_empty() || self.has_password() {
            return self.text.to_owned();
        }
        // an empty one would win over what is put in; what stands before the settings keeps its place
        let text = match (self.get("password"), self.head) {
            (None, Some(_)) => self.text.to_owned(),
            _ => self.without(&["password"]),
        };
        match (self.head, self.user_end, &self.password) {
            (Some(_), _, Some(written)) => {
                let (before, after) = (&text[..written.start], &text[written.end..]);
                format!("{before}{}{after}", percent_encoded(password))
            }
            (Some(_), Some(end), None) => {
                let (before, after) = text.split_at(end);
                format!("{before}:{}{after}", percent_encoded(password))
            }
            (Some(_), None, None) => {
                let joint = if text.contains('?') { '&' } else { '?' };
                format!("{text}{joint}password={}", percent_encoded(password))
            }
            (None, ..) => {
                let quoted = password.replace('\\', "\\\\").replace('\'', "\\'");
                let joint = if text.is_empty() { "" } else { " " };
                format!("{text}{joint}password='{quoted}'")
            }
        }
    }

    /// The value of a setting; the last of a name counts.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.settings.iter().rev().find(|setting| setting.name == name);
        found.map(|setting| setting.value.as_str())
    }

    /// The string without these settings.
    pub(crate) fn without(&self, names: &[&str]) -> String {
        let kept = self
            .settings
            .iter()
            .filter(|setting| !names.contains(&setting.name.as_str()));
        let kept = kept.map(|setting| {
            // an empty value at the end, which tokio-postgres takes for a string that was cut off
            let is_open = self.head.is_none() && setting.written.is_empty();
            let quotes = if is_open { "''" } else { "" };
            format!("{}{quotes}", &self.text[setting.whole.clone()])
        });
        let kept: Vec<String> = kept.collect();
        match self.head {
            Some(head) if kept.is_empty() => head.to_owned(),
            Some(head) => format!("{head}?{}", kept.join("&")),
            None => kept.join(" "),
        }
    }
}

/// Where the rest of a URL begins; `None`: the text is none.
fn scheme_of(text: &str) -> Option<usize> {
    let schemes = ["postgres://", "postgresql://"];
    let scheme = schemes.iter().find(|scheme| text.starts_with(**scheme))?;
    Some(scheme.len())
}

fn url(text: &str, start: usize) -> Result<Conninfo<'_>, ConninfoError> {
    let credentials = text[start..].find('@').map(|at| start..start + at);
    let hosts_at = credentials.as_ref().map_or(start, |credentials| credentials.end + 1);
    // `host/x?password=a@b` has its first `@` in a setting
    let is_setting = |text: &str| text.split_once('?').is_some_and(|(_, rest)| rest.contains('='));
    if credentials
        .clone()
        .is_some_and(|credentials| is_setting(&text[credentials]))
    {
        return Err(ConninfoError::LateAt);
    }
    let user_end = credentials.as_ref().map(|credentials| credentials.end);
    let password = credentials.and_then(|credentials| {
        let colon = text[credentials.clone()].find(':')?;
        Some(credentials.start + colon + 1..credentials.end)
    });
    let query = text[hosts_at..].find('?').map(|at| hosts_at + at);
    let head = &text[..query.unwrap_or(text.len())];
    let place = &head[hosts_at..];
    if place.contains('@') {
        return Err(ConninfoError::SecondAt);
    }
    let (hosts, database) = place.split_once('/').unwrap_or((place, ""));
    for (index, host) in hosts.split(',').enumerate().filter(|_| !hosts.is_empty()) {
        if !is_host(host) {
            return Err(ConninfoError::Host(index + 1));
        }
    }
    if percent_decoded(database)?.contains("://") {
        return Err(ConninfoError::Nested);
    }
    let mut settings = Vec::new();
    let mut at = query.map_or(text.len(), |query| query + 1);
    while at < text.len() {
        let end = text[at..].find('&').map_or(text.len(), |length| at + length);
        let wrong = ConninfoError::Setting(settings.len() + 1);
        let equals = at + text[at..end].find('=').ok_or(wrong)?;
        settings.push(Setting {
            name: percent_decoded(&text[at..equals])?,
            value: percent_decoded(&text[equals + 1..end])?,
            whole: at..end,
            written: equals + 1..end,
        });
        at = end + 1;
    }
    Ok(Conninfo {
        text,
        head: Some(head),
        user_end,
        password,
        settings,
    })
}

/// `HOST`, `HOST:PORT`, `[ADDRESS]:PORT`, or a percent-encoded folder.
fn is_host(host: &str) -> bool {
    let port = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((_, "")) => None,
            Some((_, rest)) => rest.strip_prefix(':').or(Some("none")),
            None => return false,
        },
        None => host.split_once(':').map(|(_, port)| port),
    };
    port.is_none_or(|port| port.is_empty() || port.parse::<u16>().is_ok())
}

fn words(text: &str) -> Result<Vec<Setting>, ConninfoError> {
    let mut settings = Vec::new();
    let blank_from = |at: usize| at + text[at..].len() - text[at..].trim_start().len();
    let mut at = blank_from(0);
    while at < text.len() {
        let number = settings.len() + 1;
        let start = at;
        let ends_name = |c: char| c == '=' || c.is_whitespace();
        let name_end = at + text[at..].find(ends_name).ok_or(ConninfoError::Setting(number))?;
        let equals = blank_from(name_end);
        if name_end == start || !text[equals..].starts_with('=') {
            return Err(ConninfoError::Setting(number));
        }
        let value_at = blank_from(equals + 1);
        let (value, end) = word_value(text, value_at, number)?;
        settings.push(Setting {
            name: text[start..name_end].to_owned(),
            value,
            whole: start..end,
            written: value_at..end,
        });
        at = blank_from(end);
    }
    if settings.is_empty() {
        Err(ConninfoError::Setting(1))
    } else {
        Ok(settings)
    }
}

/// A value, plain or in single quotes, in which a backslash escapes the next character; and where it ends.
fn word_value(text: &str, at: usize, number: usize) -> Result<(String, usize), ConninfoError> {
    let quoted = text[at..].starts_with('\'');
    let (mut value, mut escaped) = (String::new(), false);
    for (index, c) in text[at..].char_indices().skip(usize::from(quoted)) {
        match c {
            _ if escaped => {
                value.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            // the next word needs no blank before it in tokio-postgres, and none here
            '\'' if quoted => return Ok((value, at + index + 1)),
            c if c.is_whitespace() && !quoted => return Ok((value, at + index)),
            c => value.push(c),
        }
    }
    // an empty value at the end of the text is one, as libpq has it
    match (quoted, value.is_empty() && at < text.len()) {
        (true, _) => Err(ConninfoError::Quote(number)),
        (false, true) => Err(ConninfoError::Setting(number)),
        (false, false) => Ok((value, text.len())),
    }
}

fn percent_decoded(text: &str) -> Result<String, ConninfoError> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Cow::into_owned).map_err(|_| ConninfoError::Encoding)
}

/// Encodes everything but letters and digits, so that no character can end the value.
pub fn percent_encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests;
