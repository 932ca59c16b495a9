//! A bridge from its start to its end: one session, and a new one when Kafka was away.

use super::config::BridgeConfig;
use super::error::BridgeError;
use super::kinesis::Kinesis;
use super::observer::{Copied, Observer};
use super::positions::Owner;
use super::reader::Shared;
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
    let mut failing: Option<Instant> = None;
    let mut worked = false;
    loop {
        let before = copied;
        let ended = session(&bridge, &mut copied, &mut stop, &mut worked).await;
        if copied != before {
            failing = None;
        }
        let error = match ended {
            Ok(()) => return Ok(copied),
            Err(SessionError::Failed(error)) => return Err(error),
            Err(SessionError::Fenced) => {
                // a bridge that takes over says so at once
                tokio::time::sleep(PAUSE).await;
                let recorded = bridge.positions_topic().load().await?.owner;
                match recorded.filter(|owner| *owner != bridge.owner) {
                    None => BridgeError::TooLong,
                    Some(owner) => {
                        let (positions, by) = (bridge.config.positions.clone(), owner.to_string());
                        return Err(BridgeError::Fenced { positions, by });
                    }
                }
            }
            Err(SessionError::Over(error)) => error,
        };
        let since = *failing.get_or_insert_with(Instant::now);
        if !worked || since.elapsed() >= PATIENCE {
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

async fn session(
    bridge: &Bridge,
    copied: &mut Copied,
    stop: &mut watch::Receiver<bool>,
    worked: &mut bool,
) -> Result<(), SessionError> {
    let mut told = stop.clone();
    let started = tokio::select! {
        _ = told.wait_for(|stop| *stop) => return Ok(()),
        started = Session::start(bridge, copied) => started,
    };
    let mut session = started?;
    *worked = true;
    session.copy(stop).await
}
