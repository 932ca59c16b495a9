//! Locks on a `file://` lake: a file under `_pinflow/locks`, locked by the operating system, so that the lock of a
//! process that died is free. S3 has none; there a write is refused that would replace an object.

use super::error::{LakeError, from_io};
use super::name::CONTROL_FOLDER;
use std::fs::{self, File, TryLockError};
use std::path::Path;

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub struct LakeLock {
    _file: Option<File>,
}

impl LakeLock {
    /// The lock of a store that has none.
    pub(crate) fn none() -> LakeLock {
        LakeLock { _file: None }
    }

    /// Takes the lock, unless another process has it.
    pub(crate) fn take(root: &Path, name: &str) -> Result<Option<LakeLock>, LakeError> {
        let file = open(root, name)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(LakeLock { _file: Some(file) })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(from_io("lock", name, source)),
        }
    }

    /// Takes the lock as soon as no other thread and no other process has it; blocks until then.
    pub(crate) fn wait(root: &Path, name: &str) -> Result<LakeLock, LakeError> {
        let file = open(root, name)?;
        file.lock().map_err(|source| from_io("lock", name, source))?;
        Ok(LakeLock { _file: Some(file) })
    }
}

fn open(root: &Path, name: &str) -> Result<File, LakeError> {
    let folder = root.join(CONTROL_FOLDER).join("locks");
    let path = folder.join(name);
    let failed = |source| from_io("lock", &path.display().to_string(), source);
    fs::create_dir_all(&folder).map_err(failed)?;
    let mut options = File::options();
    options.create(true).truncate(false).write(true);
    options.open(&path).map_err(failed)
}
