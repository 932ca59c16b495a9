//! The README cannot lie: every command in its code blocks is taken from the file and run, with the names of its example
//! replaced by those of real servers. A command that this test does not know fails it.

use anyhow::{Context, Result, bail, ensure};
use pinflow_tests::answer::demand_answer;
use pinflow_tests::api_client::ask_json;
use pinflow_tests::workload::{TOPICS, Workload};
use pinflow_tests::{Kafka, LakeFolder, Pinflow, Postgres, Producer, S3Server, eventually, root};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// The lines of the README's code blocks that are commands.
fn commands() -> Result<Vec<String>> {
    let readme = std::fs::read_to_string(root().join("README.md"))?;
    let mut commands = Vec::new();
    let mut inside = false;
    let mut continued = String::new();
    for line in readme.lines() {
        if line.starts_with("```") {
            inside = !inside;
            continue;
        }
        let command = line.trim();
        // the picture of the data's way, drawn in lines and arrows, is no command
        if !inside || command.is_empty() || command.starts_with('#') || !command.is_ascii() {
            continue;
        }
        continued.push_str(command.trim_end_matches('\\'));
        if !command.ends_with('\\') {
            commands.push(std::mem::take(&mut continued));
        }
    }
    Ok(commands)
}

/// The servers that stand for those of the README.
struct Servers {
    kafka: Kafka,
    postgres: Postgres,
    s3: S3Server,
    bucket: LakeFolder,
    local: LakeFolder,
    folder: tempfile::TempDir,
}

impl Servers {
    /// The command's arguments with real names.
    fn pinflow(&self, arguments: &[&str]) -> Result<Pinflow> {
        let (first, rest) = arguments.split_first().context("a command of pinflow")?;
        let real = |argument: &&str| match *argument {
            "broker:9092" => self.kafka.bootstrap(),
            "postgres://pinflow@db/pins" => self.postgres.url(),
            "file:///data/topics" => self.local.url(),
            other => other.to_owned(),
        };
        let command = Pinflow::new(first).args(rest.iter().map(real)).dir(self.folder.path());
        let command = command.env("PINFLOW__LAKE__S3_ENDPOINT", self.s3.endpoint());
        let environment = self.s3.environment().into_iter();
        Ok(environment.fold(command, |command, (name, value)| command.env(name, value)))
    }

    fn archive(&self, workload: &Workload, share: f64) -> Result<()> {
        workload.archive(&self.bucket, share, 100)?;
        workload.archive(&self.local, share, 100)
    }
}

#[test]
fn the_commands_of_the_readme_do_what_it_says() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let s3 = S3Server::start(folder.path().join("s3"))?;
    let servers = Servers {
        kafka: Kafka::start()?,
        postgres: pinflow_tests::postgres()?,
        bucket: LakeFolder::new(s3.create_bucket("bucket")?),
        local: LakeFolder::new(folder.path().join("data")).topics_dir(""),
        s3,
        folder,
    };
    for topic in TOPICS {
        servers.kafka.create_topic(topic, 2, &[])?;
    }
    let producer = Producer::new(&servers.kafka.bootstrap())?;
    let mut workload = Workload::new(71, 2);
    workload.produce(&producer, 2_000)?;
    std::fs::create_dir_all(servers.local.root())?;
    servers.archive(&workload, 0.6)?;

    let mut seen = Vec::new();
    for command in commands()? {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words.as_slice() {
            ["make", target] => {
                // `make demo` and `make test` have tests of their own, this one among them
                make(&["-n", target])?;
                seen.push(format!("make {target}"));
            }
            ["cargo", "build", rest @ ..] => {
                ensure!(rest.contains(&"pinflow"), "{command}");
                cargo_knows("pinflow")?;
                seen.push("cargo build".to_owned());
            }
            ["pinflow", "run", ..] => {
                let mut run = servers.pinflow(&words[1..])?.start()?;
                demand_answer(&workload, &servers.postgres.url(), "pinflow", 10, SOON).with_context(|| run.tail())?;
                workload.produce(&producer, 300)?;
                demand_answer(&workload, &servers.postgres.url(), "pinflow", 10, SOON).with_context(|| run.tail())?;
                run.terminate()?;
                run.expect(0, SOON)?;
                // a target never moves back: what comes next has the whole log
                servers.archive(&workload, 1.0)?;
                seen.push("run".to_owned());
            }
            ["pinflow", "backfill", ..] => {
                servers
                    .pinflow(&words[1..])?
                    .succeed(SOON)
                    .with_context(|| command.clone())?;
                if let Some(out) = words.iter().position(|word| *word == "--out") {
                    written(&servers.folder.path().join(words[out + 1]))?;
                    seen.push("backfill into files".to_owned());
                } else {
                    demand_answer(&workload, &servers.postgres.url(), "pinflow", 10, SOON)?;
                    seen.push("backfill".to_owned());
                }
                if let Some(summary) = words.iter().position(|word| *word == "--summary") {
                    let text = std::fs::read_to_string(servers.folder.path().join(words[summary + 1]))?;
                    let summary: serde_json::Value = serde_json::from_str(&text)?;
                    ensure!(
                        summary["records"].as_u64().is_some_and(|records| records > 2_000),
                        "{text}"
                    );
                }
            }
            ["pinflow", "verify", ..] => {
                servers
                    .pinflow(&words[1..])?
                    .succeed(SOON)
                    .with_context(|| command.clone())?;
                seen.push(
                    if words.contains(&"--replay") {
                        "verify --replay"
                    } else {
                        "verify"
                    }
                    .to_owned(),
                );
            }
            ["pinflow", "archive", ..] => {
                // for ever, until it is told to stop; the second one archives what has come meanwhile, and ends
                let mut archive = servers.pinflow(&words[1..])?.start()?;
                workload.produce(&producer, 300)?;
                std::thread::sleep(Duration::from_secs(2));
                ensure!(archive.is_running()?, "it has ended:\n{}", archive.tail());
                archive.terminate()?;
                archive.expect(0, SOON)?;
                servers.pinflow(&words[1..])?.args(["--once"]).succeed(SOON)?;
                seen.push("archive".to_owned());
            }
            ["pinflow", command @ ("compact" | "audit" | "export"), ..] => {
                servers
                    .pinflow(&words[1..])?
                    .succeed(SOON)
                    .with_context(|| format!("pinflow {command}"))?;
                seen.push((*command).to_owned());
            }
            _ => bail!("the README has a command that this test does not run: {command}"),
        }
    }
    let expected = [
        "make demo",
        "make test",
        "cargo build",
        "run",
        "backfill",
        "backfill into files",
        "verify",
        "verify --replay",
        "export",
        "archive",
        "compact",
        "audit",
    ];
    ensure!(seen == expected, "the README's commands are {seen:?}");
    Ok(())
}

