//! `verify` against real tables: it finds what hands have edited, exactly that, and mends it.

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use servers::{Broker, Postgres, PostgresOptions};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

/// One server for all tests of this file; a schema each.
static POSTGRES: LazyLock<Postgres> =
    LazyLock::new(|| Postgres::start(PostgresOptions::default()).expect("PostgreSQL is installed"));

/// What a command printed, and how it ended.
#[derive(Debug)]
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ended {
    /// Lines of the standard output that begin so.
    fn lines(&self, beginning: &str) -> Vec<&str> {
        self.stdout.lines().filter(|line| line.starts_with(beginning)).collect()
    }

    /// The tables that were said to differ, with their counts.
    fn differing(&self) -> Vec<String> {
        let counted = self
            .stdout
            .lines()
            .filter(|line| line.ends_with(" surplus") && !line.starts_with("repaired "));
        let name = |line: &str| {
            let (name, rest) = line.split_once(" (").unwrap();
            format!("{name}: {}", rest.rsplit_once("): ").unwrap().1)
        };
        counted.map(name).collect()
    }
}

/// A lake and a schema.
struct World {
    lake: TempDir,
    schema: String,
    runtime: Runtime,
    client: Client,
}

impl World {
    fn new(schema: &str) -> World {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&POSTGRES.url(), NoTls).await.unwrap();
            tokio::spawn(connection);
            client
                .batch_execute(&format!("SET search_path TO {schema}"))
                .await
                .unwrap();
            client
        });
        World {
            lake: TempDir::new().unwrap(),
            schema: schema.to_owned(),
            runtime,
            client,
        }
    }

    /// Generates the lake: odd records, records sent again and deletes among them.
    fn generate(&self, posts: u32, partitions: u32, more: &[&str]) {
        let (posts, partitions) = (posts.to_string(), partitions.to_string());
        let lake = self.lake_url();
        let mut arguments = vec![
            "generate",
            "--lake",
            &lake,
            "--posts",
            &posts,
            "--seed",
            "11",
            "--partitions",
            &partitions,
            "--records-per-object",
            "50",
        ];
        arguments.extend(more);
        let generated = pinflow(&arguments);
        assert_eq!(generated.code, 0, "{generated:?}");
    }

    fn lake_url(&self) -> String {
        format!("file://{}", self.lake.path().display())
    }

    /// Runs a command against this lake and schema.
    fn run(&self, command: &[&str]) -> Ended {
        let (lake, url) = (self.lake_url(), POSTGRES.url());
        pinflow(
            &[
                command,
                &["--lake", &lake, "--postgres", &url, "--schema", &self.schema],
            ]
            .concat(),
        )
    }

    fn backfill(&self, more: &[&str]) {
        let ended = self.run(&[&["backfill"], more].concat());
        assert_eq!(ended.code, 0, "{ended:?}");
    }

    fn verify(&self, more: &[&str]) -> Ended {
        self.run(&[&["verify"], more].concat())
    }

    /// Verifies well, plainly and by replay.
    fn is_clean(&self, tables: usize, more: &[&str]) {
        let replayed = self.verify(&[&["--replay"], more].concat());
        assert_eq!(replayed.code, 0, "{replayed:?}");
        assert!(
            replayed
                .stdout
                .contains(&format!("\nok: {tables} tables agree at frontier ")),
            "{replayed:?}"
        );
    }

    /// Does one statement that has to change `rows` rows.
    fn edit(&self, rows: u64, sql: &str) {
        let changed = self.runtime.block_on(self.client.execute(sql, &[])).unwrap();
        assert_eq!(changed, rows, "{sql}");
    }

    fn one<T: for<'a> tokio_postgres::types::FromSql<'a>>(&self, sql: &str) -> T {
        self.runtime.block_on(self.client.query_one(sql, &[])).unwrap().get(0)
    }

    /// The objects of a topic, in the order of their offsets.
    fn objects(&self, topic: &str) -> Vec<PathBuf> {
        let folder = self.lake.path().join(topic).join("partition=0");
        let mut objects: Vec<PathBuf> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        objects.sort();
        objects
    }
}

