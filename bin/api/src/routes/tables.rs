//! `GET /api/results`: the result tables, and what there is to know of them.

use crate::answer::{Answer, json};
use crate::api::Api;
use crate::error::ApiError;
use crate::params;
use crate::state::{Content, TableState};
use crate::wait::AtLeast;
use operators::{Column, ColumnType, Table};
use serde_json::{Value, json};

/// `{"commit":…,"frontier":{…},"tables":[{"table":…,"comment":…,"columns":[…],"rows":…,"last_change":…,"chart":{…}}]}`
pub async fn answer(api: &Api, parameters: &[(String, String)]) -> Result<Answer, ApiError> {
    params::only(parameters, &["at_least", "timeout"])?;
    let wanted = AtLeast::parse(parameters, &api.shared.topics)?;
    let state = wanted.wait(&api.shared).await?;
    let tables = api.shared.shapes.iter().zip(&state.tables);
    let tables: Vec<Value> = tables.map(|(shape, of)| described(&shape.table, of)).collect();
    let frontier: Value = serde_json::from_slice(&state.frontier_json()).unwrap_or_default();
    Ok(json(
        &json!({ "commit": state.commit, "frontier": frontier, "tables": tables }),
    ))
}

fn described(table: &Table, state: &TableState) -> Value {
    let column = |(number, column): (usize, &Column)| {
        json!({
            "name": column.name,
            "type": column.ty.name(),
            "comment": column.comment,
            "key": number < table.key,
        })
    };
    let columns: Vec<Value> = table.columns.iter().enumerate().map(column).collect();
    let served_from = match state.content {
        Content::Held(_) => Some("memory"),
        Content::Large => Some("postgres"),
        Content::Absent => None,
    };
    let is_there = served_from.is_some();
    json!({
        "table": table.name,
        "comment": table.comment,
        "columns": columns,
        "rows": is_there.then_some(state.rows),
        "last_change": is_there.then_some(state.changed),
        "served_from": served_from,
        "chart": chart(table),
    })
}

/// How a table is best drawn: over time, by category, or not at all.
///
/// `x` is the last column of the key that is a time or a year, else its last column; the other columns of the key tell
/// series apart; `y` is the first number that is neither a key nor a place in a ranking.
fn chart(table: &Table) -> Value {
    let (key, rest) = table.columns.split_at(table.key);
    let is_number = |column: &&Column| {
        matches!(
            column.ty,
            ColumnType::Int4 | ColumnType::Int8 | ColumnType::Float8 | ColumnType::Numeric
        )
    };
    let is_time = |column: &&Column| {
        matches!(column.ty, ColumnType::Timestamp | ColumnType::Date) || column.name.contains("year")
    };
    let is_place = |column: &&Column| matches!(column.name, "rank" | "place" | "row_number");
    let y = rest.iter().find(|column| is_number(column) && !is_place(column));
    let x = key.iter().rev().find(is_time).or(key.last());
    let (Some(x), Some(y)) = (x, y) else {
        return json!({ "kind": "table" });
    };
    let series: Vec<&str> = key
        .iter()
        .map(|column| column.name)
        .filter(|name| *name != x.name)
        .collect();
    let kind = if is_time(&x) { "line" } else { "bar" };
    json!({ "kind": kind, "x": x.name, "y": y.name, "series": series })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_results_are_drawn() {
        let results = dataflows::Results::built_in(&dataflows::Options { top: 0 });
        let of = |name: &str| {
            let definitions = results.definitions().iter();
            let found = definitions.map(|result| result.table).find(|table| table.name == name);
            chart(&found.unwrap())
        };
        assert_eq!(
            of("popular_category_by_country"),
            json!({"kind": "bar", "x": "category", "y": "category_count", "series": ["country"]})
        );
        assert_eq!(
            of("users_joined_by_year"),
            json!({"kind": "line", "x": "join_year", "y": "number_users_joined", "series": []})
        );
    }
}
