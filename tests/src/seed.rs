//! The seed of a run's random choices: new in each run, printed, and taken from `PINFLOW_TEST_SEED` where that is set.
//!
//! The tests of other crates include this file by its path, so it needs the standard library alone.

use std::num::ParseIntError;
use std::time::{SystemTime, UNIX_EPOCH};

/// The seed of this run; an error when `PINFLOW_TEST_SEED` is not a number.
pub fn seed() -> Result<u64, ParseIntError> {
    let seed = match std::env::var("PINFLOW_TEST_SEED") {
        Ok(seed) => seed.parse()?,
        Err(_) => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
    };
    eprintln!("PINFLOW_TEST_SEED={seed} repeats what follows");
    Ok(seed)
}
