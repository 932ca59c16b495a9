//! Random records in random epochs, and catalogues run over them.

use super::queries::{Choices, data};
use super::{Tables, run_dataflow};
use dataflows::exec::{Event, Layout, build};
use dataflows::sql::Catalog;
use operators::{Offset, Partition, Position, Routing, Row, Value};

/// What a record says: kind, key, position, and its cleaned row or a delete.
#[derive(Clone, Debug)]
pub struct Record {
    pub kind: u8,
    pub key: i64,
    pub position: Position,
    pub row: Option<Row>,
}

/// One to six epochs of records of the keys that [`data`] draws, each several times.
pub fn records(choices: &mut Choices) -> Vec<Vec<Record>> {
    let mut epochs = Vec::new();
    let mut offset = 0;
    let mut sent: Vec<Record> = Vec::new();
    for _ in 0..1 + choices.below(6) {
        let mut records = Vec::new();
        for _ in 0..1 + choices.below(2) {
            for (kind, rows) in (0u8..).zip(data(choices)) {
                for row in rows {
                    let Value::Int(key) = row[0] else {
                        unreachable!("keys are integers")
                    };
                    offset += 1;
                    let position = Position::new(1, Offset(offset), Partition(choices.below(2) as i32)).unwrap();
                    let row = (!choices.one_in(6)).then_some(row);
                    records.push(Record {
                        kind,
                        key,
                        position,
                        row,
                    });
                    if choices.one_in(8) {
                        records.push(
                            sent.get(choices.below(sent.len().max(1)))
                                .cloned()
                                .unwrap_or(records[0].clone()),
                        );
                    }
                }
            }
        }
        // in any order
        for place in (1..records.len()).rev() {
            let other = choices.below(place + 1);
            records.swap(place, other);
        }
        sent.extend(records.iter().cloned());
        epochs.push(records);
    }
    // at last everything is deleted, in half of the cases
    if choices.one_in(2) {
        let mut deletes = Vec::new();
        for record in &sent {
            offset += 1;
            deletes.push(Record {
                position: Position::new(1, Offset(offset), Partition(0)).unwrap(),
                row: None,
                ..record.clone()
            });
        }
        epochs.push(deletes);
    }
    epochs
}

/// The tables of a catalogue's results at the close of each epoch.
pub fn run_catalog(catalog: &Catalog, layout: &Layout, epochs: &[Vec<Record>], workers: usize) -> Vec<Tables> {
    let event = |record: &Record| Event {
        key: record.key,
        position: record.position,
        slot: record.kind,
        payload: record.row.as_ref().map(|row| layout.pack(record.kind.into(), row)),
    };
    let epochs: Vec<Vec<Event>> = epochs.iter().map(|epoch| epoch.iter().map(event).collect()).collect();
    let (catalog, layout) = (catalog.clone(), layout.clone());
    let results = catalog.results.len();
    run_dataflow(workers, epochs, results, move |events| {
        build(events, &catalog, &layout, Routing::default()).0
    })
}
