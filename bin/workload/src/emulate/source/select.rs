//! Which rows of the tables are sent.

use super::super::options::EmulateOptions;
use super::super::python::ClassicRows;

/// The kinds that are sent.
pub(super) fn kinds(options: &EmulateOptions) -> impl Iterator<Item = usize> + '_ {
    (0..3).filter(|kind| options.topics[*kind].is_some())
}

/// The rows of the classic emulator's rounds.
pub(super) fn classic_rows(options: &EmulateOptions) -> impl Iterator<Item = u64> + Send + use<> {
    let rounds = options.posts.unwrap_or(u64::MAX);
    ClassicRows::seeded(options.seed).take(usize::try_from(rounds).unwrap_or(usize::MAX))
}
