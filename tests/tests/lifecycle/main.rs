//! How a run starts, changes and ends: interrupts, a newer run, other settings, other layouts of the lake, a compaction
//! beside a reader, and restarts that have nothing to do.

mod compaction;
mod interrupts;
mod launch;
mod layouts;
mod older_layouts;
mod restarts;
mod settings;

use anyhow::{Context, Result, ensure};
use pinflow_tests::case::{Case, KINDS, SOON};
use pinflow_tests::workload::{Entry, Workload};
use pinflow_tests::{Fault, LakeFolder, Message, Pinflow, Producer, Program, S3Server, Seen, eventually};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// Before a request that is held is refused.
const REFUSAL: Duration = Duration::from_millis(100);

/// Requests that a server refuses until they are let go; a client asks again meanwhile.
struct Hold {
    held: Arc<AtomicBool>,
    refused: Arc<AtomicU64>,
}

impl Hold {
    /// Holds the requests for which `which` is true.
    fn new(server: &S3Server, which: impl Fn(&Seen<'_>) -> bool + Send + Sync + 'static) -> Hold {
        Hold::with(server, which, |_| Fault::None)
    }

    /// The same, with faults for the other requests.
    fn with(
        server: &S3Server,
        which: impl Fn(&Seen<'_>) -> bool + Send + Sync + 'static,
        others: impl Fn(&Seen<'_>) -> Fault + Send + Sync + 'static,
    ) -> Hold {
        let hold = Hold {
            held: Arc::new(AtomicBool::new(true)),
            refused: Arc::default(),
        };
        let (held, refused) = (Arc::clone(&hold.held), Arc::clone(&hold.refused));
        server.set_faults(move |seen| {
            if !held.load(Ordering::Relaxed) || !which(seen) {
                return others(seen);
            }
            refused.fetch_add(1, Ordering::Relaxed);
            Fault::After(REFUSAL, Box::new(Fault::Status(503)))
        });
        hold
    }

    /// Waits until a request is held, from now on.
    fn reached(&self) -> Result<()> {
        let refused = || self.refused.load(Ordering::Relaxed);
        let before = refused();
        eventually("a request that is held", SOON, || Ok(refused() > before))
    }

    fn release(&self) {
        self.held.store(false, Ordering::Relaxed);
    }
}

/// A GET of an object with records.
fn reads_records(seen: &Seen<'_>) -> bool {
    seen.is_get() && seen.key.contains('+')
}

/// An S3 server whose lake holds a whole log.
struct Bucket {
    server: S3Server,
    lake: LakeFolder,
    workload: Workload,
    folder: TempDir,
}

impl Bucket {
    fn fill(seed: u64, records: usize, per_object: usize) -> Result<Bucket> {
        let folder = tempfile::tempdir()?;
        let server = S3Server::start(folder.path().join("s3"))?;
        let lake = LakeFolder::new(server.create_bucket("history")?);
        let mut workload = Workload::new(seed, 2);
        workload.take(records);
        workload.archive(&lake, 1.0, per_object)?;
        Ok(Bucket {
            server,
            lake,
            workload,
            folder,
        })
    }

    /// A command on this lake.
    fn command(&self, command: &str) -> Pinflow {
        Pinflow::new(command).s3(&self.server, "history/topics")
    }
}

/// A run of a schema that has committed since its start, and read everything.
fn follow(case: &Case, schema: &str, command: &Pinflow) -> Result<Program> {
    let database = case.database()?;
    let commits = || {
        let counted = database.number(&format!("SELECT commits FROM {schema}.progress"));
        counted.unwrap_or(0)
    };
    let before = commits();
    let mut run = command.start()?;
    eventually("a commit", SOON, || {
        ensure!(run.is_running()?, "it ended: {}", run.tail());
        Ok(commits() > before)
    })
    .with_context(|| run.tail())?;
    case.catches_up(&mut run, schema)?;
    Ok(run)
}

/// `--topics` of a case.
fn topics(case: &Case) -> [String; 2] {
    let named = KINDS.iter().zip(&case.topics);
    let named = named.filter_map(|(kind, topic)| Some(format!("{kind}={}", topic.as_ref()?)));
    ["--topics".to_owned(), named.collect::<Vec<_>>().join(",")]
}

/// The next records of a workload, into the topics of a case.
fn produce(case: &Case, workload: &mut Workload, count: usize) -> Result<()> {
    let producer = Producer::new(&case.kafka.bootstrap())?;
    for (kind, partition, (key, value)) in workload.take(count) {
        let key = key.to_string();
        let message = Message {
            partition: Some(partition),
            key: Some(key.as_bytes()),
            value: value.as_deref(),
        };
        producer.send(&case.topic(KINDS[usize::from(kind)]), message)?;
    }
    producer.flush()
}

/// The first `share` of what was produced so far, in the lake of a case.
fn archive(case: &Case, workload: &Workload, share: f64, per_object: usize) -> Result<()> {
    let lake = case.lake.as_ref().context("the case has no lake")?;
    for ((kind, partition), entries) in &workload.log {
        let count = (entries.len() as f64 * share) as usize;
        let topic = case.topic(KINDS[usize::from(*kind)]);
        for (start, chunk) in (0..).step_by(per_object).zip(entries[..count].chunks(per_object)) {
            lake.put(&lake.key(&topic, *partition, start, None), &lines(chunk))?;
        }
    }
    Ok(())
}

/// Records as Connect writes them.
fn lines(entries: &[Entry]) -> Vec<u8> {
    let mut lines = Vec::new();
    for (ind, value) in entries {
        match value {
            Some(value) => lines.extend_from_slice(value),
            None => lines.extend_from_slice(format!(r#"{{"ind":{ind},"__deleted":true}}"#).as_bytes()),
        }
        lines.push(b'\n');
    }
    lines
}
