//! The read side: tables, frontier and the results' SQL, all in one snapshot.
//!
//! Every call is one `REPEATABLE READ` transaction, so whatever it returns belongs to one commit of the sink.

use crate::config::PostgresConfig;
use crate::definition::Definition;
use crate::encode::EPOCH_2000;
use crate::error::SinkError;
use crate::numeric::Numeric;
use crate::progress::{self, Progress};
use crate::quote::{list, qualified};
use crate::session::{Purpose, Session};
use crate::sql::{self};
use futures_util::TryStreamExt;
use std::error::Error;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{FromSql, Type};
use values::{ColumnType, Row, Table, Value};

/// A connection for reading; sees only whole commits.
pub struct Reader {
    pub(crate) session: Session,
    pub(crate) schema: String,
}

/// Every result table against its SQL.
#[derive(Clone, Debug, PartialEq)]
pub struct Verification {
    /// The commit that was looked at.
    pub progress: Progress,
    /// One for each result.
    pub tables: Vec<TableCheck>,
}

impl Verification {
    /// Whether all tables are what their SQL says.
    pub fn is_clean(&self) -> bool {
        self.tables.iter().all(|table| table.missing == 0 && table.surplus == 0)
    }
}

/// One result table against its SQL.
#[derive(Clone, Debug, PartialEq)]
pub struct TableCheck {
    /// The table.
    pub table: &'static str,
    /// Rows of the SQL that the table lacks.
    pub missing: u64,
    /// Rows of the table that the SQL does not give.
    pub surplus: u64,
    /// The first rows of both kinds.
    pub rows: Vec<Difference>,
}

/// A row in which table and SQL differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where the row is.
    pub side: Side,
    /// Its columns, as Postgres prints them.
    pub row: Vec<Option<String>>,
}

/// Which side has a row that the other lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The SQL gives it, the table lacks it.
    Missing,
    /// The table holds it, the SQL does not give it.
    Surplus,
}

impl Reader {
    /// Connects; creates nothing.
    pub async fn connect(config: &PostgresConfig) -> Result<Reader, SinkError> {
        let session = Session::open(config, Purpose::Read).await?;
        Ok(Reader {
            session,
            schema: config.schema.clone(),
        })
    }

    /// The progress of the last commit.
    pub async fn progress(&mut self) -> Result<Progress, SinkError> {
        self.begin().await?;
        let progress = self.progress_in_snapshot().await;
        self.end().await;
        progress
    }

    /// Compares every result table with its SQL over the cleaned tables; shows at most `limit` rows of each side.
    pub async fn verify(&mut self, definition: &Definition, limit: u32) -> Result<Verification, SinkError> {
        self.begin().await?;
        let verification = self.verify_in_snapshot(definition, limit).await;
        self.end().await;
        verification
    }

    /// Reads whole tables, each sorted by its rows' order, with the progress they belong to. Cleaned tables come with
    /// their own columns alone.
    pub async fn tables(&mut self, tables: &[Table]) -> Result<(Progress, Vec<Vec<Row>>), SinkError> {
        self.begin().await?;
        let read = self.read_in_snapshot(tables).await;
        self.end().await;
        read
    }

    pub(crate) async fn begin(&self) -> Result<(), SinkError> {
        let begun = self
            .session
            .client
            .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            .await;
        begun.map_err(|source| SinkError::postgres(format!("reading schema {}", self.schema), source))
    }

    async fn end(&self) {
        // nothing was written: a failure here leaves nothing behind
        let _ = self.session.client.batch_execute("ROLLBACK").await;
    }

    /// The progress, in the transaction that has begun.
    pub(crate) async fn progress_in_snapshot(&self) -> Result<Progress, SinkError> {
        let read = progress::read(&self.session.client, &self.schema).await;
        read.map_err(|error| match error {
            // whoever reads need not run beside a run that has made them
            SinkError::SchemaChanged { source, .. } if source.code() == Some(&SqlState::UNDEFINED_TABLE) => {
                SinkError::NoTables {
                    schema: self.schema.clone(),
                }
            }
            error => error,
        })
    }

    async fn verify_in_snapshot(&self, definition: &Definition, limit: u32) -> Result<Verification, SinkError> {
        let progress = self.progress_in_snapshot().await?;
        let tables = self.compare(definition, limit).await?;
        Ok(Verification { progress, tables })
    }

