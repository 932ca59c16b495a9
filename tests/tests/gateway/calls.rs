//! Questions and changes that carry no record: many at once take few threads, and too many are refused in the dialect
//! of who asks.

use crate::http::{Answer, Connection, JSON, V2, ask};
use crate::{Gateway, SOON, kafka};
use anyhow::{Result, anyhow, ensure};
use pinflow_tests::{Kafka, eventually};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const CREATIONS: usize = 150;
/// More threads than before, for a client, its brokers and the calls that run.
const MORE: usize = 40;

fn threads(gateway: &Gateway) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{}/task", gateway.program.pid()))?.count())
}

#[test]
fn changes_of_topics_share_one_client_and_few_threads() -> Result<()> {
    let kafka = kafka()?;
    let aliases: Vec<String> = (0..CREATIONS)
        .map(|index| format!("c{index}=calls{index}.geo"))
        .collect();
    let mut arguments = vec!["--topics", "geo=calls.geo", "--create-topics", "--delete-topics"];
    for alias in &aliases {
        arguments.extend(["--alias", alias]);
    }
    let gateway = Gateway::start(kafka, &arguments)?;
    let before = threads(&gateway)?;
    let at = gateway.at;
    let all = |method: &'static str| -> Result<Vec<Answer>> {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let peak = scope.spawn(|| {
                let mut peak = 0;
                while !done.load(Ordering::Relaxed) {
                    peak = peak.max(threads(&gateway)?);
                    std::thread::sleep(Duration::from_millis(10));
                }
                anyhow::Ok(peak)
            });
            let clients: Vec<_> = (0..CREATIONS)
                .map(|index| scope.spawn(move || ask(at, &format!("{method} /streams/c{index}"), &[JSON], "")))
                .collect();
            let answers = clients
                .into_iter()
                .map(|client| client.join().map_err(|_| anyhow!("a client panicked"))?);
            let answers: Result<Vec<Answer>> = answers.collect();
            done.store(true, Ordering::Relaxed);
            let peak = peak.join().map_err(|_| anyhow!("panicked"))??;
            ensure!(peak < before + MORE, "{before} threads became {peak} with {method}");
            answers
        })
    };
    let created = all("POST")?;
    for answer in &created {
        ensure!(
            answer.status == 200
                || (answer.status == 429
                    && answer.header("retry-after") == "1"
                    && answer.body.contains("LimitExceededException")),
            "{answer:?}"
        );
    }
    let count = created.iter().filter(|answer| answer.status == 200).count();
    // how many have their turn in time is the broker's matter
    ensure!(count >= 8, "{count} of {CREATIONS} were created");
    // the broker hears of them a moment later
    eventually("the topics", SOON, || {
        let names = kafka.topics()?;
        Ok(names.iter().filter(|name| name.starts_with("calls")).count() >= count)
    })?;
    for answer in all("DELETE")? {
        ensure!(matches!(answer.status, 200 | 404 | 429), "{answer:?}");
    }
    ensure!(gateway.ask("GET /streams", &[], "")?.status == 200);
    gateway.end()?;
    Ok(())
}

/// Kafka stands still, and more questions come than may wait: these are told at once to come again, each in its words.
#[test]
fn a_full_queue_refuses_at_once() -> Result<()> {
    const QUESTIONS: usize = 300;
    let mut kafka = Kafka::start()?;
    kafka.create_topic("full.geo", 1, &[])?;
    let arguments = [
        "--topics",
        "geo=full.geo,user=absent.user",
        "--alias",
        "Other=other.geo",
        "--delete-topics",
    ];
    let gateway = Gateway::start(&kafka, &arguments)?;
    let user = || gateway.ask("POST /user/", &[JSON], r#"{"ind":1}"#);
    let before = threads(&gateway)?;
    // that a topic is absent is not believed for longer
    std::thread::sleep(Duration::from_secs(1));
    kafka.freeze()?;
    let mut open = Vec::new();
    for index in 0..QUESTIONS {
        let mut connection = Connection::open(gateway.at)?;
        connection.send(&format!("GET /topics/q{index}.geo"), &[], b"")?;
        open.push(connection);
    }
    // on a busy machine the gateway takes a while to read them all
    std::thread::sleep(Duration::from_millis(500));
    let began = Instant::now();
    let record = r#"{"records":[{"value":{"ind":1}}]}"#;
    let busy = "Too many calls wait for Kafka, try again";
    let rest = format!("{{\"error_code\":42901,\"message\":\"{busy}\"}}");
    let limit = |kind: &str| format!("{{\"__type\":\"{kind}\",\"message\":\"{busy}\"}}");
    let (stream, many) = (
        r#"{"Data":{"ind":1},"PartitionKey":"k"}"#,
        r#"{"records":[{"data":"{}","partition-key":"k"}]}"#,
    );
    for (line, kind, body, expected) in [
        ("GET /topics", JSON, "", rest.clone()),
        ("GET /topics/z0.geo", JSON, "", rest.clone()),
        ("POST /topics/z1.geo", V2, record, rest.clone()),
        ("POST /topics/z2.geo/partitions/0", V2, record, rest.clone()),
        ("POST /topics/full.geo/partitions/7", V2, record, rest.clone()),
        (
            "POST /v3/clusters/c/topics/z3.geo/records",
            JSON,
            r#"{"value":{"data":1}}"#,
            rest.clone(),
        ),
        ("GET /streams", JSON, "", limit("LimitExceededException")),
        ("GET /streams/Other", JSON, "", limit("LimitExceededException")),
        ("DELETE /streams/Other", JSON, "", limit("LimitExceededException")),
        (
            "PUT /streams/Other/record",
            JSON,
            stream,
            limit("ProvisionedThroughputExceededException"),
        ),
        (
            "PUT /streams/Other/records",
            JSON,
            many,
            limit("ProvisionedThroughputExceededException"),
        ),
    ] {
        let answer = gateway.ask(line, &[kind], body)?;
        assert_eq!(
            (answer.status, answer.header("retry-after"), answer.body.as_str()),
            (429, "1", expected.as_str()),
            "{line}"
        );
    }
    let answer = user()?;
    ensure!(
        answer.status == 503 && answer.header("retry-after") == "1",
        "{answer:?}"
    );
    ensure!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    let now = threads(&gateway)?;
    ensure!(now < before + MORE, "{before} threads became {now}");
    // nobody waits for ever
    for mut connection in open {
        let answer = connection.answer()?;
        ensure!(
            matches!(answer.status, 429 | 503) && answer.header("retry-after") == "1",
            "{answer:?}"
        );
    }
    ensure!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    ensure!(gateway.metric("pinflow_gateway_shed_total")? >= 12.0);
    kafka.thaw()?;
    eventually("answers again", SOON, || {
        Ok(gateway.ask("GET /topics/full.geo", &[], "")?.status == 200)
    })?;
    assert_eq!(gateway.ask("POST /topics/full.geo", &[V2], record)?.status, 200);
    gateway.end()?;
    Ok(())
}
