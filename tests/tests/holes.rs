//! Offsets without a record: markers and aborted records inside an object and behind the last one, and records that
//! compaction has taken, also those that no other record replaces in the answer.

use anyhow::{Result, ensure};
use pinflow_tests::case::{Case, History, SOON, each, geo, geos, pin, pins, send_through, stop};
use pinflow_tests::{Message, Producer, eventually};
use std::time::Duration;

/// Settings of a topic that is compacted all the time.
const COMPACTED: [(&str, &str); 4] = [
    ("cleanup.policy", "compact"),
    ("segment.ms", "100"),
    ("min.cleanable.dirty.ratio", "0.001"),
    ("max.compaction.lag.ms", "100"),
];

/// One record a transaction: each is followed by its marker.
fn transactions(writer: &Producer, topic: &str, values: &[String]) -> Result<()> {
    for value in values {
        writer.begin()?;
        send_through(writer, topic, 0, std::slice::from_ref(value))?;
        writer.commit()?;
    }
    Ok(())
}

fn rejects(case: &Case) -> Result<i64> {
    case.database()?
        .number(&format!("SELECT count(*) FROM {}.rejects", case.name))
}

#[test]
fn every_record_of_an_object_with_holes_inside_reaches_the_tables_once() -> Result<()> {
    each(
        vec![
            ("inexact_folder", History::Folder, 4),
            ("inexact_s3", History::S3, 4),
            ("inexact_bad_before", History::Folder, 1),
        ],
        |(name, history, bad)| {
            let case = Case::new(name, 1, history)?;
            let topic = case.topic("pin");
            let writer = Producer::transactional(&case.kafka.bootstrap(), name)?;
            let mut records = pins(0..6, "art");
            records[bad] = "no JSON".to_owned();
            // the tables hold the first half, read from Kafka at its true offsets
            transactions(&writer, &topic, &records[..3])?;
            let mut run = case.command("run").start()?;
            case.reaches(&mut run, "pin", 0, 6)?;
            stop(run)?;
            // Connect's object knows nothing of the markers
            transactions(&writer, &topic, &records[3..])?;
            case.archive("pin", 0, &records[..5])?;
            case.archive("pin", 10, &records[5..])?;
            for round in 0..2 {
                case.update(name, &[])?;
                let posts = case
                    .database()?
                    .number(&format!("SELECT count(*) FROM {name}.pin_table"))?;
                ensure!(posts == 5, "{name}: start {round} has {posts} posts of 5");
                ensure!(
                    rejects(&case)? == 1,
                    "{name}: start {round} has {} rejects",
                    rejects(&case)?
                );
                case.verify_tables()?;
            }
            // the same object, now the last one of the lake, with an aborted transaction before its last record
            writer.begin()?;
            send_through(&writer, &topic, 0, &[pin(0, "never")])?;
            writer.abort()?;
            transactions(&writer, &topic, &[pin(6, "art"), pin(0, "travel")])?;
            case.archive("pin", 10, &[records[5].clone(), pin(6, "art"), pin(0, "travel")])?;
            case.command("backfill").succeed(SOON)?;
            let categories = case.database()?.rows(&format!(
                "SELECT ind, category FROM {name}.pin_table WHERE ind IN (0, 6) ORDER BY 1"
            ))?;
            let of = |ind: &str, category: &str| vec![Some(ind.to_owned()), Some(category.to_owned())];
            ensure!(
                categories == [of("0", "travel"), of("6", "art")],
                "{name}: {categories:?}"
            );
            ensure!(rejects(&case)? == 1, "{name}: {} rejects at last", rejects(&case)?);
            case.verify_tables()?;
            Ok(())
        },
    )
}

