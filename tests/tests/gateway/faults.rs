//! What breaks: Kafka goes and comes, the gateway is told to end, the gateway is killed. What was acknowledged is in
//! Kafka.

use crate::http::{Connection, JSON, V2};
use crate::{Gateway, SOON, kafka};
use anyhow::{Context, Result, anyhow, ensure};
use pinflow_tests::{Kafka, eventually};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const TOPICS: [&str; 2] = ["--topics", "pin=pin,geo=geo"];

/// Clients that post record after record and keep what was acknowledged to them.
struct Load {
    stop: Arc<AtomicBool>,
    taken: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<BTreeSet<i64>>>,
}

impl Load {
    /// `clients` threads, each with inds of its own; it goes on over errors, as the users' scripts do not.
    fn start(at: SocketAddr, clients: i64) -> Load {
        let (stop, taken) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let client = |number: i64| {
            let (stop, taken) = (Arc::clone(&stop), Arc::clone(&taken));
            std::thread::spawn(move || {
                let (mut acknowledged, mut connection) = (BTreeSet::new(), None);
                for ind in (0..).map(|turn| number + turn * clients) {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    match post(at, &mut connection, ind) {
                        Ok(true) => {
                            acknowledged.insert(ind);
                            taken.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(false) => {}
                        Err(_) => {
                            connection = None;
                            std::thread::sleep(Duration::from_millis(20));
                        }
                    }
                }
                acknowledged
            })
        };
        let threads = (0..clients).map(client).collect();
        Load { stop, taken, threads }
    }

    /// Waits until so many records are acknowledged.
    fn wait_for(&self, count: usize) -> Result<()> {
        let taken = || self.taken.load(Ordering::Relaxed);
        eventually(&format!("{count} acknowledgements"), SOON, || Ok(taken() >= count))
    }

    fn finish(self) -> Result<BTreeSet<i64>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = BTreeSet::new();
        for thread in self.threads {
            all.extend(thread.join().map_err(|_| anyhow!("a client panicked"))?);
        }
        Ok(all)
    }
}

/// Whether the record was acknowledged: by the status, and in its slot.
fn post(at: SocketAddr, connection: &mut Option<Connection>, ind: i64) -> Result<bool> {
    if connection.is_none() {
        *connection = Some(Connection::open(at)?);
    }
    let open = connection.as_mut().context("a connection")?;
    if ind % 3 == 0 {
        let body = format!("{{\"Data\":{{\"ind\":{ind}}},\"PartitionKey\":\"{ind}\"}}");
        open.send("PUT /streams/s-geo/record", &[JSON], body.as_bytes())?;
        return Ok(open.answer()?.status == 200);
    }
    let body = format!("{{\"records\":[{{\"value\":{{\"ind\":{ind}}}}}]}}");
    open.send("POST /topics/geo", &[V2], body.as_bytes())?;
    let answer = open.answer()?;
    Ok(answer.status == 200 && answer.json()?["offsets"][0]["error_code"].is_null())
}

/// The keys in Kafka, and how many records there are.
fn keys(kafka: &Kafka, topic: &str, partitions: i32) -> Result<(BTreeSet<i64>, usize)> {
    let (mut keys, mut count) = (BTreeSet::new(), 0);
    for partition in 0..partitions {
        for (_, key, _) in kafka.records(topic, partition, "read_committed")? {
            keys.insert(String::from_utf8(key.context("a key")?)?.parse()?);
            count += 1;
        }
    }
    Ok((keys, count))
}

