//! Tables against the plain evaluator.
//!
//! Of a cleaned row only its position and a fingerprint are held, 24 bytes a row: the evaluator holds the rows, and
//! those few of the table that are shown are fetched again by key.

use super::records::{Rejects, Replayed};
use crate::config::VerifySettings;
use dataflows::{CLEANED, Kind, Results};
use operators::{Position, Row, Table, Value};
use sinks::{SinkError, Snapshot, TableCheck, UNKNOWN_TOPIC};
use std::collections::{BTreeMap, HashMap};
use xxhash_rust::xxh3::xxh3_64;

/// Rows shown of each side of a table.
pub const SHOWN: usize = 20;

/// Which row of a cleaned table: where it is from, and what is in it.
type Found = (Option<Position>, u64);

/// What the tables held at one commit.
pub struct Held {
    results: Vec<Vec<Row>>,
    /// By kind and key; nothing when the cleaned tables are not kept.
    cleaned: Option<[HashMap<i64, Found>; 3]>,
    tombstones: HashMap<(String, i64), Option<Position>>,
    rejects: HashMap<String, BTreeMap<i64, String>>,
    dropped: Vec<sinks::DroppedRejects>,
}

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
    pub missing_rows: Vec<Vec<Option<String>>>,
    /// The first of the surplus rows.
    pub surplus_rows: Vec<Vec<Option<String>>>,
    /// Surplus rows of a cleaned table that are still to be fetched.
    pub to_fetch: Option<(&'static Table, Vec<(i64, Found)>)>,
}

impl Held {
    /// Reads all tables of a snapshot. Rejects of topics that are not `named` are left out: they stay when a topic is
    /// replaced, and no log that is read here says anything about them.
    pub async fn read(snapshot: &Snapshot, kept: bool, settings: &VerifySettings) -> Result<Held, SinkError> {
        let (mut results, named) = (Vec::new(), &settings.log.topics);
        for result in settings.tables.results.definitions() {
            results.push(snapshot.table(&result.table).await?);
        }
        let mut rejects: HashMap<String, BTreeMap<i64, String>> = HashMap::new();
        let is_named = |topic: &str| topic == UNKNOWN_TOPIC || named.number(topic).is_some();
        let each = |found: sinks::FoundReject| {
            if !is_named(&found.topic) {
                return;
            }
            rejects
                .entry(found.source)
                .or_default()
                .insert(found.position, found.reason);
        };
        snapshot.rejects(each).await?;
        let mut held = Held {
            results,
            cleaned: None,
            tombstones: HashMap::new(),
            rejects,
            dropped: snapshot.dropped_rejects().await?,
        };
        if kept {
            let mut cleaned: [HashMap<i64, Found>; 3] = Default::default();
            let mut scratch = Vec::new();
            for (table, rows) in CLEANED.iter().zip(&mut cleaned) {
                let each = |found: sinks::FoundRow| {
                    rows.insert(found.ind, (found.position, fingerprint(&found.row, &mut scratch)));
                };
                snapshot.cleaned(table, each).await?;
            }
            held.cleaned = Some(cleaned);
            let found = snapshot.tombstones().await?.into_iter();
            held.tombstones = found.map(|found| ((found.table, found.ind), found.position)).collect();
        }
        Ok(held)
    }
}

/// How many tables a replay compares: results, cleaned tables and their tombstones, and rejects.
pub fn tables(results: &Results, kept: bool) -> usize {
    results.definitions().len() + 1 + if kept { CLEANED.len() + 1 } else { 0 }
}

/// The tables that are not what the replayed log says.
pub fn differing(held: Held, replayed: &Replayed, results: &Results) -> Vec<Differing> {
    let mut differing = Vec::new();
    if let Some(cleaned) = held.cleaned {
        for ((table, kind), rows) in CLEANED.iter().zip(Kind::ALL).zip(cleaned) {
            differing.extend(of_cleaned(table, kind, rows, replayed));
        }
        differing.extend(of_tombstones(held.tombstones, replayed));
    }
    differing.extend(of_rejects(&held.rejects, &held.dropped, replayed));
    let wanted = replayed.state.results(results);
    for ((result, held), wanted) in results.definitions().iter().zip(held.results).zip(wanted) {
        differing.extend(of_result(&result.table, held, wanted));
    }
    differing
}

