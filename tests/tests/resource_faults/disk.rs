//! Disks that are full: of the tables, of PostgreSQL's log, of a lake and of results in files.

use crate::phases::{Phase, Trouble, play};
use crate::small_disk::SmallDisk;
use crate::{error_line, says};
use anyhow::{Context, Result, ensure};
use pinflow_tests::archived::{demand_whole, lines};
use pinflow_tests::case::{Case, History, SOON, geo, geos, pins, stop, user};
use pinflow_tests::workload::Workload;
use pinflow_tests::{Database, LakeFolder, Pinflow, PostgresOptions, Program, eventually, files};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

/// What the system says of a full disk.
const FULL: &str = "No space left on device";

/// A disk for the tables of a case, and for nothing else of its server.
struct Tablespace {
    schema: String,
    url: String,
    database: Database,
    disk: SmallDisk,
}

impl Tablespace {
    fn of(case: &Case, disk: SmallDisk) -> Result<Tablespace> {
        let (schema, folder) = (case.name.clone(), disk.path().join("tables"));
        fs::create_dir(&folder)?;
        let owner = fs::metadata(case.postgres.dir().join("data"))?;
        chown(&folder, Some(owner.uid()), Some(owner.gid()))?;
        let database = case.database()?;
        database.run(&format!("CREATE TABLESPACE {schema} LOCATION '{}'", folder.display()))?;
        let url = format!("{}?options=-c%20default_tablespace%3D{schema}", case.postgres.url());
        Ok(Tablespace {
            schema,
            url,
            database,
            disk,
        })
    }
}

impl Drop for Tablespace {
    fn drop(&mut self) {
        // a server whose tables vanish stops: theirs are dropped before the disk goes
        let _ = self.disk.free();
        let schema = &self.schema;
        for statement in [
            "SET statement_timeout = '20s'".to_owned(),
            format!("DROP SCHEMA IF EXISTS {schema} CASCADE"),
            format!("DROP TABLESPACE {schema}"),
        ] {
            let _ = self.database.run(&statement);
        }
    }
}

impl Trouble for Tablespace {
    fn url(&self) -> String {
        self.url.clone()
    }

    fn said(&self, _: Phase) -> &'static str {
        FULL
    }

    fn begin(&mut self, _: &Case, _: Phase) -> Result<()> {
        self.disk.fill()
    }

    /// What was dropped a moment ago makes room as well.
    fn again(&self) -> Result<()> {
        self.disk.fill()
    }

    fn end(&mut self) -> Result<()> {
        self.disk.free()
    }

    fn ends_with_the_run(&self) -> bool {
        false
    }
}

#[test]
fn a_full_disk_of_the_tables_is_waited_out_in_each_phase() -> Result<()> {
    let Some(disk) = SmallDisk::mount(16 << 10)? else {
        return Ok(());
    };
    play("full_disk", |case| Ok(Box::new(Tablespace::of(case, disk)?)))
}