#[test]
fn a_hole_behind_the_last_object_is_no_gap_once_the_frontier_has_passed_it() -> Result<()> {
    each(
        vec![
            ("tail_folder", History::Folder, false),
            ("tail_s3", History::S3, false),
            ("tail_aborted", History::Folder, true),
        ],
        |(name, history, aborted)| {
            let case = Case::new(name, 1, history)?;
            let topic = case.topic("geo");
            let writer = Producer::transactional(&case.kafka.bootstrap(), name)?;
            writer.begin()?;
            send_through(&writer, &topic, 0, &geos(0..5, "Albania"))?;
            writer.commit()?;
            let mut end = 6;
            if aborted {
                writer.begin()?;
                send_through(&writer, &topic, 0, &geos(0..5, "Never"))?;
                writer.abort()?;
                end = 12;
            }
            case.archive("geo", 0, &geos(0..5, "Albania"))?;
            let mut run = case.command("run").start()?;
            case.reaches(&mut run, "geo", 0, end)?;
            stop(run)?;
            case.kafka.delete_records(&topic, 0, end)?;
            // by either command, and more than once
            let mut run = case.command("run").start()?;
            run.wait_for("listed the lake", SOON)?;
            case.send("geo", 0, &[geo(7, "Brazil")])?;
            case.reaches(&mut run, "geo", 0, end + 1)?;
            stop(run)?;
            case.update(name, &[])?;
            case.demand_country(4, "Albania")?;
            case.demand_country(7, "Brazil")?;
            case.verify_tables()?;
            // tables that have not seen it have no proof
            let mut refused = case.command_in(&format!("{name}_new"), "run").start()?;
            refused.expect(1, SOON)?;
            let said = refused.stderr();
            ensure!(said.contains(&format!("gap {topic}/0 5..{end}")), "{said}");
            Ok(())
        },
    )
}

/// Writes keyed values and waits until the broker has them.
fn keyed(case: &Case, topic: &str, records: &[(i64, String)]) -> Result<()> {
    let producer = Producer::new(&case.kafka.bootstrap())?;
    for (ind, value) in records {
        let key = ind.to_string();
        let message = Message {
            partition: Some(0),
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
        };
        producer.send(topic, message)?;
    }
    producer.flush()
}

/// Waits until compaction has taken this offset; a later record closes the segment. Returns the end of the log.
fn compacted_away(case: &Case, topic: &str, offset: i64) -> Result<i64> {
    eventually("compaction", SOON, || {
        std::thread::sleep(Duration::from_millis(300));
        keyed(case, topic, &[(900, geo(900, "Filler"))])?;
        let left = case.kafka.records(topic, 0, "read_committed")?;
        Ok(left.iter().all(|(at, _, _)| *at != offset))
    })?;
    Ok(case.kafka.watermarks(topic, 0)?.1)
}

#[test]
fn a_record_that_compaction_replaced_by_a_dead_letter_is_gone_after_a_restart() -> Result<()> {
    each(
        vec![
            ("letter_nowhere", History::Nowhere, false),
            ("letter_empty_lake", History::Folder, false),
            ("letter_lake", History::Folder, true),
        ],
        |(name, history, archived)| {
            let mut case = Case::new(name, 0, history)?;
            case.topics = [None, Some(case.topic("geo")), None];
            let topic = case.topic("geo");
            case.kafka.create_topic(&topic, 1, &COMPACTED)?;
            keyed(&case, &topic, &[(1, geo(1, "Albania")), (7, geo(7, "Old"))])?;
            if archived {
                case.archive("geo", 0, &[geo(1, "Albania"), geo(7, "Old")])?;
            }
            let mut run = case.command("run").start()?;
            case.reaches(&mut run, "geo", 0, 2)?;
            keyed(&case, &topic, &[(7, "no JSON".to_owned())])?;
            case.reaches(&mut run, "geo", 0, 3)?;
            // what cannot be read replaces nothing
            case.demand_country(7, "Old")?;
            let end = compacted_away(&case, &topic, 1)?;
            case.reaches(&mut run, "geo", 0, end)?;
            case.demand_country(7, "Old")?;
            stop(run)?;
            // the log says otherwise now, unless the lake has the record
            for round in 0..2 {
                keyed(&case, &topic, &[(901, geo(901, "Filler"))])?;
                case.update(name, &[])?;
                let found = case.country(7)?;
                let wanted = archived.then(|| "Old".to_owned());
                ensure!(found == wanted, "{name}: after start {round} place 7 is in {found:?}");
                case.demand_country(1, "Albania")?;
                ensure!(rejects(&case)? == 1, "{name}: {} rejects", rejects(&case)?);
                case.verify_tables()?;
            }
            case.demand_as_new()?;
            Ok(())
        },
    )
}

