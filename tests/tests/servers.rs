//! Each part of the harness does what the scenarios rely on: servers keep what they acknowledged through kills, come
//! back on their ports, leave nothing behind, and faults happen where they are injected.

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, ResponseChecksumValidation};
use aws_sdk_s3::primitives::ByteStream;
use pinflow_tests::{
    Auditor, Database, Fault, Kafka, Message, Pinflow, PostgresOptions, Producer, SnapshotChecker, eventually, postgres,
};
use serde_json::json;
use servers::process::Server;
use servers::{Broker, S3Server, s3};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn offsets(records: &[pinflow_tests::kafka::Record]) -> Vec<i64> {
    records.iter().map(|(offset, _, _)| *offset).collect()
}

#[test]
fn kafka_keeps_its_records_through_a_kill_and_a_stop() -> Result<()> {
    let mut kafka = Kafka::start()?;
    kafka.create_topic("pin", 2, &[])?;
    let producer = Producer::new(&kafka.bootstrap())?;
    for ind in 0..100 {
        let value = json!({ "index": ind }).to_string();
        producer.send(
            "pin",
            Message {
                partition: Some(ind % 2),
                key: None,
                value: Some(value.as_bytes()),
            },
        )?;
    }
    producer.flush()?;
    let (port, pid) = (kafka.port(), kafka.pid().context("no pid")?);
    kafka.kill()?;
    ensure!(
        !PathBuf::from(format!("/proc/{pid}")).exists(),
        "the killed broker still runs"
    );
    kafka.start_again()?;
    assert_eq!(kafka.port(), port);
    assert_eq!(
        offsets(&kafka.records("pin", 0, "read_committed")?),
        (0..50).collect::<Vec<_>>()
    );

    // the same producer goes on where it was, without a gap or a duplicate
    producer.put("pin", 1, &json!({ "index": 1 }))?;
    producer.flush()?;
    kafka.stop()?;
    kafka.start_again()?;
    let count = kafka.watermarks("pin", 0)?.1 + kafka.watermarks("pin", 1)?.1;
    assert_eq!(count, 101);

    let dir = kafka.dir().to_owned();
    drop(kafka);
    ensure!(!dir.exists(), "{} was left behind", dir.display());
    Ok(())
}

#[test]
fn kafka_has_transactions_retention_compaction_and_more_partitions() -> Result<()> {
    let kafka = Kafka::start()?;
    kafka.create_topic("geo", 1, &[])?;
    let producer = Producer::transactional(&kafka.bootstrap(), "writer")?;
    producer.begin()?;
    producer.put("geo", 1, &json!({ "ind": 1 }))?;
    producer.commit()?;
    producer.begin()?;
    producer.put("geo", 2, &json!({ "ind": 2 }))?;
    producer.abort()?;
    producer.begin()?;
    producer.delete("geo", 1)?;
    producer.commit()?;
    // offsets 1, 3 and 5 are the transactions' markers, 2 the aborted record
    let committed = kafka.records("geo", 0, "read_committed")?;
    assert_eq!(offsets(&committed), [0, 4]);
    assert_eq!(committed[1], (4, Some(b"1".to_vec()), None));
    assert_eq!(offsets(&kafka.records("geo", 0, "read_uncommitted")?), [0, 2, 4]);
    assert_eq!(kafka.watermarks("geo", 0)?, (0, 6));

    kafka.delete_records("geo", 0, 3)?;
    assert_eq!(kafka.watermarks("geo", 0)?, (3, 6));
    assert_eq!(offsets(&kafka.records("geo", 0, "read_committed")?), [4]);

    kafka.add_partitions("geo", 3)?;
    assert_eq!(kafka.watermarks("geo", 2)?, (0, 0));
    kafka.delete_topic("geo")?;

    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "1048576"),
        ("segment.ms", "200"),
        ("min.cleanable.dirty.ratio", "0.001"),
    ];
    kafka.create_topic("user", 1, &settings)?;
    let producer = Producer::new(&kafka.bootstrap())?;
    let limit = Duration::from_secs(60);
    let mut written = 0;
    eventually("compaction of a topic", limit, || {
        producer.put("user", 7, &json!({ "ind": 7, "age": written }))?;
        producer.flush()?;
        written += 1;
        std::thread::sleep(Duration::from_millis(300));
        // offsets without a record, below ones that have one
        let left = offsets(&kafka.records("user", 0, "read_committed")?);
        Ok((left.len() as i64) < written && left.last() == Some(&(written - 1)))
    })
}

