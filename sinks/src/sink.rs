//! The sink: one dedicated connection that commits steps, and keeps at it.
//!
//! The order of calls is [`Sink::connect`], [`Sink::prepare`], [`Sink::take_fence`], then (for history)
//! [`Sink::create_staging`], then [`Sink::commit`] for ever, the first one a full snapshot.
//!
//! A commit that fails because of the connection or of a passing trouble is tried again until it is done, with pauses
//! that grow to 5 seconds. Whether a `COMMIT` without an answer went through is read from the progress row: every
//! commit raises `commits` by one under the fence, and the reconnected session holds the advisory lock, so no earlier
//! transaction of ours can still be on its way when the row is read.

use crate::backoff::Backoff;
use crate::commit::{Context, Outcome, Plan, Statements};
use crate::config::PostgresConfig;
use crate::definition::Definition;
use crate::error::{Class, SinkError};
use crate::fence::{self, Claim, Fence};
use crate::history;
use crate::progress::{self, Progress};
use crate::reject_limits::Held;
use crate::results;
use crate::schema::{self, Upgrade};
use crate::session::{Purpose, Session};
use crate::step::{Committed, Step};
use causes::with_causes;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long the lock may take that is given back at the end.
const UNLOCK: Duration = Duration::from_secs(2);

/// How long commits go without notifications where the server had no room for one.
const SILENCE: Duration = Duration::from_secs(60);

/// How the sink stands, for readiness and for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkState {
    /// Connected; the last commit went through, or none was tried yet.
    Ready,
    /// The transaction is being tried again on the same connection: what failed.
    Retrying(String),
    /// The connection is gone and being made again: what failed.
    Reconnecting(String),
    /// A commit failed for good: why.
    Stopped(String),
}

/// Commits steps to Postgres. See the module's description.
pub struct Sink {
    config: PostgresConfig,
    definition: Option<Arc<Definition>>,
    /// Whether no table lacks a column of this version.
    complete: bool,
    session: Option<Session>,
    statements: Option<Statements>,
    fence: Option<Arc<Fence>>,
    /// What is committed. A commit that goes on holds a copy, and the next one changes it in place.
    known: Arc<Progress>,
    /// How many dead letters there are; `None`: not known.
    held: Option<Held>,
    /// How many times the limits of dead letters are staged as they are.
    staged_room: u64,
    /// Until when commits are not announced, since the server had no room for it.
    silent_until: Option<Instant>,
    /// A transaction may be open on the connection, or a commit unresolved: a commit's future was dropped.
    unfinished: bool,
    state: watch::Sender<SinkState>,
}

impl Sink {
    /// Connects once; a server that is absent is an error here and awaited later.
    pub async fn connect(config: PostgresConfig) -> Result<Sink, SinkError> {
        let session = Session::open(&config, Purpose::Sink).await?;
        Ok(Sink {
            config,
            definition: None,
            complete: false,
            session: Some(session),
            statements: None,
            fence: None,
            known: Arc::default(),
            held: None,
            staged_room: 1,
            silent_until: None,
            unfinished: false,
            state: watch::Sender::new(SinkState::Ready),
        })
    }

    /// Creates schema, tables and comments where they are absent and compares them where they are not. Columns that an
    /// earlier version's control tables lack are added; by [`Sink::take_fence`] when another session holds the schema.
    ///
    /// Results that the schema holds and the definition lacks, or has with other columns, are refused unless
    /// [`Definition::drop`] names them. Tables of results are dropped and made by the next full snapshot.
    pub async fn prepare(&mut self, definition: &Definition) -> Result<(), SinkError> {
        let session = self.session()?;
        let complete = schema::prepare(session, &self.config.schema, definition, Upgrade::UnlessHeld).await?;
        self.definition = Some(Arc::new(definition.clone()));
        self.complete = complete;
        Ok(())
    }

