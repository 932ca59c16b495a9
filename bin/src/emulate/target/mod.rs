//! Where records go: each interface is a file that says how a record is asked for and what an answer means.

pub mod http;
mod kafka;
mod kinesis;
mod pin;
mod rest;

use super::item::Item;
use crate::config::EmulateSettings;
use crate::config::emulate::Api;
use anyhow::Result;
use http::{Answer, Call, Http};
use kafka::Kafka;
use std::sync::Arc;
use std::time::Duration;

/// What became of one attempt to send a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is in Kafka.
    Acknowledged,
    /// It may be sent again, not before this pause if there is one.
    Again {
        /// Why it was not taken.
        why: String,
        /// What `Retry-After` asked for.
        after: Option<Duration>,
    },
    /// This record will never be taken; others will.
    Refused(String),
    /// No record will be taken.
    Stop(String),
}

/// An HTTP interface: how to ask, and what a success really says. Other answers mean the same in all of them.
pub trait Dialect: Send + Sync {
    /// The request for a record.
    fn call(&self, item: &Item) -> Call;

    /// What a 2xx answer means.
    fn success(&self, _answer: &Answer) -> Verdict {
        Verdict::Acknowledged
    }
}

/// A receiver of records.
pub enum Target {
    /// One of the HTTP interfaces.
    Http(Arc<Http>, Box<dyn Dialect>),
    /// Kafka's own protocol.
    Kafka(Kafka),
}

impl Target {
    /// Prepares the way for each interface, in their order; nothing is sent yet.
    pub fn open(settings: &EmulateSettings) -> Result<Vec<Target>> {
        if settings.apis == [Api::Kafka] {
            return Ok(vec![Target::Kafka(Kafka::open(settings)?)]);
        }
        let (token, authority) = (settings.token_file.as_deref(), settings.ca_file.as_deref());
        let http = Arc::new(Http::open(&settings.to, settings.connections, token, authority)?);
        let topics = || settings.topics.clone();
        let dialects = settings.apis.iter().map(|api| -> Box<dyn Dialect> {
            match api {
                Api::Rest => Box::new(rest::Rest(topics())),
                Api::Kinesis => Box::new(kinesis::Kinesis(topics())),
                Api::Pin | Api::Kafka => Box::new(pin::Pin),
            }
        });
        Ok(dialects
            .map(|dialect| Target::Http(Arc::clone(&http), dialect))
            .collect())
    }

    /// Sends a record once.
    pub async fn send(&self, item: &Item) -> Verdict {
        match self {
            Target::Kafka(kafka) => kafka.send(item).await,
            Target::Http(http, dialect) => match http.ask(dialect.call(item)).await {
                Ok(answer) => judge(&**dialect, &answer),
                Err(verdict) => verdict,
            },
        }
    }
}

/// What an answer means. A record that was refused is a matter of that record, unless the status says otherwise.
fn judge(dialect: &dyn Dialect, answer: &Answer) -> Verdict {
    let why = || answer.to_string();
    match answer.status {
        200..=299 => dialect.success(answer),
        408 | 425 | 429 | 500 | 502 | 503 | 504 => Verdict::Again {
            why: why(),
            after: answer.retry_after,
        },
        400 | 413 | 422 => Verdict::Refused(why()),
        _ => Verdict::Stop(why()),
    }
}
