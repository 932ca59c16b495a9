//! What is to be generated, and where it is written.

use ingest::lake::{LakeOptions, LakeUrl};

/// Options of `generate::write`.
#[derive(Clone, Debug)]
pub struct GenerateOptions {
    /// Where to write.
    pub lake: LakeUrl,
    /// How that lake is reached.
    pub lake_options: LakeOptions,
    /// The topic of each kind (0 = pin, 1 = geo, 2 = user); kinds without one are not written.
    pub topics: [Option<String>; 3],
    /// Posts to write.
    pub posts: u64,
    /// The same seed gives the same bytes.
    pub seed: u64,
    /// Records in each object, at least 1.
    pub records_per_object: u64,
    /// Partitions of each topic, at least 1.
    pub partitions: i32,
    /// Compress the objects.
    pub gzip: bool,
    /// Records sent again per record.
    pub duplicates: f64,
    /// Share of records in odd forms.
    pub dirty: f64,
    /// Deletes per record.
    pub deletes: f64,
}
