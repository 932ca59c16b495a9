//! The page on migrating cannot lie: its SQL, its script, its configurations and its figures are taken from it, run on
//! real records, and compared with plain Rust over the raw records.

use anyhow::{Context, Result, ensure};
use pinflow_tests::case::{Case, History, SOON, stop};
use pinflow_tests::tables::recorded;
use pinflow_tests::{Message, Pinflow, Producer, Tables, root};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

fn page() -> Result<String> {
    Ok(std::fs::read_to_string(root().join("docs/migrating.md"))?)
}

/// The code blocks of the page in this language; of commands the language is empty.
fn blocks(language: &str) -> Result<Vec<String>> {
    let mut blocks = Vec::new();
    let mut block: Option<(bool, String)> = None;
    for line in page()?.lines() {
        match (line.strip_prefix("```"), &mut block) {
            (Some(opened), None) => block = Some((opened == language, String::new())),
            (Some(_), Some((wanted, text))) => {
                if *wanted {
                    blocks.push(std::mem::take(text));
                }
                block = None;
            }
            (None, Some((_, text))) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    Ok(blocks)
}

/// The one block that contains this text.
fn block(language: &str, containing: &str) -> Result<String> {
    let found = blocks(language)?.into_iter().filter(|block| block.contains(containing));
    let found: Vec<String> = found.collect();
    ensure!(found.len() == 1, "{} blocks contain {containing}", found.len());
    Ok(found.concat())
}

/// What a window shows.
#[derive(Default)]
struct Window {
    events: i128,
    images: i128,
    known: i128,
    followers: i128,
}

impl Window {
    fn add(&mut self, pin: &Value) {
        self.events += 1;
        self.images += i128::from(pin["is_image_or_video"] == "image");
        if let Some(followers) = followers(pin) {
            self.known += 1;
            self.followers += i128::from(followers);
        }
    }

    /// Number, share of images, mean, as PostgreSQL prints them.
    fn texts(&self) -> [Option<String>; 3] {
        let rounded = |value: i128, by: i128| (2 * value + by) / (2 * by);
        let tenths = rounded(1_000 * self.images, self.events);
        let mean = (self.known > 0).then(|| {
            let cents = rounded(100 * self.followers, self.known);
            format!("{}.{:02}", cents / 100, cents % 100)
        });
        [
            Some(self.events.to_string()),
            Some(format!("{}.{}", tenths / 10, tenths % 10)),
            mean,
        ]
    }
}

/// A follower count as the sources write it: `517`, `12k`, `3M`, or a text for one that is unknown.
fn followers(pin: &Value) -> Option<i64> {
    let text = pin["follower_count"].as_str()?;
    let (digits, factor) = match text.as_bytes().last()? {
        b'k' => (&text[..text.len() - 1], 1_000),
        b'M' => (&text[..text.len() - 1], 1_000_000),
        _ => (text, 1),
    };
    Some(digits.parse::<i64>().ok()? * factor)
}

type Shown = Vec<Vec<Option<String>>>;

fn shown<K: ToString>(windows: &BTreeMap<K, Window>) -> Shown {
    let row = |(start, window): (&K, &Window)| [vec![Some(start.to_string())], window.texts().to_vec()].concat();
    windows.iter().map(row).collect()
}

fn demand_equal(what: &str, actual: &Shown, wanted: &Shown) -> Result<()> {
    let differing = actual.iter().zip(wanted).find(|(actual, wanted)| actual != wanted);
    ensure!(
        actual == wanted,
        "{what}: {} rows instead of {}, {differing:?}",
        actual.len(),
        wanted.len()
    );
    Ok(())
}

#[test]
fn windows_by_the_time_of_posts_and_their_view_are_what_plain_rust_counts() -> Result<()> {
    let (Some(rounds), Some(tables)) = (recorded()?, Tables::real()?) else {
        return Ok(());
    };
    let case = Case::new("pinflow", 1, History::Nowhere)?;
    let results = case.folder().join("results");
    std::fs::create_dir_all(&results)?;
    for name in ["posts_by_five_minutes", "posts_by_category"] {
        std::fs::write(
            results.join(format!("{name}.sql")),
            block("sql", &format!("-- {name}: "))?,
        )?;
    }
    let text = |records: &[Value]| records.iter().map(Value::to_string).collect::<Vec<_>>();
    let [mut pins, mut geos, _] = tables.0;
    case.send("pin", 0, &text(&pins))?;
    case.send("geo", 0, &text(&geos))?;
    let mut run = case
        .command("run")
        .args(["--results".as_ref(), results.as_os_str()])
        .start()?;
    case.reaches(&mut run, "geo", 0, geos.len() as i64)?;
    let live = pins.len();
    for round in rounds {
        let [pin, geo, _] = round.records;
        pins.push(pin);
        geos.push(geo);
    }
    case.send("pin", 0, &text(&pins[live..]))?;
    case.send("geo", 0, &text(&geos[live..]))?;
    case.catches_up(&mut run, "pinflow")?;
    stop(run)?;

    let latest: BTreeMap<i64, &Value> = pins
        .iter()
        .filter_map(|pin| Some((pin["index"].as_i64()?, pin)))
        .collect();
    let mut categories: BTreeMap<&str, Window> = BTreeMap::new();
    for pin in latest.values() {
        let category = pin["category"].as_str().context("a post without a category")?;
        categories.entry(category).or_default().add(pin);
    }
    let geos: BTreeMap<i64, &Value> = geos
        .iter()
        .filter_map(|geo| Some((geo["ind"].as_i64()?, geo)))
        .collect();
    let mut windows: BTreeMap<String, Window> = BTreeMap::new();
    for (ind, geo) in geos {
        // 2020-08-28 03:52:47
        let time = geo["timestamp"].as_str().context("a place without a time")?;
        let minute: u32 = time[14..16].parse()?;
        let start = format!("{}{:02}:00", &time[..14], minute / 5 * 5);
        windows
            .entry(start)
            .or_default()
            .add(latest.get(&ind).context("a place without a post")?);
    }
    let several = windows.values().filter(|window| window.events > 1).count();
    ensure!(several > 50, "only {several} windows have more than one post");

    let database = case.database()?;
    database.run(&block("sql", "CREATE VIEW posts_in_windows")?)?;
    database.run(&block("sql", "CREATE VIEW \"0a3db223d459_pin_table\"")?)?;
    let result = "SELECT hour + minute * interval '1 minute', posts, image_percent, average_followers \
                  FROM pinflow.posts_by_five_minutes ORDER BY 1";
    demand_equal("the result", &database.rows(result)?, &shown(&windows))?;
    let view = "SELECT * FROM posts_in_windows ORDER BY 1";
    demand_equal("the view", &database.rows(view)?, &shown(&windows))?;
    let wanted: Shown = shown(&categories)
        .into_iter()
        .map(|row| vec![row[0].clone(), row[1].clone(), row[3].clone()])
        .collect();
    let actual = database.rows("SELECT * FROM pinflow.posts_by_category ORDER BY category COLLATE \"C\"")?;
    demand_equal("posts by category", &actual, &wanted)?;
    for (name, rows) in [("pin", latest.len()), ("geo", latest.len()), ("user", 0)] {
        let counted = database.number(&format!("SELECT count(*) FROM \"0a3db223d459_{name}_table\""))?;
        ensure!(counted == rows as i64, "{name}: {counted} rows instead of {rows}");
    }
    Ok(())
}

/// A record of the append test.
struct Event {
    kind: &'static str,
    partition: i32,
    offset: i64,
    /// When Kafka got it, in seconds since 1970.
    second: i64,
    value: Value,
}

#[test]
fn the_script_appends_every_archived_record_once_and_windows_of_arrival_count_them() -> Result<()> {
    let Some(rounds) = recorded()? else { return Ok(()) };
    let case = Case::new("append", 2, History::Folder)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let start = i64::try_from(now)? - 7_200;
    let mut next: BTreeMap<(&str, i32), i64> = BTreeMap::new();
    let mut events = Vec::new();
    let mut happen = |kind, partition, second, value| {
        let next = next.entry((kind, partition)).or_default();
        let offset = *next;
        *next += 1;
        events.push(Event {
            kind,
            partition,
            offset,
            second,
            value,
        });
    };
    for (second, round) in (start..).zip(rounds) {
        let partition = i32::from(round.row % 2 == 1);
        for (kind, value) in ["pin", "geo", "user"].into_iter().zip(round.records) {
            happen(kind, partition, second, value);
        }
    }
    // what no column can hold is a row of nulls, and stops nobody from reading the others
    let end = start + 3_600;
    for odd in [
        r#"[1, "2"]"#,
        r#"{"index": 20000, "title": "a\u0000b", "is_image_or_video": "image"}"#,
        "7",
    ] {
        happen("pin", 0, end, serde_json::from_str(odd)?);
    }

    let folder = case.folder();
    let settings = folder.join("pinflow.toml");
    std::fs::write(&settings, block("toml", "[archive]")?)?;
    let script = folder.join("events.sh");
    std::fs::write(&script, block("sh", "# events.sh")?)?;
    let database = case.database()?;
    database.run(&block("sql", "CREATE TABLE events")?.replace("0a3db223d459.pin", "append.pin"))?;
    database.run(&block("sql", "CREATE VIEW arrivals_by_five_minutes")?)?;
    let lake = case.lake.as_ref().context("a lake")?;
    let topics = case.topics.iter().flatten().zip(["pin", "geo", "user"]);
    let topics: Vec<String> = topics.map(|(topic, kind)| format!("{kind}={topic}")).collect();
    let archive = Pinflow::new("archive").kafka(case.kafka).lake(lake);
    let archive = archive
        .args(["--once", "--topics", &topics.join(","), "--config"])
        .args([&settings]);
    let append = || -> Result<()> {
        let ran = Command::new("sh")
            .arg(&script)
            .arg(lake.root())
            .arg(case.postgres.url())
            .output()?;
        ensure!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        Ok(())
    };
    let producer = Producer::new(&case.kafka.bootstrap())?;
    let send = |events: &[Event]| -> Result<()> {
        for event in events {
            let value = event.value.to_string();
            let message = Message {
                partition: Some(event.partition),
                key: None,
                value: Some(value.as_bytes()),
            };
            producer.send_at(&case.topic(event.kind), message, Some(event.second * 1_000 + 999))?;
        }
        producer.flush()
    };
    let (early, late) = events.split_at(events.len() / 3);
    for part in [early, late] {
        send(part)?;
        archive.succeed(SOON)?;
        append()?;
    }
    append()?;

    let mut wanted: Shown = Vec::new();
    let mut windows: BTreeMap<i64, Window> = BTreeMap::new();
    let mut latest: BTreeMap<i64, &Value> = BTreeMap::new();
    for event in &events {
        let place = [
            case.topic(event.kind),
            event.partition.to_string(),
            event.offset.to_string(),
        ];
        let minute = (event.second / 60 * 60).to_string();
        wanted.push(
            place
                .into_iter()
                .chain([minute, event.value.to_string()])
                .map(Some)
                .collect(),
        );
        if event.kind == "pin" {
            let readable = !event.value.to_string().contains("\\u0000");
            let window = windows.entry(event.second / 300 * 300).or_default();
            window.add(if readable { &event.value } else { &Value::Null });
            if let (Some(ind), true) = (event.value["index"].as_i64(), readable) {
                latest.insert(ind, &event.value);
            }
        }
    }
    wanted.sort();
    let rows = "SELECT topic, partition, \"offset\", extract(epoch FROM minute)::bigint, value FROM events";
    let mut actual = database.rows(rows)?;
    actual.sort();
    demand_equal("events", &actual, &wanted)?;
    ensure!(windows.len() > 8, "{} windows", windows.len());
    let rows = "SELECT extract(epoch FROM window_start)::bigint, events, image_percent, average_followers \
                FROM arrivals_by_five_minutes ORDER BY 1";
    demand_equal("windows", &database.rows(rows)?, &shown(&windows))?;

    // the latest event of each post is the row that the engine keeps of it
    case.offline("backfill").succeed(SOON)?;
    let same = "SELECT count(*) FROM append.pin_table AS pin JOIN (
                    SELECT DISTINCT ON (ind) * FROM experimental_data WHERE ind IS NOT NULL ORDER BY ind, \"offset\" DESC
                ) AS event USING (ind)
                WHERE (pin.category, pin.follower_count, pin.is_image_or_video, pin.unique_id)
                      IS NOT DISTINCT FROM (event.category, event.follower_count, event.is_image_or_video, event.unique_id)";
    let (same, posts) = (database.number(same)?, latest.len());
    ensure!(
        same == posts as i64,
        "{same} of {posts} posts have the row of their latest event"
    );
    Ok(())
}

#[test]
fn configurations_and_flags_of_the_page_are_those_of_the_program() -> Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::create_dir(folder.path().join("results"))?;
    let result = block("sql", "-- posts_by_category: ")?;
    std::fs::write(folder.path().join("results/posts_by_category.sql"), result)?;
    let configurations = blocks("toml")?;
    ensure!(configurations.len() == 3, "{} configurations", configurations.len());
    for configuration in configurations {
        std::fs::write(folder.path().join("pinflow.toml"), &configuration)?;
        let check = Pinflow::new("config").args(["check", "--config", "pinflow.toml"]);
        check
            .dir(folder.path())
            .succeed(SOON)
            .with_context(|| configuration.clone())?;
    }
    let commands = blocks("")?.concat().replace("\\\n", " ");
    let mut seen = BTreeSet::new();
    for command in commands.lines() {
        let mut words = command.split_whitespace().take_while(|word| *word != "#");
        ensure!(words.next() == Some("pinflow"), "{command}");
        let name = words.next().context("a command")?;
        if name != "config" {
            let help = Pinflow::new(name).args(["--help"]).succeed(SOON)?;
            for flag in words.filter(|word| word.starts_with("--")) {
                ensure!(
                    help.contains(&format!("{flag} ")) || help.contains(&format!("{flag}[")),
                    "{command}: no {flag}"
                );
            }
        }
        seen.insert(name.to_owned());
    }
    let expected = [
        "archive", "audit", "backfill", "bridge", "config", "emulate", "gateway", "run", "verify",
    ];
    ensure!(seen.iter().eq(expected), "the commands of the page are {seen:?}");
    Ok(())
}

#[test]
fn figures_of_the_page_are_those_of_the_measurements() -> Result<()> {
    let page = page()?.replace('\n', " ");
    let measured = std::fs::read_to_string(root().join("docs/performance.md"))?;
    let mut figures = 0;
    for cost in page.split("**Cost**").skip(1) {
        let (cost, _) = cost.split_once("  ").unwrap_or((cost, ""));
        let words = cost.split(|c: char| !c.is_ascii_digit() && c != '.' && c != ',');
        for figure in words
            .map(|word| word.trim_matches(['.', ',']))
            .filter(|word| !word.is_empty())
        {
            ensure!(measured.contains(figure), "{figure} is not in docs/performance.md");
            figures += 1;
        }
    }
    ensure!(figures >= 8, "{figures} figures");
    Ok(())
}
