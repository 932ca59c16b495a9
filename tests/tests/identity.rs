//! Whether a topic is the one that the tables were made of: one that was deleted and created again under its name, one
//! that `--topics` names instead of another one, and one that does not exist.

use anyhow::{Context, Result, ensure};
use pinflow_tests::case::{Case, History, SOON, each, geo, geos, pin, pins, stop, user};
use pinflow_tests::get;
use pinflow_tests::{Program, eventually};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Places of the first topic.
const FIRST: i64 = 50;
/// A place that only the topic has that was created again.
const REMADE: i64 = 900_007;

/// Topics of so many partitions, with a first generation of records that the tables hold.
fn filled(name: &str, partitions: i32, history: History) -> Result<Case> {
    let case = Case::new(name, partitions, history)?;
    case.send("pin", 0, &pins(0..5, "art"))?;
    case.send("user", 0, &[user(1)])?;
    for partition in 0..partitions {
        let first = 1_000 * i64::from(partition);
        case.send("geo", partition, &geos(first..first + FIRST, "Albania"))?;
    }
    Ok(case)
}

fn followed(case: &Case, partitions: i32) -> Result<Program> {
    let mut run = case.command("run").start()?;
    for partition in 0..partitions {
        case.reaches(&mut run, "geo", partition, FIRST)?;
    }
    case.reaches(&mut run, "pin", 0, 5)?;
    Ok(run)
}

/// Demands that a start, or a run, has ended because a topic is another one, and that the tables have nothing of it.
fn demand_refused(case: &Case, run: &mut Program, schema: &str) -> Result<()> {
    run.expect(1, SOON)?;
    let said = run.stderr();
    ensure!(said.contains(&case.topic("geo")) && said.contains("--topics"), "{said}");
    let counted = case.database()?.number(&format!(
        "SELECT count(*) FROM {schema}.geo_table WHERE ind >= {REMADE}"
    ))?;
    ensure!(counted == 0, "the tables took in records of another topic: {said}");
    Ok(())
}

/// How a topic is made again.
struct Again {
    name: &'static str,
    /// Partitions before and after.
    partitions: (i32, i32),
    /// Records in each partition.
    records: i64,
}

impl Again {
    fn make(&self, case: &Case) -> Result<()> {
        let topic = case.topic("geo");
        case.kafka.delete_topic(&topic)?;
        case.kafka.create_topic(&topic, self.partitions.1, &[])?;
        for partition in 0..self.partitions.1 {
            let first = REMADE + 1_000 * i64::from(partition);
            case.send("geo", partition, &geos(first..first + self.records, "Remade"))?;
        }
        Ok(())
    }
}

#[test]
fn a_topic_created_again_while_the_engine_is_down_is_refused() -> Result<()> {
    each(
        vec![
            Again {
                name: "empty",
                partitions: (1, 1),
                records: 0,
            },
            Again {
                name: "shorter",
                partitions: (1, 1),
                records: 10,
            },
            Again {
                name: "as_long",
                partitions: (1, 1),
                records: FIRST,
            },
            Again {
                name: "longer",
                partitions: (1, 1),
                records: FIRST + 30,
            },
            Again {
                name: "fewer",
                partitions: (2, 1),
                records: FIRST + 30,
            },
            Again {
                name: "more",
                partitions: (1, 2),
                records: FIRST + 30,
            },
        ],
        |again| {
            let history = if again.name == "longer" {
                History::Nowhere
            } else {
                History::Folder
            };
            let case = filled(&format!("down_{}", again.name), again.partitions.0, history)?;
            stop(followed(&case, again.partitions.0)?)?;
            let shown = case.shown(&case.name)?;
            again.make(&case)?;
            let commands = ["run", "backfill"].into_iter();
            for command in commands.filter(|command| *command == "run" || case.lake.is_some()) {
                let mut refused = case.command(command).start()?;
                demand_refused(&case, &mut refused, &case.name).with_context(|| format!("{} {command}", again.name))?;
            }
            ensure!(
                case.shown(&case.name)? == shown,
                "{}: the tables have changed",
                again.name
            );
            if case.lake.is_some() {
                ensure!(
                    !case.boundaries()?.exists(),
                    "{}: its partitions were taken for growth",
                    again.name
                );
            }
            // the way out: a new name for what is new
            let renamed = format!("{}.renamed", case.name);
            case.kafka.create_topic(&renamed, 1, &[])?;
            case.send_to(&renamed, 0, &[geo(REMADE, "Remade")])?;
            let mut case = case;
            case.topics[1] = Some(renamed);
            case.update(&case.name, &["--replace-topics"])?;
            case.demand_country(REMADE, "Remade")?;
            case.demand_as_new()?;
            Ok(())
        },
    )
}