#[test]
fn postgres_keeps_what_it_committed_through_a_kill() -> Result<()> {
    let mut server = postgres()?;
    let database = Database::connect(&server.url())?;
    database.run("CREATE TABLE kept (name text); INSERT INTO kept VALUES ('B'), ('a')")?;
    database.run("BEGIN; INSERT INTO kept VALUES ('open')")?;
    assert_eq!(database.value("SHOW fsync")?.as_deref(), Some("on"));
    let (port, pid) = (server.port(), server.pid().context("no pid")?);
    server.kill()?;
    ensure!(
        !PathBuf::from(format!("/proc/{pid}")).exists(),
        "the killed server still runs"
    );
    ensure!(database.run("COMMIT").is_err(), "a session outlived its server");
    server.start_again()?;
    assert_eq!(server.port(), port);

    // the default order is people's, not that of bytes
    let database = Database::connect(&server.url())?;
    assert_eq!(
        database
            .value("SELECT string_agg(name, '' ORDER BY name) FROM kept")?
            .as_deref(),
        Some("aB")
    );
    assert_eq!(
        database
            .value("SELECT string_agg(name, '' ORDER BY name COLLATE \"C\") FROM kept")?
            .as_deref(),
        Some("Ba")
    );
    server.restart()?;
    assert_eq!(
        Database::connect(&server.url())?.number("SELECT count(*) FROM kept")?,
        2
    );

    let dir = server.dir().to_owned();
    drop(server);
    ensure!(!dir.exists(), "{} was left behind", dir.display());
    Ok(())
}

#[test]
fn a_kept_postgres_directory_is_started_again() -> Result<()> {
    let folder = tempfile::Builder::new().prefix("pinflow-kept-").tempdir()?;
    // the server may run as another user, who has to get through
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let settings = vec![("statement_timeout".into(), "4321".into())];
    let options = PostgresOptions {
        dir: Some(folder.path().join("pg")),
        settings,
        ..PostgresOptions::default()
    };
    let server = pinflow_tests::Postgres::start(options.clone())?;
    Database::connect(&server.url())?.run("CREATE TABLE kept AS SELECT 42 AS answer")?;
    drop(server);
    ensure!(folder.path().join("pg/data").exists(), "the kept directory is gone");
    let server = pinflow_tests::Postgres::start(options)?;
    let database = Database::connect(&server.url())?;
    assert_eq!(database.number("SELECT answer FROM kept")?, 42);
    assert_eq!(database.value("SHOW statement_timeout")?.as_deref(), Some("4321ms"));
    let wrong = server.url().replace("pinflow:", "pinflow:wrong");
    ensure!(Database::connect(&wrong).is_err(), "any password opens the database");
    Ok(())
}

/// A client that never tries twice, and takes bodies as they come: it sees every fault as it is.
fn client(server: &S3Server) -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(server.endpoint())
        .region(Region::new(s3::REGION))
        .credentials_provider(Credentials::new(s3::ACCESS_KEY, s3::SECRET_KEY, None, None, "tests"))
        .force_path_style(true)
        .retry_config(RetryConfig::disabled())
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .build();
    aws_sdk_s3::Client::from_conf(config)
}

async fn keys(client: &aws_sdk_s3::Client) -> Result<Vec<String>> {
    let mut keys = Vec::new();
    let mut pages = client.list_objects_v2().bucket("lake").into_paginator().send();
    while let Some(page) = pages.next().await {
        keys.extend(
            page?
                .contents()
                .iter()
                .filter_map(|object| object.key().map(str::to_owned)),
        );
    }
    Ok(keys)
}

