//! `top` against a sort of every group.

use crate::harness::{Schedule, Update, changes, compare, config, schedule, wishes};
use operators::top::{Keep, Order, Place, PlaceKind, top};
use operators::{Routing, Symbol};
use proptest::prelude::*;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

type Line = (Symbol, i64, i64);
/// Group, row, places.
type Shown = (u8, Line, Vec<i64>);

/// Columns, and whether the greatest value comes first.
#[derive(Clone, Debug)]
struct By(Vec<(u8, bool)>);

impl Order<Line> for By {
    fn terms(&self) -> usize {
        self.0.len()
    }

    fn compare(&self, a: &Line, b: &Line, terms: usize) -> Ordering {
        let compare = |(column, descending): &(u8, bool)| {
            let ordering = match column {
                0 => a.0.cmp(&b.0),
                1 => a.1.cmp(&b.1),
                _ => a.2.cmp(&b.2),
            };
            if *descending { ordering.reverse() } else { ordering }
        };
        self.0[..terms]
            .iter()
            .map(compare)
            .fold(Ordering::Equal, Ordering::then)
    }

    fn quick(&self) -> usize {
        self.0.iter().take_while(|(column, _)| *column != 0).count()
    }

    fn identity(&self, a: &Line, b: &Line) -> Ordering {
        (a.0.id(), a.1, a.2).cmp(&(b.0.id(), b.1, b.2))
    }
}

/// The definitions of SQL, for each row by itself.
fn naive(input: &BTreeMap<(u8, Line), isize>, by: &By, keep: &Keep, places: &[Place]) -> Vec<Shown> {
    let mut groups: BTreeMap<u8, Vec<Line>> = BTreeMap::new();
    for ((group, line), copies) in input {
        let lines = groups.entry(*group).or_default();
        lines.extend(std::iter::repeat_n(*line, *copies as usize));
    }
    let mut shown = Vec::new();
    for (group, mut lines) in groups {
        let compare = |a: &Line, b: &Line| by.compare(a, b, by.terms()).then(a.cmp(b));
        lines.sort_by(compare);
        // for each number of terms, how many rows stand before each group of peers
        let peers = (0..=by.terms()).map(|terms| {
            let groups = lines.chunk_by(|a, b| by.compare(a, b, terms).is_eq());
            let sizes = groups.map(<[Line]>::len);
            let starts = sizes.scan(0, |above, size| Some(std::mem::replace(above, *above + size)));
            starts.collect::<Vec<usize>>()
        });
        let peers: Vec<Vec<usize>> = peers.collect();
        for line in &lines {
            let number = |place: &Place| {
                let above = match place.kind {
                    PlaceKind::RowNumber => lines.partition_point(|other| compare(other, line).is_lt()),
                    _ => lines.partition_point(|other| by.compare(other, line, place.terms).is_lt()),
                };
                1 + match place.kind {
                    PlaceKind::DenseRank => peers[place.terms].partition_point(|start| *start < above),
                    _ => above,
                } as i64
            };
            let kept = match keep {
                Keep::All => true,
                Keep::Within(bounds) => bounds.iter().any(|(place, bound)| number(place) <= *bound as i64),
            };
            if kept {
                shown.push((group, *line, places.iter().map(number).collect()));
            }
        }
    }
    shown
}

fn check(schedule: Schedule, changes: &[Update<(u8, Line)>], by: By, keep: Keep, places: Vec<Place>) {
    let (order, kept, asked) = (by.clone(), keep.clone(), places.clone());
    compare(
        schedule,
        changes,
        move |lines| {
            let show = |group: &u8, line: &Line, places: &[i64]| (*group, *line, places.to_vec());
            top(
                lines,
                "top",
                Routing::default(),
                order.clone(),
                kept.clone(),
                &asked,
                show,
            )
        },
        |input| naive(input, &by, &keep, &places),
    );
}

/// Names whose order by bytes is not the order they were first seen in.
fn name(n: u8) -> Symbol {
    Symbol::new(&format!("top {}", n.wrapping_mul(89)))
}

fn kind() -> impl Strategy<Value = PlaceKind> {
    prop_oneof![
        Just(PlaceKind::Rank),
        Just(PlaceKind::DenseRank),
        Just(PlaceKind::RowNumber)
    ]
}

