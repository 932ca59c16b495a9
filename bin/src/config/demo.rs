//! Checked settings of `demo`.

use super::forms::{parse_duration, to_path};
use super::layers::Effective;
use super::problem::ConfigError;
use super::reader::Reader;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Posts of the history, if none are named: a replay that can be watched.
const POSTS: i64 = 50_000;

/// What `demo` needs.
#[derive(Clone, Debug, PartialEq)]
pub struct DemoSettings {
    /// Posts of the generated history.
    pub posts: u64,
    /// The generator's seed.
    pub seed: u64,
    /// Live records a second.
    pub rate: u64,
    /// Duration; `None`: until Ctrl-C.
    pub duration: Option<Duration>,
    /// Serve metrics and health here.
    pub listen: Option<SocketAddr>,
    /// Keep everything here instead of in a temporary folder.
    pub dir: Option<PathBuf>,
}

impl DemoSettings {
    /// Checks the settings of `demo`.
    pub fn check(effective: &Effective) -> Result<DemoSettings, ConfigError> {
        let mut reader = Reader::new(effective);
        let duration = reader.optional("demo.duration", parse_duration);
        let settings = DemoSettings {
            posts: reader.optional_whole("generate.posts", 0, 1 << 32).unwrap_or(POSTS) as u64,
            seed: reader.whole("generate.seed", 0, i64::MAX) as u64,
            rate: reader.whole("demo.rate", 0, 10_000_000) as u64,
            duration,
            listen: reader.listen(),
            dir: reader.optional("demo.dir", to_path),
        };
        reader.done(settings)
    }
}
