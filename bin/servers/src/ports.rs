//! Ports of 127.0.0.1 for servers.
//!
//! The system gives ports of its ephemeral range to outgoing connections and to listeners that ask for any port. A server
//! that is to keep its port over a restart, or that binds it a moment after it was chosen, has one outside that range,
//! which the system gives to no other program.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::TcpListener;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// The lowest port: those below need privileges, or belong to well-known services.
const LOWEST: u16 = 10_240;
/// The fewest ports to choose from.
const ENOUGH: u16 = 1_000;

/// A port of 127.0.0.1 that was free a moment ago, outside the ephemeral range; no other call of this process is given it.
/// Another process may take it before it is used: servers that get one from here are started again with another when they
/// cannot bind.
///
/// # Errors
/// No port can be bound.
pub fn free_port() -> io::Result<u16> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let ports = outside(&ephemeral());
    let (first, count) = (ports.start, u64::from(ports.end - ports.start));
    // processes that look at the same time begin at different places
    let begin = RandomState::new().build_hasher().finish();
    let candidates = (0..count).map(|step| {
        let place = begin.wrapping_add(step) % count;
        first + u16::try_from(place).unwrap_or(0)
    });
    let mut last = io::ErrorKind::AddrInUse.into();
    for port in candidates {
        if given.contains(&port) {
            continue;
        }
        match TcpListener::bind(("127.0.0.1", port)) {
            Ok(_) => {
                given.insert(port);
                return Ok(port);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The ports that the system gives away; Linux's default where it does not say.
fn ephemeral() -> Range<u16> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let numbers: Vec<u16> = text.split_whitespace().flat_map(str::parse).collect();
    match numbers[..] {
        [first, last] => first..last.saturating_add(1),
        _ => 32_768..61_000,
    }
}

/// Where to look: below the ephemeral ports, or else above them; everywhere when they leave no room.
fn outside(ephemeral: &Range<u16>) -> Range<u16> {
    let (below, above) = (LOWEST..ephemeral.start, ephemeral.end.max(LOWEST)..u16::MAX);
    let are_enough = |ports: &Range<u16>| ports.end.saturating_sub(ports.start) >= ENOUGH;
    [below, above].into_iter().find(are_enough).unwrap_or(LOWEST..u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_outside_the_ephemeral_range_and_are_given_once() {
        let ephemeral = ephemeral();
        let ports: Vec<u16> = (0..50).map(|_| free_port().unwrap()).collect();
        let distinct: BTreeSet<_> = ports.iter().collect();
        assert_eq!(distinct.len(), ports.len(), "{ports:?}");
        assert!(ports.iter().all(|port| !ephemeral.contains(port)), "{ports:?}");
    }

    #[test]
    fn wherever_the_ephemeral_range_is_there_are_ports() {
        assert_eq!(outside(&(32_768..61_000)), 10_240..32_768);
        assert_eq!(outside(&(1_024..50_000)), 50_000..65_535);
        assert_eq!(outside(&(1_024..65_535)), 10_240..65_535);
    }
}
