//! Verification against the SQL in one snapshot, and repair.

use crate::cluster::{run, schema, shared};
use crate::tables::{definition, empty_full_snapshot, open, progress};
use causes::with_causes;
use sinks::{CleanedRow, Difference, Reader, Side, SinkError, Step};
use values::{Ind, Offset, Partition, Position, Value};

fn thing(ind: i64, country: &str, name: &str) -> CleanedRow {
    let row = vec![
        Value::Int(ind),
        country.into(),
        name.into(),
        Value::Int(2000 + ind % 3),
        Value::Null,
        Value::Int(ind),
    ];
    CleanedRow {
        table: 0,
        ind: Ind(ind),
        position: Position::new(1, Offset(ind), Partition(0)).unwrap(),
        row: Some(row),
    }
}

#[test]
fn edits_are_found_and_mended() {
    let Some(cluster) = shared() else { return };
    run(async {
        let config = cluster.config(&schema());
        let client = cluster.client().await;
        let mut sink = open(&config).await;
        let things = vec![
            thing(1, "a", "x"),
            thing(2, "a", "x"),
            thing(3, "a", "y"),
            thing(4, "Z", "x"),
        ];
        sink.commit(&Step {
            cleaned: things,
            ..empty_full_snapshot(4)
        })
        .await
        .unwrap();
        let mut reader = Reader::connect(&config).await.unwrap();
        let found = reader.verify(&definition(), 10).await.unwrap();
        assert!(!found.is_clean(), "the results are still empty");
        assert_eq!(
            found.tables.iter().map(|table| table.missing).collect::<Vec<_>>(),
            [3, 3, 4]
        );
        // repair fills them from the SQL
        assert_eq!(sink.repair_results().await.unwrap(), [3, 3, 4]);
        let clean = reader.verify(&definition(), 10).await.unwrap();
        assert!(clean.is_clean(), "{clean:?}");
        assert_eq!(clean.progress.commits, 2);
        assert_eq!(clean.progress.partitions, progress(4).partitions);
        // somebody edits: a row changed, a row added, a row removed
        let edit = format!(
            "SET search_path TO {}; UPDATE counts SET count = 99 WHERE name = 'y'; \
             INSERT INTO names VALUES (1, 'odd'); DELETE FROM wide WHERE id = 2",
            config.schema
        );
        client.batch_execute(&edit).await.unwrap();
        let found = reader.verify(&definition(), 10).await.unwrap();
        let sides: Vec<_> = found
            .tables
            .iter()
            .map(|table| (table.missing, table.surplus))
            .collect();
        assert_eq!(sides, [(1, 1), (0, 1), (1, 0)]);
        let row = |side, cells: &[&str]| Difference {
            side,
            row: cells.iter().map(|c| Some(c.to_string())).collect(),
        };
        assert_eq!(
            found.tables[0].rows,
            [
                row(Side::Missing, &["a", "y", "1", "2"]),
                row(Side::Surplus, &["a", "y", "99", "2"])
            ]
        );
        assert_eq!(sink.repair_results().await.unwrap(), [1, 1, 1]);
        assert!(reader.verify(&definition(), 10).await.unwrap().is_clean());
        // the sink goes on after a repair, and a fenced one repairs nothing
        sink.heartbeat(5).await.unwrap();
        let _new = open(&config).await;
        let error = sink.repair_results().await.unwrap_err();
        assert!(
            matches!(error, SinkError::Fenced { .. } | SinkError::Postgres { .. }),
            "{error}"
        );
        assert!(sink.heartbeat(6).await.unwrap_err().is_fenced());
    });
}

#[test]
fn many_differences_are_counted_and_few_are_shown() {
    let Some(cluster) = shared() else { return };
    run(async {
        let config = cluster.config(&schema());
        let mut sink = open(&config).await;
        let things = (0..300).map(|ind| thing(ind, "a", &format!("n{ind}"))).collect();
        sink.commit(&Step {
            cleaned: things,
            ..empty_full_snapshot(4)
        })
        .await
        .unwrap();
        let found = Reader::connect(&config)
            .await
            .unwrap()
            .verify(&definition(), 3)
            .await
            .unwrap();
        assert_eq!((found.tables[0].missing, found.tables[0].rows.len()), (300, 3));
    });
}

#[test]
fn definitions_that_fail_name_the_table() {
    let Some(cluster) = shared() else { return };
    run(async {
        let config = cluster.config(&schema());
        open(&config).await;
        let mut broken = definition();
        broken.results[1].1 = "SELECT 1 / 0, 'x'".into();
        let mut reader = Reader::connect(&config).await.unwrap();
        let error = reader.verify(&broken, 3).await.unwrap_err();
        assert!(
            with_causes(&error).contains(&format!("{}.names", config.schema)),
            "{error}"
        );
        // the reader is still good
        reader.verify(&definition(), 3).await.unwrap();
    });
}

#[test]
fn an_answer_of_the_server_is_one_line_with_everything_in_it() {
    let Some(cluster) = shared() else { return };
    run(async {
        let client = cluster.client().await;
        let raise = "DO $$ BEGIN RAISE EXCEPTION E'no\nroom' USING DETAIL = 'disk 7', HINT = 'buy one'; END $$";
        let error = client.batch_execute(raise).await.unwrap_err();
        assert_eq!(
            sinks::PostgresError::from(error).to_string(),
            "no room (P0001); detail: disk 7; hint: buy one"
        );
    });
}
