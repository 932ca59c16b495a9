//! Partitions that are added while the engine lags, replays, waits, crashes or does not run at all: the newer of two
//! records of a key is the one that was produced later, whatever partition it is in, and all tables that are made from
//! one lake agree on it.

use anyhow::{Context, Result, ensure};
use pinflow_tests::case::{Case, History, SOON, each, geo, geos, pin, send_through, stop, user};
use pinflow_tests::{Database, Fault, Producer, Program, eventually};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The engine looks at Kafka's partitions every five seconds; so long after a growth it has been seen.
const SEEN: Duration = Duration::from_millis(5_500);

/// A place whose record moves to the partition that is added.
const MOVES: i64 = 7;

/// Records of every kind, so that each topic exists with the tables.
fn begin(case: &Case) -> Result<()> {
    case.send("pin", 0, &[pin(1, "art")])?;
    case.send("user", 0, &[user(1)])?;
    case.send("geo", 0, &[geo(1, "Albania")])
}

fn started(case: &Case) -> Result<Program> {
    let mut run = case.command("run").start()?;
    case.reaches(&mut run, "geo", 0, 1)?;
    Ok(run)
}

/// Keeps every commit of a schema waiting until it is dropped.
struct Blocked {
    database: Database,
}

impl Blocked {
    fn commits(case: &Case) -> Result<Blocked> {
        let database = case.database()?;
        database.run(&format!("BEGIN; SELECT * FROM {}.progress FOR UPDATE", case.name))?;
        Ok(Blocked { database })
    }

    fn release(self) -> Result<()> {
        self.database.run("ROLLBACK")
    }
}

#[test]
fn a_boundary_is_the_end_of_the_log_and_not_the_reader_s_place() -> Result<()> {
    each(
        vec![("lag_nowhere", History::Nowhere), ("lag_s3", History::S3)],
        |(name, history)| {
            let case = Case::new(name, 1, history)?;
            begin(&case)?;
            let mut run = started(&case)?;
            // it sees the growth before it has read what is older
            run.freeze()?;
            let pad = "x".repeat(2_000);
            let filler: Vec<String> = (0..20_000)
                .map(|n| geo(1_000 + n % 100, "Filler").replace("Filler", &format!("Filler {pad}")))
                .collect();
            case.send("geo", 0, &filler)?;
            case.send("geo", 0, &[geo(MOVES, "Old")])?;
            case.kafka.add_partitions(&case.topic("geo"), 2)?;
            case.send("geo", 1, &[geo(MOVES, "New")])?;
            std::thread::sleep(SEEN);
            run.thaw()?;
            case.reaches(&mut run, "geo", 1, 1)?;
            case.reaches(&mut run, "geo", 0, 20_002)?;
            case.demand_country(MOVES, "New")?;
            // records of the older partition that come after the growth are of the newer generation
            case.send("geo", 0, &[geo(MOVES, "Newest")])?;
            case.reaches(&mut run, "geo", 0, 20_003)?;
            case.demand_country(MOVES, "Newest")?;
            ensure!(
                case.generations(name, "geo")? == ["2:0:20002", "2:1:0"],
                "{name}: {:?}",
                case.generations(name, "geo")?
            );
            stop(run)?;
            case.verify_tables()?;
            if history != History::Nowhere {
                case.demand_as_new()?;
            }
            Ok(())
        },
    )
}

#[test]
fn a_boundary_lies_behind_an_open_transaction() -> Result<()> {
    let case = Case::new("open_transaction", 1, History::Folder)?;
    begin(&case)?;
    let run = &mut started(&case)?;
    let writer = Producer::transactional(&case.kafka.bootstrap(), &case.name)?;
    writer.begin()?;
    send_through(&writer, &case.topic("geo"), 0, &[geo(MOVES, "Old")])?;
    case.kafka.add_partitions(&case.topic("geo"), 2)?;
    case.send("geo", 1, &[geo(MOVES, "New")])?;
    case.reaches(run, "geo", 1, 1)?;
    writer.commit()?;
    case.reaches(run, "geo", 0, 3)?;
    case.demand_country(MOVES, "New")?;
    ensure!(
        case.generations(&case.name, "geo")? == ["2:0:2", "2:1:0"],
        "{:?}",
        case.generations(&case.name, "geo")?
    );
    Ok(())
}

