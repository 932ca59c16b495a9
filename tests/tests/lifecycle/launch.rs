//! Supervised processes whose schema is taken over.

use crate::topics;
use anyhow::{Context, Result, ensure};
use pinflow_tests::Pinflow;
use pinflow_tests::case::{Case, History, SOON, each, geo, geos, pins, stop};
use std::path::Path;

#[test]
fn a_launched_run_that_is_fenced_ends_with_3_and_starts_nothing_again() -> Result<()> {
    each(
        vec![("fenced_by_run", "run"), ("fenced_by_backfill", "backfill")],
        |(name, newer)| {
            let mut case = Case::new(name, 1, History::Folder)?;
            case.topics[2] = None;
            for (kind, records) in [("pin", pins(0..20, "art")), ("geo", geos(0..20, "Albania"))] {
                case.send(kind, 0, &records)?;
                case.archive(kind, 0, &records)?;
            }
            let lake = case.lake.as_ref().context("a lake")?;
            let launch = Pinflow::new("launch").args(["-n", "2", "-w", "1", "--", "run"]);
            let launch = launch.lake(lake).kafka(case.kafka).postgres(case.postgres);
            let mut launch = launch.args(["--schema", name]).args(topics(&case)).start()?;
            case.catches_up(&mut launch, name)?;
            let children = launch.children()?;
            ensure!(children.len() == 2, "{children:?}");
            let database = case.database()?;
            let fence = || database.number(&format!("SELECT fence FROM {name}.progress"));
            let before = fence()?;

            // a backfill ends and holds the schema no more: nothing but the exit code keeps the older run away
            let newcomer = match newer {
                "run" => Some(case.command("run").start()?),
                _ => {
                    case.offline("backfill").args(["--takeover"]).succeed(SOON)?;
                    None
                }
            };
            launch.expect(3, SOON)?;
            let said = launch.stderr();
            ensure!(said.contains("fenced: a newer run"), "{said}");
            ensure!(!said.contains("starting all again"), "{said}");
            for child in children {
                let gone = !Path::new(&format!("/proc/{child}")).exists();
                ensure!(gone, "process {child} outlives its supervisor: {said}");
            }
            ensure!(fence()? == before + 1, "the fence went from {before} to {}", fence()?);
            case.send("geo", 0, &[geo(7, "Chad")])?;
            match newcomer {
                Some(mut run) => {
                    case.catches_up(&mut run, name)?;
                    stop(run)?;
                }
                None => case.update(name, &[])?,
            }
            case.demand_country(7, "Chad")?;
            case.verify_tables()
        },
    )
}
