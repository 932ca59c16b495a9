//! The generator's records: the distributions of real tables, re-sends, corrections, dirty records and deletes.

use super::super::item::Item;
use super::super::options::EmulateOptions;
use super::error::SourceError;
use crate::generate::{Form, Generator, Renderer};
use tokio::sync::mpsc::Sender;

/// Hands over the generator's records; made on a thread of their own, since that is work.
pub async fn run(options: &EmulateOptions, out: Sender<Item>) -> Result<(), SourceError> {
    let renderer = Renderer::new(options.seed);
    let events = Generator::new(options.seed)
        .starting_at(options.first_post)
        .posts(options.first_post.saturating_add(options.posts.unwrap_or(u64::MAX)))
        .duplicates(options.duplicates)
        .dirty(options.dirty)
        .deletes(options.deletes);
    let sent: Vec<bool> = options.topics.iter().map(Option::is_some).collect();
    let make = move || {
        for event in events.filter(|event| sent[usize::from(event.kind)]) {
            let item = Item {
                kind: event.kind,
                ind: Some(event.ind),
                value: renderer.json(&event),
                delete: event.form == Form::Delete,
            };
            if out.blocking_send(item).is_err() {
                return;
            }
        }
    };
    tokio::task::spawn_blocking(make)
        .await
        .map_err(|source| SourceError::Panicked {
            thread: "the generator",
            source,
        })
}