#[test]
fn a_topic_created_again_under_a_running_engine_ends_it() -> Result<()> {
    each(
        vec![
            Again {
                name: "empty",
                partitions: (1, 1),
                records: 0,
            },
            Again {
                name: "one",
                partitions: (1, 1),
                records: 1,
            },
            Again {
                name: "longer",
                partitions: (1, 1),
                records: FIRST + 30,
            },
            Again {
                name: "fewer",
                partitions: (2, 1),
                records: FIRST + 30,
            },
            Again {
                name: "more",
                partitions: (1, 3),
                records: FIRST + 30,
            },
        ],
        |again| {
            let history = if again.name == "one" {
                History::Nowhere
            } else {
                History::Folder
            };
            let case = filled(&format!("idle_{}", again.name), again.partitions.0, history)?;
            let mut run = followed(&case, again.partitions.0)?;
            let shown = case.shown(&case.name)?;
            again.make(&case)?;
            demand_refused(&case, &mut run, &case.name).with_context(|| format!("{}: {}", again.name, run.tail()))?;
            ensure!(
                case.shown(&case.name)? == shown,
                "{}: the tables have changed",
                again.name
            );
            if case.lake.is_some() {
                ensure!(
                    !case.boundaries()?.exists(),
                    "{}: its partitions were taken for growth",
                    again.name
                );
            }
            let mut refused = case.command("run").start()?;
            demand_refused(&case, &mut refused, &case.name).with_context(|| format!("{}, at a start", again.name))?;
            Ok(())
        },
    )
}

#[test]
fn a_topic_created_again_under_load_ends_the_engine() -> Result<()> {
    let case = filled("loaded", 1, History::Folder)?;
    let mut run = followed(&case, 1)?;
    let done = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| -> Result<i64> {
        // the other topics go on all the time
        let load = scope.spawn(|| -> Result<i64> {
            let mut sent = 5;
            while !done.load(Ordering::Relaxed) {
                case.send("pin", 0, &pins(sent..sent + 20, "art"))?;
                sent += 20;
            }
            Ok(sent)
        });
        let refused = (|| {
            case.send("geo", 0, &geos(100..2_000, "Albania"))?;
            case.kafka.delete_topic(&case.topic("geo"))?;
            case.kafka.create_topic(&case.topic("geo"), 1, &[])?;
            case.send("geo", 0, &geos(REMADE..REMADE + 5_000, "Remade"))?;
            demand_refused(&case, &mut run, &case.name)
        })();
        done.store(true, Ordering::Relaxed);
        let sent = load.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
        refused.map(|()| sent)
    })?;
    ensure!(sent > 25, "nothing was sent meanwhile");
    Ok(())
}

#[test]
fn a_topic_that_is_away_at_the_start_is_compared_when_it_is_created() -> Result<()> {
    each(
        vec![("away_folder", History::Folder), ("away_nowhere", History::Nowhere)],
        |(name, history)| {
            let case = filled(name, 1, history)?;
            if history == History::Folder {
                case.archive("geo", 0, &geos(0..FIRST, "Albania"))?;
            }
            stop(followed(&case, 1)?)?;
            case.kafka.delete_topic(&case.topic("geo"))?;
            let mut run = case.command("run").start()?;
            // the others are followed, and what is known of this one stays
            case.send("pin", 0, &pins(5..8, "art"))?;
            let started = case.reaches(&mut run, "pin", 0, 8);
            if let Err(error) = started {
                // without a lake nothing holds these records any more
                ensure!(history == History::Nowhere && !run.is_running()?, "{error:#}");
                run.expect(1, SOON)?;
                return Ok(());
            }
            case.demand_country(7, "Albania")?;
            case.kafka.create_topic(&case.topic("geo"), 1, &[])?;
            case.send("geo", 0, &geos(REMADE..REMADE + 60, "Remade"))?;
            demand_refused(&case, &mut run, name)?;
            Ok(())
        },
    )
}

#[test]
fn retention_up_to_the_end_is_no_new_topic() -> Result<()> {
    let case = filled("retained", 1, History::Folder)?;
    case.archive("geo", 0, &geos(0..FIRST, "Albania"))?;
    stop(followed(&case, 1)?)?;
    case.kafka.delete_records(&case.topic("geo"), 0, FIRST)?;
    let mut run = case.command("run").start()?;
    case.send("geo", 0, &[geo(7, "Newer")])?;
    case.reaches(&mut run, "geo", 0, FIRST + 1)?;
    case.demand_country(7, "Newer")?;
    // and while it runs
    case.kafka.delete_records(&case.topic("geo"), 0, FIRST + 1)?;
    std::thread::sleep(Duration::from_secs(6));
    case.send("geo", 0, &[geo(7, "Newest")])?;
    case.reaches(&mut run, "geo", 0, FIRST + 2)?;
    case.demand_country(7, "Newest")?;
    stop(run)
}

