//! History: objects of JSON lines in a folder or in an S3 bucket.
//!
//! A [`Lake`] lists its objects in one deterministic order and says where the records of each stand in the log
//! ([`Object`], [`Place`]); a [`Fetcher`] reads many objects at a time into a fixed pool of buffers and hands out whole
//! lines. `file://` and `s3://` lakes with the same tree have the same listing.
//!
//! This module decides neither what is read nor what a hole between objects means (see [`crate::coverage`]), and it
//! does not look into records.

mod availability;
mod body;
mod bom;
mod check;
mod clock;
mod error;
mod fetch;
mod fetched;
mod file;
mod folders;
mod line;
mod lines;
mod listing;
mod lock;
mod metadata;
mod name;
mod open;
mod options;
mod partial_file;
mod pool;
mod request_error;
mod retry;
mod s3;
mod store;
mod timed;
mod url;
mod version;
mod writer;

pub use availability::{LakeObserver, LakeState};
pub(crate) use bom::{BYTE_ORDER_MARK, strip_byte_order_mark};
pub use clock::Moment;
pub use error::{Class, LakeError};
pub use fetch::{FetchOptions, Fetcher};
pub use fetched::Fetched;
#[cfg(test)]
pub(crate) use line::PREFIX_BYTES;
pub(crate) use line::count_lines;
pub use line::{KEPT_BYTES, Original, kept, kept_of_line, longest_line, original};
pub(crate) use line::{RAW, RAW_BASE64, TOMBSTONE, TOMBSTONE_BASE64, WRAPPED_PREFIX};
pub use listing::{Listing, Object};
pub use lock::LakeLock;
pub use metadata::{MetadataMap, ObjectMetadata, checksum};
pub use name::{CONTROL_FOLDER, Encoding, Place, connect_key, file_name};
pub use options::{LakeOptions, S3Credentials};
pub use request_error::{RequestError, SdkError};
pub use retry::Retries;
pub use store::Lake;
pub use url::LakeUrl;
pub use version::Version;
pub use writer::ObjectWriter;
