//! `GET /api/why/{table}`: why a row is what it is: the posts that it is made of, the records of each, the posts that
//! decide each aggregate, and the rows before it.

use crate::answer::{Answer, json};
use crate::api::Api;
use crate::cell::Shape;
use crate::error::ApiError;
use crate::load::read_row;
use crate::objects::Objects;
use crate::params::{once, unknown, whole};
use crate::postgres::{ReadError, Snapshot, unreadable};
use crate::provenance::{self, Log, query_json, row_json, run};
use crate::query::Query;
use crate::routes::read::head_json;
use crate::routes::table::number;
use dataflows::Definition;
use dataflows::sql::Why;
use dataflows::sql::why::{Arguments, Decides, WhyError};
use hyper::StatusCode;
use operators::{Row, Value as Cell};
use serde_json::{Map, Value, json};
use sinks::{qualified, text};
use std::collections::BTreeMap;

/// Posts on a page, if the request does not say, and at most.
const LIMITS: (u64, u64) = (100, 1_000);
/// Rows before one that are listed at most.
const MOST_BEFORE: usize = 100;

/// A row to explain, and which of its posts are asked for.
struct Asked<'a> {
    shape: &'a Shape,
    definition: &'a Definition,
    why: Why<'a>,
    objects: &'a Objects,
    query: Query,
    /// Names of the columns that `query` compares.
    filtered: Vec<usize>,
    from: Option<i64>,
    limit: usize,
}

/// `{"table":…,"commit":…,"frontier":{…},"row":{…},"count":…,"checked":…,"posts":[…],"next":…,"every_post":[…],
/// "before":{…},"sql":…}`
pub async fn answer(api: &Api, name: &str, parameters: &[(String, String)]) -> Result<Answer, ApiError> {
    let place = number(api, name)?;
    let asked = Asked::parse(api, place, parameters)?;
    let _scan = provenance::scan(api)?;
    let snapshot = api.pool.snapshot().await.map_err(unreadable)?;
    let explained = asked.explain(&snapshot, api.pool.schema()).await;
    let (commit, frontier) = head_json(&snapshot.head);
    snapshot.finish().await;
    let mut body = explained.map_err(|error| error.answer(name))?;
    body.insert("table".to_owned(), json!(name));
    body.insert("commit".to_owned(), json!(commit));
    body.insert("frontier".to_owned(), frontier);
    Ok(json(&Value::Object(body)))
}

/// Why there is no answer.
enum Failed {
    Read(ReadError),
    Refused(ApiError),
}

impl Failed {
    fn answer(self, table: &str) -> ApiError {
        match self {
            Failed::Read(error) => unreadable(error),
            Failed::Refused(error) => error,
        }
        .with("table", table)
    }
}

impl From<ReadError> for Failed {
    fn from(error: ReadError) -> Failed {
        Failed::Read(error)
    }
}

impl From<tokio_postgres::Error> for Failed {
    fn from(error: tokio_postgres::Error) -> Failed {
        Failed::Read(error.into())
    }
}

impl From<WhyError> for Failed {
    fn from(error: WhyError) -> Failed {
        let (status, hint) = match error {
            WhyError::TooLong { .. } => (StatusCode::CONFLICT, "ask for a result that it reads"),
            // the route asks for what the result has
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "report this"),
        };
        ApiError::new(status, error.to_string(), hint).into()
    }
}

impl From<ApiError> for Failed {
    fn from(error: ApiError) -> Failed {
        Failed::Refused(error)
    }
}

