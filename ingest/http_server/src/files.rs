//! Small files that are read again while the program runs: tokens, certificates, keys.

use super::error::ServerError;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// More than any chain of certificates or list of tokens needs.
const LIMIT: u64 = 1 << 20;

/// Permission bits that a secret must not have: only its owner may use it, and its group read it.
const EXPOSED: u32 = 0o027;

/// The whole of a small file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, ServerError> {
    content(path, File::open(path).map_err(failed(path))?)
}

/// The same of a file that others may neither read nor change, unless it may be `exposed`.
pub(super) fn read_secret(path: &Path, exposed: bool) -> Result<Vec<u8>, ServerError> {
    let file = File::open(path).map_err(failed(path))?;
    // of the file that is read, whatever links lead to it
    let mode = file.metadata().map_err(failed(path))?.permissions().mode() & 0o7777;
    if !exposed && mode & EXPOSED != 0 {
        let path = path.to_owned();
        return Err(ServerError::Exposed { path, mode });
    }
    content(path, file)
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> ServerError {
    move |source| ServerError::File {
        path: path.to_owned(),
        source,
    }
}

#[expect(clippy::disallowed_methods, reason = "the file is read up to a limit")]
fn content(path: &Path, file: File) -> Result<Vec<u8>, ServerError> {
    let mut content = Vec::new();
    file.take(LIMIT + 1).read_to_end(&mut content).map_err(failed(path))?;
    if content.len() as u64 > LIMIT {
        let reason = format!("it has more than {LIMIT} bytes");
        return Err(ServerError::Content {
            path: path.to_owned(),
            reason,
        });
    }
    Ok(content)
}
