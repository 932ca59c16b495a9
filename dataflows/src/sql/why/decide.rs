//! Which posts of a row decide the value of a column, and which rows stand before it.

use super::ask::{Arguments, Decides, WhyError, WhyQuery};
use super::origin::{Origin, is_row, traced};
use super::posts::Why;
use super::text::{InputColumn, POST};
use crate::sql::ast::{Call, Expr, ExprKind};
use crate::sql::print::quoted;
use crate::sql::types::Ty;

/// The rows of the outermost grouping that the row is made of.
const ROWS: &str = "\"rows\"";

impl Why<'_> {
    /// Of the posts of the row of a key, those that decide the value of a column that [`Decides::Some`] decide: the posts
    /// with the middle values of a percentile (all that have them), with the value of `min`, `max`, `mode`, `bool_and`
    /// and `bool_or`; for sums, averages and counts those that take part, because a FILTER holds and their value is not
    /// null. For a column made of several aggregates, the posts that decide one of them. Where groups of groups are
    /// aggregated, all posts of the inner groups that decide.
    ///
    /// One column, the post's key, ascending. Parameters: the values of all key columns, in order, and the least and the
    /// greatest key of a post wanted.
    pub fn deciding(&self, column: &str, arguments: Arguments) -> Result<WhyQuery, WhyError> {
        let origin = self.origin(column)?;
        if origin.decides() != Decides::Some {
            return Err(self.is_not(column, "a column that some posts of a row decide"));
        }
        let key = self.key_columns();
        let mut types = self.types(&key)?;
        let value = |place: usize| arguments.show(place, types.get(place).copied().unwrap_or(Ty::Int8));
        let (mut columns, mut conditions) = (Vec::new(), Vec::new());
        let below = self.text.grouping(self.grouping + 1);
        let rows = if below.is_none() { "posts" } else { ROWS };
        for (place, call) in origin.aggregates.iter().enumerate() {
            conditions.push(self.condition(place + 1, call, rows, &mut columns));
        }
        // the rows of the row's group alone
        let traced = self.traced_keys();
        let (from, relation) = match traced {
            Some(traced) => {
                columns.extend(traced);
                (
                    format!("(\n{}\n) AS input", self.text.input(self.grouping, &columns)),
                    "input",
                )
            }
            None => {
                columns.push(self.text.input_group(self.grouping));
                let (result, input) = (self.text.fenced_rows(0, &[]), self.text.input(self.grouping, &columns));
                let group = self.text.identity(0);
                let from =
                    format!("(\n{result}\n) AS result\nJOIN (\n{input}\n) AS input ON input.{group} = result.{group}");
                (from, "result")
            }
        };
        let keys = self.conditions(&key, relation, &value).join("\n  AND ");
        let with = format!("WITH {ROWS} AS (\nSELECT input.*\nFROM {from}\nWHERE {keys}\n)");
        let from = match below {
            None => format!("{ROWS} AS posts"),
            Some(below) => {
                let group = vec![self.text.input_group(below)];
                self.inputs(below, group, ROWS.to_owned(), Some(ROWS))
            }
        };
        let sql = format!(
            "{with}\nSELECT posts.{POST} AS {ind}\nFROM {from}\nWHERE ({})\n  AND posts.{POST} BETWEEN {} AND {}\n\
             ORDER BY posts.{POST}",
            conditions.join("\n   OR "),
            value(key.len()),
            value(key.len() + 1),
            ind = quoted(self.text.key),
        );
        types.extend([Ty::Int8, Ty::Int8]);
        Ok(WhyQuery { sql, parameters: types })
    }

    /// The rows that stand before the row of a key, for each window function that a column is made of: the columns of
    /// the query that computes it, of the same partition, in ascending order of their places. Parameters: the values of
    /// all key columns, in order, and how many rows at most.
    pub fn before(&self, column: &str, arguments: Arguments) -> Result<Vec<WhyQuery>, WhyError> {
        let windows = self.origin(column)?.windows;
        if windows.is_empty() {
            return Err(self.is_not(column, "a place among other rows"));
        }
        let key = self.key_columns();
        let types = self.types(&key)?;
        let value = |place: usize| arguments.show(place, types.get(place).copied().unwrap_or(Ty::Int8));
        let queries = windows.into_iter().map(|(at, window)| WhyQuery {
            sql: self.before_in(at, window, &key, &value),
            parameters: types.iter().copied().chain([Ty::Int8]).collect(),
        });
        Ok(queries.collect())
    }

    fn before_in(&self, at: usize, window: &Expr, key: &[&str], value: &impl Fn(usize) -> String) -> String {
        let block = &self.text.chain[at];
        let partition = match &window.kind {
            ExprKind::Call(call) => call.over.iter().flat_map(|over| &over.partition),
            _ => unreachable!("a window function is a call"),
        };
        let partition: Vec<_> = partition.map(|expr| self.text.expression(expr)).collect();
        // the names of the key's columns in this block
        let names: Option<Vec<String>> = key.iter().map(|column| traced(&self.text, column, at)).collect();
        let more = [
            // constants alone: one partition
            if partition.is_empty() {
                "ROW(1) AS \"partition of row\"".to_owned()
            } else {
                format!("ROW({}) AS \"partition of row\"", partition.join(", "))
            },
            format!("{} AS \"place of row\"", self.text.expression(window)),
        ];
        let ranked = self.text.fenced_rows(at, &more);
        // a partition by a key column is computed alone
        let equal = |name: &String, place: usize| format!("ranked.{} = {}", quoted(name), value(place));
        let in_partition: Vec<_> = names
            .iter()
            .flatten()
            .enumerate()
            .filter(|(_, name)| {
                let item = block.items.iter().find(|(item, _)| item == *name);
                item.is_some_and(|(_, item)| partition.contains(&self.text.expression(item)))
            })
            .map(|(place, name)| equal(name, place))
            .collect();
        let in_partition = if in_partition.is_empty() {
            String::new()
        } else {
            format!("\nWHERE {}", in_partition.join(" AND "))
        };
        let this = match &names {
            Some(names) => {
                let names = names.iter().enumerate();
                let equal = names.map(|(place, name)| format!("this.{} = {}", quoted(name), value(place)));
                equal.collect::<Vec<_>>().join(" AND ")
            }
            None => {
                let (group, result) = (self.text.identity(0), self.text.fenced_rows(0, &[]));
                let conditions = self.conditions(key, "result", value).join(" AND ");
                format!("this.{group} IN (SELECT result.{group} FROM (\n{result}\n) AS result WHERE {conditions})")
            }
        };
        let columns: Vec<_> = block
            .items
            .iter()
            .map(|(name, _)| format!("other.{}", quoted(name)))
            .collect();
        format!(
            "WITH ranked AS (\nSELECT ranked.*\nFROM (\n{ranked}\n) AS ranked{in_partition}\n)\nSELECT {}\nFROM ranked AS this \
             JOIN ranked AS other USING (\"partition of row\")\nWHERE {this}\n  AND other.\"place of row\" < \
             this.\"place of row\"\nORDER BY other.\"place of row\"\nLIMIT {}",
            columns.join(", "),
            value(key.len())
        )
    }

    fn origin(&self, column: &str) -> Result<Origin<'_>, WhyError> {
        if self.spec.columns.iter().any(|known| known.name == column) {
            Ok(Origin::of(&self.text, self.grouping, column))
        } else {
            Err(self.is_not(column, "a column"))
        }
    }

    fn is_not(&self, column: &str, wanted: &'static str) -> WhyError {
        WhyError::Column {
            table: self.spec.name.clone(),
            column: column.to_owned(),
            wanted,
        }
    }

    /// The condition on a row of [`ROWS`], here named `rows`, that it decides an aggregate; adds the columns that it
    /// needs, numbered `number`.
    fn condition(&self, number: usize, call: &Call, rows: &str, columns: &mut Vec<InputColumn>) -> String {
        let (value, passes) = (format!("\"value {number}\""), format!("\"passes {number}\""));
        let within = call.within.as_ref();
        let argument = within.map(|term| &term.expr).or(call.args.first());
        if let Some(argument) = argument.filter(|_| !is_row(call)) {
            let mut column = self.text.input_column(self.grouping, value.clone(), argument);
            if call.name == "percentile_cont" {
                column.text = format!("CAST({} AS double precision)", column.text);
            }
            columns.push(column);
        }
        let filter = call
            .filter
            .as_ref()
            .map(|filter| self.text.input_column(self.grouping, passes.clone(), filter));
        let filtered = filter.is_some();
        columns.extend(filter);
        let and_passes = |relation: &str| {
            if filtered {
                format!(" AND {relation}.{passes}")
            } else {
                String::new()
            }
        };
        let descending = if within.is_some_and(|term| term.descending) {
            " DESC"
        } else {
            ""
        };
        let of_all = |aggregate: String| {
            let filter = if filtered {
                format!(" WHERE a.{passes}")
            } else {
                String::new()
            };
            format!(
                "{rows}.{value} = (SELECT {aggregate} FROM {ROWS} AS a{filter}){}",
                and_passes(rows)
            )
        };
        match call.name.as_str() {
            "min" | "max" | "bool_and" | "bool_or" | "every" => of_all(format!("{}(a.{value})", call.name)),
            "mode" => of_all(format!("mode() WITHIN GROUP (ORDER BY a.{value}{descending})")),
            "percentile_cont" | "percentile_disc" => {
                let fraction = self.text.expression(&call.args[0]);
                let fraction = format!("CAST({fraction} AS double precision)");
                let places = match call.name.as_str() {
                    "percentile_cont" => format!(
                        "(1 + floor({fraction} * (sorted.total - 1)), 1 + ceil({fraction} * (sorted.total - 1)))"
                    ),
                    _ => format!("(greatest(1, ceil({fraction} * sorted.total)))"),
                };
                format!(
                    "{rows}.{value} IN (\nSELECT sorted.{value}\nFROM (\nSELECT a.{value}, row_number() OVER (ORDER BY \
                     a.{value}{descending}) AS place, count(*) OVER () AS total\nFROM {ROWS} AS a\nWHERE a.{value} IS NOT \
                     NULL{}\n) AS sorted\nWHERE sorted.place IN {places}\n){}",
                    and_passes("a"),
                    and_passes(rows)
                )
            }
            _ if call.star || is_row(call) => format!("{rows}.{passes}"),
            _ => format!("{rows}.{value} IS NOT NULL{}", and_passes(rows)),
        }
    }
}
