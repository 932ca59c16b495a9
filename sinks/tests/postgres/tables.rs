//! Tables, rows and a naive model of what the sink must hold.

use proptest::prelude::*;
use sinks::{
    Claim, CleanedRow, Definition, LastRecord, PartitionProgress, PostgresConfig, Progress, Reader, Sink, Staged,
    StagedHistory, Step,
};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use values::{Column, ColumnType, Ind, Offset, Partition, Position, Row, Symbol, Table, Value};

const fn column(name: &'static str, ty: ColumnType) -> Column {
    Column {
        name,
        ty,
        comment: "it's a column",
    }
}

pub const COUNTS: Table = Table {
    name: "counts",
    comment: "things by country and name",
    key: 2,
    columns: &[
        column("country", ColumnType::Text),
        column("name", ColumnType::Text),
        column("count", ColumnType::Int8),
        column("rank", ColumnType::Int4),
    ],
};

pub const NAMES: Table = Table {
    name: "names",
    comment: "nothing but a key",
    key: 2,
    columns: &[column("year", ColumnType::Int4), column("name", ColumnType::Text)],
};

pub const WIDE: Table = Table {
    name: "wide",
    comment: "every type",
    key: 3,
    columns: &[
        column("id", ColumnType::Int8),
        column("flag", ColumnType::Bool),
        column("day", ColumnType::Date),
        column("amount", ColumnType::Numeric),
        column("mean", ColumnType::Float8),
        column("at", ColumnType::Timestamp),
        column("pair", ColumnType::Float8Array),
        column("raw", ColumnType::Bytes),
        column("text", ColumnType::Text),
    ],
};

pub const THINGS: Table = Table {
    name: "things",
    comment: "things as they came",
    key: 1,
    columns: &[
        column("ind", ColumnType::Int8),
        column("country", ColumnType::Text),
        column("name", ColumnType::Text),
        column("year", ColumnType::Int4),
        column("pair", ColumnType::Float8Array),
        column("at", ColumnType::Timestamp),
    ],
};

pub const OTHERS: Table = Table {
    name: "others",
    comment: "others as they came",
    key: 1,
    columns: &[column("ind", ColumnType::Int8), column("text", ColumnType::Text)],
};

pub const RESULTS: [Table; 3] = [COUNTS, NAMES, WIDE];

pub fn definition() -> Definition {
    Definition {
        results: vec![
            (
                COUNTS,
                "SELECT country, name, count(*), rank() OVER (PARTITION BY country ORDER BY count(*) DESC) \
                 FROM things WHERE country IS NOT NULL AND name IS NOT NULL GROUP BY country, name"
                    .into(),
            ),
            (
                NAMES,
                "SELECT DISTINCT year, name FROM things WHERE year IS NOT NULL AND name IS NOT NULL;".into(),
            ),
            (
                WIDE,
                "SELECT ind, ind > 1, date '2020-02-29' + ind::integer, 1.50 * ind, NULL, at, pair, NULL, country FROM things"
                    .into(),
            ),
        ],
        cleaned: vec![THINGS, OTHERS],
        hash: 0xabc,
        keep_cleaned: true,
        drop: Vec::new(),
    }
}

/// A sink that has taken the fence.
pub async fn open(config: &PostgresConfig) -> Sink {
    open_as(config, Claim::Run, &definition()).await
}

pub async fn open_as(config: &PostgresConfig, claim: Claim, definition: &Definition) -> Sink {
    let mut sink = Sink::connect(config.clone()).await.expect("connect");
    sink.prepare(definition).await.expect("prepare");
    sink.take_fence(claim, &run_id()).await.expect("take the fence");
    sink
}

/// A run's name that no other run has.
pub fn run_id() -> String {
    static RUNS: AtomicU32 = AtomicU32::new(1);
    format!("run {}", RUNS.fetch_add(1, Ordering::Relaxed))
}

pub fn progress(next: i64) -> Progress {
    let partition = PartitionProgress {
        first: 0,
        next,
        cleaned_next: Some(next),
        detail: serde_json::json!({"ranges": [[0, next / 10]]}).into(),
        last: Some(LastRecord {
            offset: next - 1,
            timestamp: 1_700_000_000_000 + next,
            hash: u64::MAX - next as u64,
        }),
    };
    let still = PartitionProgress {
        first: 5,
        next: 7,
        cleaned_next: None,
        detail: serde_json::json!({}).into(),
        last: None,
    };
    Progress {
        partitions: BTreeMap::from([(("pin".to_string(), 0), partition), (("geo".to_string(), 3), still)]),
        options: serde_json::json!({"top": 10}),
        run_id: "run".into(),
        counters: serde_json::json!({"next": next}),
        ..Progress::default()
    }
}

