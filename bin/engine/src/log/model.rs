//! Random histories of a log, played against the decisions of this module.
//!
//! A schedule is a list of steps: records are produced, transactions committed or aborted, partitions added, topics
//! created again, records compacted or deleted by retention, objects archived, and an engine starts, reads, looks at
//! Kafka, commits, crashes, or loses the answer to a commit. Kafka and the lake are models in memory ([`world`]); the
//! engine is the decisions under test, glued as the coordinator and the readers glue them ([`engine`]). After each commit
//! the tables have to be what the truth says for the frontier that was committed.
//!
//! `PINFLOW_MODEL_SEED` plays one seed, `PINFLOW_MODEL_SCHEDULES` changes their number, and `PINFLOW_MODEL_TRACE` prints
//! the tables after each step.

mod engine;
mod world;

use engine::{Engine, Stop, Tables};
use world::{Random, World, Writer};

/// One step of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// A record under this key; a bad one cannot be decoded.
    Produce { key: u32, bad: bool },
    /// A transaction with one record, committed or aborted at once.
    Transaction { key: u32, commit: bool },
    /// A transaction with one record that stays open.
    Open { key: u32 },
    /// All open transactions end.
    End { commit: bool },
    /// Partitions are added.
    Grow(usize),
    /// The topic is deleted.
    Delete,
    /// The topic is created with so many partitions, which hold so many records each.
    Create { partitions: usize, records: usize },
    /// Compaction removes records that newer ones of their partition replace.
    Compact,
    /// Retention removes all but the last records of each partition.
    Retain(usize),
    /// The archiver writes up to so many records of each partition.
    Archive { records: usize },
    /// The archiver begins so many records earlier again.
    Rewind(usize),
    /// The engine starts, if it does not run: with Kafka, or as a backfill without.
    Start { kafka: bool },
    /// It reads up to so many records of each partition.
    Read(usize),
    /// It looks at Kafka's partitions.
    Look,
    /// It commits what it has read.
    Commit,
    /// It ends; what it has not committed is lost.
    Crash,
    /// The next commit goes through, and its answer is lost with the process.
    LoseAnswer,
    /// The next start crashes after a boundary has reached the lake.
    CrashBeforeCommit,
}

use Step::*;

/// Plays a schedule; the reason when a rule does not hold.
fn play(writer: Writer, schedule: &[Step]) -> Result<Outcome, String> {
    let mut world = World::new(writer, schedule.contains(&Compact));
    let mut tables = Tables::default();
    let mut engine: Option<Engine> = None;
    let mut outcome = Outcome::default();
    let (mut lose_answer, mut crash_before_commit) = (false, false);
    for step in schedule {
        let mut stopped = None;
        match *step {
            Produce { key, bad } => world.produce(key, bad),
            Transaction { key, commit } => world.transaction(key, commit),
            Open { key } => world.open(key),
            End { commit } => world.end(commit),
            Grow(partitions) => world.grow(partitions),
            Delete => world.delete(),
            Create { partitions, records } => world.create(partitions, records),
            Compact => world.compact(),
            Retain(records) => outcome.lost |= world.retain(records, &tables),
            Archive { records } => world.archive(records),
            Rewind(records) => world.rewind(records),
            Start { kafka } if engine.is_none() && (kafka || !world.has_open_end()) => {
                let crash = std::mem::take(&mut crash_before_commit);
                match Engine::start(&mut world, &mut tables, kafka, crash) {
                    Ok(started) => {
                        outcome.passes = started.as_ref().map_or(0, |engine| engine.passes);
                        engine = started;
                    }
                    Err(stop) => stopped = Some(stop),
                }
            }
            Start { .. } => {}
            Read(records) => stopped = engine.as_mut().and_then(|engine| engine.read(&world, records).err()),
            Look => stopped = engine.as_mut().and_then(|engine| engine.look(&mut world).err()),
            Commit => {
                if let Some(running) = &mut engine {
                    running.commit(&mut tables);
                    if std::mem::take(&mut lose_answer) {
                        engine = None;
                    }
                }
            }
            Crash => engine = None,
            LoseAnswer => lose_answer = true,
            CrashBeforeCommit => crash_before_commit = true,
        }
        if let Some(stop) = stopped {
            outcome.take(stop, &world, *step == BACKFILL)?;
            engine = None;
        }
        if std::env::var_os("PINFLOW_MODEL_TRACE").is_some() {
            println!("{step:?}: {tables:?}");
        }
        tables.check(&world).map_err(|why| format!("after {step:?}: {why}"))?;
    }
    outcome.frontier = tables.frontier_sum();
    Ok(outcome)
}

