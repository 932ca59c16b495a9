//! The statements that write tables, made from a table's description.
//!
//! Every statement is set-wise: columns travel as arrays and are joined to the table by its key.

use crate::encode::carrier_name;
use crate::quote::{list, literal, qualified, quoted};
use crate::table_spec::PROVENANCE;
use values::{Column, ColumnType, Table};

/// The name of a staging table.
pub(crate) fn staging_name(fence: i64, table: &str) -> String {
    format!("staging_{fence}_{table}")
}

fn equal<'a>(left: &str, right: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let one = |name: &str| format!("{left}.{0} = {right}.{0}", quoted(name));
    names.into_iter().map(one).collect::<Vec<_>>().join(" AND ")
}

pub(crate) fn key_names(table: &Table) -> impl Iterator<Item = &'static str> + use<> {
    table.columns[..table.key].iter().map(|column| column.name)
}

pub(crate) fn names(table: &Table) -> impl Iterator<Item = &'static str> + use<> {
    table.columns.iter().map(|column| column.name)
}

/// A cleaned table's columns with those of its position.
pub(crate) fn names_with_position(table: &Table) -> impl Iterator<Item = &'static str> + use<> {
    names(table).chain(PROVENANCE.iter().map(|column| column.0))
}

/// `unnest($1::text[], …) AS u("a", …)`
fn unnest(columns: &[Column], more: &[(&str, &str)]) -> String {
    let types = columns
        .iter()
        .map(|column| carrier_name(column.ty))
        .chain(more.iter().map(|column| column.1));
    let params: Vec<String> = types.enumerate().map(|(i, ty)| format!("${}::{ty}[]", i + 1)).collect();
    let names = columns
        .iter()
        .map(|column| column.name)
        .chain(more.iter().map(|column| column.0));
    format!("unnest({}) AS u({})", params.join(", "), list("", names))
}