#[test]
fn two_growths_while_a_commit_blocks_are_two_generations() -> Result<()> {
    let case = Case::new("blocked", 1, History::Folder)?;
    begin(&case)?;
    let mut run = case.command("run").args(["-w", "2"]).start()?;
    case.reaches(&mut run, "geo", 0, 1)?;
    let blocked = Blocked::commits(&case)?;
    // the engine has something to commit, and reads on while it waits
    case.send("geo", 0, &[geo(2, "Brazil")])?;
    case.kafka.add_partitions(&case.topic("geo"), 2)?;
    std::thread::sleep(SEEN);
    case.send("geo", 1, &geos(100..110, "Filler"))?;
    case.send("geo", 1, &[geo(MOVES, "Old")])?;
    case.kafka.add_partitions(&case.topic("geo"), 4)?;
    case.send("geo", 2, &[geo(MOVES + 1, "New")])?;
    std::thread::sleep(SEEN);
    // of 2 partitions the key was in the second one, of 4 it may be in any: only a generation orders these two
    case.send("geo", 0, &[geo(MOVES, "New")])?;
    std::thread::sleep(Duration::from_secs(1));
    blocked.release()?;
    case.reaches(&mut run, "geo", 2, 1)?;
    case.reaches(&mut run, "geo", 1, 11)?;
    case.reaches(&mut run, "geo", 0, 3)?;
    case.demand_country(MOVES, "New")?;
    case.demand_country(MOVES + 1, "New")?;
    // the first growth, and two partitions that were found together
    let wanted = |before: &'static str| {
        [
            "2:0:2", "2:1:0", "3:0:2", "3:1:11", "3:2:0", "4:0:2", "4:1:11", before, "4:3:0",
        ]
    };
    let generations = case.generations(&case.name, "geo")?;
    // they may be found before the record that is sent at once
    let is_right = generations == wanted("4:2:1") || generations == wanted("4:2:0");
    ensure!(is_right, "{generations:?}");
    stop(run)?;
    case.verify_tables()?;
    case.demand_as_new()
}

#[test]
fn a_partition_added_while_history_is_replayed_begins_a_generation() -> Result<()> {
    let case = Case::new("replayed", 1, History::S3)?;
    begin(&case)?;
    case.send("geo", 0, &geos(100..110, "Filler"))?;
    case.send("geo", 0, &[geo(MOVES, "Old")])?;
    let lake = case.lake.as_ref().context("a lake")?;
    lake.object(&case.topic("pin"), 0, 0, &[serde_json::from_str(&pin(1, "art"))?])?;
    // once with tables that know the number of partitions, once with new ones
    for round in 0..2 {
        if round == 0 {
            let mut run = case.command("run").start()?;
            case.reaches(&mut run, "geo", 0, 12)?;
            stop(run)?;
        }
        let held = Arc::new(AtomicBool::new(true));
        let (hold, asked) = (Arc::clone(&held), Arc::new(AtomicBool::new(false)));
        let seen = Arc::clone(&asked);
        case.s3.as_ref().context("a server")?.set_faults(move |request| {
            if !request.is_get() || !request.key.ends_with(".json") || request.key.contains("_pinflow") {
                return Fault::None;
            }
            seen.store(true, Ordering::Relaxed);
            if hold.load(Ordering::Relaxed) {
                Fault::After(Duration::from_millis(500), Box::new(Fault::Status(503)))
            } else {
                Fault::None
            }
        });
        let schema = ["replayed", "replayed_anew"][round];
        let mut run = case.command_in(schema, "run").start()?;
        eventually("the replay", SOON, || Ok(asked.load(Ordering::Relaxed)))?;
        let partition = 1 + round as i32;
        case.kafka.add_partitions(&case.topic("geo"), partition + 1)?;
        let country = ["New", "Newest"][round];
        case.send("geo", partition, &[geo(MOVES, country)])?;
        std::thread::sleep(SEEN);
        held.store(false, Ordering::Relaxed);
        case.reaches_in(&mut run, schema, &case.topic("geo"), partition, 1)?;
        let found = case.country_in(schema, MOVES)?;
        ensure!(found.as_deref() == Some(country), "{schema}: {found:?}");
        stop(run)?;
        case.s3.as_ref().context("a server")?.clear_faults();
        case.verify_tables_in(schema)?;
    }
    // the other tables of this lake learn of the second growth
    let mut run = case.command("run").start()?;
    case.reaches(&mut run, "geo", 2, 1)?;
    case.demand_country(MOVES, "Newest")?;
    stop(run)?;
    ensure!(case.generations("replayed", "geo")? == case.generations("replayed_anew", "geo")?);
    Ok(())
}

