//! The alerts in deploy/prometheus fire when they should and not otherwise, as `promtool` sees it.

use anyhow::{Context, Result, ensure};
use pinflow_tests::need::skip;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

#[test]
fn alerts_fire_when_they_should() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus");
    for arguments in [["check", "rules", "rules.yml"], ["test", "rules", "rules_test.yml"]] {
        let output = match Command::new("promtool").args(arguments).current_dir(&folder).output() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                skip("promtool is missing: sh tests/setup/install.sh test");
                return Ok(());
            }
            output => output.context("running promtool")?,
        };
        ensure!(
            output.status.success(),
            "promtool {}:\n{}{}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let (rules, tests) = ("rules.yml", "rules_test.yml");
    let read = |file| std::fs::read_to_string(folder.join(file)).context(file);
    let (rules, tests) = (read(rules)?, read(tests)?);
    let alerts: Vec<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    ensure!(alerts.len() == 7, "{alerts:?}");
    for alert in alerts {
        ensure!(
            tests.contains(&format!("alertname: {alert}\n")),
            "{alert} is not tested"
        );
    }
    Ok(())
}