/// A full snapshot of nothing.
pub fn empty_full_snapshot(next: i64) -> Step {
    Step {
        full_snapshot: true,
        results: vec![vec![]; RESULTS.len()],
        progress: progress(next),
        ..Step::default()
    }
}

/// What stagers have counted, as a step carries it.
pub fn settling(rows: Staged, full: bool) -> StagedHistory {
    StagedHistory {
        rows,
        full,
        ..StagedHistory::default()
    }
}

pub fn text() -> impl Strategy<Value = Value> {
    prop_oneof![
        proptest::sample::select(vec![
            "a",
            "b",
            "Z",
            "é",
            "🎄",
            "x\"y",
            "it's",
            "tab\tnew\nline\\",
            "",
            "NULL",
            "{1}"
        ])
        .prop_map(Value::from),
        proptest::sample::select(vec!["Albania", "Côte d'Ivoire", "日本"]).prop_map(|s| Value::Text(Symbol::new(s))),
    ]
}

fn or_null(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    prop_oneof![1 => Just(Value::Null), 5 => value]
}

pub fn double() -> impl Strategy<Value = f64> {
    // -0 is left out: Postgres calls it equal to 0 and keeps what it has
    prop_oneof![
        Just(1.5),
        Just(f64::INFINITY),
        Just(f64::NAN),
        Just(1e20),
        any::<i32>().prop_map(f64::from)
    ]
}

pub fn micros() -> impl Strategy<Value = i64> {
    -62_135_596_800_000_000i64..253_402_300_800_000_000
}

/// As Postgres writes numerics of any scale.
fn numeric() -> impl Strategy<Value = Value> {
    (any::<i64>(), 0u32..12, 0usize..30).prop_map(|(unscaled, shorter, scale)| {
        let unscaled = unscaled >> (5 * shorter);
        let digits = format!("{:0>1$}", unscaled.unsigned_abs(), scale + 1);
        let (whole, decimals) = digits.split_at(digits.len() - scale);
        let sign = if unscaled < 0 { "-" } else { "" };
        let point = if scale > 0 { "." } else { "" };
        Value::from(format!("{sign}{whole}{point}{decimals}").as_str())
    })
}

/// A row of a table; keys come from a small set, so that they meet.
pub fn row(table: &'static Table) -> BoxedStrategy<Row> {
    let value = |(index, column): (usize, &Column)| -> BoxedStrategy<Value> {
        let key = index < table.key;
        let value = match column.ty {
            ColumnType::Text => text().boxed(),
            ColumnType::Bool => (0i64..2).prop_map(Value::Int).boxed(),
            ColumnType::Date if key => (18_321i64..18_324).prop_map(Value::Int).boxed(),
            ColumnType::Date => (-719_162i64..2_932_897).prop_map(Value::Int).boxed(),
            ColumnType::Numeric => numeric().boxed(),
            ColumnType::Int4 | ColumnType::Int8 if key => (0i64..6).prop_map(Value::Int).boxed(),
            ColumnType::Int4 => any::<i32>().prop_map(|v| Value::Int(v.into())).boxed(),
            ColumnType::Int8 => any::<i64>().prop_map(Value::Int).boxed(),
            ColumnType::Float8 => double().prop_map(Value::Float).boxed(),
            ColumnType::Timestamp => micros().prop_map(Value::Int).boxed(),
            ColumnType::Float8Array => {
                let element = prop_oneof![1 => Just(None), 4 => double().prop_map(Some)];
                proptest::collection::vec(element, 0..3)
                    .prop_map(|v| Value::Floats(v.into()))
                    .boxed()
            }
            ColumnType::Bytes => proptest::collection::vec(any::<u8>(), 0..5)
                .prop_map(|v| Value::Bytes(v.into()))
                .boxed(),
        };
        if key { value } else { or_null(value).boxed() }
    };
    table.columns.iter().enumerate().map(value).collect::<Vec<_>>().boxed()
}