async fn get(client: &aws_sdk_s3::Client, key: &str, range: Option<&str>) -> Result<Vec<u8>> {
    let answer = client
        .get_object()
        .bucket("lake")
        .key(key)
        .set_range(range.map(str::to_owned))
        .send()
        .await?;
    Ok(answer.body.collect().await?.to_vec())
}

#[tokio::test]
async fn s3_serves_files_and_injects_faults() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = S3Server::start(folder.path())?;
    let bucket = server.create_bucket("lake")?;
    let s3 = client(&server);
    let content: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
    let put = s3
        .put_object()
        .bucket("lake")
        .key("topics/a+0+0000000000.json")
        .body(ByteStream::from(content.clone()));
    let tag = put.send().await?.e_tag.context("no entity tag")?;
    std::fs::write(bucket.join("topics/by-hand.json"), "{}\n")?;
    let (first, second) = ("topics/a+0+0000000000.json", "topics/by-hand.json");
    assert_eq!(keys(&s3).await?, [first, second]);
    assert_eq!(get(&s3, second, None).await?, b"{}\n");
    assert_eq!(get(&s3, first, Some("bytes=199990-")).await?, &content[199_990..]);

    // a status; only where and when the hook says so
    server.set_faults(move |seen| {
        if seen.is_get() && seen.key == first && seen.before == 0 {
            Fault::Status(503)
        } else {
            Fault::None
        }
    });
    let error = s3
        .get_object()
        .bucket("lake")
        .key(first)
        .send()
        .await
        .err()
        .context("no fault")?;
    assert_eq!(error.raw_response().map(|answer| answer.status().as_u16()), Some(503));
    assert_eq!(get(&s3, first, None).await?, content);

    // a body that is cut after 70,000 bytes
    server.set_faults(|_| Fault::Cut(70_000));
    let mut body = s3.get_object().bucket("lake").key(first).send().await?.body;
    let (mut read, mut broke) = (0, false);
    while let Some(chunk) = body.next().await {
        match chunk {
            Ok(chunk) => read += chunk.len(),
            Err(_) => broke = true,
        }
        if broke {
            break;
        }
    }
    ensure!(broke && read <= 70_000, "{read} bytes of a body that was to be cut");

    // one bit
    server.set_faults(|_| Fault::Flip(100_001));
    let flipped = get(&s3, first, None).await?;
    assert_eq!(flipped.len(), content.len());
    let different = |n: &usize| flipped[*n] != content[*n];
    assert_eq!((0..content.len()).filter(different).collect::<Vec<_>>(), [100_001]);
    assert_eq!((flipped[100_001] ^ content[100_001]).count_ones(), 1);

    // lists that miss a key, or name keys twice
    server.set_faults(move |seen| {
        if seen.is_list() {
            Fault::hide(move |key| key == first)
        } else {
            Fault::None
        }
    });
    assert_eq!(keys(&s3).await?, [second]);
    server.set_faults(|_| Fault::Repeat);
    assert_eq!(keys(&s3).await?, [first, first, second, second]);

    // late, or not at all
    server.set_faults(|_| Fault::delay(Duration::from_millis(300)));
    let before = Instant::now();
    get(&s3, second, None).await?;
    ensure!(
        before.elapsed() >= Duration::from_millis(300),
        "an injected delay did not delay"
    );
    server.set_faults(|_| Fault::Reset);
    ensure!(get(&s3, second, None).await.is_err(), "an injected reset went unseen");
    server.set_faults(|_| Fault::Stall(1000));
    let stalled = tokio::time::timeout(Duration::from_millis(500), get(&s3, first, None)).await;
    ensure!(stalled.is_err(), "an injected stall went unseen");
    server.clear_faults();

    // an object that changed since its tag was read
    let read = s3.get_object().bucket("lake").key(first).if_match(&tag);
    read.clone().send().await?;
    s3.put_object()
        .bucket("lake")
        .key(first)
        .body(ByteStream::from_static(b"other"))
        .send()
        .await?;
    let error = read.send().await.err().context("If-Match is not looked at")?;
    assert_eq!(error.raw_response().map(|answer| answer.status().as_u16()), Some(412));
    Ok(())
}

