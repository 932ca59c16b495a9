//! All result tables at one commit, and the step to the next one.
//!
//! A state never changes: whoever holds one reads all tables at one commit, while the next states share what stays. A
//! table larger than [`Bounds`] is not held, and is read from PostgreSQL; it is held again after the next full snapshot
//! in which it fits.

use crate::cell::Shape;
use crate::frontier::Frontier;
use crate::order::compare_keys;
use crate::queue::Committed;
use crate::recent::{Delta, TableDelta};
use crate::rows::{Change, Mismatch, Rows, difference};
use bytes::Bytes;
use operators::{Row, Table};
use std::sync::{Arc, OnceLock};

/// What is held in memory at most.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Rows of a table.
    pub table_rows: usize,
    /// Bytes of a table's rows.
    pub table_bytes: usize,
    /// Bytes of the rows of all tables.
    pub all_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            table_rows: 100_000,
            table_bytes: 32 << 20,
            all_bytes: 128 << 20,
        }
    }
}

impl Bounds {
    /// Whether a table may be held.
    pub fn fit(&self, rows: &Rows) -> bool {
        rows.len() <= self.table_rows && rows.bytes() <= self.table_bytes
    }
}

/// See the module's head.
#[derive(Debug, Default)]
pub struct State {
    /// The commit.
    pub commit: i64,
    /// Its frontier.
    pub frontier: Frontier,
    /// The result tables, by number.
    pub tables: Vec<TableState>,
    frontier_json: OnceLock<Bytes>,
}

/// One table of a [`State`].
#[derive(Clone, Debug)]
pub struct TableState {
    /// Its rows, if they are held.
    pub content: Content,
    /// How many rows it has.
    pub rows: u64,
    /// The commit that changed it last, or a later one when that is not known.
    pub changed: i64,
}

/// Where the rows of a table are.
#[derive(Clone, Debug)]
pub enum Content {
    /// Here.
    Held(Rows),
    /// In PostgreSQL alone.
    Large,
    /// Nowhere: the first commit of this run makes the table.
    Absent,
}

impl State {
    /// The frontier as JSON.
    pub fn frontier_json(&self) -> Bytes {
        let json = || Bytes::from(self.frontier.json());
        self.frontier_json.get_or_init(json).clone()
    }

    /// The state after the next commit, and what it changed.
    ///
    /// # Errors
    /// The commit does not follow this state, or changes rows that are not there.
    pub fn after(&self, shapes: &[Shape], bounds: &Bounds, commit: Committed) -> Result<(State, Delta), Mismatch> {
        if commit.number != self.commit + 1 || commit.results.len() != self.tables.len() {
            return Err(Mismatch);
        }
        let (mut tables, mut deltas) = (self.tables.clone(), Vec::new());
        for (number, rows) in commit.results.into_iter().enumerate() {
            let (table, shape) = (&mut tables[number], &shapes[number]);
            let changes = changes(&shape.table, rows)?;
            if changes.is_empty() {
                continue;
            }
            let count = |side: fn(&Change) -> bool| changes.iter().filter(|change| side(change)).count() as u64;
            let came = count(|change| change.new.is_some());
            let gone = count(|change| change.old.is_some());
            match &mut table.content {
                Content::Held(rows) => {
                    rows.apply(&shape.table, &changes)?;
                    if !bounds.fit(rows) {
                        table.content = Content::Large;
                    }
                }
                Content::Large => {}
                Content::Absent => return Err(Mismatch),
            }
            table.rows = (table.rows + came).saturating_sub(gone);
            table.changed = commit.number;
            deltas.push((number, TableDelta::Changes(changes)));
        }
        let state = State {
            commit: commit.number,
            frontier: commit.frontier,
            tables: within(tables, bounds),
            frontier_json: OnceLock::new(),
        };
        let delta = Delta {
            from: self.commit,
            to: commit.number,
            tables: deltas,
        };
        Ok((state, delta))
    }

