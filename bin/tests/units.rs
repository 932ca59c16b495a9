//! The systemd units, as `systemd-analyze` judges them.

use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

// says that a test is skipped, as the scenarios do
#[path = "../../tests/src/need.rs"]
mod need;

/// The exposure that is allowed, in tenths.
const THRESHOLD: &str = "--threshold=30";

/// The project's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn every_service_has_a_unit_that_is_exposed_little() -> Result<()> {
    let folder = root().join("docs/systemd");
    let mut services = BTreeSet::new();
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "service") {
            services.insert(path.file_stem().context("a name")?.to_string_lossy().into_owned());
        }
    }
    let wanted = ["archive", "compact", "gateway", "run"].map(|name| format!("pinflow-{name}"));
    ensure!(services == wanted.clone().into(), "there are {services:?}");
    let text = |name: &str| std::fs::read_to_string(folder.join(format!("{name}.service")));
    for name in &wanted {
        let unit = text(name)?;
        for line in [
            "DynamicUser=yes",
            "ProtectSystem=strict",
            "NoNewPrivileges=yes",
            "RestartPreventExitStatus=2 3",
        ] {
            ensure!(unit.lines().any(|found| found == line), "{name} lacks {line}");
        }
        ensure!(unit.contains("\nRestartSec="), "{name} lacks RestartSec");
    }
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        need::skip("there is no systemd-analyze on PATH: install systemd");
        return Ok(());
    }
    for name in &wanted {
        let analyze = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager", THRESHOLD])
            .arg(folder.join(format!("{name}.service")))
            .output()?;
        let said = String::from_utf8_lossy(&analyze.stdout);
        let last = said.lines().last().unwrap_or_default();
        ensure!(
            analyze.status.success(),
            "{name}: {last} {}",
            String::from_utf8_lossy(&analyze.stderr)
        );
        ensure!(last.contains("Overall exposure level"), "{name}: {said}");
    }
    Ok(())
}

/// What systemd does not know it leaves out: a setting of a sandbox that is spelled wrongly protects nothing.
#[test]
fn systemd_knows_every_setting_of_the_units() -> Result<()> {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        need::skip("there is no systemd-analyze on PATH: install systemd");
        return Ok(());
    }
    let (folder, program) = (tempfile::tempdir()?, std::env::current_exe()?);
    let mut units = Vec::new();
    for entry in std::fs::read_dir(root().join("docs/systemd"))? {
        let path = entry?.path();
        // the program must be there to be started
        let unit = std::fs::read_to_string(&path)?.replace("/usr/local/bin/pinflow", &program.to_string_lossy());
        let copy = folder.path().join(path.file_name().context("a name")?);
        std::fs::write(&copy, unit)?;
        units.push(copy);
    }
    let verify = || -> Result<String> {
        let verify = Command::new("systemd-analyze")
            .args(["verify", "--man=no"])
            .args(&units)
            .output()?;
        let said = String::from_utf8(verify.stderr)?;
        Ok(said + if verify.status.success() { "" } else { "failed" })
    };
    assert_eq!(verify()?, "");
    let unit = folder.path().join("pinflow-run.service");
    let wrong = std::fs::read_to_string(&unit)?.replace("ProtectSystem=", "ProtectSystm=");
    std::fs::write(&unit, wrong)?;
    let said = verify()?;
    ensure!(said.contains("ProtectSystm"), "{said}");
    Ok(())
}

/// What a unit starts is a command line of this program.
#[test]
fn the_units_start_commands_that_exist() -> Result<()> {
    for name in ["archive", "compact", "gateway", "run"] {
        let path = root().join(format!("docs/systemd/pinflow-{name}.service"));
        let unit = std::fs::read_to_string(path)?;
        let start = unit
            .lines()
            .find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/"));
        let words = start.context("ExecStart")?.split(' ');
        let invocation = pinflow::cli::parse(words).map_err(|error| anyhow::anyhow!("{name}: {error:?}"))?;
        ensure!(invocation.config.is_some(), "{name} names no configuration");
        let variables = unit.lines().filter_map(|line| line.strip_prefix("Environment="));
        for variable in variables {
            let (variable, file) = variable.split_once('=').context("NAME=VALUE")?;
            ensure!(
                pinflow::config::layers::is_set_by("postgres.password", variable) && file.starts_with("%d/"),
                "{name}: {variable}"
            );
        }
    }
    Ok(())
}
