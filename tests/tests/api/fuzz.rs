//! Whatever is asked, the API answers, and never that it failed.

use super::{listening, send};
use anyhow::Result;
use pinflow_tests::api_client::ask_json;
use pinflow_tests::case::{Case, History, geo, stop};
use pinflow_tests::fuzz::fuzz;

/// Routes below `/api` that end by themselves: all but the two of streams.
const OPERATIONS: usize = 11;

#[test]
fn a_fuzzer_finds_no_failure() -> Result<()> {
    let case = Case::new("api_fuzz", 1, History::S3)?;
    let lines: Vec<String> = (0..100).map(|n| geo(n, "Peru")).collect();
    case.archive("geo", 0, &lines)?;
    case.send("geo", 0, &lines)?;
    send(&case, 100, 100)?;
    let run = case.command("run").args(["--listen", "127.0.0.1:0"]).start()?;
    let (run, address) = listening(run)?;
    let last = format!("/api/frontier?at_least={}/0:199&timeout=60s", case.topic("geo"));
    ask_json(&address, &last)?;
    fuzz(
        &format!("http://{address}"),
        OPERATIONS,
        &["--exclude-path-regex", "changes$"],
    )?;
    stop(run)
}
