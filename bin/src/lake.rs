//! What the commands that work on the lake share: `archive`, `audit` and `compact`.

use crate::exit::Failure;
use engine::LakeSource;
use ingest::lake::Lake;
use tokio::runtime::Runtime;

/// The runtime of a command that works on the lake.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8))
        .enable_all()
        .build();
    runtime.map_err(failed)
}

/// Opens the lake of a command.
pub(crate) fn open(runtime: &Runtime, lake: &LakeSource) -> Result<Lake, Failure> {
    runtime.block_on(lake.open(None)).map_err(failed)
}

/// An error with its causes as the failure of a command.
pub(crate) fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::Failed(anyhow::Error::new(error))
}
