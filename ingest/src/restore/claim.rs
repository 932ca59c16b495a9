//! Keeps other restores of a topic away: the one whose consumer has the first partition in the group
//! `pinflow-restore-TOPIC` may write, and no other.
//!
//! The group's coordinator decides, so that there is nothing to clean up after a crash: a member that is not heard of
//! for its session loses its place. Who finds members in the group does not join, but waits for as long as a dead one may
//! still be counted, and then leaves the topic to the living one. Whoever has lost the claim never gets it back: what
//! stands in the topic may have changed.
//!
//! Before a member gives its place up it waits for the window that is on its way. One that was frozen for longer than its
//! session cannot: what it has handed to the producer is too old to be sent by then, and it begins no window before it
//! has heard of the group again ([`Timeouts`]).

use super::error::RestoreError;
use super::timeouts::{SESSION_TIMEOUT, Timeouts};
use crate::kafka::{KafkaConfig, KafkaError, LibrdkafkaError, Tokens, log_line};
use rdkafka::TopicPartitionList;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError as Native, RDKafkaErrorCode as Code};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a question to the coordinator may take.
const ANSWER: Duration = Duration::from_secs(10);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a group may take to give its place to a single member, beside the session of a dead one.
const JOINING: Duration = Duration::from_secs(30);
/// Where the claim stands.
#[derive(Debug, Clone)]
enum Stage {
    /// The group has not decided.
    Waiting,
    /// We may write.
    Ours {
        /// A window is on its way.
        writing: bool,
    },
    /// Another one may write, as soon as nothing of ours is on its way.
    Lost {
        /// A window still is.
        writing: bool,
    },
    /// The group does not let us in.
    Refused(LibrdkafkaError),
}

struct Shared {
    stage: Mutex<Stage>,
    changed: Condvar,
    timeouts: Timeouts,
    awake: Mutex<Awake>,
}

/// When the thread that hears of the group has run.
struct Awake {
    last: Instant,
    /// When it ran again after it had been frozen.
    again: Option<Instant>,
}

impl Shared {
    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, stage: Stage) {
        *self.stage() = stage;
        self.changed.notify_all();
    }

    fn awake(&self) -> MutexGuard<'_, Awake> {
        self.awake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread runs.
    fn tick(&self) {
        let (now, mut awake) = (Instant::now(), self.awake());
        if now - awake.last > self.timeouts.awake {
            awake.again = Some(now);
        }
        awake.last = now;
    }

    /// Whether the group would have told us if we had lost our place.
    fn is_awake(&self) -> bool {
        let awake = self.awake();
        let settled = awake
            .again
            .is_none_or(|again| again.elapsed() >= self.timeouts.settle());
        settled && awake.last.elapsed() <= self.timeouts.awake
    }

    /// The first partition is ours.
    fn win(&self) {
        let waiting = matches!(*self.stage(), Stage::Waiting);
        if waiting {
            self.set(Stage::Ours { writing: false });
        }
    }

    /// Partitions are taken away. Returns when nothing of ours is on its way any more.
    fn lose(&self) {
        let mut stage = self.stage();
        if let Stage::Ours { writing } = *stage {
            *stage = Stage::Lost { writing };
        }
        let writing = |stage: &mut Stage| matches!(stage, Stage::Lost { writing: true });
        let limit = self.timeouts.window + self.timeouts.delivery;
        drop(self.changed.wait_timeout_while(stage, limit, writing));
    }
}

/// What librdkafka tells us.
struct Context {
    tokens: Tokens,
    shared: Arc<Shared>,
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.tokens.make()
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: Native, reason: &str) {
        tracing::debug!(target: "librdkafka", "{error}: {reason}");
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(_) => {}
            Rebalance::Revoke(_) | Rebalance::Error(_) => self.shared.lose(),
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(partitions) = rebalance {
            // nothing is ever read
            if let Err(error) = consumer.pause(partitions) {
                tracing::debug!("cannot pause the partitions of the claim: {error}");
            }
            if has_first(partitions) {
                self.shared.win();
            }
        }
    }
}

fn has_first(partitions: &TopicPartitionList) -> bool {
    partitions.elements().iter().any(|element| element.partition() == 0)
}

