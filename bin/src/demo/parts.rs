//! The demo's parts: commands of this program as processes of their own, as they would be run elsewhere.

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use servers::process::Server;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A running command of this program; killed when dropped.
pub(super) struct Part {
    server: Server,
    name: String,
    log: PathBuf,
    out: PathBuf,
}

impl Part {
    /// Starts `pinflow NAME ARGUMENTS`; what it says goes into files of `logs`.
    pub(super) fn start(
        name: &str,
        arguments: &[String],
        environment: &[(&'static str, OsString)],
        logs: &Path,
    ) -> Result<Part> {
        let (log, out) = (logs.join(format!("{name}.log")), logs.join(format!("{name}.out")));
        let mut command = Command::new(std::env::current_exe().context("locating this program")?);
        command
            .arg(name)
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(File::create(&out).context("creating a file for the output")?)
            .stderr(File::create(&log).context("creating a file for the log")?);
        let server = Server::spawn(&mut command, "TERM", None);
        Ok(Part {
            server: server.with_context(|| format!("starting `pinflow {name}`"))?,
            name: name.to_owned(),
            log,
            out,
        })
    }

    /// Fails when it has ended by itself.
    pub(super) fn check(&mut self) -> Result<()> {
        match self.server.exited()? {
            None => Ok(()),
            Some(status) => bail!("`pinflow {}` ended with {status}:\n{}", self.name, self.tail()),
        }
    }

    /// Asks it to end, and waits until it has ended well. Returns its standard output.
    pub(super) fn stop(&mut self, patience: Duration) -> Result<String> {
        self.server.signal(Signal::TERM)?;
        match self.server.wait(patience)? {
            Some(status) if status.success() => {
                std::fs::read_to_string(&self.out).with_context(|| format!("reading the output of {}", self.name))
            }
            Some(status) => bail!("`pinflow {}` ended with {status}:\n{}", self.name, self.tail()),
            None => bail!("`pinflow {}` did not end within {patience:?}", self.name),
        }
    }

    /// The last lines that it said.
    pub(super) fn tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}
