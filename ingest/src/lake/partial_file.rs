//! A file that a reader sees as a whole or not at all: written under a temporary name, synced, renamed.

use super::retry;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file under its temporary name, which goes with it unless it is given its own.
#[derive(Debug)]
pub(super) struct PartialFile {
    path: PathBuf,
    temporary: PathBuf,
    file: File,
    named: bool,
}

impl PartialFile {
    /// Begins a file beside the one that it will be.
    pub(super) fn create(path: &Path) -> io::Result<PartialFile> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".{:016x}.tmp", retry::random()));
        let temporary = PathBuf::from(temporary);
        Ok(PartialFile {
            file: File::create(&temporary)?,
            path: path.to_owned(),
            temporary,
            named: false,
        })
    }

    /// Appends bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Gives it its name, in the place of what stood there. It survives a crash as a whole or not at all.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.file.sync_data()?;
        fs::rename(&self.temporary, &self.path)?;
        self.named = true;
        // the name is durable when its folder is
        self.path
            .parent()
            .map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        if !self.named {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}