/// What a schedule has come to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    stops: Vec<Stop>,
    /// Whether retention has removed a record that was neither archived nor read.
    lost: bool,
    frontier: i64,
    /// How often the last start has replayed history.
    passes: u32,
}

impl Outcome {
    /// Takes in why the engine stopped; a stop without a cause is a fault.
    fn take(&mut self, stop: Stop, world: &World, alone: bool) -> Result<(), String> {
        let allowed = match stop {
            // without Kafka, or when retention has passed it, nothing proves a hole to be natural
            Stop::Gap | Stop::Order => self.lost || world.retained || world.remade || alone,
            Stop::Remade | Stop::Shorter => world.remade,
            Stop::Generations => false,
        };
        self.stops.push(stop);
        if allowed {
            Ok(())
        } else {
            Err(format!("stopped without a cause: {stop:?}"))
        }
    }
}

/// A random schedule.
fn schedule(random: &mut Random) -> Vec<Step> {
    let mut steps = Vec::new();
    let length = 20 + random.below(60);
    let (remakes, compacts) = (random.chance(10), random.chance(50));
    for _ in 0..length {
        let key = random.below(6) as u32;
        steps.push(match random.below(100) {
            0..=29 => Produce {
                key,
                bad: random.chance(8),
            },
            30..=33 => Transaction {
                key,
                commit: random.chance(60),
            },
            34..=35 => Open { key },
            36..=38 => End {
                commit: random.chance(70),
            },
            39..=40 => Grow(1 + random.below(2) as usize),
            41..=42 if remakes => Delete,
            43..=45 if remakes => Create {
                partitions: 1 + random.below(3) as usize,
                records: random.below(12) as usize,
            },
            46..=47 if compacts => Compact,
            46..=47 => Transaction { key, commit: true },
            48 => Retain(random.below(4) as usize),
            49..=56 => Archive {
                records: 1 + random.below(5) as usize,
            },
            57 => Rewind(1 + random.below(3) as usize),
            58..=68 => Start {
                kafka: random.chance(90),
            },
            69..=79 => Read(1 + random.below(6) as usize),
            80..=86 => Look,
            87..=94 => Commit,
            95..=97 => Crash,
            98 => LoseAnswer,
            _ => CrashBeforeCommit,
        });
    }
    steps
}

const LIVE: Step = Start { kafka: true };
const BACKFILL: Step = Start { kafka: false };
const PUT: fn(u32) -> Step = |key| Produce { key, bad: false };

