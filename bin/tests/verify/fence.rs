//! A repair and the run that holds the schema.

use super::world::{POSTGRES, World};

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
    assert_eq!(refused.code, 3, "{refused:?}");
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
