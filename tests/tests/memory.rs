//! Memory is bounded by the posts, not by their history: eight times the records of the same posts cost no more of it,
//! also while Postgres stands still. And it is what `pinflow results explain` says: more posts cost as many bytes.

use anyhow::{Context, Result, ensure};
use dataflows::sql::SqlFile;
use dataflows::{Options, Results};
use operators::{Footprint, symbol};
use pinflow_tests::{Database, LakeFolder, Pinflow, eventually, files};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(120);
const POSTS: &str = "30000";
const TIMES: i64 = 8;
/// What a longer history may cost: buffers that were not all filled by the shorter one.
const SLACK: u64 = 40 << 20;

/// A lake whose producers sent everything of `once` so many times, one after the other. Returns its bytes.
fn again_and_again(once: &LakeFolder, many: &LakeFolder, times: i64) -> Result<u64> {
    let objects = files(once.root())?;
    // pin+3+0000012345.json → (pin+3, 12345)
    let parse = |path: &Path| -> Option<(String, i64)> {
        let stem = path.file_name()?.to_str()?.strip_suffix(".json")?;
        let (place, start) = stem.rsplit_once('+')?;
        Some((place.to_owned(), start.parse().ok()?))
    };
    let mut ends: std::collections::BTreeMap<String, i64> = Default::default();
    for path in &objects {
        let Some((place, start)) = parse(path) else { continue };
        let lines = std::fs::read(path)?.iter().filter(|byte| **byte == b'\n').count() as i64;
        let end = ends.entry(place).or_default();
        *end = (start + lines).max(*end);
    }
    let mut bytes = 0;
    for path in &objects {
        let Some((place, start)) = parse(path) else { continue };
        let (topic, partition) = place.rsplit_once('+').context("a partition")?;
        for time in 0..times {
            let key = many.key(topic, partition.parse()?, start + time * ends[&place], None);
            let to = many.root().join(key);
            std::fs::create_dir_all(to.parent().context("a folder")?)?;
            std::fs::hard_link(path, &to)?;
            bytes += std::fs::metadata(&to)?.len();
        }
    }
    Ok(bytes)
}

/// Records and the greatest resident memory of a replay into files.
fn replay(lake: &LakeFolder, folder: &Path) -> Result<(u64, u64)> {
    replay_with(lake, folder, &[])
}

fn replay_with(lake: &LakeFolder, folder: &Path, flags: &[&OsStr]) -> Result<(u64, u64)> {
    let summary = folder.join("summary.json");
    let out = folder.join("out");
    Pinflow::new("backfill")
        .lake(lake)
        .args([
            "--out".as_ref(),
            out.as_os_str(),
            "--summary".as_ref(),
            summary.as_os_str(),
        ])
        .args(flags)
        .succeed(SOON)?;
    let summary: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(summary)?)?;
    let number = |name: &str| summary[name].as_u64().with_context(|| format!("{name} in {summary}"));
    Ok((number("records")?, number("peak_rss_bytes")?))
}

