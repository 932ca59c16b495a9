//! A query as a statement of PostgreSQL: values travel as parameters, names are quoted.
//!
//! A parameter is the text of a checked value, which the statement casts to the column's type.

use super::filter::{Filter, Test};
use super::{OrderBy, Query};
use operators::{Column, ColumnType, Table, Value};
use sinks::{qualified, quoted};
use tokio_postgres::types::ToSql;

/// A statement and its parameters.
#[derive(Debug)]
pub struct Statement {
    /// The text.
    pub sql: String,
    /// The parameters, in order.
    pub parameters: Vec<Parameter>,
}

/// A parameter.
#[derive(Debug, PartialEq)]
pub enum Parameter {
    /// A text.
    Text(String),
    /// Texts.
    Texts(Vec<String>),
}

impl Parameter {
    /// As the client sends it.
    pub fn as_sql(&self) -> &(dyn ToSql + Sync) {
        match self {
            Parameter::Text(text) => text,
            Parameter::Texts(texts) => texts,
        }
    }
}

impl Query {
    /// The statement that gives the page, all columns of it, and one row more when there is more.
    pub fn statement(&self, schema: &str, table: &Table) -> Statement {
        let columns: Vec<String> = table.columns.iter().map(|column| quoted(column.name)).collect();
        let mut sql = format!("SELECT {} FROM {}", columns.join(", "), qualified(schema, table.name));
        let mut parameters = Vec::new();
        for (place, filter) in self.filters.iter().enumerate() {
            sql.push_str(if place == 0 { " WHERE " } else { " AND " });
            sql.push_str(&condition(table.columns, filter, &mut parameters));
        }
        let key = (0..table.key).map(|column| OrderBy {
            column,
            descending: false,
            nulls_first: false,
        });
        let by: Vec<String> = self
            .order
            .iter()
            .copied()
            .chain(key)
            .map(|by| {
                let direction = if by.descending { "DESC" } else { "ASC" };
                let nulls = if by.nulls_first { "FIRST" } else { "LAST" };
                format!("{} {direction} NULLS {nulls}", compared(&table.columns[by.column]))
            })
            .collect();
        if !by.is_empty() {
            sql.push_str(&format!(" ORDER BY {}", by.join(", ")));
        }
        if let Some(limit) = self.limit.and_then(|limit| i64::try_from(limit).ok()) {
            sql.push_str(&format!(" LIMIT {}", limit.saturating_add(1)));
        }
        if self.skip() > 0 {
            let skip = i64::try_from(self.skip()).unwrap_or(i64::MAX);
            sql.push_str(&format!(" OFFSET {skip}"));
        }
        Statement { sql, parameters }
    }
}

/// A column as it is compared: texts by their bytes.
fn compared(column: &Column) -> String {
    match column.ty {
        ColumnType::Text => format!("{} COLLATE \"C\"", quoted(column.name)),
        _ => quoted(column.name),
    }
}

fn condition(columns: &[Column], filter: &Filter, parameters: &mut Vec<Parameter>) -> String {
    let column = &columns[filter.column];
    let (of, name) = (compared(column), quoted(column.name));
    // whole numbers beyond the range of integer are not equal to any of them
    let ty = match column.ty {
        ColumnType::Int4 => ColumnType::Int8,
        ty => ty,
    };
    let ty = ty.name();
    let text = |value: &Value| sinks::text::value(value, column.ty).unwrap_or_default();
    let mut add = |parameter| {
        parameters.push(parameter);
        parameters.len()
    };
    let condition = match &filter.test {
        Test::IsNull => format!("{name} IS NULL"),
        Test::Is(true) => format!("{name} IS TRUE"),
        Test::Is(false) => format!("{name} IS FALSE"),
        Test::Compare(comparison, value) => {
            let number = add(Parameter::Text(text(value)));
            format!("{of} {} ${number}::text::{ty}", comparison.sql())
        }
        Test::In(values) => {
            let number = add(Parameter::Texts(values.iter().map(text).collect()));
            format!("{of} = ANY(${number}::text[]::{ty}[])")
        }
        Test::Like(pattern, folds) => {
            let number = add(Parameter::Text(pattern.text.clone()));
            let operator = if *folds { "ILIKE" } else { "LIKE" };
            format!("{of} {operator} ${number}::text")
        }
    };
    if filter.negated {
        format!("NOT ({condition})")
    } else {
        condition
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_parameters_and_names_are_quoted() {
        let table = Table {
            name: "places",
            comment: "",
            key: 1,
            columns: &[
                Column {
                    name: "country",
                    ty: ColumnType::Text,
                    comment: "",
                },
                Column {
                    name: "rank",
                    ty: ColumnType::Int4,
                    comment: "",
                },
            ],
        };
        let params = crate::params::parse(Some(
            "country=eq.x'; DROP TABLE y&rank=not.in.(1,2)&country=ilike.*a&order=rank.desc&limit=5",
        ));
        let query = Query::parse(&table, &params.unwrap()).unwrap();
        let statement = query.statement("pinflow", &table);
        assert_eq!(
            statement.sql,
            "SELECT \"country\", \"rank\" FROM \"pinflow\".\"places\" WHERE \"country\" COLLATE \"C\" = $1::text::text \
             AND NOT (\"rank\" = ANY($2::text[]::bigint[])) AND \"country\" COLLATE \"C\" ILIKE $3::text \
             ORDER BY \"rank\" DESC NULLS FIRST, \"country\" COLLATE \"C\" ASC NULLS LAST LIMIT 6"
        );
        let expected = [
            Parameter::Text("x'; DROP TABLE y".into()),
            Parameter::Texts(vec!["1".into(), "2".into()]),
            Parameter::Text("%a".into()),
        ];
        assert_eq!(statement.parameters, expected);
    }
}
