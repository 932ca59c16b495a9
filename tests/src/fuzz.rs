//! What a server answers to requests that its OpenAPI description allows, or nearly allows: schemathesis sends them.

use crate::{long, root};
use anyhow::{Result, ensure};
use std::fs;
use std::process::Command;

/// 504 says that an offset has not come in time: an answer, and no failure of the server.
const SETTINGS: &str = "[checks.not_a_server_error]\nexpected-statuses = [\"2xx\", \"3xx\", \"4xx\", 504]\n";

/// A program of `.cache/clients`, which `tests/setup/clients.sh` fills.
pub fn client_program(name: &str) -> Result<Command> {
    let path = root().join(".cache/clients/bin").join(name);
    ensure!(
        path.exists(),
        "{} is missing: run tests/setup/clients.sh, or `make test`",
        path.display()
    );
    let mut command = Command::new(path);
    command
        .current_dir(root().join("tests/clients"))
        .env("NO_PROXY", "*")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}

/// Tries every operation of the description at `{url}/openapi.json`, of which there are so many; `more` goes to the fuzzer.
pub fn fuzz(url: &str, operations: usize, more: &[&str]) -> Result<()> {
    let (examples, seconds) = if long() { ("300", "600") } else { ("8", "25") };
    // what it remembers of a run is not for the next one
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("schemathesis.toml"), SETTINGS)?;
    let output = client_program("schemathesis")?
        .current_dir(folder.path())
        .args(["run", "--checks", "not_a_server_error", "--seed", "7"])
        .args(["--phases", "examples,coverage,fuzzing", "--continue-on-failure"])
        .args([
            "--max-examples",
            examples,
            "--max-time",
            seconds,
            "--request-timeout",
            "20",
        ])
        .args(["--generation-database", "none", "--warnings", "off", "--no-color"])
        .args(more)
        .arg(format!("{url}/openapi.json"))
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let tested = format!("Tested: {operations}");
    let tested = said.lines().any(|line| line.trim() == tested);
    ensure!(tested, "not every operation was tried: {said}");
    Ok(())
}