#[tokio::test]
async fn s3_lists_more_than_a_page_and_comes_back_on_its_port() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = S3Server::start(folder.path())?;
    let bucket = server.create_bucket("lake")?;
    let expected: Vec<_> = (0..1100).map(|n| format!("object{n:05}")).collect();
    for key in &expected {
        std::fs::write(bucket.join(key), "")?;
    }
    let s3 = client(&server);
    assert_eq!(keys(&s3).await?, expected);
    let port = server.port();
    tokio::task::spawn_blocking(|| server.stop()).await?;
    ensure!(keys(&s3).await.is_err(), "a stopped server answered");
    let _server = S3Server::start_on(folder.path(), port)?;
    assert_eq!(keys(&s3).await?.len(), expected.len());
    Ok(())
}

#[test]
fn the_embedded_broker_takes_and_gives_records() -> Result<()> {
    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
    let broker = Broker::start()?;
    broker.create_topic("pin", 2)?;
    let producer = Producer::new(broker.bootstrap())?;
    for value in ["a", "b"] {
        producer.send(
            "pin",
            Message {
                partition: Some(1),
                key: Some(b"1"),
                value: Some(value.as_bytes()),
            },
        )?;
    }
    producer.flush()?;
    let mut config = ClientConfig::new();
    let consumer: BaseConsumer = config
        .set("bootstrap.servers", broker.bootstrap())
        .set("group.id", "t")
        .create()?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("pin", 1, Offset::Beginning)?;
    consumer.assign(&list)?;
    for (offset, value) in ["a", "b"].iter().enumerate() {
        let message = consumer.poll(Duration::from_secs(20)).context("no record")??;
        assert_eq!(
            (message.offset(), message.payload()),
            (offset as i64, Some(value.as_bytes()))
        );
    }
    Ok(())
}

/// Not a test of its own: the process that `servers_end_with_a_killed_owner` starts and kills.
#[test]
#[ignore = "run by servers_end_with_a_killed_owner"]
fn owner_to_be_killed() -> Result<()> {
    let folder = PathBuf::from(std::env::var_os("PINFLOW_TEST_OWNER").context("no folder")?);
    let server = Server::spawn(Command::new("sleep").arg("600"), "TERM", Some(&folder.join("mine")))?;
    std::fs::write(folder.join("pid.part"), server.pid().to_string())?;
    std::fs::rename(folder.join("pid.part"), folder.join("pid"))?;
    std::thread::sleep(Duration::from_secs(600));
    Ok(())
}

#[test]
fn servers_end_with_a_killed_owner() -> Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::create_dir(folder.path().join("mine"))?;
    let mut owner = Command::new(std::env::current_exe()?)
        .args(["--ignored", "--exact", "owner_to_be_killed"])
        .env("PINFLOW_TEST_OWNER", folder.path())
        .stdout(Stdio::null())
        .spawn()?;
    let pid = folder.path().join("pid");
    let started = eventually("the start of a child's child", Duration::from_secs(30), || {
        Ok(pid.exists())
    });
    owner.kill()?;
    owner.wait()?;
    started?;
    let state = PathBuf::from(format!("/proc/{}/stat", std::fs::read_to_string(&pid)?));
    eventually("the end of the server", Duration::from_secs(20), || {
        // nobody may be there to wait for an orphan: a zombie has ended too
        Ok(std::fs::read_to_string(&state).map_or(true, |stat| stat.contains(") Z ")))
    })?;
    eventually("the end of its directory", Duration::from_secs(20), || {
        Ok(!folder.path().join("mine").exists())
    })
}