/// The corners in which exactness has broken once.
fn corners() -> Vec<(&'static str, Writer, Vec<Step>)> {
    vec![
        (
            "a partition added while the engine lags begins its generation at Kafka's end",
            Writer::Connect,
            vec![
                PUT(1),
                LIVE,
                PUT(0),
                PUT(0),
                PUT(1),
                Grow(1),
                PUT(1),
                Look,
                Read(9),
                Commit,
            ],
        ),
        (
            "a partition added while history is replayed begins a generation",
            Writer::Connect,
            vec![
                PUT(1),
                PUT(1),
                LIVE,
                Grow(1),
                PUT(1),
                Read(9),
                Commit,
                Look,
                Read(9),
                Commit,
            ],
        ),
        (
            "a partition that a backfill has not seen begins none",
            Writer::Connect,
            vec![
                Grow(2),
                PUT(1),
                PUT(1),
                PUT(2),
                Archive { records: 1 },
                BACKFILL,
                Crash,
                LIVE,
                Read(9),
                Commit,
            ],
        ),
        (
            "a boundary that reached the lake and not the tables counts",
            Writer::Connect,
            vec![
                PUT(1),
                LIVE,
                Crash,
                Grow(1),
                PUT(1),
                CrashBeforeCommit,
                LIVE,
                PUT(0),
                PUT(0),
                LIVE,
                Read(9),
                Commit,
            ],
        ),
        (
            "records of an object with holes inside reach the cleaned tables",
            Writer::Connect,
            vec![
                Transaction { key: 0, commit: true },
                Transaction { key: 2, commit: true },
                Transaction { key: 4, commit: true },
                LIVE,
                Crash,
                Transaction { key: 1, commit: true },
                Transaction { key: 3, commit: true },
                Archive { records: 4 },
                Archive { records: 9 },
                LIVE,
            ],
        ),
        (
            "a bad record of an object with holes inside is rejected once",
            Writer::Connect,
            vec![
                Transaction { key: 0, commit: true },
                Produce { key: 2, bad: true },
                Transaction { key: 4, commit: true },
                LIVE,
                Crash,
                Transaction { key: 4, commit: true },
                Archive { records: 9 },
                LIVE,
            ],
        ),
        (
            "a marker behind the last object, and retention up to the end, are no gap",
            Writer::Connect,
            vec![
                PUT(0),
                Transaction { key: 1, commit: true },
                Archive { records: 9 },
                LIVE,
                Crash,
                Retain(0),
                LIVE,
            ],
        ),
        (
            "an object with holes inside spans a boundary, after retention too",
            Writer::Connect,
            [
                vec![Grow(1)],
                vec![PUT(4); 6],
                vec![LIVE],
                vec![Transaction { key: 1, commit: true }; 2],
                vec![Read(9), Commit, Grow(1), Look, PUT(4), Read(9), Commit],
                vec![Archive { records: 9 }, PUT(1), Archive { records: 9 }],
                vec![Crash, LIVE, Crash, Retain(0), LIVE, Crash, LIVE],
            ]
            .concat(),
        ),
        (
            "growth under an open transaction",
            Writer::Ours,
            vec![
                PUT(1),
                LIVE,
                Open { key: 1 },
                Grow(1),
                PUT(1),
                Look,
                End { commit: true },
                Read(9),
                Commit,
            ],
        ),
        (
            "two growths while a commit blocks are two",
            Writer::Ours,
            vec![
                PUT(1),
                LIVE,
                Grow(1),
                Look,
                PUT(1),
                Grow(1),
                Look,
                PUT(2),
                Read(9),
                Commit,
                Crash,
                LIVE,
            ],
        ),
    ]
}

#[test]
fn the_corners_hold() {
    for (name, writer, schedule) in corners() {
        match play(writer, &schedule) {
            Ok(outcome) => assert!(outcome.stops.is_empty(), "{name}: {outcome:?}"),
            Err(why) => panic!("{name}: {why}"),
        }
    }
}

#[test]
fn a_start_that_finds_nothing_new_replays_history_once() {
    let written = [
        vec![Transaction { key: 1, commit: true }; 3],
        vec![PUT(2), LIVE, PUT(3), PUT(4), Read(9), Commit],
        vec![Archive { records: 4 }, Archive { records: 1 }, Archive { records: 9 }],
    ];
    // of the first start the last object may have any of the holes inside that were seen in Kafka
    for restarts in 2..4 {
        let schedule = [written.concat(), [Crash, LIVE].repeat(restarts)].concat();
        let outcome = play(Writer::Connect, &schedule).expect("a rule is broken");
        assert_eq!(outcome.passes, 1, "restart {restarts}");
    }
}

#[test]
fn a_topic_created_again_stops_the_engine() {
    for records in [0, 1, 2, 9] {
        let again = Create { partitions: 1, records };
        let schedule = [PUT(0), PUT(1), LIVE, Delete, Look, again, Look];
        let outcome = play(Writer::Connect, &schedule).expect("a rule is broken");
        assert_eq!(outcome.stops.len(), 1, "{records} records: {outcome:?}");
        let schedule = [PUT(0), PUT(1), LIVE, Crash, Delete, again, LIVE];
        let outcome = play(Writer::Connect, &schedule).expect("a rule is broken");
        assert_eq!(outcome.stops.len(), 1, "{records} records at a start: {outcome:?}");
    }
}

#[test]
fn random_schedules_hold() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("PINFLOW_MODEL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("PINFLOW_MODEL_SCHEDULES").unwrap_or(20_000),
    };
    let mut moved = 0;
    for seed in seeds.clone() {
        let mut random = Random::new(seed);
        let writer = if random.chance(50) {
            Writer::Ours
        } else {
            Writer::Connect
        };
        let schedule = schedule(&mut random);
        match play(writer, &schedule) {
            Ok(outcome) => moved += u64::from(outcome.frontier > 0),
            Err(why) => panic!("seed {seed} (PINFLOW_MODEL_SEED={seed}), {writer:?}: {why}\n{schedule:?}"),
        }
    }
    // a model in which nothing is ever committed holds every rule
    assert!(
        seeds.end - seeds.start == 1 || moved * 2 > seeds.end,
        "{moved} schedules committed anything"
    );
}
