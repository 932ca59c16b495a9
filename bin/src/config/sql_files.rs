//! The files that define results: read from a folder, and compiled.

use anyhow::{Context, anyhow};
use dataflows::sql::{Diagnostic, LONGEST_FILE, Position, SqlFile};
use dataflows::{Options, Results};
use std::fs;
use std::path::Path;

/// The results that files define, or everything that is wrong with them.
pub fn compile(files: &[SqlFile], options: &Options) -> Result<Results, Vec<Diagnostic>> {
    let taken = files.iter().filter(|file| {
        let name = Path::new(&file.path).file_stem().and_then(|name| name.to_str());
        name.is_some_and(sinks::is_reserved_name)
    });
    let taken: Vec<Diagnostic> = taken.map(of_reserved).collect();
    match Results::compile(files, options) {
        Ok(results) if taken.is_empty() => Ok(results),
        Ok(_) => Err(taken),
        Err(errors) => Err(errors.into_iter().chain(taken).collect()),
    }
}

fn of_reserved(file: &SqlFile) -> Diagnostic {
    Diagnostic {
        file: file.path.clone(),
        position: Position { line: 1, column: 1 },
        message: "a table of this name is in every schema: frontier, progress, rejects and the like".to_owned(),
        hint: Some("another file name".to_owned()),
    }
}

/// The `.sql` files of a folder, by name.
pub fn read(folder: &Path) -> anyhow::Result<Vec<SqlFile>> {
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
