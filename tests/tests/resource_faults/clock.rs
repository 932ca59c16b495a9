//! Wall clocks that are an hour off, that jump, and that differ between processes. Nothing but latencies that are shown
//! may change: the engine waits by the monotonic clock, which is the machine's own here.

use crate::times;
use anyhow::{Context, Result, ensure};
use pinflow_tests::archived::{demand_whole, lines};
use pinflow_tests::case::{Case, History, SOON, each, geo, geos, pins, stop, user};
use pinflow_tests::{LakeFolder, Pinflow, Program, eventually, get};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds.
const HOUR: i64 = 3_600;

/// Builds what stands between a program and its wall clock.
fn library(folder: &Path) -> Result<PathBuf> {
    let library = folder.join("wall_clock.so");
    let source = pinflow_tests::root().join("tests/src/wall_clock.c");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"]);
    let built = cc.arg(&library).arg(source).output().context("running cc")?;
    let said = String::from_utf8_lossy(&built.stderr);
    ensure!(built.status.success(), "cc: {said}");
    Ok(library)
}

/// The wall clock of programs that are started with it.
struct Clock {
    library: PathBuf,
    offset: PathBuf,
}

impl Clock {
    /// A clock that is so many seconds ahead.
    fn new(library: &Path, folder: &Path, name: &str, ahead: i64) -> Result<Clock> {
        let clock = Clock {
            library: library.to_owned(),
            offset: folder.join(name),
        };
        clock.set(ahead)?;
        Ok(clock)
    }

    /// It is so many seconds ahead from now on.
    fn set(&self, ahead: i64) -> Result<()> {
        let next = self.offset.with_extension("next");
        fs::write(&next, format!("{ahead:+}\n"))?;
        Ok(fs::rename(next, &self.offset)?)
    }

    /// A command that goes by it.
    fn of(&self, command: Pinflow) -> Pinflow {
        command
            .env("LD_PRELOAD", &self.library)
            .env("WALL_CLOCK_AHEAD", &self.offset)
    }
}

/// Topics of two partitions with a hundred places, of which the lake holds a half.
fn filled(name: &str) -> Result<Case> {
    let case = Case::new(name, 2, History::Folder)?;
    case.send("pin", 0, &pins(0..20, "art"))?;
    case.send("user", 1, &[user(1)])?;
    case.send("geo", 0, &geos(0..100, "Albania"))?;
    case.archive("geo", 0, &geos(0..50, "Albania"))?;
    Ok(case)
}

