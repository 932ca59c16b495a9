//! The copy while all is well: one producer, and the readers of all shards that may be read.
//!
//! Pages are collected until a transaction is due, and only then is it opened: an open one holds back the readers of
//! committed records, whoever wrote these. What a page took of the budget is free again when it is committed.

use super::config::BridgeConfig;
use super::error::BridgeError;
use super::kinesis::Description;
use super::observer::Copied;
use super::patience::{Patience, repeat};
use super::plan::Plan;
use super::positions::{Entry, Owner, Position, Positions, StreamIdentity, forgotten, now_ms, time};
use super::positions_topic::PositionsTopic;
use super::producer::{Origin, Outgoing, Producer, WriteError};
use super::reader::{Read, Shared, read};
use super::route::Routes;
use super::session_error::SessionError;
use super::shard::{Shard, ShardId};
use ingest::kafka::Cluster;
use ingest::{Partition, failpoint};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, block_in_place};
use tokio::time::Instant;

/// Pages that wait for the session; the budget bounds their bytes.
const PAGES: usize = 64;
/// A transaction is written when so much was collected, whatever the interval: even a slow Kafka takes it in time.
const TRANSACTION_BYTES: usize = 16 << 20;
/// How often shards are listed although none has ended.
const LIST: Duration = Duration::from_secs(60);
/// How soon after a shard has ended its children are looked for again, when there are none yet.
const LIST_SOON: Duration = Duration::from_secs(1);
/// How often the positions of shards without records are written: they say until when there were none.
const IDLE: Duration = Duration::from_secs(300);

/// Kafka has all records of a transaction, which is not committed.
const BEFORE_COMMIT: &str = "bridge_before_commit";
/// A transaction is committed, and nothing else has been done.
const AFTER_COMMIT: &str = "bridge_after_commit";

/// What sessions of one bridge share.
pub(crate) struct Bridge {
    pub(crate) config: Arc<BridgeConfig>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) cluster: Cluster,
    pub(crate) owner: Owner,
}

/// One producer's time.
pub(crate) struct Session<'a> {
    bridge: &'a Bridge,
    producer: Producer,
    routes: &'a mut Routes,
    positions: Positions,
    identity: StreamIdentity,
    plan: Plan,
    readers: JoinSet<Result<(), BridgeError>>,
    sender: mpsc::Sender<Read>,
    pages: mpsc::Receiver<Read>,
    /// Read and not committed.
    collected: Vec<Read>,
    /// Shards whose positions are newer than the committed ones.
    moved: BTreeSet<ShardId>,
    /// How far behind the tip each shard was when it was last read.
    behind: BTreeMap<ShardId, Duration>,
    list_at: Instant,
    committed_at: Instant,
    /// When the positions of shards without records are due.
    idle_at: Instant,
    /// A transaction failed: nothing may be committed by this session any more.
    broken: bool,
    /// Kafka has taken a transaction since this session began to copy.
    has_committed: bool,
    copied: &'a mut Copied,
}

