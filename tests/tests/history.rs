//! What history alone does not tell: which offsets an object with holes really has, whether a hole is a loss, and whether
//! Kafka's topic is the one that was archived.

use anyhow::{Context, Result, ensure};
use pinflow_tests::answer::{demand_answer, tables, texts};
use pinflow_tests::get;
use pinflow_tests::log_image::{LogImage, demand, ends};
use pinflow_tests::workload::{Frontier, TOPICS, Workload};
use pinflow_tests::{Database, Kafka, LakeFolder, Message, Pinflow, Producer, Program, eventually, verify_tables};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const SOON: Duration = Duration::from_secs(60);

fn stop(mut run: Program) -> Result<()> {
    run.terminate()?;
    run.expect(0, SOON)
}

#[test]
fn a_bound_inside_an_object_with_holes_is_rounded_to_its_edge() -> Result<()> {
    let postgres = pinflow_tests::postgres()?;
    let folder = tempfile::tempdir()?;
    let lake = LakeFolder::new(folder.path());
    let mut workload = Workload::new(61, 1);
    workload.take(900);
    workload.archive(&lake, 1.0, 50)?;
    // compaction had taken twenty records of pin 100..150 before they were archived
    let key = lake.key("pin", 0, 100, None);
    let whole = lake.get(&key)?;
    let lines = whole.split_inclusive(|byte| *byte == b'\n').enumerate();
    let kept: Vec<u8> = lines
        .filter(|(number, _)| number % 5 < 3)
        .flat_map(|(_, line)| line.to_vec())
        .collect();
    lake.put(&key, &kept)?;

    let bounded = |schema: &str, pin: i64| -> Result<Program> {
        let file = folder.path().join(format!("{schema}.json"));
        let bound =
            serde_json::json!({ "frontier": { "pin": { "0": pin }, "geo": { "0": 120 }, "user": { "0": 120 } } });
        std::fs::write(&file, bound.to_string())?;
        Pinflow::new("backfill")
            .lake(&lake)
            .postgres(&postgres)
            .args(["--schema", schema, "--upto"])
            .args([file])
            .start()
    };
    // in its lines, in its hole, and behind a bound that lies where an object ends
    for (schema, pin, edge) in [("inside", 125, 100), ("hole", 140, 100), ("edge", 100, 100)] {
        let mut backfill = bounded(schema, pin)?;
        backfill.expect(0, SOON)?;
        let said = backfill.stderr();
        let rounded = format!("frontier pin/0 {pin} is rounded to {edge}");
        ensure!(said.contains(&rounded) == (pin != edge), "{schema}: {said}");
        ensure!(!said.contains("geo/0"), "an exact object was rounded: {said}");
        let wanted: Frontier = [("pin", edge), ("geo", 120), ("user", 120)]
            .into_iter()
            .map(|(topic, next)| ((topic.to_owned(), 0), next))
            .collect();
        let (frontier, actual) = tables(&Database::connect(&postgres.url())?, schema)?;
        ensure!(frontier == wanted, "{schema}: the frontier is {frontier:?}");
        ensure!(
            actual == texts(&workload.answer(&wanted, 10)?),
            "{schema}: the answer differs"
        );
    }
    // behind the object its hole is one, and nobody can fill it
    let mut beyond = bounded("beyond", 150)?;
    beyond.expect(1, SOON)?;
    let said = beyond.stderr();
    ensure!(said.lines().any(|line| line == "gap pin/0 130..150"), "{said}");
    ensure!(!said.contains("rounded"), "{said}");
    Ok(())
}

