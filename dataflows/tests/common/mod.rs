//! What the tests share: the engine run over a schedule of epochs, and real data when it is at hand.

#![allow(dead_code)]

#[path = "../../../tests/src/need.rs"]
mod need;
#[path = "../../../tests/src/plain.rs"]
pub mod plain;
#[path = "../../../tests/src/queries/mod.rs"]
#[allow(unused_imports, missing_docs)]
pub mod queries;
pub mod records;

use dataflows::{Event, Options, Results};
use differential_dataflow::{Data, VecCollection};
use operators::{Offset, Partition, Position, Routing, Row};
use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Arc, Mutex};
use timely::dataflow::Stream;

/// The tables of all results, in the order of their files, each sorted.
pub type Tables = Vec<Vec<Row>>;

/// The position of the record at `offset`.
pub fn at(offset: usize) -> Position {
    Position::new(1, Offset(offset as i64), Partition(0)).unwrap()
}

/// Runs the engine: see [`run_dataflow`].
pub fn run(workers: usize, epochs: Vec<Vec<Event>>, options: Options) -> Vec<Tables> {
    let results = Results::built_in(&options);
    assert!(
        results.layout().is_like(&plain::RESULTS.layout()),
        "the options change what is kept of records"
    );
    let count = results.definitions().len();
    let tables = run_dataflow(workers, epochs, count, move |events| {
        results.build(events, Routing::default()).0
    });
    for (epoch, tables) in tables.iter().enumerate() {
        for (table, result) in tables.iter().zip(plain::definitions()) {
            let different = table.windows(2).all(|rows| rows[0] != rows[1]);
            assert!(different, "{} at {epoch}: {table:?}", result.table.name);
        }
    }
    tables
}

/// Runs a dataflow that computes so many tables: each epoch's events are dealt to the workers in turn. Returns the
/// tables at the close of each epoch; a row that is there twice stands there twice.
pub fn run_dataflow<E: Data + Send + Sync>(
    workers: usize,
    epochs: Vec<Vec<E>>,
    tables: usize,
    build: impl for<'s> Fn(Stream<'s, u64, Vec<E>>) -> VecCollection<'s, u64, (u8, Row), isize> + Send + Sync + 'static,
) -> Vec<Tables> {
    let closes = epochs.len() as u64;
    let epochs = Arc::new(epochs);
    let updates = Arc::new(Mutex::new(Vec::new()));
    let collected = updates.clone();
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let (index, peers) = (worker.index(), worker.peers());
        let updates = updates.clone();
        let mut input = worker.dataflow::<u64, _, _>(|scope| {
            use timely::dataflow::operators::Input;
            let (input, events) = scope.new_input::<Vec<E>>();
            let rows = build(events);
            rows.inspect_batch(move |_, rows| updates.lock().unwrap().extend_from_slice(rows));
            input
        });
        for (epoch, events) in epochs.iter().enumerate() {
            let mut mine: Vec<E> = events.iter().skip(index).step_by(peers).cloned().collect();
            input.send_batch(&mut mine);
            input.advance_to(epoch as u64 + 1);
            // some epochs are given to the dataflow together, some one by one
            if epoch % 3 != 1 {
                worker.step();
            }
        }
        input.close();
        while worker.step() {}
    })
    .unwrap();
    guards.join().into_iter().for_each(|result| result.unwrap());

    let mut updates = std::mem::take(&mut *collected.lock().unwrap());
    updates.sort_by_key(|(_, time, _)| *time);
    let mut updates = updates.into_iter().peekable();
    let mut tables = vec![BTreeMap::<Row, isize>::new(); tables];
    let mut snapshots = Vec::new();
    for epoch in 0..closes {
        while let Some(((result, row), _, diff)) = updates.next_if(|(_, time, _)| *time <= epoch) {
            *tables[result as usize].entry(row).or_default() += diff;
        }
        tables.iter_mut().for_each(|table| table.retain(|_, count| *count != 0));
        let rows = |table: &BTreeMap<Row, isize>| {
            let copies = |(row, count): (&Row, &isize)| {
                assert!(*count > 0, "at {epoch}: {count} times {row:?}");
                vec![row.clone(); *count as usize]
            };
            table.iter().flat_map(copies).collect()
        };
        snapshots.push(tables.iter().map(rows).collect());
    }
    assert_eq!(updates.next(), None, "an update after the last epoch");
    snapshots
}

/// How many cases are drawn: `PINFLOW_TEST_CASES`, else this many, or a hundred times as many as are compared with
/// PostgreSQL in the long version.
pub fn cases(short: u64) -> u64 {
    let is_set = |name: &str| std::env::var(name).ok().filter(|value| value != "0");
    match (is_set("PINFLOW_TEST_CASES"), is_set("PINFLOW_TEST_LONG")) {
        (Some(cases), _) => cases.parse().expect("a number"),
        (None, Some(_)) => 20_000,
        (None, None) => short,
    }
}

/// Asserts that two sets of tables are equal, naming the first table and the rows that differ.
pub fn assert_same(found: &Tables, expected: &Tables, context: &str) {
    for ((found, expected), result) in found.iter().zip(expected).zip(plain::definitions()) {
        if found != expected {
            let extra: Vec<_> = found.iter().filter(|row| !expected.contains(row)).take(5).collect();
            let missing: Vec<_> = expected.iter().filter(|row| !found.contains(row)).take(5).collect();
            panic!("{context}: {} has {extra:?}, lacks {missing:?}", result.table.name);
        }
    }
}

/// The number of a result.
pub fn number(name: &str) -> usize {
    plain::definitions()
        .iter()
        .position(|result| result.table.name == name)
        .unwrap()
}

/// A file of real data, unpacked; `None` where it is missing.
#[expect(clippy::disallowed_methods, reason = "the tests' own files, of known size")]
pub fn data(name: &str) -> Option<String> {
    let bytes = std::fs::read(need::data(name)?).unwrap();
    let mut text = String::new();
    if name.ends_with(".gz") {
        flate2::read::MultiGzDecoder::new(&bytes[..])
            .read_to_string(&mut text)
            .unwrap();
    } else {
        text = String::from_utf8(bytes).unwrap();
    }
    Some(text)
}
