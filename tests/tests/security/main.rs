//! What docs/security.md promises, on real servers: certificates that servers demand, secrets that nobody sees, roles
//! that suffice, and services without privileges.

mod certificates;
mod dead_letters;
mod demo;
mod roles;
mod units;

use std::time::Duration;

const SOON: Duration = Duration::from_secs(90);