/// The columns of an `unnest`, back in their own types.
fn restored(columns: &[Column]) -> String {
    let one = |column: &Column| match column.ty {
        ColumnType::Float8Array => format!("u.{0}::{1} AS {0}", quoted(column.name), column.ty.name()),
        _ => format!("u.{}", quoted(column.name)),
    };
    columns.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// `ON CONFLICT (key) DO UPDATE … ` for rows that differ; the target is aliased `t`.
pub(crate) fn on_conflict(table: &Table) -> String {
    let rest = || table.columns[table.key..].iter().map(|column| column.name);
    let key = list("", key_names(table));
    if table.key == table.columns.len() {
        return format!("ON CONFLICT ({key}) DO NOTHING");
    }
    let set: Vec<String> = rest().map(|name| format!("{0} = excluded.{0}", quoted(name))).collect();
    format!(
        "ON CONFLICT ({key}) DO UPDATE SET {} WHERE ({}) IS DISTINCT FROM ({})",
        set.join(", "),
        list("t.", rest()),
        list("excluded.", rest())
    )
}

/// Deletes rows by key. Parameters: the key columns.
pub(crate) fn delete(schema: &str, table: &Table) -> String {
    format!(
        "DELETE FROM {} AS t USING {} WHERE {}",
        qualified(schema, table.name),
        unnest(&table.columns[..table.key], &[]),
        equal("t", "u", key_names(table))
    )
}

/// Inserts rows or makes those of the same key equal. Parameters: all columns.
pub(crate) fn upsert(schema: &str, table: &Table) -> String {
    format!(
        "INSERT INTO {} AS t ({}) SELECT {} FROM {} {}",
        qualified(schema, table.name),
        list("", names(table)),
        restored(table.columns),
        unnest(table.columns, &[]),
        on_conflict(table)
    )
}

/// The columns of a position, in the order of the tables.
pub(crate) const POSITION: [(&str, &str); 3] = [
    ("log_generation", "smallint"),
    ("log_partition", "integer"),
    ("log_offset", "bigint"),
];

/// What stands behind a row's own columns in a staging table.
pub(crate) const STAGED: [(&str, &str); 4] = [POSITION[0], POSITION[1], POSITION[2], ("log_deleted", "boolean")];

/// The order of positions: (generation, offset, partition), each of the relation called `of`.
pub(crate) fn position(of: &str) -> String {
    format!("({of}.log_generation, {of}.log_offset, {of}.log_partition)")
}

/// The newest of each key in relation `s`: `ORDER BY` for a `DISTINCT ON`.
pub(crate) fn newest_first(key: &str) -> String {
    format!("ORDER BY s.{key}, s.log_generation DESC, s.log_offset DESC, s.log_partition DESC")
}

/// `ON CONFLICT (ind) DO UPDATE` of all columns; the target is aliased `t`.
pub(crate) fn replace(table: &Table) -> String {
    let set: Vec<String> = names_with_position(table)
        .skip(1)
        .map(|name| format!("{0} = excluded.{0}", quoted(name)))
        .collect();
    format!(
        "ON CONFLICT ({}) DO UPDATE SET {}",
        quoted(table.columns[0].name),
        set.join(", ")
    )
}

/// A table's name as a text.
pub(crate) fn kind(table: &Table) -> String {
    literal(table.name)
}

/// Settling keeps, for each key, either a row or a tombstone: the record of the greatest position. Three statements do
/// it for records of distinct keys; in any order and repeated they come to the same.
///
/// Rows: they replace older rows, unless there is a newer tombstone. Parameters: the table's columns and the position.
pub(crate) fn settle_rows(schema: &str, table: &Table) -> String {
    let key = quoted(table.columns[0].name);
    format!(
        "INSERT INTO {target} AS t ({columns}) SELECT {restored}, {position} FROM {unnest} \
         WHERE NOT EXISTS (SELECT 1 FROM {tombstones} d WHERE d.\"table\" = {kind} AND d.ind = u.{key} \
         AND {dead} > {ours}) {replace} WHERE {theirs} < {new}",
        target = qualified(schema, table.name),
        columns = list("", names_with_position(table)),
        restored = restored(table.columns),
        position = list("u.", POSITION.iter().map(|column| column.0)),
        unnest = unnest(table.columns, &POSITION),
        tombstones = qualified(schema, "tombstones"),
        kind = kind(table),
        dead = position("d"),
        ours = position("u"),
        replace = replace(table),
        theirs = position("t"),
        new = position("excluded"),
    )
}

/// Tombstones older than the rows go. Parameters: the key and the position.
pub(crate) fn settle_tombstones(schema: &str, table: &Table) -> String {
    format!(
        "DELETE FROM {} d USING {} WHERE d.\"table\" = {} AND d.ind = u.ind AND {} < {}",
        qualified(schema, "tombstones"),
        unnest(&[], &settled_key()),
        kind(table),
        position("d"),
        position("u"),
    )
}

/// Deletes: older rows go, and a tombstone is left unless there is a newer row or tombstone. Parameters: the key and
/// the position.
pub(crate) fn settle_deletes(schema: &str, table: &Table) -> String {
    let target = qualified(schema, table.name);
    let key = quoted(table.columns[0].name);
    let columns = "log_generation, log_partition, log_offset";
    format!(
        "WITH u AS MATERIALIZED (SELECT * FROM {unnest}), \
         gone AS (DELETE FROM {target} t USING u WHERE t.{key} = u.ind AND {theirs} < {ours}) \
         INSERT INTO {tombstones} AS d (\"table\", ind, {columns}) SELECT {kind}, ind, {columns} FROM u \
         WHERE NOT EXISTS (SELECT 1 FROM {target} t WHERE t.{key} = u.ind AND {theirs} > {ours}) \
         ON CONFLICT (\"table\", ind) DO UPDATE SET log_generation = excluded.log_generation, \
         log_partition = excluded.log_partition, log_offset = excluded.log_offset WHERE {dead} < {new}",
        unnest = unnest(&[], &settled_key()),
        tombstones = qualified(schema, "tombstones"),
        kind = kind(table),
        theirs = position("t"),
        ours = position("u"),
        dead = position("d"),
        new = position("excluded"),
    )
}

fn settled_key() -> [(&'static str, &'static str); 4] {
    [("ind", "bigint"), POSITION[0], POSITION[1], POSITION[2]]
}

/// Columns of the rejects table that are written.
pub(crate) const REJECT_COLUMNS: [(&str, &str); 9] = [
    ("source", "text"),
    ("position", "bigint"),
    ("topic", "text"),
    ("partition", "integer"),
    ("offset", "bigint"),
    ("object", "text"),
    ("reason", "text"),
    ("key", "bytea"),
    ("value", "bytea"),
];

/// Bytes of the key and the value of the dead letter `of`; they need not be read for it.
pub(crate) fn reject_bytes(of: &str) -> String {
    format!("(coalesce(octet_length({of}.key), 0) + coalesce(octet_length({of}.value), 0))::bigint")
}

/// Keeps dead letters; one that is there already stays as it is, and one that was dropped before stays away.
/// Parameters: [`REJECT_COLUMNS`].
pub(crate) fn rejects(schema: &str) -> String {
    let columns = list("", REJECT_COLUMNS.iter().map(|column| column.0));
    format!(
        "INSERT INTO {} ({columns}) SELECT {columns} FROM {} WHERE NOT {} ON CONFLICT DO NOTHING",
        qualified(schema, "rejects"),
        unnest(&[], &REJECT_COLUMNS),
        was_dropped(schema, "u")
    )
}

/// Whether the dead letter `of` lies below a mark, whose columns are topic, partition, object and one past the position.
pub(crate) fn is_below(of: &str, mark: &str) -> String {
    let columns: Vec<&str> = mark.split(", ").collect();
    let [topic, partition, object, past] = columns.as_slice() else {
        unreachable!("a mark has four columns");
    };
    format!(
        "(({of}.partition = {partition} AND {of}.topic COLLATE \"C\" = {topic} COLLATE \"C\" \
         AND {of}.position < {past}) OR ({of}.partition IS NULL AND {partition} = -1 \
         AND ({of}.source COLLATE \"C\", {of}.position) < ({object} COLLATE \"C\", {past})))"
    )
}

/// Whether the dead letter `of` was dropped before, as a condition.
pub(crate) fn was_dropped(schema: &str, of: &str) -> String {
    format!(
        "EXISTS (SELECT 1 FROM {} d WHERE {})",
        qualified(schema, "rejects_dropped"),
        is_below(of, "d.topic, d.partition, d.object, d.to_position")
    )
}

/// Makes `target` equal to relation `new` of the same columns: two statements, deletes first. Rows that are equal are
/// not touched, not even locked.
pub(crate) fn reconcile(schema: &str, table: &Table, new: &str) -> [String; 2] {
    let target = qualified(schema, table.name);
    let joined = equal("t", "n", key_names(table));
    let columns = list("", names(table));
    [
        format!("DELETE FROM {target} t WHERE NOT EXISTS (SELECT 1 FROM {new} n WHERE {joined})"),
        format!(
            "INSERT INTO {target} AS t ({columns}) SELECT {} FROM {new} n LEFT JOIN {target} t ON {joined} \
             WHERE t.{} IS NULL OR ({}) IS DISTINCT FROM ({}) {}",
            list("n.", names(table)),
            quoted(table.columns[0].name),
            list("t.", names(table)),
            list("n.", names(table)),
            on_conflict(table)
        ),
    ]
}

/// A result's SQL with its columns in the table's names, types and collation.
pub(crate) fn as_table(table: &Table, definition: &str) -> String {
    let column = |column: &Column| {
        let collate = if column.ty == ColumnType::Text {
            " COLLATE \"C\""
        } else {
            ""
        };
        format!("q.{0}::{1}{collate} AS {0}", quoted(column.name), column.ty.name())
    };
    let columns: Vec<String> = table.columns.iter().map(column).collect();
    let definition = definition.trim().trim_end_matches(';');
    format!(
        "SELECT {} FROM (\n{definition}\n) AS q({})",
        columns.join(", "),
        list("", names(table))
    )
}

/// Rows in which a table and its SQL differ: whether the row is missing in the table, how many such rows there are,
/// and the row's columns as text; at most `limit` rows of either side.
pub(crate) fn differences(schema: &str, table: &Table, definition: &str, limit: u32) -> String {
    let column = |column: &Column| match column.ty {
        ColumnType::Text => format!("t.{0} COLLATE \"C\" AS {0}", quoted(column.name)),
        _ => format!("t.{}", quoted(column.name)),
    };
    let columns: Vec<String> = table.columns.iter().map(column).collect();
    let texts: Vec<String> = names(table).map(|name| format!("x.{}::text", quoted(name))).collect();
    let side = |missing: bool, name: &str| {
        format!(
            "(SELECT {missing}, count(*) OVER (), {} FROM {name} x ORDER BY {} LIMIT {limit})",
            texts.join(", "),
            list("x.", names(table))
        )
    };
    format!(
        "WITH d AS MATERIALIZED ({wanted}), h AS MATERIALIZED (SELECT {have} FROM {target} t), \
         missing AS (SELECT * FROM d EXCEPT ALL SELECT * FROM h), \
         surplus AS (SELECT * FROM h EXCEPT ALL SELECT * FROM d) {} UNION ALL {}",
        side(true, "missing"),
        side(false, "surplus"),
        wanted = as_table(table, definition),
        have = columns.join(", "),
        target = qualified(schema, table.name),
    )
}
