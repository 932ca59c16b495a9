//! Whether the lake answers: what its requests have met, in one place, whatever store it is.
//!
//! A request that fails because the store cannot be reached, or denies access for now, is repeated after a pause
//! until [`Retries::retry_timeout`] is over: without end where there is none. Such an outage is shown once for all requests
//! that wait for its end: a warning when it has lasted for [`Retries::notice`], then one a minute, and a call of the
//! [`LakeObserver`]. Nothing that may pass is ever taken for damage of an object.

use super::error::{LakeError, shown};
use super::request_error::RequestError;
use super::retry::Retries;
use causes::with_causes;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often an outage that lasts is logged.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// Whether the lake answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LakeState {
    /// Requests have failed since then, and wait.
    Unavailable {
        /// When the first of them failed.
        since: Instant,
        /// What the last one met, in one sentence.
        error: String,
    },
    /// It answers again.
    Available,
}

/// Is called when the lake becomes unavailable, about once a minute while it stays so, and when it answers again; from
/// any thread, and must not block.
#[derive(Clone)]
pub struct LakeObserver(Arc<dyn Fn(LakeState) + Send + Sync>);

impl LakeObserver {
    /// An observer that calls this.
    pub fn new(observe: impl Fn(LakeState) + Send + Sync + 'static) -> LakeObserver {
        LakeObserver(Arc::new(observe))
    }
}

impl fmt::Debug for LakeObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LakeObserver").finish_non_exhaustive()
    }
}

/// What is asked of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestKind {
    /// A listing: the lake as a whole.
    Listing,
    /// An object's content or metadata.
    Object,
    /// To write or remove an object.
    Change,
}

/// Shared by all requests of a lake.
#[derive(Debug)]
pub(crate) struct Availability {
    /// The lake's URL.
    lake: String,
    pub(crate) retries: Retries,
    observer: Option<LakeObserver>,
    /// Some request has succeeded: what fails from now on for want of access is an outage, not a wrong setting.
    answered: AtomicBool,
    /// There is an outage: so that a success need not take the lock otherwise.
    is_out: AtomicBool,
    outage: Mutex<Option<Outage>>,
}

#[derive(Debug)]
struct Outage {
    since: Instant,
    /// When it was logged last.
    said: Instant,
    /// Requests that wait for its end.
    waiting: usize,
}

impl Availability {
    pub(crate) fn new(lake: String, retries: Retries, observer: Option<LakeObserver>) -> Arc<Availability> {
        Arc::new(Availability {
            lake,
            retries,
            observer,
            answered: AtomicBool::new(false),
            is_out: AtomicBool::new(false),
            outage: Mutex::new(None),
        })
    }

    /// Whether any request has succeeded so far.
    pub(crate) fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// The lake's URL, for messages.
    pub(crate) fn lake(&self) -> &str {
        &self.lake
    }

    /// A request has succeeded that does so only when the lake is there and accessible.
    pub(crate) fn answered(&self) {
        if !self.has_answered() {
            self.answered.store(true, Ordering::Relaxed);
        }
        self.recovered();
    }

    /// A request has succeeded.
    fn recovered(&self) {
        if self.is_out.load(Ordering::Relaxed) {
            self.end_outage(&mut self.lock());
        }
    }

    /// Ends the outage when no request waits for its end any more.
    fn end_outage(&self, outage: &mut Option<Outage>) {
        let Some(ended) = outage.take_if(|outage| outage.waiting == 0) else {
            return;
        };
        self.is_out.store(false, Ordering::Relaxed);
        tracing::info!(
            "{} is available again after {}",
            self.lake,
            shown(ended.since.elapsed())
        );
        self.observe(LakeState::Available);
    }

    /// A request fails for long enough to be shown; `counted` when it has been before.
    fn fails(&self, since: Instant, error: &str, counted: bool) {
        let mut outage = self.lock();
        let first = outage.is_none();
        let now = Instant::now();
        let outage = outage.get_or_insert(Outage {
            since,
            said: now,
            waiting: 0,
        });
        outage.since = outage.since.min(since);
        outage.waiting += usize::from(!counted);
        self.is_out.store(true, Ordering::Relaxed);
        if !first && now.duration_since(outage.said) < SAY_EVERY {
            return;
        }
        outage.said = now;
        let lasted = shown(outage.since.elapsed());
        tracing::warn!("{} has been unavailable for {lasted}, retrying: {error}", self.lake);
        self.observe(LakeState::Unavailable {
            since: outage.since,
            error: error.to_owned(),
        });
    }

    /// Called under the lock, so that states arrive in their order.
    fn observe(&self, state: LakeState) {
        if let Some(LakeObserver(observe)) = &self.observer {
            observe(state);
        }
    }

    /// Nothing that holds the lock can panic half-way, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, Option<Outage>> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The attempts at one request, or at the rest of one body.
#[derive(Debug)]
pub(crate) struct Attempts {
    availability: Arc<Availability>,
    action: &'static str,
    failures: u32,
    /// When the first of them failed.
    began: Option<Instant>,
    /// It is among those that an outage counts.
    counted: bool,
    /// The last attempt was refused for the object's own sake, and the lake could be listed after it.
    unconfirmed: bool,
}

impl Attempts {
    /// Attempts to `action` something.
    pub(crate) fn new(availability: &Arc<Availability>, action: &'static str) -> Attempts {
        Attempts {
            availability: Arc::clone(availability),
            action,
            failures: 0,
            began: None,
            counted: false,
            unconfirmed: false,
        }
    }

