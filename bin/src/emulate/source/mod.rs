//! Where records come from: each source is a file, and hands its records over in order.
//!
//! A source ends when it has no more, when as many as asked for are handed over, or when nobody takes them any more.

mod folder;
mod mysql;
mod postgres;
mod synthetic;

use super::item::Item;
use super::python::ClassicRows;
use crate::config::EmulateSettings;
use crate::config::emulate::Source;
use anyhow::Result;
use tokio::sync::mpsc::Sender;

/// Hands the records of the chosen source over, until its end or until the receiver is gone.
pub async fn run(settings: &EmulateSettings, out: Sender<Item>) -> Result<()> {
    match &settings.source {
        Source::Synthetic => synthetic::run(settings, out).await,
        Source::MySql(url) => mysql::run(settings, url.expose(), &out).await,
        Source::Postgres(url) => postgres::run(settings, url.expose(), &out).await,
        Source::Folder(folder) => folder::run(settings, folder, out).await,
    }
}

/// The kinds that are sent.
fn kinds(settings: &EmulateSettings) -> impl Iterator<Item = usize> + '_ {
    (0..3).filter(|kind| settings.topics[*kind].is_some())
}

/// The rows of the classic emulator's rounds.
fn classic_rows(settings: &EmulateSettings) -> impl Iterator<Item = u64> + Send + use<> {
    let rounds = settings.posts.unwrap_or(u64::MAX);
    ClassicRows::seeded(settings.seed).take(usize::try_from(rounds).unwrap_or(usize::MAX))
}
