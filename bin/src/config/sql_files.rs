//! The files that define results: read from a folder, and compiled.

use anyhow::{Context, anyhow};
use dataflows::sql::{Diagnostic, LONGEST_FILE, Position, SqlFile};
use dataflows::{Options, Results};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

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
        message: "reserved name: names of control tables, staging_… and …_pkey cannot be used for results".to_owned(),
        hint: Some("another file name".to_owned()),
    }
}

/// The `.sql` files of a folder, or everything that is wrong with it.
pub fn read(folder: &Path) -> Result<Vec<SqlFile>, Vec<String>> {
    let paths = paths(folder).map_err(|error| vec![format!("cannot read the folder {}: {error}", folder.display())])?;
    if paths.is_empty() {
        return Err(vec![format!("no .sql file in {}", folder.display())]);
    }
    let (mut files, mut problems) = (Vec::with_capacity(paths.len()), Vec::new());
    for path in paths {
        match text(&path) {
            Ok(text) => files.push(SqlFile {
                path: path.display().to_string(),
                text,
            }),
            Err(why) => problems.push(format!("{}: {why}", path.display())),
        }
    }
    if problems.is_empty() { Ok(files) } else { Err(problems) }
}

/// Copies the files of a folder into a new one.
pub fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let files = read(from).map_err(|problems| anyhow!(problems.join("; ")))?;
    fs::create_dir(to).with_context(|| format!("cannot create the folder {}", to.display()))?;
    for file in files {
        let path = to.join(format!("{}.sql", file.name()));
        fs::write(&path, file.text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Everything in a folder whose name ends in `.sql`.
fn paths(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if extension.is_some_and(|extension| extension.eq_ignore_ascii_case("sql")) {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

/// The content of a file, or why it cannot define a result.
#[expect(clippy::disallowed_methods, reason = "the read is limited to the longest file")]
fn text(path: &Path) -> Result<String, String> {
    if path.extension().is_some_and(|extension| extension != "sql") {
        return Err("the file name must end in .sql, in lower case".to_owned());
    }
    // anything but a regular file may never end, or block before its first byte
    if !fs::metadata(path).map_err(|error| error.to_string())?.is_file() {
        return Err("not a regular file".to_owned());
    }
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    // the compiler refuses what is longer, whatever it holds
    let most = LONGEST_FILE as u64;
    let read = file.take(most + 1).read_to_end(&mut bytes);
    read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > most {
        return Err(format!("longer than {most} bytes"));
    }
    let text = String::from_utf8(bytes).map_err(|_| "not valid UTF-8".to_owned())?;
    Ok(text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_owned))
}
