//! Tables against the plain evaluator.

use super::differing::{Differing, SHOWN, names, place, texts};
use super::held::{Found, Held, fingerprint};
use super::records::{Rejects, Replayed};
use dataflows::{CLEANED, Kind, Results};
use ingest::{Offset, TopicPartition};
use operators::{Ind, Position, Row, Table};
use std::collections::{BTreeMap, HashMap};

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
        let table = &result.table;
        differing.extend(Differing::of(table.name, names(table), held, wanted, |row| {
            texts(table, &row)
        }));
    }
    differing
}

/// Whether the tables and the log mean the same record: it has one position, unless the lake's object is inexact. Then
/// it has one by Kafka and another one by its line.
fn same_place(replayed: &Replayed, kind: Kind, held: Option<Position>, replay: Position) -> bool {
    let Some(held) = held else { return false };
    let same_partition = (held.generation(), held.partition()) == (replay.generation(), replay.partition());
    let around = |position: Position| {
        let at = TopicPartition::new(kind as u8, position.partition());
        replayed.inexact_around(at, position.offset())
    };
    held == replay || same_partition && around(held).is_some_and(|object| Some(object) == around(replay))
}

fn of_cleaned(
    table: &'static Table,
    kind: Kind,
    mut held: HashMap<Ind, Found>,
    replayed: &Replayed,
) -> Option<Differing> {
    let mut missing: Vec<(Ind, Position, &Row)> = Vec::new();
    let mut surplus: Vec<(Ind, Found)> = Vec::new();
    for (ind, position, row) in replayed.state.cleaned(kind) {
        match held.remove(&ind) {
            Some((at, print)) if print == fingerprint(row) && same_place(replayed, kind, at, position) => {}
            found => {
                missing.push((ind, position, row));
                surplus.extend(found.map(|found| (ind, found)));
            }
        }
    }
    surplus.extend(held);
    missing.sort_unstable_by_key(|(ind, ..)| *ind);
    surplus.sort_unstable_by_key(|(ind, _)| *ind);
    let with_place = |(_, position, row): &(Ind, Position, &Row)| {
        let mut texts = texts(table, row);
        texts.push(place(Some(*position)));
        texts
    };
    let mut columns = names(table);
    columns.push("position");
    let counts = [missing.len() as u64, surplus.len() as u64];
    let shown = missing.iter().take(SHOWN).map(with_place).collect();
    let mut differing = Differing::counted(table.name, columns, counts, [shown, Vec::new()])?;
    surplus.truncate(SHOWN);
    differing.to_fetch = Some((table, surplus));
    Some(differing)
}

fn of_tombstones(held: HashMap<(String, Ind), Option<Position>>, replayed: &Replayed) -> Option<Differing> {
    let mut wanted = Vec::new();
    for (table, kind) in CLEANED.iter().zip(Kind::ALL) {
        wanted.extend(
            replayed
                .state
                .deleted(kind)
                .map(|(ind, at)| (table.name.to_owned(), ind, Some(at))),
        );
    }
    let kind_of = |table: &str| {
        let mut kinds = CLEANED.iter().zip(Kind::ALL);
        kinds.find(|(cleaned, _)| cleaned.name == table).map(|(_, kind)| kind)
    };
    // a delete of an inexact object may stand at its place in Kafka
    for (table, ind, at) in &mut wanted {
        let found = held.get(&(table.clone(), *ind)).copied().flatten();
        if let (Some(kind), Some(replay)) = (kind_of(table), *at)
            && same_place(replayed, kind, found, replay)
        {
            *at = found;
        }
    }
    // compaction removes deletes after a while; the one that we have seen still stands
    let vanished = |table: &str, at: Position| {
        let place = |kind: Kind| TopicPartition::new(kind as u8, at.partition());
        kind_of(table).is_some_and(|kind| replayed.has_vanished(place(kind), at.offset()))
    };
    let kept = |(table, ind, at): &(String, Ind, Option<Position>)| {
        !at.is_some_and(|at| vanished(table, at)) || wanted.contains(&(table.clone(), *ind, *at))
    };
    let held = held
        .into_iter()
        .map(|((table, ind), at)| (table, ind, at))
        .filter(kept)
        .collect();
    Differing::of(
        "tombstones",
        vec!["table", "ind", "position"],
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
    Differing::of(
        "rejects",
        vec!["source", "position", "reason"],
        have,
        want,
        |(source, at, reason)| vec![Some(source), Some(at.to_string()), Some(reason)],
    )
}

/// Whether the limits of the table left no room for a dead letter, at its place or at another one in the inexact object
/// around it.
fn was_dropped(replayed: &Replayed, source: &str, at: i64, dropped: &[sinks::DroppedRejects]) -> bool {
    let log = replayed.source(source);
    let first = log.and_then(|place| replayed.inexact_around(place, Offset(at)));
    let first = first.map_or(at, |object| object.start.0.min(at));
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
        .and_then(|place| replayed.inexact_around(place, Offset(at)));
    let (Some(object), Some(letters)) = (object, letters) else {
        return false;
    };
    letters
        .range(object.start.0..object.end.0)
        .any(|(_, other)| other.as_ref() == reason)
}

#[cfg(test)]
mod tests {
    use super::super::records::Reading;
    use super::*;
    use dataflows::{Limits, Options, State};
    use operators::{Offset, Partition, Value};

    fn results() -> Results {
        Results::built_in(&Options::default())
    }

    fn at(offset: i64) -> Position {
        Position::new(1, Offset(offset), Partition(0)).unwrap()
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
            place: ingest::lake::Place::Log {
                partition: Partition(0),
                start: Offset(0),
            },
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
        let mut cleaned: [HashMap<Ind, Found>; 3] = Default::default();
        for kind in Kind::ALL {
            for (ind, position, row) in replayed.state.cleaned(kind) {
                cleaned[kind as usize].insert(ind, (Some(position), fingerprint(row)));
            }
        }
        Held {
            results: replayed.state.results(&results()),
            cleaned: Some(cleaned),
            tombstones: [(("geo_table".to_owned(), Ind(3)), Some(at(4)))].into(),
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
        geo.get_mut(&Ind(1)).unwrap().1 ^= 1;
        geo.remove(&Ind(2));
        geo.insert(Ind(9), (Some(at(9)), 0));
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
            moved.cleaned.as_mut().unwrap()[1].get_mut(&Ind(1)).unwrap().0 = position;
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
        older.tombstones.insert(("geo_table".to_owned(), Ind(8)), Some(at(50)));
        older.rejects.get_mut("geo/0").unwrap().insert(51, "empty".to_owned());
        replayed.vanished.insert(
            TopicPartition::new(1, Partition(0)),
            std::iter::once(Offset::range(40..51)).collect(),
        );
        assert_eq!(summary(older, &replayed), [("rejects", 0, 1)]);
        let mut older = held(&replayed);
        older.tombstones.insert(("geo_table".to_owned(), Ind(8)), Some(at(50)));
        older.rejects.get_mut("geo/0").unwrap().insert(51, "empty".to_owned());
        replayed.vanished.insert(
            TopicPartition::new(1, Partition(0)),
            std::iter::once(Offset::range(51..60)).collect(),
        );
        assert_eq!(summary(older, &replayed), [("tombstones", 0, 1)]);
        // a record that is there is compared, wherever it was read
        replayed.vanished.insert(
            TopicPartition::new(1, Partition(0)),
            std::iter::once(Offset::range(0..60)).collect(),
        );
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
}
