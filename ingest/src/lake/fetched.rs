//! What a fetcher hands over of an object, in its order.

use super::error::LakeError;
use super::line::count_lines;
use super::metadata::ObjectMetadata;
use std::time::Duration;

/// What arrives. `id` is the number the object was pushed with. Every object ends with exactly one `Done` or `Failed`;
/// what is handed out of it lies between its one `Opened` and that end.
#[derive(Debug)]
pub enum Fetched {
    /// Comes once for each object, before anything else of it; an object that fails without any content has none.
    /// Metadata and content belong to the same version of the object.
    Opened {
        /// The object.
        id: u32,
        /// What its writer recorded about it, when there is something.
        metadata: Option<Box<ObjectMetadata>>,
    },
    /// Whole lines, in order; only the object's very last line may lack its `\n`. Give `bytes` back with
    /// [`Fetcher::recycle`](super::Fetcher::recycle).
    Lines {
        /// The object.
        id: u32,
        /// The lines.
        bytes: Vec<u8>,
    },
    /// The whole content of an object of an older layout. Give `bytes` back with [`Fetcher::recycle`](super::Fetcher::recycle).
    Whole {
        /// The object.
        id: u32,
        /// The content.
        bytes: Vec<u8>,
    },
    /// One line above `max_record_bytes`, in its place among the lines.
    TooLarge {
        /// The object.
        id: u32,
        /// The line's beginning; [`kept_of_line`](super::kept_of_line) makes of it what is kept of the value.
        prefix: Vec<u8>,
        /// The line's length without its newline.
        bytes: u64,
    },
    /// The object has been handed out completely, and it was sound.
    Done {
        /// The object.
        id: u32,
        /// Its content's bytes, after decompression.
        bytes: u64,
        /// The [`checksum`](super::checksum) of its content, after decompression. Always there for objects of older
        /// layouts; for objects of the log only where their writer recorded a checksum, which was compared with it.
        digest: Option<u64>,
        /// How long opening it and reading its bytes took, with the waits for the server and decompression, without
        /// those for the consumer.
        took: Duration,
    },
    /// The object is unreadable. Lines of it may have been handed out before, unless [`FetchOptions::prove_first`](super::FetchOptions::prove_first) is
    /// set; an object of less than a chunk fails without any.
    Failed {
        /// The object.
        id: u32,
        /// Why, naming the object.
        error: LakeError,
    },
}

impl Fetched {
    /// The lines that it holds, empty ones and one that is too large included; none where they are not lines of the log.
    pub fn lines(&self) -> u64 {
        match self {
            Fetched::Lines { bytes, .. } => count_lines(bytes),
            Fetched::TooLarge { .. } => 1,
            _ => 0,
        }
    }
}
