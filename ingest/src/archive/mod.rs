//! From Kafka to the lake, and maintenance of the lake: the archiver, the compaction of small objects, the audit.
//!
//! The way of a record: `line` makes one line of it, `cutter` gathers lines into pieces whose ends follow from
//! offsets, `layout` names them, `writer` stores each exactly once. `partition` keeps the state of one partition (`reading`:
//! what is read of it; `durable`: how far it is archived), `uploads` bounds what is written at a time, and `run` drives it
//! all. A start finds in the lake where to resume (`resume`). `compact` merges small objects; `audit` says what the lake has of the log, and
//! `probe` asks Kafka about the rest. `examine` looks at objects for all of them.
//!
//! Nothing here knows what a record means: how a delete looks is told by the caller.

mod audit;
mod compact;
mod cutter;
mod durable;
mod error;
mod examine;
mod layout;
mod line;
mod lock;
mod options;
mod partition;
mod probe;
mod reading;
mod resume;
mod run;
mod survey;
mod uploads;
mod writer;

pub(crate) use audit::audit_listed;
pub use audit::{AuditOptions, Fault, LakeAudit, PartitionAudit, audit};
pub use compact::{CompactOptions, Compacted, compact};
pub use cutter::CutOptions;
pub use error::ArchiveError;
pub use layout::{Layout, Partitioner, PathFormat, PathFormatError};
pub use options::{ArchiveOptions, ArchiveSummary, NullValues, Observer};
pub use probe::{Stretch, first_records};
pub(crate) use resume::list;
pub use run::archive;
pub use writer::Stored;
