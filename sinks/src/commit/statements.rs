//! The prepared statements of a sink's session.

use crate::definition::Definition;
use crate::error::SinkError;
use crate::progress;
use crate::quote::quoted;
use crate::sql;
use tokio::sync::OnceCell;
use tokio_postgres::{Client, Statement};

/// Prepared statements of a sink's session.
pub(crate) struct Statements {
    pub(super) lock: Statement,
    /// See [`Context::pipelined`].
    pub(super) checked_lock: Statement,
    pub(super) notify: Statement,
    /// Per result table: delete, upsert. Prepared when first needed, since a full snapshot may make the tables anew.
    results: OnceCell<Vec<[Statement; 2]>>,
    /// Per cleaned table: rows, risen, deletes.
    pub(super) settle: Vec<[Statement; 3]>,
    pub(super) rejects: Statement,
    pub(super) progress: progress::Statements,
}

impl Statements {
    pub(crate) async fn prepare(
        client: &Client,
        schema: &str,
        definition: &Definition,
    ) -> Result<Statements, SinkError> {
        let failed = |name: &str| {
            let context = format!("preparing statements for {schema}.{name}");
            move |source| SinkError::postgres(context, source)
        };
        let lock = format!(
            "SELECT fence, fence_run_id, commits, definitions FROM {}.progress WHERE id = 1 FOR UPDATE",
            quoted(schema)
        );
        let checked_lock = format!(
            "WITH held AS MATERIALIZED (SELECT fence, fence_run_id, commits, definitions FROM {}.progress WHERE id = 1 \
             FOR UPDATE) SELECT 1 / (count(*) = 1 AND count(*) FILTER (WHERE fence = $1 AND fence_run_id = $2 \
             AND commits = $3 AND definitions = $4) = 1)::integer FROM held",
            quoted(schema)
        );
        // where its BEGIN has failed this is a transaction of its own, which the raised number is not in
        let notify = format!(
            "SELECT pg_notify($1, $2) FROM {}.progress WHERE id = 1 AND commits = $3",
            quoted(schema)
        );
        let mut settle = Vec::new();
        for table in &definition.cleaned {
            let rows = client
                .prepare(&sql::settle_rows(schema, table))
                .await
                .map_err(failed(table.name))?;
            let risen = client
                .prepare(&sql::settle_tombstones(schema, table))
                .await
                .map_err(failed(table.name))?;
            let deletes = client
                .prepare(&sql::settle_deletes(schema, table))
                .await
                .map_err(failed(table.name))?;
            settle.push([rows, risen, deletes]);
        }
        Ok(Statements {
            lock: client.prepare(&lock).await.map_err(failed("progress"))?,
            checked_lock: client.prepare(&checked_lock).await.map_err(failed("progress"))?,
            notify: client.prepare(&notify).await.map_err(failed("progress"))?,
            results: OnceCell::new(),
            settle,
            rejects: client.prepare(&sql::rejects(schema)).await.map_err(failed("rejects"))?,
            progress: progress::Statements::prepare(client, schema)
                .await
                .map_err(failed("progress"))?,
        })
    }

    /// The statements of the result tables, which are there as the definition has them.
    pub(crate) async fn of_results(
        &self,
        client: &Client,
        schema: &str,
        definition: &Definition,
    ) -> Result<&[[Statement; 2]], SinkError> {
        let prepare = async || {
            let mut results = Vec::with_capacity(definition.results.len());
            for (table, _) in &definition.results {
                let context = format!("preparing statements for {schema}.{}", table.name);
                let failed = |source| SinkError::postgres(context.clone(), source);
                let delete = client.prepare(&sql::delete(schema, table)).await.map_err(failed)?;
                let upsert = client.prepare(&sql::upsert(schema, table)).await.map_err(failed)?;
                results.push([delete, upsert]);
            }
            Ok(results)
        };
        self.results.get_or_try_init(prepare).await.map(Vec::as_slice)
    }
}