/// Down: not ready, and nothing is acknowledged. Up again: everything goes on, and nothing acknowledged is missing.
#[test]
fn kafka_goes_and_comes() -> Result<()> {
    let mut kafka = Kafka::start()?;
    kafka.create_topic("geo", 3, &[])?;
    let (gateway, _folder) = Gateway::configured(&kafka, "geo", "produce_timeout = \"3s\"\n", &[])?;
    let load = Load::start(gateway.at, 8);
    load.wait_for(100)?;
    kafka.kill()?;
    eventually("not being ready", SOON, || {
        let answer = gateway.ask("GET /readyz", &[], "")?;
        Ok(answer.status == 503 && answer.body.contains("Kafka does not answer"))
    })?;
    assert_eq!(gateway.ask("GET /healthz", &[], "")?.status, 200);
    let began = Instant::now();
    let answer = gateway.ask("POST /geo/", &[JSON], r#"{"ind":-1}"#)?;
    ensure!(
        answer.status == 503 && answer.header("retry-after") == "1",
        "{answer:?}"
    );
    ensure!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let answer = gateway.ask("POST /topics/geo", &[V2], r#"{"records":[{"value":{"ind":-2}}]}"#)?;
    ensure!(
        answer.status == 200 && answer.json()?["offsets"][0]["error_code"] == 50003,
        "{answer:?}"
    );
    let answer = gateway.ask(
        "PUT /streams/s-geo/record",
        &[JSON],
        r#"{"Data":{"ind":-3},"PartitionKey":"k"}"#,
    )?;
    ensure!(
        answer.status == 503 && answer.body.contains("ServiceUnavailableException"),
        "{answer:?}"
    );
    ensure!(gateway.metric("pinflow_gateway_produce_errors_total{reason=\"unavailable\"}")? > 0.0);
    questions_are_unavailable(&gateway)?;
    kafka.start_again()?;
    eventually("readiness", SOON, || {
        Ok(gateway.ask("GET /readyz", &[], "")?.status == 200)
    })?;
    eventually("an acknowledgement", SOON, || {
        Ok(gateway.ask("POST /geo/", &[JSON], r#"{"ind":9999999}"#)?.status == 200)
    })?;
    load.wait_for(load.taken.load(Ordering::Relaxed) + 50)?;
    let acknowledged = load.finish()?;
    gateway.end()?;
    let (found, _) = keys(&kafka, "geo", 3)?;
    ensure!(
        acknowledged.is_subset(&found),
        "lost: {:?}",
        acknowledged.difference(&found).collect::<Vec<_>>()
    );
    Ok(())
}

/// What Kafka has to be asked for first: a partition or a topic that was not seen yet, and every list.
fn questions_are_unavailable(gateway: &Gateway) -> Result<()> {
    let v3 = |topic: &str| format!("POST /v3/clusters/c/topics/{topic}/records");
    let elsewhere = r#"{"partition_id":99,"value":{"data":{"ind":-4}}}"#;
    let v2 = r#"{"records":[{"value":{"ind":-5},"partition":99}]}"#;
    let kinesis = "ServiceUnavailableException";
    let questions = [
        (v3("geo"), JSON, elsewhere, "\"error_code\":50003"),
        (v3("new.geo"), JSON, elsewhere, "\"error_code\":50003"),
        ("POST /topics/geo".to_owned(), V2, v2, "\"error_code\":50003"),
        (
            "POST /topics/geo/partitions/99".to_owned(),
            V2,
            v2,
            "\"error_code\":50003",
        ),
        ("POST /topics/new.geo".to_owned(), V2, v2, "\"error_code\":50003"),
        ("GET /topics".to_owned(), V2, "", "\"error_code\":50003"),
        ("GET /topics/geo".to_owned(), V2, "", "\"error_code\":50003"),
        ("GET /streams".to_owned(), JSON, "", kinesis),
    ];
    // as many as are asked at once
    for some in questions.chunks(4) {
        let ask = |(line, kind, body, said): &(String, (&str, &str), &str, &str)| {
            let answer = gateway.ask(line, &[*kind], body)?;
            let (status, retry_after) = (answer.status, answer.header("retry-after"));
            ensure!(
                status == 503 && retry_after == "1" && answer.body.contains(said),
                "{line}: {answer:?}"
            );
            Ok(())
        };
        std::thread::scope(|scope| {
            let asked: Vec<_> = some.iter().map(|one| scope.spawn(move || ask(one))).collect();
            asked
                .into_iter()
                .try_for_each(|one| one.join().map_err(|_| anyhow!("a client panicked"))?)
        })?;
    }
    Ok(())
}

/// SIGTERM under load: exit code 0, and every record that is in Kafka was acknowledged, too: nothing is cut off.
#[test]
fn an_ending_gateway_finishes_what_it_took() -> Result<()> {
    let kafka = kafka()?;
    kafka.create_topic("end.geo", 1, &[])?;
    let mut gateway = Gateway::start(kafka, &["--topics", "geo=end.geo"])?;
    let mut waiting = Vec::new();
    for ind in 0..100 {
        let mut connection = Connection::open(gateway.at)?;
        let body = format!("{{\"records\":[{{\"value\":{{\"ind\":{ind}}}}}]}}");
        connection.send("POST /topics/end.geo", &[V2], body.as_bytes())?;
        waiting.push(connection);
    }
    // one is in the middle of its body
    let mut slow = Connection::open(gateway.at)?;
    slow.write(b"POST /geo/ HTTP/1.1\r\nhost: localhost\r\ncontent-length: 11\r\n\r\n{\"ind\"")?;
    std::thread::sleep(Duration::from_millis(300));
    gateway.program.terminate()?;
    gateway.program.wait_for("ending", SOON)?;
    std::thread::sleep(Duration::from_millis(200));
    slow.write(b":100}")?;
    waiting.push(slow);
    for mut connection in waiting {
        let answer = connection.answer()?;
        assert_eq!(answer.status, 200);
        ensure!(connection.is_closed()?, "a kept connection is closed");
    }
    gateway.program.expect(0, SOON)?;
    let (found, count) = keys(kafka, "end.geo", 1)?;
    assert_eq!((found.len(), count), (101, 101));
    Ok(())
}

/// SIGKILL under load, again and again: whatever was acknowledged is in Kafka.
#[test]
fn a_killed_gateway_has_acknowledged_nothing_that_is_lost() -> Result<()> {
    let kafka = kafka()?;
    for topic in TOPICS[1].split(',').filter_map(|pair| pair.split_once('=')) {
        kafka.create_topic(topic.1, 2, &[])?;
    }
    let mut acknowledged = BTreeSet::new();
    for _ in 0..3 {
        let mut gateway = Gateway::start(kafka, &TOPICS)?;
        let load = Load::start(gateway.at, 16);
        load.wait_for(200)?;
        gateway.program.kill()?;
        acknowledged.extend(load.finish()?);
    }
    let (found, _) = keys(kafka, "geo", 2)?;
    ensure!(
        acknowledged.is_subset(&found),
        "lost: {:?}",
        acknowledged.difference(&found).collect::<Vec<_>>()
    );
    Ok(())
}
