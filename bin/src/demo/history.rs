//! The demo's history: what an older pipeline left in S3, and what of it the broker still remembers.

use super::common::{BUCKET, DUPLICATES, PATIENCE, PREFIX, TOPICS};
use anyhow::{Context, Result};
use ingest::lake::{Encoding, Lake, LakeOptions, LakeUrl, MetadataMap, S3Credentials, connect_key};
use ingest::{Offset, Partition};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use servers::{Broker, S3Server};
use std::time::Duration;
use tokio::runtime::Runtime;
use workload::generate::Generator;

/// Few enough that a replay is seen to move.
const RECORDS_PER_OBJECT: usize = 2_000;

/// Produces the records of so many posts and archives them as Connect does. The broker forgets the older part of
/// them, as retention would. Returns where each topic ends.
pub(super) fn write(posts: u64, seed: u64, runtime: &Runtime, broker: &Broker, s3: &S3Server) -> Result<[i64; 3]> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .set("linger.ms", "1")
        .set("queue.buffering.max.messages", "100000")
        .create()
        .context("creating a producer")?;
    let url = LakeUrl::S3 {
        bucket: BUCKET.into(),
        prefix: PREFIX.into(),
    };
    let lake = runtime.block_on(Lake::open(url, lake_options(s3)))?;
    let mut objects: [(i64, usize, Vec<u8>); 3] = Default::default();
    let mut next = [0; 3];
    for record in Generator::new(seed).posts(posts).duplicates(DUPLICATES).records() {
        let kind = usize::from(record.kind);
        send(&producer, kind, &record.ind.to_string(), &record.json)?;
        next[kind] += 1;
        let (start, count, bytes) = &mut objects[kind];
        bytes.extend_from_slice(&record.json);
        bytes.push(b'\n');
        *count += 1;
        if *count == RECORDS_PER_OBJECT {
            store(runtime, &lake, kind, *start, std::mem::take(bytes))?;
            (*start, *count) = (next[kind], 0);
        }
        if next.iter().sum::<i64>() % 1000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    for (kind, (start, count, bytes)) in objects.into_iter().enumerate() {
        if count > 0 {
            store(runtime, &lake, kind, start, bytes)?;
        }
    }
    producer.flush(PATIENCE).context("producing the history")?;
    Ok(next)
}

fn send(producer: &BaseProducer, kind: usize, key: &str, json: &[u8]) -> Result<()> {
    let mut message = BaseRecord::to(TOPICS[kind]).partition(0).key(key).payload(json);
    loop {
        match producer.send(message) {
            Ok(()) => return Ok(()),
            Err((error, back)) if error.rdkafka_error_code() == Some(rdkafka::types::RDKafkaErrorCode::QueueFull) => {
                producer.poll(Duration::from_millis(5));
                message = back;
            }
            Err((error, _)) => return Err(error).context("producing to the embedded broker"),
        }
    }
}

fn lake_options(s3: &S3Server) -> LakeOptions {
    let environment = s3.environment();
    let value = |name: &str| {
        environment
            .iter()
            .find(|(n, _)| *n == name)
            .map_or("", |(_, value)| value)
            .to_owned()
    };
    LakeOptions {
        s3_endpoint: Some(s3.endpoint()),
        region: Some("us-east-1".to_owned()),
        credentials: Some(S3Credentials {
            access_key: value("AWS_ACCESS_KEY_ID"),
            secret_key: value("AWS_SECRET_ACCESS_KEY"),
        }),
        ..LakeOptions::default()
    }
}

fn store(runtime: &Runtime, lake: &Lake, kind: usize, start: i64, bytes: Vec<u8>) -> Result<()> {
    let key = connect_key(TOPICS[kind], Partition(0), Offset(start), Encoding::Plain);
    runtime
        .block_on(lake.put(&key, bytes, MetadataMap::new()))
        .context("archiving the history")
}