#[test]
fn a_partition_that_was_there_and_not_read_begins_none() -> Result<()> {
    let mut case = Case::new("unread", 3, History::Folder)?;
    case.topics = [None, Some(case.topic("geo")), None];
    let topic = case.topic("geo");
    let (first, last) = (geos(100..200, "Filler"), [geo(MOVES, "Newer, at 100")]);
    case.send("geo", 0, &[first.clone(), last.to_vec()].concat())?;
    case.send("geo", 1, &[geo(1, "Albania")])?;
    case.send(
        "geo",
        2,
        &[geos(2..5, "Albania"), vec![geo(MOVES, "Older, at 3")]].concat(),
    )?;
    let lake = case.lake.as_ref().context("a lake")?;
    let parsed = |texts: &[String]| {
        texts
            .iter()
            .map(|text| serde_json::from_str(text))
            .collect::<Result<Vec<_>, _>>()
    };
    lake.object(&topic, 0, 0, &parsed(&[first, last.to_vec()].concat())?)?;
    lake.object(&topic, 1, 0, &parsed(&[geo(1, "Albania")])?)?;
    let bound = case.folder().join("bound.json");
    std::fs::write(
        &bound,
        serde_json::json!({ "frontier": { &topic: { "0": 101 } } }).to_string(),
    )?;

    let by_lake = case.offline("backfill");
    let bounded = case
        .command_in("unread_bounded", "backfill")
        .args(["--upto"])
        .args([&bound]);
    for (schema, backfill) in [("unread", by_lake), ("unread_bounded", bounded)] {
        backfill.succeed(SOON)?;
        let mut run = case.command_in(schema, "run").start()?;
        case.reaches_in(&mut run, schema, &topic, 2, 4)?;
        case.reaches_in(&mut run, schema, &topic, 0, 101)?;
        let found = case.country_in(schema, MOVES)?;
        ensure!(found.as_deref() == Some("Newer, at 100"), "{schema}: {found:?}");
        let generations = case.generations(schema, "geo")?;
        ensure!(generations.is_empty(), "{schema}: {generations:?}");
        stop(run)?;
        case.verify_tables_in(schema)?;
    }
    ensure!(!case.boundaries()?.exists(), "a boundary was written to the lake");
    Ok(())
}

#[test]
fn growth_since_the_recorded_number_of_partitions_is_found_at_the_next_start() -> Result<()> {
    // whichever command has recorded the number, and whichever finds the growth
    each(
        vec![
            ("down_rr", "run", "run"),
            ("down_br", "backfill", "run"),
            ("down_rb", "run", "backfill"),
        ],
        |(name, before, after)| {
            let case = Case::new(name, 1, History::Folder)?;
            begin(&case)?;
            case.send("geo", 0, &[geo(MOVES, "Old")])?;
            let lake = case.lake.as_ref().context("a lake")?;
            for (kind, records) in [
                ("pin", vec![pin(1, "art")]),
                ("user", vec![user(1)]),
                ("geo", vec![geo(1, "Albania"), geo(MOVES, "Old")]),
            ] {
                let records: Vec<_> = records
                    .iter()
                    .map(|text| serde_json::from_str(text))
                    .collect::<Result<_, _>>()?;
                lake.object(&case.topic(kind), 0, 0, &records)?;
            }
            let start = |command: &str| -> Result<()> {
                match command {
                    "run" => case.update(name, &[]),
                    _ => case.command(command).succeed(SOON).map(drop),
                }
            };
            start(before)?;
            case.send("geo", 0, &[geo(MOVES, "Old, unread")])?;
            case.kafka.add_partitions(&case.topic("geo"), 3)?;
            case.send("geo", 2, &[geo(MOVES, "New")])?;
            start(after)?;
            // what comes after the start that has found the growth belongs to the newer generation
            case.send("geo", 0, &[geo(MOVES + 1, "New")])?;
            start("run")?;
            case.demand_country(MOVES, "New")?;
            let generations = case.generations(&case.name, "geo")?;
            ensure!(
                generations == ["2:0:3", "2:1:0", "3:0:3", "3:1:0", "3:2:0"],
                "{name}: {generations:?}"
            );
            case.verify_tables()?;
            case.demand_as_new()?;
            Ok(())
        },
    )
}

