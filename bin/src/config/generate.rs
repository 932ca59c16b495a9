//! Checked settings of `generate`.

use super::layers::Effective;
use super::problem::ConfigError;
use super::reader::Reader;
use super::sources::LakeWait;
use workload::generate::GenerateOptions;

/// Checks what `generate` is given.
pub fn generate_options(effective: &Effective) -> Result<GenerateOptions, ConfigError> {
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
    let options = GenerateOptions {
        lake: lake.url,
        lake_options: lake.options,
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
    reader.done(options)
}
