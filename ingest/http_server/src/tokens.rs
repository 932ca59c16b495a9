//! Authentication: tokens from files, re-read when they change, each with its scopes and its rate.
//!
//! Several tokens are valid at the same time, so that one can be replaced without a moment in which clients fail.
//! Tokens are kept and compared as SHA-256 digests, all of them, in constant time: how long a comparison takes says
//! neither how much of a token was right nor which one it was.
//!
//! A file that is gone, or that others may read, opens nothing any more: what is not known to be valid is not.

use super::caller::{Caller, Token};
use super::credentials::Credentials;
use super::error::ServerError;
use super::rate::Rate;
use super::token_file::{self, Entry, Secret, TokenFile};
use hyper::header::HeaderMap;
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use subtle::ConstantTimeEq;

/// Where tokens come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenSettings {
    /// The files; none: no token is required.
    pub files: Vec<PathBuf>,
    /// Whether files of tokens, and a TLS key, are taken that others may read or change.
    pub exposed: bool,
    /// What each token may send whose line does not say it.
    pub rate: Option<Rate>,
}

/// The tokens; without files none is required.
#[derive(Debug)]
pub struct Tokens {
    settings: TokenSettings,
    sources: Mutex<Vec<Source>>,
    current: RwLock<Vec<Arc<Token>>>,
}

/// A file as it was read last.
#[derive(Debug)]
struct Source {
    path: PathBuf,
    entries: Vec<Entry>,
    /// Of what was read last, whether it counts already or not.
    digest: Option<[u8; 32]>,
    /// What was said about it.
    said: Option<String>,
}

impl Tokens {
    /// Reads the files; at the start all of them have to be right, and hold a token.
    pub fn read(settings: &TokenSettings) -> Result<Tokens, ServerError> {
        let mut sources = Vec::with_capacity(settings.files.len());
        for path in &settings.files {
            let wrong = |reason| ServerError::Content {
                path: path.clone(),
                reason,
            };
            let TokenFile {
                entries,
                wrong: lines,
                digest,
            } = token_file::read(path, settings.exposed)?;
            if let Some(first) = lines.first() {
                return Err(wrong(format!("line {}: {}", first.line, first.reason)));
            }
            sources.push(Source {
                path: path.clone(),
                entries,
                digest: Some(digest),
                said: None,
            });
            if let (_, Some(name)) = join(&sources) {
                return Err(wrong(format!(
                    "token {name} is defined twice with different scopes, rate or secret"
                )));
            }
        }
        if let Some(first) = sources.first()
            && sources.iter().all(|source| source.entries.is_empty())
        {
            return Err(ServerError::Content {
                path: first.path.clone(),
                reason: "it holds no token: write one a line".to_owned(),
            });
        }
        let tokens = Tokens {
            settings: settings.clone(),
            current: RwLock::default(),
            sources: Mutex::new(sources),
        };
        tokens.set(&tokens.sources.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(tokens)
    }

    /// Whether a token is required.
    pub fn are_asked_for(&self) -> bool {
        !self.settings.files.is_empty()
    }

    /// Reads the files again. What a file no longer says is no longer valid, also when there is no such file any more;
    /// a line that is wrong is left out. What is new counts when it is there twice in a row: a file that is being written
    /// may end in the middle of a line, and a token without its scopes has all of them.
    pub fn refresh(&self) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        for source in sources.iter_mut() {
            let path = source.path.display();
            let said = match token_file::read(&source.path, self.settings.exposed) {
                Ok(file) if source.digest != Some(file.digest) => {
                    source.digest = Some(file.digest);
                    source
                        .entries
                        .retain(|known| file.entries.iter().any(|entry| entry.is_same(known)));
                    continue;
                }
                Ok(TokenFile { entries, wrong, .. }) => {
                    source.entries = entries;
                    let first = wrong.first();
                    first.map(|first| format!("{path}: line {} is left out: {}", first.line, first.reason))
                }
                Err(error) if is_of_this_process(&error) => Some(format!(
                    "the tokens of {path} stay as they were: {}",
                    causes::with_causes(&error)
                )),
                Err(error) => {
                    source.entries.clear();
                    source.digest = None;
                    Some(format!(
                        "the tokens of {path} open nothing any more: {}",
                        causes::with_causes(&error)
                    ))
                }
            };
            if let Some(text) = said.as_ref().filter(|_| said != source.said) {
                tracing::warn!("{text}");
            }
            source.said = said;
        }
        self.set(&sources);
    }

