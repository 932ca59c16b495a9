//! A bridge from its start to its end: one session, and a new one when Kafka was away.

use super::config::BridgeConfig;
use super::error::BridgeError;
use super::kinesis::Kinesis;
use super::observer::{Copied, Observer};
use super::positions::Owner;
use super::reader::Shared;
use super::route::Routes;
use super::session::{Bridge, Session};
use super::session_error::SessionError;
use ingest::kafka::Cluster;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};
use tokio::task::block_in_place;

/// For how long no session may commit before the bridge gives up.
const PATIENCE: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_secs(2);

/// Copies the stream until `stop` is true, or to its tip; what it copied.
///
/// # Errors
/// See [`BridgeError`]. What was committed stays, and the next start continues behind it.
pub async fn bridge(
    config: BridgeConfig,
    observer: Arc<dyn Observer>,
    mut stop: watch::Receiver<bool>,
) -> Result<Copied, BridgeError> {
    let shared = Shared {
        kinesis: Kinesis::open(&config.kinesis).await,
        stream: config.kinesis.stream.clone(),
        observer,
        budget: Arc::new(Semaphore::new(config.buffer_bytes)),
        // until the stream was asked
        retention_ms: AtomicU64::new(u64::MAX),
        poll_interval: config.poll_interval,
        accept_trimmed: config.accept_trimmed,
    };
    let cluster = block_in_place(|| Cluster::connect(&config.kafka))?;
    let bridge = Bridge {
        config: Arc::new(config),
        shared: Arc::new(shared),
        cluster,
        owner: Owner::this(),
    };
    let mut copied = Copied::default();
    // those of all sessions: keys stay where they are
    let mut routes = Routes::new(Arc::clone(&bridge.config));
    let mut failures = Failures::default();
    // another producer may have the positions, and it is not known whose: this one does not take them back
    let mut fenced = false;
    loop {
        let ended = if fenced {
            Err(SessionError::Fenced)
        } else {
            session(&bridge, &mut routes, &mut copied, &mut stop, &mut failures).await
        };
        let error = match ended {
            Ok(()) => return Ok(copied),
            Err(SessionError::Failed(error)) => may_pass(&bridge, error)?,
            Err(SessionError::Fenced) => {
                // a bridge that takes over says so at once
                tokio::time::sleep(PAUSE).await;
                let loaded = bridge.positions_topic().load().await;
                fenced = loaded.is_err();
                match loaded.map(|recorded| recorded.owner.filter(|owner| *owner != bridge.owner)) {
                    Ok(None) => BridgeError::TooLong,
                    Ok(Some(owner)) => {
                        let (positions, by) = (bridge.config.positions.clone(), owner.to_string());
                        return Err(BridgeError::Fenced { positions, by });
                    }
                    Err(error) => may_pass(&bridge, error)?,
                }
            }
            Err(SessionError::Over(error)) => error,
        };
        if !failures.again(Instant::now()) {
            return Err(error);
        }
        tracing::warn!(
            "Kafka did not take a transaction, beginning again: {}",
            causes::with_causes(&error)
        );
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return Ok(copied),
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// The error again, if the same may succeed later.
fn may_pass(bridge: &Bridge, error: BridgeError) -> Result<BridgeError, BridgeError> {
    match &error {
        // no transaction is open any more: there is time to ask again
        BridgeError::NoTopic { topic } => match block_in_place(|| bridge.cluster.confirmed_absent(topic)) {
            Ok(true) => Err(error),
            Ok(false) => Ok(error),
            Err(unanswered) => may_pass(bridge, unanswered.into()),
        },
        passing if passing.can_pass() => Ok(error),
        _ => Err(error),
    }
}

/// The sessions that ended in a failure, one after the other.
#[derive(Default)]
struct Failures {
    /// Some session has begun to copy: the configuration is right.
    worked: bool,
    since: Option<Instant>,
}

impl Failures {
    /// A session has copied for so long.
    fn lasted(&mut self, time: Duration, has_committed: bool) {
        if has_committed || time >= PATIENCE {
            self.since = None;
        }
    }

    /// Whether another session is worth while after a failure.
    fn again(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        self.worked && now.duration_since(since) < PATIENCE
    }
}

async fn session(
    bridge: &Bridge,
    routes: &mut Routes,
    copied: &mut Copied,
    stop: &mut watch::Receiver<bool>,
    failures: &mut Failures,
) -> Result<(), SessionError> {
    let mut told = stop.clone();
    let started = tokio::select! {
        _ = told.wait_for(|stop| *stop) => return Ok(()),
        started = Session::start(bridge, routes, copied) => started,
    };
    let mut session = started?;
    failures.worked = true;
    let began = Instant::now();
    let ended = session.copy(stop).await;
    failures.lasted(began.elapsed(), session.has_committed());
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outages_count_together_only_if_nothing_worked_between_them() {
        let (start, minute) = (Instant::now(), Duration::from_secs(60));
        assert!(!Failures::default().again(start), "nothing has ever worked");
        let mut failures = Failures {
            worked: true,
            since: None,
        };
        assert!(failures.again(start));
        failures.lasted(minute, false);
        assert!(failures.again(start + 4 * minute));
        assert!(!failures.again(start + 5 * minute), "five minutes");
        // a transaction was written, or for long none was due
        failures.lasted(minute, true);
        assert!(failures.again(start + 60 * minute));
        failures.lasted(60 * minute, false);
        assert!(failures.again(start + 120 * minute));
        assert!(!failures.again(start + 125 * minute));
    }
}
