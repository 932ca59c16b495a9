//! One table on its way from Postgres to its file at the target.

use super::error::ExportError;
use super::file::{GroupLimits, ParquetFile};
use super::manifest::{Manifest, TableFile};
use super::target::Target;
use futures_util::future::{BoxFuture, Shared};
use futures_util::{StreamExt, TryStreamExt};
use ingest::lake::ObjectWriter;
use operators::Table;
use sinks::Snapshot;

/// Is done when the export has to stop.
pub(crate) type Stop = Shared<BoxFuture<'static, ()>>;

/// Writes one table of a snapshot.
pub(crate) struct TableWriter<'a> {
    pub(crate) target: &'a Target,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) manifest: &'a Manifest,
    pub(crate) table: &'static Table,
}

impl TableWriter<'_> {
    /// Writes the file; it is durable when this returns, and gone when it fails.
    pub(crate) async fn write(&self, stop: Stop) -> Result<TableFile, ExportError> {
        let file = self.manifest.file_of(self.table);
        let mut object = self.target.create(&file).await?;
        let written = match self.fill(&mut object, stop).await {
            Ok(rows) => object
                .finish()
                .await
                .map(|bytes| (rows, bytes))
                .map_err(ExportError::from),
            Err(error) => Err(error),
        };
        match written {
            Ok((rows, bytes)) => Ok(TableFile { file, rows, bytes }),
            Err(error) => {
                object.abort().await;
                Err(error)
            }
        }
    }

    /// Writes all rows; how many there are.
    async fn fill(&self, object: &mut ObjectWriter, stop: Stop) -> Result<u64, ExportError> {
        let mut file = ParquetFile::new(self.table, self.manifest.about(self.table), GroupLimits::default())?;
        let rows = self.snapshot.rows(self.table).await?;
        let mut rows = std::pin::pin!(rows.take_until(stop.clone()));
        while let Some(row) = rows.try_next().await? {
            if let Some(bytes) = file.push(&row)? {
                object.write(bytes).await?;
            }
        }
        if stop.peek().is_some() {
            return Err(ExportError::Stopped);
        }
        let (bytes, rows) = file.finish()?;
        object.write(bytes).await?;
        Ok(rows)
    }
}
