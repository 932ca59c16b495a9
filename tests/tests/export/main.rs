//! `pinflow export`: what the files hold, whatever happens to their writer.

mod faults;
mod live;
mod refusals;
mod values;

use anyhow::{Context, Result, ensure};
use dataflows::CLEANED;
use operators::Table;
use pinflow_tests::case::{Case, History, SOON, geo, pin, user};
use pinflow_tests::parquet_rows::{self, ParquetRows};
use pinflow_tests::sql::Rows;
use pinflow_tests::{Database, Pinflow, S3Server};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Where exports go, and the folder in which its objects are files.
struct Target {
    url: String,
    root: PathBuf,
    /// The endpoint and the credentials.
    s3: Option<(String, [(&'static str, &'static str); 4])>,
}

impl Target {
    fn folder(root: PathBuf) -> Target {
        Target {
            url: format!("file://{}", root.display()),
            root,
            s3: None,
        }
    }

    fn bucket(server: &S3Server, name: &str) -> Result<Target> {
        Ok(Target {
            url: format!("s3://{name}/some/exports"),
            root: server.create_bucket(name)?.join("some/exports"),
            s3: Some((server.endpoint(), server.environment())),
        })
    }

    /// `pinflow export` of a schema of the case's database to this target.
    fn export(&self, case: &Case, schema: &str) -> Pinflow {
        let export = Pinflow::new("export").args(["--postgres", &case.postgres.url(), "--schema", schema]);
        let export = export.args(["--format", "parquet", "--to", &self.url]);
        let Some((endpoint, environment)) = &self.s3 else {
            return export;
        };
        let export = export.args(["--s3-endpoint", endpoint]);
        let variables = environment.iter();
        variables.fold(export, |export, (name, value)| export.env(name, value))
    }

    /// The manifest as it stands.
    fn manifest(&self) -> Result<Value> {
        let text = std::fs::read(self.root.join("manifest.json")).context("the manifest")?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// What the manifest leads to: every file is whole, and says what the manifest says.
    fn exported(&self) -> Result<Export> {
        let manifest = self.manifest()?;
        ensure!(
            manifest["format"] == "pinflow-export" && manifest["version"] == 1,
            "{manifest:#}"
        );
        let mut tables = Vec::new();
        for table in &CLEANED {
            let file = &manifest["tables"][table.name];
            let path = self.root.join(file["file"].as_str().context("a file")?);
            let opened = File::open(&path).with_context(|| path.display().to_string())?;
            ensure!(file["bytes"] == opened.metadata()?.len(), "{manifest:#}");
            let ParquetRows {
                columns, rows, about, ..
            } = parquet_rows::read(opened).with_context(|| path.display().to_string())?;
            ensure!(file["rows"] == rows.len(), "{} rows of {manifest:#}", rows.len());
            let names: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
            ensure!(columns == names, "{columns:?}");
            let frontier: Value = serde_json::from_str(&about["pinflow.frontier"])?;
            let commit = manifest["commit"].to_string();
            ensure!(
                about["pinflow.commit"] == commit
                    && frontier == manifest["frontier"]
                    && manifest["schema"] == about["pinflow.schema"].as_str()
                    && about["pinflow.table"] == table.name,
                "{about:?} of {manifest:#}"
            );
            let shown = |row: Vec<operators::Value>| {
                let columns = row.iter().zip(table.columns);
                columns
                    .map(|(value, column)| sinks::text::value(value, column.ty))
                    .collect()
            };
            tables.push(rows.into_iter().map(shown).collect());
        }
        Ok(Export { manifest, tables })
    }

    /// The folders of exports that hold something.
    fn folders(&self) -> Result<BTreeSet<String>> {
        let files = pinflow_tests::files(&self.root)?;
        let folders = files
            .iter()
            .filter_map(|file| file.strip_prefix(&self.root).ok()?.iter().next()?.to_str());
        Ok(folders
            .filter(|name| name.starts_with("commit-"))
            .map(str::to_owned)
            .collect())
    }
}

/// An export as its readers see it.
#[derive(Debug, PartialEq)]
struct Export {
    manifest: Value,
    /// The rows of each cleaned table, in the order of the file, as PostgreSQL prints values.
    tables: Vec<Rows>,
}

impl Export {
    fn commit(&self) -> i64 {
        self.manifest["commit"].as_i64().unwrap_or_default()
    }

    fn folder(&self) -> String {
        self.manifest["folder"].as_str().unwrap_or_default().to_owned()
    }

    /// Demands that the files hold what the tables of a schema hold.
    fn demand(&self, database: &Database, schema: &str) -> Result<()> {
        for (table, rows) in CLEANED.iter().zip(&self.tables) {
            let held = held(database, schema, table)?;
            let differs = held.iter().zip(rows).find(|(held, row)| held != row);
            ensure!(
                held.len() == rows.len() && differs.is_none(),
                "{}: {} rows exported, {} held; (held, exported) {differs:?}",
                table.name,
                rows.len(),
                held.len()
            );
        }
        Ok(())
    }
}

/// The rows of a cleaned table as PostgreSQL prints them.
fn held(database: &Database, schema: &str, table: &Table) -> Result<Rows> {
    let columns: Vec<String> = table
        .columns
        .iter()
        .map(|column| format!("\"{}\"", column.name))
        .collect();
    database.rows(&format!(
        "SELECT {} FROM {schema}.{} ORDER BY ind",
        columns.join(", "),
        table.name
    ))
}

/// A case whose lake and tables hold a few posts.
fn small_case(name: &str) -> Result<Case> {
    let case = Case::new(name, 0, History::Folder)?;
    case.archive("pin", 0, &[pin(1, "art"), pin(2, "food 🍜"), pin(3, "")])?;
    case.archive("geo", 0, &[geo(1, "Peru"), geo(3, "Côte d’Ivoire")])?;
    case.archive("user", 0, &[user(2)])?;
    case.offline("backfill").succeed(SOON)?;
    Ok(case)
}

/// Writes a post to the lake, and another commit to the tables.
fn another_commit(case: &Case, offset: i64) -> Result<()> {
    case.archive("geo", offset, &[geo(offset, "Chile")])?;
    case.offline("backfill").succeed(SOON).map(drop)
}

/// Commits so far.
fn commits(case: &Case) -> Result<i64> {
    case.database()?
        .number(&format!("SELECT commits FROM {}.progress", case.name))
}

/// Adds rows to the pins whose file takes more than one part of 5 MiB.
fn more_than_a_part(case: &Case) -> Result<()> {
    case.database()?.run(&format!(
        "INSERT INTO {}.pin_table (ind, description, log_generation, log_partition, log_offset) \
         SELECT 1000 + g, (SELECT string_agg(md5(g || '-' || i), '') FROM generate_series(1, 32000) i), 1, 0, 0 \
         FROM generate_series(1, 12) g",
        case.name
    ))
}

/// Everything below a folder, with its content.
fn content(root: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut files = pinflow_tests::files(root)?;
    files.sort();
    files
        .into_iter()
        .map(|path| Ok((path.clone(), std::fs::read(path)?)))
        .collect()
}