    /// Makes these the valid tokens; one that stays as it was keeps what is left of its rate.
    fn set(&self, sources: &[Source]) {
        let (entries, twice) = join(sources);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let token = |entry: &&Entry| {
            let known = current.iter().find(|token| token.entry().is_same(entry));
            known.map_or_else(
                || Arc::new(Token::new((*entry).clone(), self.settings.rate)),
                Arc::clone,
            )
        };
        let fresh: Vec<Arc<Token>> = entries.iter().map(token).collect();
        let same = fresh.len() == current.len() && fresh.iter().zip(&*current).all(|(a, b)| Arc::ptr_eq(a, b));
        if !same {
            if let Some(name) = twice {
                tracing::warn!("token {name} is defined twice with different scopes, rate or secret and is ignored");
            }
            let gone = |token: &&Arc<Token>| !fresh.iter().any(|other| Arc::ptr_eq(other, token));
            for token in current.iter().filter(gone) {
                token.revoke();
            }
            tracing::info!("{} tokens are valid", fresh.len());
            *current = fresh;
        }
    }

    /// Who sends a request with these headers, if it is authenticated.
    pub fn caller(&self, headers: &HeaderMap) -> Option<Caller> {
        if !self.are_asked_for() {
            return Some(Caller::Anyone);
        }
        let credentials = Credentials::of(headers)?;
        let digest: [u8; 32] = Sha256::digest(&credentials.token).into();
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = None;
        for token in current.iter() {
            // the id of an access key is no secret
            if token.entry().secret.is_none() && token.entry().digest.ct_eq(&digest).into() {
                found = Some(token);
            }
        }
        let found = found.filter(|token| credentials.may_be_of(token.entry()));
        found.map(|token| Caller::Token(Arc::clone(token)))
    }

    /// The access key with this id: whose it is, and what its requests are signed with.
    pub(super) fn access_key(&self, id: &str) -> Option<(Caller, Secret)> {
        let digest: [u8; 32] = Sha256::digest(id).into();
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let token = current.iter().find(|token| token.entry().digest == digest)?;
        let secret = token.entry().secret.clone()?;
        Some((Caller::Token(Arc::clone(token)), secret))
    }
}

/// Each token once, and the name of one that two lines describe differently: it is left out, since it is unknown which
/// of them is meant.
fn join(sources: &[Source]) -> (Vec<&Entry>, Option<&str>) {
    let all: Vec<&Entry> = sources.iter().flat_map(|source| &source.entries).collect();
    let (mut entries, mut twice): (Vec<&Entry>, _) = (Vec::with_capacity(all.len()), None);
    for entry in &all {
        let differs = |other: &&&Entry| other.digest == entry.digest && !other.agrees(entry);
        if all.iter().any(|other| differs(&other)) {
            twice = Some(entry.name.as_str());
        } else if !entries.iter().any(|other| other.digest == entry.digest) {
            entries.push(entry);
        }
    }
    (entries, twice)
}

/// Whether a file could not be read for lack of something of ours, so that nothing was learned about it.
fn is_of_this_process(error: &ServerError) -> bool {
    let ServerError::File { source, .. } = error else {
        return false;
    };
    let ours = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::INTR];
    Errno::from_io_error(source).is_some_and(|errno| ours.contains(&errno))
}

