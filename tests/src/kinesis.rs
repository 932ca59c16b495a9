//! Kinesis as kinesalite has it, on 127.0.0.1: streams whose shards are split and merged, and a front that lets requests
//! fail as Amazon's do.

use crate::{Receiver, Reply, eventually, need, root, watchdog};
use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use servers::free_port;
use servers::process::Server;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const REQUEST: Duration = Duration::from_secs(30);
/// Records of one request.
const TOGETHER: usize = 500;

/// The server; gone when dropped.
pub struct Kinesis {
    _server: Server,
    address: SocketAddr,
}

/// Where a record is: its shard and its sequence number.
pub type Place = (String, String);

impl Kinesis {
    /// Starts it without streams. Where it is not installed the calling test is skipped.
    pub fn start() -> Result<Option<Kinesis>> {
        watchdog::watch();
        let folder = root().join(".cache/kinesalite");
        if !folder.join(".complete").exists() {
            need::skip("kinesalite is missing (run tests/setup/kinesalite.sh)");
            return Ok(None);
        }
        let port = free_port()?;
        let mut command = Command::new("node");
        command
            .arg(root().join("tests/clients/kinesalite.js"))
            .arg(folder)
            .arg(port.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // it warns that Node.js has newer functions
            .stderr(Stdio::null());
        let mut server = Server::spawn(&mut command, "KILL", None).context("starting kinesalite")?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        eventually("kinesalite", REQUEST, || {
            ensure!(server.exited()?.is_none(), "kinesalite ended");
            // a port that takes connections may still reset them
            let listed = exchange(address, "Kinesis_20131202.ListStreams", b"{}");
            Ok(listed.is_ok_and(|(status, _)| status == 200))
        })?;
        let _server = server;
        Ok(Some(Kinesis { _server, address }))
    }

    /// What `--kinesis-endpoint` is given.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Creates a stream and waits until it can be used.
    pub fn create(&self, stream: &str, shards: u32) -> Result<()> {
        self.ask("CreateStream", &json!({"StreamName": stream, "ShardCount": shards}))?;
        self.active(stream)
    }

    /// Deletes a stream and waits until it is gone.
    pub fn delete(&self, stream: &str) -> Result<()> {
        self.ask("DeleteStream", &json!({"StreamName": stream}))?;
        eventually("the stream's end", REQUEST, || {
            let listed = self.ask("ListStreams", &json!({}))?;
            let names = listed["StreamNames"].as_array().context("no names")?;
            Ok(!names.iter().any(|name| name == stream))
        })
    }

    /// Puts records, each a partition key and its data, in their order; where each of them is.
    pub fn put(&self, stream: &str, records: &[(String, Vec<u8>)]) -> Result<Vec<Place>> {
        let mut places = Vec::new();
        for together in records.chunks(TOGETHER) {
            let records = together.iter().map(|(key, data)| {
                let data = BASE64_STANDARD.encode(data);
                json!({"PartitionKey": key, "Data": data})
            });
            let records: Vec<Value> = records.collect();
            let answer = self.ask("PutRecords", &json!({"StreamName": stream, "Records": records}))?;
            ensure!(answer["FailedRecordCount"] == 0, "{answer}");
            for put in answer["Records"].as_array().context("no records")? {
                let text = |name: &str| put[name].as_str().map(str::to_owned).context("no place");
                places.push((text("ShardId")?, text("SequenceNumber")?));
            }
        }
        Ok(places)
    }

    /// Splits the first open shard into halves.
    pub fn split(&self, stream: &str) -> Result<()> {
        let open = self.open(stream)?;
        let shard = open.first().context("no open shard")?;
        let edge = |name: &str| -> Result<u128> {
            let text = shard["HashKeyRange"][name].as_str().context("no range")?;
            Ok(text.parse()?)
        };
        let (first, last) = (edge("StartingHashKey")?, edge("EndingHashKey")?);
        let middle = first + (last - first) / 2 + 1;
        let split = json!({
            "StreamName": stream, "ShardToSplit": shard["ShardId"], "NewStartingHashKey": middle.to_string()
        });
        self.ask("SplitShard", &split)?;
        self.active(stream)
    }

    /// Merges the first two adjacent shards that are open.
    pub fn merge(&self, stream: &str) -> Result<()> {
        let mut open = self.open(stream)?;
        let start = |shard: &Value| {
            let text = shard["HashKeyRange"]["StartingHashKey"].as_str();
            text.and_then(|text| text.parse::<u128>().ok())
        };
        open.sort_by_key(start);
        let [first, second, ..] = &open[..] else {
            anyhow::bail!("{stream} has one open shard");
        };
        let merge = json!({
            "StreamName": stream, "ShardToMerge": first["ShardId"], "AdjacentShardToMerge": second["ShardId"]
        });
        self.ask("MergeShards", &merge)?;
        self.active(stream)
    }

    fn open(&self, stream: &str) -> Result<Vec<Value>> {
        let listed = self.ask("ListShards", &json!({"StreamName": stream}))?;
        let shards = listed["Shards"].as_array().context("no shards")?.iter();
        let open = shards.filter(|shard| shard["SequenceNumberRange"]["EndingSequenceNumber"].is_null());
        Ok(open.cloned().collect())
    }

    fn active(&self, stream: &str) -> Result<()> {
        eventually("an active stream", REQUEST, || {
            let described = self.ask("DescribeStreamSummary", &json!({"StreamName": stream}))?;
            Ok(described["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE")
        })
    }

    fn ask(&self, operation: &str, body: &Value) -> Result<Value> {
        let (status, answer) = exchange(
            self.address,
            &format!("Kinesis_20131202.{operation}"),
            body.to_string().as_bytes(),
        )?;
        ensure!(status == 200, "{operation}: {status} {answer}");
        // some operations have nothing to say
        Ok(serde_json::from_str(&answer).unwrap_or_default())
    }

    /// A front of this server.
    pub fn front(&self) -> Result<KinesisFront> {
        let faults: Arc<Mutex<VecDeque<(&'static str, KinesisFault)>>> = Arc::default();
        let (address, next) = (self.address, Arc::clone(&faults));
        let receiver = Receiver::start(Duration::ZERO, move |request| {
            let target = request.headers.get("x-amz-target").map_or("", String::as_str);
            let mut faults = next.lock().unwrap_or_else(PoisonError::into_inner);
            let due = faults.front().is_some_and(|(operation, _)| target.ends_with(operation));
            let fault = if due { faults.pop_front() } else { None };
            drop(faults);
            let json = || vec![("content-type", "application/x-amz-json-1.1".to_owned())];
            match fault {
                Some((_, KinesisFault::Error(status, name))) => Reply::Status(
                    status,
                    json(),
                    json!({"__type": name, "message": "injected"}).to_string(),
                ),
                Some((_, KinesisFault::Cut)) => Reply::Cut,
                None => match exchange(address, target, &request.body) {
                    Ok((status, body)) => Reply::Status(status, json(), body),
                    Err(_) => Reply::Cut,
                },
            }
        })?;
        Ok(KinesisFront { receiver, faults })
    }
}

/// How a request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KinesisFault {
    /// With this status and this error.
    Error(u16, &'static str),
    /// Without an answer.
    Cut,
}

/// Passes requests on, and lets some of them fail.
pub struct KinesisFront {
    receiver: Receiver,
    faults: Arc<Mutex<VecDeque<(&'static str, KinesisFault)>>>,
}

impl KinesisFront {
    /// What `--kinesis-endpoint` is given.
    pub fn endpoint(&self) -> String {
        self.receiver.url().to_owned()
    }

    /// The next requests of these operations fail, one after the other.
    pub fn fail(&self, faults: &[(&'static str, KinesisFault)]) {
        let mut next = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        next.extend(faults.iter().copied());
    }

    /// Whether all that were to fail have failed.
    pub fn has_failed(&self) -> bool {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

/// A request with a signature that kinesalite does not verify, and its answer.
#[expect(clippy::disallowed_methods, reason = "small answers of a server of ours")]
fn exchange(address: SocketAddr, target: &str, body: &[u8]) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(REQUEST))?;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/x-amz-json-1.1\r\n\
         X-Amz-Target: {target}\r\nX-Amz-Date: 20261130T120000Z\r\nAuthorization: AWS4-HMAC-SHA256 \
         Credential=a/20261130/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=a\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer without a head")?;
    let status = head.split(' ').nth(1).context("an answer without a status")?;
    Ok((status.parse()?, body.to_owned()))
}
