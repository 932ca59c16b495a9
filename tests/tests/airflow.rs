//! The daily DAG in `deploy/airflow`, run by Airflow 2 and 3 as they come from PyPI. They are large, so this runs in
//! `make test-peers` and not in `make test`. What is expected stands in Airflow's own metadata database.

use anyhow::{Context, Result, ensure};
use pinflow_tests::answer::{tables, texts, wait_for_frontier};
use pinflow_tests::workload::{Frontier, TOPICS, Workload};
use pinflow_tests::{Database, Kafka, LakeFolder, Pinflow, Producer, case, files, root};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(60);
/// Both versions that `tests/setup/airflow.sh` installs.
const VERSIONS: [&str; 2] = ["2.10.5", "3.3.2"];
/// As the users name it.
const USER_ID: &str = "0a3db223d459";
/// How often a task is tried that fails every time.
const TRIES: i64 = 4;

/// One Airflow with the DAG in its folder, and a metadata database of its own.
struct Airflow {
    programs: PathBuf,
    home: TempDir,
    variables: Vec<(String, String)>,
}

impl Airflow {
    /// Set up as docs/airflow.md describes it, but for the delay between two tries.
    fn new(version: &str, program: &Path, config: &Path) -> Result<Airflow> {
        let programs = root().join(".cache/airflow").join(version).join("bin");
        ensure!(
            programs.exists(),
            "{} is missing: run tests/setup/airflow.sh",
            programs.display()
        );
        let home = tempfile::tempdir()?;
        let dags = home.path().join("dags");
        std::fs::create_dir(&dags)?;
        std::fs::copy(
            root().join("deploy/airflow/pinflow_dags.py"),
            dags.join("pinflow_dags.py"),
        )?;
        let variables = vec![
            ("PINFLOW_USER_ID".into(), USER_ID.into()),
            ("PINFLOW_RETRY_SECONDS".into(), "0.1".into()),
            ("AIRFLOW_VAR_PINFLOW_BINARY".into(), program.display().to_string()),
            ("AIRFLOW_VAR_PINFLOW_CONFIG".into(), config.display().to_string()),
        ];
        let airflow = Airflow {
            programs,
            home,
            variables,
        };
        airflow.airflow(&["db", "migrate"])?;
        Ok(airflow)
    }

    /// Sets a variable of the environment.
    fn variable(mut self, name: &str, value: &str) -> Airflow {
        self.variables.push((name.into(), value.into()));
        self
    }