    /// An attempt at `object` has failed in a way that may pass: how long to wait before the next one, or the error
    /// when it has failed for too long.
    pub(crate) fn failed(&mut self, object: &str, cause: RequestError) -> Result<Duration, LakeError> {
        let retries = self.availability.retries;
        let began = *self.began.get_or_insert_with(Instant::now);
        let waited = began.elapsed();
        self.failures += 1;
        self.unconfirmed = false;
        let action = self.action;
        tracing::debug!(
            object,
            self.failures,
            cause = with_causes(&cause),
            "trying again to {action}"
        );
        if retries
            .retry_timeout
            .is_some_and(|retry_timeout| waited >= retry_timeout)
        {
            return Err(self.given_up(object, cause));
        }
        if waited >= retries.notice {
            let error = format!("cannot {action} {object}: {}", with_causes(&cause));
            self.availability
                .fails(began, &error, std::mem::replace(&mut self.counted, true));
        }
        let pause = retries.pause(self.failures);
        let left = retries
            .retry_timeout
            .map_or(pause, |retry_timeout| retry_timeout - waited);
        // no pause may sleep through the moment at which the outage is to be shown
        let unseen = retries.notice.checked_sub(waited).filter(|left| !left.is_zero());
        Ok(pause.min(left).min(unseen.unwrap_or(pause)))
    }

    /// An attempt was refused for the object's own sake, and the lake can be listed: `error` when that is so for the
    /// second time in a row. An outage may have ended between the refusal and the listing, so the object is asked for
    /// once more, now that the lake is known to answer.
    pub(crate) fn refused(&mut self, error: LakeError) -> Result<Duration, LakeError> {
        if std::mem::replace(&mut self.unconfirmed, true) {
            Err(error)
        } else {
            Ok(Duration::ZERO)
        }
    }

    /// The error of a request that is not repeated any more.
    pub(crate) fn given_up(&self, object: &str, cause: RequestError) -> LakeError {
        LakeError::Unavailable {
            action: self.action,
            object: object.to_string(),
            waited: self.began.map_or(Duration::ZERO, |began| began.elapsed()),
            source: cause,
        }
    }

    /// The attempt has succeeded, or the body has continued.
    pub(crate) fn succeeded(&mut self) {
        self.passed();
        self.availability.answered();
    }

    /// The same for a request that succeeds where there is no lake as well: in a folder that does not exist, nothing is
    /// found.
    pub(crate) fn passed(&mut self) {
        (self.failures, self.began, self.unconfirmed) = (0, None, false);
        self.leave();
        self.availability.recovered();
    }

    fn leave(&mut self) {
        if std::mem::take(&mut self.counted)
            && let Some(outage) = self.availability.lock().as_mut()
        {
            outage.waiting -= 1;
        }
    }
}

impl Drop for Attempts {
    /// A request that gives up ends no outage: the next success does.
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn availability(retry_timeout: Option<Duration>) -> (Arc<Availability>, Arc<Mutex<Vec<LakeState>>>) {
        let states = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&states);
        let retries = Retries {
            retry_timeout,
            notice: Duration::ZERO,
            ..Retries::default()
        };
        let observer = LakeObserver::new(move |state| seen.lock().unwrap().push(state));
        (Availability::new("s3://lake".into(), retries, Some(observer)), states)
    }

    #[test]
    fn an_outage_is_shown_once_for_all_that_wait_and_ends_with_the_last() {
        let (availability, states) = availability(None);
        let mut requests = [(); 3].map(|()| Attempts::new(&availability, "read"));
        for request in &mut requests {
            request
                .failed("key", RequestError::Other("status 503 SlowDown"))
                .unwrap();
            request
                .failed("key", RequestError::Other("status 503 SlowDown"))
                .unwrap();
        }
        let first = states.lock().unwrap().clone();
        assert!(
            matches!(first.as_slice(), [LakeState::Unavailable { error, .. }] if error == "cannot read key: status 503 SlowDown"),
            "{first:?}"
        );
        // another request succeeds: these still wait
        availability.answered();
        requests[0].succeeded();
        requests[1].succeeded();
        assert_eq!(states.lock().unwrap().len(), 1);
        requests[2].succeeded();
        assert_eq!(states.lock().unwrap()[1..], [LakeState::Available]);
        availability.answered();
        assert_eq!(states.lock().unwrap().len(), 2);
    }

    #[test]
    fn what_gives_up_leaves_the_outage_to_the_next_success() {
        let (availability, states) = availability(Some(Duration::from_millis(20)));
        let mut request = Attempts::new(&availability, "list");
        let pause = request.failed("lake", RequestError::Silent).unwrap();
        assert!(pause <= Duration::from_millis(20));
        std::thread::sleep(Duration::from_millis(25));
        let error = request.failed("lake", RequestError::Silent).unwrap_err();
        assert!(matches!(&error, LakeError::Unavailable { .. }), "{error}");
        drop(request);
        assert_eq!(states.lock().unwrap().len(), 1);
        availability.answered();
        assert_eq!(states.lock().unwrap()[1..], [LakeState::Available]);
    }

    #[test]
    fn a_short_failure_is_not_shown() {
        let retries = Retries::default();
        let states = Arc::new(Mutex::new(0));
        let seen = Arc::clone(&states);
        let observer = LakeObserver::new(move |_| *seen.lock().unwrap() += 1);
        let availability = Availability::new("lake".into(), retries, Some(observer));
        let mut request = Attempts::new(&availability, "read");
        request.failed("key", RequestError::Other("reset")).unwrap();
        request.succeeded();
        assert_eq!(*states.lock().unwrap(), 0);
    }
}