#[test]
fn the_program_is_watched_and_ended() -> Result<()> {
    let version = Pinflow::new("--version").succeed(Duration::from_secs(20))?;
    ensure!(version.starts_with("pinflow "), "{version}");
    let mut program = Pinflow::new("no-such-command").start()?;
    program.wait_for("no-such-command", Duration::from_secs(20))?;
    program.expect(2, Duration::from_secs(20))?;
    let error = program
        .wait_for("words it never says", Duration::from_secs(20))
        .err()
        .context("found them")?;
    ensure!(error.to_string().contains("ended without"), "{error}");
    Ok(())
}

#[test]
fn the_auditor_finds_what_is_wrong() -> Result<()> {
    let server = postgres()?;
    let url = server.url();
    let database = Database::connect(&url)?;
    let checker = SnapshotChecker::results("audited", 10);
    ensure!(checker.check(&database)?.is_none(), "there is nothing to check yet");
    database.run(
        "CREATE SCHEMA audited; SET search_path TO audited;
         CREATE TABLE frontier (topic text, partition integer, next_offset bigint, cleaned_next_offset bigint);
         CREATE TABLE progress (legacy_count bigint);
         CREATE TABLE gaps (topic text, partition integer, from_offset bigint, to_offset bigint);
         CREATE TABLE generations (topic text, partition integer, start_offset bigint, generation smallint);
         CREATE TABLE pin_table (ind bigint, follower_count bigint, poster_name text, category text);
         CREATE TABLE geo_table (ind bigint, country text, \"timestamp\" timestamp);
         CREATE TABLE user_table (ind bigint, user_name text, age integer, date_joined timestamp);
         INSERT INTO pin_table VALUES (1, 10, 'p', 'art'), (2, 20, 'q', 'art');
         INSERT INTO geo_table VALUES (1, 'Peru', '2020-01-01'), (2, 'Peru', '2021-01-01');
         INSERT INTO user_table VALUES (1, 'A B', 20, '2016-01-01'), (2, 'C D', 30, '2016-01-01');
         INSERT INTO frontier VALUES ('pin', 0, 2)",
    )?;
    for result in pinflow_tests::plain::definitions() {
        let sql = result.sql.clone();
        database.run(&format!("CREATE TABLE {} AS {sql}", result.table.name))?;
    }
    let frontier = checker.demand(&url)?;
    assert_eq!(frontier, [(("pin".to_owned(), 0), 2)].into());

    // true commits are no findings
    let auditor = Auditor::start(&url, checker.clone())?;
    eventually("a check", Duration::from_secs(20), || Ok(auditor.checks() > 0))?;
    database.run("UPDATE frontier SET next_offset = 3")?;
    let seen = auditor.checks();
    eventually("more checks", Duration::from_secs(20), || {
        Ok(auditor.checks() > seen + 1)
    })?;
    auditor.finish(3)?;

    // a frontier that moves back is one
    let auditor = Auditor::start(&url, checker.clone())?;
    eventually("a check", Duration::from_secs(20), || Ok(auditor.checks() > 0))?;
    database.run("UPDATE frontier SET next_offset = 2")?;
    std::thread::sleep(Duration::from_secs(1));
    let finding = auditor
        .finish(1)
        .err()
        .context("a frontier that moved back was not found")?;
    ensure!(format!("{finding:#}").contains("moved from 3"), "{finding:#}");

    // and a row that its table does not know
    let auditor = Auditor::start(&url, checker.clone())?;
    eventually("a check", Duration::from_secs(20), || Ok(auditor.checks() > 0))?;
    database.run("INSERT INTO user_table VALUES (3, 'E F', 40, '2017-01-01')")?;
    std::thread::sleep(Duration::from_secs(1));
    let finding = auditor
        .finish(1)
        .err()
        .context("a table that is behind was not found")?;
    ensure!(
        format!("{finding:#}").contains("users_joined_by_year - "),
        "{finding:#}"
    );
    ensure!(
        checker.demand(&url).is_err(),
        "a single check misses what the auditor finds"
    );
    Ok(())
}
