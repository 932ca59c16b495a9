//! The folder or bucket that is written to, and who may replace its manifest.
//!
//! The manifest is read before the snapshot of the tables begins, and replaced only in that version. When it was replaced
//! meanwhile, another export ran at the same time, and the later commit stays. So the target never goes back to an earlier
//! commit because of an export that took longer; it does go back with the tables, when these were made anew.

use super::error::ExportError;
use super::manifest::{FOLDER_PREFIX, MANIFEST, Manifest};
use super::options::Options;
use causes::with_causes;
use ingest::lake::{Lake, ObjectWriter, Version};

/// How often a manifest that others replace is tried to be replaced.
const ATTEMPTS: usize = 16;

/// The folder or bucket.
pub(crate) struct Target {
    lake: Lake,
    part_bytes: usize,
}

/// What stands at the target.
#[derive(Clone)]
pub(crate) enum Standing {
    /// No export.
    Nothing,
    /// An export, and the version of its manifest.
    Export(Box<Manifest>, Version),
}

impl Standing {
    fn version(&self) -> Option<&Version> {
        match self {
            Standing::Nothing => None,
            Standing::Export(_, version) => Some(version),
        }
    }

    /// The folder that the manifest names.
    pub(crate) fn folder(&self) -> Option<&str> {
        match self {
            Standing::Nothing => None,
            Standing::Export(manifest, _) => Some(&manifest.folder),
        }
    }
}

/// Whose manifest stands in the end.
pub(crate) enum Published {
    /// Ours, in the place of the export in this folder.
    Ours {
        /// The folder.
        replaced: Option<String>,
    },
    /// Another one's, of this commit.
    Theirs {
        /// The commit.
        commit: i64,
        /// Ours may have stood meanwhile, without an answer that said so: readers may have found its files.
        may_have_stood: bool,
    },
}

impl Target {
    /// Opens the target; a bucket has to be there, a folder is made when something is written to it.
    pub(crate) async fn open(options: &Options) -> Result<Target, ExportError> {
        let lake = Lake::open(options.to.clone(), options.to_options.clone()).await?;
        // whether there is such a place is asked now, not when everything is written
        lake.folders(FOLDER_PREFIX).await?;
        Ok(Target {
            lake,
            part_bytes: options.part_bytes,
        })
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        self.lake.url().to_string()
    }

    /// The store.
    pub(crate) fn lake(&self) -> &Lake {
        &self.lake
    }

    /// What stands here. Anything but an export of this schema is refused.
    pub(crate) async fn standing(&self, schema: &str) -> Result<Standing, ExportError> {
        let Some((bytes, version)) = self.lake.get_versioned(MANIFEST).await? else {
            return Ok(Standing::Nothing);
        };
        let manifest = Manifest::parse(&bytes).map_err(|why| ExportError::NotAnExport {
            url: self.url(),
            manifest: MANIFEST,
            why,
        })?;
        if manifest.schema != schema {
            return Err(ExportError::OtherSchema {
                url: self.url(),
                found: manifest.schema,
                schema: schema.to_owned(),
                manifest: MANIFEST,
            });
        }
        Ok(Standing::Export(Box::new(manifest), version))
    }

    /// Begins a file.
    pub(crate) async fn create(&self, key: &str) -> Result<ObjectWriter, ExportError> {
        Ok(self.lake.create(key, self.part_bytes).await?)
    }

    /// Replaces what stood here with this manifest. After an error it may stand nevertheless: the answer that said so may
    /// have been lost.
    pub(crate) async fn publish(&self, manifest: &Manifest, stood: Standing) -> Result<Published, ExportError> {
        let bytes = manifest.to_json();
        let mut standing = stood;
        for attempt in 0..ATTEMPTS {
            let replaced = standing.folder().map(str::to_owned);
            let now = self.standing(&manifest.schema).await?;
            match &now {
                // the answer to our own write was lost
                Standing::Export(found, _) if found.folder == manifest.folder => {
                    return Ok(Published::Ours { replaced });
                }
                Standing::Export(found, version)
                    if Some(version) != standing.version() && found.commit >= manifest.commit =>
                {
                    return Ok(Published::Theirs {
                        commit: found.commit,
                        may_have_stood: attempt > 0,
                    });
                }
                _ => standing = now,
            }
            self.demand_files(manifest).await?;
            if self.lake.put_if(MANIFEST, bytes.clone(), standing.version()).await? {
                let replaced = standing.folder().map(str::to_owned);
                return Ok(Published::Ours { replaced });
            }
        }
        Err(ExportError::Contended {
            url: self.url(),
            times: ATTEMPTS,
        })
    }

    /// A manifest names only files that are there.
    async fn demand_files(&self, manifest: &Manifest) -> Result<(), ExportError> {
        for file in manifest.tables.values() {
            if self.lake.look_at(&file.file).await?.is_none() {
                return Err(ExportError::Vanished { key: file.file.clone() });
            }
        }
        Ok(())
    }

    /// Removes the folder of an export that is not published.
    pub(crate) async fn discard(&self, folder: &str) {
        if let Err(error) = self.lake.remove_folder(folder).await {
            tracing::warn!(
                "{}/{folder} stays for now, a later export removes it: {}",
                self.url(),
                with_causes(&error)
            );
        }
    }
}