#[test]
fn an_object_that_was_archived_after_compaction_agrees_with_the_tables() -> Result<()> {
    // the tables have read what the archiver, which came later, did not see any more
    let mut case = Case::new("archived_later", 0, History::Folder)?;
    case.topics = [None, Some(case.topic("geo")), None];
    let topic = case.topic("geo");
    case.kafka.create_topic(&topic, 1, &COMPACTED)?;
    keyed(
        &case,
        &topic,
        &[(1, geo(1, "Albania")), (7, geo(7, "Old")), (2, geo(2, "Brazil"))],
    )?;
    keyed(&case, &topic, &[(7, "no JSON".to_owned()), (3, geo(3, "Chile"))])?;
    let mut run = case.command("run").start()?;
    case.reaches(&mut run, "geo", 0, 5)?;
    case.demand_country(7, "Old")?;
    let end = compacted_away(&case, &topic, 1)?;
    case.reaches(&mut run, "geo", 0, end)?;
    stop(run)?;
    let lines = [
        geo(1, "Albania"),
        geo(2, "Brazil"),
        "no JSON".to_owned(),
        geo(3, "Chile"),
    ];
    case.archive("geo", 0, &lines)?;
    for _ in 0..2 {
        keyed(&case, &topic, &[(901, geo(901, "Filler"))])?;
        case.update(&case.name, &[])?;
        ensure!(case.country(7)?.is_none(), "place 7 is in {:?}", case.country(7)?);
        for (ind, country) in [(1, "Albania"), (2, "Brazil"), (3, "Chile")] {
            case.demand_country(ind, country)?;
        }
        ensure!(rejects(&case)? == 1, "{} rejects", rejects(&case)?);
        case.verify_tables()?;
    }
    case.demand_as_new()
}

#[test]
fn a_bound_within_the_last_object_is_kept_only_where_kafka_proves_its_offsets() -> Result<()> {
    let case = Case::new("bounded", 1, History::Folder)?;
    let topic = case.topic("geo");
    let writer = Producer::transactional(&case.kafka.bootstrap(), "bounded")?;
    case.send("geo", 0, &geos(0..3, "Albania"))?;
    case.archive("geo", 0, &geos(0..3, "Albania"))?;
    // a marker follows each of these: they have the offsets 3, 5 and 7, which the object does not show
    transactions(&writer, &topic, &geos(3..6, "Brazil"))?;
    case.archive("geo", 3, &geos(3..6, "Brazil"))?;
    // inside its lines, behind them, and behind its last record
    for (bound, edge, posts) in [(2, 2, 2), (5, 3, 3), (7, 3, 3), (8, 8, 6)] {
        let schema = format!("bounded_{bound}");
        let file = case.folder().join(format!("{schema}.json"));
        let frontier = serde_json::json!({ "frontier": { &topic: { "0": bound } } });
        std::fs::write(&file, frontier.to_string())?;
        let mut backfill = case
            .command_in(&schema, "backfill")
            .args(["--upto"])
            .args([&file])
            .start()?;
        backfill.expect(0, SOON)?;
        let said = backfill.stderr();
        let rounded = said.contains(&format!("frontier {topic}/0 {bound} is rounded to {edge}"));
        ensure!(rounded == (bound != edge), "{bound}: {said}");
        let found = case
            .database()?
            .number(&format!("SELECT count(*) FROM {schema}.geo_table"))?;
        ensure!(found == posts, "{bound}: {found} posts of {posts}");
        case.verify_tables_in(&schema)?;
    }
    Ok(())
}