    fn airflow(&self, args: &[&str]) -> Result<String> {
        let output = Command::new(self.programs.join("airflow"))
            .args(args)
            .env("AIRFLOW_HOME", self.home.path())
            .env("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
            .env("AIRFLOW__USAGE_DATA_COLLECTION__ENABLED", "False")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .output()
            .context("running Airflow")?;
        // a DAG run that fails is an exit code of 1, which its states explain
        Ok([output.stdout, output.stderr]
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .concat())
    }

    /// Runs the DAG once, demands these states, and returns the log.
    fn demand(&self, run: &str, tasks: &[(&str, &str, i64)]) -> Result<String> {
        let log = self.airflow(&["dags", "test", &format!("{USER_ID}_dag")])?;
        let states = Command::new(self.programs.join("python"))
            .arg(root().join("tests/peers/task_states.py"))
            .arg(self.home.path().join("airflow.db"))
            .output()?;
        let states: Value = serde_json::from_slice(&states.stdout).with_context(|| log.clone())?;
        let tasks = tasks
            .iter()
            .map(|(task, state, tries)| ((*task).to_owned(), json!([state, tries])));
        let wanted = json!({ "run": run, "tasks": Value::Object(tasks.collect()) });
        ensure!(states == wanted, "{states} instead of {wanted}: {log}");
        Ok(log)
    }
}

/// Objects that compaction has written: their start has more than ten digits.
fn merged(lake: &LakeFolder) -> Result<usize> {
    let names = files(lake.root())?;
    let names = names.iter().filter_map(|path| path.file_name()?.to_str());
    Ok(names.filter(|name| name.ends_with("+000000000000.json")).count())
}

/// The whole chain runs on a real lake. While a run holds the schema, only the backfill is skipped, and what is verified
/// are the tables of that run: a row that somebody has changed fails the day.
#[test]
#[ignore = "needs Airflow: make test-peers"]
fn the_daily_dag_computes_the_tables_and_verifies_those_of_a_live_run() -> Result<()> {
    let (kafka, postgres) = (Kafka::start()?, pinflow_tests::postgres()?);
    for topic in TOPICS {
        kafka.create_topic(topic, 1, &[])?;
    }
    let mut workload = Workload::new(41, 1);
    workload.produce(&Producer::new(&kafka.bootstrap())?, 1_000)?;
    let url = postgres.url();
    // half of what Kafka holds is archived, in small objects
    let all = workload.frontier();
    let archived: Frontier = all.iter().map(|(place, next)| (place.clone(), next / 2)).collect();
    let answer_of = |frontier| anyhow::Ok(texts(&workload.answer(frontier, 10)?));
    let (of_all, of_archived) = (answer_of(&all)?, answer_of(&archived)?);
    let lakes = VERSIONS.map(|version| -> Result<_> {
        let folder = tempfile::tempdir()?;
        let lake = LakeFolder::new(folder.path().join("lake"));
        workload.archive(&lake, 0.5, 20)?;
        Ok((version, folder, lake))
    });
    case::each(lakes.into_iter().collect::<Result<_>>()?, |(version, folder, lake)| {
        let schema = format!("airflow_{}", &version[..1]);
        let config = folder.path().join("pinflow.toml");
        let text = format!(
            "[lake]\nurl = \"{}\"\n[kafka]\nbootstrap = \"{}\"\n",
            lake.url(),
            kafka.bootstrap()
        );
        std::fs::write(&config, text)?;
        let airflow = Airflow::new(version, &pinflow_tests::program::binary()?, &config)?
            .variable("AIRFLOW_VAR_PINFLOW_SCHEMA", &schema)
            .variable("AIRFLOW_CONN_PINFLOW_POSTGRES", &url);

        let done = ["audit", "compact", "backfill", "verify"].map(|task| (task, "success", 1));
        airflow.demand("success", &done)?;
        ensure!(merged(&lake)? == TOPICS.len(), "nothing was compacted");
        let shown = tables(&Database::connect(&url)?, &schema)?;
        ensure!(
            shown == (archived.clone(), of_archived.clone()),
            "the tables show {shown:?}"
        );
        airflow.demand("success", &done)?;

        let mut run = Pinflow::new("run")
            .lake(&lake)
            .kafka(&kafka)
            .args(["--postgres", &url, "--schema", &schema])
            .start()?;
        let (_, shown) = wait_for_frontier(&url, &schema, &all, SOON).with_context(|| run.tail())?;
        ensure!(shown == of_all, "the run's tables show {shown:?}");
        let [audit, compact, _, verify] = done;
        let held = ("backfill", "skipped", 1);
        let log = airflow.demand("success", &[audit, compact, held, verify])?;
        ensure!(log.contains(&format!("schema {schema} is held by")), "{log}");
        ensure!(run.is_running()?, "a skipped backfill ended the run: {}", run.tail());

        let forge = format!("DELETE FROM {schema}.popular_category_by_country");
        Database::connect(&url)?.run(&forge)?;
        let log = airflow.demand("failed", &[audit, compact, held, ("verify", "failed", TRIES)])?;
        ensure!(log.contains("popular_category_by_country"), "{log}");
        case::stop(run)
    })
}

/// Code 1 is tried again, code 2 and a program that is missing are not, code 3 is skipped.
#[test]
#[ignore = "needs Airflow: make test-peers"]
fn an_exit_code_decides_whether_a_task_is_retried() -> Result<()> {
    case::each(VERSIONS.to_vec(), |version| {
        let folder = tempfile::tempdir()?;
        let program = folder.path().join("pinflow");
        let codes = |lines: &str| -> Result<()> {
            std::fs::write(
                &program,
                format!("#!/bin/sh\ncd {}\n{lines}\n", folder.path().display()),
            )?;
            Ok(std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755))?)
        };
        let airflow = Airflow::new(version, &program, &folder.path().join("pinflow.toml"))?;
        let blocked = |task| (task, "upstream_failed", 0);

        codes(
            "case $1 in audit) test -e tried || { : >tried; exit 1; };; backfill) exit 3;; verify) kill -9 $$;; esac",
        )?;
        airflow.demand(
            "failed",
            &[
                ("audit", "success", 2),
                ("compact", "success", 1),
                ("backfill", "skipped", 1),
                ("verify", "failed", TRIES),
            ],
        )?;

        codes("case $1 in backfill) exit 1;; esac")?;
        let done = [("audit", "success", 1), ("compact", "success", 1)];
        let failed = [("backfill", "failed", TRIES), blocked("verify")];
        airflow.demand("failed", &[done, failed].concat())?;

        codes("case $1 in backfill) exit 2;; esac")?;
        let failed = [("backfill", "failed", 1), blocked("verify")];
        airflow.demand("failed", &[done, failed].concat())?;

        std::fs::remove_file(&program)?;
        let rest = ["compact", "backfill", "verify"].map(blocked);
        airflow.demand("failed", &[&[("audit", "failed", 1)][..], &rest].concat())?;
        Ok(())
    })
}
