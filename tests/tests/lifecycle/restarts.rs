//! Restarts over a log that says what the tables say already.

use crate::topics;
use anyhow::{Context, Result, ensure};
use pinflow_tests::case::{Case, History, SOON};
use pinflow_tests::{Database, Kafka, Pinflow, Postgres, PostgresOptions, Producer, eventually};
use serde_json::json;

/// Of each kind.
const RECORDS: i64 = 5_000;
/// What a start and its heartbeats may write into the log of PostgreSQL, however many records there are: most of it is the
/// catalog's, of tables for what is staged and compared.
const BOOKKEEPING: i64 = 450_000;
/// Kept with the tables, and written by every commit.
const CONTROL: &str = "'progress', 'frontier', 'gaps', 'generations', 'results', 'results_dropped', 'rejects_dropped'";

/// A server whose log shows what is written and nothing else: no images of whole pages, no maintenance of its own.
fn postgres() -> Result<&'static Postgres> {
    let settings = [("autovacuum", "off"), ("full_page_writes", "off")];
    let options = PostgresOptions {
        icu_locale: Some("en-US".into()),
        settings: settings.map(|(name, value)| (name.into(), value.into())).to_vec(),
        ..PostgresOptions::default()
    };
    // it ends with the test's program, as the shared ones do
    Ok(Box::leak(Box::new(Postgres::start(options)?)))
}

/// Fills every kind; all of it is in Kafka, and three quarters in the lake.
fn fill(case: &Case) -> Result<()> {
    let text = "x".repeat(150);
    let record = |kind: &str, ind: i64| match kind {
        "pin" => json!({
            "index": ind, "unique_id": format!("u{ind}"), "title": "t", "description": text,
            "poster_name": format!("p{ind}"), "follower_count": format!("{ind}"), "tag_list": "a",
            "is_image_or_video": "image", "image_src": "s", "downloaded": 1, "save_location": "Local save in /data/art",
            "category": format!("c{}", ind % 10)
        }),
        "geo" => json!({
            "ind": ind, "timestamp": "2020-08-28 03:52:47", "latitude": 1.5, "longitude": 2.5,
            "country": format!("{}", ind % 50)
        }),
        _ => json!({
            "ind": ind, "first_name": "A", "last_name": format!("B{ind}"), "age": 20 + ind % 40,
            "date_joined": format!("20{}-10-24 11:23:51", 10 + ind % 10)
        }),
    };
    let producer = Producer::new(&case.kafka.bootstrap())?;
    for kind in pinflow_tests::case::KINDS {
        producer.fill(&case.topic(kind), 0, 0..RECORDS, |ind| record(kind, ind).to_string())?;
        let archived: Vec<String> = (0..RECORDS * 3 / 4).map(|ind| record(kind, ind).to_string()).collect();
        for (start, chunk) in (0..).step_by(250).zip(archived.chunks(250)) {
            case.archive(kind, start, chunk)?;
        }
    }
    Ok(())
}

/// What the server has written: bytes of its log, and rows of results and cleaned tables that were changed.
#[derive(Clone, Copy, Debug)]
struct Written {
    bytes: i64,
    rows: i64,
}

impl Written {
    fn of(database: &Database, schema: &str) -> Result<Written> {
        // a session tells what it has counted when it ends
        eventually("the end of all sessions", SOON, || {
            let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pinflow%'";
            Ok(database.number(sessions)? == 0)
        })?;
        let rows = format!(
            "SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint FROM pg_stat_all_tables \
             WHERE schemaname = '{schema}' AND relname NOT IN ({CONTROL}) AND relname NOT LIKE 'staging%'"
        );
        Ok(Written {
            bytes: database.number("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint")?,
            rows: database.number(&rows)?,
        })
    }

    /// What was written since `before`.
    fn since(self, before: Written) -> Written {
        Written {
            bytes: self.bytes - before.bytes,
            rows: self.rows - before.rows,
        }
    }
}

#[test]
fn a_restart_over_the_same_log_writes_bookkeeping_alone() -> Result<()> {
    let kafka: &Kafka = Case::new("restarts", 0, History::Nowhere)?.kafka;
    let case = Case::on(kafka, postgres()?, "restarts", 1, History::Folder)?;
    fill(&case)?;
    let database = case.database()?;
    let written = || Written::of(&database, &case.name);
    let start = |args: &[&str]| -> Result<Written> {
        // so that the start finds no rows that nobody has looked at since they were written
        database.run("VACUUM")?;
        database.run("CHECKPOINT")?;
        let before = written()?;
        case.update(&case.name, &[args, &["--top", "0"]].concat())?;
        Ok(written()?.since(before))
    };
    let first = start(&[])?;
    ensure!(
        first.bytes > 10 * BOOKKEEPING && first.rows > 3 * RECORDS,
        "the first start wrote {first:?}"
    );
    let unchanged = |what: &str, args: &[&str]| -> Result<()> {
        let restart = start(args)?;
        ensure!(
            restart.rows == 0 && restart.bytes < BOOKKEEPING,
            "{what}: {restart:?}, and the first start {first:?}"
        );
        Ok(())
    };
    unchanged("as it was", &[])?;
    unchanged("with more workers", &["-w", "2"])?;
    // the same records in other objects, and Kafka without those that the lake has
    let lake = case.lake.as_ref().context("a lake")?;
    let compact = Pinflow::new("compact").lake(lake).args(topics(&case));
    compact.args(["--keep", "0s"]).succeed(SOON)?;
    unchanged("after a compaction", &[])?;
    for kind in pinflow_tests::case::KINDS {
        kafka.delete_records(&case.topic(kind), 0, RECORDS / 2)?;
    }
    unchanged("after retention", &["-w", "2"])?;
    let verify = case.command("verify").args(["--top", "0", "--replay"]);
    verify.succeed(SOON).map(drop)
}
