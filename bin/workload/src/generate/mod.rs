//! Synthetic records, and a lake of them.
//!
//! The same seed and options write the same bytes, on any machine and with any number of threads. Contents follow the
//! distributions of real tables ([`record`]); [`sequence`] decides which record comes when, [`partition`] where it
//! goes. Objects have the names and the form that Connect's S3 sink gives them, without metadata.

mod error;
mod event;
mod names;
mod options;
pub mod partition;
pub(crate) mod random;
pub mod record;
pub mod sequence;
mod words;
mod writer;

pub use error::GenerateError;
pub use event::{Event, Form, Record};
pub use options::GenerateOptions;
pub use partition::partition_of;
pub use random::Random;
pub use record::Renderer;
pub use sequence::Generator;
pub use writer::{Written, write};

#[cfg(test)]
mod tests;