fn names(table: &Table) -> Vec<&'static str> {
    table.columns.iter().map(|column| column.name).collect()
}

fn texts(table: &Table, row: &[Value]) -> Vec<Option<String>> {
    row.iter()
        .zip(table.columns)
        .map(|(value, column)| sinks::text::value(value, column.ty))
        .collect()
}

fn place(position: Option<Position>) -> Option<String> {
    // what a person can look up: generation, partition and offset
    Some(position.map_or_else(|| "no position".to_owned(), |position| format!("{position:?}")))
}

/// Whether the tables and the log mean the same record: it has one position, unless the lake's object is inexact. Then
/// it has one by Kafka and another one by its line.
fn same_place(replayed: &Replayed, kind: Kind, held: Option<Position>, replay: Position) -> bool {
    let Some(held) = held else { return false };
    let same_partition = (held.generation(), held.partition()) == (replay.generation(), replay.partition());
    let around = |position: Position| {
        let at = (kind as u8, position.partition());
        replayed.inexact_around(at, position.offset())
    };
    held == replay || same_partition && around(held).is_some_and(|object| Some(object) == around(replay))
}

/// What two ordered lists do not share.
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

fn of_result(table: &Table, held: Vec<Row>, wanted: Vec<Row>) -> Option<Differing> {
    let (missing, surplus) = unshared(held, wanted);
    let shown = |rows: &[Row]| rows.iter().take(SHOWN).map(|row| texts(table, row)).collect();
    Differing {
        name: table.name,
        columns: names(table),
        missing: missing.len() as u64,
        surplus: surplus.len() as u64,
        missing_rows: shown(&missing),
        surplus_rows: shown(&surplus),
        to_fetch: None,
    }
    .if_any()
}

fn of_cleaned(
    table: &'static Table,
    kind: Kind,
    mut held: HashMap<i64, Found>,
    replayed: &Replayed,
) -> Option<Differing> {
    let mut scratch = Vec::new();
    let mut missing: Vec<(i64, Position, &Row)> = Vec::new();
    let mut surplus: Vec<(i64, Found)> = Vec::new();
    for (ind, position, row) in replayed.state.cleaned(kind) {
        match held.remove(&ind) {
            Some((at, print))
                if print == fingerprint(row, &mut scratch) && same_place(replayed, kind, at, position) => {}
            found => {
                missing.push((ind, position, row));
                surplus.extend(found.map(|found| (ind, found)));
            }
        }
    }
    surplus.extend(held);
    missing.sort_unstable_by_key(|(ind, ..)| *ind);
    surplus.sort_unstable_by_key(|(ind, _)| *ind);
    let with_place = |(_, position, row): &(i64, Position, &Row)| {
        let mut texts = texts(table, row);
        texts.push(place(Some(*position)));
        texts
    };
    let mut columns = names(table);
    columns.push("position");
    let (missing_count, surplus_count) = (missing.len() as u64, surplus.len() as u64);
    surplus.truncate(SHOWN);
    Differing {
        name: table.name,
        columns,
        missing: missing_count,
        surplus: surplus_count,
        missing_rows: missing.iter().take(SHOWN).map(with_place).collect(),
        surplus_rows: Vec::new(),
        to_fetch: Some((table, surplus)),
    }
    .if_any()
}

