//! A table as it should stand: columns, key and comments, and the statements that create it.

use crate::quote::{literal, qualified, quoted};
use std::fmt::Write;
use values::Table;

/// Provenance columns behind those of a cleaned table: name, type, comment.
pub(crate) const PROVENANCE: [(&str, &str, &str); 3] = [
    (
        "log_generation",
        "smallint",
        "generation of the record's topic; 0: an object without offsets",
    ),
    (
        "log_partition",
        "integer",
        "partition of the record that this row is from",
    ),
    ("log_offset", "bigint", "offset of the record that this row is from"),
];

/// One column of a [`TableSpec`].
pub(crate) struct ColumnSpec {
    pub(crate) name: String,
    pub(crate) ty: String,
    pub(crate) not_null: bool,
    pub(crate) default: Option<&'static str>,
    pub(crate) comment: String,
    /// Whether tables of earlier versions lack it.
    pub(crate) later: bool,
}

impl ColumnSpec {
    /// Its comment as a statement; `table` is qualified.
    pub(crate) fn describe(&self, table: &str) -> String {
        let comment = literal(&self.comment);
        format!("COMMENT ON COLUMN {table}.{} IS {comment};\n", quoted(&self.name))
    }
}

/// One table, whether a result, a cleaned table or a control table.
pub(crate) struct TableSpec {
    pub(crate) name: String,
    pub(crate) comment: String,
    pub(crate) columns: Vec<ColumnSpec>,
    /// Names of the key columns, in order.
    pub(crate) key: Vec<String>,
    /// Storage parameters and checks of ours.
    with: &'static str,
}

impl TableSpec {
    pub(crate) fn of(table: &Table) -> TableSpec {
        let column = |(index, column): (usize, &values::Column)| ColumnSpec {
            name: column.name.into(),
            ty: column.ty.name().into(),
            not_null: index < table.key,
            default: None,
            comment: column.comment.into(),
            later: false,
        };
        TableSpec {
            name: table.name.into(),
            comment: table.comment.into(),
            columns: table.columns.iter().enumerate().map(column).collect(),
            key: table.columns[..table.key]
                .iter()
                .map(|column| column.name.into())
                .collect(),
            with: "",
        }
    }

    /// A cleaned table with the position of each row behind its own columns.
    pub(crate) fn of_cleaned(table: &Table) -> TableSpec {
        let mut spec = TableSpec::of(table);
        spec.columns
            .extend(PROVENANCE.iter().map(|(name, ty, comment)| ColumnSpec {
                name: (*name).into(),
                ty: (*ty).into(),
                not_null: true,
                default: None,
                comment: (*comment).into(),
                later: false,
            }));
        spec
    }

    /// A table of ours, with the first `key` columns as its key. `columns` are (name, type, default, comment); a type
    /// that ends in `?` may be null.
    pub(crate) fn control(
        name: &str,
        key: usize,
        with: &'static str,
        comment: &str,
        columns: &[(&str, &str, &'static str, &str)],
    ) -> TableSpec {
        let column = |(name, ty, default, comment): &(&str, &str, &'static str, &str)| ColumnSpec {
            name: (*name).into(),
            ty: ty.trim_end_matches('?').into(),
            not_null: !ty.ends_with('?'),
            default: (!default.is_empty()).then_some(*default),
            comment: (*comment).into(),
            later: false,
        };
        TableSpec {
            name: name.into(),
            comment: comment.into(),
            columns: columns.iter().map(column).collect(),
            key: columns[..key].iter().map(|column| column.0.into()).collect(),
            with,
        }
    }

    /// Nullable columns that came after the first version: (name, type, comment).
    pub(crate) fn later(mut self, columns: &[(&str, &str, &str)]) -> TableSpec {
        self.columns
            .extend(columns.iter().map(|(name, ty, comment)| ColumnSpec {
                name: (*name).into(),
                ty: (*ty).into(),
                not_null: false,
                default: None,
                comment: (*comment).into(),
                later: true,
            }));
        self
    }

    pub(crate) fn collated(&self, column: &ColumnSpec) -> bool {
        column.ty == "text" && self.key.contains(&column.name)
    }

    fn create(&self, schema: &str) -> String {
        let mut sql = format!("CREATE TABLE IF NOT EXISTS {} (", qualified(schema, &self.name));
        for column in &self.columns {
            let collate = if self.collated(column) { " COLLATE \"C\"" } else { "" };
            let not_null = if column.not_null { " NOT NULL" } else { "" };
            let default = column
                .default
                .map_or(String::new(), |default| format!(" DEFAULT {default}"));
            let _ = write!(
                sql,
                "\n  {} {}{collate}{not_null}{default},",
                quoted(&column.name),
                column.ty
            );
        }
        let key: Vec<String> = self.key.iter().map(|name| quoted(name)).collect();
        let _ = write!(sql, "\n  PRIMARY KEY ({})\n) {};\n", key.join(", "), self.with);
        sql
    }

    /// The statements that make it and describe it.
    pub(crate) fn create_with_comments(&self, schema: &str) -> String {
        self.create(schema) + &self.comments(schema)
    }

    fn comments(&self, schema: &str) -> String {
        let table = qualified(schema, &self.name);
        let table_comment = format!("COMMENT ON TABLE {table} IS {};\n", literal(&self.comment));
        let columns = self.columns.iter();
        table_comment + &columns.map(|column| column.describe(&table)).collect::<String>()
    }
}
