//! A table that is not what it should be, with the first of the rows in which it differs.

use super::held::{Found, fingerprint};
use operators::{Ind, Position, Table, Value};
use sinks::{FoundRow, SinkError, Snapshot, TableCheck};

/// Rows shown of each side of a table.
pub const SHOWN: usize = 20;

/// A row as it is shown: a text for each column, none for null.
pub type Texts = Vec<Option<String>>;

/// A table that is not what it should be.
#[derive(Debug, Default)]
pub struct Differing {
    /// The table.
    pub name: &'static str,
    /// The names of its columns.
    pub columns: Vec<&'static str>,
    /// Rows that it lacks.
    pub missing: u64,
    /// Rows that it should not hold.
    pub surplus: u64,
    /// The first of the missing rows.
    pub missing_rows: Vec<Texts>,
    /// The first of the surplus rows.
    pub surplus_rows: Vec<Texts>,
    /// Surplus rows of a cleaned table that are still to be fetched.
    pub(super) to_fetch: Option<(&'static Table, Vec<(Ind, Found)>)>,
}

impl Differing {
    /// What each side of a table lacks; nothing when both are the same.
    pub(super) fn of<T: Ord>(
        name: &'static str,
        columns: Vec<&'static str>,
        mut held: Vec<T>,
        mut wanted: Vec<T>,
        texts: impl Fn(T) -> Texts,
    ) -> Option<Differing> {
        held.sort_unstable();
        wanted.sort_unstable();
        let (missing, surplus) = unshared(held, wanted);
        let counts = [missing.len() as u64, surplus.len() as u64];
        let shown = |rows: Vec<T>| rows.into_iter().take(SHOWN).map(&texts).collect();
        Differing::counted(name, columns, counts, [shown(missing), shown(surplus)])
    }

    /// A result table that is not what its SQL says.
    pub(super) fn of_check(check: TableCheck, table: &Table) -> Option<Differing> {
        let (missing, surplus): (Vec<_>, Vec<_>) = check
            .rows
            .into_iter()
            .partition(|difference| difference.side == sinks::Side::Missing);
        let rows = |rows: Vec<sinks::Difference>| rows.into_iter().map(|difference| difference.row).collect();
        let counts = [check.missing, check.surplus];
        Differing::counted(check.table, names(table), counts, [rows(missing), rows(surplus)])
    }

    /// So many missing and surplus rows, and the first of them; nothing when there are none.
    pub(super) fn counted(
        name: &'static str,
        columns: Vec<&'static str>,
        [missing, surplus]: [u64; 2],
        [missing_rows, surplus_rows]: [Vec<Texts>; 2],
    ) -> Option<Differing> {
        (missing > 0 || surplus > 0).then_some(Differing {
            name,
            columns,
            missing,
            surplus,
            missing_rows,
            surplus_rows,
            to_fetch: None,
        })
    }

    /// Whether rows that are to be shown have to be fetched.
    pub(super) fn lacks_rows(&self) -> bool {
        self.to_fetch.as_ref().is_some_and(|(_, rows)| !rows.is_empty())
    }

    /// Fetches the surplus rows of a cleaned table; one that a live run has written again since is shown as such.
    pub(super) async fn fetch_surplus(&mut self, snapshot: &Snapshot) -> Result<(), SinkError> {
        let Some((table, rows)) = self.to_fetch.take() else {
            return Ok(());
        };
        let inds: Vec<Ind> = rows.iter().map(|(ind, _)| *ind).collect();
        let now = snapshot.cleaned_of(table, &inds).await?;
        for (ind, (position, print)) in rows {
            let same = |row: &&FoundRow| row.ind == ind && row.position == position;
            let found = now.iter().find(same).filter(|row| fingerprint(&row.row) == print);
            let mut shown = match found {
                Some(found) => texts(table, &found.row),
                None => vec![Some(ind.to_string()), Some("(written again since)".to_owned())],
            };
            shown.push(place(position));
            self.surplus_rows.push(shown);
        }
        Ok(())
    }
}

/// What two ordered lists do not share: what the first lacks, and what it has beyond the second.
fn unshared<T: Ord>(held: Vec<T>, wanted: Vec<T>) -> (Vec<T>, Vec<T>) {
    let (mut held, mut wanted) = (held.into_iter().peekable(), wanted.into_iter().peekable());
    let (mut missing, mut surplus) = (Vec::new(), Vec::new());
    loop {
        match (held.peek(), wanted.peek()) {
            (Some(have), Some(want)) if have == want => drop((held.next(), wanted.next())),
            (Some(have), Some(want)) if have < want => surplus.extend(held.next()),
            (_, Some(_)) => missing.extend(wanted.next()),
            (Some(_), None) => surplus.extend(held.next()),
            (None, None) => return (missing, surplus),
        }
    }
}

/// The names of a table's columns.
pub fn names(table: &Table) -> Vec<&'static str> {
    table.columns.iter().map(|column| column.name).collect()
}

/// A row as it is shown.
pub fn texts(table: &Table, row: &[Value]) -> Texts {
    row.iter()
        .zip(table.columns)
        .map(|(value, column)| sinks::text::value(value, column.ty))
        .collect()
}

/// What a person can look up: generation, partition and offset.
pub fn place(position: Option<Position>) -> Option<String> {
    Some(position.map_or_else(|| "no position".to_owned(), |position| format!("{position:?}")))
}
