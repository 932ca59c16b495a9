//! What a restore refuses before it has written anything, what ends it without harm, and what it warns of.

use super::{SESSION, archived, geo_case, places, refused, report, restore_into, restore_of, sum, values};
use anyhow::{Context, Result, anyhow, ensure};
use pinflow_tests::case::{Case, History, SOON, each, geo, geos};
use pinflow_tests::clients::allow;
use pinflow_tests::{Kafka, LakeFolder, Pinflow};
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use std::ops::Range;
use std::sync::atomic::Ordering;

/// What a restore must not touch, or cannot do, it refuses before it has written anything.
#[test]
fn what_cannot_be_restored_is_refused_in_one_line() -> Result<()> {
    let (case, topic) = geo_case("refused", History::Folder)?;
    let lake = case.lake.as_ref().context("no lake")?;
    let into = |name: &str| restore_of(&case).args(["--rename", &format!("{topic}={name}")]);
    let one_line = |command: Pinflow, code: i32, says: &str| -> Result<()> {
        let refused = refused(command, code, says)?;
        let errors = refused
            .stderr()
            .lines()
            .filter(|line| line.starts_with("error"))
            .count();
        ensure!(errors == 1, "{}", refused.tail());
        Ok(())
    };
    one_line(restore_of(&case), 1, "holds no records of topic")?;
    lake.objects(&topic, 0, 0, 10, &values(&geos(0..30, "Albania"))?)?;
    lake.objects(&topic, 2, 0, 10, &values(&geos(30..40, "Albania"))?)?;

    case.send("geo", 0, &[geo(1, "Andorra")])?;
    case.kafka.add_partitions(&topic, 3)?;
    one_line(
        restore_of(&case),
        1,
        "no restore of this topic has written the last record",
    )?;
    let few = format!("{topic}.few");
    case.kafka.create_topic(&few, 2, &[])?;
    one_line(into(&few), 1, "has 2 partitions, the lake has records of 3")?;
    let compacted = format!("{topic}.compacted");
    case.kafka
        .create_topic(&compacted, 3, &[("cleanup.policy", "compact")])?;
    one_line(into(&compacted), 1, "is compacted")?;
    // records in a partition of which the lake has none
    let foreign = format!("{topic}.foreign");
    case.kafka.create_topic(&foreign, 3, &[])?;
    case.send_to(&foreign, 1, &[geo(1, "Andorra")])?;
    one_line(into(&foreign), 1, "is not empty: partition 1 holds 0..1")?;
    // a record that the topic does not take
    let small = format!("{topic}.small");
    case.kafka.create_topic(&small, 3, &[("max.message.bytes", "100")])?;
    one_line(into(&small), 1, "Kafka does not take the record")?;
    one_line(restore_of(&case).args(["--kafka-property", "acks=1"]), 2, "acks")?;
    one_line(into("a b"), 2, "--rename")?;
    one_line(
        restore_of(&case).args(["--rename", "pim=x"]),
        2,
        "not among those that are restored",
    )?;

    // an object that another one contradicts, and one of the layouts without offsets
    let key = lake.object_in(&topic, 0, 10, Some("other"), &values(&geos(90..95, "Andorra"))?)?;
    one_line(into(&few), 1, "different records at the offsets 10..15")?;
    lake.remove(&key)?;
    lake.put(&format!("{topic}/events/event-1.json"), geo(77, "Andorra").as_bytes())?;
    one_line(into(&few), 1, "leave them out with --skip-older-layouts")?;
    let whole = format!("{topic}.whole");
    let said = into(&whole)
        .args(["--create-topics", "--skip-older-layouts"])
        .succeed(SOON)?;
    ensure!(
        said.contains("restored 40 records of 2 partitions, 40 of them now"),
        "{said}"
    );
    ensure!(case.kafka.partitions(&whole)? == 3, "other partitions");
    Ok(())
}

/// A value with raw newlines in an object of one record takes the place of the records behind it, which the audit does
/// not see while it takes small objects at their name.
#[test]
fn an_object_with_more_lines_than_its_name_says_is_refused() -> Result<()> {
    each(vec!["alone", "among_copies"], |variant| {
        let (case, topic) = geo_case(variant, History::Folder)?;
        let lake = case.lake.as_ref().context("no lake")?;
        let longer = lake.key(&topic, 0, 100, None);
        lake.put(&longer, b"first line\nsecond line\nthird line\n")?;
        lake.objects(&topic, 0, 101, 1, &values(&geos(101..104, "Albania"))?)?;
        let says = match variant {
            "alone" => format!("{longer} has 3 lines or more, but the next object begins at offset 101"),
            // the same records twice, so that not every line above the next object's start is one too many
            _ => {
                lake.objects(&topic, 0, 90, 10, &values(&geos(90..100, "Albania"))?)?;
                lake.object_in(&topic, 0, 92, Some("other"), &values(&geos(92..95, "Albania"))?)?;
                format!("objects hold different records at the offsets 101..103 of {topic}/0")
            }
        };
        let refused = refused(restore_of(&case), 1, &says)?;
        let stderr = refused.stderr();
        let errors = stderr.lines().filter(|line| line.starts_with("error")).count();
        ensure!(errors == 1, "{}", refused.tail());
        ensure!(case.kafka.watermarks(&topic, 0)? == (0, 0), "something was written");
        Ok(())
    })
}