    /// The state with these contents (and numbers of rows) of all tables, and what changed since `before`, if there was
    /// an earlier one.
    pub fn replacing(
        before: Option<&State>,
        shapes: &[Shape],
        bounds: &Bounds,
        commit: i64,
        frontier: Frontier,
        contents: Vec<(Content, u64)>,
    ) -> (State, Option<Delta>) {
        let before = before.filter(|before| before.commit < commit);
        let (mut tables, mut deltas) = (Vec::with_capacity(contents.len()), Vec::new());
        for (number, (content, rows)) in contents.into_iter().enumerate() {
            let was = before.and_then(|before| before.tables.get(number));
            let delta = match (was.map(|was| &was.content), &content) {
                (Some(Content::Held(old)), Content::Held(new)) => {
                    TableDelta::Changes(difference(&shapes[number].table, old, new))
                }
                (Some(Content::Absent), Content::Absent) => TableDelta::Changes(Vec::new()),
                _ => TableDelta::Unknown,
            };
            let same = delta == TableDelta::Changes(Vec::new());
            tables.push(TableState {
                content,
                rows,
                changed: was.filter(|_| same).map_or(commit, |was| was.changed),
            });
            if !same {
                deltas.push((number, delta));
            }
        }
        let state = State {
            commit,
            frontier,
            tables: within(tables, bounds),
            frontier_json: OnceLock::new(),
        };
        let delta = before.map(|before| Delta {
            from: before.commit,
            to: commit,
            tables: deltas,
        });
        (state, delta)
    }
}

/// The contents of a full snapshot.
pub fn contents(shapes: &[Shape], bounds: &Bounds, results: Vec<Vec<(Row, isize)>>) -> Vec<(Content, u64)> {
    let content = |(shape, rows): (&Shape, Vec<(Row, isize)>)| {
        let count = rows.len() as u64;
        if rows.len() > bounds.table_rows {
            return (Content::Large, count);
        }
        let rows = rows.into_iter().map(|(row, _)| Arc::new(row)).collect();
        let rows = Rows::of(&shape.table, rows);
        let content = if bounds.fit(&rows) {
            Content::Held(rows)
        } else {
            Content::Large
        };
        (content, count)
    };
    shapes.iter().zip(results).map(content).collect()
}

/// Lets go of the largest tables until the others fit.
fn within(mut tables: Vec<TableState>, bounds: &Bounds) -> Vec<TableState> {
    let bytes = |table: &TableState| match &table.content {
        Content::Held(rows) => rows.bytes(),
        Content::Large | Content::Absent => 0,
    };
    while tables.iter().map(bytes).sum::<usize>() > bounds.all_bytes {
        if let Some(largest) = tables.iter_mut().max_by_key(|table| bytes(table)) {
            largest.content = Content::Large;
        }
    }
    tables
}