#[test]
fn eight_times_the_history_of_the_same_posts_costs_no_more_memory() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let once = LakeFolder::new(folder.path().join("once")).topics_dir("");
    std::fs::create_dir_all(once.root())?;
    let many = LakeFolder::new(folder.path().join("many")).topics_dir("");
    Pinflow::new("generate")
        .lake(&once)
        .args(["--posts", POSTS, "--seed", "7"])
        .succeed(SOON)?;
    let bytes = again_and_again(&once, &many, TIMES)?;

    let (records, small) = replay(&once, folder.path())?;
    let (more, large) = replay(&many, folder.path())?;
    eprintln!(
        "{records} records: {} MiB; {more} records, {} MiB of lake: {} MiB",
        small >> 20,
        bytes >> 20,
        large >> 20
    );
    ensure!(
        more == records * TIMES as u64,
        "{more} records instead of {records} times {TIMES}"
    );
    ensure!(bytes > 100 << 20, "{bytes} bytes are no large lake");
    ensure!(large < small + SLACK, "{small} bytes became {large}");

    // the same while its rows go to Postgres, and Postgres stands still
    let postgres = pinflow_tests::postgres()?;
    let summary = folder.path().join("staged.json");
    Pinflow::new("backfill")
        .lake(&once)
        .postgres(&postgres)
        .args(["--schema", "once", "--summary"])
        .args([&summary])
        .succeed(SOON)?;
    let summary: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(summary)?)?;
    let small = summary["peak_rss_bytes"].as_u64().context("a peak")?;
    let mut backfill = Pinflow::new("backfill").lake(&many).postgres(&postgres).start()?;
    let database = Database::connect(&postgres.url())?;
    let staged = "SELECT count(*) FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace \
                  WHERE nspname = 'pinflow' AND relname LIKE 'staging_%_pin_table'";
    eventually("staging", SOON, || Ok(database.number(staged)? > 0))?;
    std::thread::sleep(Duration::from_secs(1));
    let backends = database.rows("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'pinflow%'")?;
    let backends: Vec<Pid> = backends
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
        .collect();
    ensure!(backends.len() > 1, "{} connections stage and commit", backends.len());
    for pid in &backends {
        kill_process(*pid, Signal::STOP)?;
    }
    std::thread::sleep(Duration::from_secs(5));
    let stalled = backfill.memory();
    let running = backfill.is_running()?;
    for pid in &backends {
        kill_process(*pid, Signal::CONT)?;
    }
    let (_, peak) = stalled?;
    ensure!(running, "the backfill ended: {}", backfill.tail());
    eprintln!(
        "into Postgres: {} MiB; while it stood still: {} MiB",
        small >> 20,
        peak >> 20
    );
    ensure!(
        peak < small + SLACK,
        "{small} bytes became {peak} while Postgres stood still"
    );
    // it had not read everything by then, so it was Postgres that it waited for
    ensure!(
        database.number("SELECT max(commits) FROM pinflow.progress")? == 0,
        "history was committed before Postgres stood still"
    );
    backfill.kill()
}

/// Numbers of posts: so far apart that buffers, which do not grow, do not matter.
const FEW_AND_MANY: [&str; 2] = ["100000", "500000"];
/// How far memory may be from what is explained. An allocator's pages are not all full, and a queue holds a little more
/// or less at the time of the peak: some megabytes of the sixty that are explained.
const TOLERANCE: f64 = 0.15;

/// What operators have entries for, in a lake of clean records, each there once.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    posts: usize,
    names: usize,
    /// Of country and poster.
    posters: usize,
    persons: usize,
    /// Of country and person.
    visitors: usize,
}

impl Counted {
    fn of(lake: &LakeFolder) -> Result<Counted> {
        let (mut geos, mut posters, mut users) = (HashMap::new(), HashMap::new(), HashMap::new());
        let mut names: HashSet<String> = HashSet::new();
        for path in files(lake.root())? {
            for line in std::fs::read_to_string(&path)?.lines() {
                let record: serde_json::Value = serde_json::from_str(line)?;
                let text = |field: &str| record[field].as_str().unwrap_or_default().to_owned();
                let ind = record["index"].as_i64().or(record["ind"].as_i64()).context("a key")?;
                if record.get("poster_name").is_some() {
                    names.insert(text("poster_name"));
                    posters.insert(ind, text("poster_name"));
                } else if record.get("country").is_some() {
                    geos.insert(ind, text("country"));
                } else {
                    names.extend([text("first_name"), text("last_name")]);
                    let fields = ["first_name", "last_name", "age", "date_joined"];
                    users.insert(ind, fields.map(|field| record[field].to_string()));
                }
            }
        }
        let country = |ind: &i64| geos.get(ind);
        let posts: HashSet<&i64> = posters.keys().chain(geos.keys()).chain(users.keys()).collect();
        let of_posters: HashSet<_> = posters.iter().map(|(ind, poster)| (country(ind), poster)).collect();
        let persons: HashSet<_> = users.values().collect();
        let visitors: HashSet<_> = users.iter().map(|(ind, person)| (country(ind), person)).collect();
        Ok(Counted {
            posts: posts.len(),
            names: names.len(),
            posters: of_posters.len(),
            persons: persons.len(),
            visitors: visitors.len(),
        })
    }
}

