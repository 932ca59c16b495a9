//! What a person meets first: errors of one line that say what to do, and starts that end when they are asked to.

use crate::{PINS, SOON, pin};
use anyhow::{Result, ensure};
use pinflow_tests::{Broker, Fault, LakeFolder, Pinflow, Program, S3Server, Seen};
use std::net::TcpListener;
use std::time::{Duration, Instant};

/// From SIGTERM to the end of the process, on a busy machine.
const PROMPT: Duration = Duration::from_secs(3);

fn closed_port() -> Result<String> {
    Ok(format!("127.0.0.1:{}", servers::free_port()?))
}

#[test]
fn s3_without_credentials_is_one_line_with_the_remedies_and_at_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = S3Server::start(folder.path())?;
    server.create_bucket("history")?;
    let endpoint = server.endpoint();
    // as in a container, and as on a machine that is asked for a role
    for metadata in ["true", "false"] {
        let began = Instant::now();
        let out = folder.path().join("out");
        let mut backfill = Pinflow::new("backfill")
            .args(["--lake", "s3://history/topics", "--s3-endpoint", &endpoint])
            .args(["--out".as_ref(), out.as_os_str()])
            .env("AWS_EC2_METADATA_DISABLED", metadata)
            .env("HOME", folder.path())
            .start()?;
        backfill.expect(1, SOON)?;
        let took = began.elapsed();
        let said = backfill.stderr();
        ensure!(took < Duration::from_secs(5), "{took:?}: {said}");
        let lines: Vec<&str> = said.lines().filter(|line| !line.contains(" INFO ")).collect();
        ensure!(lines.len() == 1, "{} lines: {said}", lines.len());
        for part in [
            "error: cannot use s3://history/topics (",
            "no credentials",
            "AWS_ACCESS_KEY_ID",
            "AWS_PROFILE",
            "a role",
        ] {
            ensure!(lines[0].contains(part), "no {part:?} in {said}");
        }
    }
    Ok(())
}

fn ends_promptly(part: &str, mut run: Program) -> Result<()> {
    ensure!(run.is_running()?, "{part}: the run ended by itself: {}", run.tail());
    let began = Instant::now();
    run.terminate()?;
    run.expect(0, SOON)?;
    let took = began.elapsed();
    ensure!(took < PROMPT, "{part}: it took {took:?}: {}", run.tail());
    Ok(())
}

/// In whatever it waits for: nothing is committed yet, so there is nothing to finish.
#[test]
fn a_start_ends_promptly_when_it_is_stopped_in_any_of_its_parts() -> Result<()> {
    let postgres = pinflow_tests::postgres()?;
    let folder = tempfile::tempdir()?;
    let server = S3Server::start(folder.path())?;
    let lake = LakeFolder::new(server.create_bucket("history")?);
    lake.objects("pin", 0, 0, 1, &[pin(0, "art"), pin(1, "art"), pin(2, "art")])?;
    let broker = Broker::start()?;
    broker.create_topic("pin", 1)?;
    let nobody = closed_port()?;
    // takes connections, and says nothing
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let silent = silent.local_addr()?.to_string();
    let url = |address: &str| format!("postgres://pinflow@{address}/pins?sslmode=disable");
    let with = |schema: &str| Pinflow::new("run").args(PINS).args(["--schema", schema]);
    let wait = || std::thread::sleep(Duration::from_secs(2));

    for (part, kafka) in [("kafka_refuses", &nobody), ("kafka_is_silent", &silent)] {
        let run = with(part).postgres(&postgres).args(["--kafka", kafka]).start()?;
        wait();
        ends_promptly(part, run)?;
    }
    for (part, address) in [("postgres_refuses", &nobody), ("postgres_is_silent", &silent)] {
        let run = with(part).args(["--kafka", broker.bootstrap(), "--postgres", &url(address)]);
        let mut run = run.start()?;
        wait();
        if run.is_running()? {
            ends_promptly(part, run)?;
            continue;
        }
        // it may as well have ended with the reason
        run.expect(1, SOON)?;
        ensure!(run.stderr().contains(address.as_str()), "{part}: {}", run.stderr());
    }
    let hangs: [(&str, fn(&Seen<'_>) -> bool); 2] =
        [("s3_lists", |seen| seen.is_list()), ("s3_reads", |seen| seen.is_get())];
    for (part, which) in hangs {
        server.set_faults(move |seen| {
            if which(seen) {
                Fault::delay(Duration::from_secs(300))
            } else {
                Fault::None
            }
        });
        let run = with(part).s3(&server, "history/topics").postgres(&postgres);
        let run = run.args(["--kafka", broker.bootstrap()]).start()?;
        wait();
        ends_promptly(part, run)?;
    }
    Ok(())
}

#[test]
fn a_database_that_cannot_be_reached_is_named() -> Result<()> {
    let nobody = closed_port()?;
    let url = format!("postgres://pinflow@{nobody}/pins");
    let mut verify = Pinflow::new("verify").args(["--postgres", &url]).start()?;
    verify.expect(1, SOON)?;
    let said = verify.stderr();
    let (host, port) = nobody.split_once(':').unwrap_or_default();
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    ensure!(errors.len() == 1, "{said}");
    ensure!(errors[0].contains(host) && errors[0].contains(port), "{said}");
    Ok(())
}
