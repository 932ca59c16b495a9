//! Who may come in: tokens from files, re-read when they change.
//!
//! Several tokens are valid at the same time, so that one can be replaced without a moment in which clients fail.
//! Tokens are kept and compared as SHA-256 digests, all of them, in constant time: how long a comparison takes says
//! neither how much of a token was right nor which one it was.

use super::error::GatewayError;
use super::files;
use hyper::header::{AUTHORIZATION, HeaderMap};
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};
use subtle::{Choice, ConstantTimeEq};

/// A token shorter than this is a mistake.
const SHORTEST: usize = 16;

/// The tokens; without files everybody may come in.
pub struct Tokens {
    files: Vec<PathBuf>,
    digests: RwLock<Vec<[u8; 32]>>,
}

impl Tokens {
    /// Reads the files; at the start each must hold a token.
    pub fn read(files: &[PathBuf]) -> Result<Tokens, GatewayError> {
        let digests = load(files)?;
        if digests.is_empty() && !files.is_empty() {
            let reason = "it holds no token: write one a line".to_owned();
            return Err(GatewayError::Content {
                path: files[0].clone(),
                reason,
            });
        }
        Ok(Tokens {
            files: files.to_vec(),
            digests: RwLock::new(digests),
        })
    }

    /// Reads the files again; what cannot be read leaves the tokens as they were.
    pub fn refresh(&self) {
        if self.files.is_empty() {
            return;
        }
        match load(&self.files) {
            Ok(digests) => {
                let mut current = self.digests.write().unwrap_or_else(PoisonError::into_inner);
                if *current != digests {
                    tracing::info!("{} tokens are valid now", digests.len());
                    *current = digests;
                }
            }
            Err(error) => tracing::warn!("the tokens stay as they were: {error}"),
        }
    }

    /// Whether a request with these headers may come in.
    pub fn admit(&self, headers: &HeaderMap) -> bool {
        if self.files.is_empty() {
            return true;
        }
        let bearer = headers.get(AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
        let key = headers.get("x-api-key").map(|value| value.as_bytes());
        let Some(token) = bearer.or(key) else { return false };
        let digest: [u8; 32] = Sha256::digest(token).into();
        let digests = self.digests.read().unwrap_or_else(PoisonError::into_inner);
        let found = digests
            .iter()
            .fold(Choice::from(0), |found, valid| found | valid.ct_eq(&digest));
        found.into()
    }
}

/// The token of `Bearer TOKEN`; the scheme's case does not matter.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

fn load(files: &[PathBuf]) -> Result<Vec<[u8; 32]>, GatewayError> {
    let mut digests = Vec::new();
    for path in files {
        let content = files::read(path)?;
        for line in content.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii) {
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            if line.len() < SHORTEST || !line.iter().all(u8::is_ascii_graphic) {
                let reason = format!("a token has at least {SHORTEST} visible ASCII characters and no spaces");
                return Err(GatewayError::Content {
                    path: path.clone(),
                    reason,
                });
            }
            digests.push(Sha256::digest(line).into());
        }
    }
    Ok(digests)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const OLD: &str = "old-old-old-old-1";
    const NEW: &str = "new-new-new-new-2";

    fn with(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    fn write(path: &Path, text: &str) {
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn every_token_of_every_file_opens_and_a_file_can_change() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        write(&one, &format!("# clients\n{OLD}\n\n"));
        write(&two, NEW);
        let tokens = Tokens::read(&[one.clone(), two]).unwrap();
        assert!(tokens.admit(&with("authorization", &format!("Bearer {OLD}"))));
        assert!(tokens.admit(&with("authorization", &format!("bearer  {NEW}"))));
        assert!(tokens.admit(&with("x-api-key", NEW)));
        for wrong in [
            "Bearer",
            "Bearer ",
            "Basic abc",
            &format!("Bearer {OLD}x"),
            &format!("Bearer {}", &OLD[1..]),
        ] {
            assert!(!tokens.admit(&with("authorization", wrong)), "{wrong}");
        }
        assert!(!tokens.admit(&HeaderMap::new()));
        write(&one, "");
        tokens.refresh();
        assert!(!tokens.admit(&with("x-api-key", OLD)) && tokens.admit(&with("x-api-key", NEW)));
        std::fs::remove_file(&one).unwrap();
        tokens.refresh();
        assert!(
            tokens.admit(&with("x-api-key", NEW)),
            "an unreadable file changes nothing"
        );
    }

    #[test]
    fn files_without_tokens_and_short_tokens_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        write(&path, "# nothing\n");
        assert!(Tokens::read(std::slice::from_ref(&path)).is_err());
        write(&path, "short\n");
        let error = Tokens::read(&[path]).err().unwrap().to_string();
        assert!(error.contains("at least 16") && !error.contains("short\n"), "{error}");
        assert!(Tokens::read(&[]).unwrap().admit(&HeaderMap::new()));
    }
}
