//! `pinflow results`: checks files that define results, and writes the built-in ones.

use crate::exit::{Failure, USAGE};
use anyhow::{Context, anyhow};
use dataflows::Options;
use dataflows::sql::{BUILT_IN, LONGEST_FILE, Schema, SqlFile, built_in, compile};
use std::fs;
use std::path::Path;

/// Compiles the files of a folder, or the built-in ones, and prints every error of every file.
pub fn check(folder: Option<&Path>) -> Result<(), Failure> {
    let files = match folder {
        Some(folder) => read(folder)?,
        None => built_in(),
    };
    let catalog = compile(&files, &Schema::cleaned(), &Options::default()).map_err(|errors| {
        errors.iter().for_each(|error| eprintln!("{error}"));
        Failure::Silent(USAGE)
    })?;
    catalog.notes.iter().for_each(|note| eprintln!("note: {note}"));
    println!("ok: {} results", catalog.results.len());
    Ok(())
}

/// The `.sql` files of a folder, by name.
fn read(folder: &Path) -> anyhow::Result<Vec<SqlFile>> {
    let shown = folder.display();
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read the folder {shown}"))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read the folder {shown}"))?.path();
        if path.extension().is_some_and(|extension| extension == "sql") {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(anyhow!("no .sql file in {shown}"));
    }
    paths.sort_unstable();
    let file = |path: &std::path::PathBuf| {
        let failed = || format!("cannot read {}", path.display());
        // the compiler refuses what is longer, whatever it holds
        let length = fs::metadata(path).with_context(failed)?.len();
        if length > LONGEST_FILE as u64 {
            return Err(anyhow!(
                "{} has {length} bytes, more than {LONGEST_FILE}",
                path.display()
            ));
        }
        Ok(SqlFile {
            path: path.display().to_string(),
            text: fs::read_to_string(path).with_context(failed)?,
        })
    };
    paths.iter().map(file).collect()
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
    println!("wrote {} results to {}", BUILT_IN.len(), folder.display());
    Ok(())
}
