//! The soak: for a minute (ten in `make test-long`) records flow and everything is broken in turn, by chance, while the
//! auditor checks. In the end the tables are the answer, and nothing was ever false on the way.
//!
//! The seed is printed; `PINFLOW_TEST_SEED=N` gives the same faults in the same order again.

use anyhow::{Context, Result, ensure};
use pinflow_tests::answer::{demand_answer, wait_for_commits};
use pinflow_tests::workload::{TOPICS, Workload};
use pinflow_tests::{
    Auditor, BackgroundLoad, Chance, Database, Kafka, LakeFolder, Pinflow, Postgres, Producer, Program,
    SnapshotChecker, eventually, long, verify_tables,
};
use rustix::process::{Pid, Signal, kill_process};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(60);
/// After the background load has stopped, everything that waits is taken in.
const IN_THE_END: Duration = Duration::from_secs(120);

/// Processes and workers of each start.
#[derive(Clone, Copy, Debug)]
enum Shape {
    OneWorker,
    TwoWorkers,
    TwoProcesses,
}

/// What is done to the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// What a fault is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Kafka,
    Postgres,
    Engine,
}

impl Fault {
    fn part(self) -> Part {
        match self {
            Fault::KillEngine | Fault::StopEngine | Fault::FreezeEngine => Part::Engine,
            Fault::KillKafka | Fault::RestartKafka => Part::Kafka,
            Fault::KillPostgres | Fault::RestartPostgres | Fault::CutConnections => Part::Postgres,
        }
    }
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
    shape: Shape,
    /// The process of the engine that is stopped, and since when.
    frozen: Option<(Pid, Instant)>,
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
        self.shape = shape;
        Ok(())
    }

    fn engine(&mut self) -> Result<&mut Program> {
        self.engine.as_mut().context("an engine")
    }

    /// The processes of the engine: those that `launch` has started, or itself.
    fn processes(&mut self) -> Result<Vec<i32>> {
        let shape = self.shape;
        let engine = self.engine()?;
        let Shape::TwoProcesses = shape else {
            return Ok(vec![i32::try_from(engine.pid())?]);
        };
        let mut children = Vec::new();
        eventually("two processes", SOON, || {
            children = engine.children()?;
            Ok(children.len() == 2)
        })?;
        Ok(children)
    }

    /// A fault begins.
    fn begin(&mut self, fault: Fault, chance: &mut Chance) -> Result<()> {
        match fault {
            Fault::KillEngine => self.engine()?.kill(),
            Fault::StopEngine => self.engine()?.terminate(),
            Fault::FreezeEngine => {
                let victim = chance.one_of(&self.processes()?);
                let pid = Pid::from_raw(victim).context("a process id")?;
                self.frozen = Some((pid, Instant::now()));
                Ok(kill_process(pid, Signal::STOP)?)
            }
            Fault::KillKafka => Ok(self.kafka.kill()?),
            Fault::RestartKafka => Ok(self.kafka.stop()?),
            Fault::KillPostgres => Ok(self.postgres.kill()?),
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

    /// It ends.
    fn end(&mut self, fault: Fault, chance: &mut Chance) -> Result<()> {
        match fault {
            Fault::KillEngine | Fault::StopEngine => {
                if fault == Fault::StopEngine {
                    self.engine()?.expect(0, SOON)?;
                }
                let shape = chance.one_of(&[Shape::OneWorker, Shape::TwoWorkers, Shape::TwoProcesses]);
                eprintln!("  starting {shape:?}");
                self.start(shape)
            }
            Fault::FreezeEngine => {
                let (pid, since) = self.frozen.take().context("a process that is stopped")?;
                std::thread::sleep(Duration::from_secs(5).saturating_sub(since.elapsed()));
                Ok(kill_process(pid, Signal::CONT)?)
            }
            Fault::KillKafka | Fault::RestartKafka => Ok(self.kafka.start_again()?),
            Fault::KillPostgres => Ok(self.postgres.start_again()?),
            Fault::RestartPostgres | Fault::CutConnections => Ok(()),
        }
    }

    /// Inflicts these faults, each on another part, so that they overlap; and waits until the tables move again.
    fn inflict(&mut self, faults: &[Fault], chance: &mut Chance) -> Result<()> {
        for fault in faults {
            self.begin(*fault, chance).with_context(|| format!("{fault:?}"))?;
            std::thread::sleep(chance.millis(0, 2_000));
        }
        // the servers first: an engine that is stopped may wait for them to take its last commit
        let mut faults = faults.to_vec();
        faults.sort_by_key(|fault| fault.part());
        for fault in faults {
            self.end(fault, chance)
                .with_context(|| format!("the end of {fault:?}"))?;
        }
        wait_for_commits(&self.postgres.url(), 2, SOON)
    }
}

fn stop(engine: &mut Program) -> Result<()> {
    engine.terminate()?;
    engine.expect(0, SOON)
}

#[test]
fn everything_breaks_in_turn_and_nothing_is_ever_false() -> Result<()> {
    let seed = pinflow_tests::seed()?;
    let length = Duration::from_secs(if long() { 600 } else { 60 });
    soak(seed, length).with_context(|| format!("PINFLOW_TEST_SEED={seed}"))
}

fn soak(seed: u64, length: Duration) -> Result<()> {
    let mut chance = Chance::new(seed);
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
        shape: Shape::OneWorker,
        frozen: None,
    };
    system.start(Shape::OneWorker)?;
    wait_for_commits(&system.postgres.url(), 2, SOON)?;

    let began = Instant::now();
    let (mut inflicted, mut overlapped) = (0, 0);
    let mut left: Vec<Fault> = Vec::new();
    while began.elapsed() < length {
        std::thread::sleep(chance.millis(200, 3_000));
        if left.is_empty() {
            left.extend(FAULTS);
        }
        let mut faults = vec![left.swap_remove(chance.below(left.len() as u64) as usize)];
        // a third of them is not over before another one begins
        let others: Vec<Fault> = FAULTS
            .into_iter()
            .filter(|fault| fault.part() != faults[0].part())
            .collect();
        if chance.below(3) == 0 {
            faults.push(chance.one_of(&others));
            overlapped += 1;
        }
        eprintln!("{:5.1} s: {faults:?}", began.elapsed().as_secs_f64());
        let outcome = system.inflict(&faults, &mut chance);
        let tail = system.engine()?.tail();
        outcome.with_context(|| format!("at {faults:?}; the engine said:\n{tail}"))?;
        let engine = system.engine()?;
        ensure!(
            engine.is_running()?,
            "the engine ended at {faults:?}: {}",
            engine.tail()
        );
        inflicted += faults.len() as u64;
    }
    let produced = load.produced();
    let workload = load.finish()?;
    demand_answer(&workload, &system.postgres.url(), "pinflow", 10, IN_THE_END)
        .with_context(|| system.engine.as_ref().map(Program::tail).unwrap_or_default())?;
    stop(system.engine()?)?;
    verify_tables(Some(&system.lake), &system.kafka, &system.postgres)?;
    let checks = auditor.finish_with(length.as_secs(), 10, &workload)?;
    eprintln!(
        "{inflicted} faults, {overlapped} pairs of them at once, {produced} records while they happened, {checks} snapshots checked"
    );
    ensure!(inflicted >= length.as_secs() / 15, "only {inflicted} faults");
    Ok(())
}