/// `NAME.pin2`, a topic of other posts than `NAME.pin`.
fn other_posts(case: &Case) -> Result<String> {
    let topic = format!("{}.pin2", case.name);
    case.kafka.create_topic(&topic, 1, &[])?;
    case.send_to(&topic, 0, &pins(2..9, "travel"))?;
    Ok(topic)
}

fn demand_usage(case: &Case, command: &str, names: &[&str]) -> Result<()> {
    let mut refused = case.command(command).start()?;
    refused.expect(2, SOON)?;
    let said = refused.stderr();
    let named = names.iter().all(|name| said.contains(name));
    ensure!(named && said.contains("--replace-topics"), "{said}");
    Ok(())
}

#[test]
fn another_topic_of_a_kind_is_refused_unless_it_is_to_replace_it() -> Result<()> {
    each(
        vec![("renamed_nowhere", History::Nowhere), ("renamed_s3", History::S3)],
        |(name, history)| {
            let mut case = filled(name, 1, history)?;
            // a generation of the topic stays when it is left out for a while
            case.kafka.add_partitions(&case.topic("pin"), 2)?;
            let mut run = followed(&case, 1)?;
            case.kafka.add_partitions(&case.topic("pin"), 3)?;
            case.send("pin", 2, &[pin(1, "music")])?;
            case.reaches(&mut run, "pin", 2, 1)?;
            case.send("pin", 0, &["no JSON".to_owned()])?;
            case.reaches(&mut run, "pin", 0, 6)?;
            stop(run)?;
            let (first, other) = (case.topic("pin"), other_posts(&case)?);
            let before = case.shown(name)?;

            case.topics[0] = Some(other.clone());
            let commands = ["run", "backfill"].into_iter();
            for command in commands.filter(|command| *command == "run" || case.lake.is_some()) {
                demand_usage(&case, command, &[&first, &other])?;
            }
            ensure!(case.shown(name)? == before, "a refused start has changed the tables");
            // a crash before the first commit replaces nothing
            let replace = case.command("run").args(["--replace-topics"]);
            let mut crashed = replace.clone().env("PINFLOW_FAILPOINT", "before_commit").start()?;
            ensure!(crashed.wait(SOON)?.is_none(), "it did not crash: {}", crashed.tail());
            ensure!(case.shown(name)? == before, "a crash has changed the tables");
            demand_usage(&case, "run", &[&first, &other])?;

            let mut run = replace.start()?;
            case.reaches_in(&mut run, name, &other, 0, 7)?;
            stop(run)?;
            case.verify_tables()?;
            case.demand_as_new()?;
            ensure!(case.shown(name)? != before, "nothing was replaced");
            // the name is the recorded one from now on, and the flag changes nothing
            case.update(name, &[])?;
            let kept = case.shown(name)?;
            case.update(name, &["--replace-topics"])?;
            ensure!(case.shown(name)? == kept);

            // and back
            case.topics[0] = Some(first.clone());
            demand_usage(&case, "run", &[&first, &other])?;
            case.update(&case.name, &["--replace-topics"])?;
            ensure!(case.shown(name)? == before, "the first topic has another answer now");
            case.verify_tables()?;
            Ok(())
        },
    )
}

#[test]
fn topics_that_change_places_are_refused() -> Result<()> {
    let mut case = filled("swapped", 1, History::Folder)?;
    stop(followed(&case, 1)?)?;
    let (pin, geo) = (case.topic("pin"), case.topic("geo"));
    case.topics.swap(0, 1);
    demand_usage(&case, "run", &[&pin, &geo])?;
    demand_usage(&case, "backfill", &[&pin, &geo])?;
    // nothing else stands in the topics than what is no record of the kind
    case.update(&case.name, &["--replace-topics"])?;
    case.demand_as_new()?;
    case.topics.swap(0, 1);
    case.update(&case.name, &["--replace-topics"])?;
    case.demand_country(7, "Albania")?;
    case.demand_as_new()
}

#[test]
fn a_kind_that_is_not_named_any_more_is_refused_and_one_more_is_not() -> Result<()> {
    let mut case = filled("kinds", 1, History::Folder)?;
    let geo = case.topic("geo");
    case.topics = [Some(case.topic("pin")), None, Some(case.topic("user"))];
    case.update("kinds", &[])?;
    // a kind in addition
    case.topics[1] = Some(geo.clone());
    let run = followed(&case, 1)?;
    case.demand_country(7, "Albania")?;
    stop(run)?;
    case.verify_tables()?;
    case.demand_as_new()?;
    // and without it again
    case.topics[1] = None;
    demand_usage(&case, "run", &[&geo])?;
    demand_usage(&case, "backfill", &[&geo])?;
    case.update(&case.name, &["--replace-topics"])?;
    let places = case.database()?.number("SELECT count(*) FROM kinds.geo_table")?;
    ensure!(places == 0, "{places} places are left");
    case.demand_as_new()?;
    case.topics[1] = Some(geo);
    case.update("kinds", &[])?;
    case.demand_country(7, "Albania")?;
    case.verify_tables()
}

