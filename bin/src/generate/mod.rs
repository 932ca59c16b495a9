//! A synthetic lake, and the records it is made of: `pinflow generate`, and the live stream of the demo.
//!
//! The same seed and options write the same bytes, on any machine and with any number of threads. Contents follow the
//! distributions of real tables ([`record`]); [`sequence`] decides which record comes when, [`partition`] where it
//! goes. Objects have the names and the form that Connect's S3 sink gives them, without metadata.

mod names;
pub mod partition;
pub(crate) mod random;
pub mod record;
pub mod sequence;
mod words;
mod writer;

pub use partition::partition_of;
pub use record::Renderer;
pub use sequence::{Event, Form, Generator, Record};
pub use writer::{Written, write};

#[cfg(test)]
mod tests;
