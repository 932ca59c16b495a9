//! Staged history that is lost as it is committed, while records go on to come.

use crate::statements::staging;
use crate::{HeldHistory, Lock, says};
use anyhow::{Result, ensure};
use pinflow_tests::Program;
use pinflow_tests::case::{Case, History, SOON, geos, pins, stop, user};
use std::time::Duration;

/// Every commit writes down how many places it shows and for how many records of their topic it answers.
fn record_commits(case: &Case) -> Result<()> {
    let schema = &case.name;
    case.database()?.run(&format!(
        "CREATE TABLE {schema}_seen (commit bigint, places bigint, records bigint); \
         CREATE FUNCTION {schema}_look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         INSERT INTO public.{schema}_seen SELECT new.commits, (SELECT count(*) FROM {schema}.geo_table), \
         (SELECT next_offset FROM {schema}.frontier WHERE topic = '{topic}'); RETURN NULL; END $$; \
         CREATE TRIGGER look AFTER UPDATE ON {schema}.progress FOR EACH ROW \
         WHEN (old.commits <> new.commits) EXECUTE FUNCTION {schema}_look()",
        topic = case.topic("geo")
    ))
}

/// A run whose first commit waits for the lock: of two hundred places the lake holds a hundred.
fn staged(case: &Case, args: &[&str]) -> Result<(Program, Lock)> {
    case.send("pin", 0, &pins(0..5, "art"))?;
    case.send("user", 0, &[user(1)])?;
    case.send("geo", 0, &geos(0..200, "Albania"))?;
    case.archive("geo", 0, &geos(0..100, "Albania"))?;
    let history = HeldHistory::of(case)?;
    let mut run = case.command("run").args(args).start()?;
    history.is_awaited(&mut run)?;
    record_commits(case)?;
    let commits = Lock::of_commits(case)?;
    history.release();
    commits.is_awaited(&mut run)?;
    Ok((run, commits))
}

/// What the server loses in a crash.
fn lose_staged(case: &Case) -> Result<()> {
    case.database()?.run(&format!("TRUNCATE {}", staging(case)?))
}

/// The replay is repeated, and what has come since its bound is in no commit that does not answer for it.
#[test]
fn records_that_come_while_history_is_staged_again_wait_for_their_frontier() -> Result<()> {
    let case = Case::new("staged_again", 1, History::S3)?;
    let (mut run, commits) = staged(&case, &["-w", "2"])?;
    case.send("geo", 0, &geos(200..1_200, "Brazil"))?;
    // readers that go on too early have it by then
    std::thread::sleep(Duration::from_secs(1));
    lose_staged(&case)?;
    commits.release()?;
    says(&mut run, "history is replayed again", 1)?;
    case.reaches(&mut run, "geo", 0, 1_200)?;
    stop(run)?;
    let seen = format!("{}_seen", case.name);
    let wrong = format!("SELECT commit, places, records FROM {seen} WHERE places <> records ORDER BY commit");
    let wrong = case.database()?.rows(&wrong)?;
    ensure!(wrong.is_empty(), "commits with other places than records: {wrong:?}");
    let first = format!("SELECT places FROM {seen} ORDER BY commit LIMIT 1");
    let first = case.database()?.number(&first)?;
    ensure!(first == 200, "the first commit shows {first} places");
    case.verify_tables()?;
    case.demand_as_new()
}

/// Results of records that were read once, and that the second time nobody has, would be those of no log.
#[test]
fn history_that_shrinks_while_it_is_staged_again_is_read_by_another_start() -> Result<()> {
    let case = Case::new("staged_less", 1, History::S3)?;
    let accepted = ["--accept-gap", "all"];
    let (mut run, commits) = staged(&case, &accepted)?;
    case.kafka.delete_records(&case.topic("geo"), 0, 150)?;
    lose_staged(&case)?;
    commits.release()?;
    run.expect(1, SOON)?;
    let said = run.stderr();
    ensure!(
        said.contains("100..150: it was there when history was read first"),
        "{said}"
    );
    let seen = format!("SELECT count(*) FROM {}_seen", case.name);
    ensure!(case.database()?.number(&seen)? == 0, "it was committed: {said}");
    let mut next = case.command("run").args(accepted).start()?;
    case.reaches(&mut next, "geo", 0, 200)?;
    stop(next)?;
    let places = format!("SELECT count(*) FROM {}.geo_table", case.name);
    ensure!(case.database()?.number(&places)? == 150);
    case.verify_tables()
}
