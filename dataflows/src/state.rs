//! The latest cleaned rows of every key in hash maps, and every result computed of all of them by plain loops.
//!
//! It shares the reference decoder and the plans with the engine, and no operator ([`crate::sql::eval`]). Tests compare
//! the engine with it, and `verify --replay` compares whole tables.

use crate::exec::Event;
use crate::records::Kind;
use crate::results::Results;
use crate::sql::eval::{Datum, Interpreter};
use crate::sql::plan::Scalar;
use hashbrown::{HashMap, HashSet};
use operators::{Ind, Position, Row, Value};

/// The latest cleaned row of every key of every kind.
#[derive(Debug, Default)]
pub struct State {
    kinds: [HashMap<Ind, (Position, Option<Row>)>; 3],
    /// The columns that are kept, by kind; `None` for all.
    kept: Option<[HashSet<usize>; 3]>,
}

impl State {
    /// An empty state that keeps whole rows.
    pub fn new() -> State {
        State::default()
    }

    /// An empty state that keeps only the columns that results are made of; the others are null in
    /// [`State::cleaned`].
    pub fn for_results(results: &Results) -> State {
        let mut kept: [HashSet<usize>; 3] = Default::default();
        for expr in results.catalog().plan.exprs() {
            if let Scalar::Field { kind, column, .. } = expr.scalar {
                kept[usize::from(kind)].insert(usize::from(column));
            }
        }
        State {
            kept: Some(kept),
            ..State::default()
        }
    }

    /// Applies what [`crate::Decoder::decode_with_row`] made of a record: the greatest position wins.
    pub fn apply(&mut self, (event, row): (Event, Option<(Ind, Row)>)) {
        let latest = self.kinds[event.slot as usize]
            .entry(Ind(event.key))
            .or_insert((Position::NONE, None));
        if event.position <= latest.0 {
            return;
        }
        let mut row = row.map(|(_, row)| row);
        if let (Some(row), Some(kept)) = (row.as_mut(), &self.kept) {
            let kept = &kept[event.slot as usize];
            (1..row.len())
                .filter(|place| !kept.contains(place))
                .for_each(|place| row[place] = Value::Null);
        }
        *latest = (event.position, row);
    }

    /// The cleaned rows of a kind with their positions, in no order.
    pub fn cleaned(&self, kind: Kind) -> impl Iterator<Item = (Ind, Position, &Row)> {
        let kind = &self.kinds[kind as usize];
        kind.iter()
            .filter_map(|(ind, (position, row))| Some((*ind, *position, row.as_ref()?)))
    }

    /// The keys of a kind that a delete has the last word on, with its position, in no order.
    pub fn deleted(&self, kind: Kind) -> impl Iterator<Item = (Ind, Position)> {
        let kind = &self.kinds[kind as usize];
        kind.iter()
            .filter_map(|(ind, (position, row))| row.is_none().then_some((*ind, *position)))
    }

    /// The rows of every result, in the order of their definitions, each sorted.
    ///
    /// # Panics
    /// When the proof that no accepted expression fails was wrong.
    pub fn results(&self, results: &Results) -> Vec<Vec<Row>> {
        let catalog = results.catalog();
        let mut interpreter = Interpreter::new(&catalog.plan, results.schema());
        for kind in Kind::ALL {
            for (ind, _, row) in self.cleaned(kind) {
                interpreter.set(kind as usize, ind.0, row);
            }
        }
        let mut tables = Vec::with_capacity(catalog.results.len());
        for result in &catalog.results {
            let rows = interpreter.rows(result.node).expect("no accepted expression fails");
            let mut rows: Vec<Row> = rows.iter().map(|row| row.iter().map(value).collect()).collect();
            rows.sort();
            tables.push(rows);
        }
        tables
    }
}

/// A value as tables have it: see [`crate::exec::build`].
fn value(datum: &Datum) -> Value {
    match datum {
        Datum::Null => Value::Null,
        Datum::Bool(value) => Value::Int((*value).into()),
        Datum::Int(value) | Datum::Timestamp(value) => Value::Int(*value),
        Datum::Date(value) => Value::Int((*value).into()),
        // there is no negative zero in a table
        Datum::Float(value) => Value::Float(*value + 0.0),
        Datum::Numeric(value) => Value::String(value.to_string().into()),
        Datum::Text(text) => Value::from(&**text),
    }
}
