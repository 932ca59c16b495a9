//! `pinflow emulate` against receivers that write down what comes: every source, every interface, and every way in
//! which a receiver does not take a record.

use anyhow::{Context, Result, ensure};
use pinflow_tests::tables::recorded;
use pinflow_tests::{Kafka, MariaDb, Pinflow, ReceivedRequest, Receiver, Reply, Tables};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use workload::generate::{Form, Generator, Renderer, partition_of};

const SOON: Duration = Duration::from_secs(60);
const SLOTS: &str = r#"{"offsets":[{"partition":0,"offset":0,"error_code":null,"error":null}],"key_schema_id":null,"value_schema_id":null}"#;

fn emulate(to: &str, api: &str) -> Pinflow {
    Pinflow::new("emulate").args(["--to", to, "--api", api])
}

/// A receiver that takes everything.
fn willing() -> Result<Receiver> {
    Receiver::start(Duration::ZERO, |_| Reply::ok(SLOTS))
}

/// The final counts on standard output.
fn counts(stdout: &str) -> Result<Value> {
    serde_json::from_str(stdout).with_context(|| format!("no counts in {stdout}"))
}

/// The record inside a request of any interface.
fn record(asked: &ReceivedRequest) -> Value {
    let mut body = asked.json();
    match (&body["records"], &body["Data"]) {
        (Value::Array(_), _) => body["records"][0]["value"].take(),
        (_, Value::Null) => body,
        _ => body["Data"].take(),
    }
}

/// The generator's records as they are to be received, in order: kind, ind, bytes, whether it is a delete.
fn generated(seed: u64, posts: u64, dirty: f64, deletes: f64) -> Vec<(u8, u64, Vec<u8>, bool)> {
    let renderer = Renderer::new(seed);
    let events = Generator::new(seed)
        .posts(posts)
        .duplicates(0.1)
        .dirty(dirty)
        .deletes(deletes);
    let made =
        |event: workload::generate::Event| (event.kind, event.ind, renderer.json(&event), event.form == Form::Delete);
    events.map(made).collect()
}

/// Demands that requests hold the recorded rounds, each as pin, geo, user, in order.
fn demand_recorded(asked: &[ReceivedRequest], rounds: usize, sources: &str) -> Result<()> {
    let recorded = recorded()?.context("the tables are there, and the stream is not")?;
    ensure!(asked.len() == rounds * 3, "{} requests from {sources}", asked.len());
    for (number, (three, round)) in asked.chunks(3).zip(&recorded).enumerate() {
        for (asked, expected) in three.iter().zip(&round.records) {
            let actual = record(asked);
            ensure!(
                actual == *expected,
                "round {number} (row {}) of {sources}: {actual} instead of {expected}",
                round.row
            );
        }
    }
    Ok(())
}