/// A CSV file for each result, with rows.
fn written(out: &Path) -> Result<()> {
    for result in pinflow_tests::plain::definitions() {
        let file = out.join(format!("{}.csv", result.table.name));
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        ensure!(text.lines().count() > 1, "{} is empty", file.display());
    }
    Ok(())
}

fn make(arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("make");
    // as a user's shell would: these tests may run below another make, which has its own ways of talking
    for name in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL"] {
        command.env_remove(name);
    }
    let output = command.args(arguments).current_dir(root()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "make {arguments:?}: {said}");
    Ok(String::from_utf8(output.stdout)?)
}

fn cargo_knows(package: &str) -> Result<()> {
    let manifest = std::fs::read_to_string(root().join("bin/Cargo.toml"))?;
    ensure!(
        manifest.contains(&format!("name = \"{package}\"")),
        "no package {package}"
    );
    Ok(())
}

/// `make demo` with the README's flags and smaller numbers, through the program that is built already: its page is there
/// while it runs, and the terminal says what the page shows.
#[test]
fn make_demo_does_what_it_says() -> Result<()> {
    let readme = std::fs::read_to_string(root().join("README.md"))?.replace('\n', " ");
    let (_, flags) = readme
        .split_once("DEMO_FLAGS='")
        .context("the README names DEMO_FLAGS")?;
    let (flags, _) = flags.split_once('\'').context("the flags end")?;
    let smaller: Vec<&str> = flags
        .split_whitespace()
        .map(|word| match word {
            flag if flag.starts_with("--") => Ok(flag),
            "60s" => Ok("12s"),
            "100000" => Ok("2000"),
            "1000" => Ok("100"),
            other => bail!("an unknown value in the README's DEMO_FLAGS: {other}"),
        })
        .collect::<Result<_>>()?;
    let recipe = make(&["-n", "demo", &format!("DEMO_FLAGS={}", smaller.join(" "))])?;
    let command = recipe.lines().last().context("a recipe")?;
    let mut words = command.split_whitespace();
    let program = words.next().context("a command")?;
    ensure!(program.ends_with("/pinflow"), "`make demo` ends with {command}");
    let demo = Pinflow::new(words.next().context("a command of pinflow")?).args(words);
    let mut demo = demo.start()?;
    let page = demo.wait_for("http://", SOON)?;
    let (_, address) = page.split_once("demo: open http://").context("no page")?;
    let (address, _) = address.split_once('/').context("no end of the address")?;
    demo.wait_for("sending 100 records/s for 12s", SOON)?;
    eventually("the end of the replay", SOON, || {
        Ok(ask_json(address, "/api/status")?["replay"]["percent"] == 100.0)
    })?;
    let graph = ask_json(address, "/api/dataflow")?;
    for source in ["lake/pin", "kafka/pin"] {
        let has = |of: &serde_json::Value| of["id"] == source;
        let nodes = graph["operators"].as_array().context("no operators")?;
        ensure!(nodes.iter().any(has), "no {source}: {graph}");
    }
    // records in odd forms are among those that are sent
    let mut rejected = 0;
    eventually("a dead letter", Duration::from_secs(30), || {
        let status = ask_json(address, "/api/status")?;
        let counts = status["rejects"].as_object().context("no rejects")?;
        rejected = counts.values().filter_map(serde_json::Value::as_u64).sum();
        Ok(rejected > 0)
    })?;
    demo.expect(0, Duration::from_secs(120))?;
    let said = demo.stdout();
    ensure!(said.starts_with(&page), "the page does not come first: {said}");
    ensure!(said.lines().count() < 45, "{} lines: {said}", said.lines().count());
    for result in pinflow_tests::plain::definitions() {
        ensure!(
            said.contains(result.table.name),
            "{} is not shown: {said}",
            result.table.name
        );
    }
    ensure!(
        said.contains("demo: hand-over from the lake to Kafka at the offsets geo/0 "),
        "{said}"
    );
    ensure!(said.contains("demo: live: commit "), "{said}");
    let (_, p50) = said
        .split_once("until visible in all tables: p50 ")
        .with_context(|| format!("no freshness: {said}"))?;
    let (p50, _) = p50.split_once(" ms").context("no unit")?;
    // 15 ms on an idle machine; a reader that waits for the embedded broker's next answer would need 100
    ensure!(p50.parse::<f64>()? < 90.0, "{p50} ms");
    Ok(())
}