/// The right to write a topic, for as long as it lives.
pub(super) struct Claim {
    topic: String,
    shared: Arc<Shared>,
    consumer: Arc<BaseConsumer<Context>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Claim {
    /// Takes the claim of a topic. Blocks, for a session and a little more when another process has it; `stopped` ends
    /// the wait.
    pub(super) fn take(
        config: &KafkaConfig,
        topic: &str,
        timeouts: Timeouts,
        stopped: &dyn Fn() -> bool,
    ) -> Result<Claim, RestoreError> {
        let group = format!("pinflow-restore-{topic}");
        let config = KafkaConfig {
            group_id: group.clone(),
            ..config.clone()
        };
        let mut client = config.client_config();
        client
            .set(SESSION_TIMEOUT, timeouts.session.as_millis().to_string())
            .set("heartbeat.interval.ms", timeouts.heartbeat.as_millis().to_string());
        let shared = Arc::new(Shared {
            stage: Mutex::new(Stage::Waiting),
            changed: Condvar::new(),
            timeouts,
            awake: Mutex::new(Awake {
                last: Instant::now(),
                again: None,
            }),
        });
        let context = Context {
            tokens: Tokens::of(&mut client).map_err(KafkaError::from)?,
            shared: Arc::clone(&shared),
        };
        let created = client.create_with_context(context);
        let consumer: BaseConsumer<Context> =
            created.map_err(|error| KafkaError::client("create a consumer", error))?;
        let consumer = Arc::new(consumer);
        let stop = Arc::new(AtomicBool::new(false));
        let thread = serve(Arc::clone(&consumer), Arc::clone(&shared), Arc::clone(&stop));
        let claim = Claim {
            topic: topic.to_owned(),
            shared,
            consumer,
            stop,
            thread: Some(thread),
        };
        if claim.wait_for_others(&group, stopped)? {
            std::thread::sleep(timeouts.grace);
        }
        let subscribed = claim.consumer.subscribe(&[topic]);
        subscribed.map_err(|error| KafkaError::client("join a group", error))?;
        claim.wait_for_ours(&group, stopped)?;
        Ok(claim)
    }

    /// Begins a window, unless the claim is lost.
    pub(super) async fn begin(&self) -> Result<WindowGuard<'_>, RestoreError> {
        while !self.shared.is_awake() {
            tokio::time::sleep(PAUSE).await;
        }
        match &mut *self.shared.stage() {
            Stage::Ours { writing } => {
                *writing = true;
                Ok(WindowGuard {
                    shared: &self.shared,
                    begun: Instant::now(),
                })
            }
            _ => Err(self.fenced()),
        }
    }

    fn fenced(&self) -> RestoreError {
        RestoreError::Fenced {
            topic: self.topic.clone(),
        }
    }

    /// Waits until the group has no members: a living one stays, a dead one is forgotten after its session. Whether there
    /// was any.
    fn wait_for_others(&self, group: &str, stopped: &dyn Fn() -> bool) -> Result<bool, RestoreError> {
        let start = Instant::now();
        let patience = self.shared.timeouts.session + Duration::from_secs(5);
        let mut said = false;
        loop {
            let members: usize = match self.consumer.client().fetch_group_list(Some(group), ANSWER) {
                Ok(list) => list.groups().iter().map(|group| group.members().len()).sum(),
                Err(error) if start.elapsed() < patience => {
                    tracing::debug!("asking for the members of {group} again: {error}");
                    std::thread::sleep(PAUSE);
                    continue;
                }
                Err(error) => return Err(self.refused(group, error.into())),
            };
            match members {
                0 => return Ok(said),
                _ if stopped() => return Err(RestoreError::Stopped),
                _ if start.elapsed() >= patience => return Err(self.fenced()),
                _ if !said => {
                    said = true;
                    tracing::info!(
                        "waiting: another restore writes topic {}, or was killed less than {:?} ago",
                        self.topic,
                        self.shared.timeouts.session
                    );
                }
                _ => {}
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Waits until the group has given us the first partition.
    fn wait_for_ours(&self, group: &str, stopped: &dyn Fn() -> bool) -> Result<(), RestoreError> {
        let deadline = Instant::now() + self.shared.timeouts.session + JOINING;
        let mut stage = self.shared.stage();
        loop {
            match &*stage {
                Stage::Ours { .. } => return Ok(()),
                Stage::Refused(error) => return Err(self.refused(group, error.clone())),
                Stage::Waiting if stopped() => return Err(RestoreError::Stopped),
                Stage::Waiting if Instant::now() < deadline => {}
                Stage::Waiting | Stage::Lost { .. } => return Err(self.fenced()),
            }
            let waited = self.shared.changed.wait_timeout(stage, PAUSE);
            stage = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn refused(&self, group: &str, source: LibrdkafkaError) -> RestoreError {
        RestoreError::Group {
            group: group.to_owned(),
            source,
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        if let Some(thread) = self.thread.take() {
            // a panic of that thread has been reported by the panic hook
            let _ = thread.join();
        }
        // the end of the consumer leaves the group
    }
}

/// A window on its way: while it lives, the claim is given up only after the time that its delivery may take.
pub(super) struct WindowGuard<'a> {
    shared: &'a Shared,
    begun: Instant,
}

impl WindowGuard<'_> {
    /// Whether a record may still be sent in it.
    pub(super) fn is_open(&self) -> bool {
        self.begun.elapsed() <= self.shared.timeouts.window
    }
}

impl Drop for WindowGuard<'_> {
    fn drop(&mut self) {
        if let Stage::Ours { writing } | Stage::Lost { writing } = &mut *self.shared.stage() {
            *writing = false;
        }
        self.shared.changed.notify_all();
    }
}

/// A thread that keeps the member alive and hears of its partitions.
fn serve(consumer: Arc<BaseConsumer<Context>>, shared: Arc<Shared>, stop: Arc<AtomicBool>) -> JoinHandle<()> {
    let serve = move || {
        while !stop.load(SeqCst) {
            shared.tick();
            let Some(Err(error)) = consumer.poll(Duration::from_millis(100)) else {
                continue;
            };
            match error.rdkafka_error_code() {
                Some(
                    Code::GroupAuthorizationFailed
                    | Code::TopicAuthorizationFailed
                    | Code::InvalidSessionTimeout
                    | Code::Fatal,
                ) => shared.set(Stage::Refused(error.into())),
                // partitions are not read, and brokers that are away come back
                _ => tracing::debug!("the claim of a topic: {error}"),
            }
        }
    };
    std::thread::Builder::new()
        .name("restore-claim".into())
        .spawn(serve)
        .expect("the system starts a thread")
}