/// Rows that went and came as changes, in the order of keys; a row that went and came alike is none.
fn changes(table: &Table, mut rows: Vec<(Row, isize)>) -> Result<Vec<Change>, Mismatch> {
    rows.sort_unstable_by(|(a, gone), (b, came)| compare_keys(table, a, b).then(gone.cmp(came)));
    let mut changes: Vec<Change> = Vec::with_capacity(rows.len());
    for (row, diff) in rows {
        let row = Arc::new(row);
        match (diff, changes.last_mut()) {
            (1, Some(last)) if last.new.is_none() && compare_keys(table, last.row(), &row).is_eq() => {
                last.new = Some(row);
            }
            (1, _) => changes.push(Change {
                old: None,
                new: Some(row),
            }),
            (-1, _) => changes.push(Change {
                old: Some(row),
                new: None,
            }),
            _ => return Err(Mismatch),
        }
    }
    let once = changes
        .windows(2)
        .all(|two| compare_keys(table, two[0].row(), two[1].row()).is_lt());
    changes.retain(|change| change.old != change.new);
    if once { Ok(changes) } else { Err(Mismatch) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::tests::{TABLE, change, row};
    use operators::Value;

    fn committed(number: i64, rows: Vec<(i64, i64, isize)>) -> Committed {
        let rows = rows
            .into_iter()
            .map(|(key, value, diff)| (vec![Value::Int(key), Value::Int(value)], diff));
        Committed {
            number,
            full_snapshot: false,
            frontier: Frontier::default(),
            results: vec![rows.collect()],
        }
    }

    fn begin(bounds: &Bounds, rows: i64) -> State {
        let rows = (0..rows).map(|key| (vec![Value::Int(key), Value::Int(0)], 1)).collect();
        let shapes = [Shape::new(TABLE)];
        let contents = contents(&shapes, bounds, vec![rows]);
        State::replacing(None, &shapes, bounds, 10, Frontier::default(), contents).0
    }

    #[test]
    fn commits_follow_each_other_and_name_what_they_change() {
        let (bounds, shapes) = (Bounds::default(), [Shape::new(TABLE)]);
        let first = begin(&bounds, 3);
        let commit = committed(11, vec![(1, 5, 1), (1, 0, -1), (9, 9, 1), (2, 0, -1)]);
        let (second, delta) = first.after(&shapes, &bounds, commit).unwrap();
        assert_eq!(
            (second.commit, second.tables[0].rows, second.tables[0].changed),
            (11, 3, 11)
        );
        let expected = vec![
            change(1, Some(0), Some(5)),
            change(2, Some(0), None),
            change(9, None, Some(9)),
        ];
        assert_eq!((delta.from, delta.to), (10, 11));
        assert_eq!(delta.tables, [(0, TableDelta::Changes(expected))]);
        let (third, delta) = second.after(&shapes, &bounds, committed(12, Vec::new())).unwrap();
        assert_eq!((third.commit, third.tables[0].changed, delta.tables.len()), (12, 11, 0));
        for (number, rows) in [
            (14, Vec::new()),
            (12, Vec::new()),
            (13, vec![(1, 0, -1)]),
            (13, vec![(1, 7, 1)]),
            (13, vec![(7, 7, 2)]),
            (13, vec![(7, 7, 1), (7, 8, 1)]),
        ] {
            assert!(third.after(&shapes, &bounds, committed(number, rows)).is_err());
        }
    }

    #[test]
    fn a_full_snapshot_is_a_difference_to_what_was_there() {
        let (bounds, shapes) = (Bounds::default(), [Shape::new(TABLE)]);
        let first = begin(&bounds, 3);
        let rows = Rows::of(&TABLE, vec![row(0, 0), row(1, 0), row(2, 7)]);
        let replace = |rows: Rows| {
            let contents = vec![(Content::Held(rows), 3)];
            State::replacing(Some(&first), &shapes, &bounds, 15, Frontier::default(), contents)
        };
        let (state, delta) = replace(rows);
        let delta = delta.unwrap();
        assert_eq!((state.tables[0].changed, delta.from, delta.to), (15, 10, 15));
        assert_eq!(
            delta.tables,
            [(0, TableDelta::Changes(vec![change(2, Some(0), Some(7))]))]
        );
        let (state, delta) = replace(Rows::of(&TABLE, vec![row(0, 0), row(1, 0), row(2, 0)]));
        assert_eq!((state.tables[0].changed, delta.unwrap().tables.len()), (10, 0));
    }

    #[test]
    fn tables_over_the_bounds_are_let_go() {
        let shapes = [Shape::new(TABLE)];
        let bounds = Bounds {
            table_rows: 3,
            ..Bounds::default()
        };
        assert!(matches!(begin(&bounds, 4).tables[0].content, Content::Large));
        let state = begin(&bounds, 3);
        assert!(matches!(state.tables[0].content, Content::Held(_)));
        let (state, _) = state.after(&shapes, &bounds, committed(11, vec![(7, 7, 1)])).unwrap();
        assert!(matches!(state.tables[0].content, Content::Large));
        let (state, delta) = state.after(&shapes, &bounds, committed(12, vec![(7, 7, -1)])).unwrap();
        assert_eq!((state.tables[0].rows, delta.tables.len()), (3, 1));
        for small in [
            Bounds {
                table_bytes: 100,
                ..Bounds::default()
            },
            Bounds {
                all_bytes: 100,
                ..Bounds::default()
            },
        ] {
            assert!(matches!(begin(&small, 3).tables[0].content, Content::Large));
        }
    }
}