impl<'a> Asked<'a> {
    fn parse(api: &'a Api, place: usize, parameters: &[(String, String)]) -> Result<Asked<'a>, ApiError> {
        let shape = &api.shared.shapes[place];
        let names: Vec<&str> = shape.table.columns.iter().map(|column| column.name).collect();
        let own = |name: &str| matches!(name, "after" | "limit") && !names.contains(&name);
        let (own, filters): (Vec<_>, Vec<_>) = parameters.iter().cloned().partition(|(name, _)| own(name));
        // the other parameters of a table's rows are none here
        if let Some((name, _)) = filters
            .iter()
            .find(|(name, _)| crate::query::RESERVED.contains(&&**name))
        {
            let known: Vec<&str> = names.iter().copied().chain(["after", "limit"]).collect();
            return Err(unknown(name, &known));
        }
        let mut query = Query::parse(&shape.table, &filters)?;
        // one row more than this is asked for
        query.limit = Some(1);
        let after = once(&own, "after")?;
        let invalid = |text: &str| {
            let error = format!("invalid after {}", crate::error::shown(text));
            ApiError::bad(error, "expected an ind: `next` of the page before").with("parameter", "after")
        };
        let after: Option<i64> = after.map(|text| text.parse().map_err(|_| invalid(text))).transpose()?;
        let limit = whole(&own, "limit", 1..=LIMITS.1)?.unwrap_or(LIMITS.0);
        let definitions = api.results.definitions().iter();
        let number = definitions
            .enumerate()
            .find(|(_, known)| known.table.name == shape.table.name);
        let known = number.and_then(|(number, definition)| Some((definition, api.results.why(number)?)));
        let (definition, why) = known.ok_or_else(|| ApiError::unavailable("the result is not known", "try again"))?;
        Ok(Asked {
            shape,
            definition,
            why,
            objects: &api.objects,
            filtered: query.filters.iter().map(|filter| filter.column).collect(),
            query,
            // behind the last ind there are none
            from: after.map_or(Some(i64::MIN), |after| after.checked_add(1)),
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
        })
    }

    async fn explain(&self, snapshot: &Snapshot, schema: &str) -> Result<Map<String, Value>, Failed> {
        let log = Log::read(snapshot, schema).await?;
        log.cleaned()?;
        self.same_definition(snapshot, schema).await?;
        let table = &self.shape.table;
        let row = self.row(snapshot, schema).await?;
        let key: Vec<&str> = table.columns[..table.key].iter().map(|column| column.name).collect();
        let values = table.columns[..table.key].iter().zip(&row);
        let values: Vec<String> = values
            .map(|(column, value)| text::value(value, column.ty).unwrap_or_default())
            .collect();

        let counting = self.why.count(&key, Arguments::Text)?;
        let counted = run(snapshot, &counting, &values).await?;
        let count: i64 = counted.first().map_or(Ok(0), |row| row.try_get(0))?;
        let checked = self.check(&row, count)?;

        let limit = (self.limit + 1).to_string();
        let from = self.from.unwrap_or(i64::MAX).to_string();
        let arguments = [&*values, &[from, limit]].concat();
        let posts = self.why.posts(&key, Arguments::Text)?;
        let mut inds = Vec::new();
        if self.from.is_some() {
            for row in run(snapshot, &posts, &arguments).await? {
                inds.push(row.try_get::<_, i64>(0)?);
            }
        }
        let more = inds.len() > self.limit;
        inds.truncate(self.limit);
        let next = inds.last().copied().filter(|_| more);

        let deciding = self.deciding(snapshot, &values, &inds).await?;
        let before = self.before(snapshot, &values).await?;
        let every = self.why.columns().filter(|column| column.decides == Decides::EveryPost);
        let every: Vec<&str> = every.map(|column| column.name).collect();
        let places = provenance::places(snapshot, schema, &self.why.tables(), &inds).await?;
        let names = self.objects.names().await;
        let posts = inds.iter().map(|ind| {
            let records = places.iter().filter(|(of, _)| of == ind);
            let records: Vec<Value> = records.map(|(_, place)| log.record(*place, &names)).collect();
            json!({ "ind": ind, "decides": deciding.get(ind).cloned().unwrap_or_default(), "records": records })
        });
        let posts: Vec<Value> = posts.collect();
        let shown = self.why.posts(&key, Arguments::Literal(&arguments))?;
        let mut body = Map::new();
        body.insert("row".to_owned(), row_json(table.columns, &row));
        body.insert("count".to_owned(), json!(count));
        body.insert("checked".to_owned(), json!(checked));
        body.insert("posts".to_owned(), json!(posts));
        body.insert("next".to_owned(), json!(next));
        body.insert("every_post".to_owned(), json!(every));
        body.insert("before".to_owned(), Value::Object(before));
        body.insert("sql".to_owned(), json!(shown.sql));
        Ok(body)
    }

    /// Refuses to explain a table that another definition made: the first commit of this run makes it again.
    async fn same_definition(&self, snapshot: &Snapshot, schema: &str) -> Result<(), Failed> {
        let query = format!("SELECT sql FROM {} WHERE name = $1", qualified(schema, "results"));
        let rows = snapshot.client().query(&query, &[&self.shape.table.name]).await?;
        let sql: Option<String> = rows.first().map(|row| row.try_get(0)).transpose()?;
        if sql.as_ref() == Some(&self.definition.sql) {
            return Ok(());
        }
        let error = "the table in PostgreSQL is not the one of this run's definition";
        let hint = "the first commit of this run makes it: try again when the replay is done";
        Err(ApiError::new(StatusCode::CONFLICT, error, hint).into())
    }

    /// The one row that the filters select.
    async fn row(&self, snapshot: &Snapshot, schema: &str) -> Result<Row, Failed> {
        let table = &self.shape.table;
        let statement = self.query.statement(schema, table);
        let parameters: Vec<_> = statement
            .parameters
            .iter()
            .map(|parameter| parameter.as_sql())
            .collect();
        let rows = snapshot.client().query(&statement.sql, &parameters).await?;
        match rows.as_slice() {
            [row] => Ok(read_row(table, row)?),
            [] => {
                let error = format!("{} has no such row", table.name);
                Err(ApiError::new(
                    StatusCode::NOT_FOUND,
                    error,
                    format!("/api/results/{} lists the rows", table.name),
                )
                .into())
            }
            _ => {
                let columns = table.columns[..table.key].iter().enumerate();
                let missing = columns.filter(|(place, _)| !self.filtered.contains(place));
                let missing: Vec<&str> = missing.map(|(_, column)| column.name).collect();
                let hint = match missing.as_slice() {
                    [] => "compare the key columns with `eq`".to_owned(),
                    [first, ..] => format!("add {first}=eq.…: a row is named by {}", missing.join(", ")),
                };
                let error = format!("the filters select more than one row of {}", table.name);
                Err(ApiError::bad(error, hint).with("missing", missing).into())
            }
        }
    }

    /// Whether the number of posts was compared with the table's.
    fn check(&self, row: &Row, count: i64) -> Result<bool, Failed> {
        let Some(column) = self.why.post_count() else {
            return Ok(false);
        };
        let columns = self.shape.table.columns;
        let place = columns.iter().position(|known| known.name == column);
        let value = place.and_then(|place| match row[place] {
            Cell::Int(value) => Some(value),
            _ => None,
        });
        if value == Some(count) {
            return Ok(true);
        }
        let shown = value.map_or("null".to_owned(), |value| value.to_string());
        tracing::error!(table = self.shape.table.name, column, table_value = %shown, posts = count, "a result differs from its posts");
        let error = format!(
            "the table says {column} = {shown}, and the cleaned tables of the same commit have {count} posts for the row: the \
             table does not hold what it promises"
        );
        Err(ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            error,
            "run `pinflow verify`, and report what it prints",
        )
        .into())
    }

