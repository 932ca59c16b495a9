//! Small files that are read again while the program runs: tokens, certificates, keys.

use super::error::GatewayError;
use std::io::Read;
use std::path::Path;

/// More than any chain of certificates or list of tokens needs.
const LIMIT: u64 = 1 << 20;

/// The whole of a small file.
#[expect(clippy::disallowed_methods, reason = "the file is read up to a limit")]
pub(super) fn read(path: &Path) -> Result<Vec<u8>, GatewayError> {
    let failed = |source| GatewayError::File {
        path: path.to_owned(),
        source,
    };
    let mut content = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(LIMIT + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > LIMIT {
        let reason = format!("it has more than {LIMIT} bytes");
        return Err(GatewayError::Content {
            path: path.to_owned(),
            reason,
        });
    }
    Ok(content)
}
