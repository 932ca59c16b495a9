//! However many workers and processes share the work, the tables are the same; and processes share one fate.

use anyhow::{Context, Result, ensure};
use pinflow_tests::answer::{demand_answer, tables};
use pinflow_tests::workload::{Entry, TOPICS, Workload};
use pinflow_tests::{Database, Kafka, LakeFolder, Message, Pinflow, Producer, Program, Relay, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(60);

/// A host file of free ports.
fn hostfile(folder: &Path, processes: usize) -> Result<PathBuf> {
    let mut hosts = String::new();
    for _ in 0..processes {
        hosts.push_str(&format!("127.0.0.1:{}\n", servers::free_port()?));
    }
    let path = folder.join("hosts");
    std::fs::write(&path, hosts)?;
    Ok(path)
}

/// Starts a command as processes that know each other by a host file.
fn start(command: &Pinflow, folder: &Path, processes: usize, threads: usize) -> Result<Vec<Program>> {
    let threads = threads.to_string();
    if processes == 1 {
        return Ok(vec![command.clone().args(["-w", &threads]).start()?]);
    }
    let hosts = hostfile(folder, processes)?;
    let (count, hosts) = (processes.to_string(), hosts.to_string_lossy().into_owned());
    (0..processes)
        .map(|process| {
            let process = process.to_string();
            command
                .clone()
                .args(["-w", &threads, "-n", &count, "-p", &process, "-h", &hosts])
                .start()
        })
        .collect()
}

/// A record as the emulation sends it, for the posts whose corrections this test makes up.
fn send(workload: &mut Workload, producer: &Producer, kind: u8, ind: i64, record: serde_json::Value) -> Result<()> {
    let value = record.to_string().into_bytes();
    let partition = workload::generate::partition_of(ind as u64, 2);
    let entry: Entry = (ind, Some(value.clone()));
    workload.log.entry((kind, partition)).or_default().push(entry);
    let key = ind.to_string();
    let message = Message {
        partition: Some(partition),
        key: Some(key.as_bytes()),
        value: Some(&value),
    };
    producer.send(TOPICS[kind as usize], message)?;
    producer.flush()
}

fn pin(ind: i64, category: &str, poster: &str, followers: &str) -> serde_json::Value {
    json!({
        "index": ind, "unique_id": "a", "title": "t", "description": "d", "poster_name": poster,
        "follower_count": followers, "tag_list": "x", "is_image_or_video": "image", "image_src": "s",
        "downloaded": 1, "save_location": "Local save in /data/x", "category": category
    })
}

fn geo(ind: i64, country: &str, time: &str) -> serde_json::Value {
    json!({ "ind": ind, "timestamp": time, "latitude": 1.5, "longitude": 2.5, "country": country })
}

fn user(ind: i64, name: &str, age: u32, joined: &str) -> serde_json::Value {
    json!({ "ind": ind, "first_name": name, "last_name": "X", "age": age, "date_joined": joined })
}

/// Posts that exist for this test alone: they move between categories, countries, years, age groups and persons, lose
/// a third of themselves, come back, and go.
fn corrections(workload: &mut Workload, producer: &Producer, live: bool) -> Result<()> {
    let base = 900_000_000;
    if !live {
        for n in 0..60 {
            let ind = base + n;
            let country = ["Albania", "Zambia", "Åland"][n as usize % 3];
            send(
                workload,
                producer,
                0,
                ind,
                pin(
                    ind,
                    ["art", "vehicles"][n as usize % 2],
                    &format!("poster {}", n % 7),
                    "12k",
                ),
            )?;
            send(workload, producer, 1, ind, geo(ind, country, "2019-05-06T07:08:09"))?;
            send(
                workload,
                producer,
                2,
                ind,
                user(ind, &format!("n{}", n % 9), 20 + n as u32 % 40, "2016-01-02T03:04:05"),
            )?;
        }
        // half of the moves happen in history
        for n in 0..15 {
            let ind = base + n;
            send(workload, producer, 1, ind, geo(ind, "Chad", "2021-05-06T07:08:09"))?;
            send(
                workload,
                producer,
                2,
                ind,
                user(ind, "moved", 55, "2017-01-02T03:04:05"),
            )?;
        }
        workload.delete(producer, 1, base + 1)?;
        return Ok(());
    }
    for n in 10..40 {
        let ind = base + n;
        send(
            workload,
            producer,
            0,
            ind,
            pin(ind, "travel", &format!("poster {}", n % 3), "3M"),
        )?;
        send(workload, producer, 1, ind, geo(ind, "Zambia", "2018-05-06T07:08:09"))?;
        send(
            workload,
            producer,
            2,
            ind,
            user(ind, "again", 17 + n as u32, "2015-01-02T03:04:05"),
        )?;
    }
    for n in 20..30 {
        workload.delete(producer, (n % 3) as u8, base + n)?;
    }
    // one comes back elsewhere
    send(
        workload,
        producer,
        2,
        base + 20,
        user(base + 20, "back", 30, "2020-01-02T03:04:05"),
    )
}

#[test]
fn any_number_of_workers_and_processes_makes_the_same_tables() -> Result<()> {
    let (kafka, postgres) = (Kafka::start()?, pinflow_tests::postgres()?);
    let url = postgres.url();
    for topic in TOPICS {
        kafka.create_topic(topic, 2, &[])?;
    }
    let folder = tempfile::tempdir()?;
    let lake = LakeFolder::new(folder.path().join("lake"));
    std::fs::create_dir_all(lake.root())?;
    let producer = Producer::new(&kafka.bootstrap())?;
    let mut workload = Workload::new(31, 2);
    workload.produce(&producer, 1_500)?;
    corrections(&mut workload, &producer, false)?;
    workload.produce(&producer, 1_500)?;
    workload.archive(&lake, 0.7, 100)?;

    let shapes = [(1, 1), (1, 2), (2, 2)];
    let mut runs = Vec::new();
    for (processes, threads) in shapes {
        let schema = format!("shape_{processes}_{threads}");
        let command = Pinflow::new("run")
            .lake(&lake)
            .kafka(&kafka)
            .postgres(&postgres)
            .args(["--schema", &schema]);
        let dir = folder.path().join(&schema);
        std::fs::create_dir_all(&dir)?;
        runs.push((start(&command, &dir, processes, threads)?, schema));
    }
    for (_, schema) in &runs {
        demand_answer(&workload, &url, schema, 10, SOON).with_context(|| schema.clone())?;
    }
    corrections(&mut workload, &producer, true)?;
    workload.produce(&producer, 1_000)?;
    for (_, schema) in &runs {
        demand_answer(&workload, &url, schema, 10, SOON).with_context(|| schema.clone())?;
    }
    let database = Database::connect(&url)?;
    let first = tables(&database, &runs[0].1)?;
    let cleaned = |schema: &str, table: &str| -> Result<Vec<Vec<Option<String>>>> {
        let columns = match table {
            // when it was found, and whether Kafka or the lake was the first to give it, is the run's own
            "rejects" => "source, position, topic, partition, \"offset\", reason, value",
            _ => "*",
        };
        database.rows(&format!("SELECT {columns} FROM {schema}.{table} ORDER BY 1, 2"))
    };
    for (_, schema) in &runs[1..] {
        ensure!(
            tables(&database, schema)? == first,
            "{schema} differs from {}",
            runs[0].1
        );
        for table in ["pin_table", "geo_table", "user_table", "rejects", "tombstones"] {
            ensure!(
                cleaned(schema, table)? == cleaned(&runs[0].1, table)?,
                "{table} of {schema} differs from that of {}",
                runs[0].1
            );
        }
    }
    for (mut run, schema) in runs {
        // one signal to any process stops all of them
        run.last_mut().context("a process")?.terminate()?;
        for process in &mut run {
            process.expect(0, SOON).with_context(|| schema.clone())?;
        }
        pinflow_tests::verify::verify_schema(&schema, Some(&lake), &kafka, &postgres)
            .with_context(|| schema.clone())?;
    }
    Ok(())
}

#[test]
fn launch_supervises_a_backfill_of_two_processes() -> Result<()> {
    let postgres = pinflow_tests::postgres()?;
    let folder = tempfile::tempdir()?;
    let lake = LakeFolder::new(folder.path());
    let mut workload = Workload::new(32, 3);
    workload.take(3_000);
    workload.archive(&lake, 1.0, 70)?;
    let launch = Pinflow::new("launch")
        .args(["-n", "2", "-w", "1", "--", "backfill"])
        .lake(&lake)
        .postgres(&postgres);
    launch.succeed(SOON)?;
    demand_answer(&workload, &postgres.url(), "pinflow", 10, SOON)?;

    // what goes wrong in one process goes wrong for all, is said, and is not tried again
    let mut wrong = Pinflow::new("launch")
        .args(["-n", "2", "-w", "1", "--", "backfill", "--out"])
        .args([folder.path().join("out")])
        .args(["--lake", "file:///nowhere/at/all"])
        .start()?;
    wrong.expect(1, SOON)?;
    ensure!(wrong.stderr().contains("/nowhere/at/all"), "{}", wrong.tail());
    Ok(())
}

#[test]
fn when_one_process_dies_all_end_and_name_it() -> Result<()> {
    let (kafka, postgres) = (Kafka::start()?, pinflow_tests::postgres()?);
    for topic in TOPICS {
        kafka.create_topic(topic, 2, &[])?;
    }
    let producer = Producer::new(&kafka.bootstrap())?;
    let mut workload = Workload::new(33, 2);
    workload.produce(&producer, 1_000)?;
    let command = Pinflow::new("run").kafka(&kafka).postgres(&postgres);
    for victim in [1, 0] {
        let folder = tempfile::tempdir()?;
        let mut run = start(&command, folder.path(), 2, 1)?;
        workload.produce(&producer, 200)?;
        demand_answer(&workload, &postgres.url(), "pinflow", 10, SOON)?;
        let hosts = std::fs::read_to_string(folder.path().join("hosts"))?;
        let address = hosts.lines().nth(victim).context("a line for each process")?;
        run[victim].kill()?;
        let began = Instant::now();
        let left = &mut run[1 - victim];
        left.expect(1, Duration::from_secs(20))?;
        ensure!(
            began.elapsed() < Duration::from_secs(10),
            "the end took {:?}",
            began.elapsed()
        );
        let said = left.stderr();
        let expected = format!("process {victim} ({address}) is gone");
        ensure!(said.contains(&expected), "`{expected}` is not in: {said}");
    }
    // nothing is lost
    workload.produce(&producer, 200)?;
    let mut run = command.start()?;
    demand_answer(&workload, &postgres.url(), "pinflow", 10, SOON)?;
    run.terminate()?;
    run.expect(0, SOON)
}

/// Two processes, of which each allows the other three seconds of silence; `hosts` is what each of them knows.
fn start_pair(command: &Pinflow, hosts: [&Path; 2]) -> Result<[Program; 2]> {
    let start = |process: usize| {
        let arguments = [
            "-w",
            "1",
            "-n",
            "2",
            "-p",
            ["0", "1"][process],
            "--peer-timeout",
            "3s",
            "-h",
        ];
        command.clone().args(arguments).args([hosts[process]]).start()
    };
    Ok([start(0)?, start(1)?])
}

/// A process that is stopped keeps its connections: the others end, and name it.
#[test]
fn a_process_that_is_silent_is_named_and_all_end() -> Result<()> {
    let (kafka, postgres) = (Kafka::start()?, pinflow_tests::postgres()?);
    for topic in TOPICS {
        kafka.create_topic(topic, 2, &[])?;
    }
    let producer = Producer::new(&kafka.bootstrap())?;
    let mut workload = Workload::new(35, 2);
    workload.produce(&producer, 1_000)?;
    let command = Pinflow::new("run").kafka(&kafka).postgres(&postgres);
    for victim in [1, 0] {
        let folder = tempfile::tempdir()?;
        let hosts = hostfile(folder.path(), 2)?;
        let addresses = std::fs::read_to_string(&hosts)?;
        let address = addresses.lines().nth(victim).context("a line for each process")?;
        let mut run = start_pair(&command, [&hosts, &hosts])?;
        demand_answer(&workload, &postgres.url(), "pinflow", 10, SOON)?;
        // nobody is missed while there is nothing to say but the beat
        std::thread::sleep(Duration::from_secs(4));
        ensure!(run[0].is_running()? && run[1].is_running()?);
        run[victim].freeze()?;
        workload.produce(&producer, 200)?;
        run[1 - victim].expect(1, Duration::from_secs(15))?;
        let said = run[1 - victim].stderr();
        let expected = format!("process {victim} ({address}) has been silent for 3s: all processes end together");
        ensure!(said.contains(&expected), "`{expected}` is not in: {said}");
        run[victim].thaw()?;
        run[victim].expect(1, Duration::from_secs(15))?;
        ensure!(run[victim].stderr().contains(&format!("process {}", 1 - victim)));
    }
    // a network that drops everything: each names the other
    let folder = tempfile::tempdir()?;
    let hosts = hostfile(folder.path(), 2)?;
    let addresses = std::fs::read_to_string(&hosts)?;
    let (first, second) = addresses.trim().split_once('\n').context("two lines")?;
    let relay = Relay::to(first.parse()?)?;
    let others = folder.path().join("others");
    std::fs::write(&others, format!("{}\n{second}\n", relay.address()))?;
    let mut run = start_pair(&command, [&hosts, &others])?;
    demand_answer(&workload, &postgres.url(), "pinflow", 10, SOON)?;
    relay.cut()?;
    for (process, other) in [(0, second.to_owned()), (1, relay.address().to_string())] {
        run[process].expect(1, Duration::from_secs(15))?;
        let expected = format!("process {} ({other}) has been silent for 3s", 1 - process);
        let said = run[process].stderr();
        ensure!(said.contains(&expected), "`{expected}` is not in: {said}");
    }
    // nothing is lost
    let mut run = command.start()?;
    demand_answer(&workload, &postgres.url(), "pinflow", 10, SOON)?;
    run.terminate()?;
    run.expect(0, SOON)
}

/// A child of `launch` that dies or stops takes the others with it, and all are started again.
#[test]
fn launch_starts_all_again_when_one_is_killed_or_stopped() -> Result<()> {
    let (kafka, postgres) = (Kafka::start()?, pinflow_tests::postgres()?);
    for topic in TOPICS {
        kafka.create_topic(topic, 2, &[])?;
    }
    let producer = Producer::new(&kafka.bootstrap())?;
    let mut workload = Workload::new(36, 2);
    workload.produce(&producer, 500)?;
    let mut launch = Pinflow::new("launch")
        .args(["-n", "2", "-w", "1", "--", "run", "--peer-timeout", "3s"])
        .kafka(&kafka)
        .postgres(&postgres)
        .start()?;
    for (signal, victim) in [
        (Signal::KILL, 0),
        (Signal::STOP, 1),
        (Signal::STOP, 0),
        (Signal::KILL, 1),
    ] {
        demand_answer(&workload, &postgres.url(), "pinflow", 10, SOON)?;
        let before = launch.children()?;
        ensure!(before.len() == 2, "{before:?}");
        kill_process(Pid::from_raw(before[victim]).context("a process")?, signal)?;
        workload.produce(&producer, 100)?;
        eventually("all are started again", SOON, || {
            let now = launch.children()?;
            Ok(now.len() == 2 && now.iter().all(|pid| !before.contains(pid)))
        })?;
    }
    demand_answer(&workload, &postgres.url(), "pinflow", 10, SOON)?;
    launch.terminate()?;
    launch.expect(0, SOON)
}
