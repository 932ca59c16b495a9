//! What docs/security.md promises, on real servers: certificates that servers demand, and secrets that nobody sees.

mod certificates;
mod demo;

use std::time::Duration;

const SOON: Duration = Duration::from_secs(90);
