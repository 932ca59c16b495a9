//! What was exported, as readers find it: `manifest.json` at the target. Its format is a contract.

use engine::Frontier;
use ingest::{Offset, Partition};
use operators::Table;
use parquet::file::metadata::KeyValue;
use serde::{Deserialize, Serialize};
use sinks::Progress;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

/// The key of the manifest.
pub(crate) const MANIFEST: &str = "manifest.json";
/// How the folders of exports begin.
pub(crate) const FOLDER_PREFIX: &str = "commit-";
/// What says that a JSON object is a manifest of ours.
const FORMAT: &str = "pinflow-export";
/// The version of this format.
const VERSION: u32 = 1;

/// What was exported. It is also a frontier file: `backfill --upto` stops where the export is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    format: String,
    version: u32,
    /// The schema in PostgreSQL.
    pub schema: String,
    /// The number of the commit that the files hold: `commits` of the schema's table `progress`.
    pub commit: i64,
    /// The run that made this commit.
    pub run: String,
    /// When the export was begun, by the clock of its machine.
    pub exported_at: String,
    /// Per topic and partition the first offset that the files do not answer for.
    pub frontier: Frontier,
    /// The folder of this export.
    pub folder: String,
    /// The file of each cleaned table.
    pub tables: BTreeMap<String, TableFile>,
}

/// The file of one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFile {
    /// Its key, relative to the target.
    pub file: String,
    /// Rows in it.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
}

/// Whether a folder is named as an export names its own: others may have folders at the target that begin alike.
pub(crate) fn is_export_folder(name: &str) -> bool {
    let parts = name.strip_prefix(FOLDER_PREFIX).and_then(|rest| rest.split_once('-'));
    parts.is_some_and(|(commit, chance)| {
        let is_commit = commit.len() >= 12 && commit.bytes().all(|byte| byte.is_ascii_digit());
        is_commit && chance.len() == 16 && chance.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

impl Manifest {
    /// The manifest of a commit without its tables. Its folder is named by the commit and by chance, so that no two
    /// exports write the same files.
    pub(crate) fn new(schema: &str, progress: &Progress) -> Manifest {
        let mut frontier = Frontier::default();
        for ((topic, partition), known) in &progress.partitions {
            frontier.set(topic, Partition(*partition), Offset(known.next));
        }
        // the standard library's hash keys are seeded by the system
        let chance = RandomState::new().hash_one(progress.commits);
        Manifest {
            format: FORMAT.to_owned(),
            version: VERSION,
            schema: schema.to_owned(),
            commit: progress.commits,
            run: progress.run_id.clone(),
            exported_at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            frontier,
            folder: format!("{FOLDER_PREFIX}{:012}-{chance:016x}", progress.commits),
            tables: BTreeMap::new(),
        }
    }

    /// The key of a table's file.
    pub(crate) fn file_of(&self, table: &Table) -> String {
        format!("{}/{}.parquet", self.folder, table.name)
    }

    /// What the file of a table says about itself.
    pub(crate) fn about(&self, table: &Table) -> Vec<KeyValue> {
        let frontier = serde_json::to_string(&self.frontier).expect("maps of texts and numbers serialise");
        let items = [
            ("pinflow.schema", self.schema.clone()),
            ("pinflow.table", table.name.to_owned()),
            ("pinflow.commit", self.commit.to_string()),
            ("pinflow.frontier", frontier),
        ];
        items
            .into_iter()
            .map(|(name, value)| KeyValue::new(name.to_owned(), value))
            .collect()
    }

    /// Reads a manifest; what is wrong with it otherwise.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Manifest, String> {
        /// What all versions have.
        #[derive(Deserialize)]
        struct Head {
            format: String,
            version: u32,
        }
        let head: Head = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if head.format != FORMAT {
            return Err(format!("its format is `{}`", head.format));
        }
        if head.version != VERSION {
            return Err(format!("its version is {}, this program knows {VERSION}", head.version));
        }
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    }

    /// Its text.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("texts and numbers serialise");
        text.push(b'\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sinks::PartitionProgress;

    fn manifest() -> Manifest {
        let partition = |next| PartitionProgress {
            next,
            ..PartitionProgress::default()
        };
        let progress = Progress {
            commits: 42,
            run_id: "7-8".to_owned(),
            partitions: [
                (("pin".to_owned(), 0), partition(1234)),
                (("pin".to_owned(), 1), partition(0)),
            ]
            .into(),
            ..Progress::default()
        };
        let mut manifest = Manifest::new("pinflow", &progress);
        manifest.exported_at = "2026-11-30T16:00:00Z".to_owned();
        manifest.folder = "commit-000000000042-0123456789abcdef".to_owned();
        let file = manifest.file_of(&dataflows::CLEANED[1]);
        let (rows, bytes) = (3, 400);
        manifest
            .tables
            .insert("geo_table".to_owned(), TableFile { file, rows, bytes });
        manifest
    }

    #[test]
    fn the_format_is_pinned_and_read_back() {
        let manifest = manifest();
        let text = String::from_utf8(manifest.to_json()).unwrap();
        assert_eq!(
            text,
            r#"{
  "format": "pinflow-export",
  "version": 1,
  "schema": "pinflow",
  "commit": 42,
  "run": "7-8",
  "exported_at": "2026-11-30T16:00:00Z",
  "frontier": {
    "pin": {
      "0": 1234,
      "1": 0
    }
  },
  "folder": "commit-000000000042-0123456789abcdef",
  "tables": {
    "geo_table": {
      "file": "commit-000000000042-0123456789abcdef/geo_table.parquet",
      "rows": 3,
      "bytes": 400
    }
  }
}
"#
        );
        assert_eq!(Manifest::parse(text.as_bytes()), Ok(manifest.clone()));
        // a backfill can stop there
        assert_eq!(Frontier::parse(&text), Ok(manifest.frontier));
    }

    #[test]
    fn what_is_no_manifest_is_told_from_one() {
        let why = |text: &str| Manifest::parse(text.as_bytes()).unwrap_err();
        assert!(why("no json").contains("expected"), "{}", why("no json"));
        assert!(why("{}").contains("missing field `format`"), "{}", why("{}"));
        assert_eq!(why(r#"{"format":"delta","version":1}"#), "its format is `delta`");
        let later = why(r#"{"format":"pinflow-export","version":2,"files":[]}"#);
        assert_eq!(later, "its version is 2, this program knows 1");
    }

    #[test]
    fn no_two_exports_of_a_commit_share_a_folder() {
        let progress = Progress::default();
        let [one, other] = [(), ()].map(|()| Manifest::new("s", &progress));
        assert_ne!(one.folder, other.folder);
        for folder in [&one.folder, &other.folder] {
            assert!(is_export_folder(folder), "{folder}");
        }
        for other in [
            "commit-logs",
            "commit-000000000001",
            "commit-000000000001-archive",
            "commit-00000000000x-0123456789abcdef",
            "commit-000000000001-0123456789abcdef0",
            "xcommit-000000000001-0123456789abcdef",
        ] {
            assert!(!is_export_folder(other), "{other}");
        }
    }
}