fn demand_no_negative(value: &Value, path: &str) -> Result<()> {
    match value {
        Value::Number(number) => ensure!(
            number.as_f64().is_some_and(|number| number >= 0.0),
            "{path} is {number}"
        ),
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                demand_no_negative(value, &format!("{path}[{index}]"))?;
            }
        }
        Value::Object(members) => {
            for (name, value) in members {
                demand_no_negative(value, &format!("{path}.{name}"))?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Demands that a run that is so many seconds ahead shows itself ready and sound, by its own clock.
fn demand_sound(address: &str, ahead: i64) -> Result<()> {
    let body = |path: &str| -> Result<String> {
        let answer = get(address, path)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        Ok(answer.split_once("\r\n\r\n").context("no body")?.1.to_owned())
    };
    let by_its_clock = || -> Result<bool> {
        let metrics = body("/metrics")?;
        let name = "pinflow_last_commit_timestamp_seconds";
        let line = metrics
            .lines()
            .find(|line| line.starts_with(name))
            .context("no commit")?;
        let last: f64 = line.rsplit(' ').next().unwrap_or_default().parse()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
        Ok((last - now - ahead as f64).abs() < 60.0)
    };
    eventually(&format!("a commit with a clock {ahead} s ahead"), SOON, by_its_clock)?;
    body("/readyz")?;
    for line in body("/metrics")?.lines().filter(|line| !line.starts_with('#')) {
        let value = line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
        ensure!(value.is_some_and(|value| value.is_finite() && value >= 0.0), "{line}");
    }
    let status: Value = serde_json::from_str(&body("/api/status")?)?;
    demand_no_negative(&status, "status")
}

#[test]
fn a_run_whose_clock_is_off_or_jumps_gives_the_exact_answer() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let library = library(folder.path())?;
    let variants: [(&str, &[i64]); 3] = [
        ("run_ahead", &[HOUR]),
        ("run_behind", &[-HOUR]),
        ("run_jumps", &[0, HOUR, -HOUR, 0]),
    ];
    each(variants.to_vec(), |(name, clocks)| {
        let case = filled(name)?;
        let clock = Clock::new(&library, &case.folder(), "clock", clocks[0])?;
        let address = format!("127.0.0.1:{}", servers::free_port()?);
        let run = clock.of(case.command("run").args(["--listen", &address]));
        let mut run = run.start()?;
        case.reaches(&mut run, "geo", 0, 100)?;
        let mut next = 100;
        for ahead in clocks {
            // in the middle of what it reads
            case.send("geo", 0, &geos(next..next + 300, "Brazil"))?;
            clock.set(*ahead)?;
            case.send("geo", 0, &geos(next + 300..next + 600, "Chad"))?;
            next += 600;
            case.reaches(&mut run, "geo", 0, next)?;
            demand_sound(&address, *ahead).with_context(|| run.tail())?;
        }
        case.demand_country(next - 1, "Chad")?;
        // but for the password on the command line
        ensure!(times(&run, " WARN ") == 1, "{}", run.tail());
        stop(run)?;
        case.verify_tables()
    })
}

/// One of them jumps by two hours, too.
#[test]
fn two_processes_of_a_run_with_different_clocks_give_the_exact_answer() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let library = library(folder.path())?;
    let case = filled("clocks_differ")?;
    let hosts = case.folder().join("hosts");
    let ports = [servers::free_port()?, servers::free_port()?];
    fs::write(&hosts, ports.map(|port| format!("127.0.0.1:{port}\n")).concat())?;
    let hosts = hosts.to_string_lossy();
    let start = |process: &str, ahead: i64| -> Result<(Program, Clock)> {
        let clock = Clock::new(&library, &case.folder(), process, ahead)?;
        let command = case
            .command("run")
            .args(["-w", "1", "-n", "2", "-p", process, "-h", &hosts]);
        Ok((clock.of(command).start()?, clock))
    };
    let (mut first, _ahead) = start("0", HOUR)?;
    let (mut second, behind) = start("1", -HOUR)?;
    case.reaches(&mut first, "geo", 0, 100).with_context(|| second.tail())?;
    for (round, clock) in [(1, -HOUR), (2, HOUR), (3, -HOUR)] {
        case.send("geo", 1, &geos(round * 1_000..round * 1_000 + 200, "Brazil"))?;
        behind.set(clock)?;
        case.send("geo", 0, &geos(round * 1_000..round * 1_000 + 200, "Chad"))?;
        case.reaches(&mut first, "geo", 0, 100 + round * 200)?;
        case.reaches(&mut first, "geo", 1, round * 200)?;
    }
    ensure!(second.is_running()?, "it ended: {}", second.tail());
    stop(first)?;
    second.expect(0, SOON)?;
    case.verify_tables()
}

/// The schedule by which objects end, and the folders of time, are of the wall clock.
#[test]
fn an_archiver_whose_clock_is_off_or_jumps_stores_every_record_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let library = library(folder.path())?;
    let variants: [(&str, &[i64]); 3] = [
        ("archive_ahead", &[HOUR]),
        ("archive_behind", &[-HOUR]),
        ("archive_jumps", &[0, HOUR, -HOUR, 0]),
    ];
    each(variants.to_vec(), |(name, clocks)| {
        let case = Case::new(name, 1, History::Nowhere)?;
        let topic = case.topic("geo");
        let lake = LakeFolder::new(case.folder().join("lake"));
        fs::create_dir(lake.root())?;
        let clock = Clock::new(&library, &case.folder(), "clock", clocks[0])?;
        let topics = format!("geo={topic}");
        let archive = Pinflow::new("archive").kafka(case.kafka).lake(&lake).args([
            "--topics",
            &topics,
            "--rotate-schedule-interval-ms",
            "300",
            "--flush-size",
            "1000",
            "--partitioner-class",
            "io.confluent.connect.storage.partitioner.TimeBasedPartitioner",
            "--path-format",
            "'year'=YYYY/'month'=MM/'day'=dd/'hour'=HH",
        ]);
        let mut archive = clock.of(archive).start()?;
        let mut sent = Vec::new();
        for ahead in clocks {
            let first = i64::try_from(sent.len())?;
            let records: Vec<String> = (first..first + 100).map(|ind| geo(ind, "Albania")).collect();
            case.send("geo", 0, &records[..50])?;
            clock.set(*ahead)?;
            case.send("geo", 0, &records[50..])?;
            sent.extend(records);
            // the schedule alone ends an object of so few records
            eventually("all records in the lake", SOON, || {
                ensure!(archive.is_running()?, "it ended: {}", archive.tail());
                Ok(lines(lake.root(), &topic, 0)?.len() == sent.len())
            })
            .with_context(|| archive.tail())?;
        }
        archive.terminate()?;
        archive.expect(0, SOON)?;
        let stored: Vec<String> = lines(lake.root(), &topic, 0)?.into_values().collect();
        ensure!(stored == sent, "the records of the lake differ");
        let audit = Pinflow::new("audit").lake(&lake).kafka(case.kafka);
        demand_whole(audit.args(["--topics", &topics, "--deep"])).map(drop)
    })
}