#[test]
fn the_classic_stream_comes_from_every_source_as_it_was_recorded() -> Result<()> {
    let Some(tables) = Tables::real()? else { return Ok(()) };
    let classic = |to: &Receiver, api: &str, source: &str, rounds: usize| -> Result<Value> {
        let rounds = rounds.to_string();
        let out = emulate(to.url(), api)
            .args([
                "--source",
                source,
                "--seed",
                "100",
                "--classic",
                "--rate",
                "0",
                "--posts",
                &rounds,
            ])
            .succeed(SOON)?;
        counts(&out)
    };
    // all rounds from the users' own kind of database
    let mariadb = MariaDb::start()?;
    mariadb.load(&tables)?;
    let receiver = willing()?;
    let counted = classic(&receiver, "rest", &mariadb.url(), 2525)?;
    assert_eq!(counted["acknowledged"], json!({"pin": 2525, "geo": 2525, "user": 2525}));
    let asked = receiver.requests();
    demand_recorded(&asked, 2525, "MariaDB")?;
    let paths: Vec<&str> = asked.iter().take(3).map(|asked| asked.path.as_str()).collect();
    assert_eq!(paths, ["/topics/pin", "/topics/geo", "/topics/user"]);

    let folder = tempfile::tempdir()?;
    tables.write(folder.path())?;
    let receiver = willing()?;
    classic(&receiver, "kinesis", &folder.path().to_string_lossy(), 2525)?;
    demand_recorded(&receiver.requests(), 2525, "a folder")?;

    let postgres = pinflow_tests::postgres()?;
    pinflow_tests::Database::connect(&postgres.url())?.run(&tables.sql(false))?;
    let receiver = willing()?;
    classic(&receiver, "pin", &postgres.url(), 500)?;
    demand_recorded(&receiver.requests(), 500, "Postgres")?;

    // without --classic whole tables are sent, side by side
    for source in [mariadb.url(), postgres.url()] {
        let receiver = willing()?;
        let out = emulate(receiver.url(), "pin")
            .args(["--source", &source, "--rate", "0", "--dates", "iso"])
            .args(["--topics", "geo=g,user=u"])
            .succeed(SOON)?;
        assert_eq!(
            counts(&out)?["acknowledged"],
            json!({"pin": 0, "geo": 11154, "user": 11154})
        );
        let mut asked = receiver.requests();
        // as `.isoformat()` writes them
        let first = asked.iter().find(|asked| asked.path == "/geo/").context("a place")?;
        let row = &tables.0[1][first.json()["ind"].as_u64().context("an index")? as usize];
        let time = row["timestamp"].as_str().context("a time")?.replace(' ', "T");
        assert_eq!(first.json()["timestamp"], time);
        asked.retain(|asked| asked.path == "/user/");
        let inds: HashSet<u64> = asked.iter().filter_map(|asked| asked.json()["ind"].as_u64()).collect();
        assert_eq!((asked.len(), inds.len()), (11154, 11154));
    }
    Ok(())
}

#[test]
fn every_interface_is_spoken_as_its_users_speak_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let token = folder.path().join("token");
    std::fs::write(&token, "# in use\ns3cr3t\nold\n")?;
    for (api, method, content_type) in [
        ("pin", "POST", "application/json"),
        ("rest", "POST", "application/vnd.kafka.json.v2+json"),
        ("kinesis", "PUT", "application/json"),
    ] {
        let deletes = if api == "pin" { "0" } else { "0.05" };
        let expected = generated(5, 60, 0.0, deletes.parse()?);
        let receiver = willing()?;
        let summary = folder.path().join("summary.json");
        let to = format!("{}/prod", receiver.url());
        let out = emulate(&to, api)
            .args([
                "--posts",
                "60",
                "--seed",
                "5",
                "--duplicates",
                "0.1",
                "--deletes",
                deletes,
            ])
            .args([
                "--connections",
                "1",
                "--rate",
                "0",
                "--topics",
                "pin=ab.pin,geo=ab.geo,user=ab.user",
            ])
            .args([Path::new("--token-file"), &token, Path::new("--summary"), &summary])
            .succeed(SOON)?;
        let asked = receiver.requests();
        assert_eq!(asked.len(), expected.len(), "{api}");
        for (asked, (kind, ind, bytes, delete)) in asked.iter().zip(&expected) {
            let name = ["pin", "geo", "user"][usize::from(*kind)];
            let value: Value = serde_json::from_slice(bytes)?;
            let (path, body) = match api {
                "pin" => (format!("/prod/{name}/"), value),
                "rest" if *delete => (
                    format!("/prod/topics/ab.{name}"),
                    json!({"records": [{"key": ind, "value": null}]}),
                ),
                "rest" => (
                    format!("/prod/topics/ab.{name}"),
                    json!({"records": [{"value": value}]}),
                ),
                _ => (
                    format!("/prod/streams/ab.{name}/record"),
                    json!({"StreamName": format!("ab.{name}"), "Data": value, "PartitionKey": ind.to_string()}),
                ),
            };
            assert_eq!((asked.method.as_str(), &asked.path), (method, &path));
            assert_eq!(asked.json(), body);
            assert_eq!(asked.headers["content-type"], content_type);
            assert_eq!(asked.headers["authorization"], "Bearer s3cr3t");
        }
        let counted = counts(&out)?;
        assert_eq!(std::fs::read_to_string(&summary)?, out);
        let of = |kind: u8| expected.iter().filter(|record| record.0 == kind).count();
        assert_eq!(
            counted["acknowledged"],
            json!({"pin": of(0), "geo": of(1), "user": of(2)}),
            "{api}"
        );
        assert_eq!(
            (&counted["retries"], &counted["unacknowledged"]),
            (&json!(0), &json!(0))
        );
    }
    Ok(())
}

