//! The tables that stand in Postgres against those that are wanted: compared, and given the columns of this version.

use crate::error::SinkError;
use crate::quote::{qualified, quoted};
use crate::table_spec::TableSpec;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// A column as it stands.
pub(crate) struct FoundColumn {
    name: String,
    ty: String,
    collation: Option<String>,
    not_null: bool,
}

/// Columns that a table of an earlier version lacks.
pub(crate) struct Missing {
    table: String,
    alter: String,
    comments: String,
}

impl Missing {
    fn of(schema: &str, spec: &TableSpec, found: &[FoundColumn]) -> Option<Missing> {
        let table = format!("{}.{}", quoted(schema), quoted(&spec.name));
        let lacks = |name: &str| found.iter().all(|column| column.name != name);
        let later = spec.columns.iter().filter(|column| column.later && lacks(&column.name));
        let (mut adds, mut comments) = (Vec::new(), String::new());
        for column in later {
            adds.push(format!(
                "ADD COLUMN IF NOT EXISTS {} {}",
                quoted(&column.name),
                column.ty
            ));
            comments.push_str(&column.describe(&table));
        }
        (!adds.is_empty()).then(|| Missing {
            alter: format!("ALTER TABLE {table} {};", adds.join(", ")),
            table: format!("{schema}.{}", spec.name),
            comments,
        })
    }
}

/// Whether there is such a table.
pub(crate) async fn is_there(client: &Client, schema: &str, table: &str) -> Result<bool, tokio_postgres::Error> {
    let sql = "SELECT to_regclass($1) IS NOT NULL";
    let row = client.query_one(sql, &[&qualified(schema, table)]).await?;
    row.try_get(0)
}

/// The columns of a table in their order; `None` without the table.
pub(crate) async fn found_columns(
    client: &Client,
    schema: &str,
    table: &str,
) -> Result<Option<Vec<FoundColumn>>, tokio_postgres::Error> {
    let relation = "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                    WHERE n.nspname = $1 AND c.relname = $2";
    let Some(row) = client.query_opt(relation, &[&schema, &table]).await? else {
        return Ok(None);
    };
    let oid: u32 = row.get(0);
    let columns = "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), l.collname::text, a.attnotnull \
                   FROM pg_attribute a LEFT JOIN pg_collation l ON l.oid = a.attcollation \
                   WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
    let rows = client.query(columns, &[&oid]).await?;
    let column = |row: &tokio_postgres::Row| FoundColumn {
        name: row.get(0),
        ty: row.get(1),
        collation: row.get(2),
        not_null: row.get(3),
    };
    Ok(Some(rows.iter().map(column).collect()))
}

/// Refuses a table of another shape. Columns that came later may be absent, and stand in any order behind the others;
/// returns those that have to be added.
pub(crate) async fn compare(
    client: &Client,
    schema: &str,
    spec: &TableSpec,
    found: &[FoundColumn],
) -> Result<Option<Missing>, SinkError> {
    let table = format!("{schema}.{}", spec.name);
    let mismatch = |object: String, found: &str, wanted: &str| {
        Err(SinkError::SchemaMismatch {
            table: table.clone(),
            object,
            found: found.into(),
            wanted: wanted.into(),
        })
    };
    for (index, wanted) in spec.columns.iter().enumerate() {
        let object = format!("column {}", wanted.name);
        let Some(place) = found.iter().position(|column| column.name == wanted.name) else {
            if wanted.later {
                continue;
            }
            return mismatch(object, "missing", &wanted.ty);
        };
        if place != index && !wanted.later {
            return mismatch(
                object,
                &format!("column number {}", place + 1),
                &format!("number {}", index + 1),
            );
        }
        let column = &found[place];
        if column.ty != wanted.ty {
            return mismatch(object, &column.ty, &wanted.ty);
        }
        if spec.collated(wanted) && column.collation.as_deref() != Some("C") {
            let found = format!("collated {:?}", column.collation.as_deref().unwrap_or("default"));
            return mismatch(object, &found, "collated \"C\"");
        }
        // a stricter table would refuse rows of ours; a laxer one holds them all
        if column.not_null && !wanted.not_null {
            return mismatch(object, "not null", "nullable");
        }
    }
    let known = |column: &FoundColumn| spec.columns.iter().any(|wanted| wanted.name == column.name);
    if let Some(surplus) = found.iter().find(|column| !known(column)) {
        return mismatch(format!("column {}", surplus.name), &surplus.ty, "no such column");
    }
    let sql = "SELECT a.attname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid \
               JOIN pg_namespace n ON n.oid = c.relnamespace \
               CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, place) \
               JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum \
               WHERE i.indisprimary AND n.nspname = $1 AND c.relname = $2 ORDER BY k.place";
    let rows = client.query(sql, &[&schema, &spec.name]).await;
    let rows = rows.map_err(|source| SinkError::postgres(format!("comparing table {table}"), source))?;
    let key: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    if key != spec.key {
        let found = if key.is_empty() {
            "absent".into()
        } else {
            format!("({})", key.join(", "))
        };
        return mismatch("primary key".into(), &found, &format!("({})", spec.key.join(", ")));
    }
    Ok(Missing::of(schema, spec, found))
}