fn of_tombstones(held: HashMap<(String, i64), Option<Position>>, replayed: &Replayed) -> Option<Differing> {
    let mut wanted = Vec::new();
    for (table, kind) in CLEANED.iter().zip(Kind::ALL) {
        wanted.extend(
            replayed
                .state
                .deleted(kind)
                .map(|(ind, at)| (table.name.to_owned(), ind, Some(at))),
        );
    }
    // compaction removes deletes after a while; the one that we have seen still stands
    let vanished = |table: &str, at: Position| {
        let kind = CLEANED.iter().zip(Kind::ALL).find(|(cleaned, _)| cleaned.name == table);
        kind.is_some_and(|(_, kind)| replayed.has_vanished((kind as u8, at.partition()), at.offset()))
    };
    // a delete of an inexact object may stand at its place in Kafka
    for (table, ind, at) in &mut wanted {
        let kind = CLEANED.iter().zip(Kind::ALL).find(|(cleaned, _)| cleaned.name == table);
        let found = held.get(&(table.clone(), *ind)).copied().flatten();
        if let (Some((_, kind)), Some(replay)) = (kind, *at)
            && same_place(replayed, kind, found, replay)
        {
            *at = found;
        }
    }
    let kept = |(table, ind, at): &(String, i64, Option<Position>)| {
        !at.is_some_and(|at| vanished(table, at)) || wanted.contains(&(table.clone(), *ind, *at))
    };
    let held = held
        .into_iter()
        .map(|((table, ind), at)| (table, ind, at))
        .filter(kept)
        .collect();
    of_lists(
        "tombstones",
        ["table", "ind", "position"],
        held,
        wanted,
        |(table, ind, at)| vec![Some(table), Some(ind.to_string()), place(at)],
    )
}

fn of_rejects(
    held: &HashMap<String, BTreeMap<i64, String>>,
    dropped: &[sinks::DroppedRejects],
    replayed: &Replayed,
) -> Option<Differing> {
    let wanted: &Rejects = &replayed.rejects;
    // most sources agree, and those are not listed
    let same = |source: &String| match (held.get(source), wanted.get(source)) {
        (Some(held), Some(wanted)) if held.len() == wanted.len() => {
            held.iter().zip(wanted).all(|((a, x), (b, y))| a == b && x == y)
        }
        _ => false,
    };
    let (mut have, mut want) = (Vec::new(), Vec::new());
    for (source, letters) in held.iter().filter(|(source, _)| !same(source)) {
        // what compaction has removed since is not there to be rejected again
        let there = letters.iter().filter(|(at, _)| {
            wanted.get(source).is_some_and(|letters| letters.contains_key(at))
                || !replayed.letter_has_vanished(source, **at)
        });
        let there = there.filter(|(at, reason)| !has_near(replayed, source, **at, reason, wanted.get(source)));
        have.extend(there.map(|(at, reason)| (source.clone(), *at, reason.clone())));
    }
    for (source, letters) in wanted.iter().filter(|(source, _)| !same(source)) {
        want.extend(
            letters
                .iter()
                .filter(|(at, reason)| !has_near(replayed, source, **at, reason, held.get(source)))
                .filter(|(at, _)| !was_dropped(replayed, source, **at, dropped))
                .map(|(at, reason)| (source.clone(), *at, (*reason).to_owned())),
        );
    }
    of_lists(
        "rejects",
        ["source", "position", "reason"],
        have,
        want,
        |(source, at, reason)| vec![Some(source), Some(at.to_string()), Some(reason)],
    )
}

/// Whether the limits of the table left no room for a dead letter, at its place or at another one in the inexact object
/// around it.
fn was_dropped(replayed: &Replayed, source: &str, at: i64, dropped: &[sinks::DroppedRejects]) -> bool {
    let log = replayed.source(source);
    let first = log.and_then(|place| replayed.inexact_around(place, at));
    let first = first.map_or(at, |object| object.start.min(at));
    dropped
        .iter()
        .any(|dropped| dropped.covers(source, first, log.is_some()))
}

/// Whether `letters` has one for this reason in the inexact object around `at`: a dead letter may stand at its place in
/// Kafka, at its line, or at both.
fn has_near<R: AsRef<str>>(
    replayed: &Replayed,
    source: &str,
    at: i64,
    reason: &str,
    letters: Option<&BTreeMap<i64, R>>,
) -> bool {
    let object = replayed
        .source(source)
        .and_then(|place| replayed.inexact_around(place, at));
    let (Some(object), Some(letters)) = (object, letters) else {
        return false;
    };
    letters.range(object).any(|(_, other)| other.as_ref() == reason)
}

