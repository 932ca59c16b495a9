//! Where records come from: each source is a file, and hands its records over in order.
//!
//! A source ends when it has no more, when as many as asked for are handed over, or when the receiver is gone.

mod error;
mod folder;
mod mysql;
mod postgres;
mod select;
mod synthetic;

pub use error::{InvalidMySqlUrl, SourceError};
pub use mysql::mysql_database;

use super::item::Item;
use super::options::{EmulateOptions, Source};
use tokio::sync::mpsc::Sender;

/// Hands the records of the chosen source over, until its end or until the receiver is gone.
pub async fn run(options: &EmulateOptions, out: Sender<Item>) -> Result<(), SourceError> {
    match &options.source {
        Source::Synthetic => synthetic::run(options, out).await,
        Source::MySql(url) => mysql::run(options, url, &out).await,
        Source::Postgres(url) => postgres::run(options, url, &out).await,
        Source::Folder(folder) => folder::run(options, folder, out).await,
    }
}
