//! What one commit carries.

use crate::encode::check_row;
use crate::error::SinkError;
use crate::progress::Progress;
use crate::reject_limits::Held;
use crate::schema::Definition;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::time::Duration;
use values::{Position, Row, Table, Value};

/// Everything that one transaction writes: the net changes of all epochs that closed since the last step.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// The last epoch that is complete with this step.
    pub epoch: u64,
    /// Whether `results` holds the entire contents instead of changes. The first commit of a run is whole.
    pub whole: bool,
    /// Per result table of the definition: (row, +1 or -1), net, at most one of each for a primary key.
    pub results: Vec<Vec<(Row, isize)>>,
    /// History that stagers have copied beside the tables, to be settled with this commit.
    pub staged: Option<StagedHistory>,
    /// Cleaned rows and deletes, in any order; replays change nothing. Ignored when the tables are not kept.
    pub cleaned: Vec<CleanedRow>,
    /// Dead letters, in any order; replays change nothing.
    pub rejects: Vec<Reject>,
    /// The topics that this run reads, whose dead letters a full reconcile may delete; [`crate::UNKNOWN_TOPIC`] is
    /// always one of them. Dead letters of other topics stay.
    pub reject_topics: Vec<String>,
    /// Topics whose partitions are forgotten: their rows of the frontier go. Their generations, partition counts,
    /// accepted gaps and dead letters stay. Only in a whole step that does not name their partitions; where cleaned
    /// tables are kept they must be reconciled in full by the same step ([`StagedHistory::full`]), since the rows of
    /// these topics are not among the staged ones.
    pub forget_topics: Vec<String>,
    /// What the tables answer for after this step.
    pub progress: Progress,
}

/// One record of a cleaned table, or a delete.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CleanedRow {
    /// Which of [`Definition::cleaned`].
    pub table: u8,
    /// The row's key, also its first value.
    pub ind: i64,
    /// Where in the log it stands: the greatest position of a key wins.
    pub position: Position,
    /// The row in its table's column order; `None` for a delete.
    pub row: Option<Row>,
}

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reject {
    /// The topic's name.
    pub topic: String,
    /// Where it stands; identifies it.
    pub place: RejectPlace,
    /// Why it was rejected.
    pub reason: String,
    /// The key's bytes, whole.
    pub key: Option<Vec<u8>>,
    /// The value's bytes, whole.
    pub value: Option<Vec<u8>>,
}

/// Where a dead letter stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RejectPlace {
    /// A record of the log, found in Kafka or in a lake object: identified by topic, partition and offset.
    Log {
        /// The partition.
        partition: i32,
        /// The offset.
        offset: i64,
        /// The lake object, when it was read from one.
        object: Option<String>,
    },
    /// A record of an object without offsets: identified by object and number.
    Object {
        /// The lake object.
        object: String,
        /// The record's number in it, from 0.
        index: i64,
    },
}

/// Rows staged so far, counted where they were sent. Sums over processes by `+=`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    /// Per cleaned table.
    pub cleaned: Vec<u64>,
    /// Dead letters.
    pub rejects: u64,
}

impl std::ops::AddAssign<&Staged> for Staged {
    fn add_assign(&mut self, other: &Staged) {
        if self.cleaned.len() < other.cleaned.len() {
            self.cleaned.resize(other.cleaned.len(), 0);
        }
        for (sum, count) in self.cleaned.iter_mut().zip(&other.cleaned) {
            *sum += count;
        }
        self.rejects += other.rejects;
    }
}

/// Staged history as the first commit meets it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StagedHistory {
    /// How many rows all stagers together have sent; checked before anything is settled.
    pub rows: Staged,
    /// Whether the staged rows are **all** there are: then rows that are not among them go. Otherwise they are
    /// added to what the tables hold.
    pub full: bool,
    /// Offsets of partitions that were read again as a whole, so that the staged dead letters are all there are in
    /// them: others go, also where the staged rows are not all. An object whose records lack some offsets is read
    /// under other offsets the next time.
    pub replaced_rejects: Vec<(String, i32, Range<i64>)>,
    /// Offsets of partitions that were read from Kafka in full although lake objects hold some of them: what was
    /// staged as a dead letter of an object there is left out.
    pub from_kafka: Vec<(String, i32, Range<i64>)>,
}

/// What a commit did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Committed {
    /// The number of this commit, counted over the life of the schema.
    pub commits: i64,
    /// Rows written or deleted per result table.
    pub changed: Vec<u64>,
    /// Rows that should have been deleted and were not there: somebody edited a table.
    pub missing: u64,
    /// Dead letters that were dropped to keep their table within its limits.
    pub dropped_rejects: u64,
    /// How many there are now, if that is known.
    pub(crate) held_rejects: Option<Held>,
    /// Whether listeners were told.
    pub notified: bool,
    /// Whether the answer to COMMIT was lost and read from the progress row instead; then `changed` is empty.
    pub resolved: bool,
    /// How often the transaction was tried.
    pub attempts: u32,
    /// From the call to the answer.
    pub elapsed: Duration,
}

/// The net changes of one table, checked.
pub(crate) struct Net<'a> {
    pub(crate) deletes: Vec<&'a Row>,
    pub(crate) upserts: Vec<&'a Row>,
}

