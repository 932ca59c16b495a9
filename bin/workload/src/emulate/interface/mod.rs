//! Where records go: each interface is a file that says how a record is asked for and what an answer means.

mod dialect;
mod error;
pub mod http;
mod kafka;
mod kinesis;
mod outcome;
mod pin;
mod rest;

pub use dialect::Dialect;
pub use error::DestinationError;
pub use kafka::Kafka;
pub use outcome::SendOutcome;

use super::item::Item;
use super::options::{Api, EmulateOptions};
use http::{Answer, Http};
use std::sync::Arc;

/// A receiver of records.
pub enum Destination {
    /// One of the HTTP interfaces.
    Http(Arc<Http>, Box<dyn Dialect>),
    /// Kafka's own protocol.
    Kafka(Kafka),
}

impl Destination {
    /// Prepares the way for each interface, in their order; nothing is sent yet.
    pub fn open(options: &EmulateOptions) -> Result<Vec<Destination>, DestinationError> {
        if options.apis == [Api::Kafka] {
            return Ok(vec![Destination::Kafka(Kafka::open(options)?)]);
        }
        let (token, authority) = (options.token_file.as_deref(), options.ca_file.as_deref());
        let http = Arc::new(Http::open(&options.to, options.connections, token, authority)?);
        let topics = || options.topics.clone();
        let dialects = options.apis.iter().map(|api| -> Box<dyn Dialect> {
            match api {
                Api::Rest => Box::new(rest::Rest(topics())),
                Api::Kinesis => Box::new(kinesis::Kinesis(topics())),
                Api::Pin | Api::Kafka => Box::new(pin::Pin),
            }
        });
        Ok(dialects
            .map(|dialect| Destination::Http(Arc::clone(&http), dialect))
            .collect())
    }

    /// Sends a record once.
    pub async fn send(&self, item: &Item) -> SendOutcome {
        match self {
            Destination::Kafka(kafka) => kafka.send(item).await,
            Destination::Http(http, dialect) => match http.ask(dialect.call(item)).await {
                Ok(answer) => classify_response(&**dialect, &answer),
                Err(outcome) => outcome,
            },
        }
    }
}

/// What an answer means. A record that was refused is a matter of that record, unless the status says otherwise.
fn classify_response(dialect: &dyn Dialect, answer: &Answer) -> SendOutcome {
    let why = || answer.to_string();
    match answer.status {
        200..=299 => dialect.success(answer),
        408 | 425 | 429 | 500 | 502 | 503 | 504 => SendOutcome::Retry {
            why: why(),
            after: answer.retry_after,
        },
        400 | 413 | 422 => SendOutcome::Refused(why()),
        _ => SendOutcome::Stop(why()),
    }
}
