//! The rows of a table in the order of its primary key, copied on write.
//!
//! Rows are kept in chunks of at most [`CHUNK_ROWS`]. A copy of the whole shares all chunks; a change copies the chunk
//! that it falls into and nothing else: a commit costs what it changes, and a list of chunks. A chunk keeps its encoded
//! rows, after the first request for them: after a commit only changed chunks are encoded again.

use crate::cell::Shape;
use crate::order::compare_keys;
use bytes::Bytes;
use operators::{Row, Table, Value};
use std::cmp::Ordering;
use std::sync::{Arc, OnceLock};

/// Rows in a chunk at most.
const CHUNK_ROWS: usize = 128;
/// Rows in a chunk of a table that is built at once: some may come.
const FILLED_ROWS: usize = 96;
/// A chunk with fewer rows joins a neighbour.
const LEAST_ROWS: usize = 16;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Objects in an array.
    Json,
    /// An object a line.
    NdJson,
    /// Lines of CSV.
    Csv,
}

/// See the module's head.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    chunks: Arc<Vec<Arc<Chunk>>>,
    rows: usize,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Chunk {
    /// At least one, in the order of keys.
    rows: Vec<Arc<Row>>,
    encoded: [OnceLock<Bytes>; 3],
}

impl Clone for Chunk {
    /// For a change: without what is encoded.
    fn clone(&self) -> Chunk {
        Chunk {
            rows: self.rows.clone(),
            encoded: Default::default(),
        }
    }
}

/// A change of one row; both sides have the same key, and one of them is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The row before.
    pub old: Option<Arc<Row>>,
    /// The row after.
    pub new: Option<Arc<Row>>,
}

impl Change {
    /// The row whose key this is about.
    pub fn row(&self) -> &Row {
        let row = self.new.as_ref().or(self.old.as_ref());
        row.expect("a change has a side")
    }

    /// About how many bytes it takes.
    pub fn bytes(&self) -> usize {
        let sides = self.old.iter().chain(&self.new);
        size_of::<Change>() + sides.map(|row| row_bytes(row)).sum::<usize>()
    }
}

/// A change that does not fit what is there: the tables were changed by another program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch;

