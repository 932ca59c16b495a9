//! Tables that hands have edited.

use super::world::{ODD, World};

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