    /// Takes the fence: raises the number that every commit compares, and holds the schema's lock. Returns the number.
    ///
    /// `run_id` is recorded beside the number and must be this run's alone: it tells apart two runs that took the same
    /// number, one before and one after a failover that lost the first one's.
    pub async fn take_fence(&mut self, claim: Claim, run_id: &str) -> Result<i64, SinkError> {
        let Some(definition) = self.definition.clone() else {
            return Err(SinkError::Order("take_fence before prepare"));
        };
        let session = self.session()?;
        let schema = self.config.schema.as_str();
        if !self.complete {
            fence::refuse_while_held(session, schema, claim).await?;
            schema::prepare(session, schema, &definition, Upgrade::Now).await?;
        }
        // what was committed since prepare may not be ours to replace: found out before anybody is fenced for nothing
        results::changes(&session.client, schema, &definition).await?;
        let fence = fence::take(session, schema, claim, run_id).await?;
        let number = fence.number;
        history::drop_up_to(&session.client, schema, number).await?;
        let known = progress::read(&session.client, schema).await?;
        let statements = Statements::prepare(&session.client, schema, &definition).await?;
        (self.fence, self.known, self.statements) = (Some(Arc::new(fence)), Arc::new(known), Some(statements));
        Ok(number)
    }

    /// The committed progress, as read under the fence or written since.
    pub fn progress(&self) -> &Progress {
        &self.known
    }

    /// Reads the committed progress without holding the fence.
    pub async fn read_progress(&self) -> Result<Progress, SinkError> {
        progress::read(&self.session()?.client, &self.config.schema).await
    }

    /// The number that [`Sink::take_fence`] returned.
    pub fn fence(&self) -> Option<i64> {
        self.fence.as_ref().map(|fence| fence.number)
    }