fn of_lists<T: Ord>(
    name: &'static str,
    columns: [&'static str; 3],
    mut held: Vec<T>,
    mut wanted: Vec<T>,
    texts: impl Fn(T) -> Vec<Option<String>>,
) -> Option<Differing> {
    held.sort_unstable();
    wanted.sort_unstable();
    let (missing, surplus) = unshared(held, wanted);
    Differing {
        name,
        columns: columns.to_vec(),
        missing: missing.len() as u64,
        surplus: surplus.len() as u64,
        missing_rows: missing.into_iter().take(SHOWN).map(&texts).collect(),
        surplus_rows: surplus.into_iter().take(SHOWN).map(&texts).collect(),
        to_fetch: None,
    }
    .if_any()
}

impl Differing {
    fn if_any(self) -> Option<Differing> {
        (self.missing > 0 || self.surplus > 0).then_some(self)
    }

    /// A result table that is not what its SQL says.
    pub fn of_check(check: TableCheck, table: &Table) -> Option<Differing> {
        let (missing, surplus): (Vec<_>, Vec<_>) = check
            .rows
            .into_iter()
            .partition(|difference| difference.side == sinks::Side::Missing);
        let rows = |rows: Vec<sinks::Difference>| rows.into_iter().map(|difference| difference.row).collect();
        Differing {
            name: check.table,
            columns: names(table),
            missing: check.missing,
            surplus: check.surplus,
            missing_rows: rows(missing),
            surplus_rows: rows(surplus),
            to_fetch: None,
        }
        .if_any()
    }

    /// Whether rows that are to be shown have to be fetched.
    pub fn lacks_rows(&self) -> bool {
        self.to_fetch.as_ref().is_some_and(|(_, rows)| !rows.is_empty())
    }

    /// Fetches the surplus rows of a cleaned table; one that a live run has written again since is shown as such.
    pub async fn fetch_surplus(&mut self, snapshot: &Snapshot) -> Result<(), SinkError> {
        let Some((table, rows)) = self.to_fetch.take() else {
            return Ok(());
        };
        let inds: Vec<i64> = rows.iter().map(|(ind, _)| *ind).collect();
        let now = snapshot.cleaned_of(table, &inds).await?;
        let mut scratch = Vec::new();
        for (ind, (position, print)) in rows {
            let same = |row: &&sinks::FoundRow| row.ind == ind && row.position == position;
            let found = now
                .iter()
                .find(same)
                .filter(|row| fingerprint(&row.row, &mut scratch) == print);
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

/// A hash of a row's values; equal rows have equal ones.
fn fingerprint(row: &Row, scratch: &mut Vec<u8>) -> u64 {
    scratch.clear();
    let mut text = |tag: u8, bytes: &[u8]| {
        scratch.push(tag);
        scratch.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        scratch.extend_from_slice(bytes);
    };
    for value in row {
        match value {
            Value::Null => text(0, &[]),
            Value::Int(int) => text(1, &int.to_le_bytes()),
            Value::Float(float) => text(2, &float.to_bits().to_le_bytes()),
            Value::Text(_) | Value::String(_) => text(3, value.as_str().unwrap_or_default().as_bytes()),
            Value::Floats(floats) => {
                let one = |float: &Option<f64>| [&[u8::from(float.is_some())][..], &bits(*float)].concat();
                text(4, &floats.iter().flat_map(one).collect::<Vec<u8>>());
            }
            Value::Bytes(bytes) => text(5, bytes),
        }
    }
    xxh3_64(scratch)
}

fn bits(float: Option<f64>) -> [u8; 8] {
    float.map_or(0, f64::to_bits).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::super::records::Reading;
    use super::*;
    use dataflows::{Limits, Options, State};

    fn results() -> Results {
        Results::built_in(&Options::default())
    }

    fn at(offset: i64) -> Position {
        Position::new(1, offset, 0).unwrap()
    }

    fn replayed(lines: &str) -> Replayed {
        let topics = engine::Topics::new([None, Some("geo".to_owned()), None]);
        let progress = sinks::Progress {
            partitions: [(
                ("geo".to_owned(), 0),
                sinks::PartitionProgress {
                    next: 100,
                    ..Default::default()
                },
            )]
            .into(),
            ..Default::default()
        };
        let recorded = super::super::recorded::Recorded::of(&progress, &topics);
        let mut replayed = Replayed::new(Limits::default(), topics, State::new());
        let object = ingest::lake::Object {
            key: "o".into(),
            size: 0,
            etag: None,
            topic: Some(1),
            place: ingest::lake::Place::Log { partition: 0, start: 0 },
            encoding: ingest::lake::Encoding::Plain,
            deletes: false,
            sidecar: false,
        };
        replayed.lines(&recorded, &Reading::of(object), lines.as_bytes());
        replayed
    }

    const LINES: &str = "{\"ind\":1,\"country\":\"A\"}\n{\"ind\":2,\"country\":\"B\"}\nno\n\
                         {\"ind\":3,\"country\":\"C\"}\n{\"ind\":3,\"__deleted\":true}\n";

    /// What the tables hold when all is well.
    fn held(replayed: &Replayed) -> Held {
        let mut cleaned: [HashMap<i64, Found>; 3] = Default::default();
        for kind in Kind::ALL {
            for (ind, position, row) in replayed.state.cleaned(kind) {
                cleaned[kind as usize].insert(ind, (Some(position), fingerprint(row, &mut Vec::new())));
            }
        }
        Held {
            results: replayed.state.results(&results()),
            cleaned: Some(cleaned),
            tombstones: [(("geo_table".to_owned(), 3), Some(at(4)))].into(),
            rejects: [("geo/0".to_owned(), [(2, "not_json".to_owned())].into())].into(),
            dropped: Vec::new(),
        }
    }

    fn summary(held: Held, replayed: &Replayed) -> Vec<(&'static str, u64, u64)> {
        let differing = differing(held, replayed, &results());
        differing
            .iter()
            .map(|table| (table.name, table.missing, table.surplus))
            .collect()
    }

    #[test]
    fn tables_as_they_should_be_do_not_differ() {
        let replayed = replayed(LINES);
        assert_eq!(summary(held(&replayed), &replayed), []);
    }

    #[test]
    fn a_changed_a_lost_and_an_added_row_of_a_cleaned_table_are_found() {
        let replayed = replayed(LINES);
        let mut changed = held(&replayed);
        let geo = &mut changed.cleaned.as_mut().unwrap()[1];
        geo.get_mut(&1).unwrap().1 ^= 1;
        geo.remove(&2);
        geo.insert(9, (Some(at(9)), 0));
        let found = differing(changed, &replayed, &results());
        assert_eq!(
            (found[0].name, found[0].missing, found[0].surplus, found.len()),
            ("geo_table", 2, 2, 1)
        );
        assert_eq!(found[0].missing_rows[1][1].as_deref(), Some("B"));
        assert!(found[0].lacks_rows());
    }

    #[test]
    fn a_right_row_from_a_wrong_position_differs() {
        let replayed = replayed(LINES);
        for position in [None, Some(at(7))] {
            let mut moved = held(&replayed);
            moved.cleaned.as_mut().unwrap()[1].get_mut(&1).unwrap().0 = position;
            assert_eq!(summary(moved, &replayed), [("geo_table", 1, 1)]);
        }
    }

    #[test]
    fn deletes_and_dead_letters_are_compared() {
        let replayed = replayed(LINES);
        let mut changed = held(&replayed);
        changed.tombstones.clear();
        changed.rejects.get_mut("geo/0").unwrap().insert(3, "empty".to_owned());
        changed
            .rejects
            .insert("pin/0".to_owned(), [(0, "empty".to_owned())].into());
        assert_eq!(summary(changed, &replayed), [("tombstones", 1, 0), ("rejects", 0, 2)]);
        let mut reason = held(&replayed);
        *reason.rejects.get_mut("geo/0").unwrap().get_mut(&2).unwrap() = "empty".to_owned();
        assert_eq!(summary(reason, &replayed), [("rejects", 1, 1)]);
        // one that there was no room for is not missed, those behind it are
        let mut limited = held(&replayed);
        limited.rejects.clear();
        let dropped = |past| sinks::DroppedRejects {
            source: Some("geo/0".into()),
            past,
            object: None,
            rows: 1,
        };
        limited.dropped = vec![dropped(2)];
        assert_eq!(summary(limited, &replayed), [("rejects", 1, 0)]);
        let mut limited = held(&replayed);
        limited.rejects.clear();
        limited.dropped = vec![dropped(3)];
        assert_eq!(summary(limited, &replayed), [("", 0, 0); 0]);
    }

    #[test]
    fn what_compaction_has_removed_since_is_no_difference() {
        let mut replayed = replayed(LINES);
        let mut older = held(&replayed);
        older.tombstones.insert(("geo_table".to_owned(), 8), Some(at(50)));
        older.rejects.get_mut("geo/0").unwrap().insert(51, "empty".to_owned());
        replayed.vanished.insert((1, 0), std::iter::once(40..51).collect());
        assert_eq!(summary(older, &replayed), [("rejects", 0, 1)]);
        let mut older = held(&replayed);
        older.tombstones.insert(("geo_table".to_owned(), 8), Some(at(50)));
        older.rejects.get_mut("geo/0").unwrap().insert(51, "empty".to_owned());
        replayed.vanished.insert((1, 0), std::iter::once(51..60).collect());
        assert_eq!(summary(older, &replayed), [("tombstones", 0, 1)]);
        // a record that is there is compared, wherever it was read
        replayed.vanished.insert((1, 0), std::iter::once(0..60).collect());
        assert_eq!(summary(held(&replayed), &replayed), []);
        let mut reason = held(&replayed);
        *reason.rejects.get_mut("geo/0").unwrap().get_mut(&2).unwrap() = "empty".to_owned();
        assert_eq!(summary(reason, &replayed), [("rejects", 1, 1)]);
    }

    #[test]
    fn without_cleaned_tables_results_and_rejects_are_compared() {
        let replayed = replayed(LINES);
        let mut off = held(&replayed);
        (off.cleaned, off.tombstones) = (None, HashMap::new());
        off.results[0].push(vec!["Z".into(), "art".into(), Value::Int(1), Value::Int(1)]);
        assert_eq!(summary(off, &replayed), [(results().definitions()[0].table.name, 0, 1)]);
        let results = results();
        assert_eq!((tables(&results, false), tables(&results, true)), (11, 15));
    }

    #[test]
    fn fingerprints_tell_values_and_their_borders_apart() {
        let rows: [Row; 8] = [
            vec!["ab".into(), "c".into()],
            vec!["a".into(), "bc".into()],
            vec!["abc".into(), Value::Null],
            vec![Value::Null, "abc".into()],
            vec![Value::Int(0), Value::Float(0.0)],
            vec![Value::Float(0.0), Value::Int(0)],
            vec![Value::Floats(Box::new([None, Some(0.0)])), Value::Null],
            vec![Value::Floats(Box::new([Some(0.0), None])), Value::Null],
        ];
        let mut prints: Vec<u64> = rows.iter().map(|row| fingerprint(row, &mut Vec::new())).collect();
        prints.sort_unstable();
        prints.dedup();
        assert_eq!(prints.len(), rows.len());
        let symbol = vec![Value::Text(operators::Symbol::new("ab")), "c".into()];
        assert_eq!(
            fingerprint(&symbol, &mut Vec::new()),
            fingerprint(&rows[0], &mut Vec::new())
        );
    }
}
