//! `pinflow compact`: the lake's small objects merged into large ones.

use crate::config::CompactSettings;
use crate::exit::Failure;
use crate::lake::{failed, open, runtime};
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
    println!("merged {merged} objects with {records} records into {written}; removed {removed}");
    if waiting > 0 {
        println!("{waiting} merged objects stay for readers that have listed them; a later run removes them");
    }
    if left > 0 {
        println!("{left} objects were left as they are: see `pinflow audit --deep`");
    }
    Ok(())
}