impl<'a> Session<'a> {
    /// Takes over the positions, and begins to read.
    pub(crate) async fn start(
        bridge: &'a Bridge,
        routes: &'a mut Routes,
        copied: &'a mut Copied,
    ) -> Result<Session<'a>, SessionError> {
        let config = &bridge.config;
        let topic = bridge.positions_topic();
        // first, so that no topic is created for a stream that there is not
        let found = bridge.describe().await?;
        topic.ensure().await?;
        let producer = block_in_place(|| Producer::open(&config.kafka, &config.positions))?;
        // whoever had the positions is fenced: they do not change any more
        let positions = topic.load().await?;
        let identity = match &positions.stream {
            Some(recorded) => {
                bridge.same_stream(recorded, &found)?;
                recorded.clone()
            }
            None => StreamIdentity {
                arn: found.arn.clone(),
                created_ms: found.created_ms,
                from: config.from,
            },
        };
        let (sender, pages) = mpsc::channel(PAGES);
        let now = Instant::now();
        let mut session = Session {
            bridge,
            producer,
            routes,
            positions,
            identity,
            plan: Plan::default(),
            readers: JoinSet::new(),
            sender,
            pages,
            collected: Vec::new(),
            moved: BTreeSet::new(),
            behind: BTreeMap::new(),
            list_at: now,
            committed_at: now,
            idle_at: now + IDLE,
            broken: false,
            has_committed: false,
            copied,
        };
        session.write(&[session.identity.entry(), bridge.owner.entry()])?;
        session.list().await?;
        session.has_committed = false;
        bridge.shared.observer.ready();
        Ok(session)
    }

    /// Whether Kafka has taken a transaction since the start.
    pub(crate) fn has_committed(&self) -> bool {
        self.has_committed
    }

    /// Copies until it is told to stop, or until all shards are at their tips if that is the end. Whatever ends it, what
    /// was read by then is committed if it can be: a stream that has been deleted does not return it again.
    pub(crate) async fn copy(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), SessionError> {
        let ended = self.copy_on(stop).await;
        self.readers.abort_all();
        if self.broken {
            return ended;
        }
        while let Ok(read) = self.pages.try_recv() {
            self.take(read);
        }
        self.idle_at = Instant::now();
        let committed = self.commit();
        ended.and(committed)
    }

    async fn copy_on(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), SessionError> {
        while !*stop.borrow() {
            let full = self.held() >= TRANSACTION_BYTES.min(self.bridge.config.buffer_bytes / 2);
            let commit_at = match (self.collected.is_empty(), full) {
                (true, _) => self.idle_at,
                (false, true) => Instant::now(),
                (false, false) => self.committed_at + self.bridge.config.commit_interval,
            };
            tokio::select! {
                biased;
                _ = stop.changed() => {}
                () = tokio::time::sleep_until(commit_at) => self.commit()?,
                Some(ended) = self.readers.join_next() => ended.map_err(BridgeError::Panicked)??,
                () = tokio::time::sleep_until(self.list_at) => {
                    // Kinesis may take its time
                    self.commit()?;
                    let mut told = stop.clone();
                    tokio::select! {
                        _ = told.wait_for(|stop| *stop) => {}
                        listed = self.list() => listed?,
                    }
                }
                Some(read) = self.pages.recv() => self.take(read),
            }
            if self.bridge.config.once && self.is_done() {
                break;
            }
        }
        Ok(())
    }

    /// Whether everything that the stream had is read.
    fn is_done(&self) -> bool {
        // a shard that has ended may have children
        self.plan.is_at_tip() && self.list_at > Instant::now() + LIST_SOON
    }

    fn held(&self) -> usize {
        self.collected.iter().map(|read| read.held.num_permits()).sum()
    }

    fn take(&mut self, read: Read) {
        let before = self.positions.shards.get(&read.shard);
        let position = read.position(before);
        // the one that is written down says that more was read
        let is_earlier = before.is_some_and(|before| position.read_until_ms < before.read_until_ms);
        self.positions.shards.insert(read.shard.clone(), position);
        self.moved.insert(read.shard.clone());
        if read.ended {
            tracing::info!("{}/{} was read to its end", self.bridge.shared.stream, read.shard);
            self.plan.end(&read.shard);
            self.behind.remove(&read.shard);
            self.list_at = Instant::now();
        } else {
            if read.behind.is_zero() {
                self.plan.tip(&read.shard);
            }
            self.behind.insert(read.shard.clone(), read.behind);
        }
        let behind = self.behind.values().max().copied().unwrap_or_default();
        self.bridge.shared.observer.progress(self.plan.reading(), behind);
        if !read.records.is_empty() || read.ended || is_earlier {
            self.collected.push(read);
        }
    }

    /// Looks which shards there are, and begins to read those that may be read. Each of them has a position before, so
    /// that it is known from then on if its records are trimmed.
    async fn list(&mut self) -> Result<(), SessionError> {
        let shared = &self.bridge.shared;
        let found = self.bridge.describe().await?;
        self.bridge.same_stream(&self.identity, &found)?;
        let listed = self.bridge.shards().await?;
        let gone = self.plan.list(listed, &self.positions.shards);
        let begun = self.plan.begin();
        let mut entries: Vec<Entry> = gone.ended.iter().map(forgotten).collect();
        for id in &begun {
            if !self.positions.shards.contains_key(id) {
                let initial = self.positions.initial(self.plan.parents(id), &self.identity, now_ms());
                entries.push(initial.entry(id));
                self.positions.shards.insert(id.clone(), initial);
            }
        }
        for id in &gone.unread {
            let read_until = self
                .positions
                .shards
                .get(id)
                .map_or(0, |position| position.read_until_ms);
            shared.accept(BridgeError::Trimmed {
                stream: shared.stream.clone(),
                shard: id.to_string(),
                from: time(read_until),
                to: time(now_ms()),
            })?;
            entries.push(forgotten(id));
        }
        for id in gone.ended.iter().chain(&gone.unread) {
            self.positions.shards.remove(id);
            self.moved.remove(id);
        }
        for id in self.plan.followed(&self.positions.shards) {
            if let Some(position) = self.positions.shards.get_mut(&id) {
                position.followed = true;
                entries.push(position.entry(&id));
            }
        }
        if !entries.is_empty() {
            self.write(&entries)?;
        }
        // the children of a shard that has just ended may not be listed yet
        let soon = begun.is_empty() && self.plan.reading() == 0;
        self.list_at = Instant::now() + if soon { LIST_SOON } else { LIST };
        for id in begun {
            let start = self.positions.start(&id, self.identity.from);
            let age = self.positions.shards.get(&id).map(Position::age);
            tracing::info!("reading {}/{id}, {start}", shared.stream);
            let (shared, sender) = (Arc::clone(shared), self.sender.clone());
            self.readers
                .spawn(async move { read(&shared, id, start, age, &sender).await });
        }
        Ok(())
    }

    /// Commits what was collected, and how far it takes each shard; now and then also how far shards without records
    /// were read.
    fn commit(&mut self) -> Result<(), SessionError> {
        let now = Instant::now();
        let is_idle = now >= self.idle_at;
        let collected = std::mem::take(&mut self.collected);
        let read: BTreeSet<&ShardId> = collected.iter().map(|read| &read.shard).collect();
        let moved = self.moved.iter().filter(|id| is_idle || read.contains(id));
        let entries = moved.filter_map(|id| Some(self.positions.shards.get(id)?.entry(id)));
        let entries: Vec<Entry> = entries.collect();
        let copied = if entries.is_empty() {
            Copied::default()
        } else {
            self.transaction(&collected, &entries)?
        };
        if is_idle {
            self.moved.clear();
            self.idle_at = now + IDLE;
        }
        for read in &collected {
            self.moved.remove(&read.shard);
        }
        self.committed_at = Instant::now();
        if copied.records > 0 {
            self.copied.add(copied);
            self.bridge.shared.observer.committed(copied);
        }
        Ok(())
    }

    /// Commits records of the topic of positions alone.
    fn write(&mut self, entries: &[Entry]) -> Result<(), SessionError> {
        self.transaction(&[], entries).map(drop)
    }

    fn transaction(&mut self, pages: &[Read], entries: &[Entry]) -> Result<Copied, SessionError> {
        block_in_place(|| {
            let begun = self.producer.begin();
            let written = begun.and_then(|()| self.fill(pages, entries));
            let written = written.and_then(|copied| self.producer.flush().map(|()| copied));
            failpoint::reach(BEFORE_COMMIT);
            let written = written.and_then(|copied| self.producer.commit().map(|()| copied));
            if written.is_ok() {
                failpoint::reach(AFTER_COMMIT);
            }
            if !matches!(written, Ok(_) | Err(WriteError::Fenced)) {
                self.producer.abort();
            }
            // the positions in memory are ahead of the committed ones for good
            self.broken = written.is_err();
            self.has_committed |= written.is_ok();
            Ok(written?)
        })
    }

    fn fill(&mut self, pages: &[Read], entries: &[Entry]) -> Result<Copied, WriteError> {
        let mut copied = Copied::default();
        for page in pages {
            for record in &page.records {
                copied.records += self
                    .routes
                    .send(&self.bridge.cluster, &self.producer, &page.shard, record)?;
                copied.bytes += record.data.len() as u64;
            }
        }
        copied.transactions = u64::from(copied.records > 0);
        for (key, value) in entries {
            self.producer.send(Outgoing {
                topic: &self.bridge.config.positions,
                partition: Partition(0),
                key: Some(key.as_bytes()),
                value: value.as_deref().map(str::as_bytes),
                headers: None,
                origin: Origin::Position,
            })?;
        }
        Ok(copied)
    }
}

