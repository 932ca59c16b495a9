//! Which kinds of records there are, and what is known of their columns: a value, so that nothing else of `sql` names
//! a kind.

use super::types::{Facts, LONGEST_TEXT, Ty};
use crate::cleaning::{CLEANED, LONGEST_NAME};
use operators::ColumnType;

/// The kinds of records of one dataflow. Every kind has at most one row for each key, and a row has its key always.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// The kinds, in the order of their numbers. At most [`MOST_KINDS`].
    pub kinds: Vec<Kind>,
    /// The column that is the key of every kind, by which they are joined: a bigint, never null.
    pub key: String,
}

/// How many kinds a schema can have: the presence of a key in each is a bit of a number below 64.
pub const MOST_KINDS: usize = 6;

/// One kind: its cleaned table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// The cleaned table's name.
    pub table: String,
    /// The columns of the cleaned table in order, the key first.
    pub columns: Vec<SchemaColumn>,
}

/// One column of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaColumn {
    /// Its name.
    pub name: String,
    /// Its type; of an array the type of its elements.
    pub ty: Ty,
    /// Of an array: how many elements there are, from 1. A whole array cannot be used, its elements can.
    pub elements: Option<u8>,
    /// What is known of its values where the kind has a record. Of an array: of each element.
    pub facts: Facts,
    /// Of a text: its parts before and behind the first space are few, and together they are many. Where values are
    /// only compared the two are kept, so that the dictionary of names holds far less.
    pub halves: bool,
}

impl SchemaColumn {
    /// Whether this is wide text: it is not kept, only what is computed of it while a record is read.
    pub fn is_wide(&self) -> bool {
        self.ty == Ty::Text && self.facts.bytes.is_none()
    }
}

impl Schema {
    /// The schema of the cleaned tables, with what cleaning guarantees.
    pub fn cleaned() -> Schema {
        let kinds = CLEANED.iter().map(|table| Kind {
            table: table.name.to_owned(),
            columns: table.columns.iter().map(column).collect(),
        });
        let schema = Schema {
            kinds: kinds.collect(),
            key: CLEANED[0].columns[0].name.to_owned(),
        };
        debug_assert!(schema.kinds.len() <= MOST_KINDS);
        schema
    }

    /// The number of the kind whose cleaned table has this name.
    pub fn kind(&self, table: &str) -> Option<usize> {
        self.kinds.iter().position(|kind| kind.table == table)
    }
}

/// The texts that cleaning bounds: longer ones become null, since they are parts of index rows.
const NAMES: [&str; 3] = ["country", "category", "poster_name"];

/// The text that is made of two: a few hundred parts make a million names.
const HALVES: &str = "user_name";

/// The texts that repeat, and so are kept, though nothing bounds them.
const KEPT: [&str; 2] = ["user_name", "is_image_or_video"];

fn column(column: &operators::Column) -> SchemaColumn {
    let (ty, elements) = match column.ty {
        ColumnType::Text => (Ty::Text, None),
        ColumnType::Int4 => (Ty::Int4, None),
        ColumnType::Int8 => (Ty::Int8, None),
        ColumnType::Float8 => (Ty::Float8, None),
        ColumnType::Timestamp => (Ty::Timestamp, None),
        ColumnType::Float8Array => (Ty::Float8, Some(2)),
        ColumnType::Bool => (Ty::Bool, None),
        ColumnType::Date => (Ty::Date, None),
        ColumnType::Numeric | ColumnType::Bytes => unreachable!("no cleaned table has such a column"),
    };
    let facts = match ty {
        Ty::Text if NAMES.contains(&column.name) => Facts::text(Some(LONGEST_NAME as u32)),
        Ty::Text if KEPT.contains(&column.name) => Facts::text(Some(LONGEST_TEXT)),
        Ty::Text => Facts::text(None),
        _ => Facts::of(ty),
    };
    SchemaColumn {
        name: column.name.to_owned(),
        ty,
        elements,
        facts: facts.nullable(column.name != CLEANED[0].columns[0].name),
        halves: column.name == HALVES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cleaned_tables_are_the_schema() {
        let schema = Schema::cleaned();
        assert_eq!(schema.key, "ind");
        for (kind, table) in schema.kinds.iter().zip(&CLEANED) {
            assert_eq!(schema.kind(table.name).map(|at| &schema.kinds[at]), Some(kind));
            assert_eq!(kind.columns[0].name, "ind");
            assert_eq!(kind.columns[0].ty, Ty::Int8);
            assert!(!kind.columns[0].facts.nullable);
            assert!(kind.columns[1..].iter().all(|column| column.facts.nullable));
        }
        assert_eq!(schema.kind("pins"), None);
        let kept: Vec<_> = schema
            .kinds
            .iter()
            .flat_map(|kind| &kind.columns)
            .filter(|column| column.ty == Ty::Text && !column.is_wide())
            .map(|column| column.name.as_str())
            .collect();
        assert_eq!(
            kept,
            ["poster_name", "is_image_or_video", "category", "country", "user_name"]
        );
    }

    /// What PostgreSQL can hold bounds what a record can hold.
    #[test]
    fn wide_text_has_the_bound_of_a_field() {
        assert!(crate::Limits::default().record_bytes < LONGEST_TEXT as usize);
    }
}