    /// For each post of a page the columns that it decides.
    async fn deciding(
        &self,
        snapshot: &Snapshot,
        values: &[String],
        inds: &[i64],
    ) -> Result<BTreeMap<i64, Vec<&'a str>>, Failed> {
        let mut deciding: BTreeMap<i64, Vec<&str>> = BTreeMap::new();
        let (Some(first), Some(last)) = (inds.first(), inds.last()) else {
            return Ok(deciding);
        };
        let arguments = [values, &[first.to_string(), last.to_string()]].concat();
        for column in self.why.columns().filter(|column| column.decides == Decides::Some) {
            let query = self.why.deciding(column.name, Arguments::Text)?;
            for row in run(snapshot, &query, &arguments).await? {
                deciding.entry(row.try_get(0)?).or_default().push(column.name);
            }
        }
        Ok(deciding)
    }

    /// For each column that is a place the rows before, as far as they are listed.
    async fn before(&self, snapshot: &Snapshot, values: &[String]) -> Result<Map<String, Value>, Failed> {
        let mut before = Map::new();
        let arguments = [values, &[MOST_BEFORE.to_string()]].concat();
        for column in self.why.columns().filter(|column| column.place) {
            let mut rows = Vec::new();
            for query in self.why.before(column.name, Arguments::Text)? {
                rows.extend(query_json(snapshot, &query, &arguments).await?);
            }
            before.insert(column.name.to_owned(), json!(rows));
        }
        Ok(before)
    }
}
