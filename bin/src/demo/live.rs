//! The demo's live stream: the emulator sends it in three dialects, and a few requests of the demo's own are timed
//! on their way into the tables.

use super::common::{TOPICS, connect, frontier};
use anyhow::{Context, Result, ensure};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use workload::emulate::interface::http::{Call, Http};
use workload::generate::{Event, Form, Renderer};

/// A timed request is sent this often.
const EVERY: Duration = Duration::from_millis(100);
/// How often the frontier is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// Requests whose way into the tables is timed, while this is alive.
pub(super) struct Probes {
    seen: Arc<Mutex<Vec<Duration>>>,
    task: tokio::task::JoinHandle<Result<()>>,
}

impl Probes {
    /// Sends a user of the history again ten times a second, and waits for each to be in the tables.
    pub(super) fn start(
        runtime: &tokio::runtime::Runtime,
        gateway: &str,
        postgres: &str,
        seed: u64,
        posts: u64,
    ) -> Result<Probes> {
        let http = Http::open(gateway, 1, None, None)?;
        let client = runtime.block_on(connect(postgres))?;
        let seen: Arc<Mutex<Vec<Duration>>> = Arc::default();
        let times = Arc::clone(&seen);
        let probe = async move {
            let renderer = Renderer::new(seed);
            let mut tick = tokio::time::interval(EVERY);
            for number in 0.. {
                tick.tick().await;
                let event = Event {
                    kind: 2,
                    ind: number % posts.max(1),
                    version: 0,
                    form: Form::Plain,
                };
                let sent = Instant::now();
                let offset = ask(&http, &renderer.json(&event)).await?;
                while frontier(&client).await?[2] <= offset {
                    tokio::time::sleep(LOOK).await;
                }
                times
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(sent.elapsed());
            }
            Ok(())
        };
        Ok(Probes {
            seen,
            task: runtime.spawn(probe),
        })
    }

    /// Whether requests are still taken.
    pub(super) fn check(&mut self, runtime: &tokio::runtime::Runtime) -> Result<()> {
        if self.task.is_finished() {
            runtime.block_on(&mut self.task).context("the timed requests failed")?
        } else {
            Ok(())
        }
    }

    /// Ends, and says how long each request took.
    pub(super) fn finish(self) -> Vec<Duration> {
        self.task.abort();
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Sends a record by the REST proxy's dialect; returns its offset.
async fn ask(http: &Http, json: &[u8]) -> Result<i64> {
    let mut body = b"{\"records\":[{\"value\":".to_vec();
    body.extend_from_slice(json);
    body.extend_from_slice(b"}]}");
    let call = Call {
        put: false,
        path: format!("/topics/{}", TOPICS[2]),
        content_type: "application/vnd.kafka.json.v2+json",
        body,
    };
    let answer = http
        .ask(call)
        .await
        .map_err(|outcome| anyhow::anyhow!("the gateway: {outcome:?}"))?;
    ensure!(answer.status == 200, "the gateway: {answer}");
    let slots: serde_json::Value = serde_json::from_slice(&answer.body).context("the gateway's answer is not JSON")?;
    let offset = slots["offsets"][0]["offset"].as_i64();
    offset.with_context(|| format!("the gateway returned no offset: {slots}"))
}