/// What the operators of a name keep for each of something, as `results explain` prints it.
fn keeps(results: &Results, name: &str, operator: &str, each: &str) -> Result<Vec<Footprint>> {
    let explanation = results.explain(name).with_context(|| format!("no result {name}"))?;
    let steps = explanation.parts.iter().map(|part| &part.step);
    let kept = steps.filter(|step| step.operator == operator).flat_map(|step| {
        let of_each = step.keeps.iter().filter(move |kept| step.each(kept) == each);
        of_each.copied()
    });
    Ok(kept.collect())
}

/// From one lake to the other memory grows by what is explained.
fn grows_as_explained(
    what: &str,
    lakes: &[(LakeFolder, Counted)],
    flags: &[&OsStr],
    explained: impl Fn(&Counted) -> usize,
) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut peaks = Vec::new();
    for (lake, _) in lakes {
        let flags = [&[OsStr::new("-w"), OsStr::new("1")], flags].concat();
        peaks.push(replay_with(lake, folder.path(), &flags)?.1);
    }
    let grown = peaks[1] as f64 - peaks[0] as f64;
    let explained = explained(&lakes[1].1) as f64 - explained(&lakes[0].1) as f64;
    eprintln!(
        "{what}: {:.1} MB of the {:.1} MB that are explained",
        grown / 1e6,
        explained / 1e6
    );
    ensure!(
        (grown - explained).abs() < TOLERANCE * explained,
        "{what}: memory grew by {grown} bytes, and {explained} are explained"
    );
    Ok(())
}

/// Keys that no fixed size was made for, and rows of posts that lie on the heap.
const PEOPLE: &str = "-- people: who came from each country\n\
    SELECT geo.country, EXTRACT(YEAR FROM users.date_joined)::integer AS join_year,\n\
           count(DISTINCT (users.user_name, users.age, users.date_joined)) AS persons,\n\
           count(DISTINCT (geo.timestamp, pin.poster_name, pin.category, pin.is_image_or_video,\n\
                           pin.follower_count)) AS pins\n\
    FROM geo_table AS geo JOIN user_table AS users USING (ind) JOIN pin_table AS pin USING (ind)\n\
    WHERE geo.country IS NOT NULL AND users.date_joined IS NOT NULL GROUP BY 1, 2";

#[test]
fn memory_grows_by_what_is_explained() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut lakes = Vec::new();
    for posts in FEW_AND_MANY {
        let lake = LakeFolder::new(folder.path().join(posts));
        std::fs::create_dir_all(lake.root())?;
        Pinflow::new("generate")
            .lake(&lake)
            .args(["--posts", posts, "--seed", "7", "--duplicates", "0", "--dirty", "0"])
            .succeed(SOON)?;
        let counted = Counted::of(&lake)?;
        lakes.push((lake, counted));
    }
    let names = |counted: &Counted| symbol::footprint().total(counted.names);

    let results = Results::built_in(&Options::default());
    let of = |name: &str, operator: &str, each: &str| keeps(&results, name, operator, each);
    let posts = of("top_poster_by_country", "latest", "post")?[0];
    let greatest = of("top_poster_by_country", "greatest", "group")?[0];
    let ranked = of("top_poster_by_country", "rank", "row")?[0];
    let persons = of("users_joined_by_year", "distinct_count", "distinct value")?[0];
    // the peak is where history ends: then all rows that are ranked wait for it
    let built_in = |n: &Counted| {
        posts.total(n.posts)
            + greatest.total(n.posters)
            + ranked.total(n.posters)
            + ranked.staged * n.posters
            + persons.total(n.persons)
            + names(n)
    };
    grows_as_explained("the built-in results", &lakes, &[], built_in)?;

    let results = folder.path().join("results");
    std::fs::create_dir(&results)?;
    std::fs::write(results.join("people.sql"), PEOPLE)?;
    let file = SqlFile {
        path: "people.sql".to_owned(),
        text: PEOPLE.to_owned(),
    };
    let flags = [OsStr::new("--results"), results.as_os_str()];
    let results = Results::compile(&[file], &Options::default());
    let results = results.map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let posts = keeps(&results, "people", "latest", "post")?[0];
    let distinct = keeps(&results, "people", "distinct_count", "distinct value")?;
    let people =
        |n: &Counted| posts.total(n.posts) + distinct[0].total(n.visitors) + distinct[1].total(n.posts) + names(n);
    grows_as_explained("results over rows of any size", &lakes, &flags, people)
}