/// How the context of an error begins when columns are added.
const ADDING: &str = "adding columns to ";

/// Whether columns could not be added because another session keeps the table locked.
pub(crate) fn is_locked(error: &SinkError) -> bool {
    matches!(error, SinkError::Postgres { context, source }
        if context.starts_with(ADDING) && source.code() == Some(&SqlState::LOCK_NOT_AVAILABLE))
}

/// Adds missing columns, within the caller's transaction.
pub(crate) async fn add_columns(client: &Client, schema: &str, missing: &[Missing]) -> Result<(), SinkError> {
    if missing.is_empty() {
        return Ok(());
    }
    let failed = |context: String| move |source| SinkError::postgres(context, source);
    // whoever waits for the table queues behind us: rather try again than keep readers and commits waiting
    let limited = client.batch_execute("SET LOCAL lock_timeout = '2s'").await;
    limited.map_err(failed(format!("preparing schema {schema}")))?;
    for Missing { table, alter, comments } in missing {
        match client.batch_execute(&format!("{alter} {comments}")).await {
            Ok(()) => tracing::info!(table, "columns of this version were added"),
            Err(source) if source.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                return Err(may_not_alter(client, schema, missing, &source).await);
            }
            Err(source) => return Err(failed(format!("{ADDING}{table}"))(source)),
        }
    }
    Ok(())
}

/// Names the owner, and every statement that is to be run as the owner.
async fn may_not_alter(
    client: &Client,
    schema: &str,
    missing: &[Missing],
    source: &tokio_postgres::Error,
) -> SinkError {
    let message = source.as_db_error().map_or("", |error| error.message()).to_owned();
    let statements: Vec<&str> = missing.iter().map(|missing| missing.alter.as_str()).collect();
    // the failed statement has aborted the transaction
    let _ = client.batch_execute("ROLLBACK").await;
    let sql = "SELECT pg_get_userbyid(c.relowner)::text, current_user::text FROM pg_class c \
               JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = 'progress'";
    let roles = client.query_opt(sql, &[&schema]).await.ok().flatten();
    let (owner, role) = roles.map_or(("the owner".into(), "this role".into()), |row| {
        (quoted(row.get(0)), quoted(row.get(1)))
    });
    SinkError::Upgrade {
        schema: schema.into(),
        reason: format!("role {role} may not add them: {message}"),
        hint: format!(
            "GRANT {owner} TO {role}, start once as {owner}, or run as {owner}: {}",
            statements.join(" ")
        ),
    }
}

/// Names the sessions that keep a control table locked.
pub(crate) async fn locked(client: &Client, schema: &str) -> Option<SinkError> {
    let sql = "SELECT c.relname::text, coalesce(nullif(a.application_name, ''), 'a session without name'), l.pid \
               FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace \
               LEFT JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'relation' AND l.granted \
               AND n.nspname = $1 AND c.relname IN ('progress', 'frontier', 'gaps') AND l.pid <> pg_backend_pid() \
               AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) LIMIT 1";
    let row = client.query_opt(sql, &[&schema]).await.ok()??;
    let (table, name, pid): (String, String, i32) = (row.get(0), row.get(1), row.get(2));
    Some(SinkError::Upgrade {
        schema: schema.into(),
        reason: format!("{name} (server process {pid}) keeps {table} locked"),
        hint: "end that session, then start again".into(),
    })
}
