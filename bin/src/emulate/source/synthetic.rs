//! The generator's records: the distributions of real tables, re-sends, corrections, dirty records and deletes.

use super::super::item::Item;
use crate::config::EmulateSettings;
use crate::generate::{Form, Generator, Renderer};
use anyhow::{Context, Result};
use tokio::sync::mpsc::Sender;

/// Hands over the generator's records; made on a thread of their own, since that is work.
pub async fn run(settings: &EmulateSettings, out: Sender<Item>) -> Result<()> {
    let renderer = Renderer::new(settings.seed);
    let events = Generator::new(settings.seed)
        .starting_at(settings.first_post)
        .posts(settings.first_post.saturating_add(settings.posts.unwrap_or(u64::MAX)))
        .duplicates(settings.duplicates)
        .dirty(settings.dirty)
        .deletes(settings.deletes);
    let sent: Vec<bool> = settings.topics.iter().map(Option::is_some).collect();
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
        .context("the generator panicked")
}