#[test]
fn a_crash_between_the_boundary_and_its_commit_leaves_the_boundary_to_the_next_start() -> Result<()> {
    each(
        vec![
            ("crash_live_folder", History::Folder, false),
            ("crash_live_s3", History::S3, false),
            ("crash_start_folder", History::Folder, true),
        ],
        |(name, history, at_a_start)| {
            let case = Case::new(name, 1, history)?;
            begin(&case)?;
            case.send("geo", 0, &geos(100..105, "Filler"))?;
            let boundaries = case.boundaries()?;
            let place = format!("before_commit@{}", boundaries.display());
            let mut run = case.command("run").env("PINFLOW_FAILPOINT", &place).start()?;
            case.reaches(&mut run, "geo", 0, 6)?;
            if at_a_start {
                stop(run)?;
                case.send("geo", 0, &[geo(MOVES, "Old")])?;
                case.kafka.add_partitions(&case.topic("geo"), 2)?;
                run = case.command("run").env("PINFLOW_FAILPOINT", &place).start()?;
            } else {
                case.send("geo", 0, &[geo(MOVES, "Old")])?;
                case.kafka.add_partitions(&case.topic("geo"), 2)?;
            }
            ensure!(run.wait(SOON)?.is_none(), "it did not crash: {}", run.tail());
            ensure!(
                case.generations(name, "geo")?.is_empty(),
                "{name}: the boundary was committed"
            );
            // what comes now, before anybody looks again, is newer
            case.send("geo", 1, &[geo(MOVES, "New")])?;
            case.send("geo", 0, &geos(100..110, "Filler"))?;
            case.send("geo", 0, &[geo(MOVES, "Newest")])?;
            let mut run = case.command("run").start()?;
            case.reaches(&mut run, "geo", 1, 1)?;
            case.reaches(&mut run, "geo", 0, 18)?;
            case.demand_country(MOVES, "Newest")?;
            let generations = case.generations(name, "geo")?;
            ensure!(generations == ["2:0:7", "2:1:0"], "{name}: {generations:?}");
            stop(run)?;
            case.verify_tables()?;
            case.demand_as_new()?;
            Ok(())
        },
    )
}

#[test]
fn a_boundary_that_the_lake_lacks_is_written_at_the_next_start() -> Result<()> {
    each(
        vec![("lacks_folder", History::Folder), ("lacks_s3", History::S3)],
        |(name, history)| {
            let case = Case::new(name, 1, history)?;
            begin(&case)?;
            let mut run = started(&case)?;
            case.kafka.add_partitions(&case.topic("geo"), 2)?;
            case.send("geo", 1, &[geo(MOVES, "New")])?;
            case.reaches(&mut run, "geo", 1, 1)?;
            stop(run)?;
            let boundaries = case.boundaries()?;
            let written = std::fs::read(&boundaries)?;
            // it was lost, or the tables were made without this lake; another topic's stand there meanwhile
            std::fs::write(&boundaries, r#"{"other.topic":{"0":[[5,2]],"1":[[0,2]]}}"#)?;
            let mut run = case.command("run").start()?;
            run.wait_for("wrote the boundaries of generations to the lake", SOON)?;
            stop(run)?;
            let parsed = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes);
            let (then, now) = (parsed(&written)?, parsed(&std::fs::read(&boundaries)?)?);
            ensure!(
                now[case.topic("geo")] == then[case.topic("geo")],
                "{now} instead of {then}"
            );
            ensure!(now["other.topic"]["0"][0][0] == 5, "another topic's are gone: {now}");
            case.demand_country(MOVES, "New")?;
            case.demand_as_new()?;
            Ok(())
        },
    )
}

