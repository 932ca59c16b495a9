//! A lake in a folder of the local file system (`file://`).

use super::availability::{Availability, RequestKind};
use super::error::{LakeError, from_io};
use super::listing::{Builder, Listing};
use super::lock::LakeLock;
use super::metadata::{MetadataMap, ObjectMetadata};
use super::name::sidecar_key;
use super::partial_file::PartialFile;
use super::request_error::RequestError;
use super::version::Version;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What the file system says of a single file or folder.
const OF_OBJECT: [io::ErrorKind; 5] = [
    io::ErrorKind::InvalidFilename,
    io::ErrorKind::InvalidInput,
    io::ErrorKind::IsADirectory,
    io::ErrorKind::NotADirectory,
    io::ErrorKind::PermissionDenied,
];
/// What it says when its server is away.
const OF_NETWORK: [io::ErrorKind; 7] = [
    io::ErrorKind::HostUnreachable,
    io::ErrorKind::Interrupted,
    io::ErrorKind::NetworkDown,
    io::ErrorKind::NotConnected,
    io::ErrorKind::ResourceBusy,
    io::ErrorKind::StaleNetworkFileHandle,
    io::ErrorKind::TimedOut,
];
/// The lock of small control objects.
const CONTROL_LOCK: &str = "control";

/// A lake in a folder. Its calls block: they run on threads that may.
#[derive(Debug)]
pub(crate) struct FileStore {
    root: PathBuf,
}

impl FileStore {
    pub(crate) fn new(root: PathBuf) -> FileStore {
        FileStore { root }
    }

