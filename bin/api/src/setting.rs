//! A setting as it may be shown.

use serde::{Deserialize, Serialize};

/// A setting of the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Its section and name, as in `kafka.bootstrap`.
    pub key: String,
    /// Its value, with `***` for what is secret.
    pub value: String,
    /// What kind of source gave it: `default`, `file`, `environment` or `flag`.
    pub source: String,
    /// The source itself: the file and its line, the variable, the flag, or `default`.
    pub origin: String,
}
