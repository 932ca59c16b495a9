//! Rows in the binary `COPY` form, gathered by staging table and sent.

use crate::backoff::Backoff;
use crate::config::PostgresConfig;
use crate::definition::Definition;
use crate::encode::{self, COPY_CHUNK, put_bool, put_bytes, put_i16, put_i32, put_i64, put_optional_bytes};
use crate::error::{Class, SinkError};
use crate::failpoint;
use crate::quote::{list, qualified};
use crate::reject_limits::{Held, RejectLimits};
use crate::rows::{CleanedRow, Reject};
use crate::session::{Purpose, Session};
use crate::sql::{self, REJECT_COLUMNS, STAGED, staging_name};
use crate::step::Staged;
use bytes::{BufMut, Bytes, BytesMut};
use causes::with_causes;
use futures_util::SinkExt;
use std::time::Duration;
use values::Table;

/// Encoded rows of one staging table, on their way into one `COPY`.
pub(super) struct Buffer {
    statement: String,
    table: String,
    pub(super) bytes: BytesMut,
    pub(super) rows: u64,
    staged: u64,
    /// Dead letters since they were limited last.
    pub(super) unlimited: Held,
}

/// One buffer per cleaned table, and the last for the rejects.
pub(super) fn buffers(schema: &str, fence: i64, definition: &Definition) -> Vec<Buffer> {
    let buffer = |table: &str, columns: String| {
        let staging = qualified(schema, &staging_name(fence, table));
        let statement = format!("COPY {staging} ({columns}) FROM STDIN (FORMAT binary)");
        Buffer {
            statement,
            table: table.into(),
            bytes: BytesMut::new(),
            rows: 0,
            staged: 0,
            unlimited: Held::default(),
        }
    };
    let cleaned = |table: &Table| {
        buffer(
            table.name,
            list("", sql::names(table).chain(STAGED.iter().map(|column| column.0))),
        )
    };
    let mut buffers: Vec<Buffer> = definition.cleaned.iter().map(cleaned).collect();
    buffers.push(buffer(
        "rejects",
        list("", REJECT_COLUMNS.iter().map(|column| column.0)),
    ));
    buffers
}

/// Rows sent so far.
pub(super) fn staged(buffers: &[Buffer]) -> Staged {
    let (rejects, cleaned) = buffers.split_last().expect("the buffer of rejects");
    Staged {
        cleaned: cleaned.iter().map(|buffer| buffer.staged).collect(),
        rejects: rejects.staged,
    }
}

impl Buffer {
    fn begin_row(&mut self, fields: usize) {
        if self.rows == 0 {
            encode::put_copy_header(&mut self.bytes);
        }
        self.rows += 1;
        self.bytes.put_i16(fields as i16);
    }

    pub(super) fn put_cleaned(&mut self, table: &Table, cleaned: &CleanedRow) {
        self.begin_row(table.columns.len() + STAGED.len());
        let out = &mut self.bytes;
        for (index, column) in table.columns.iter().enumerate() {
            encode::put_cleaned(out, cleaned, index, column.ty);
        }
        put_i16(out, cleaned.position.generation().into());
        put_i32(out, cleaned.position.partition().0);
        put_i64(out, cleaned.position.offset().0);
        put_bool(out, cleaned.row.is_none());
    }

    pub(super) fn put_reject(&mut self, reject: &Reject, limits: &RejectLimits) {
        self.begin_row(REJECT_COLUMNS.len());
        let (source, position) = reject.source();
        let out = &mut self.bytes;
        put_bytes(out, source.as_bytes());
        put_i64(out, position);
        put_bytes(out, reject.topic.as_bytes());
        match reject.partition() {
            Some(partition) => put_i32(out, partition),
            None => out.put_i32(-1),
        }
        match reject.offset() {
            Some(offset) => put_i64(out, offset),
            None => out.put_i32(-1),
        }
        put_optional_bytes(out, reject.object().map(str::as_bytes));
        put_bytes(out, reject.reason.as_bytes());
        let parts = [limits.cut(&reject.key), limits.cut(&reject.value)];
        parts.iter().for_each(|part| put_optional_bytes(out, *part));
        self.unlimited.rows += 1;
        self.unlimited.bytes += parts.iter().flatten().map(|part| part.len() as u64).sum::<u64>();
    }

    /// Copies what is buffered. A `COPY` that the server refuses for a passing reason left nothing and is sent again, over
    /// another connection: tokio-postgres loses one on which a `COPY` fails before it takes data.
    pub(super) async fn copy(&mut self, session: &mut Session, config: &PostgresConfig) -> Result<(), SinkError> {
        encode::put_copy_trailer(&mut self.bytes);
        let bytes = self.bytes.split().freeze();
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
        loop {
            let error = match self.copy_once(session, bytes.clone()).await {
                Ok(rows) if rows == self.rows => break,
                Ok(rows) => return Err(self.lost(format!("{rows} of the last COPY"))),
                Err(source) => SinkError::postgres(format!("staging {}", self.table), source),
            };
            match error.class() {
                Class::Retry => tracing::warn!(error = %with_causes(&error), "staging failed, trying again"),
                Class::Reconnect => return Err(self.lost_connection(&error)),
                Class::Stop => return Err(error),
            }
            backoff.wait().await;
            *session = match Session::open(config, Purpose::Stage).await {
                Ok(session) => session,
                Err(error) if error.class() == Class::Stop => return Err(error),
                Err(error) => return Err(self.lost_connection(&error)),
            };
        }
        self.staged += self.rows;
        self.rows = 0;
        failpoint::reach(failpoint::DURING_STAGING);
        Ok(())
    }

    fn lost(&self, found: String) -> SinkError {
        SinkError::Rehydrate {
            table: self.table.clone(),
            found,
            expected: self.staged + self.rows,
        }
    }

    pub(super) fn lost_connection(&self, error: &SinkError) -> SinkError {
        self.lost(format!("the connection lost ({}), unknown", with_causes(error)))
    }

    async fn copy_once(&self, session: &Session, mut bytes: Bytes) -> Result<u64, tokio_postgres::Error> {
        let copy = session.client.copy_in::<_, Bytes>(&self.statement).await?;
        let mut copy = std::pin::pin!(copy);
        while !bytes.is_empty() {
            copy.send(bytes.split_to(bytes.len().min(COPY_CHUNK))).await?;
        }
        copy.finish().await
    }
}