#[test]
fn a_topic_that_was_made_again_is_recognised() -> Result<()> {
    let (kafka, postgres) = (Kafka::start()?, pinflow_tests::postgres()?);
    for topic in TOPICS {
        kafka.create_topic(topic, 1, &[])?;
    }
    let folder = tempfile::tempdir()?;
    let lake = LakeFolder::new(folder.path());
    let producer = Producer::new(&kafka.bootstrap())?;
    let mut workload = Workload::new(62, 1);
    workload.produce(&producer, 600)?;
    workload.archive(&lake, 0.9, 40)?;
    let command = Pinflow::new("run").lake(&lake).kafka(&kafka).postgres(&postgres);
    let run = command.start()?;
    demand_answer(&workload, &postgres.url(), "pinflow", 10, SOON).with_context(|| run.tail())?;
    stop(run)?;
    let shown = tables(&Database::connect(&postgres.url())?, "pinflow")?;

    kafka.delete_topic("geo")?;
    kafka.create_topic("geo", 1, &[])?;
    let mut other = Workload::new(63, 1);
    let producer = Producer::new(&kafka.bootstrap())?;
    let mut sent = 0;
    while sent < 2 * workload.log[&(1, 0)].len() {
        for (kind, _, (key, value)) in other.take(300) {
            if kind == 1 {
                let key = key.to_string();
                let message = Message {
                    partition: Some(0),
                    key: Some(key.as_bytes()),
                    value: value.as_deref(),
                };
                producer.send("geo", message)?;
                sent += 1;
            }
        }
        producer.flush()?;
    }
    let backfill = Pinflow::new("backfill").lake(&lake).kafka(&kafka);
    let out = folder.path().join("out");
    // the tables remember the last record, and without them the lake knows the others
    let of_tables = "is not the one that was read";
    let of_lake = "the record at 0 in Kafka is not the one in the lake";
    for (command, why) in [
        (command.clone(), of_tables),
        (command.args(["--schema", "fresh"]), of_lake),
        (backfill.args(["--out".as_ref(), out.as_os_str()]), of_lake),
    ] {
        let mut refused = command.start()?;
        refused.expect(1, SOON)?;
        let said = refused.stderr();
        ensure!(
            said.contains("geo/0: ") && said.contains(why) && said.contains("--topics"),
            "{said}"
        );
    }
    ensure!(
        tables(&Database::connect(&postgres.url())?, "pinflow")? == shown,
        "the tables took in records of another topic"
    );
    ensure!(
        !out.join("users_joined_by_year.csv").exists(),
        "a refused backfill wrote"
    );
    Ok(())
}

#[test]
fn holes_that_kafka_proved_natural_stay_so_when_retention_passes() -> Result<()> {
    let (kafka, postgres) = (Kafka::start()?, pinflow_tests::postgres()?);
    let url = postgres.url();
    for topic in TOPICS {
        kafka.create_topic(topic, 2, &[])?;
    }
    let mut workload = Workload::new(64, 2);
    let writer = Producer::transactional(&kafka.bootstrap(), "writer")?;
    let mut round = |count: usize| -> Result<()> {
        writer.begin()?;
        workload.send(&writer, count)?;
        writer.commit()?;
        writer.begin()?;
        workload.send(&writer, 30)?;
        writer.abort()
    };
    // markers lie inside of objects as well as between them
    for count in [90, 200, 40, 150] {
        round(count)?;
    }
    let archived = ends(&kafka, 2)?;
    let log = LogImage::of(&kafka, 2)?;
    let folder = tempfile::tempdir()?;
    let lake = LakeFolder::new(folder.path());
    log.archive(&lake, &archived, 17)?;
    // and one object has lost its last record, another one a record in its middle
    let starts: Vec<i64> = log.0[&(0, 1)].keys().copied().step_by(17).collect();
    let short = lake.key("pin", 1, starts[1], None);
    let whole = lake.get(&short)?;
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    lake.put(&short, &lines[..16].concat())?;
    let lost = starts[1] + 16..starts[2];
    let first = *log.0[&(2, 0)].keys().next().context("a record")?;
    let key = lake.key("user", 0, first, None);
    let unharmed = lake.get(&key)?;
    let lines = unharmed.split_inclusive(|byte| *byte == b'\n').enumerate();
    let without: Vec<u8> = lines
        .filter(|(n, _)| *n != 5)
        .flat_map(|(_, line)| line.to_vec())
        .collect();
    lake.put(&key, &without)?;
    round(60)?;

    let command = Pinflow::new("run").lake(&lake).kafka(&kafka).postgres(&postgres);
    let run = command.start()?;
    let log = LogImage::of(&kafka, 2)?;
    demand(&url, &ends(&kafka, 2)?, &log.answer(|_, _, _| 1)?).with_context(|| run.tail())?;
    ensure!(
        !run.stderr().contains("gap "),
        "a hole was called a gap: {}",
        run.tail()
    );
    stop(run)?;
    let holes = || -> Result<Vec<Option<String>>> {
        let recorded = "SELECT detail->>'natural' FROM pinflow.frontier WHERE detail->>'natural' <> ''";
        Ok(Database::connect(&url)?.rows(recorded)?.into_iter().flatten().collect())
    };
    let recorded = holes()?;
    ensure!(
        recorded.len() == 6,
        "natural holes of {} partitions are recorded",
        recorded.len()
    );
    verify_tables(Some(&lake), &kafka, &postgres)?;

    // what is mended while Kafka has the records is proved at the next start
    lake.put(&key, &unharmed)?;
    let run = command.start()?;
    round(20)?;
    let log = LogImage::of(&kafka, 2)?;
    demand(&url, &ends(&kafka, 2)?, &log.answer(|_, _, _| 1)?).with_context(|| run.tail())?;
    stop(run)?;
    verify_tables(Some(&lake), &kafka, &postgres)?;

    // retention comes as far as the lake reaches
    for (kind, topic) in (0u8..).zip(TOPICS) {
        for partition in 0..2 {
            let end = archived[&(topic.to_owned(), partition)];
            let below: Vec<i64> = log.0[&(kind, partition)]
                .range(..end)
                .map(|(offset, _)| *offset)
                .collect();
            let last = below.chunks(17).last().context("an object")?;
            kafka.delete_records(topic, partition, last[0] + last.len() as i64)?;
        }
    }
    let mut refused = command.start()?;
    refused.expect(1, SOON)?;
    let said = refused.stderr();
    let gaps: Vec<&str> = said.lines().filter(|line| line.starts_with("gap ")).collect();
    let expected = format!("gap pin/1 {}..{}", lost.start, lost.end);
    ensure!(
        gaps == [expected.as_str()],
        "the gaps are {gaps:?}, not {expected}: {said}"
    );

    // the object is mended: no hole is a gap
    lake.put(&short, &whole)?;
    let run = command.start()?;
    round(50)?;
    let mut all = log;
    for (place, records) in LogImage::of(&kafka, 2)?.0 {
        all.0.entry(place).or_default().extend(records);
    }
    demand(&url, &ends(&kafka, 2)?, &all.answer(|_, _, _| 1)?).with_context(|| run.tail())?;
    ensure!(
        !run.stderr().contains("gap "),
        "a hole was called a gap: {}",
        run.tail()
    );
    stop(run)?;
    verify_tables(Some(&lake), &kafka, &postgres)?;
    ensure!(holes()?.len() == 6, "natural holes were forgotten: {:?}", holes()?);
    Ok(())
}

