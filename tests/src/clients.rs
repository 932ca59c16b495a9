//! The users' own Python clients, in `tests/clients`: changed in nothing but the URL they send to.

use crate::{Kafka, MariaDb, root};
use anyhow::{Context, Result, ensure};
use servers::process::Server;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The scripts, each with the interface it speaks and the form of its dates.
pub const SCRIPTS: [(&str, &str, &str); 3] = [
    ("user_posting_fastapi.py", "pin", "iso"),
    ("user_posting_emulation.py", "rest", "str"),
    ("user_posting_emulation_streaming.py", "kinesis", "iso"),
];

/// A running client; killed when dropped, as its user would do with Ctrl-C.
pub struct PythonClient {
    server: Server,
    log: PathBuf,
}

fn python() -> Result<PathBuf> {
    let python = root().join(".cache/emulators/bin/python");
    ensure!(
        python.exists(),
        "{} is missing: run tests/setup/emulators.sh, or `make test`",
        python.display()
    );
    Ok(python)
}

/// How many records each partition of these topics holds, read to its end by confluent-kafka. Fails where a record is
/// no JSON, or its key is not its post.
pub fn read_topics(kafka: &Kafka, topics: &[&str]) -> Result<BTreeMap<(String, i32), i64>> {
    let mut command = Command::new(python()?);
    command
        .arg(root().join("tests/clients/read_topics.py"))
        .arg(kafka.bootstrap());
    let output = command.args(topics).env_remove("PYTHONPATH").output()?;
    ensure!(
        output.status.success(),
        "read_topics.py: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let read: BTreeMap<String, BTreeMap<i32, i64>> = serde_json::from_slice(&output.stdout)?;
    let flat = |(topic, partitions): (String, BTreeMap<i32, i64>)| {
        let of = move |(partition, records)| ((topic.clone(), partition), records);
        partitions.into_iter().map(of)
    };
    Ok(read.into_iter().flat_map(flat).collect())
}

/// Lets a user of Kafka do these things with a topic.
pub fn allow(kafka: &Kafka, principal: &str, topic: &str, operations: &[&str]) -> Result<()> {
    let mut command = Command::new(python()?);
    command
        .arg(root().join("tests/clients/allow.py"))
        .args([&kafka.bootstrap(), principal, topic])
        .args(operations)
        .env_remove("PYTHONPATH");
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "allow.py: {said}");
    Ok(())
}

impl PythonClient {
    /// Starts a script that reads this database and sends to this URL; what it prints goes into `folder`.
    pub fn start(script: &str, url: &str, mariadb: &MariaDb, folder: &Path) -> Result<PythonClient> {
        let python = python()?;
        let log = folder.join(format!("{script}.log"));
        let out = File::create(&log)?;
        let mut command = Command::new(python);
        command
            .arg(root().join("tests/clients").join(script))
            .arg(url)
            .envs(mariadb.parts())
            .env_remove("PYTHONPATH")
            .env("NO_PROXY", "127.0.0.1")
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out);
        let server = Server::spawn(&mut command, "KILL", None).with_context(|| format!("starting {script}"))?;
        Ok(PythonClient { server, log })
    }

    /// What it printed; fails when it has ended, which it never does by itself.
    pub fn check(&mut self) -> Result<String> {
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        let ended = self.server.exited()?;
        ensure!(ended.is_none(), "a client ended ({ended:?}): {said}");
        Ok(said)
    }

    /// Ends it.
    pub fn stop(&mut self) -> Result<()> {
        self.server.kill()?;
        Ok(())
    }
}
