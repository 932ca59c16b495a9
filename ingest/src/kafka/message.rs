//! librdkafka's texts in one sentence: the broker and the cause.
//!
//! It puts its thread's name before them, the broker with its protocol and kind twice, how long the try took and how
//! many it kept back behind them, and OpenSSL's place in its source in between.

/// What is left of a text.
const MOST: usize = 300;
/// The broker has closed the connection, as one does that is spoken to in another protocol than it expects.
pub(super) const CLOSED: &str = "the broker closed the connection";

/// `127.0.0.1:9092: Connection refused` of
/// `[thrd:127.0.0.1:9092/bootstrap]: 127.0.0.1:9092/bootstrap: Connect to ipv4#127.0.0.1:9092 failed: Connection
/// refused (after 0ms in state CONNECT, 3 identical error(s) suppressed)`.
pub(super) fn normalize_message(said: &str) -> String {
    let said = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let said = said.collect::<Vec<_>>().join("; ");
    let said = match said.strip_prefix("[thrd:").and_then(|said| said.split_once("]: ")) {
        Some((_, said)) => said,
        None => &said,
    };
    let said = said.rsplit_once(" (after ").map_or(said, |(said, _)| said);
    let (broker, cause) = match said.split_once(": ").map(|(name, cause)| (broker(name), cause)) {
        Some((Some(broker), cause)) => (Some(broker), cause),
        _ => (None, said),
    };
    let cause = cause.strip_prefix("Connect to ").map_or(cause, |connect| {
        connect.split_once(" failed: ").map_or(cause, |(_, reason)| reason)
    });
    let cause = match cause {
        "Disconnected: connection closed by peer" => CLOSED,
        cause if cause.starts_with("Disconnected: connection closed by peer: receive 0 after") => CLOSED,
        // with or without "SSL handshake failed" around it, as the moment has it
        cause if cause.contains("Disconnected: SSL connection closed by peer") => CLOSED,
        cause => cause,
    };
    let cause = without_openssl(cause);
    let text = match broker {
        // a name that cannot be resolved is in the text
        Some(broker) if !cause.contains(broker) => format!("{broker}: {cause}"),
        _ => cause,
    };
    cut(text.trim_end_matches([' ', ':', '.']))
}

/// `host:port` of `sasl_ssl://host:port/bootstrap` or `host:port/1`.
fn broker(name: &str) -> Option<&str> {
    let (name, _) = name.rsplit_once('/')?;
    let name = name.rsplit_once("//").map_or(name, |(_, name)| name);
    let is_address = name.rsplit_once(':')?.1.bytes().all(|byte| byte.is_ascii_digit());
    (is_address && !name.contains(' ')).then_some(name)
}

/// Leaves of `error:0A000086:SSL routines::certificate verify failed` what went wrong.
fn without_openssl(cause: &str) -> String {
    let Some((before, after)) = cause.split_once("error:") else {
        return cause.to_owned();
    };
    // the code, the library, the function, the reason
    let mut fields = after.splitn(4, ':');
    let is_code = |code: &str| code.len() == 8 && code.bytes().all(|byte| byte.is_ascii_hexdigit());
    match (fields.next(), fields.next(), fields.next(), fields.next()) {
        (Some(code), Some(_), Some(_), Some(reason)) if is_code(code) => {
            // a place in OpenSSL's source may stand before the code
            let is_place = |part: &&str| part.contains(".c:");
            let before = before.split(": ").filter(|part| !part.is_empty() && !is_place(part));
            before.chain([reason]).collect::<Vec<_>>().join(": ")
        }
        _ => cause.to_owned(),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As librdkafka 2.12 said them to a closed port, an unknown host, a wrong password, TLS against plain text.
    #[test]
    fn texts_of_librdkafka_become_sentences() {
        for (said, expected) in [
            (
                "[thrd:127.0.0.1:1/bootstrap]: 127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection \
                 refused (after 0ms in state CONNECT, 1 identical error(s) suppressed)",
                "127.0.0.1:1: Connection refused",
            ),
            (
                "[::1]:9092/3: Connect to ipv6#[::1]:9092 failed: Connection refused (after 0ms in state CONNECT)",
                "[::1]:9092: Connection refused",
            ),
            (
                "no.such.host:9092/bootstrap: Failed to resolve 'no.such.host:9092': Name or service not known (after \
                 3ms in state CONNECT)",
                "Failed to resolve 'no.such.host:9092': Name or service not known",
            ),
            (
                "sasl_plaintext://b-1.kafka:9096/2: SASL authentication error: Authentication failed: Invalid username \
                 or password (after 327ms in state AUTH_REQ, 1 identical error(s) suppressed)",
                "b-1.kafka:9096: SASL authentication error: Authentication failed: Invalid username or password",
            ),
            (
                "[thrd:ssl://127.0.0.1:34015/bootstrap]: ssl://127.0.0.1:34015/bootstrap: SSL handshake failed: \
                 Disconnected: SSL connection closed by peer: connecting to a PLAINTEXT broker listener? (after 11ms in \
                 state SSL_HANDSHAKE)",
                "127.0.0.1:34015: the broker closed the connection",
            ),
            (
                "ssl://127.0.0.1:42077/bootstrap: Disconnected: SSL connection closed by peer (after 0ms in state \
                 CONNECT)",
                "127.0.0.1:42077: the broker closed the connection",
            ),
            (
                "ssl://b:9093/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: \
                 broker certificate could not be verified, verify that ssl.ca.location is correctly configured (after \
                 5ms in state SSL_HANDSHAKE)",
                "b:9093: SSL handshake failed: certificate verify failed: broker certificate could not be verified, \
                 verify that ssl.ca.location is correctly configured",
            ),
            (
                "ssl.ca.location failed: crypto/x509/by_file.c:231: error:05880002:x509 certificate routines::system lib",
                "ssl.ca.location failed: system lib",
            ),
            (
                "127.0.0.1:39737/bootstrap: Disconnected: connection closed by peer: receive 0 after POLLIN (after 24ms \
                 in state UP)",
                "127.0.0.1:39737: the broker closed the connection",
            ),
            (
                "sasl_plaintext://b:9/bootstrap: SASL PLAIN mechanism handshake failed: Broker: Request not valid in \
                 current SASL state: broker's supported mechanisms:  (after 1ms in state AUTH_HANDSHAKE)",
                "b:9: SASL PLAIN mechanism handshake failed: Broker: Request not valid in current SASL state: broker's \
                 supported mechanisms",
            ),
            ("1/1 brokers are down", "1/1 brokers are down"),
            (
                "Configuration property: a/b: is\n  wrong\n",
                "Configuration property: a/b: is; wrong",
            ),
            ("", ""),
        ] {
            assert_eq!(normalize_message(said), expected);
        }
    }

    #[test]
    fn a_page_is_cut() {
        let text = normalize_message(&"ä ".repeat(2000));
        assert_eq!(text.chars().count(), MOST + 1);
        assert!(text.ends_with('…'));
    }
}
