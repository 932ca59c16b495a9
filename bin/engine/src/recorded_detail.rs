//! What is written in a partition's `detail`, beside its frontier: natural holes, what the lake covers, a hash of its
//! lines, and its sparse objects.

use crate::log::sparse::{SparseObject, SparseObjects};
use ingest::Offset;
use ingest::coverage::RangeSet;
use serde_json::Value;
use std::ops::Range;

/// The key under which natural holes stand in a partition's detail.
pub const NATURAL: &str = "natural";
/// The key under which stands what the lake covered at the last start.
pub const LAKE: &str = "lake";
/// The key under which stands a hash of the lake's lines.
pub const HASH: &str = "lake_hash";
/// The key under which the sparse objects of the lake stand.
const SPARSE: &str = "sparse";

/// The natural holes in a partition's detail.
pub(super) fn natural_holes(detail: &Value) -> Option<RangeSet> {
    detail.get(NATURAL)?.as_str()?.parse().ok()
}

/// The offsets of a partition that are known to hold no record, by its detail.
pub fn empty_offsets(detail: &Value) -> RangeSet {
    let natural = natural_holes(detail).unwrap_or_default();
    natural.iter().chain(sparse_objects(detail).holes()).collect()
}

/// The holes behind lines of objects, by a partition's detail, in which nothing is missing: they hold no record, or the
/// last ones of a sparse object.
pub fn proved_holes(detail: &Value) -> RangeSet {
    let natural = natural_holes(detail).unwrap_or_default();
    let sparse = sparse_objects(detail);
    let behind = sparse
        .iter()
        .map(|(start, object)| start.plus(object.lines)..object.end);
    natural.iter().chain(behind).collect()
}

/// Whether the natural holes in a partition's detail are empty. Earlier versions, which knew no sparse objects, took a hole
/// for natural that holds the last records of the object before it.
pub(super) fn natural_are_empty(detail: &Value) -> bool {
    detail.get(SPARSE).is_some()
}

/// Whether the lake covered an offset at the last start. A detail that says nothing is that of a partition of which the
/// lake has nothing; `None` where it cannot be read.
pub fn lake_covered(detail: &Value, offset: Offset) -> Option<bool> {
    let Some(lake) = detail.get(LAKE) else {
        return Some(false);
    };
    let ranges: RangeSet = lake.as_str()?.parse().ok()?;
    Some(ranges.contains(offset))
}

/// The sparse objects in a partition's detail.
pub fn sparse_objects(detail: &Value) -> SparseObjects {
    let mut objects = SparseObjects::default();
    for (start, object) in detail.get(SPARSE).and_then(Value::as_object).into_iter().flatten() {
        let Ok(start) = start.parse() else { continue };
        if let Some(object) = object.as_str().and_then(|text| sparse_of(start, text)) {
            objects.insert(start, object);
        }
    }
    objects
}

/// `18 1f2e… 20 5..6 10..11`: lines, version or `-`, length and holes, counted from the object's first offset.
fn sparse_text(start: Offset, object: &SparseObject) -> String {
    let version = object
        .version
        .map_or_else(|| "-".to_owned(), |version| format!("{version:x}"));
    let holes = object.holes.iter().map(|hole| moved(hole, -start.0));
    let holes: RangeSet = holes.collect();
    format!("{} {version} {} {holes}", object.lines, object.end - start)
}

fn sparse_of(start: Offset, text: &str) -> Option<SparseObject> {
    let mut parts = text.splitn(4, ' ');
    let (lines, version) = (parts.next()?.parse().ok()?, parts.next()?);
    let (length, holes): (u64, RangeSet) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some(SparseObject {
        lines,
        version: u64::from_str_radix(version, 16).ok(),
        end: start.plus(length),
        holes: holes.iter().map(|hole| moved(hole, start.0)).collect(),
    })
}

fn moved(range: Range<Offset>, by: i64) -> Range<Offset> {
    Offset(range.start.0.saturating_add(by))..Offset(range.end.0.saturating_add(by))
}

/// A partition's detail: its natural holes, what the lake covers, a hash of the lake's lines, and its sparse objects.
pub fn detail(holes: &RangeSet, lake: &RangeSet, hash: Option<u64>, sparse: &SparseObjects) -> Value {
    let hash = hash.map(|hash| format!("{hash:016x}"));
    let sparse: serde_json::Map<String, Value> = sparse
        .iter()
        .map(|(start, object)| (start.to_string(), sparse_text(start, object).into()))
        .collect();
    serde_json::json!({ NATURAL: holes.to_string(), LAKE: lake.to_string(), HASH: hash, SPARSE: sparse })
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)] // a list of one range is meant
mod tests {
    use super::*;

    #[test]
    fn sparse_objects_come_back_as_they_were_written() {
        let mut objects = SparseObjects::default();
        for (start, version) in [(10, Some(u64::MAX)), (30, None)] {
            let holes = [start + 2..start + 3, start + 5..start + 9];
            let object = SparseObject {
                lines: 18,
                version,
                end: Offset(start + 23),
                holes: holes.map(Offset::range).into_iter().collect(),
            };
            objects.insert(Offset(start), object);
        }
        let nothing = RangeSet::default();
        let written = detail(&nothing, &nothing, None, &objects);
        assert_eq!(written[SPARSE]["30"], "18 - 23 2..3 5..9");
        assert_eq!(sparse_objects(&written), objects);
        assert_eq!(empty_offsets(&written).to_string(), "12..13 15..19 32..33 35..39");
        assert_eq!(proved_holes(&written).to_string(), "28..33 48..53");
        assert!(natural_are_empty(&written));
        // earlier versions wrote none, and what cannot be read is not known
        let earlier = serde_json::json!({ NATURAL: "" });
        assert_eq!(sparse_objects(&earlier), SparseObjects::default());
        assert!(!natural_are_empty(&earlier));
        let other = serde_json::json!({ SPARSE: { "10": "many", "20": "1 - 1..2", "x": "1 - 3 1..2", "30": 4 } });
        assert_eq!(sparse_objects(&other), SparseObjects::default());
    }
}
