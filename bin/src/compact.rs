//! `pinflow compact`: the lake's small objects merged into large ones.

use crate::config::CompactSettings;
use crate::exit::Failure;
use crate::lake::{failed, open, runtime};
use crate::output;
use ingest::archive::{CompactOptions, Compacted, compact};

/// Merges, and says what was done.
pub fn run(settings: &CompactSettings) -> Result<(), Failure> {
    let runtime = runtime()?;
    let lake = open(&runtime, &settings.lake)?;
    let options = CompactOptions {
        topics: settings.topics.iter().flatten().cloned().collect(),
        target_bytes: settings.target_bytes,
        encoding: settings.encoding,
        part_bytes: settings.part_bytes,
        keep: settings.keep,
    };
    let Compacted {
        written,
        merged,
        records,
        removed,
        waiting,
        left,
    } = runtime.block_on(compact(&lake, &options)).map_err(failed)?;
    let mut text = format!("merged {merged} objects with {records} records into {written}; removed {removed}\n");
    if waiting > 0 {
        text += &format!("{waiting} merged objects stay for readers that have listed them; a later run removes them\n");
    }
    if left > 0 {
        text += &format!("{left} objects were left as they are: see `pinflow audit --deep`\n");
    }
    output::print(text)
}