#[test]
fn the_first_boundary_in_the_lake_is_everyone_s() -> Result<()> {
    each(
        vec![("both_folder", History::Folder), ("both_s3", History::S3)],
        |(name, history)| {
            let case = Case::new(name, 1, history)?;
            begin(&case)?;
            let schemas = [name.to_owned(), format!("{name}_other")];
            let start = |schema: &String| case.command_in(schema, "run").start();
            let mut runs = [start(&schemas[0])?, start(&schemas[1])?];
            let topic = case.topic("geo");
            for (run, schema) in runs.iter_mut().zip(&schemas) {
                case.reaches_in(run, schema, &topic, 0, 1)?;
            }
            // both read on while each finds the growth when it looks: one may have passed the other's boundary
            case.kafka.add_partitions(&topic, 3)?;
            let producer = Producer::new(&case.kafka.bootstrap())?;
            let mut sent = 1;
            let until = std::time::Instant::now() + SEEN;
            while std::time::Instant::now() < until {
                send_through(&producer, &topic, 0, &[geo(MOVES, &format!("At {sent}"))])?;
                sent += 1;
                std::thread::sleep(Duration::from_millis(20));
            }
            case.send("geo", 2, &[geo(MOVES, "New"), geo(MOVES + 1, "New")])?;
            case.send("geo", 0, &[geo(MOVES, "Newest")])?;
            for (run, schema) in runs.iter_mut().zip(&schemas) {
                // a few seconds decide; then whoever has passed the boundary takes it over
                if let Err(error) = case.reaches_in(run, schema, &topic, 2, 2) {
                    ensure!(!run.is_running()?, "{schema}: {error:#}");
                    ensure!(
                        run.stderr().contains("another run has recorded the growth"),
                        "{}",
                        run.tail()
                    );
                    run.expect(1, SOON)?;
                    *run = start(schema)?;
                    case.reaches_in(run, schema, &topic, 2, 2)?;
                }
                case.reaches_in(run, schema, &topic, 0, sent + 1)?;
                for (ind, country) in [(MOVES, "Newest"), (MOVES + 1, "New")] {
                    let found = case.country_in(schema, ind)?;
                    ensure!(found.as_deref() == Some(country), "{schema}: {ind} is in {found:?}");
                }
            }
            for run in runs {
                stop(run)?;
            }
            let [one, other] = [
                case.generations(&schemas[0], "geo")?,
                case.generations(&schemas[1], "geo")?,
            ];
            ensure!(one == other && one.len() == 5, "{one:?} and {other:?}");
            ensure!(
                case.shown(&schemas[0])? == case.shown(&schemas[1])?,
                "the tables differ"
            );
            for schema in &schemas {
                case.verify_tables_in(schema)?;
            }
            case.demand_as_new()?;
            Ok(())
        },
    )
}

#[test]
fn a_topic_that_is_created_while_the_engine_runs_grows_from_its_first_number_of_partitions() -> Result<()> {
    let case = Case::new("appears", 0, History::Folder)?;
    for kind in ["pin", "user"] {
        case.kafka.create_topic(&case.topic(kind), 1, &[])?;
    }
    case.send("pin", 0, &[pin(1, "art")])?;
    let mut run = case.command("run").start()?;
    case.reaches(&mut run, "pin", 0, 1)?;
    case.kafka.create_topic(&case.topic("geo"), 2, &[])?;
    case.send(
        "geo",
        0,
        &[geos(100..110, "Filler"), vec![geo(MOVES, "Newer, at 10")]].concat(),
    )?;
    case.send("geo", 1, &[geo(MOVES, "Older, at 0")])?;
    case.reaches(&mut run, "geo", 0, 11)?;
    case.reaches(&mut run, "geo", 1, 1)?;
    case.demand_country(MOVES, "Newer, at 10")?;
    case.kafka.add_partitions(&case.topic("geo"), 3)?;
    case.send("geo", 2, &[geo(MOVES, "New")])?;
    case.reaches(&mut run, "geo", 2, 1)?;
    case.demand_country(MOVES, "New")?;
    let generations = case.generations(&case.name, "geo")?;
    ensure!(generations == ["2:0:11", "2:1:1", "2:2:0"], "{generations:?}");
    stop(run)?;
    case.verify_tables()
}