/// A table as a map, which says what changes are net.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model(pub BTreeMap<Vec<Value>, Row>);

impl Model {
    /// Puts rows and removes keys; returns the net changes.
    pub fn change(&mut self, table: &Table, puts: &[Row], removes: &[Row]) -> Vec<(Row, isize)> {
        let before = self.0.clone();
        for row in removes {
            self.0.remove(&row[..table.key]);
        }
        for row in puts {
            self.0.insert(row[..table.key].to_vec(), row.clone());
        }
        let mut changes = Vec::new();
        for (key, old) in &before {
            if self.0.get(key) != Some(old) {
                changes.push((old.clone(), -1));
            }
        }
        for (key, new) in &self.0 {
            if before.get(key) != Some(new) {
                changes.push((new.clone(), 1));
            }
        }
        changes
    }

    pub fn contents(&self) -> Vec<(Row, isize)> {
        self.0.values().map(|row| (row.clone(), 1)).collect()
    }

    pub fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = self.0.values().cloned().collect();
        rows.sort();
        rows
    }
}

/// The result tables in Postgres.
pub async fn results(config: &PostgresConfig) -> Vec<Vec<Row>> {
    Reader::connect(config).await.unwrap().tables(&RESULTS).await.unwrap().1
}

/// A cleaned table and its tombstones as one register per key: position, and the row unless deleted.
pub type Registers = BTreeMap<i64, (Position, Option<Row>)>;

/// What a cleaned table must be: the greatest position of each key.
pub fn latest(log: &[CleanedRow], table: u8) -> Registers {
    let mut registers = Registers::new();
    for record in log.iter().filter(|record| record.table == table) {
        let register = registers
            .entry(record.ind.0)
            .or_insert((record.position, record.row.clone()));
        if record.position > register.0 {
            *register = (record.position, record.row.clone());
        }
    }
    registers
}

/// What a cleaned table is.
pub async fn registers(config: &PostgresConfig, client: &tokio_postgres::Client, table: &Table) -> Registers {
    let (_, mut rows) = Reader::connect(config).await.unwrap().tables(&[*table]).await.unwrap();
    let ind = |row: &Row| match row[0] {
        Value::Int(ind) => ind,
        _ => panic!("a key that is no integer"),
    };
    let rows: BTreeMap<i64, Row> = rows.remove(0).into_iter().map(|row| (ind(&row), row)).collect();
    let positions = "log_generation, log_offset, log_partition";
    let schema = &config.schema;
    let alive = format!("SELECT ind, {positions} FROM {schema}.{}", table.name);
    let dead = format!(
        "SELECT ind, {positions} FROM {schema}.tombstones WHERE \"table\" = '{}'",
        table.name
    );
    let mut registers = Registers::new();
    for (sql, alive) in [(alive, true), (dead, false)] {
        for found in client.query(&sql, &[]).await.unwrap() {
            let (generation, offset, partition): (i16, i64, i32) = (found.get(1), found.get(2), found.get(3));
            let position = Position::new(generation as u8, Offset(offset), Partition(partition)).unwrap();
            let ind: i64 = found.get(0);
            let row = if alive { Some(rows[&ind].clone()) } else { None };
            assert!(
                registers.insert(ind, (position, row)).is_none(),
                "{ind} is a row and a tombstone"
            );
        }
    }
    registers
}

/// A log of a cleaned table: distinct positions, few keys, some deletes.
pub fn log() -> impl Strategy<Value = Vec<CleanedRow>> {
    let table = |number: u8, table: &'static Table| {
        let record = (0i64..8, row(table), proptest::bool::weighted(0.25));
        let positions = proptest::collection::btree_map((0u8..3, 0i64..12, 0i32..3), record, 0..25);
        positions.prop_map(move |positions| {
            let record =
                |((generation, offset, partition), (ind, mut row, delete)): ((u8, i64, i32), (i64, Row, bool))| {
                    row[0] = Value::Int(ind);
                    let position = Position::new(generation, Offset(offset), Partition(partition)).unwrap();
                    CleanedRow {
                        table: number,
                        ind: Ind(ind),
                        position,
                        row: (!delete).then_some(row),
                    }
                };
            positions.into_iter().map(record).collect::<Vec<_>>()
        })
    };
    (table(0, &THINGS), table(1, &OTHERS)).prop_map(|(a, b)| [a, b].concat())
}