/// It ends, and needs somebody who makes room and starts it. The run needs nobody.
#[test]
fn a_server_whose_own_log_has_no_room_is_waited_for() -> Result<()> {
    let Some(disk) = SmallDisk::mount(128 << 10)? else {
        return Ok(());
    };
    let case = Case::new("full_log", 1, History::Nowhere)?;
    let settings = [
        ("max_wal_size", "32MB"),
        ("min_wal_size", "32MB"),
        ("restart_after_crash", "off"),
    ];
    let mut postgres = pinflow_tests::Postgres::start(PostgresOptions {
        dir: Some(disk.path().join("cluster")),
        settings: settings.map(|(name, value)| (name.into(), value.into())).to_vec(),
        ..PostgresOptions::default()
    })?;
    let url = postgres.url();
    let country = |ind: i64| -> Result<Option<String>> {
        let sql = format!("SELECT max(country) FROM full_log.geo_table WHERE ind = {ind}");
        Database::connect(&url)?.value(&sql)
    };
    let is_in = |run: &mut Program, ind: i64, wanted: &str| {
        eventually(&format!("place {ind} in {wanted}"), SOON, || {
            ensure!(run.is_running()?, "it ended: {}", run.tail());
            Ok(country(ind).is_ok_and(|country| country.as_deref() == Some(wanted)))
        })
        .with_context(|| run.tail())
    };
    case.send("pin", 0, &pins(0..5, "art"))?;
    case.send("user", 0, &[user(1)])?;
    case.send("geo", 0, &geos(0..100, "Albania"))?;
    let mut run = case.command_at(&url, "run").start()?;
    is_in(&mut run, 99, "Albania")?;

    disk.fill()?;
    eventually("the end of the server", SOON, || {
        // each takes a new file of the log
        let switch = "SELECT pg_logical_emit_message(false, 'tests', 'more'), pg_switch_wal()";
        let switched = Database::connect(&url).and_then(|database| database.run(switch));
        Ok(switched.is_err() && Database::connect(&url).is_err())
    })?;
    case.send("geo", 0, &geos(50..150, "Brazil"))?;
    says(&mut run, "connecting again", 3)?;

    disk.free()?;
    postgres.abort()?;
    postgres.start_again()?;
    is_in(&mut run, 149, "Brazil")?;
    ensure!(country(49)?.as_deref() == Some("Albania"), "{:?}", country(49)?);
    stop(run)?;
    case.command_at(&url, "verify").args(["--replay"]).succeed(SOON)?;
    Ok(())
}

/// Demands that each object is whole and that no part of another one lies about.
fn demand_whole_objects(root: &Path, topic: &str, sent: &[String]) -> Result<usize> {
    let parts = files(root)?
        .into_iter()
        .filter(|path| path.to_string_lossy().ends_with(".tmp"));
    ensure!(parts.clone().count() == 0, "{:?}", parts.collect::<Vec<_>>());
    let found = lines(root, topic, 0)?;
    for (offset, line) in &found {
        ensure!(
            sent.get(usize::try_from(*offset)?) == Some(line),
            "{topic}/0 {offset}: {line}"
        );
    }
    ensure!(
        found.len() % OBJECT == 0,
        "{} lines in objects of {OBJECT}",
        found.len()
    );
    Ok(found.len())
}

/// Records of an object.
const OBJECT: usize = 50;

#[test]
fn an_archiver_without_room_ends_by_name_and_goes_on_where_it_was() -> Result<()> {
    let Some(disk) = SmallDisk::mount(4 << 10)? else {
        return Ok(());
    };
    let case = Case::new("archived", 1, History::Nowhere)?;
    let (lake, topic) = (LakeFolder::new(disk.path().join("lake")), case.topic("geo"));
    fs::create_dir(lake.root())?;
    let sent: Vec<String> = (0..600).map(|ind| geo(ind, &"Albania ".repeat(40))).collect();
    case.send("geo", 0, &sent)?;
    let command = |command: &str, args: &[&str]| {
        let command = Pinflow::new(command)
            .lake(&lake)
            .args(["--topics", &format!("geo={topic}")]);
        command.args(args)
    };
    let size = OBJECT.to_string();
    let archive = |more: &[&str]| {
        let archive = command("archive", &["--flush-size", &size]).kafka(case.kafka);
        // nothing ends by the clock
        archive
            .env("PINFLOW__ARCHIVE__ROTATE_SCHEDULE_INTERVAL_MS", "-1")
            .args(more)
    };
    // of twelve objects with seven pages each
    for pages in [0, 60, 9] {
        disk.fill_but(pages)?;
        let mut full = archive(&[]).start()?;
        full.expect(1, SOON)?;
        let error = error_line(&full)?;
        ensure!(error.contains(FULL) && error.contains("cannot "), "{error}");
        let stored = demand_whole_objects(lake.root(), &topic, &sent)?;
        ensure!(stored < sent.len(), "it had room for all: {}", full.tail());
        disk.free()?;
    }
    let stored = demand_whole_objects(lake.root(), &topic, &sent)?;
    ensure!(stored > 0, "it stored nothing, never");
    // live, it says the same
    let mut live = archive(&[]).start()?;
    let all = || Ok(lines(lake.root(), &topic, 0)?.len() == sent.len());
    eventually("all records in the lake", SOON, all).with_context(|| live.tail())?;
    disk.fill()?;
    let more: Vec<String> = (600..700).map(|ind| geo(ind, "Brazil")).collect();
    case.send("geo", 0, &more)?;
    live.expect(1, SOON)?;
    ensure!(error_line(&live)?.contains(FULL), "{}", live.tail());
    let sent = [sent, more].concat();
    demand_whole_objects(lake.root(), &topic, &sent)?;
    disk.free()?;
    archive(&["--once"]).succeed(SOON)?;
    ensure!(
        demand_whole_objects(lake.root(), &topic, &sent)? == sent.len(),
        "records are missing"
    );
    let whole = || demand_whole(command("audit", &["--deep"]).kafka(case.kafka));
    whole()?;

    // a compaction that has no room for its result keeps what it was to replace
    disk.fill()?;
    let mut full = command("compact", &["--keep", "0s"]).start()?;
    full.expect(1, SOON)?;
    ensure!(error_line(&full)?.contains(FULL), "{}", full.tail());
    disk.free()?;
    whole()?;
    command("compact", &["--keep", "0s"]).succeed(SOON)?;
    whole().map(drop)
}

