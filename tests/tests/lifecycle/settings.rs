//! Settings that change over existing tables.

use crate::{archive, follow, produce};
use anyhow::{Result, ensure};
use pinflow_tests::case::{Case, History, SOON, geo, pin, stop};
use pinflow_tests::workload::Workload;

/// Rows of the cleaned tables and tombstones.
fn cleaned_rows(case: &Case) -> Result<i64> {
    let name = &case.name;
    let tables = ["pin_table", "geo_table", "user_table", "tombstones"];
    let counts = tables.map(|table| format!("(SELECT count(*) FROM {name}.{table})"));
    case.database()?.number(&format!("SELECT {}", counts.join(" + ")))
}

#[test]
fn cleaned_tables_are_empty_while_off_and_whole_when_on_again() -> Result<()> {
    let case = Case::new("cleaned", 2, History::Folder)?;
    let mut workload = Workload::new(72, 2);
    produce(&case, &mut workload, 450)?;
    archive(&case, &workload, 0.5, 50)?;
    for (number, cleaned) in ["off", "off", "postgres", "off", "postgres"].into_iter().enumerate() {
        let workers = ["1", "2"][number % 2];
        let run = case.command("run").args(["--cleaned", cleaned, "-w", workers]);
        let mut run = follow(&case, &case.name, &run)?;
        // live under this setting, and later while nobody runs
        produce(&case, &mut workload, 60)?;
        case.catches_up(&mut run, &case.name)?;
        stop(run)?;
        // with the log, by the plain evaluator: every table that is kept, cell for cell
        case.verify_tables()?;
        let rows = cleaned_rows(&case)?;
        if cleaned == "off" {
            ensure!(rows == 0, "{rows} cleaned rows at step {number}");
        } else {
            ensure!(rows > 400, "{rows} cleaned rows at step {number}");
            case.command("verify").succeed(SOON)?;
        }
        produce(&case, &mut workload, 60)?;
    }
    case.update(&case.name, &[])?;
    case.demand_as_new()
}

/// Posts of this category in one country; `from` is the first one's number.
fn posts(case: &Case, from: i64, count: i64, category: &str) -> Result<()> {
    let inds = from..from + count;
    let records: Vec<String> = inds.clone().map(|ind| pin(ind, category)).collect();
    case.send("pin", 0, &records)?;
    let places: Vec<String> = inds.map(|ind| geo(ind, "Chad")).collect();
    case.send("geo", 0, &places)
}

fn demand_ranks(case: &Case, wanted: &[&str]) -> Result<()> {
    let rows = case.database()?.rows(&format!(
        "SELECT rank || ' ' || category || ' ' || category_count FROM {}.popular_category_by_country ORDER BY rank, category",
        case.name
    ))?;
    let rows: Vec<String> = rows.into_iter().flatten().flatten().collect();
    ensure!(rows == wanted, "{rows:?} instead of {wanted:?}");
    Ok(())
}

#[test]
fn tables_hold_as_many_rows_as_the_newest_top_says() -> Result<()> {
    let mut case = Case::new("top", 1, History::Nowhere)?;
    case.topics[2] = None;
    for (from, count, category) in [(0, 5, "a"), (10, 4, "b"), (20, 3, "c"), (30, 2, "d"), (40, 1, "e")] {
        posts(&case, from, count, category)?;
    }
    // per start: what the tables show at first, live posts, and what they show then
    let starts: [(&str, &[&str], (i64, i64, &str), &[&str]); 4] = [
        ("1", &["1 a 5"], (100, 2, "b"), &["1 b 6"]),
        (
            "3",
            &["1 b 6", "2 a 5", "3 c 3"],
            (110, 3, "d"),
            &["1 b 6", "2 a 5", "2 d 5"],
        ),
        ("1", &["1 b 6"], (120, 4, "c"), &["1 c 7"]),
        (
            "0",
            &["1 c 7", "2 b 6", "3 a 5", "3 d 5", "5 e 1"],
            (130, 1, "e"),
            &["1 c 7", "2 b 6", "3 a 5", "3 d 5", "5 e 2"],
        ),
    ];
    for (top, before, (from, count, category), after) in starts {
        let top = ["--top", top];
        let mut run = follow(&case, &case.name, &case.command("run").args(top))?;
        demand_ranks(&case, before)?;
        posts(&case, from, count, category)?;
        case.catches_up(&mut run, &case.name)?;
        stop(run)?;
        demand_ranks(&case, after)?;
        let verify = case.command("verify").args(top);
        verify.succeed(SOON)?;
        verify.args(["--replay"]).succeed(SOON)?;
    }
    Ok(())
}