fn pinflow(arguments: &[&str]) -> Ended {
    let output = Command::new(env!("CARGO_BIN_EXE_pinflow"))
        .args(arguments)
        .env_clear()
        .output()
        .unwrap();
    Ended {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

const ODD: [&str; 6] = ["--dirty", "0.05", "--duplicates", "0.05", "--deletes", "0.02"];

#[test]
fn edits_are_found_exactly_and_repaired() {
    let world = World::new("edits");
    world.generate(600, 2, &ODD);
    // history without offsets: posts of its own, and one that the log replaces
    let legacy = world.lake.path().join("pin/PinterestData_1.json");
    std::fs::write(
        legacy,
        "[{\"index\":100001,\"category\":\"art\"},{\"index\":1},{\"no\":\"key\"},\n\"x\"]",
    )
    .unwrap();
    world.backfill(&[]);

    let clean = world.verify(&[]);
    assert_eq!((clean.code, clean.differing()), (0, vec![]), "{clean:?}");
    assert!(
        clean.stdout.contains("ok: 10 tables agree at frontier geo/0 "),
        "{clean:?}"
    );
    assert!(
        clean.stdout.contains("history without offsets: 4 records\n"),
        "{clean:?}"
    );
    let rejects: i64 = world.one("SELECT count(*) FROM rejects");
    assert!(
        rejects > 2 && clean.stdout.contains(&format!("\nrejects: {rejects} (")),
        "{clean:?}"
    );
    // a dead letter of a topic that is not read any more is nothing that this log says
    let left = "INSERT INTO rejects (source, position, topic, reason) VALUES ('left/0', 1, 'left', 'empty')";
    world.edit(1, left);
    world.is_clean(15, &[]);

    // a result table: one row changed, one removed, one added
    let country: String = world.one("SELECT min(country) FROM popular_category_by_country");
    let add = "INSERT INTO popular_category_by_country VALUES ('Nowhere', 'art', 7, 1)";
    world.edit(1, add);
    let first = format!("WHERE country = '{country}' AND rank = 1");
    let leader: String = world.one(&format!(
        "SELECT min(category) FROM popular_category_by_country {first}"
    ));
    world.edit(1, &format!(
        "UPDATE popular_category_by_country SET category_count = 999 WHERE country = '{country}' AND category = '{leader}'"
    ));
    world.edit(
        1,
        "DELETE FROM users_joined_by_year WHERE join_year = (SELECT min(join_year) FROM users_joined_by_year)",
    );
    let expected = [
        "popular_category_by_country: 1 missing, 2 surplus",
        "users_joined_by_year: 1 missing, 0 surplus",
    ];
    for how in [&[][..], &["--replay"]] {
        let found = world.verify(how);
        assert_eq!(
            (found.code, found.differing()),
            (1, expected.map(str::to_owned).to_vec()),
            "{found:?}"
        );
        assert!(
            found.lines("  surplus: ").contains(&"  surplus: Nowhere | art | 7 | 1"),
            "{found:?}"
        );
        assert!(
            found.lines("  surplus: ").iter().any(|row| row.contains("| 999 |")),
            "{found:?}"
        );
        assert!(
            found
                .stderr
                .contains(" tables differ: popular_category_by_country, users_joined_by_year"),
            "{found:?}"
        );
    }

    // cleaned tables: a value, a row, a position, a delete and a dead letter
    world.edit(
        1,
        "UPDATE geo_table SET coordinates = '{1,NULL}' WHERE ind = (SELECT min(ind) FROM geo_table)",
    );
    world.edit(
        1,
        "DELETE FROM user_table WHERE ind = (SELECT max(ind) FROM user_table)",
    );
    world.edit(1, "UPDATE pin_table SET log_offset = log_offset + 1 WHERE ind = 100001");
    world.edit(1, "INSERT INTO pin_table (ind, title, log_generation, log_partition, log_offset) VALUES (-5, 'by hand', -1, 0, 0)");
    world.edit(1, "DELETE FROM tombstones WHERE ind = (SELECT min(ind) FROM tombstones WHERE \"table\" = 'pin_table') AND \"table\" = 'pin_table'");
    world.edit(
        1,
        "DELETE FROM rejects WHERE source = (SELECT min(source) FROM rejects) AND position = \
                   (SELECT min(position) FROM rejects WHERE source = (SELECT min(source) FROM rejects))",
    );
    let surplus = "INSERT INTO rejects (source, position, topic, reason) VALUES ('pin/0', 1000000, 'pin', 'empty')";
    world.edit(1, surplus);
    let found = world.verify(&["--replay"]);
    let differing = [
        "pin_table: 1 missing, 2 surplus",
        "geo_table: 1 missing, 1 surplus",
        "user_table: 1 missing, 0 surplus",
        "tombstones: 1 missing, 0 surplus",
        "rejects: 1 missing, 1 surplus",
        expected[0],
        expected[1],
    ];
    assert_eq!(
        (found.code, found.differing()),
        (1, differing.map(str::to_owned).to_vec()),
        "{found:?}"
    );
    assert!(
        found.stdout.contains("  surplus: -5 | null | by hand | null"),
        "{found:?}"
    );
    assert!(found.stdout.contains("| no position\n"), "{found:?}");

    // --top is part of the definitions
    for how in [
        &["--top", "3"][..],
        &["--top", "3", "--replay"],
        &["--top", "3", "--repair"],
    ] {
        let other = world.verify(how);
        assert_eq!(other.code, 2, "{other:?}");
        assert!(
            other
                .stderr
                .contains("the tables were computed with --top 10, not 3: give --top 10"),
            "{other:?}"
        );
    }

    // repaired, in one commit, and nothing of the repair stays behind
    let commits: i64 = world.one("SELECT commits FROM progress");
    let frontier = "SELECT string_agg(f::text, ' ' ORDER BY topic, partition) FROM frontier f";
    let before: String = world.one(frontier);
    let repaired = world.verify(&["--repair"]);
    assert_eq!(
        (repaired.code, repaired.differing()),
        (0, differing.map(str::to_owned).to_vec()),
        "{repaired:?}"
    );
    assert_eq!(repaired.lines("repaired ").len(), 7, "{repaired:?}");
    assert!(
        repaired.stdout.contains("ok: 10 tables agree at frontier "),
        "{repaired:?}"
    );
    assert_eq!(world.one::<i64>("SELECT commits FROM progress"), commits + 1);
    assert_eq!(world.one::<String>(frontier), before);
    world.is_clean(15, &[]);
    assert_eq!(world.one::<i64>("SELECT count(*) FROM rejects WHERE topic = 'left'"), 1);
    assert_eq!(world.verify(&[]).code, 0);
    let again = world.verify(&["--repair"]);
    assert_eq!(again.code, 0, "{again:?}");
    assert!(again.stdout.contains("nothing to repair\n"), "{again:?}");
    assert_eq!(world.one::<i64>("SELECT commits FROM progress"), commits + 1);
    let staging =
        "SELECT count(*) FROM pg_class WHERE relname LIKE 'staging%' AND relnamespace = 'edits'::regnamespace";
    assert_eq!(world.one::<i64>(staging), 0);

    // the log is not what it was: history without offsets has changed
    std::fs::write(world.lake.path().join("pin/PinterestData_2.json"), "{\"index\":5}").unwrap();
    let changed = world.verify(&["--replay"]);
    assert_eq!(changed.code, 1, "{changed:?}");
    assert!(
        changed
            .stderr
            .contains("the history that the tables were computed from: 5 records in 2 objects now, 4 records then"),
        "{changed:?}"
    );
    // a restart takes it in
    world.backfill(&[]);
    world.is_clean(15, &[]);
}

#[test]
fn results_that_are_no_more_or_otherwise_are_dropped_when_asked() {
    let world = World::new("dropping");
    world.generate(50, 1, &[]);
    world.backfill(&[]);
    let recorded = || world.one::<i64>("SELECT count(*) FROM results WHERE since_commit = 1");
    assert_eq!(recorded(), 10);
    // as a version with one more result, and another with other columns, would have left it
    world.edit(0, "CREATE TABLE old_result (a integer)");
    world.edit(1, "INSERT INTO results VALUES ('old_result', '', 'SELECT 1', 1)");
    world.edit(0, "ALTER TABLE users_joined_by_year ALTER user_records TYPE integer");
    let commits = || world.one::<i64>("SELECT commits FROM progress");
    let before = commits();
    let refused = world.run(&["backfill"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    for part in [
        "table users_joined_by_year: column user_records is integer, wanted bigint: --drop users_joined_by_year",
        "result old_result is no longer defined: use --drop old_result or restore its file",
    ] {
        assert!(refused.stderr.contains(part), "{refused:?}");
    }
    let more = ["--drop", "users_joined_by_year", "--drop", "old_result"];
    for wrong in ["pin_table", "frontier", "top_poster_by_country", "never_was"] {
        let refused = world.run(&[&["backfill", "--drop", wrong], &more[..]].concat());
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.stderr.contains(&format!("--drop {wrong}: ")), "{refused:?}");
    }
    assert_eq!(commits(), before);
    // twice, as a unit that keeps the flags
    for _ in 0..2 {
        world.backfill(&more);
        let gone = "SELECT to_regclass('dropping.old_result') IS NULL";
        assert!(world.one::<bool>(gone));
        assert_eq!(world.one::<i64>("SELECT count(*) FROM results_dropped"), 2);
        assert_eq!((recorded(), world.one::<i64>("SELECT count(*) FROM results")), (9, 10));
        world.is_clean(15, &[]);
    }
    world.backfill(&[]);
}

#[test]
fn a_repair_needs_the_fence() {
    let world = World::new("fence");
    world.generate(50, 1, &[]);
    world.backfill(&[]);
    let commits: i64 = world.one("SELECT commits FROM progress");
    let url = POSTGRES.url();
    let mut sink = world.runtime.block_on(async {
        let config = sinks::PostgresConfig::new(&url, "fence");
        let results = dataflows::Results::built_in(&dataflows::Options::default());
        let definition = sinks::Definition {
            results: results
                .definitions()
                .iter()
                .map(|result| (result.table, result.sql.clone()))
                .collect(),
            cleaned: dataflows::CLEANED.to_vec(),
            hash: results.hash(&dataflows::Limits::default()),
            keep_cleaned: true,
            drop: Vec::new(),
        };
        let mut sink = sinks::Sink::connect(config).await.unwrap();
        sink.prepare(&definition).await.unwrap();
        sink.take_fence(sinks::Claim::Run, "run").await.unwrap();
        sink
    });
    world.edit(1, "DELETE FROM geo_table WHERE ind = (SELECT min(ind) FROM geo_table)");
    let refused = world.verify(&["--repair"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("schema fence is held by"), "{refused:?}");
    assert_eq!(world.one::<i64>("SELECT commits FROM progress"), commits);

    let repaired = world.verify(&["--repair", "--takeover"]);
    assert_eq!(repaired.code, 0, "{repaired:?}");
    assert!(
        repaired.stdout.contains("repaired geo_table: 1 missing, 0 surplus"),
        "{repaired:?}"
    );
    world.is_clean(15, &[]);
    // who held it is fenced
    let late = world.runtime.block_on(sink.heartbeat(1)).unwrap_err();
    assert!(late.is_fenced(), "{late}");
    // with nothing to repair a live run is left alone
    let fence: i64 = world.one("SELECT fence FROM progress");
    let idle = world.verify(&["--repair", "--takeover"]);
    assert_eq!(
        (idle.code, world.one::<i64>("SELECT fence FROM progress")),
        (0, fence),
        "{idle:?}"
    );
    // a repair creates a table again that somebody dropped
    world.edit(0, "DROP TABLE users_joined_by_year");
    let found = world.verify(&["--replay"]);
    assert_eq!((found.code, found.differing().len()), (1, 1), "{found:?}");
    let repaired = world.verify(&["--repair"]);
    assert_eq!(repaired.code, 0, "{repaired:?}");
    world.is_clean(15, &[]);
}

#[test]
fn without_cleaned_tables_the_log_is_the_only_witness() {
    let world = World::new("off");
    world.generate(200, 1, &ODD);
    world.backfill(&["--cleaned", "off"]);
    let plain = world.verify(&[]);
    assert_eq!(plain.code, 2, "{plain:?}");
    assert!(
        plain.stderr.contains("--cleaned off") && plain.stderr.contains("use --replay"),
        "{plain:?}"
    );
    world.is_clean(11, &[]);
    world.edit(
        1,
        "UPDATE country_of_top_poster SET follower_count = 0 \
                   WHERE country = (SELECT min(country) FROM country_of_top_poster)",
    );
    let found = world.verify(&["--replay"]);
    assert_eq!(found.code, 1, "{found:?}");
    assert_eq!(found.differing(), ["country_of_top_poster: 1 missing, 1 surplus"]);
    let repaired = world.verify(&["--repair"]);
    assert_eq!(repaired.code, 0, "{repaired:?}");
    world.is_clean(11, &[]);
    assert_eq!(world.one::<i64>("SELECT count(*) FROM pin_table"), 0);
}

#[test]
fn what_the_log_has_lost_is_a_gap_and_no_difference() {
    let world = World::new("lost");
    world.generate(200, 1, &ODD);
    world.backfill(&[]);
    let object = &world.objects("pin")[1];
    let bytes = std::fs::read(object).unwrap();
    std::fs::remove_file(object).unwrap();
    let lost = world.verify(&["--replay"]);
    assert_eq!((lost.code, lost.differing()), (1, vec![]), "{lost:?}");
    assert!(lost.stderr.contains("\ngap pin/0 50..100\n"), "{lost:?}");
    assert!(
        lost.stderr
            .contains("first gap pin/0 50..100: the lake does not have it, and no --kafka is given"),
        "{lost:?}"
    );

    // a gap that was accepted is no part of the answer, even when the log has it again
    let accepted = World {
        schema: "accepted".into(),
        ..world
    };
    accepted.backfill(&["--accept-gap", "pin/0:50..100"]);
    let verified = accepted.verify(&["--replay"]);
    assert_eq!(verified.code, 0, "{verified:?}");
    assert!(
        verified.stdout.contains("\ngap pin/0 50..100 (accepted)\n"),
        "{verified:?}"
    );
    std::fs::write(object, bytes).unwrap();
    accepted.is_clean(15, &[]);
    // and the records that came after the frontier are none of its business
    let last = accepted.objects("geo").pop().unwrap();
    let name = last.file_name().unwrap().to_str().unwrap();
    let start: i64 = name
        .strip_suffix(".json")
        .unwrap()
        .rsplit('+')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let next = start + std::fs::read_to_string(&last).unwrap().lines().count() as i64;
    let more = last.with_file_name(format!("geo+0+{next:010}.json"));
    std::fs::write(more, "{\"ind\":1,\"country\":\"Later\"}\n").unwrap();
    accepted.is_clean(15, &[]);
    // a restart takes in what was filled, and what came later
    accepted.backfill(&[]);
    accepted.is_clean(15, &[]);
    assert_eq!(accepted.verify(&["--replay"]).lines("gap "), Vec::<&str>::new());
    assert!(accepted.one::<i64>("SELECT count(*) FROM accepted.pin_table WHERE log_offset BETWEEN 50 AND 99") > 0);
}

#[test]
fn nothing_committed_is_nothing_to_verify() {
    let world = World::new("nothing");
    let absent = world.verify(&[]);
    assert_eq!(absent.code, 1, "{absent:?}");
    assert!(absent.stderr.contains("nothing"), "{absent:?}");
    world.edit(0, "CREATE SCHEMA nothing");
    let replay = pinflow(&["verify", "--replay", "--postgres", &POSTGRES.url()]);
    assert_eq!(replay.code, 2, "{replay:?}");
    assert!(
        replay
            .stderr
            .contains("--replay replays the log: give --lake, --kafka or both"),
        "{replay:?}"
    );
}

/// Holes of the lake are read from Kafka, as the engine read them.
#[test]
fn holes_of_the_lake_are_read_from_kafka() {
    let world = World::new("kafka");
    world.generate(150, 1, &ODD);
    let broker = Broker::start().unwrap();
    for topic in ["pin", "geo", "user"] {
        broker.create_topic(topic, 1).unwrap();
        produce(&broker, topic, &world.objects(topic));
    }
    // the middle and the end are left to Kafka
    let objects = world.objects("pin");
    std::fs::remove_file(&objects[1]).unwrap();
    std::fs::remove_file(objects.last().unwrap()).unwrap();
    let kafka = ["--kafka", broker.bootstrap()];
    world.backfill(&kafka);
    world.is_clean(15, &kafka);
    world.edit(
        1,
        "DELETE FROM pin_table WHERE ind = (SELECT min(ind) FROM pin_table WHERE log_offset BETWEEN 50 AND 99)",
    );
    let found = world.verify(&[&["--replay"], &kafka[..]].concat());
    assert_eq!(
        (found.code, &found.differing()[0][..]),
        (1, "pin_table: 1 missing, 0 surplus"),
        "{found:?}"
    );
    let without = world.verify(&["--replay"]);
    assert_eq!(without.code, 1, "{without:?}");
    assert!(without.stderr.contains("\ngap pin/0 50..100\n"), "{without:?}");
}

/// A run goes on while its tables are verified: what it reads after the snapshot is none of the replay's business.
#[test]
fn a_live_run_is_verified_at_its_committed_frontier() {
    let world = World::new("live");
    world.generate(120, 1, &ODD);
    let broker = Broker::start().unwrap();
    for topic in ["pin", "geo", "user"] {
        broker.create_topic(topic, 1).unwrap();
        produce(&broker, topic, &world.objects(topic));
        // the end is Kafka's alone
        std::fs::remove_file(world.objects(topic).last().unwrap()).unwrap();
    }
    let kafka = ["--kafka", broker.bootstrap()];
    let (lake, url) = (world.lake_url(), POSTGRES.url());
    let mut run = Command::new(env!("CARGO_BIN_EXE_pinflow"))
        .args(["run", "--lake", &lake, "--postgres", &url, "--schema", "live"])
        .args(kafka)
        .env_clear()
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let covered = |offsets: i64| {
        let held =
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'live' AND table_name = 'frontier'";
        let next = "SELECT coalesce(sum(next_offset), 0)::bigint FROM frontier";
        let began = std::time::Instant::now();
        while world.one::<i64>(held) == 0 || world.one::<i64>(next) < offsets {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "the run does not come to offset {offsets}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    covered(360);
    world.is_clean(15, &kafka);
    let before: i64 = world.one("SELECT sum(next_offset)::bigint FROM frontier");
    let more = world.lake.path().join("more");
    std::fs::write(
        &more,
        "{\"ind\":1,\"country\":\"Later\"}\nno\n{\"ind\":2,\"__deleted\":true}\n",
    )
    .unwrap();
    produce(&broker, "geo", &[more]);
    covered(before + 3);
    world.is_clean(15, &kafka);
    let refused = world.verify(&[&["--repair"], &kafka[..]].concat());
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("schema live is held by"), "{refused:?}");
    assert!(run.try_wait().unwrap().is_none(), "the run goes on");
    // a repair that has something to repair ends the run, and is right about what it had read
    world.edit(1, "DELETE FROM geo_table WHERE ind = 1");
    let repaired = world.verify(&[&["--repair", "--takeover"], &kafka[..]].concat());
    assert_eq!(repaired.code, 0, "{repaired:?}");
    assert_eq!(run.wait().unwrap().code(), Some(3));
    world.is_clean(15, &kafka);
    assert_eq!(
        world.one::<String>("SELECT country FROM geo_table WHERE ind = 1"),
        "Later"
    );
}

/// Produces the lines of objects, so that each stands at its offset.
fn produce(broker: &Broker, topic: &str, objects: &[PathBuf]) {
    let producer: ThreadedProducer<_> = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .create()
        .unwrap();
    let lines = |object: &PathBuf| -> Vec<Vec<u8>> {
        let bytes = std::fs::read(object as &Path).unwrap();
        bytes
            .split_inclusive(|byte| *byte == b'\n')
            .map(|line| line.strip_suffix(b"\n").unwrap().to_vec())
            .collect()
    };
    for line in objects.iter().flat_map(lines) {
        producer
            .send(BaseRecord::<(), [u8]>::to(topic).partition(0).payload(&line))
            .map_err(|(error, _)| error)
            .unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();
}
