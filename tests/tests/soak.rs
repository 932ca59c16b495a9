//! The soak: for a minute (ten in `make test-long`) records flow and everything is broken in turn, by chance, while the
//! auditor checks. In the end the tables are the answer, and nothing was ever false on the way.
//!
//! The seed is printed; `PINFLOW_TEST_SEED=N` gives the same faults in the same order again.

use anyhow::{Context, Result, ensure};
use pinflow_tests::answer::demand_answer;
use pinflow_tests::workload::{TOPICS, Workload};
use pinflow_tests::{
    Auditor, BackgroundLoad, Database, Kafka, LakeFolder, Pinflow, Postgres, Producer, Program, SnapshotChecker,
    eventually, long, verify_tables,
};
use rustix::process::{Pid, Signal, kill_process};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const SOON: Duration = Duration::from_secs(60);
/// After the background load has stopped, everything that waits is taken in.
const IN_THE_END: Duration = Duration::from_secs(120);

/// A small generator of chance (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

/// Processes and workers of each start.
#[derive(Clone, Copy, Debug)]
enum Shape {
    OneWorker,
    TwoWorkers,
    TwoProcesses,
}

/// What is done to the system.
#[derive(Clone, Copy, Debug)]
enum Fault {
    KillEngine,
    StopEngine,
    FreezeEngine,
    KillKafka,
    RestartKafka,
    KillPostgres,
    RestartPostgres,
    CutConnections,
}

/// Each round inflicts all of them, in an order by chance.
const FAULTS: [Fault; 10] = [
    Fault::KillEngine,
    Fault::KillEngine,
    Fault::KillEngine,
    Fault::StopEngine,
    Fault::FreezeEngine,
    Fault::KillKafka,
    Fault::RestartKafka,
    Fault::KillPostgres,
    Fault::RestartPostgres,
    Fault::CutConnections,
];

struct System {
    kafka: Kafka,
    postgres: Postgres,
    lake: LakeFolder,
    engine: Option<Program>,
}

impl System {
    fn start(&mut self, shape: Shape) -> Result<()> {
        let (first, arguments): (&str, &[&str]) = match shape {
            Shape::OneWorker => ("run", &["-w", "1"]),
            Shape::TwoWorkers => ("run", &["-w", "2"]),
            Shape::TwoProcesses => ("launch", &["-n", "2", "-w", "1", "--", "run"]),
        };
        let command = Pinflow::new(first).args(arguments);
        let command = command.lake(&self.lake).kafka(&self.kafka).postgres(&self.postgres);
        self.engine = Some(command.start()?);
        Ok(())
    }

    fn engine(&mut self) -> Result<&mut Program> {
        self.engine.as_mut().context("an engine")
    }

    /// The processes of the engine: those that `launch` has started, or itself.
    fn processes(&mut self) -> Result<Vec<u32>> {
        let pid = self.engine()?.pid();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let children: Vec<u32> = children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
        // threads have no children of their own; an engine that is no supervisor has none at all
        Ok(if children.is_empty() { vec![pid] } else { children })
    }

    fn inflict(&mut self, fault: Fault, chance: &mut Chance) -> Result<()> {
        match fault {
            Fault::KillEngine | Fault::StopEngine => {
                let engine = self.engine()?;
                if matches!(fault, Fault::KillEngine) {
                    engine.kill()?;
                } else {
                    stop(engine)?;
                }
                let shapes = [Shape::OneWorker, Shape::TwoWorkers, Shape::TwoProcesses];
                let shape = shapes[chance.below(3) as usize];
                eprintln!("  starting {shape:?}");
                self.start(shape)
            }
            Fault::FreezeEngine => {
                let processes = self.processes()?;
                let victim = processes[chance.below(processes.len() as u64) as usize];
                let pid = i32::try_from(victim)
                    .ok()
                    .and_then(Pid::from_raw)
                    .context("a process id")?;
                kill_process(pid, Signal::STOP)?;
                std::thread::sleep(Duration::from_secs(5));
                Ok(kill_process(pid, Signal::CONT)?)
            }
            Fault::KillKafka | Fault::RestartKafka => {
                if matches!(fault, Fault::KillKafka) {
                    self.kafka.kill()?;
                    std::thread::sleep(chance.millis(0, 2_000));
                } else {
                    self.kafka.stop()?;
                }
                Ok(self.kafka.start_again()?)
            }
            Fault::KillPostgres => {
                self.postgres.kill()?;
                std::thread::sleep(chance.millis(0, 2_000));
                Ok(self.postgres.start_again()?)
            }
            Fault::RestartPostgres => Ok(self.postgres.restart()?),
            Fault::CutConnections => {
                let cut =
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pinflow%'";
                for _ in 0..5 {
                    Database::connect(&self.postgres.url())?.run(cut)?;
                    std::thread::sleep(chance.millis(10, 200));
                }
                Ok(())
            }
        }
    }