    /// Creates the unlogged tables that [`crate::Stager`]s of all processes copy history into.
    /// Those of an earlier try are dropped. A lost connection is made again, as by a commit: history is read again
    /// because of one.
    pub async fn create_staging(&mut self) -> Result<(), SinkError> {
        let (Some(definition), Some(fence)) = (self.definition.clone(), self.fence.clone()) else {
            return Err(SinkError::Order("create_staging before take_fence"));
        };
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(5));
        loop {
            match self.try_create_staging(&definition, &fence).await {
                Ok(()) => {
                    self.set_state(SinkState::Ready);
                    return Ok(());
                }
                Err(error) => self.recover(error, &mut backoff).await?,
            }
        }
    }

    async fn try_create_staging(&mut self, definition: &Definition, fence: &Fence) -> Result<(), SinkError> {
        self.ensure_open(definition, fence).await?;
        let session = self.session()?;
        let schema = self.config.schema.as_str();
        history::drop_up_to(&session.client, schema, fence.number).await?;
        let limits = self.config.rejects.times(self.staged_room);
        history::create(&session.client, schema, fence.number, definition, &limits).await
    }

    /// How the sink stands; changes while a commit is being tried again.
    pub fn state(&self) -> watch::Receiver<SinkState> {
        self.state.subscribe()
    }

    /// Commits one step: all of it or nothing, and never twice. Returns when Postgres holds it.
    ///
    /// Dropping the future leaves the step committed or not; the next call reads which before it does anything else.
    ///
    /// # Errors
    /// Only those of [`Class::Stop`]; with any of them nothing of this step is committed.
    pub async fn commit(&mut self, step: &Step) -> Result<Committed, SinkError> {
        let started = Instant::now();
        let result = self.commit_until_done(step).await;
        if let Err(SinkError::Restage { .. }) = &result {
            self.staged_room = self.staged_room.saturating_mul(4);
        }
        let state = match &result {
            Ok(_) => SinkState::Ready,
            Err(error) => SinkState::Stopped(with_causes(error)),
        };
        self.set_state(state);
        result.map(|committed| Committed {
            elapsed: started.elapsed(),
            ..committed
        })
    }

    /// Commits nothing but the epoch: shows that the run is alive, and finds out whether it is fenced.
    pub async fn heartbeat(&mut self, epoch: u64) -> Result<Committed, SinkError> {
        self.finish_dropped().await?;
        let step = Step {
            epoch,
            progress: Progress::clone(&self.known),
            ..Step::default()
        };
        self.commit(&step).await
    }

    /// Makes the result tables equal to their SQL over the cleaned tables, under the fence. Returns rows changed per
    /// table.
    pub async fn repair_results(&mut self) -> Result<Vec<u64>, SinkError> {
        let (Some(definition), Some(fence)) = (self.definition.clone(), self.fence.clone()) else {
            return Err(SinkError::Order("repair before take_fence"));
        };
        let (session, statements) = match (&self.session, &self.statements) {
            (Some(session), Some(statements)) => (session, statements),
            _ => return Err(SinkError::Order("repair without a connection")),
        };
        let context = Context {
            session,
            statements,
            schema: &self.config.schema,
            definition: &definition,
            fence: &fence,
            known: &self.known,
            again: false,
            limits: &self.config.rejects,
            held: None,
            silent: self.is_silent(),
        };
        let repaired = context.repair().await;
        match repaired {
            Ok(changed) => {
                Arc::make_mut(&mut self.known).commits += 1;
                Ok(changed)
            }
            Err(error) => {
                let _ = session.client.batch_execute("ROLLBACK").await;
                Err(error)
            }
        }
    }

    /// Gives the lock back and closes the connection. A process that just ends does the same by ending, and so does this
    /// where the server does not answer: behind a statement that was given up, it may not for minutes.
    pub async fn close(mut self) {
        if let Some(session) = self.session.take()
            && self.fence.is_some()
            && !self.unfinished
        {
            let unlocking = fence::unlock(&session, &self.config.schema);
            let _ = tokio::time::timeout(UNLOCK, unlocking).await;
        }
    }

    fn session(&self) -> Result<&Session, SinkError> {
        self.session.as_ref().ok_or(SinkError::Order(
            "the connection is gone; only a commit makes a new one",
        ))
    }

    fn set_state(&self, state: SinkState) {
        self.state.send_if_modified(|old| {
            let differs = *old != state;
            *old = state;
            differs
        });
    }

    async fn commit_until_done(&mut self, step: &Step) -> Result<Committed, SinkError> {
        let (Some(definition), Some(fence)) = (self.definition.clone(), self.fence.clone()) else {
            return Err(SinkError::Order("commit before take_fence"));
        };
        self.finish_dropped().await?;
        let progress = step.progress.recorded(&definition);
        let committed = self.attempt_until_done(step, &progress, &definition, &fence).await?;
        self.held = committed.held_rejects;
        let known = Arc::make_mut(&mut self.known);
        step.follow(known, &progress, &definition, fence.number);
        debug_assert_eq!(known.commits, committed.commits, "a step is one commit");
        if step.staged.is_some() {
            self.drop_staging().await;
        }
        if step.full_snapshot {
            self.prepare_live(&definition).await;
        }
        Ok(committed)
    }

    async fn attempt_until_done(
        &mut self,
        step: &Step,
        progress: &Progress,
        definition: &Definition,
        fence: &Fence,
    ) -> Result<Committed, SinkError> {
        let known = Arc::clone(&self.known);
        let plan = Plan::of(step, progress, definition, &known)?;
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(5));
        let mut attempts = 0;
        loop {
            attempts += 1;
            let committed = match self.attempt(&plan, definition, fence, &known, attempts > 1).await {
                Ok(Outcome::Committed(committed)) => committed,
                Ok(Outcome::AlreadyCommitted) => {
                    tracing::info!(
                        commit = known.commits + 1,
                        "the answer to COMMIT was lost; it had gone through"
                    );
                    Committed {
                        commits: known.commits + 1,
                        resolved: true,
                        ..Committed::default()
                    }
                }
                // whether it was that shows the next try: the server says the same of a row that is too long for an index
                Err(error) if error.is_a_limit() && !self.is_silent() => {
                    tracing::warn!(
                        error = %with_causes(&error),
                        "commits are not announced for a minute: where the queue of notifications is full, a session that \
                         listens has a transaction open or does not read"
                    );
                    self.silent_until = Some(Instant::now() + SILENCE);
                    self.roll_back().await;
                    continue;
                }
                Err(error) => {
                    self.recover(error, &mut backoff).await?;
                    continue;
                }
            };
            return Ok(Committed { attempts, ..committed });
        }
    }

    fn is_silent(&self) -> bool {
        self.silent_until.is_some_and(|until| Instant::now() < until)
    }

    /// Prepares what live steps need, now that the result tables are as they will stay: the first record that comes
    /// does not wait for it. What fails here fails again in that step, which deals with it.
    async fn prepare_live(&self, definition: &Definition) {
        if let (Some(session), Some(statements)) = (&self.session, &self.statements) {
            let prepared = statements.of_results(&session.client, &self.config.schema, definition);
            if let Err(error) = prepared.await {
                tracing::debug!(error = %with_causes(&error), "statements are prepared with the first step");
            }
        }
    }

    /// One try, on a new connection if need be.
    async fn attempt(
        &mut self,
        plan: &Plan<'_>,
        definition: &Definition,
        fence: &Fence,
        known: &Progress,
        again: bool,
    ) -> Result<Outcome, SinkError> {
        self.ensure_open(definition, fence).await?;
        let (Some(session), Some(statements)) = (&self.session, &self.statements) else {
            return Err(SinkError::Order("commit without a connection"));
        };
        let schema = self.config.schema.as_str();
        let context = Context {
            session,
            statements,
            schema,
            definition,
            fence,
            known,
            again,
            limits: &self.config.rejects,
            held: self.held,
            silent: self.is_silent(),
        };
        // from here a dropped future may leave a transaction behind
        self.unfinished = true;
        let outcome = context.attempt(plan).await?;
        if matches!(outcome, Outcome::AlreadyCommitted) {
            let rolled_back = session.client.batch_execute("ROLLBACK").await;
            rolled_back.map_err(|source| SinkError::postgres("rollback", source))?;
        }
        self.unfinished = false;
        Ok(outcome)
    }

    /// After a failed try: waits and makes ready for the next one, or hands the error on when it is final.
    async fn recover(&mut self, error: SinkError, backoff: &mut Backoff) -> Result<(), SinkError> {
        match error.class() {
            Class::Stop => {
                self.roll_back().await;
                return Err(self.fenced_meanwhile().await.unwrap_or(error));
            }
            Class::Retry => {
                tracing::warn!(error = %with_causes(&error), "commit failed, trying again");
                self.set_state(SinkState::Retrying(with_causes(&error)));
                self.roll_back().await;
            }
            Class::Reconnect => {
                tracing::warn!(error = %with_causes(&error), "connection to postgres lost, connecting again");
                self.set_state(SinkState::Reconnecting(with_causes(&error)));
                (self.session, self.statements) = (None, None);
            }
        }
        backoff.wait().await;
        Ok(())
    }

    /// A superseded run fails on what its successor does to the tables: being fenced is then the cause.
    async fn fenced_meanwhile(&self) -> Option<SinkError> {
        let (session, fence) = (self.session.as_ref()?, self.fence.as_ref()?);
        let theirs = fence::current(session, &self.config.schema).await.ok()?;
        fence.check(&self.config.schema, &theirs).err()
    }

    async fn roll_back(&mut self) {
        if let Some(session) = &self.session {
            match session.client.batch_execute("ROLLBACK").await {
                Ok(()) => self.unfinished = false,
                Err(_) => (self.session, self.statements) = (None, None),
            }
        }
    }

    /// Connects again: the lock first, which waits for the end of our old session, then the statements.
    async fn ensure_open(&mut self, definition: &Definition, fence: &Fence) -> Result<(), SinkError> {
        if self.session.as_ref().is_some_and(|session| !session.client.is_closed()) && self.statements.is_some() {
            return Ok(());
        }
        (self.session, self.statements) = (None, None);
        let session = Session::open(&self.config, Purpose::Sink).await?;
        fence::lock_as(&session, &self.config.schema, fence).await?;
        let statements = Statements::prepare(&session.client, &self.config.schema, definition).await?;
        tracing::info!(fence = fence.number, "connected to postgres");
        (self.session, self.statements) = (Some(session), Some(statements));
        Ok(())
    }

    /// After a dropped commit: ends its transaction and reads what it came to.
    async fn finish_dropped(&mut self) -> Result<(), SinkError> {
        let (definition, fence) = (self.definition.clone(), self.fence.clone());
        let (true, Some(definition), Some(fence)) = (self.unfinished, definition, fence) else {
            return Ok(());
        };
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(5));
        loop {
            // a new session, whose lock proves that the old one has ended
            (self.session, self.statements) = (None, None);
            let read = match self.ensure_open(&definition, &fence).await {
                Ok(()) => self.read_progress().await,
                Err(error) => Err(error),
            };
            match read {
                Ok(progress) => {
                    // it went through or it did not; anything else is not our doing
                    if progress.commits != self.known.commits + 1 {
                        fence.check_commits(&self.config.schema, progress.commits, self.known.commits)?;
                    }
                    (self.known, self.held, self.unfinished) = (Arc::new(progress), None, false);
                    return Ok(());
                }
                Err(error) => self.recover(error, &mut backoff).await?,
            }
        }
    }

    /// Drops the staging tables: history that is settled, or will not be. What cannot be dropped now is dropped by the
    /// next run.
    pub async fn drop_staging(&mut self) {
        if let (Some(session), Some(fence)) = (&self.session, &self.fence)
            && let Err(error) = history::drop_up_to(&session.client, &self.config.schema, fence.number).await
        {
            tracing::warn!(error = %with_causes(&error), "staging tables stay until the next start");
        }
    }
}
