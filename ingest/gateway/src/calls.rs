//! Calls to Kafka that carry no record: questions for metadata, and changes of topics.
//!
//! librdkafka answers them in the thread that asks, so each takes a thread while it runs. [`RUNNING`] run at once and
//! [`WAITING`] more wait, each for [`TURN`] at most; what is beyond is refused at once. A place belongs to a request that
//! waits, and is free as soon as that is given up. Who asks what is being asked already waits for the same answer and
//! takes no place.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OnceCell, Semaphore};

/// Calls at the same time.
const RUNNING: usize = 4;
/// Calls that wait for one of these to end.
const WAITING: usize = 256;
/// How long a call waits for its turn.
const TURN: Duration = Duration::from_secs(5);

/// Too many calls are running and waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many calls to Kafka are waiting")]
pub(super) struct Busy;

/// The queue of calls.
pub(super) struct Calls {
    running: Arc<Semaphore>,
    waiting: Semaphore,
    turn: Duration,
}

impl Calls {
    pub(super) fn new() -> Calls {
        Calls {
            running: Arc::new(Semaphore::new(RUNNING)),
            waiting: Semaphore::new(WAITING),
            turn: TURN,
        }
    }

    /// Makes a call, which may block, when it has its turn. A call that has begun is finished, and keeps its turn until
    /// then, also when no request waits for its answer any more.
    pub(super) async fn run<T: Send + 'static>(&self, call: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let turn = match Arc::clone(&self.running).try_acquire_owned() {
            Ok(turn) => turn,
            Err(_) => {
                let _place = self.waiting.try_acquire().map_err(|_| Busy)?;
                let turn = tokio::time::timeout(self.turn, Arc::clone(&self.running).acquire_owned()).await;
                turn.ok().and_then(Result::ok).ok_or(Busy)?
            }
        };
        let called = tokio::task::spawn_blocking(move || {
            let answer = call();
            drop(turn);
            answer
        });
        // the runtime is ending
        called.await.map_err(|_| Busy)
    }
}

/// Questions that are being asked; who asks the same shares the answer.
pub(super) struct Shared<T> {
    asked: Mutex<HashMap<String, Arc<OnceCell<T>>>>,
}

impl<T: Clone> Shared<T> {
    pub(super) fn new() -> Shared<T> {
        Shared {
            asked: Mutex::default(),
        }
    }

    /// The answer to this question: of the call that is under way, or of this one. When who made the call gives up, the
    /// next of those who wait makes its own.
    pub(super) async fn ask<A: Future<Output = T>>(&self, question: &str, call: impl FnOnce() -> A) -> T {
        let question = Question {
            shared: self,
            question,
            answer: self.join(question),
        };
        question.answer.get_or_init(call).await.clone()
    }

    fn join(&self, question: &str) -> Arc<OnceCell<T>> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(asked.entry(question.to_owned()).or_default())
    }
}

/// Waits for an answer.
struct Question<'q, T> {
    shared: &'q Shared<T>,
    question: &'q str,
    answer: Arc<OnceCell<T>>,
}

impl<T> Drop for Question<'_, T> {
    /// An answer is for those who waited for it: who asks later asks anew. And nothing waits for what the last has given up.
    fn drop(&mut self) {
        let mut asked = self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = std::mem::take(&mut self.answer);
        let is_mine = asked
            .get(self.question)
            .is_some_and(|found| Arc::ptr_eq(found, &answer));
        // besides the list there is only this one
        if is_mine && (answer.initialized() || Arc::strong_count(&answer) == 2) {
            asked.remove(self.question);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    fn calls(waiting: usize, turn: Duration) -> Arc<Calls> {
        Arc::new(Calls {
            running: Arc::new(Semaphore::new(1)),
            waiting: Semaphore::new(waiting),
            turn,
        })
    }

    /// A call that ends when its sender is dropped.
    async fn long(calls: &Arc<Calls>) -> (mpsc::Sender<()>, tokio::task::JoinHandle<Result<usize, Busy>>) {
        let (end, ended) = mpsc::channel::<()>();
        let (begin, begun) = tokio::sync::oneshot::channel();
        let calls = Arc::clone(calls);
        let running = tokio::spawn(async move {
            calls
                .run(move || {
                    let _ = begin.send(());
                    let _ = ended.recv();
                    0
                })
                .await
        });
        begun.await.unwrap();
        (end, running)
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_who_gives_up_leaves_a_place() {
        let calls = calls(1, Duration::from_secs(60));
        let (end, running) = long(&calls).await;
        let mut second = Box::pin(calls.run(|| 2));
        assert!(
            tokio::time::timeout(Duration::from_millis(50), &mut second)
                .await
                .is_err()
        );
        assert_eq!(calls.run(|| 3).await, Err(Busy));
        drop(second);
        let fourth = tokio::spawn({
            let calls = Arc::clone(&calls);
            async move { calls.run(|| 4).await }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!fourth.is_finished());
        drop(end);
        assert_eq!((running.await.unwrap(), fourth.await.unwrap()), (Ok(0), Ok(4)));
        assert_eq!(calls.run(|| 5).await, Ok(5));
    }

    #[tokio::test]
    async fn a_call_that_is_given_up_keeps_its_turn_until_it_ends_and_others_do_not_wait_for_ever() {
        let calls = calls(8, Duration::from_millis(100));
        let (end, running) = long(&calls).await;
        running.abort();
        assert!(running.await.is_err());
        assert_eq!(calls.run(|| 1).await, Err(Busy));
        drop(end);
        let calls = self::calls(8, Duration::from_secs(60));
        assert_eq!(calls.run(|| 2).await, Ok(2));
    }

    #[tokio::test]
    async fn one_call_answers_all_who_ask_the_same() {
        let shared = Arc::new(Shared::<usize>::new());
        let count = Arc::new(AtomicUsize::new(0));
        let ask = |question: &'static str| {
            let (shared, count) = (Arc::clone(&shared), Arc::clone(&count));
            tokio::spawn(async move {
                let call = || async {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    count.fetch_add(1, Ordering::Relaxed)
                };
                shared.ask(question, call).await
            })
        };
        let first = ask("a");
        tokio::time::sleep(Duration::from_millis(10)).await;
        let rest = [ask("a"), ask("a"), ask("b")];
        // who asks gives up, and another takes over
        first.abort();
        let mut answers = Vec::new();
        for one in rest {
            answers.push(one.await.unwrap());
        }
        assert_eq!(answers[0], answers[1]);
        assert_eq!(count.load(Ordering::Relaxed), 2);
        let given_up = ask("c");
        tokio::time::sleep(Duration::from_millis(10)).await;
        given_up.abort();
        assert!(given_up.await.is_err());
        assert!(shared.asked.lock().unwrap().is_empty());
        assert_eq!(ask("a").await.unwrap(), 2, "an answer is not kept");
    }
}