/// The value of a metric without labels.
fn metric(address: &str, name: &str) -> Result<f64> {
    let answer = get(address, "/metrics")?;
    let value = answer
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(value.with_context(|| format!("no {name} in {answer}"))?.parse()?)
}

#[test]
fn freshness_counts_from_the_record_s_timestamp() -> Result<()> {
    let (kafka, postgres) = (Kafka::start()?, pinflow_tests::postgres()?);
    for topic in TOPICS {
        kafka.create_topic(topic, 1, &[])?;
    }
    let address = format!("127.0.0.1:{}", servers::free_port()?);
    let run = Pinflow::new("run")
        .kafka(&kafka)
        .postgres(&postgres)
        .args(["--listen", &address])
        .start()?;
    let producer = Producer::new(&kafka.bootstrap())?;
    let now = || -> Result<i64> { Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64) };
    let mut workload = Workload::new(65, 1);
    let freshness = || metric(&address, "pinflow_freshness_seconds");
    // history has no freshness: what is produced before the engine follows the log would not count
    eventually("readiness", SOON, || {
        Ok(get(&address, "/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")))
    })?;
    // written an hour ago by one clock, a minute in the future by another one, and now; a wait of a minute is too long
    // for the engine to blame
    for stamp in [-3_600_000, 60_000, 0] {
        let began = Instant::now();
        for (kind, partition, (key, value)) in workload.take(20) {
            let key = key.to_string();
            let message = Message {
                partition: Some(partition),
                key: Some(key.as_bytes()),
                value: value.as_deref(),
            };
            producer.send_at(TOPICS[kind as usize], message, Some(now()? + i64::from(stamp)))?;
        }
        producer.flush()?;
        demand_answer(&workload, &postgres.url(), "pinflow", 10, SOON).with_context(|| run.tail())?;
        let (from, to) = match stamp {
            // no record is fresher than fresh
            1.. => (0.0, 0.0),
            // a commit takes a moment, and was acknowledged before it was seen here
            _ => {
                let age = f64::from(-stamp) / 1e3;
                (age + 0.000_5, age + began.elapsed().as_secs_f64())
            }
        };
        eventually(
            &format!("a freshness of {from} to {to}"),
            Duration::from_secs(5),
            || Ok((from..=to).contains(&freshness()?)),
        )
        .with_context(|| format!("{:?}", freshness()))?;
    }
    stop(run)
}
