//! Uploads in parts, as the tests' S3 server sees them.

use crate::Seen;
use anyhow::Result;
use std::path::Path;

/// A step of an upload in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It begins.
    Begin,
    /// The part of this number.
    Part(u32),
    /// The object is made of its parts.
    Complete,
    /// It is given up.
    GiveUp,
}

/// The step that a request is; `None` for requests of other kinds.
pub fn step(seen: &Seen<'_>) -> Option<Step> {
    let field = |name: &str| {
        let mut pairs = seen
            .query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.find_map(|(found, value)| (found == name).then_some(value))
    };
    match (seen.method.as_str(), field("uploads"), field("uploadId")) {
        ("POST", Some(_), _) => Some(Step::Begin),
        ("POST", None, Some(_)) => Some(Step::Complete),
        ("DELETE", None, Some(_)) => Some(Step::GiveUp),
        ("PUT", None, Some(_)) => Some(Step::Part(field("partNumber")?.parse().ok()?)),
        _ => None,
    }
}

/// Uploads that were neither completed nor given up: nobody sees them, and everybody pays for them.
pub fn unfinished_uploads(root: &Path) -> Result<usize> {
    let mut names = std::fs::read_dir(root)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.try_fold(0, |count, name: Result<String>| {
        Ok(count + usize::from(name?.starts_with(".upload-")))
    })
}
