//! `GET /api/lineage/{topic}/{partition}/{offset}`: what one record did: the cleaned row that it is, and the rows of
//! results that its post is part of; or why it is in none.
//!
//! The tables keep the latest record of each post, so a record that was replaced is in none of them, and what replaced it
//! is not known from its position alone. Kafka's record says which post it is of, or the request does (`?ind=7`).

use crate::answer::{Answer, json};
use crate::api::Api;
use crate::error::{ApiError, shown};
use crate::load::read_row;
use crate::params::{once, only};
use crate::postgres::{ReadError, Snapshot, unreadable};
use crate::provenance::{self, Log, Place, query_json, row_json};
use crate::routes::read::head_json;
use dataflows::sql::Why;
use dataflows::sql::why::Arguments;
use dataflows::{CLEANED, Kind};
use operators::Table;
use serde_json::{Map, Value, json};
use sinks::{qualified, quoted};
use std::time::{Duration, Instant};
use tokio_postgres::types::ToSql;

/// How long results are asked for the rows that a post is part of; those that are left are named.
const CELLS: Duration = Duration::from_secs(20);

/// A record that is asked for.
struct Asked<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    /// The post that it is said to be of.
    ind: Option<i64>,
}

/// `{"topic":…,"partition":…,"offset":…,"commit":…,"frontier":{…},"state":…,…}`
pub async fn answer(api: &Api, path: [&str; 3], parameters: &[(String, String)]) -> Result<Answer, ApiError> {
    only(parameters, &["ind"])?;
    let [topic, partition, offset] = path;
    let number = |name: &'static str, text: &str, most: i64| {
        let number = text.parse::<i64>().ok().filter(|number| (0..=most).contains(number));
        let error = || {
            ApiError::bad(format!("invalid {name} {}", shown(text)), "expected a whole number").with("parameter", name)
        };
        number.ok_or_else(error)
    };
    let ind = once(parameters, "ind")?;
    let invalid = |text: &str| {
        ApiError::bad(format!("invalid ind {}", shown(text)), "expected a whole number").with("parameter", "ind")
    };
    let asked = Asked {
        topic,
        partition: i32::try_from(number("partition", partition, i32::MAX.into())?).unwrap_or(i32::MAX),
        offset: number("offset", offset, i64::MAX)?,
        ind: ind.map(|text| text.parse().map_err(|_| invalid(text))).transpose()?,
    };
    let _scan = provenance::scan(api)?;
    let snapshot = api.pool.snapshot().await.map_err(unreadable)?;
    let found = asked.find(api, &snapshot).await;
    let (commit, frontier) = head_json(&snapshot.head);
    snapshot.finish().await;
    let mut body = found?;
    let members = [
        ("topic", json!(asked.topic)),
        ("partition", json!(asked.partition)),
        ("offset", json!(asked.offset)),
        ("commit", json!(commit)),
        ("frontier", frontier),
    ];
    body.extend(members.map(|(name, value)| (name.to_owned(), value)));
    Ok(json(&Value::Object(body)))
}