    pub(crate) async fn compare(&self, definition: &Definition, limit: u32) -> Result<Vec<TableCheck>, SinkError> {
        let mut tables = Vec::with_capacity(definition.results.len());
        for (table, sql) in &definition.results {
            let failed = |source| SinkError::postgres(format!("verifying {}.{}", self.schema, table.name), source);
            let query = sql::differences(&self.schema, table, sql, limit);
            let mut check = TableCheck {
                table: table.name,
                missing: 0,
                surplus: 0,
                rows: Vec::new(),
            };
            for row in self.session.client.query(&query, &[]).await.map_err(failed)? {
                let (missing, count): (bool, i64) = (row.get(0), row.get(1));
                let side = if missing { Side::Missing } else { Side::Surplus };
                match side {
                    Side::Missing => check.missing = count as u64,
                    Side::Surplus => check.surplus = count as u64,
                }
                let row = (0..table.columns.len()).map(|column| row.get(2 + column)).collect();
                check.rows.push(Difference { side, row });
            }
            tables.push(check);
        }
        Ok(tables)
    }

    async fn read_in_snapshot(&self, tables: &[Table]) -> Result<(Progress, Vec<Vec<Row>>), SinkError> {
        let progress = self.progress_in_snapshot().await?;
        let mut contents = Vec::with_capacity(tables.len());
        for table in tables {
            contents.push(self.read_table(table).await?);
        }
        Ok((progress, contents))
    }

    pub(crate) async fn read_table(&self, table: &Table) -> Result<Vec<Row>, SinkError> {
        let target = qualified(&self.schema, table.name);
        let failed = |source| SinkError::postgres(format!("reading {target}"), source);
        let query = format!("SELECT {} FROM {target}", list("", sql::names(table)));
        let none: [&str; 0] = [];
        let mut stream = std::pin::pin!(self.session.client.query_raw(&query, none).await.map_err(failed)?);
        let mut rows = Vec::new();
        while let Some(row) = stream.try_next().await.map_err(failed)? {
            let value = |(index, column): (usize, &values::Column)| read_value(&row, index, column.ty);
            let row: Result<Row, _> = table.columns.iter().enumerate().map(value).collect();
            rows.push(row.map_err(failed)?);
        }
        rows.sort();
        Ok(rows)
    }
}

/// The value of a column that a query returns in its own type, as binary results carry it.
///
/// # Errors
/// The column is of another type.
pub fn read_value(row: &tokio_postgres::Row, index: usize, ty: ColumnType) -> Result<Value, tokio_postgres::Error> {
    Ok(match ty {
        ColumnType::Text => row
            .try_get::<_, Option<String>>(index)?
            .map(|v| Value::String(v.into())),
        ColumnType::Int4 => row.try_get::<_, Option<i32>>(index)?.map(|v| Value::Int(v.into())),
        ColumnType::Int8 => row.try_get::<_, Option<i64>>(index)?.map(Value::Int),
        ColumnType::Float8 => row.try_get::<_, Option<f64>>(index)?.map(Value::Float),
        ColumnType::Timestamp => row.try_get::<_, Option<Micros>>(index)?.map(|v| Value::Int(v.0)),
        ColumnType::Float8Array => row
            .try_get::<_, Option<Vec<Option<f64>>>>(index)?
            .map(|v| Value::Floats(v.into())),
        ColumnType::Bytes => row
            .try_get::<_, Option<Vec<u8>>>(index)?
            .map(|v| Value::Bytes(v.into())),
        ColumnType::Bool => row.try_get::<_, Option<bool>>(index)?.map(|v| Value::Int(v.into())),
        ColumnType::Date => row.try_get::<_, Option<Days>>(index)?.map(|v| Value::Int(v.0)),
        ColumnType::Numeric => row
            .try_get::<_, Option<Numeric>>(index)?
            .map(|v| Value::String(v.text().into())),
    }
    .unwrap_or(Value::Null))
}

/// A timestamp as microseconds since 1970.
struct Micros(i64);

impl<'a> FromSql<'a> for Micros {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Micros, Box<dyn Error + Sync + Send>> {
        Ok(Micros(i64::from_be_bytes(raw.try_into()?).saturating_add(EPOCH_2000)))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMP
    }
}

/// A date as days since 1970.
struct Days(i64);

impl<'a> FromSql<'a> for Days {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Days, Box<dyn Error + Sync + Send>> {
        let days: i64 = i32::from_be_bytes(raw.try_into()?).into();
        Ok(Days(days + EPOCH_2000 / 86_400_000_000))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::DATE
    }
}
