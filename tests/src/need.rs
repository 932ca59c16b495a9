//! What a test needs of the machine it runs on: the real data, servers, limits. Where it is missing the test is skipped
//! and counted in the last line of `make test`; under CI it fails.
//!
//! The tests of other crates include this file by its path, so it needs the standard library alone.

#![allow(dead_code, reason = "each of the programs that include it uses a part")]

use std::io::Write;
use std::path::{Path, PathBuf};

/// Whether tests run for a verdict, where nothing may be skipped.
fn is_ci(value: Option<&str>) -> bool {
    !matches!(value, None | Some("" | "0" | "false"))
}

/// Says that the calling test is skipped, and why; it returns then. Panics under CI.
pub fn skip(missing: &str) {
    assert!(!is_ci(std::env::var("CI").ok().as_deref()), "CI is set, and {missing}");
    skip_everywhere(missing);
}

/// The same for what no setting of a machine can provide, as a right that containers lack: skipped under CI, too.
pub fn skip_everywhere(missing: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("main");
    // not by a macro: of tests that pass, what those print is not shown
    let _ = writeln!(std::io::stderr(), "skipped test {test}: {missing}");
}

/// A file of the real data: in the folder that `PINFLOW_TEST_DATA` names, or in `shared/data` beside the checkout.
pub fn data(name: &str) -> Option<PathBuf> {
    let folder = match std::env::var_os("PINFLOW_TEST_DATA") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
    };
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    skip(&format!("{} is missing (or set PINFLOW_TEST_DATA)", path.display()));
    None
}

/// The folder of Apache Kafka's jars: the one that `PINFLOW_KAFKA_LIBS` names, or the one that `tests/setup/kafka.sh`
/// fills.
pub fn kafka_libs() -> PathBuf {
    match std::env::var_os("PINFLOW_KAFKA_LIBS") {
        Some(libs) => libs.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/kafka/libs"),
    }
}