/// An order, which rows it keeps, and what numbers it gives.
fn rules() -> impl Strategy<Value = (By, Keep, Vec<Place>)> {
    let by = prop::collection::vec((0..3u8, any::<bool>()), 0..4).prop_map(By);
    by.prop_flat_map(|by| {
        let place = || (kind(), 0..=by.0.len()).prop_map(|(kind, terms)| Place { kind, terms });
        let within = prop::collection::vec((place(), 1..6u64), 1..3).prop_map(Keep::Within);
        let keep = prop_oneof![1 => Just(Keep::All), 4 => within];
        let places = prop::collection::vec(place(), 0..4);
        (Just(by), keep, places)
    })
}

proptest! {
    #![proptest_config(config())]

    /// Rows in any order, several copies of some.
    #[test]
    fn equals_sorting(
        schedule in schedule(),
        (by, keep, places) in rules(),
        wishes in wishes((0..2u8, ((0..5u8).prop_map(name), 0..3i64, prop_oneof![0..3i64, any::<i64>()]))),
    ) {
        check(schedule, &changes(&wishes, false), by, keep, places);
    }

    /// One group, of rows enough that chunks divide and join again, with the first of them leaving in waves.
    #[test]
    fn a_long_list(
        schedule in schedule(),
        (kind, terms, bound) in (kind(), 1..=2usize, 1..9u64),
        values in prop_oneof![Just(2i64), Just(40), Just(4000)],
        sequence in prop::collection::vec((any::<u8>(), 0..4000i64, any::<bool>()), 0..900),
    ) {
        let by = By(vec![(1, true), (0, false)]);
        let mut present: BTreeSet<(i64, u8)> = BTreeSet::new();
        let mut changes = Vec::new();
        for (at, (n, value, greatest)) in sequence.into_iter().enumerate() {
            let epoch = (at as u64).saturating_sub(500).div_ceil(20);
            let row = match present.last() {
                Some(last) if (epoch / 10) % 2 == 1 && greatest => *last,
                _ => (value % values, n),
            };
            let diff = if present.remove(&row) { -1 } else { 1 };
            if diff == 1 {
                present.insert(row);
            }
            changes.push(((0, (name(row.1), row.0, 7)), epoch, diff));
        }
        let place = Place { kind, terms };
        check(schedule, &changes, by, Keep::Within(vec![(place, bound)]), vec![place]);
    }
}

/// The example of SQL's manual, with a copy: ranks leave gaps, dense ranks do not, and copies count.
#[test]
fn ties_and_copies() {
    let rows = [("a", 5, 1), ("d", 7, 2), ("c", 7, 1), ("b", 9, 1)];
    let changes: Vec<_> = (rows.iter())
        .map(|(name, value, copies)| ((0, (Symbol::new(name), *value, 0)), 0, *copies))
        .collect();
    let place = |kind, terms| Place { kind, terms };
    let places = [
        place(PlaceKind::Rank, 1),
        place(PlaceKind::DenseRank, 1),
        place(PlaceKind::RowNumber, 2),
        place(PlaceKind::Rank, 0),
    ];
    let line = |name: &str, value, places: [i64; 4]| (0u8, (Symbol::new(name), value, 0), places.to_vec());
    let all = [
        line("b", 9, [1, 1, 1, 1]),
        line("c", 7, [2, 2, 2, 1]),
        line("d", 7, [2, 2, 3, 1]),
        line("d", 7, [2, 2, 3, 1]),
        line("a", 5, [5, 3, 5, 1]),
    ];
    for (kind, bound, kept) in [
        (PlaceKind::Rank, 1, 1),
        (PlaceKind::Rank, 4, 4),
        (PlaceKind::Rank, 5, 5),
        (PlaceKind::DenseRank, 2, 4),
        (PlaceKind::RowNumber, 2, 2),
        (PlaceKind::RowNumber, 3, 4),
    ] {
        for workers in [1, 2] {
            compare(
                Schedule { workers, seed: 3 },
                &changes,
                move |lines| {
                    let show = |group: &u8, line: &Line, places: &[i64]| (*group, *line, places.to_vec());
                    let keep = Keep::Within(vec![(place(kind, 1), bound)]);
                    top(
                        lines,
                        "top",
                        Routing::default(),
                        By(vec![(1, true), (0, false)]),
                        keep,
                        &places,
                        show,
                    )
                },
                |input| {
                    if input.is_empty() {
                        Vec::new()
                    } else {
                        all[..kept].to_vec()
                    }
                },
            );
        }
    }
}
