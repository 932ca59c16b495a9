//! `pinflow results`: checks files that define results, and writes the built-in ones.

use crate::config::sql_files::{compile, read};
use crate::config::{ConfigError, PlanSettings};
use crate::exit::{Failure, USAGE};
use crate::output;
use anyhow::{Context, anyhow};
use dataflows::sql::{BUILT_IN, built_in};
use dataflows::{Options, Results};
use sinks::ResultChange;
use std::fs;
use std::path::Path;

/// Compiles the files of a folder, or the built-in ones, and prints every error of every file.
pub fn check(folder: Option<&Path>) -> Result<(), Failure> {
    let results = compiled(folder, &Options::default())?;
    results.notes().iter().for_each(|note| eprintln!("note: {note}"));
    output::print(format_args!("ok: {} results\n", results.definitions().len()))
}

/// The results of a folder, or the built-in ones. Every error of every file is printed.
pub(crate) fn compiled(folder: Option<&Path>, options: &Options) -> Result<Results, Failure> {
    let files = match folder {
        Some(folder) => read(folder).map_err(ConfigError::from)?,
        None => built_in(),
    };
    compile(&files, options).map_err(|errors| {
        errors.iter().for_each(|error| eprintln!("{error}"));
        Failure::Silent(USAGE)
    })
}

/// Says what a start would make of the results that a schema holds.
pub fn plan(settings: &PlanSettings) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the I/O threads")?;
    let results = settings.tables.results.definitions().iter();
    let definition = sinks::Definition {
        results: results.map(|result| (result.table, result.sql.clone())).collect(),
        cleaned: dataflows::CLEANED.to_vec(),
        hash: 0,
        keep_cleaned: true,
        drop: settings.tables.drop.clone(),
    };
    let plan = runtime.block_on(sinks::plan_results(&settings.postgres, &definition))?;

    output::print(described(&plan.changes, &settings.tables.drop))?;
    if let Some(refusal) = plan.refusal {
        // for those who ask before they start: a start would end so, too
        return Err(ConfigError::one(format!("a start would be refused: {refusal}")).into());
    }
    output::print(format_args!("{}\n", replay(&plan.counters["replay"])))
}

/// A line for each result: what happens to its table.
fn described(changes: &[(String, ResultChange)], drop: &[String]) -> String {
    let mut text = String::new();
    for (name, change) in changes {
        let is_named = drop.contains(name);
        let (word, what) = match change {
            ResultChange::Made => ("new", "its table is made and filled".to_owned()),
            ResultChange::Kept => ("same", "as it was".to_owned()),
            ResultChange::Reconciled => (
                "changed",
                "other SQL, the same columns: rows that differ are written".to_owned(),
            ),
            ResultChange::Reshaped { .. } if is_named => {
                ("new", "its table is dropped, created again and filled".to_owned())
            }
            ResultChange::Reshaped { object, found, wanted } => (
                "refused",
                format!("{object} is {found}, wanted {wanted}: --drop {name} creates its table again"),
            ),
            ResultChange::Gone if is_named => ("dropped", "its table is dropped".to_owned()),
            ResultChange::Gone => ("refused", format!("defined no more: --drop {name} drops its table")),
        };
        text.push_str(&format!("{word:8} {name}: {what}\n"));
    }
    text
}

/// How long a start replays history, as the last one did.
fn replay(last: &serde_json::Value) -> String {
    let number = |name: &str| last[name].as_f64();
    match (number("records"), number("seconds"), number("workers")) {
        (Some(records), Some(seconds), Some(workers)) => format!(
            "a start replays history first: the last one took {seconds:.1} s for {records} records, with {workers} workers"
        ),
        _ => "a start replays history first: how long that takes is not known before the first commit".to_owned(),
    }
}

/// Writes the built-in results to a folder. What stands there with another text is not overwritten, and then nothing is
/// written.
pub fn print(folder: &Path) -> Result<(), Failure> {
    let mut others = Vec::new();
    for (name, text) in BUILT_IN {
        let path = folder.join(name);
        match fs::read(&path) {
            Ok(there) if there == text.as_bytes() => {}
            Ok(_) => others.push(path.display().to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(anyhow!(error).context(format!("cannot read {}", path.display())).into()),
        }
    }
    if !others.is_empty() {
        others
            .iter()
            .for_each(|path| eprintln!("error: {path} exists with another text, and is not overwritten"));
        return Err(Failure::Silent(USAGE));
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot create the folder {}", folder.display()))?;
    for (name, text) in BUILT_IN {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    output::print(format_args!(
        "wrote {} results to {}\n",
        BUILT_IN.len(),
        folder.display()
    ))
}
