//! What is written in a partition's `detail`, beside its frontier: natural holes, what the lake covers, and a hash of its
//! lines.

use ingest::Offset;
use ingest::coverage::RangeSet;

/// The key under which natural holes stand in a partition's detail.
pub const NATURAL: &str = "natural";
/// The key under which stands what the lake covered at the last start.
pub const LAKE: &str = "lake";
/// The key under which stands a hash of the lake's lines.
pub const HASH: &str = "lake_hash";

/// The natural holes in a partition's detail.
pub fn natural_holes(detail: &serde_json::Value) -> Option<RangeSet> {
    detail.get(NATURAL)?.as_str()?.parse().ok()
}

/// Whether the lake covered an offset at the last start. A detail that says nothing is that of a partition of which the
/// lake has nothing; `None` where it cannot be read.
pub fn lake_covered(detail: &serde_json::Value, offset: Offset) -> Option<bool> {
    let Some(lake) = detail.get(LAKE) else {
        return Some(false);
    };
    let ranges: RangeSet = lake.as_str()?.parse().ok()?;
    Some(ranges.contains(offset))
}

/// A partition's detail: its natural holes, what the lake covers, and a hash of the lake's lines.
pub fn detail(holes: &RangeSet, lake: &RangeSet, hash: Option<u64>) -> serde_json::Value {
    let hash = hash.map(|hash| format!("{hash:016x}"));
    serde_json::json!({ NATURAL: holes.to_string(), LAKE: lake.to_string(), HASH: hash })
}
