//! Servers for benchmarks: Apache Kafka with records in a topic, and the S3 server, until standard input ends.
//!
//! `servers RECORDS BYTES TOPIC…` fills each topic (one partition) with so many records of about so many bytes, prints
//! one line of JSON with the addresses and the environment that S3 clients need, and waits.

use anyhow::{Context, Result};
use pinflow_tests::{Kafka, Message, Producer, S3Server};
use std::io::{BufRead, Write};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |what| -> Result<usize> { Ok(arguments.next().context(what)?.parse()?) };
    let (records, bytes) = (number("no number of records")?, number("no number of bytes")?);
    let topics: Vec<String> = arguments.collect();
    let folder = tempfile::tempdir()?;
    let s3 = S3Server::start(folder.path())?;
    let bucket = s3.create_bucket("bench")?;
    let kafka = Kafka::start_measured(&[])?;
    let producer = Producer::with(&kafka.bootstrap(), &[("linger.ms", "20"), ("batch.size", "1000000")])?;
    let filler = "x".repeat(bytes.saturating_sub(60));
    for topic in &topics {
        kafka.create_topic(topic, 1, &[])?;
        for ind in 0..records {
            let (key, value) = (
                ind.to_string(),
                format!(r#"{{"index":{ind},"category":"art","title":"{filler}"}}"#),
            );
            let message = Message {
                partition: Some(0),
                key: Some(key.as_bytes()),
                value: Some(value.as_bytes()),
            };
            producer.send(topic, message)?;
        }
        producer.flush()?;
    }
    let environment: serde_json::Map<_, _> = s3
        .environment()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    let found = serde_json::json!({
        "kafka": kafka.bootstrap(),
        "s3": s3.endpoint(),
        "bucket": bucket,
        "environment": environment,
    });
    println!("{found}");
    std::io::stdout().flush()?;
    let mut line = String::new();
    // nobody writes: this waits until the other end is closed
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(())
}