#[cfg(test)]
mod tests {
    use super::super::scope::Need;
    use super::*;
    use std::os::unix::fs::PermissionsExt;
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
        set_mode(path, 0o600);
    }

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn read(files: &[&Path]) -> Result<Tokens, ServerError> {
        Tokens::read(&TokenSettings {
            files: files.iter().map(|path| path.to_path_buf()).collect(),
            ..TokenSettings::default()
        })
    }

    fn opens(tokens: &Tokens, token: &str) -> bool {
        tokens.caller(&with("x-api-key", token)).is_some()
    }

    #[test]
    fn every_token_of_every_file_opens_and_a_file_can_change() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        write(&one, &format!("# clients\n{OLD}\n\n"));
        write(&two, NEW);
        let tokens = read(&[&one, &two]).unwrap();
        let admits = |headers: &HeaderMap| tokens.caller(headers).is_some();
        assert!(admits(&with("authorization", &format!("Bearer {OLD}"))));
        assert!(admits(&with("authorization", &format!("bearer  {NEW}"))));
        assert!(opens(&tokens, NEW));
        for wrong in [
            "Bearer",
            "Bearer ",
            "Basic abc",
            &format!("Bearer {OLD}x"),
            &format!("Bearer {}", &OLD[1..]),
        ] {
            assert!(!admits(&with("authorization", wrong)), "{wrong}");
        }
        assert!(!admits(&HeaderMap::new()));
        write(&one, "");
        tokens.refresh();
        assert!(!opens(&tokens, OLD) && opens(&tokens, NEW));
        write(&one, &format!("short\n{OLD}"));
        tokens.refresh();
        assert!(!opens(&tokens, OLD), "it may be half of a line");
        tokens.refresh();
        assert!(opens(&tokens, OLD), "a wrong line is left out alone");
    }

    fn refresh_twice(tokens: &Tokens) {
        tokens.refresh();
        tokens.refresh();
    }

    #[test]
    fn a_file_that_is_gone_or_exposed_opens_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        write(&one, OLD);
        write(&two, NEW);
        let tokens = read(&[&one, &two]).unwrap();
        std::fs::remove_file(&one).unwrap();
        tokens.refresh();
        assert!(!opens(&tokens, OLD) && opens(&tokens, NEW));
        std::fs::remove_file(&two).unwrap();
        tokens.refresh();
        assert!(
            !opens(&tokens, NEW) && tokens.caller(&HeaderMap::new()).is_none(),
            "no file is not no tokens"
        );
        write(&one, OLD);
        refresh_twice(&tokens);
        assert!(opens(&tokens, OLD));
        for mode in [0o604, 0o602, 0o620, 0o644, 0o666] {
            set_mode(&one, mode);
            tokens.refresh();
            assert!(!opens(&tokens, OLD), "{mode:o}");
            let error = read(&[&one]).unwrap_err().to_string();
            assert!(
                error.contains("--insecure") && error.contains(&format!("{mode:04o}")),
                "{error}"
            );
        }
        for mode in [0o400, 0o440, 0o640] {
            set_mode(&one, mode);
            refresh_twice(&tokens);
            assert!(opens(&tokens, OLD) && read(&[&one]).is_ok(), "{mode:o}");
        }
        // the mode of the file counts, not that of a link to it
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&one, &link).unwrap();
        assert!(read(&[&link]).is_ok());
        set_mode(&one, 0o644);
        assert!(read(&[&link]).is_err());
        let exposed = TokenSettings {
            files: vec![link],
            exposed: true,
            rate: None,
        };
        assert!(Tokens::read(&exposed).is_ok());
    }

    #[test]
    fn files_without_tokens_and_short_tokens_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("tokens"), folder.path().join("other"));
        write(&path, "# nothing\n");
        assert!(read(&[&path]).is_err());
        write(&path, "\nshort\n");
        let error = read(&[&path]).unwrap_err().to_string();
        assert!(
            error.contains("line 2: a token has at least 16") && !error.contains("short"),
            "{error}"
        );
        assert!(read(&[]).unwrap().caller(&HeaderMap::new()).is_some());
        // the same twice says nothing new, unless it says something else
        write(&path, &format!("{OLD} name=a\n{OLD} name=b\n"));
        write(&other, &format!("{OLD} scopes=read\n"));
        assert!(read(&[&path]).is_ok());
        let error = read(&[&path, &other]).unwrap_err().to_string();
        assert!(
            error.contains("is defined twice with different scopes, rate or secret") && !error.contains(OLD),
            "{error}"
        );
    }

    #[test]
    fn a_token_has_a_name_scopes_and_a_rate_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        write(
            &path,
            &format!("{OLD} name=mobile scopes=produce:*.pin rate=1\n{NEW}\n"),
        );
        let settings = TokenSettings {
            files: vec![path.clone()],
            exposed: false,
            rate: Rate::new(2),
        };
        let tokens = Tokens::read(&settings).unwrap();
        let caller = |token: &str| tokens.caller(&with("x-api-key", token)).unwrap();
        let (old, new) = (caller(OLD), caller(NEW));
        assert_eq!((old.name(), new.name()), (Some("mobile"), Some("tokens:2")));
        assert!(old.may(Need::Produce("u.pin")) && !old.may(Need::Produce("u.geo")) && !old.may(Need::Read));
        for need in [Need::Produce("x"), Need::Read, Need::Raw, Need::Metrics, Need::Admin] {
            assert!(new.may(need) && Caller::Anyone.may(need));
        }
        assert!(old.take().is_ok() && old.take().is_err());
        assert!(new.take().is_ok() && new.take().is_ok() && new.take().is_err());
        new.charge(1000);
        // reading the file again gives nothing back
        write(
            &path,
            &format!("{OLD} name=mobile scopes=produce:*.pin rate=1\n{NEW}\n# more\n"),
        );
        tokens.refresh();
        assert!(caller(NEW).take().is_err() && new.is_valid() && old.is_valid());
        // narrower scopes hold as soon as they are believed, wider ones no longer than until then
        write(&path, &format!("{OLD} name=mobile scopes=metrics\n"));
        tokens.refresh();
        assert!(!old.is_valid() && !new.is_valid());
        tokens.refresh();
        assert!(!caller(OLD).may(Need::Produce("u.pin")) && caller(OLD).may(Need::Metrics));
        assert!(!old.is_valid() && !new.is_valid() && caller(OLD).is_valid());
    }
}
