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
        let folder = root.join(CONTROL_FOLDER).join("locks");
        let path = folder.join(name);
        let failed = |source| from_io("lock", &path.display().to_string(), source);
        fs::create_dir_all(&folder).map_err(failed)?;
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(LakeLock { _file: Some(file) })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}