fn contents(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    files(folder)?
        .into_iter()
        .map(|path| Ok((name(&path), fs::read(&path)?)))
        .collect()
}

#[test]
fn results_in_files_are_those_of_one_backfill_also_when_the_disk_is_full() -> Result<()> {
    let Some(disk) = SmallDisk::mount(1 << 10)? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let lake = LakeFolder::new(folder.path().join("lake"));
    fs::create_dir(lake.root())?;
    let (there, elsewhere) = (disk.path().join("out"), folder.path().join("out"));
    let backfill = |out: &Path| {
        Pinflow::new("backfill")
            .lake(&lake)
            .args(["--out".as_ref(), out.as_os_str()])
    };
    let mut workload = Workload::new(92, 1);
    workload.take(600);
    workload.archive(&lake, 1.0, 100)?;
    backfill(&there).succeed(SOON)?;
    let before = contents(&there)?;
    workload.take(600);
    workload.archive(&lake, 1.0, 100)?;
    backfill(&elsewhere).succeed(SOON)?;
    let after = contents(&elsewhere)?;
    ensure!(before.len() == after.len() && before != after, "{} files", before.len());
    let needed: u64 = after.values().map(|file| (file.len() as u64).div_ceil(4096)).sum();
    // there is room for nothing, for some results, for all but the last one
    for pages in [0, needed / 2, needed - 1] {
        disk.fill_but(pages)?;
        let mut full = backfill(&there).start()?;
        full.expect(1, SOON)?;
        let error = error_line(&full)?;
        ensure!(error.contains(FULL) && error.contains(".csv"), "{error}");
        disk.free()?;
        ensure!(
            contents(&there)? == before,
            "with {pages} pages: {:?}",
            contents(&there)?.keys()
        );
    }
    backfill(&there).succeed(SOON)?;
    ensure!(contents(&there)? == after, "the files differ from those elsewhere");
    Ok(())
}

#[test]
fn a_synthetic_lake_for_which_there_is_no_room_holds_whole_objects() -> Result<()> {
    let Some(disk) = SmallDisk::mount(1 << 10)? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let generate = |root: &Path| {
        let lake = LakeFolder::new(root);
        Pinflow::new("generate")
            .lake(&lake)
            .args(["--posts", "1000", "--records-per-object", "100"])
    };
    generate(folder.path()).succeed(SOON)?;
    let whole = contents(folder.path())?;
    disk.fill_but(40)?;
    let lake = disk.path().join("lake");
    let mut full = generate(&lake).start()?;
    full.expect(1, SOON)?;
    let error = error_line(&full)?;
    ensure!(error.contains(FULL) && error.contains(".json"), "{error}");
    let objects = contents(&lake)?;
    ensure!(
        !objects.is_empty() && objects.len() < whole.len(),
        "{:?}",
        objects.keys()
    );
    for (name, bytes) in &objects {
        ensure!(whole.get(name) == Some(bytes), "{name} is no whole object");
    }
    Ok(())
}
