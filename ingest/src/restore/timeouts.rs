//! How long a restore counts as alive that is not heard of, and what follows from it for the records that it sends.
//!
//! ```text
//!  heartbeat   awake         window       delivery                       session
//!  |-----------|-------------|------------|------------------------------|·······→ another one may begin
//!    1/10         1/5           1/5          1/2 of the session
//! ```
//!
//! The last record that is sent on the strength of a heartbeat is dropped before the session of that heartbeat is over,
//! wherever in between the process is frozen. Who takes the place of another one waits for a while longer.

use crate::kafka::KafkaConfig;
use std::time::Duration;

/// The property that a user may set.
pub(super) const SESSION_TIMEOUT: &str = "session.timeout.ms";
/// The group session if none is configured.
const SESSION: Duration = Duration::from_secs(30);

/// All of them follow from the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timeouts {
    /// The group gives the place of a member away so long after its last heartbeat.
    pub(super) session: Duration,
    /// Between two heartbeats.
    pub(super) heartbeat: Duration,
    /// The thread that hears of the group has run within this time, or it has been frozen.
    pub(super) awake: Duration,
    /// The records of a window are sent within this time from its beginning.
    pub(super) window: Duration,
    /// No record is sent (again) after this.
    pub(super) delivery: Duration,
    /// Who takes the place of another one waits for so long.
    pub(super) grace: Duration,
}

impl Timeouts {
    pub(super) fn of(config: &KafkaConfig) -> Timeouts {
        let mut given = config.properties.iter().rev();
        let given = given.find(|(name, _)| name == SESSION_TIMEOUT);
        let given = given
            .and_then(|(_, value)| value.parse().ok())
            .map(Duration::from_millis);
        let session = given.unwrap_or(SESSION);
        Timeouts {
            session,
            heartbeat: session / 10,
            awake: session / 5,
            window: session / 5,
            delivery: session / 2,
            grace: session / 10 + Duration::from_secs(1),
        }
    }

    /// How long a member that was frozen waits: until then it has been heard of again, or has lost its place.
    pub(super) fn settle(&self) -> Duration {
        self.heartbeat * 2 + Duration::from_secs(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_record_is_sent_after_another_restore_may_have_begun() {
        let mut short = KafkaConfig::new("b:1");
        short.properties.push(("session.timeout.ms".into(), "6000".into()));
        for (config, session) in [(KafkaConfig::new("b:1"), 30), (short, 6)] {
            let timeouts = Timeouts::of(&config);
            assert_eq!(timeouts.session, Duration::from_secs(session));
            let last = timeouts.heartbeat + timeouts.awake + timeouts.window + timeouts.delivery;
            assert!(last <= timeouts.session, "{timeouts:?}");
        }
    }
}