/// About how many bytes a row takes.
pub fn row_bytes(row: &[Value]) -> usize {
    let value = |value: &Value| match value {
        Value::String(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Floats(values) => size_of_val(&**values),
        Value::Null | Value::Int(_) | Value::Float(_) | Value::Text(_) => 0,
    };
    size_of::<Arc<Row>>() + size_of::<Row>() + size_of_val(row) + row.iter().map(value).sum::<usize>()
}

impl Rows {
    /// Rows in any order, each key once.
    pub fn of(table: &Table, mut rows: Vec<Arc<Row>>) -> Rows {
        rows.sort_unstable_by(|a, b| compare_keys(table, a, b));
        let bytes = rows.iter().map(|row| row_bytes(row)).sum();
        let chunk = |rows: &[Arc<Row>]| {
            Arc::new(Chunk {
                rows: rows.to_vec(),
                encoded: Default::default(),
            })
        };
        Rows {
            rows: rows.len(),
            bytes,
            chunks: Arc::new(rows.chunks(FILLED_ROWS).map(chunk).collect()),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// About how many bytes they take, without what is encoded.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// All rows, in the order of keys.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Row>> {
        self.chunks.iter().flat_map(|chunk| &chunk.rows)
    }

    /// The row with the key of `row`, whose other columns do not matter.
    pub fn get(&self, table: &Table, row: &[Value]) -> Option<&Arc<Row>> {
        let chunk = self.chunks.get(self.chunk_of(table, row))?;
        let place = chunk.place(table, row).ok()?;
        Some(&chunk.rows[place])
    }

    /// Applies changes of different keys, all of them or, when one does not fit, an unknown part.
    pub fn apply(&mut self, table: &Table, changes: &[Change]) -> Result<(), Mismatch> {
        changes.iter().try_for_each(|change| self.apply_one(table, change))
    }

    fn apply_one(&mut self, table: &Table, change: &Change) -> Result<(), Mismatch> {
        let index = self.chunk_of(table, change.row());
        let Some(chunk) = Arc::make_mut(&mut self.chunks).get_mut(index) else {
            // behind all chunks: into the last one, or the first one of all
            return self.append(change);
        };
        let place = chunk.place(table, change.row());
        match (place, &change.old, &change.new) {
            (Ok(place), Some(old), new) if chunk.rows[place] == *old => {
                let rows = edit(chunk);
                match new {
                    Some(new) => rows[place] = Arc::clone(new),
                    None => drop(rows.remove(place)),
                }
            }
            (Err(place), None, Some(new)) => edit(chunk).insert(place, Arc::clone(new)),
            _ => return Err(Mismatch),
        }
        self.count(change);
        self.keep_balance(index);
        Ok(())
    }

    fn append(&mut self, change: &Change) -> Result<(), Mismatch> {
        let (None, Some(new)) = (&change.old, &change.new) else {
            return Err(Mismatch);
        };
        let chunks = Arc::make_mut(&mut self.chunks);
        match chunks.last_mut() {
            Some(last) => edit(last).push(Arc::clone(new)),
            None => chunks.push(Arc::new(Chunk {
                rows: vec![Arc::clone(new)],
                encoded: Default::default(),
            })),
        }
        self.count(change);
        self.keep_balance(self.chunks.len() - 1);
        Ok(())
    }

    fn count(&mut self, change: &Change) {
        if let Some(old) = &change.old {
            self.rows -= 1;
            self.bytes = self.bytes.saturating_sub(row_bytes(old));
        }
        if let Some(new) = &change.new {
            self.rows += 1;
            self.bytes += row_bytes(new);
        }
    }

    /// The first chunk that does not end before this key.
    fn chunk_of(&self, table: &Table, row: &[Value]) -> usize {
        let ends_before = |chunk: &Arc<Chunk>| {
            let last = chunk.rows.last().expect("a chunk has a row");
            compare_keys(table, last, row) == Ordering::Less
        };
        self.chunks.partition_point(ends_before)
    }

    /// Splits a chunk that has grown too large, and joins one that has become small with the next one.
    fn keep_balance(&mut self, index: usize) {
        let chunks = Arc::make_mut(&mut self.chunks);
        let length = chunks[index].rows.len();
        if length == 0 {
            chunks.remove(index);
        } else if length > CHUNK_ROWS {
            let rows = edit(&mut chunks[index]).split_off(length / 2);
            let second = Chunk {
                rows,
                encoded: Default::default(),
            };
            chunks.insert(index + 1, Arc::new(second));
        } else if length < LEAST_ROWS
            && let Some(next) = chunks.get(index + 1)
            && next.rows.len() + length <= FILLED_ROWS
        {
            let next = chunks.remove(index + 1);
            edit(&mut chunks[index]).extend(next.rows.iter().cloned());
        }
    }

    /// The encoded rows with all columns, in pieces that are shared; JSON with commas between rows and nothing around
    /// them.
    pub fn encoded(&self, shape: &Shape, format: Format) -> Vec<Bytes> {
        let mut pieces: Vec<Bytes> = self.chunks.iter().map(|chunk| chunk.encoded(shape, format)).collect();
        if let (Format::Json, Some(last)) = (format, pieces.last_mut()) {
            // no comma behind the last row
            last.truncate(last.len() - 1);
        }
        pieces
    }
}

/// The rows of a chunk, to be changed.
fn edit(chunk: &mut Arc<Chunk>) -> &mut Vec<Arc<Row>> {
    let chunk = Arc::make_mut(chunk);
    chunk.encoded = Default::default();
    &mut chunk.rows
}

impl Chunk {
    fn place(&self, table: &Table, row: &[Value]) -> Result<usize, usize> {
        self.rows.binary_search_by(|other| compare_keys(table, other, row))
    }

    /// Each row with what stands behind it: a comma in JSON, the end of the line elsewhere.
    fn encoded(&self, shape: &Shape, format: Format) -> Bytes {
        let encode = || {
            let (columns, mut out) = (shape.all(), Vec::new());
            for row in &self.rows {
                write_row(&mut out, shape, row, &columns, format);
            }
            out.into()
        };
        self.encoded[format as usize].get_or_init(encode).clone()
    }
}

/// Appends a row with what stands behind it.
pub fn write_row(out: &mut Vec<u8>, shape: &Shape, row: &[Value], columns: &[usize], format: Format) {
    match format {
        Format::Csv => shape.csv_row(out, row, columns),
        Format::Json | Format::NdJson => {
            shape.json_row(out, row, columns);
            out.push(if format == Format::Json { b',' } else { b'\n' });
        }
    }
}

/// The changes that make `new` of `old`, in the order of keys.
pub fn difference(table: &Table, old: &Rows, new: &Rows) -> Vec<Change> {
    let (mut before, mut after) = (old.iter().peekable(), new.iter().peekable());
    let mut changes = Vec::new();
    loop {
        let order = match (before.peek(), after.peek()) {
            (None, None) => return changes,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => compare_keys(table, old, new),
        };
        let old = before.next_if(|_| order.is_le()).cloned();
        let new = after.next_if(|_| order.is_ge()).cloned();
        let same = matches!((&old, &new), (Some(old), Some(new)) if Arc::ptr_eq(old, new) || old == new);
        if !same {
            changes.push(Change { old, new });
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use operators::{Column, ColumnType};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Two columns: `key`, a bigint and the primary key, and `value`, a bigint.
    pub(crate) const TABLE: Table = Table {
        name: "t",
        comment: "a table",
        key: 1,
        columns: &[
            Column {
                name: "key",
                ty: ColumnType::Int8,
                comment: "",
            },
            Column {
                name: "value",
                ty: ColumnType::Int8,
                comment: "",
            },
        ],
    };

    pub(crate) fn row(key: i64, value: i64) -> Arc<Row> {
        Arc::new(vec![Value::Int(key), Value::Int(value)])
    }

    pub(crate) fn change(key: i64, old: Option<i64>, new: Option<i64>) -> Change {
        Change {
            old: old.map(|value| row(key, value)),
            new: new.map(|value| row(key, value)),
        }
    }

    fn flat(rows: &Rows) -> Vec<Row> {
        rows.iter().map(|row| (**row).clone()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Rows after any changes are those of a plain map, and earlier copies stay as they were.
        #[test]
        fn changes_do_what_they_do_to_a_map(
            first in prop::collection::btree_map(0i64..600, 0i64..9, 0..400),
            commits in prop::collection::vec(prop::collection::btree_map(0i64..600, prop::option::of(0i64..9), 0..60), 1..12),
        ) {
            let mut map: BTreeMap<i64, i64> = first.clone();
            let mut rows = Rows::of(&TABLE, first.iter().rev().map(|(key, value)| row(*key, *value)).collect());
            let shape = Shape::new(TABLE);
            for commit in commits {
                let before = rows.clone();
                let (was, encoded) = (flat(&before), before.encoded(&shape, Format::Json));
                let mut changes = Vec::new();
                for (key, new) in commit {
                    let old = map.get(&key).copied();
                    if old == new {
                        continue;
                    }
                    changes.push(change(key, old, new));
                    match new {
                        Some(new) => drop(map.insert(key, new)),
                        None => drop(map.remove(&key)),
                    }
                }
                rows.apply(&TABLE, &changes).unwrap();
                let expected: Vec<Row> = map.iter().map(|(key, value)| (*row(*key, *value)).clone()).collect();
                prop_assert_eq!(flat(&rows), expected.clone());
                prop_assert_eq!((rows.len(), rows.is_empty()), (map.len(), map.is_empty()));
                prop_assert_eq!(rows.bytes(), expected.iter().map(|row| row_bytes(row)).sum::<usize>());
                prop_assert!(rows.chunks.iter().all(|chunk| !chunk.rows.is_empty() && chunk.rows.len() <= CHUNK_ROWS));
                prop_assert_eq!(difference(&TABLE, &before, &rows), changes);
                // who holds the earlier rows does not see the change
                prop_assert_eq!(flat(&before), was);
                prop_assert_eq!(before.encoded(&shape, Format::Json), encoded);
                let text = format!("[{}]", rows.encoded(&shape, Format::Json).iter().map(|piece| std::str::from_utf8(piece).unwrap()).collect::<String>());
                let parsed: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
                let objects: Vec<_> = map.iter().map(|(key, value)| serde_json::json!({"key": key, "value": value})).collect();
                prop_assert_eq!(parsed, objects);
            }
        }
    }

    #[test]
    fn changes_that_do_not_fit_are_refused() {
        let rows = Rows::of(&TABLE, vec![row(1, 1), row(3, 3)]);
        for wrong in [
            change(1, None, Some(2)),
            change(1, Some(7), Some(2)),
            change(2, Some(2), None),
            change(2, Some(2), Some(3)),
            change(9, Some(2), Some(3)),
        ] {
            assert_eq!(rows.clone().apply(&TABLE, &[wrong]), Err(Mismatch));
        }
        assert_eq!(rows.get(&TABLE, &row(3, 0)), Some(&row(3, 3)));
        assert_eq!(rows.get(&TABLE, &row(2, 0)), None);
        assert_eq!(rows.get(&TABLE, &row(4, 0)), None);
    }

    #[test]
    fn a_commit_encodes_the_chunks_that_it_changed_and_no_other() {
        let shape = Shape::new(TABLE);
        let mut rows = Rows::of(&TABLE, (0..1000).map(|key| row(key, 0)).collect());
        let before = rows.encoded(&shape, Format::Json);
        rows.apply(&TABLE, &[change(500, Some(0), Some(1))]).unwrap();
        let after = rows.encoded(&shape, Format::Json);
        let shared = before.iter().zip(&after).filter(|(a, b)| a.as_ptr() == b.as_ptr());
        assert_eq!((before.len(), shared.count()), (11, 10));
    }
}
