//! What the log still holds, and what a verification needs of it.

use super::world::{ODD, POSTGRES, World, pinflow};

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