#[test]
fn a_named_topic_that_does_not_exist_fails_a_backfill() -> Result<()> {
    let mut case = filled("nearest", 1, History::Folder)?;
    let lake = case.lake.as_ref().context("a lake")?;
    lake.object(&case.topic("pin"), 0, 0, &[serde_json::from_str(&pin(1, "art"))?])?;
    case.topics = [Some("nearest.pim".into()), Some(case.topic("geo")), None];
    for backfill in [case.offline("backfill"), case.command("backfill")] {
        let mut refused = backfill.start()?;
        refused.expect(1, SOON)?;
        let said = refused.stderr();
        ensure!(
            said.contains("nearest.pim") && said.contains("nearest.pin") && said.contains("--allow-missing-topic"),
            "{said}"
        );
    }
    case.offline("backfill").args(["--allow-missing-topic"]).succeed(SOON)?;
    case.update("nearest", &["--allow-missing-topic"])?;
    case.demand_country(7, "Albania")
}

fn is_ready(address: &str) -> bool {
    get(address, "/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

#[test]
fn a_run_without_a_named_topic_is_not_ready_until_it_is_created() -> Result<()> {
    let mut case = filled("unready", 1, History::Nowhere)?;
    let missing = "unready.pim".to_owned();
    case.topics[0] = Some(missing.clone());
    let address = format!("127.0.0.1:{}", servers::free_port()?);
    let mut run = case.command("run").args(["--listen", &address]).start()?;
    run.wait_for("unready.pim does not exist", SOON)?;
    case.reaches(&mut run, "geo", 0, FIRST)?;
    std::thread::sleep(Duration::from_secs(1));
    ensure!(!is_ready(&address), "it is ready without its topic");
    ensure!(run.stderr().contains("unready.pin"), "no nearest name: {}", run.tail());
    case.kafka.create_topic(&missing, 1, &[])?;
    eventually("readiness", SOON, || Ok(is_ready(&address))).with_context(|| run.tail())?;
    case.send_to(&missing, 0, &pins(0..3, "art"))?;
    case.reaches_in(&mut run, "unready", &missing, 0, 3)?;
    stop(run)?;
    case.verify_tables()?;

    // those who mean it are ready at once
    case.topics[0] = Some("unready.pin3".into());
    let address = format!("127.0.0.1:{}", servers::free_port()?);
    let other = case.command_in("unready_allowed", "run");
    let mut run = other.args(["--allow-missing-topic", "--listen", &address]).start()?;
    case.reaches_in(&mut run, "unready_allowed", &case.topic("geo"), 0, FIRST)?;
    eventually("readiness", SOON, || Ok(is_ready(&address))).with_context(|| run.tail())?;
    stop(run)
}

#[test]
fn one_of_the_default_names_is_enough() -> Result<()> {
    // no `--topics`: the lake has pins, and that is a real lake
    let case = Case::new("defaults", 0, History::Folder)?;
    let lake = case.lake.as_ref().context("a lake")?;
    let nothing = case.without_topics("defaults", "backfill");
    let mut refused = nothing.start()?;
    refused.expect(1, SOON)?;
    ensure!(refused.stderr().contains("do not exist"), "{}", refused.stderr());
    let posts: Vec<serde_json::Value> = pins(0..4, "art")
        .iter()
        .map(|text| serde_json::from_str(text))
        .collect::<Result<_, _>>()?;
    lake.object("pin", 0, 0, &posts)?;
    let mut backfill = nothing.start()?;
    backfill.expect(0, SOON)?;
    let said = backfill.stderr();
    let lines: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("geo") && line.contains("user"))
        .collect();
    ensure!(lines.len() == 1, "the others are not mentioned in one line: {said}");
    let posts = case.database()?.number("SELECT count(*) FROM defaults.pin_table")?;
    ensure!(posts == 4, "{posts} posts");
    // named, the same topics have to exist
    let named = case.without_topics("defaults_named", "backfill");
    let mut refused = named.args(["--topics", "pin=pin,geo=geo"]).start()?;
    refused.expect(1, SOON)?;
    ensure!(
        refused.stderr().contains("topic geo does not exist"),
        "{}",
        refused.stderr()
    );
    Ok(())
}
