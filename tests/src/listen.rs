//! What the harness's own servers and proxies listen with.

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

/// A runtime with a thread of its own, and in it a listener on a free port of 127.0.0.1. What is spawned there ends with
/// the runtime.
pub(crate) fn listen() -> Result<(Runtime, TcpListener)> {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build();
    let runtime = runtime.context("starting a runtime")?;
    let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0)));
    Ok((runtime, listener.context("listening")?))
}
