//! One run whose statements fail again and again, in each of its phases in turn.

use crate::{HeldHistory, Lock, commits, says, times};
use anyhow::{Context, Result, ensure};
use pinflow_tests::case::{Case, History, SOON, geos, pins, stop, user};
use pinflow_tests::{Program, eventually};

/// Where in its life a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// History is on its way into staging.
    Hydrating,
    /// History is staged, and about to be committed.
    HandOver,
    /// Records come and are committed.
    Steady,
    /// The run has been told to stop.
    ShuttingDown,
}

/// What keeps statements from their end, for as long as it lasts.
pub trait Trouble {
    /// Where the run finds PostgreSQL.
    fn url(&self) -> String;
    /// What the run says of it.
    fn said(&self, phase: Phase) -> &'static str;
    /// Begins.
    fn begin(&mut self, case: &Case, phase: Phase) -> Result<()>;
    /// Makes it happen once more, if it does not by itself.
    fn again(&self) -> Result<()> {
        Ok(())
    }
    /// Ends.
    fn end(&mut self) -> Result<()>;
    /// Whether it ends soon after a run is told to stop, so that the last commit goes through.
    fn ends_with_the_run(&self) -> bool;
}

/// Runs into the trouble three times from `act` on.
fn meet(
    run: &mut Program,
    case: &Case,
    trouble: &mut dyn Trouble,
    phase: Phase,
    act: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let said = trouble.said(phase);
    let before = times(run, said);
    trouble.begin(case, phase)?;
    act()?;
    eventually(&format!("{said}, at {phase:?}"), SOON, || {
        ensure!(run.is_running()?, "it ended: {}", run.tail());
        trouble.again()?;
        Ok(times(run, said) >= before + 3)
    })
    .with_context(|| run.tail())
}

/// A topic of places of which the lake holds a half; a run that meets the trouble in each phase; and the exact answer.
pub fn play(name: &str, start: impl FnOnce(&Case) -> Result<Box<dyn Trouble>>) -> Result<()> {
    let case = Case::new(name, 1, History::S3)?;
    case.send("pin", 0, &pins(0..20, "art"))?;
    case.send("user", 0, &[user(1)])?;
    case.send("geo", 0, &geos(0..400, "Albania"))?;
    case.archive("geo", 0, &geos(0..200, "Albania"))?;
    let mut trouble = start(&case)?;
    let trouble = &mut *trouble;
    let command = case.command_at(&trouble.url(), "run");
    let history = HeldHistory::of(&case)?;
    let mut run = command.start()?;
    history.is_awaited(&mut run)?;
    let first_commit = Lock::of_commits(&case)?;

    meet(&mut run, &case, trouble, Phase::Hydrating, || {
        history.release();
        Ok(())
    })?;
    trouble.end()?;
    first_commit.is_awaited(&mut run)?;

    meet(&mut run, &case, trouble, Phase::HandOver, || first_commit.release())?;
    ensure!(commits(&case) == 0, "history was committed: {}", run.tail());
    trouble.end()?;
    case.reaches(&mut run, "geo", 0, 400)?;

    // more than what was staged took
    let [first, second] = ["Brazil ", "Chad "].map(|country| country.repeat(60));
    meet(&mut run, &case, trouble, Phase::Steady, || {
        case.send("geo", 0, &geos(200..1_700, &first))
    })?;
    trouble.end()?;
    case.reaches(&mut run, "geo", 0, 1_900)?;
    case.demand_country(399, &first)?;

    meet(&mut run, &case, trouble, Phase::ShuttingDown, || {
        case.send("geo", 0, &geos(1_500..3_000, &second))
    })?;
    run.terminate()?;
    if trouble.ends_with_the_run() {
        says(&mut run, "stopping after a last commit", 1)?;
        trouble.end()?;
        run.expect(0, SOON)?;
        case.reaches(&mut run, "geo", 0, 1_901)?;
    } else {
        run.expect(0, SOON)?;
        trouble.end()?;
        ensure!(case.country(2_999)?.is_none(), "what failed was committed");
    }
    let mut next = command.start()?;
    case.reaches(&mut next, "geo", 0, 3_400)?;
    case.demand_country(1_600, &second)?;
    stop(next)?;
    case.verify_tables()
}
