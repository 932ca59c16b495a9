//! Topics that change while something else goes wrong: they grow while the lake is away, and are created again before
//! history is committed, as it is committed, and at the end of a run.

use crate::{HeldHistory, Lock, says};
use anyhow::{Context, Result, ensure};
use pinflow_tests::case::{Case, History, SOON, each, geo, geos, pins, stop, user};
use pinflow_tests::{Fault, Program};

/// Places of the first topic.
const FIRST: i64 = 50;
/// From here on places are of the topic that was created again.
const REMADE: i64 = 900_000;

fn filled(name: &str) -> Result<Case> {
    let case = Case::new(name, 1, History::S3)?;
    case.send("pin", 0, &pins(0..5, "art"))?;
    case.send("user", 0, &[user(1)])?;
    case.send("geo", 0, &geos(0..FIRST, "Albania"))?;
    case.archive("geo", 0, &geos(0..FIRST, "Albania"))?;
    Ok(case)
}

/// Without the boundary of its generation no record of a new partition has its place, so nothing is read on until the
/// lake has taken it.
#[test]
fn growth_of_a_topic_waits_for_a_lake_that_is_away() -> Result<()> {
    let case = filled("growth_without_lake")?;
    let mut run = case.command("run").start()?;
    case.reaches(&mut run, "geo", 0, FIRST)?;
    case.send("geo", 0, &[geo(7, "Old")])?;
    case.reaches(&mut run, "geo", 0, FIRST + 1)?;
    let server = case.s3.as_ref().context("a server")?;
    server.set_faults(|_| Fault::Status(503));
    case.kafka.add_partitions(&case.topic("geo"), 2)?;
    case.send("geo", 1, &[geo(7, "New")])?;
    case.send("geo", 0, &[geo(8, "Newer")])?;
    says(&mut run, "cannot write the boundary of a generation to the lake", 1)?;
    case.demand_country(7, "Old")?;
    server.clear_faults();
    case.reaches(&mut run, "geo", 1, 1)?;
    case.reaches(&mut run, "geo", 0, FIRST + 2)?;
    case.demand_country(7, "New")?;
    case.demand_country(8, "Newer")?;
    let generations = case.generations(&case.name, "geo")?;
    ensure!(generations.len() == 2 && generations[1] == "2:1:0", "{generations:?}");
    stop(run)?;
    case.verify_tables()?;
    case.demand_as_new()
}

/// When a topic is created again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// History is on its way.
    Hydrating,
    /// History is staged, and its commit waits.
    HandOver,
    /// The run was told to stop, and its last commit waits.
    ShuttingDown,
}

fn create_again(case: &Case) -> Result<()> {
    let topic = case.topic("geo");
    case.kafka.delete_topic(&topic)?;
    case.kafka.create_topic(&topic, 1, &[])?;
    case.send("geo", 0, &geos(REMADE..REMADE + 2 * FIRST, "Remade"))
}

/// Demands that a run, or a start, has ended because of the topic, by its name.
fn demand_refused(case: &Case, run: &mut Program) -> Result<()> {
    run.expect(1, SOON)?;
    let said = run.stderr();
    ensure!(said.contains(&case.topic("geo")) && said.contains("--topics"), "{said}");
    Ok(())
}

#[test]
fn a_topic_created_again_in_any_phase_gives_no_record_to_the_tables() -> Result<()> {
    let moments = vec![
        ("again_hydrating", Moment::Hydrating),
        ("again_hand_over", Moment::HandOver),
        ("again_at_the_end", Moment::ShuttingDown),
    ];
    each(moments, |(name, moment)| {
        let case = filled(name)?;
        let history = HeldHistory::of(&case)?;
        let mut run = case.command("run").start()?;
        history.is_awaited(&mut run)?;
        if moment == Moment::Hydrating {
            create_again(&case)?;
            history.release();
        } else {
            let mut lock = Lock::of_commits(&case)?;
            history.release();
            lock.is_awaited(&mut run)?;
            if moment == Moment::ShuttingDown {
                lock.release()?;
                case.reaches(&mut run, "geo", 0, FIRST)?;
                lock = Lock::of_commits(&case)?;
                case.send("geo", 0, &[geo(7, "Last")])?;
                lock.is_awaited(&mut run)?;
                run.terminate()?;
                says(&mut run, "stopping after a last commit", 1)?;
            }
            create_again(&case)?;
            lock.release()?;
        }
        match moment {
            // whether it has seen it by then or not
            Moment::ShuttingDown => ensure!(run.wait(SOON)?.is_some_and(|code| code < 2), "{}", run.tail()),
            Moment::Hydrating | Moment::HandOver => demand_refused(&case, &mut run)?,
        }
        let mut next = case.command("run").start()?;
        demand_refused(&case, &mut next)?;
        let remade = format!("SELECT count(*) FROM {name}.geo_table WHERE ind >= {REMADE} OR country = 'Remade'");
        ensure!(case.database()?.number(&remade)? == 0, "{name}: {}", run.tail());
        let wanted = match moment {
            Moment::Hydrating => 0,
            Moment::HandOver | Moment::ShuttingDown => FIRST,
        };
        let places = case
            .database()?
            .number(&format!("SELECT count(*) FROM {name}.geo_table"))?;
        ensure!(places == wanted, "{name}: {places} places instead of {wanted}");
        Ok(())
    })
}
