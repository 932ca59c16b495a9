//! The changes of a step, checked and sorted out by table before anything is sent.

use crate::definition::Definition;
use crate::encode::check_row;
use crate::error::SinkError;
use crate::rows::CleanedRow;
use values::{Row, Table, Value};

/// The net changes of one table, checked.
pub(crate) struct NetChanges<'a> {
    pub(crate) deletes: Vec<&'a Row>,
    pub(crate) upserts: Vec<&'a Row>,
}

impl<'a> NetChanges<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.deletes.is_empty() && self.upserts.is_empty()
    }

    /// Orders changes by key and checks that they are net; with `full_snapshot`, that there are only rows to keep.
    pub(crate) fn of(
        table: &Table,
        changes: &'a [(Row, isize)],
        full_snapshot: bool,
    ) -> Result<NetChanges<'a>, SinkError> {
        let mut sorted: Vec<&(Row, isize)> = changes.iter().collect();
        for (row, _) in changes {
            check_row(table, row)?;
        }
        let key = |change: &&'a (Row, isize)| -> &'a [Value] { &change.0[..table.key] };
        // deletes first within a key
        sorted.sort_by(|a, b| key(a).cmp(key(b)).then(a.1.cmp(&b.1)));
        let mut net = NetChanges {
            deletes: Vec::new(),
            upserts: Vec::new(),
        };
        for group in sorted.chunk_by(|a, b| key(a) == key(b)) {
            let fault = match group {
                [(_, -1)] if full_snapshot => Some("a delete in a full snapshot"),
                [(row, -1)] => {
                    net.deletes.push(row);
                    None
                }
                [(row, 1)] => {
                    net.upserts.push(row);
                    None
                }
                [_] => Some("a multiplicity other than 1 and -1"),
                [(_, -1), (row, 1)] if !full_snapshot => {
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
        debug_assert!(
            [&net.deletes, &net.upserts]
                .iter()
                .all(|rows| rows.is_sorted_by(|a, b| a[..table.key] < b[..table.key])),
            "net changes are in the order of their keys, each key once"
        );
        Ok(net)
    }
}

/// The latest record of each key of one cleaned table.
#[derive(Default)]
pub(crate) struct LatestRows<'a> {
    pub(crate) rows: Vec<&'a CleanedRow>,
    pub(crate) deletes: Vec<&'a CleanedRow>,
}

/// Checks cleaned rows against their tables and sorts out the latest of each key, by table.
pub(crate) fn latest_by_table<'a>(
    definition: &Definition,
    rows: &'a [CleanedRow],
) -> Result<Vec<LatestRows<'a>>, SinkError> {
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
    Ok(tables.into_iter().map(latest).collect())
}

fn latest(mut records: Vec<&CleanedRow>) -> LatestRows<'_> {
    records.sort_by_key(|record| (record.ind, record.position));
    let last_of_key = records
        .chunk_by(|a, b| a.ind == b.ind)
        .filter_map(|key| key.last().copied());
    let (rows, deletes) = last_of_key.partition(|record| record.row.is_some());
    let latest: LatestRows<'_> = LatestRows { rows, deletes };
    debug_assert!(
        [&latest.rows, &latest.deletes]
            .iter()
            .all(|rows| rows.is_sorted_by(|a, b| a.ind < b.ind)),
        "of each key one record is the latest"
    );
    latest
}

/// Checks one cleaned row against its table.
pub(crate) fn check_cleaned(table: &Table, cleaned: &CleanedRow) -> Result<(), SinkError> {
    let Some(row) = &cleaned.row else { return Ok(()) };
    check_row(table, row)?;
    if !matches!(row[0], Value::Int(ind) if ind == cleaned.ind.0) {
        let what = format!("row of {:?}, sent as {}", row[0], cleaned.ind);
        return Err(SinkError::Value {
            table: table.name,
            column: table.columns[0].name,
            what,
        });
    }
    Ok(())
}