    /// Waits until the tables move again.
    fn goes_on(&mut self) -> Result<()> {
        let url = self.postgres.url();
        let commits = || Database::connect(&url)?.number("SELECT commits FROM pinflow.progress");
        let before = commits().unwrap_or(0);
        eventually("a commit", SOON, || Ok(commits().unwrap_or(0) >= before + 2))
    }
}

fn stop(engine: &mut Program) -> Result<()> {
    engine.terminate()?;
    engine.expect(0, SOON)
}

#[test]
fn everything_breaks_in_turn_and_nothing_is_ever_false() -> Result<()> {
    let seed = match std::env::var("PINFLOW_TEST_SEED") {
        Ok(seed) => seed.parse().context("PINFLOW_TEST_SEED is a number")?,
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
    };
    let length = Duration::from_secs(if long() { 600 } else { 60 });
    eprintln!("soak of {length:?}, PINFLOW_TEST_SEED={seed}");
    soak(seed, length).with_context(|| format!("PINFLOW_TEST_SEED={seed}"))
}

fn soak(seed: u64, length: Duration) -> Result<()> {
    let mut chance = Chance(seed);
    let (kafka, postgres) = (Kafka::start()?, pinflow_tests::postgres()?);
    for topic in TOPICS {
        kafka.create_topic(topic, 2, &[])?;
    }
    let folder = tempfile::tempdir()?;
    let lake = LakeFolder::new(folder.path());
    let mut workload = Workload::new(seed, 2);
    workload.produce(&Producer::new(&kafka.bootstrap())?, 3_000)?;
    workload.archive(&lake, 0.6, 200)?;
    let auditor = Auditor::start(&postgres.url(), SnapshotChecker::results("pinflow", 10))?;
    let load = BackgroundLoad::start(workload, &kafka, 20, Duration::from_millis(50))?;
    let mut system = System {
        kafka,
        postgres,
        lake,
        engine: None,
    };
    system.start(Shape::OneWorker)?;
    system.goes_on()?;

    let began = Instant::now();
    let mut inflicted = 0;
    let mut left: Vec<Fault> = Vec::new();
    while began.elapsed() < length {
        std::thread::sleep(chance.millis(200, 3_000));
        if left.is_empty() {
            left.extend(FAULTS);
        }
        let fault = left.swap_remove(chance.below(left.len() as u64) as usize);
        eprintln!("{:5.1} s: {fault:?}", began.elapsed().as_secs_f64());
        let outcome = system.inflict(fault, &mut chance).and_then(|()| system.goes_on());
        let tail = system.engine()?.tail();
        outcome.with_context(|| format!("at {fault:?}; the engine said:\n{tail}"))?;
        let engine = system.engine()?;
        ensure!(engine.is_running()?, "the engine ended at {fault:?}: {}", engine.tail());
        inflicted += 1;
    }
    let produced = load.produced();
    let workload = load.finish()?;
    demand_answer(&workload, &system.postgres.url(), "pinflow", 10, IN_THE_END)
        .with_context(|| system.engine.as_ref().map(Program::tail).unwrap_or_default())?;
    stop(system.engine()?)?;
    verify_tables(Some(&system.lake), &system.kafka, &system.postgres)?;
    let checks = auditor.finish_with(length.as_secs(), 10, &workload)?;
    eprintln!("{inflicted} faults, {produced} records while they happened, {checks} snapshots checked");
    ensure!(inflicted >= length.as_secs() / 15, "only {inflicted} faults");
    Ok(())
}