#[test]
fn a_topic_that_would_grow_beyond_255_generations_is_refused() -> Result<()> {
    let case = Case::new("too_many", 1, History::Folder)?;
    begin(&case)?;
    stop(started(&case)?)?;
    let starts: Vec<(i64, u8)> = (2..=255).map(|generation| (1, generation)).collect();
    let document = serde_json::json!({ case.topic("geo"): { "0": starts } });
    std::fs::create_dir_all(case.boundaries()?.parent().context("a folder")?)?;
    std::fs::write(case.boundaries()?, document.to_string())?;
    case.kafka.add_partitions(&case.topic("geo"), 2)?;
    let mut refused = case.command("run").start()?;
    refused.expect(1, SOON)?;
    let said = refused.stderr();
    ensure!(said.contains("--topics") && said.contains("generations"), "{said}");
    Ok(())
}

#[test]
fn records_behind_a_boundary_stay_there_in_an_object_with_holes_inside() -> Result<()> {
    each(
        vec![("holes_folder", History::Folder), ("holes_s3", History::S3)],
        |(name, history)| {
            let case = Case::new(name, 1, history)?;
            begin(&case)?;
            let mut run = started(&case)?;
            let mut lines = vec![geo(1, "Albania")];
            let writer = Producer::transactional(&case.kafka.bootstrap(), name)?;
            for place in geos(100..104, "Brazil") {
                writer.begin()?;
                send_through(&writer, &case.topic("geo"), 0, std::slice::from_ref(&place))?;
                writer.commit()?;
                lines.push(place);
            }
            case.kafka.add_partitions(&case.topic("geo"), 2)?;
            case.send("geo", 1, &[geo(MOVES, "New")])?;
            case.reaches(&mut run, "geo", 1, 1)?;
            case.send("geo", 0, &[geo(MOVES, "Newest")])?;
            lines.push(geo(MOVES, "Newest"));
            case.reaches(&mut run, "geo", 0, 10)?;
            stop(run)?;
            ensure!(
                case.generations(name, "geo")? == ["2:0:9", "2:1:0"],
                "{:?}",
                case.generations(name, "geo")?
            );
            // its sixth line has the offset 9; another schema has not seen the markers in Kafka
            case.archive("geo", 0, &lines)?;
            let schemas = [name.to_owned(), format!("{name}_late")];
            let demand = |when: &str| -> Result<()> {
                for schema in &schemas {
                    case.update(schema, &[])?;
                    let country = case.country_in(schema, MOVES)?;
                    ensure!(country.as_deref() == Some("Newest"), "{when}, {schema}: {country:?}");
                    case.verify_tables_in(schema)?;
                    let known = format!(
                        "SELECT count(*) FROM {schema}.frontier, jsonb_each_text(detail->'sparse') WHERE key = '0' AND \
                         value LIKE '6 % 10 2..3 4..5 6..7 8..9'"
                    );
                    let known = case.database()?.number(&known)?;
                    // of the last object of all, nothing but the frontier shows where it ends
                    ensure!(
                        known == 1 || when == "archived",
                        "{when}, {schema}: holes are not known"
                    );
                }
                ensure!(
                    case.shown(&schemas[0])? == case.shown(&schemas[1])?,
                    "{when}: they differ"
                );
                Ok(())
            };
            demand("archived")?;
            case.send("geo", 0, &[geo(2, "Chile")])?;
            case.archive("geo", 10, &[geo(2, "Chile")])?;
            demand("another object follows")?;
            // an earlier version called the hole behind the lines natural, in which the last records stand
            for schema in &schemas {
                let earlier = format!(
                    "UPDATE {schema}.frontier SET detail = (detail - 'sparse') || '{{\"natural\": \"6..10\"}}' WHERE \
                     detail ? 'sparse'"
                );
                case.database()?.run(&earlier)?;
            }
            demand("tables of an earlier version")?;
            // as long as Kafka has its records, nothing is lost with it
            let lake = case.lake.as_ref().context("the case has no lake")?;
            let key = lake.key(&case.topic("geo"), 0, 0, None);
            lake.remove(&key)?;
            for schema in &schemas {
                case.update(schema, &[])?;
                let country = case.country_in(schema, MOVES)?;
                ensure!(
                    country.as_deref() == Some("Newest"),
                    "without it, {schema}: {country:?}"
                );
                case.verify_tables_in(schema)?;
            }
            case.archive("geo", 0, &lines)?;
            demand("it is back")?;
            case.kafka.delete_records(&case.topic("geo"), 0, 11)?;
            demand("retention has passed")?;
            // nothing is missing behind its lines
            case.command("audit").succeed(SOON)?;
            Ok(())
        },
    )
}
