//! Checked settings of `generate`.

use super::layers::Effective;
use super::problem::ConfigError;
use super::reader::Reader;
use super::sources::LakeWait;
use engine::LakeSource;
use workload::generate::GenerateOptions;

/// What `generate` needs.
#[derive(Clone, Debug)]
pub struct GenerateSettings {
    /// Where to write.
    pub lake: LakeSource,
    /// The topic of each kind.
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

impl GenerateSettings {
    /// Checks the settings of `generate`.
    pub fn check(effective: &Effective) -> Result<GenerateSettings, ConfigError> {
        let mut reader = Reader::new(effective);
        let lake = reader.lake(LakeWait::AsConfigured);
        if lake.is_none() {
            reader.missing("`generate` needs --lake URL, the lake to write".into());
        }
        let posts = reader.optional_whole("generate.posts", 0, 1 << 40);
        if posts.is_none() {
            reader.missing("`generate` needs --posts N, the number of posts".into());
        }
        let topics = reader.topics();
        let seed = reader.whole("generate.seed", 0, i64::MAX) as u64;
        let records_per_object = reader.whole("generate.records_per_object", 1, 1_000_000) as u64;
        let partitions = reader.whole("generate.partitions", 1, 4096) as i32;
        let gzip = reader.switch("generate.gzip");
        let duplicates = reader.fraction("generate.duplicates");
        let dirty = reader.fraction("generate.dirty");
        let deletes = reader.fraction("generate.deletes");
        let (Some(lake), Some(posts)) = (lake, posts) else {
            return reader.refuse();
        };
        let settings = GenerateSettings {
            lake,
            topics,
            posts: posts as u64,
            seed,
            records_per_object,
            partitions,
            gzip,
            duplicates,
            dirty,
            deletes,
        };
        reader.done(settings)
    }

    /// The generator's own form of these settings.
    pub fn options(&self) -> GenerateOptions {
        GenerateOptions {
            lake: self.lake.url.clone(),
            lake_options: self.lake.options.clone(),
            topics: self.topics.clone(),
            posts: self.posts,
            seed: self.seed,
            records_per_object: self.records_per_object,
            partitions: self.partitions,
            gzip: self.gzip,
            duplicates: self.duplicates,
            dirty: self.dirty,
            deletes: self.deletes,
        }
    }
}
