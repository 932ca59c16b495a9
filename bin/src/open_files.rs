//! How many files the process may open: each connection takes one.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Many systems begin with few: raises the limit to the greatest there may be. Returns how many there may be.
pub fn raise() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!("the number of open files stays as it is: {error}");
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