/// Sets how many bytes of records a topic takes in one batch.
fn allow_bytes(case: &Case, topic: &str, bytes: &str) -> Result<()> {
    let mut config = ClientConfig::new();
    let admin: AdminClient<DefaultClientContext> = config.set("bootstrap.servers", case.kafka.bootstrap()).create()?;
    let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set("max.message.bytes", bytes);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answers = runtime.block_on(admin.alter_configs([&change], &AdminOptions::new()))?;
    for answer in answers {
        answer.map_err(|(topic, code)| anyhow!("{topic:?}: {code}"))?;
    }
    Ok(())
}

#[test]
fn behind_a_record_that_kafka_does_not_take_nothing_is_written() -> Result<()> {
    let (case, topic) = geo_case("oversized", History::S3)?;
    let mut texts = geos(0..4_000, "Albania");
    texts[1_500] = geo(1_500, &"A".repeat(30_000));
    // the refusal comes while the window waits for the second object
    let held = archived(&case, &topic, &texts, "2000", 2_000)?;
    let restored = format!("{topic}.back");
    // less than all records together
    case.kafka
        .create_topic(&restored, 1, &[("max.message.bytes", "20000")])?;
    for _ in 0..2 {
        let says = format!("Kafka does not take the record {restored}/0 1500 of 30");
        refused(restore_into(&case, &restored), 1, &says)?;
        let marks = case.kafka.watermarks(&restored, 0)?;
        ensure!(marks == (0, 1_500), "{marks:?}");
    }
    held.store(false, Ordering::SeqCst);
    allow_bytes(&case, &restored, "100000")?;
    let report = report(restore_into(&case, &restored))?;
    ensure!(
        sum(&report, "records") == 4_000 && sum(&report, "written") == 2_500,
        "{report:#}"
    );
    ensure!(places(&case, &restored)?.into_iter().eq(0..4_000), "other records");
    Ok(())
}

#[test]
fn a_lake_that_has_lost_its_beginning_is_no_reason_to_delete_the_topic() -> Result<()> {
    let (case, topic) = geo_case("beginning", History::Folder)?;
    let lake = case.lake.as_ref().context("no lake")?;
    let add = |range: Range<i64>| lake.objects(&topic, 0, range.start, 10, &values(&geos(range, "Albania"))?);
    let objects = add(0..20)?;
    restore_of(&case).succeed(SOON)?;
    lake.remove(&objects[0])?;
    add(20..30)?;
    let lost = refused(restore_of(&case), 1, "the lake has lost its beginning")?;
    let begins = format!("the lake's records of {topic}/0 begin at offset 10 now, those in topic {topic} at 0");
    ensure!(
        lost.stderr().contains(&begins) && !lost.stderr().contains("delete the topic"),
        "{}",
        lost.tail()
    );
    ensure!(
        case.kafka.watermarks(&topic, 0)? == (0, 20),
        "something was written or deleted"
    );
    add(0..10)?;
    restore_of(&case).succeed(SOON)?;
    ensure!(places(&case, &topic)?.into_iter().eq(0..30), "other records");
    Ok(())
}

/// A user who may do what a restore needs, and not see the settings of topics.
#[test]
fn settings_that_may_not_be_seen_are_a_warning() -> Result<()> {
    let login = "org.apache.kafka.common.security.plain.PlainLoginModule required user_restore=\"secret\";";
    let (kafka, sasl) = Kafka::start_sasl(
        "PLAIN",
        login,
        &[
            (
                "authorizer.class.name",
                "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            ),
            ("super.users", "User:ANONYMOUS"),
            ("allow.everyone.if.no.acl.found", "true"),
        ],
    )?;
    kafka.create_topic("unseen.geo", 1, &[])?;
    allow(&kafka, "User:restore", "unseen.geo", &["DESCRIBE", "READ", "WRITE"])?;
    let folder = tempfile::tempdir()?;
    let lake = LakeFolder::new(folder.path().join("lake"));
    lake.objects("unseen.geo", 0, 0, 10, &values(&geos(0..30, "Albania"))?)?;
    let mut restore = Pinflow::new("restore")
        .lake(&lake)
        .args(["--topics", "geo=unseen.geo", "--kafka", &sasl])
        .args(SESSION)
        .args(["--kafka-property", "security.protocol=SASL_PLAINTEXT"])
        .args(["--kafka-property", "sasl.mechanism=PLAIN"])
        .args(["--kafka-property", "sasl.username=restore"])
        .env("PINFLOW__KAFKA__PROPERTIES__SASL_PASSWORD", "secret")
        .start()?;
    restore.expect(0, SOON)?;
    ensure!(
        restore
            .stderr()
            .contains("the settings of topic unseen.geo may not be seen (grant DESCRIBE_CONFIGS)"),
        "{}",
        restore.tail()
    );
    ensure!(kafka.watermarks("unseen.geo", 0)? == (0, 30), "other records");
    Ok(())
}