impl Asked<'_> {
    async fn find(&self, api: &Api, snapshot: &Snapshot) -> Result<Map<String, Value>, ApiError> {
        let schema = api.pool.schema();
        let log = Log::read(snapshot, schema).await.map_err(unreadable)?;
        log.cleaned()?;
        let kind = log.kind(self.topic)?;
        let mut body = match self.outside(&log) {
            Some(body) => body,
            None => self.inside(api, snapshot, &log, kind).await.map_err(unreadable)?,
        };
        for name in ["ind", "row", "reason", "replaced_by"] {
            body.entry(name).or_insert(Value::Null);
        }
        body.entry("cells").or_insert_with(|| json!([]));
        Ok(body)
    }

    /// A record that the frontier does not contain.
    fn outside(&self, log: &Log) -> Option<Map<String, Value>> {
        let Some(partition) = log.partition(self.topic, self.partition) else {
            return Some(state("not yet read", "nothing of this partition has been read"));
        };
        if self.offset >= partition.next {
            let reason = format!("the frontier is at {}", partition.next);
            return Some(state("not yet read", &reason));
        }
        if self.offset < partition.first {
            let reason = format!("the tables cover this partition from {}", partition.first);
            return Some(state("absent", &reason));
        }
        let hole = "there is no record at this offset: a mark of a transaction, or compacted";
        partition.is_hole(self.offset).then(|| state("absent", hole))
    }

    async fn inside(
        &self,
        api: &Api,
        snapshot: &Snapshot,
        log: &Log,
        kind: usize,
    ) -> Result<Map<String, Value>, ReadError> {
        let (client, schema) = (snapshot.client(), api.pool.schema());
        let table = &CLEANED[kind];
        if let Some(reason) = self.gap(snapshot, schema).await? {
            return Ok(state("absent", &reason));
        }
        let query = format!(
            "SELECT reason FROM {} WHERE source = $1 AND position = $2",
            qualified(schema, "rejects")
        );
        let source = format!("{}/{}", self.topic, self.partition);
        if let Some(row) = client.query_opt(&query, &[&source, &self.offset]).await? {
            return Ok(state("rejected", row.try_get(0)?));
        }
        let at_position = "log_offset = $1 AND log_partition = $2 AND log_generation > 0";
        let position: [&(dyn ToSql + Sync); 2] = [&self.offset, &self.partition];
        let columns: Vec<String> = table.columns.iter().map(|column| quoted(column.name)).collect();
        let query = format!(
            "SELECT {} FROM {} WHERE {at_position}",
            columns.join(", "),
            qualified(schema, table.name)
        );
        if let Some(row) = client.query_opt(&query, &position).await? {
            let ind: i64 = row.try_get(0)?;
            let mut body = state("current", "");
            body.remove("reason");
            body.insert("ind".to_owned(), json!(ind));
            body.insert("row".to_owned(), row_json(table.columns, &read_row(table, &row)?));
            let (cells, not_asked) = cells(api, snapshot, table, ind).await?;
            body.insert("cells".to_owned(), json!(cells));
            body.insert("not_asked".to_owned(), json!(not_asked));
            return Ok(body);
        }
        let query = format!(
            "SELECT ind FROM {} WHERE \"table\" = '{}' AND {at_position}",
            qualified(schema, "tombstones"),
            table.name
        );
        if let Some(row) = client.query_opt(&query, &position).await? {
            let ind: i64 = row.try_get(0)?;
            let mut body = state(
                "deleted",
                "the record deletes its post, and nothing later of the post was read",
            );
            body.insert("ind".to_owned(), json!(ind));
            return Ok(body);
        }
        self.replaced(api, snapshot, log, kind).await
    }

    /// What is known of a record that was read and is in no table.
    async fn replaced(
        &self,
        api: &Api,
        snapshot: &Snapshot,
        log: &Log,
        kind: usize,
    ) -> Result<Map<String, Value>, ReadError> {
        let (client, table, schema) = (snapshot.client(), &CLEANED[kind], api.pool.schema());
        let names = api.objects.names().await;
        let dropped = format!(
            "SELECT EXISTS (SELECT FROM {} WHERE topic = $1 AND partition = $2 AND $3 >= from_position AND $3 < to_position)",
            qualified(schema, "rejects_dropped")
        );
        let parameters: [&(dyn ToSql + Sync); 3] = [&self.topic, &self.partition, &self.offset];
        let dropped: bool = client.query_one(&dropped, &parameters).await?.try_get(0)?;
        let mut reason =
            "a later record or a delete of the same post took its place, or there was no record at this offset; \
                          the tables keep the latest record of each post alone"
                .to_owned();
        if dropped {
            reason.push_str("; it may also be a dead letter that the limits of the table rejects dropped");
        }
        let of_record = async {
            let kind = u8::try_from(kind).ok().and_then(Kind::from_number)?;
            let objects = &api.objects;
            api.records
                .post(kind, self.topic, self.partition, self.offset, objects)
                .await
        };
        let ind = match self.ind {
            Some(ind) => Some(ind),
            None => of_record.await,
        };
        let Some(ind) = ind else {
            reason.push_str(
                ". Neither Kafka nor the lake holds the record any more: with ?ind=, the post that it is of, the answer names what took \
                 its place",
            );
            return Ok(state("replaced", &reason));
        };
        let places = provenance::places(snapshot, schema, &[table.name], &[ind]).await?;
        let mut body = state("replaced", &reason);
        body.insert("ind".to_owned(), json!(ind));
        if let Some((_, place)) = places.first() {
            body.insert("replaced_by".to_owned(), log.record(*place, &names));
            return Ok(body);
        }
        let query = format!(
            "SELECT log_generation, log_partition, log_offset FROM {} WHERE \"table\" = '{}' AND ind = $1",
            qualified(schema, "tombstones"),
            table.name
        );
        if let Some(row) = client.query_opt(&query, &[&ind]).await? {
            let place = Place {
                kind,
                generation: row.try_get(0)?,
                partition: row.try_get(1)?,
                offset: row.try_get(2)?,
            };
            body.insert("state".to_owned(), json!("deleted"));
            body.insert("reason".to_owned(), json!("a later record deletes the post"));
            body.insert("replaced_by".to_owned(), log.record(place, &names));
        }
        Ok(body)
    }

    async fn gap(&self, snapshot: &Snapshot, schema: &str) -> Result<Option<String>, ReadError> {
        let query = format!(
            "SELECT reason FROM {} WHERE topic = $1 AND partition = $2 AND $3 >= from_offset AND $3 < to_offset LIMIT 1",
            qualified(schema, "gaps")
        );
        let parameters: [&(dyn ToSql + Sync); 3] = [&self.topic, &self.partition, &self.offset];
        let found = snapshot.client().query_opt(&query, &parameters).await?;
        let reason: Option<String> = found.map(|row| row.try_get(0)).transpose()?;
        Ok(reason.map(|reason| format!("the offset is in a gap that was accepted: {reason}")))
    }
}

