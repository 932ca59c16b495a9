//! Reads values of the effective configuration, and collects what is wrong with them instead of stopping at the first.

use super::keys;
use super::layers::{Effective, Entry, without_secrets};
use super::problem::{ConfigError, Problem, did_you_mean, nearest};
use std::path::PathBuf;

/// Reads values of the effective configuration and collects what is wrong with them.
pub(super) struct Reader<'a> {
    effective: &'a Effective,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(effective: &'a Effective) -> Self {
        Reader {
            effective,
            problems: Vec::new(),
        }
    }

    pub(super) fn done<T>(self, settings: T) -> Result<T, ConfigError> {
        if self.problems.is_empty() {
            Ok(settings)
        } else {
            Err(ConfigError(self.problems))
        }
    }

    /// What is wrong, when what is needed is not there.
    pub(super) fn refuse<T>(self) -> Result<T, ConfigError> {
        debug_assert!(!self.problems.is_empty(), "what is not there has not been reported");
        Err(ConfigError(self.problems))
    }

    /// A value is wrong: names its key and its origin.
    pub(super) fn wrong(&mut self, path: &str, entry: &Entry, message: String) {
        let at = if entry.origin.is_flag() {
            entry.origin.to_string()
        } else {
            format!("{}: {path}", entry.origin)
        };
        let message = without_secrets(message, path, &entry.value);
        self.problems.push(Problem { at, message });
    }

    /// Something is missing, or two values do not go together.
    pub(super) fn missing(&mut self, message: String) {
        self.problems.push(Problem {
            at: String::new(),
            message,
        });
    }

    pub(super) fn entry(&self, path: &str) -> Option<&'a Entry> {
        debug_assert!(keys::find(path).is_some(), "{path} is not a key");
        self.effective.get(path)
    }

    pub(super) fn optional<T>(&mut self, path: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let entry = self.entry(path)?;
        match parse(entry.value.as_str().unwrap_or_default()) {
            Ok(value) => Some(value),
            Err(message) => {
                self.wrong(path, entry, message);
                None
            }
        }
    }

    /// One of a few words.
    pub(super) fn choice(&mut self, path: &str, words: [&str; 2]) -> bool {
        let chosen = self.optional(path, |text| match words.iter().position(|word| *word == text) {
            Some(index) => Ok(index == 0),
            None => Err(format!(
                "invalid value `{text}`: expected {} or {}{}",
                words[0],
                words[1],
                did_you_mean(nearest(text, words))
            )),
        });
        chosen.unwrap_or(true)
    }

    pub(super) fn switch(&mut self, path: &str) -> bool {
        self.entry(path)
            .and_then(|entry| entry.value.as_bool())
            .unwrap_or(false)
    }

    pub(super) fn optional_whole(&mut self, path: &str, least: i64, most: i64) -> Option<i64> {
        let entry = self.entry(path)?;
        let number = entry.value.as_integer().unwrap_or(least);
        if !(least..=most).contains(&number) {
            self.wrong(
                path,
                entry,
                format!("{number} is out of range: expected {least} to {most}"),
            );
        }
        Some(number.clamp(least, most))
    }

    pub(super) fn whole(&mut self, path: &str, least: i64, most: i64) -> i64 {
        self.optional_whole(path, least, most).unwrap_or(least)
    }

    /// The items of a list.
    pub(super) fn list<T>(&mut self, path: &str, parse: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let Some(entry) = self.entry(path) else {
            return Vec::new();
        };
        let mut items = Vec::new();
        for item in entry.value.as_array().into_iter().flatten() {
            match parse(item.as_str().unwrap_or_default()) {
                Ok(item) => items.push(item),
                Err(message) => self.wrong(path, entry, message),
            }
        }
        items
    }

    /// The first of a list of files.
    pub(super) fn first_path(&self, path: &str) -> Option<PathBuf> {
        let files = self.entry(path)?.value.as_array()?;
        files.first()?.as_str().map(PathBuf::from)
    }

    /// The names of a map with their values.
    pub(super) fn map<T>(&mut self, path: &str, parse: impl Fn(&str) -> Result<T, String>) -> Vec<(String, T)> {
        let mut items = Vec::new();
        for (name, entry) in self.effective.map(path) {
            match parse(entry.value.as_str().unwrap_or_default()) {
                Ok(value) => items.push((name.to_owned(), value)),
                Err(message) => self.wrong(&format!("{path}.{name}"), entry, message),
            }
        }
        items
    }

    pub(super) fn fraction(&mut self, path: &str) -> f64 {
        let Some(entry) = self.entry(path) else { return 0.0 };
        let number = entry.value.as_float().unwrap_or(0.0);
        if !(0.0..=1.0).contains(&number) {
            self.wrong(path, entry, format!("{number} is out of range: expected 0 to 1"));
        }
        number
    }

    /// A value that a command cannot do without; one that is there and wrong has been reported as such.
    pub(super) fn need<T>(&mut self, path: &str, value: Option<T>, message: String) -> Option<T> {
        if value.is_none() && self.entry(path).is_none() {
            self.missing(message);
        }
        value
    }

    /// The entries of a map.
    pub(super) fn entries(&self, path: &'a str) -> impl Iterator<Item = (&'a str, &'a Entry)> + use<'a> {
        self.effective.map(path)
    }

    /// The entry of a key or of one in a map.
    pub(super) fn entry_of(&self, path: &str) -> Option<&'a Entry> {
        self.effective.get(path)
    }
}
