//! What docs/security.md promises, on real servers: certificates that servers demand, secrets that nobody sees, and
//! roles that suffice.

mod certificates;
mod dead_letters;
mod demo;
mod roles;

use std::time::Duration;

const SOON: Duration = Duration::from_secs(90);