impl Bridge {
    pub(crate) fn positions_topic(&self) -> PositionsTopic<'_> {
        PositionsTopic {
            kafka: &self.config.kafka,
            cluster: &self.cluster,
            name: &self.config.positions,
        }
    }

    /// Refuses a stream of the same name that is another one.
    fn same_stream(&self, recorded: &StreamIdentity, found: &Description) -> Result<(), BridgeError> {
        if recorded.is(found) {
            return Ok(());
        }
        let named = |arn: &str, created_ms: i64| format!("{arn}, created {}", time(created_ms));
        Err(BridgeError::OtherStream {
            stream: self.shared.stream.clone(),
            positions: self.config.positions.clone(),
            recorded: named(&recorded.arn, recorded.created_ms),
            found: named(&found.arn, found.created_ms),
        })
    }

    async fn describe(&self) -> Result<Description, BridgeError> {
        let shared = &self.shared;
        let patience = Patience::new(&shared.stream, &*shared.observer);
        let found = repeat(patience, "the description", async || shared.kinesis.describe().await).await?;
        if let Some(retention) = found.retention {
            let retention = u64::try_from(retention.as_millis()).unwrap_or(u64::MAX);
            shared.retention_ms.store(retention, Ordering::Relaxed);
        }
        Ok(found)
    }

    async fn shards(&self) -> Result<Vec<Shard>, BridgeError> {
        let shared = &self.shared;
        let patience = Patience::new(&shared.stream, &*shared.observer);
        repeat(patience, "the shards", async || shared.kinesis.shards().await).await
    }
}