#[test]
fn several_interfaces_share_the_posts_and_a_stream_goes_on_behind_another() -> Result<()> {
    let receiver = willing()?;
    emulate(receiver.url(), "pin,rest,kinesis")
        .args([
            "--posts",
            "60",
            "--first-post",
            "40",
            "--duplicates",
            "0",
            "--rate",
            "0",
        ])
        .succeed(SOON)?;
    let mut by_api: HashMap<&str, HashSet<u64>> = HashMap::new();
    for asked in receiver.requests() {
        let api = match asked.path.split('/').nth(1) {
            Some("topics") => "rest",
            Some("streams") => "kinesis",
            _ => "pin",
        };
        let record = record(&asked);
        let ind = record["index"]
            .as_u64()
            .or(record["ind"].as_u64())
            .context("an index")?;
        by_api.entry(api).or_default().insert(ind);
    }
    let all: HashSet<u64> = by_api.values().flatten().copied().collect();
    assert_eq!(all, (40..100).collect());
    assert_eq!(
        by_api.values().map(HashSet::len).sum::<usize>(),
        60,
        "a post took two ways"
    );
    assert!(by_api.values().all(|posts| posts.len() >= 15), "{by_api:?}");
    Ok(())
}

/// Fails the first attempt of every third record in turn by 429, 503, a failed slot, and a cut connection.
#[test]
fn what_was_not_taken_is_sent_again_with_the_same_key_and_never_beside_itself() -> Result<()> {
    let expected = generated(9, 150, 0.0, 0.05);
    let seen: Arc<Mutex<HashMap<Vec<u8>, usize>>> = Arc::default();
    let attempts = Arc::clone(&seen);
    let delay = Duration::from_millis(2);
    let receiver = Receiver::start(delay, move |asked| {
        let mut seen = attempts.lock().unwrap();
        let records = seen.len();
        let attempt = seen.entry([asked.path.as_bytes(), &asked.body].concat()).or_insert(0);
        *attempt += 1;
        match (*attempt, records % 12) {
            (1, 0) => Reply::Status(429, vec![("retry-after", "1".into())], r#"{"error_code":42901}"#.into()),
            (1 | 2, 3) => Reply::Status(503, Vec::new(), "busy".into()),
            (1, 6) => Reply::ok(SLOTS.replace("\"error_code\":null", "\"error_code\":50003")),
            (1 | 2, 9) => Reply::Cut,
            _ => Reply::ok(SLOTS),
        }
    })?;
    let out = emulate(receiver.url(), "rest")
        .args([
            "--posts",
            "150",
            "--seed",
            "9",
            "--duplicates",
            "0.1",
            "--deletes",
            "0.05",
            "--rate",
            "0",
        ])
        .succeed(SOON)?;
    let asked = receiver.requests();
    let counted = counts(&out)?;
    let of = |kind: u8| expected.iter().filter(|record| record.0 == kind).count();
    assert_eq!(
        counted["acknowledged"],
        json!({"pin": of(0), "geo": of(1), "user": of(2)})
    );
    assert_eq!(counted["retries"], json!(asked.len() - expected.len()));
    assert!(asked.len() > expected.len() + 60, "{} requests", asked.len());

    // the order of each post's records, retries aside, is that of the source
    let mut wanted: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
    for (kind, ind, bytes, delete) in &expected {
        let value = if *delete {
            json!({"key": ind, "value": null})
        } else {
            json!({"value": serde_json::from_slice::<Value>(bytes)?})
        };
        wanted.entry(*ind).or_default().push(json!([kind, value]));
    }
    let mut arrived: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
    let mut waiting: HashMap<Vec<u8>, Instant> = HashMap::new();
    let mut last: HashMap<u64, Instant> = HashMap::new();
    for asked in &asked {
        let record = asked.json()["records"][0].clone();
        let kind = ["/topics/pin", "/topics/geo", "/topics/user"]
            .iter()
            .position(|path| *path == asked.path);
        let ind = match &record["key"] {
            Value::Number(key) => key.as_u64(),
            _ => record["value"]["index"].as_u64().or(record["value"]["ind"].as_u64()),
        };
        let (kind, ind) = (kind.context("a path")?, ind.context("an index")?);
        // an answer takes at least the delay: nothing of this post was on its way meanwhile
        if let Some(before) = last.insert(ind, asked.at) {
            assert!(asked.at - before >= delay, "post {ind} was on its way twice at once");
        }
        let bytes = [asked.path.as_bytes(), &asked.body].concat();
        if asked.status == Some(429) {
            waiting.insert(bytes, asked.at);
            continue;
        }
        if let Some(since) = waiting.remove(&bytes) {
            let pause = asked.at - since;
            assert!(pause >= Duration::from_millis(990), "Retry-After: 1 and {pause:?}");
        }
        let failed = String::from_utf8_lossy(&bytes);
        let taken = arrived.entry(ind).or_default();
        if asked.status == Some(200) {
            taken.push(json!([kind, record]));
        } else {
            assert!(matches!(asked.status, Some(503) | None), "{failed}");
        }
    }
    assert!(waiting.is_empty(), "never sent again: {}", waiting.len());
    for (ind, mut taken) in arrived {
        // a failed slot is answered with 200 and comes again at once
        taken.dedup();
        let mut wanted = wanted.remove(&ind).context("a post that was never sent")?;
        wanted.dedup();
        assert_eq!(taken, wanted, "post {ind}");
    }
    assert!(wanted.is_empty());
    Ok(())
}

#[test]
fn the_end_says_what_is_known_of_every_record() -> Result<()> {
    // a way that leads nowhere ends at once
    let nowhere = Receiver::start(Duration::ZERO, |_| {
        Reply::Status(404, vec![], r#"{"error_code":40401}"#.into())
    })?;
    let mut program = emulate(nowhere.url(), "rest")
        .args(["--posts", "50", "--rate", "0"])
        .start()?;
    program.expect(1, SOON)?;
    assert!(program.stderr().contains("answer 404"), "{}", program.stderr());
    assert_eq!(counts(&program.stdout())?["acknowledged"]["pin"], 0);
    assert!(nowhere.requests().len() <= 16);

    // refused records are a failure, unless they were sent to be refused
    let strict = || {
        Receiver::start(Duration::ZERO, |asked| match record(asked) {
            Value::Object(pin) if pin.contains_key("category") => Reply::ok(""),
            _ => Reply::Status(422, vec![], r#"{"detail":[]}"#.into()),
        })
    };
    let pins =
        |to: &Receiver, api: &str| emulate(to.url(), api).args(["--posts", "300", "--rate", "0", "--topics", "pin=p"]);
    let receiver = strict()?;
    pins(&receiver, "pin").args(["--duplicates", "0"]).succeed(SOON)?;
    let receiver = strict()?;
    let mut program = pins(&receiver, "rest").args(["--deletes", "0.05"]).start()?;
    program.expect(1, SOON)?;
    let refused = counts(&program.stdout())?["refused"]["pin"]
        .as_u64()
        .context("a count")?;
    assert!(refused > 3, "{refused}");
    assert!(
        program.stderr().contains(&format!("{refused} records were refused")),
        "{}",
        program.stderr()
    );
    let receiver = strict()?;
    let out = pins(&receiver, "kinesis").args(["--dirty", "0.1"]).succeed(SOON)?;
    let (taken, counted) = (receiver.taken().len(), counts(&out)?);
    assert_eq!(counted["acknowledged"]["pin"], json!(taken));
    assert_eq!(counted["refused"]["pin"], json!(receiver.requests().len() - taken));
    assert!(receiver.requests().len() - taken > 5);

    // nobody is there: patience ends
    let mut program = emulate("http://127.0.0.1:9", "pin")
        .args(["--patience", "1s", "--posts", "5"])
        .start()?;
    program.expect(1, SOON)?;
    assert!(program.stderr().contains("not taken within 1s"), "{}", program.stderr());

    // a signal: what was acknowledged is counted, nothing else
    let receiver = willing()?;
    let mut program = emulate(receiver.url(), "rest").args(["--rate", "500"]).start()?;
    pinflow_tests::eventually("a hundred records", SOON, || Ok(receiver.requests().len() > 100))?;
    program.terminate()?;
    program.expect(0, SOON)?;
    let counted = counts(&program.stdout())?;
    let acknowledged: u64 = ["pin", "geo", "user"]
        .iter()
        .filter_map(|kind| counted["acknowledged"][kind].as_u64())
        .sum();
    assert_eq!(acknowledged, receiver.taken().len() as u64);
    Ok(())
}

#[test]
fn the_schedule_is_kept_and_usage_is_checked() -> Result<()> {
    let receiver = willing()?;
    let began = Instant::now();
    let out = emulate(receiver.url(), "rest")
        .args(["--rate", "400", "--posts", "200", "--duplicates", "0"])
        .succeed(SOON)?;
    // the last of 600 records is due 599/400 s after the first
    assert!(began.elapsed() >= Duration::from_millis(1497), "{:?}", began.elapsed());
    assert_eq!(counts(&out)?["acknowledged"]["user"], 200);
    let asked = receiver.requests();
    for (number, asked) in asked.iter().enumerate().skip(1) {
        // never early: 16 connections may swap neighbours, the schedule allows none of them before its time
        let due = Duration::from_micros(2500 * (number as u64).saturating_sub(16));
        let after = asked.at - receiver.requests()[0].at;
        assert!(
            after + Duration::from_millis(20) >= due,
            "record {number} came {after:?} after the first"
        );
    }
    // --duration ends a stream that has no end
    let out = emulate(receiver.url(), "rest")
        .args(["--rate", "100", "--duration", "1s"])
        .succeed(SOON)?;
    let counted = counts(&out)?;
    let sent: u64 = ["pin", "geo", "user"]
        .iter()
        .filter_map(|kind| counted["acknowledged"][kind].as_u64())
        .sum();
    assert!(sent <= 100, "{sent}");

    let to = ["--to", "http://127.0.0.1:9"];
    let cases: [(&[&str], &str); 10] = [
        (
            &["--api", "pin", "--deletes", "0.1"],
            "--deletes: the FastAPI interface has no deletes",
        ),
        (&["--api", "rest"], "needs --to URL"),
        (&["--to", "http://127.0.0.1:9"], "needs --api"),
        (
            &["--to", "127.0.0.1:9", "--api", "rest"],
            "--to: invalid URL `127.0.0.1:9`",
        ),
        (&["--to", "http://a:b@127.0.0.1:9", "--api", "rest"], "--token-file"),
        (&["--api", "rset"], "did you mean `rest`?"),
        (&["--api", "rest", "--classic"], "the synthetic source has none"),
        (
            &["--api", "rest", "--source", "/nowhere"],
            "--source: `/nowhere` is not a folder",
        ),
        (
            &["--api", "rest", "--source", "mysql://127.0.0.1:3306"],
            "names no database",
        ),
        (
            &["--api", "rest", "--source", ".", "--dirty", "0.1"],
            "--dirty: only valid with `--source synthetic`",
        ),
    ];
    for (arguments, expected) in cases {
        let with_to = if arguments.contains(&"--to") || expected.contains("--to URL") {
            &[][..]
        } else {
            &to[..]
        };
        let mut program = Pinflow::new("emulate").args(arguments).args(with_to).start()?;
        program.expect(2, SOON)?;
        assert!(
            program.stderr().contains(expected),
            "{arguments:?}: {}",
            program.stderr()
        );
    }
    let owned = ["--to", "127.0.0.1:9", "--api", "kafka", "--kafka-property", "acks=0"];
    let mut program = Pinflow::new("emulate").args(owned).start()?;
    program.expect(2, SOON)?;
    assert!(
        program.stderr().contains("`acks` cannot be set"),
        "{}",
        program.stderr()
    );
    // a source that cannot be read is a failure, and no secret is shown
    let source = "mysql://me:hunter2@127.0.0.1:9/pinterest";
    let mut program = emulate("http://127.0.0.1:9", "rest")
        .args(["--source", source])
        .start()?;
    program.expect(1, SOON)?;
    assert!(program.stderr().contains("connecting to MySQL"), "{}", program.stderr());
    assert!(!program.tail().contains("hunter2"), "{}", program.tail());
    Ok(())
}

#[test]
fn certificates_are_checked() -> Result<()> {
    let files = tempfile::tempdir()?;
    let openssl = |arguments: &str| -> Result<()> {
        let output = Command::new("openssl")
            .current_dir(files.path())
            .args(arguments.split(' '))
            .output()?;
        ensure!(
            output.status.success(),
            "openssl: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    };
    std::fs::write(files.path().join("ip.ext"), "subjectAltName=IP:127.0.0.1\n")?;
    let curve = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!(
        "req -x509 {curve} -days 2 -subj /CN=authority -keyout ca.key -out ca.pem"
    ))?;
    openssl(&format!("req {curve} -subj /CN=x -keyout server.key -out server.csr"))?;
    openssl(
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ip.ext -out server.pem",
    )?;
    let path = |name: &str| files.path().join(name);
    let receiver = Receiver::start_tls(&path("server.pem"), &path("server.key"), |_| Reply::ok(SLOTS))?;
    let send = emulate(receiver.url(), "rest").args(["--posts", "3", "--rate", "0", "--duplicates", "0"]);
    let trusted = send.clone().args([Path::new("--ca-file"), &path("ca.pem")]);
    trusted.succeed(SOON)?;
    assert_eq!(receiver.taken().len(), 9);
    let mut stranger = send.args(["--patience", "1s"]).start()?;
    stranger.expect(1, SOON)?;
    assert!(stranger.stderr().contains("certificate"), "{}", stranger.stderr());
    assert_eq!(receiver.requests().len(), 9);
    Ok(())
}

#[test]
fn kafka_itself_gets_what_its_producers_would_send() -> Result<()> {
    const PARTITIONS: i32 = 3;
    let kafka = Kafka::start()?;
    for topic in ["ab.pin", "ab.geo", "ab.user"] {
        kafka.create_topic(topic, PARTITIONS, &[])?;
    }
    let expected = generated(3, 400, 0.05, 0.05);
    let out = emulate(&kafka.bootstrap(), "kafka")
        .args([
            "--posts",
            "400",
            "--seed",
            "3",
            "--duplicates",
            "0.1",
            "--dirty",
            "0.05",
            "--deletes",
            "0.05",
        ])
        .args(["--rate", "0", "--topics", "pin=ab.pin,geo=ab.geo,user=ab.user"])
        .args(["--kafka-property", "client.id=me"])
        .succeed(SOON)?;
    let of = |kind: u8| expected.iter().filter(|record| record.0 == kind).count();
    assert_eq!(
        counts(&out)?["acknowledged"],
        json!({"pin": of(0), "geo": of(1), "user": of(2)})
    );
    for kind in 0..3u8 {
        let topic = ["ab.pin", "ab.geo", "ab.user"][usize::from(kind)];
        let mut by_post: BTreeMap<u64, Vec<Option<Vec<u8>>>> = BTreeMap::new();
        for partition in 0..PARTITIONS {
            for (_, key, value) in kafka.records(topic, partition, "read_committed")? {
                let ind = String::from_utf8(key.context("a key")?)?.parse()?;
                assert_eq!(partition_of(ind, PARTITIONS), partition, "post {ind}");
                by_post.entry(ind).or_default().push(value);
            }
        }
        let mut wanted: BTreeMap<u64, Vec<Option<Vec<u8>>>> = BTreeMap::new();
        for (_, ind, bytes, delete) in expected.iter().filter(|record| record.0 == kind) {
            wanted.entry(*ind).or_default().push((!delete).then(|| bytes.clone()));
        }
        assert!(by_post == wanted, "{topic}");
    }
    // a topic that is not there ends it
    let mut program = emulate(&kafka.bootstrap(), "kafka")
        .args(["--posts", "1", "--topics", "pin=absent", "--patience", "5s"])
        .start()?;
    program.expect(1, SOON)?;
    assert!(program.stderr().contains("producing to absent"), "{}", program.stderr());
    Ok(())
}