fn state(state: &str, reason: &str) -> Map<String, Value> {
    let members = [("state", json!(state)), ("reason", json!(reason))];
    members
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect()
}

/// The rows of results that a post is part of, as far as there is time, and the results that were not asked.
async fn cells<'a>(
    api: &'a Api,
    snapshot: &Snapshot,
    table: &Table,
    ind: i64,
) -> Result<(Vec<Value>, Vec<&'a str>), ReadError> {
    let deadline = Instant::now() + CELLS;
    let (mut cells, mut not_asked) = (Vec::new(), Vec::new());
    for (number, definition) in api.results.definitions().iter().enumerate() {
        let Some(why) = api.results.why(number).filter(|why| why.tables().contains(&table.name)) else {
            continue;
        };
        if Instant::now() >= deadline {
            not_asked.push(definition.table.name);
            continue;
        }
        match rows_of(snapshot, api.pool.schema(), &definition.table, &why, ind).await? {
            Some(keys) => {
                let cell = |key| json!({ "table": definition.table.name, "key": key });
                cells.extend(keys.into_iter().map(cell));
            }
            None => not_asked.push(definition.table.name),
        }
    }
    Ok((cells, not_asked))
}

/// The keys of the rows of one result that a post is part of: one, or none. `None` where that is too long a question.
async fn rows_of(
    snapshot: &Snapshot,
    schema: &str,
    table: &Table,
    why: &Why<'_>,
    ind: i64,
) -> Result<Option<Vec<Value>>, ReadError> {
    let Ok(mut query) = why.row_of(Arguments::Text) else {
        return Ok(None);
    };
    // the outermost filter may have dropped the row: what the table holds decides
    let columns = table.columns[..table.key].iter().map(|column| quoted(column.name));
    let columns: Vec<String> = columns.collect();
    let equal: Vec<String> = columns
        .iter()
        .map(|column| format!("t.{column} = q.{column}"))
        .collect();
    query.sql = format!(
        "SELECT q.* FROM (\n{}\n) AS q WHERE EXISTS (SELECT FROM {} AS t WHERE {})",
        query.sql,
        qualified(schema, table.name),
        equal.join(" AND ")
    );
    query_json(snapshot, &query, &[ind.to_string()]).await.map(Some)
}
