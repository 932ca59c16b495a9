//! The long and the short versions of scenarios.

/// Whether the long versions of the scenarios shall run (`make test-long`).
pub fn long() -> bool {
    std::env::var_os("PINFLOW_TEST_LONG").is_some_and(|value| value != "0")
}