impl<'a> Net<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.deletes.is_empty() && self.upserts.is_empty()
    }

    /// Orders changes by key and checks that they are net; with `whole`, that there are only rows to keep.
    pub(crate) fn of(table: &Table, changes: &'a [(Row, isize)], whole: bool) -> Result<Net<'a>, SinkError> {
        let mut sorted: Vec<&(Row, isize)> = changes.iter().collect();
        for (row, _) in changes {
            check_row(table, row)?;
        }
        let key = |change: &&'a (Row, isize)| -> &'a [Value] { &change.0[..table.key] };
        // deletes first within a key
        sorted.sort_by(|a, b| key(a).cmp(key(b)).then(a.1.cmp(&b.1)));
        let mut net = Net {
            deletes: Vec::new(),
            upserts: Vec::new(),
        };
        for group in sorted.chunk_by(|a, b| key(a) == key(b)) {
            let fault = match group {
                [(_, -1)] if whole => Some("a delete in whole contents"),
                [(row, -1)] => {
                    net.deletes.push(row);
                    None
                }
                [(row, 1)] => {
                    net.upserts.push(row);
                    None
                }
                [_] => Some("a multiplicity other than 1 and -1"),
                [(_, -1), (row, 1)] if !whole => {
                    net.upserts.push(row);
                    None
                }
                _ => Some("more than one net row"),
            };
            if let Some(what) = fault {
                let text = |(value, column): (&Value, &values::Column)| crate::text::value(value, column.ty);
                let key: Vec<String> = key(&group[0]).iter().zip(table.columns).filter_map(text).collect();
                return Err(SinkError::NotNet {
                    table: table.name,
                    what,
                    key: key.join(", "),
                });
            }
        }
        Ok(net)
    }
}

/// The newest record of each key of one cleaned table.
#[derive(Default)]
pub(crate) struct Newest<'a> {
    pub(crate) rows: Vec<&'a CleanedRow>,
    pub(crate) deletes: Vec<&'a CleanedRow>,
}

/// Checks cleaned rows against their tables and sorts out the newest of each key, by table.
pub(crate) fn newest_by_table<'a>(
    definition: &Definition,
    rows: &'a [CleanedRow],
) -> Result<Vec<Newest<'a>>, SinkError> {
    let mut tables: Vec<Vec<&CleanedRow>> = definition.cleaned.iter().map(|_| Vec::new()).collect();
    if !definition.keep_cleaned {
        return Ok(Vec::new());
    }
    for row in rows {
        let index = usize::from(row.table);
        let Some(table) = definition.cleaned.get(index) else {
            return Err(SinkError::Order(
                "a cleaned row names a table that the definition does not have",
            ));
        };
        check_cleaned(table, row)?;
        tables[index].push(row);
    }
    Ok(tables.into_iter().map(newest).collect())
}

fn newest(mut records: Vec<&CleanedRow>) -> Newest<'_> {
    records.sort_by_key(|record| (record.ind, record.position));
    let last_of_key = records
        .chunk_by(|a, b| a.ind == b.ind)
        .filter_map(|key| key.last().copied());
    let (rows, deletes) = last_of_key.partition(|record| record.row.is_some());
    Newest { rows, deletes }
}

/// Checks one cleaned row against its table.
pub(crate) fn check_cleaned(table: &Table, cleaned: &CleanedRow) -> Result<(), SinkError> {
    let Some(row) = &cleaned.row else { return Ok(()) };
    check_row(table, row)?;
    if !matches!(row[0], Value::Int(ind) if ind == cleaned.ind) {
        let what = format!("row of {:?}, sent as {}", row[0], cleaned.ind);
        return Err(SinkError::Value {
            table: table.name,
            column: table.columns[0].name,
            what,
        });
    }
    Ok(())
}

impl Reject {
    /// The two columns that identify it.
    pub(crate) fn source(&self) -> (String, i64) {
        match &self.place {
            RejectPlace::Log { partition, offset, .. } => (format!("{}/{partition}", self.topic), *offset),
            RejectPlace::Object { object, index } => (object.clone(), *index),
        }
    }

    pub(crate) fn object(&self) -> Option<&str> {
        match &self.place {
            RejectPlace::Log { object, .. } => object.as_deref(),
            RejectPlace::Object { object, .. } => Some(object),
        }
    }

    pub(crate) fn partition(&self) -> Option<i32> {
        match &self.place {
            RejectPlace::Log { partition, .. } => Some(*partition),
            RejectPlace::Object { .. } => None,
        }
    }

    pub(crate) fn offset(&self) -> Option<i64> {
        match &self.place {
            RejectPlace::Log { offset, .. } => Some(*offset),
            RejectPlace::Object { .. } => None,
        }
    }

    /// About how many bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        64 + self.topic.len()
            + self.reason.len()
            + self.object().map_or(0, str::len)
            + self.key.as_ref().map_or(0, Vec::len)
            + self.value.as_ref().map_or(0, Vec::len)
    }
}

impl CleanedRow {
    /// About how many bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        48 + self.row.as_ref().map_or(0, |row| bytes(row))
    }
}

/// About how many bytes values take on the wire.
pub(crate) fn bytes(values: &[Value]) -> usize {
    let value = |value: &Value| match value {
        Value::Text(symbol) => 4 + symbol.text().len(),
        Value::String(text) => 4 + text.len(),
        Value::Bytes(bytes) => 4 + bytes.len(),
        Value::Floats(values) => 24 + 12 * values.len(),
        Value::Null => 4,
        Value::Int(_) | Value::Float(_) => 12,
    };
    values.iter().map(value).sum()
}