    /// Walks the folder; symbolic links are followed, a folder reached twice through them is read once. What goes away
    /// during the walk (a writer's temporary names do) was not there.
    pub(crate) fn list<T: AsRef<str>>(&self, topics: &[T]) -> Result<Listing, LakeError> {
        let mut builder = Builder::new(topics);
        let mut linked = HashSet::new();
        let mut folders = vec![(self.root.clone(), String::new())];
        while let Some((folder, prefix)) = folders.pop() {
            let failed = |source| from_io("list", &folder.display().to_string(), source);
            let entries = match fs::read_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if prefix.is_empty() {
                        return Err(self.absent());
                    }
                    continue;
                }
                entries => entries.map_err(failed)?,
            };
            for entry in entries {
                let entry = entry.map_err(failed)?;
                let path = entry.path();
                let name = entry.file_name();
                let Some(name) = name.to_str() else {
                    builder.ignore(&path.to_string_lossy());
                    continue;
                };
                let key = format!("{prefix}{name}");
                let mut metadata = match entry.metadata() {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    metadata => metadata.map_err(failed)?,
                };
                if metadata.is_symlink() {
                    // A dangling link is not an object of the lake.
                    let (Ok(target), Ok(real)) = (fs::metadata(&path), fs::canonicalize(&path)) else {
                        builder.ignore(&key);
                        continue;
                    };
                    metadata = target;
                    if metadata.is_dir() && !linked.insert(real) {
                        continue;
                    }
                }
                if metadata.is_dir() {
                    folders.push((path, key + "/"))
                } else {
                    builder.add(&key, metadata.len(), None)
                }
            }
        }
        Ok(builder.finish())
    }

    /// Opens an object for reading.
    pub(crate) fn open(&self, key: &str) -> Result<File, LakeError> {
        File::open(self.root.join(key)).map_err(|source| from_io("read", key, source))
    }

    /// A small object's bytes; `None` when there is none.
    #[expect(clippy::disallowed_methods, reason = "takes no more than the limit")]
    pub(crate) fn get_small(&self, key: &str, limit: u64) -> Result<Option<Vec<u8>>, LakeError> {
        let path = self.path(key)?;
        let failed = |source| from_io("read", key, source);
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed)?,
        };
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > limit {
            Err(LakeError::TooLarge {
                object: key.to_string(),
                limit,
            })
        } else {
            Ok(Some(bytes))
        }
    }

    /// The sidecar of an object, when there is one.
    pub(crate) fn metadata(&self, key: &str, limit: u64) -> Result<Option<ObjectMetadata>, LakeError> {
        match self.get_small(&sidecar_key(key), limit)? {
            Some(bytes) => parse_sidecar(key, &bytes).map(Some),
            None => Ok(None),
        }
    }

    /// The sidecar of an object that was opened and was listed with one. A sidecar is written before its object, so of one
    /// that is being replaced the old content may stand beside the new sidecar: the length tells them apart, and at the
    /// end of the content the checksum. The other way round the opened file is no longer the one of that name.
    pub(crate) fn metadata_of(&self, key: &str, file: &File, limit: u64) -> Result<Option<ObjectMetadata>, LakeError> {
        let failed = |source| from_io("read", key, source);
        let metadata = self.metadata(key, limit)?;
        let opened = file.metadata().map_err(failed)?;
        let named = fs::metadata(self.root.join(key)).map_err(failed)?;
        // it was listed with a sidecar, so without one it is another version
        if metadata.is_none() || (opened.dev(), opened.ino()) != (named.dev(), named.ino()) {
            return Err(LakeError::Changed {
                object: key.to_string(),
            });
        }
        if let Some(metadata) = &metadata {
            metadata.check_length(key, opened.len())?;
        }
        Ok(metadata)
    }

    /// Writes an object so that a reader sees all of it or none: the sidecar first, so that no object stands without
    /// the metadata it was written with.
    pub(crate) fn put(&self, key: &str, bytes: &[u8], metadata: &MetadataMap) -> Result<(), LakeError> {
        let path = self.path(key)?;
        let failed = |source| from_io("write", key, source);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let sidecar = self.root.join(sidecar_key(key));
        if !metadata.is_empty() {
            let json = serde_json::to_vec(metadata).map_err(|error| failed(error.into()))?;
            write_whole(&sidecar, &json).map_err(failed)?;
        } else if let Err(error) = fs::remove_file(&sidecar)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(failed(error));
        }
        write_whole(&path, bytes).map_err(failed)
    }

    /// Writes an object under a name that is still free; whether it was. The sidecar comes first here too: one that
    /// a crash has left alone belongs to no object and is written over.
    pub(crate) fn put_new(&self, key: &str, bytes: &[u8], metadata: &MetadataMap) -> Result<bool, LakeError> {
        let path = self.path(key)?;
        let failed = |source| from_io("write", key, source);
        if path.try_exists().map_err(failed)? {
            return Ok(false);
        }
        self.put(key, bytes, metadata)?;
        Ok(true)
    }

    /// Writes a small object if what stands there is what was expected; whether it was written. All writers of this
    /// kind exclude each other.
    pub(crate) fn put_if(
        &self,
        key: &str,
        bytes: &[u8],
        expected: Option<&Version>,
        limit: u64,
    ) -> Result<bool, LakeError> {
        let Some(_lock) = LakeLock::take(&self.root, CONTROL_LOCK)? else {
            // another writer has it for a moment: asked for again, as what passes
            return Err(LakeError::Io {
                action: "lock",
                object: key.to_string(),
                source: io::ErrorKind::ResourceBusy.into(),
            });
        };
        let found = self.get_small(key, limit)?;
        let same = match (&found, expected) {
            (None, None) => true,
            (Some(found), Some(expected)) => Version::of(found, None).same_content(expected),
            _ => false,
        };
        if !same {
            return Ok(false);
        }
        self.put(key, bytes, &MetadataMap::new())?;
        Ok(true)
    }

    /// Begins an object that is written piece by piece, and its folder.
    pub(super) fn create(&self, key: &str) -> Result<PartialFile, LakeError> {
        let path = self.path(key)?;
        let failed = |source| from_io("write", key, source);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        PartialFile::create(&path).map_err(failed)
    }

    /// The folders that stand directly under the root and begin with `prefix`, in order, at most `limit`; none without
    /// the root.
    pub(super) fn folders(&self, prefix: &str, limit: usize) -> Result<Vec<String>, LakeError> {
        let failed = |source| from_io("list", &self.root.display().to_string(), source);
        let mut folders = Vec::new();
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(folders),
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if let Some(name) = name.to_str().filter(|name| name.starts_with(prefix))
                && entry.file_type().map_err(failed)?.is_dir()
            {
                folders.push(name.to_owned());
            }
        }
        folders.sort();
        folders.truncate(limit);
        Ok(folders)
    }

    /// Removes a folder with everything in it; one that does not exist is no error.
    pub(super) fn remove_folder(&self, folder: &str) -> Result<(), LakeError> {
        match fs::remove_dir_all(self.path(folder)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(from_io("remove", folder, error)),
            _ => Ok(()),
        }
    }

    /// Whether there is such an object.
    pub(crate) fn exists(&self, key: &str) -> Result<bool, LakeError> {
        let failed = |source| from_io("look at", key, source);
        self.path(key)?.try_exists().map_err(failed)
    }

    /// Removes an object, then its sidecar.
    pub(crate) fn delete(&self, key: &str) -> Result<(), LakeError> {
        for path in [self.path(key)?, self.root.join(sidecar_key(key))] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(from_io("remove", key, error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// What may pass of a failure; the error when it will not.
    ///
    /// Errors of the disk and of the network below it are waited for. What concerns a single object is only believed
    /// when the lake's folder is there and holds something: an unmounted folder is empty, and none of its objects lost.
    pub(crate) fn transient_cause(
        &self,
        availability: &Availability,
        kind: RequestKind,
        error: LakeError,
    ) -> Result<RequestError, LakeError> {
        match &error {
            LakeError::NoLake { .. } if availability.has_answered() => {
                return Ok(RequestError::Other("the folder is gone"));
            }
            LakeError::Missing { .. } if kind == RequestKind::Object => {}
            LakeError::Io { source, .. } => {
                let of_object = OF_OBJECT.contains(&source.kind());
                let passes = match kind {
                    RequestKind::Listing => availability.has_answered() || !of_object,
                    RequestKind::Object => !of_object,
                    RequestKind::Change => OF_NETWORK.contains(&source.kind()),
                };
                match error {
                    LakeError::Io { source, .. } if passes => return Ok(source.into()),
                    error if kind != RequestKind::Object => return Err(error),
                    _ => {}
                }
            }
            _ => return Err(error),
        }
        let holds_something = fs::read_dir(&self.root).is_ok_and(|mut entries| entries.next().is_some());
        match (holds_something, error) {
            (true, LakeError::Io { source, object, .. }) => Err(LakeError::Inaccessible {
                object,
                source: source.into(),
            }),
            (true, missing) => Err(missing),
            (false, _) if availability.has_answered() => Ok(RequestError::Other("the folder is gone, or empty")),
            (false, _) => Err(self.absent()),
        }
    }

    fn absent(&self) -> LakeError {
        LakeError::NoLake {
            action: "list",
            object: self.root.display().to_string(),
        }
    }

    fn path(&self, key: &str) -> Result<PathBuf, LakeError> {
        let plain = !key.is_empty() && key.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if plain {
            Ok(self.root.join(key))
        } else {
            Err(LakeError::Key {
                object: key.to_string(),
            })
        }
    }
}

/// Reads a sidecar's JSON.
pub(crate) fn parse_sidecar(key: &str, bytes: &[u8]) -> Result<ObjectMetadata, LakeError> {
    let map: MetadataMap = serde_json::from_slice(bytes).map_err(|error| LakeError::Metadata {
        object: key.to_string(),
        source: error.into(),
    })?;
    ObjectMetadata::from_map(key, &map)
}

/// Survives a crash as a whole or not at all.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = PartialFile::create(path)?;
    file.write(bytes)?;
    file.finish()
}
