//! librdkafka's mock broker, in this process: enough Kafka for a demo and for small tests.
//!
//! It keeps at most [`PARTITION_BYTES`] or [`PARTITION_BATCHES`] of a partition and drops older records silently,
//! shows aborted records to `read_committed` readers, answers every look-up by timestamp with the end, and serves
//! about 30,000 records/s of one partition. Whoever writes to it keeps within the limits; nothing about durability,
//! transactions or load can be learnt from it.

use crate::error::ServerError;
use rdkafka::mocking::MockCluster;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Bytes of record batches that a partition keeps; what is older is dropped without a word.
pub const PARTITION_BYTES: u64 = 5 * 1024 * 1024;

/// Record batches that a partition keeps.
pub const PARTITION_BATCHES: u64 = 100_000;

type Answer = SyncSender<Result<(), ServerError>>;

struct CreateTopic {
    name: String,
    partitions: i32,
    answer: Answer,
}

/// A mock broker; its records are gone when it is dropped.
#[derive(Debug)]
pub struct Broker {
    bootstrap: String,
    requests: Option<SyncSender<CreateTopic>>,
    owner: Option<JoinHandle<()>>,
}

impl Broker {
    /// Starts a broker on a free port of 127.0.0.1.
    pub fn start() -> Result<Broker, ServerError> {
        // the cluster's handle cannot change threads: one thread owns it
        let (started, start) = sync_channel(1);
        let (requests, inbox) = sync_channel(1);
        let owner = std::thread::Builder::new()
            .name("embedded-broker".into())
            .spawn(move || match MockCluster::new(1) {
                Ok(cluster) => {
                    let _ = started.send(Ok(cluster.bootstrap_servers()));
                    serve(&cluster, &inbox);
                }
                Err(source) => {
                    let _ = started.send(Err(ServerError::Broker {
                        action: "start".into(),
                        source,
                    }));
                }
            })
            .map_err(ServerError::io("starting the embedded broker's thread"))?;
        let bootstrap = start.recv().unwrap_or_else(|_| Err(gone()))?;
        Ok(Broker {
            bootstrap,
            requests: Some(requests),
            owner: Some(owner),
        })
    }

    /// `bootstrap.servers` of this broker.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Creates a topic. Producing to an unknown topic creates it too, with librdkafka's number of partitions.
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<(), ServerError> {
        let (answer, result) = sync_channel(1);
        let request = CreateTopic {
            name: name.into(),
            partitions,
            answer,
        };
        let requests = self.requests.as_ref().ok_or_else(gone)?;
        requests.send(request).map_err(|_| gone())?;
        result.recv().unwrap_or_else(|_| Err(gone()))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(owner) = self.owner.take() {
            let _ = owner.join();
        }
    }
}

fn serve<C: rdkafka::ClientContext>(cluster: &MockCluster<'_, C>, inbox: &Receiver<CreateTopic>) {
    for CreateTopic {
        name,
        partitions,
        answer,
    } in inbox
    {
        let result = cluster.create_topic(&name, partitions, 1);
        let action = format!("create topic {name} with {partitions} partitions");
        let _ = answer.send(result.map_err(|source| ServerError::Broker { action, source }));
    }
}

fn gone() -> ServerError {
    ServerError::NotReady {
        server: "the embedded broker",
        reason: "its thread has ended".into(),
    }
}
