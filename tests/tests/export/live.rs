//! An export beside a live run is of one of its commits, and the manifest says which.

use super::{Export, Target, commits};
use anyhow::{Context, Result, ensure};
use pinflow_tests::case::{Case, History, SOON, each, geo, pin, stop, user};
use pinflow_tests::{Pinflow, Producer, eventually};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[test]
fn every_export_of_a_live_run_is_one_recorded_commit() -> Result<()> {
    let case = Case::new("export_live", 2, History::Folder)?;
    let (schema, database) = (case.name.as_str(), case.database()?);
    let target = Target::folder(case.folder().join("exports"));
    let mut run = case.command("run").args(["--pace", "5ms"]).start()?;
    eventually("the first commit", SOON, || {
        ensure!(run.is_running()?, "it ended: {}", run.tail());
        Ok(commits(&case).unwrap_or(0) > 0)
    })?;
    let producing = AtomicBool::new(true);
    let mut exports = Vec::new();
    std::thread::scope(|scope| -> Result<()> {
        let producer = scope.spawn(|| -> Result<()> {
            let producer = Producer::new(&case.kafka.bootstrap())?;
            for round in 0.. {
                if !producing.load(Ordering::Relaxed) {
                    break;
                }
                // every round changes posts of all kinds that are there already
                let inds = (round % 7) * 20..(round % 7) * 20 + 40;
                let category = format!("round {round}");
                producer.fill(&case.topic("pin"), (round % 2) as i32, inds.clone(), |ind| {
                    pin(ind, &category)
                })?;
                producer.fill(&case.topic("geo"), (round % 2) as i32, inds.clone(), |ind| {
                    geo(ind, &category)
                })?;
                producer.fill(&case.topic("user"), 0, inds, user)?;
                std::thread::sleep(Duration::from_millis(10));
            }
            Ok(())
        });
        let exported = (0..4).try_for_each(|_| -> Result<()> {
            let before = exports.last().map_or(1, |(export, _): &(Export, _)| export.commit());
            eventually("another commit", SOON, || Ok(commits(&case)? > before))?;
            target.export(&case, schema).succeed(SOON)?;
            exports.push((target.exported()?, std::fs::read(target.root.join("manifest.json"))?));
            Ok(())
        });
        producing.store(false, Ordering::Relaxed);
        producer.join().expect("the producer panicked")?;
        exported
    })?;
    case.catches_up(&mut run, schema)?;
    stop(run)?;
    let commits: Vec<i64> = exports.iter().map(|(export, _)| export.commit()).collect();
    ensure!(commits.windows(2).all(|pair| pair[0] < pair[1]), "{commits:?}");

    // the last one is of the commit that verification sees
    target.export(&case, schema).succeed(SOON)?;
    let last = target.exported()?;
    last.demand(&database, schema)?;
    let verified = case.offline("verify").succeed(SOON)?;
    ensure!(
        verified.contains(&format!("commit {}", last.commit())),
        "{verified}\n{:#}",
        last.manifest
    );

    // a manifest is a frontier: history up to it gives the same rows
    let archive = Pinflow::new("archive").kafka(case.kafka).args(["--once"]);
    let lake = case.lake.as_ref().context("a lake")?;
    let named = ["pin", "geo", "user"]
        .map(|kind| format!("{kind}={}", case.topic(kind)))
        .join(",");
    archive.lake(lake).args(["--topics", &named]).succeed(SOON)?;
    let is_empty = |export: &Export| export.tables.iter().all(|rows| rows.is_empty());
    ensure!(
        exports.last().is_some_and(|(export, _)| !is_empty(export)),
        "nothing was there yet"
    );
    let variants = exports.into_iter().enumerate().collect();
    each(variants, |(number, (export, manifest))| {
        let file = case.folder().join(format!("manifest-{number}.json"));
        std::fs::write(&file, manifest)?;
        let upto = format!("{schema}_{number}");
        let backfill = case.command_in(&upto, "backfill").args(["--upto"]).args([&file]);
        backfill.succeed(SOON)?;
        export
            .demand(&case.database()?, &upto)
            .with_context(|| format!("export {number}: {:#}", export.manifest))
    })
}
