//! Why a number is what it is, as clients of the API see it: posts and records of rows, and what single records did.

use anyhow::{Context, Result, ensure};
use pinflow_tests::api_client::{ask, ask_json};
use pinflow_tests::case::{Case, History, SOON, geo, pin, stop, user};
use pinflow_tests::{Message, Producer, Program, eventually};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn start(case: &Case, args: &[&str]) -> Result<(Program, String)> {
    let mut run = case
        .command("run")
        .args(["--listen", "127.0.0.1:0"])
        .args(args)
        .start()?;
    let said = run.wait_for("on http://", SOON)?;
    let address = said.split("http://").nth(1).context("no address")?.trim().to_owned();
    Ok((run, address))
}

fn wait_for(case: &Case, address: &str, ends: &[(&str, i64)]) -> Result<()> {
    let wanted: Vec<_> = ends
        .iter()
        .map(|(kind, end)| format!("at_least={}/0:{}", case.topic(kind), end - 1))
        .collect();
    eventually("the commit", SOON, || {
        Ok(ask(address, &format!("/api/frontier?{}&timeout=30s", wanted.join("&")), &[])?.status == 200)
    })
}

/// The posts of a row, from all pages.
fn posts(address: &str, path: &str, limit: usize) -> Result<Vec<Value>> {
    let (mut posts, mut after) = (Vec::new(), String::new());
    loop {
        let page = ask_json(address, &format!("{path}&limit={limit}{after}"))?;
        let list = page["posts"].as_array().context("no posts")?;
        ensure!(list.len() <= limit, "{page}");
        posts.extend(list.iter().cloned());
        match page["next"].as_i64() {
            Some(next) => after = format!("&after={next}"),
            None => {
                ensure!(page["count"] == posts.len(), "{} posts, and {page}", posts.len());
                return Ok(posts);
            }
        }
    }
}

#[test]
fn rows_name_their_posts_and_records_their_rows() -> Result<()> {
    let case = Case::new("api_why", 1, History::Nowhere)?;
    let count = 60;
    let countries = ["Albania", "Côte d'Ivoire", "Peru"];
    let places: Vec<String> = (0..count).map(|n| geo(n, countries[n as usize % 3])).collect();
    let pins: Vec<String> = (0..count).map(|n| pin(n, ["art", "travel"][n as usize % 2])).collect();
    case.send("geo", 0, &places)?;
    case.send("pin", 0, &pins)?;
    case.send("user", 0, &(0..count).map(user).collect::<Vec<_>>())?;
    // the last offsets of pin: a record that is replaced, one that replaces it, and one that is none
    case.send("pin", 0, &[pin(7, "art"), "{\"index\": ".to_owned()])?;
    let (run, address) = start(&case, &[])?;
    let end = |kind: &str| -> Result<i64> { Ok(case.kafka.watermarks(&case.topic(kind), 0)?.1) };
    let ends = [("pin", end("pin")?), ("geo", end("geo")?), ("user", end("user")?)];
    wait_for(&case, &address, &ends)?;

    // every row of every result with the posts that its own SQL finds in PostgreSQL
    let tables = ask_json(&address, "/api/results")?;
    let mut rows = 0;
    for table in tables["tables"].as_array().context("no tables")? {
        let name = table["table"].as_str().context("no name")?;
        let keys: Vec<&str> = table["columns"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|column| column["key"] == true)
            .filter_map(|column| column["name"].as_str())
            .collect();
        for row in ask_json(&address, &format!("/api/results/{name}"))?["rows"]
            .as_array()
            .context("no rows")?
        {
            let filters: Vec<String> = keys
                .iter()
                .map(|key| format!("{key}=eq.{}", escaped(&row[key])))
                .collect();
            let path = format!("/api/why/{name}?{}", filters.join("&"));
            let why = ask_json(&address, &path)?;
            ensure!(why["row"] == *row && why["table"] == name, "{why} is not about {row}");
            for column in ["post_count", "category_count", "user_records"] {
                if let Some(posts) = row.get(column) {
                    ensure!(why["count"] == *posts && why["checked"] == true, "{why}");
                }
            }
            let whole = posts(&address, &path, 1000)?;
            ensure!(whole == posts(&address, &path, 3)?, "{path} has other posts by pages");
            let shown = case.database()?.rows(&format!(
                "SET search_path TO {}; {}",
                case.name,
                why["sql"].as_str().context("no sql")?
            ))?;
            let shown: Vec<Value> = shown
                .iter()
                .map(|row| json!(row[0].as_deref().map(str::parse::<i64>).and_then(Result::ok)))
                .collect();
            let inds: Vec<Value> = whole.iter().map(|post| post["ind"].clone()).collect();
            ensure!(shown == inds, "{shown:?} by the shown SQL, and {inds:?}");
            for post in &whole {
                for record in post["records"].as_array().context("no records")? {
                    ensure!(
                        record["source"] == "kafka" && record["object"] == Value::Null,
                        "{record}"
                    );
                    let place = format!(
                        "/api/lineage/{}/{}/{}",
                        record["topic"].as_str().context("no topic")?,
                        record["partition"],
                        record["offset"]
                    );
                    if rows % 5 == 0 {
                        let lineage = ask_json(&address, &place)?;
                        ensure!(
                            lineage["state"] == "current" && lineage["ind"] == post["ind"],
                            "{lineage}"
                        );
                        let key: serde_json::Map<String, Value> =
                            keys.iter().map(|key| ((*key).to_owned(), row[key].clone())).collect();
                        let cell = json!({ "table": name, "key": key });
                        ensure!(
                            lineage["cells"].as_array().is_some_and(|cells| cells.contains(&cell)),
                            "{lineage} lacks {cell}"
                        );
                    }
                }
            }
            rows += 1;
        }
    }
    ensure!(rows > 20, "{rows} rows");

    // a median is decided by those in the middle
    let group = ask_json(&address, "/api/results/median_followers_by_age_group?limit=1")?["rows"][0].clone();
    let path = format!(
        "/api/why/median_followers_by_age_group?age_group=eq.{}",
        escaped(&group["age_group"])
    );
    let why = ask_json(&address, &path)?;
    let deciding = posts(&address, &path, 1000)?;
    let of = |column: &str| {
        deciding
            .iter()
            .filter(|post| {
                post["decides"]
                    .as_array()
                    .is_some_and(|all| all.contains(&json!(column)))
            })
            .count()
    };
    ensure!(
        of("median_follower_count") > 0 && of("lower_median_follower_count") > 0,
        "{why}"
    );
    ensure!(why["every_post"] == json!(["post_count"]), "{why}");

    // places name the rows before
    let ranked = ask_json(&address, "/api/results/popular_category_by_country")?;
    for row in ranked["rows"].as_array().context("no rows")? {
        let path = format!(
            "/api/why/popular_category_by_country?country=eq.{}&category=eq.{}",
            escaped(&row["country"]),
            escaped(&row["category"])
        );
        let why = ask_json(&address, &path)?;
        let before = why["before"]["rank"].as_array().context("no rows before")?;
        ensure!(row["rank"] == before.len() + 1, "{why}");
        ensure!(
            before
                .iter()
                .all(|other| other["country"] == row["country"] && other["rank"].as_i64() < row["rank"].as_i64())
        );
    }

    // what single records did
    let pins = case.topic("pin");
    let lineage = |offset: i64, more: &str| ask_json(&address, &format!("/api/lineage/{pins}/0/{offset}{more}"));
    // its post is what Kafka's record says, or the request
    for given in ["", "?ind=7"] {
        let replaced = lineage(7, given)?;
        ensure!(
            replaced["state"] == "replaced" && replaced["ind"] == 7 && replaced["replaced_by"]["offset"] == count,
            "{replaced}"
        );
        ensure!(replaced["replaced_by"]["topic"] == json!(pins), "{replaced}");
    }
    let current = lineage(count, "")?;
    ensure!(
        current["state"] == "current" && current["row"]["category"] == "art" && current["ind"] == 7,
        "{current}"
    );
    let tables: BTreeSet<&str> = current["cells"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|cell| cell["table"].as_str())
        .collect();
    ensure!(
        tables.contains("popular_category_by_country") && !tables.contains("users_joined_by_year"),
        "{current}"
    );
    ensure!(lineage(count + 1, "")?["state"] == "rejected");
    let later = lineage(count + 2, "")?;
    ensure!(later["state"] == "not yet read", "{later}");

    // what is refused
    let refused = |path: &str| -> Result<(u16, Value)> {
        let answered = ask(&address, path, &[])?;
        Ok((answered.status, answered.json()?))
    };
    for (path, status) in [
        ("/api/why/popular_category_by_country?country=eq.Peru", 400),
        (
            "/api/why/popular_category_by_country?country=eq.Atlantis&category=eq.art",
            404,
        ),
        ("/api/why/popular_category_by_country?contry=eq.Peru", 400),
        (
            "/api/why/popular_category_by_country?country=eq.Peru&category=eq.art&limit=0",
            400,
        ),
        (
            "/api/why/popular_category_by_country?country=eq.Peru&category=eq.art&after=x",
            400,
        ),
        (
            "/api/why/popular_category_by_country?country=eq.Peru&category=eq.art&order=country",
            400,
        ),
        ("/api/why/nothing?country=eq.Peru", 404),
        ("/api/lineage/nothing/0/0", 404),
        ("/api/lineage/pin/x/0", 400),
    ] {
        let (found, body) = refused(path)?;
        ensure!(found == status, "{path}: {found} {body}");
    }
    let (_, body) = refused("/api/why/popular_category_by_country?country=eq.Peru")?;
    ensure!(body["missing"] == json!(["category"]), "{body}");

    // a table that is not what its posts say
    case.database()?.run(&format!(
        "UPDATE {}.users_joined_by_year SET user_records = user_records + 1",
        case.name
    ))?;
    let year = ask_json(&address, "/api/results/users_joined_by_year?limit=1")?["rows"][0]["join_year"].clone();
    let (status, body) = refused(&format!("/api/why/users_joined_by_year?join_year=eq.{year}"))?;
    ensure!(
        status == 500
            && body["error"]
                .as_str()
                .is_some_and(|error| error.contains("user_records")),
        "{status} {body}"
    );
    stop(run)
}

#[test]
fn without_cleaned_tables_nothing_is_explained() -> Result<()> {
    let case = Case::new("api_why_off", 1, History::Nowhere)?;
    case.send("geo", 0, &[geo(1, "Peru")])?;
    case.send("pin", 0, &[pin(1, "art")])?;
    let (run, address) = start(&case, &["--cleaned", "off"])?;
    wait_for(&case, &address, &[("pin", 1), ("geo", 1)])?;
    for path in [
        "/api/why/popular_category_by_country?country=eq.Peru&category=eq.art".to_owned(),
        format!("/api/lineage/{}/0/0", case.topic("pin")),
    ] {
        let answered = ask(&address, &path, &[])?;
        ensure!(
            answered.status == 409 && answered.json()?["hint"] == "run with --cleaned postgres",
            "{} {}",
            answered.status,
            answered.body
        );
    }
    stop(run)
}

/// A value as it stands in a URL.
fn escaped(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[test]
fn records_of_the_lake_and_deletes_are_told_apart() -> Result<()> {
    let case = Case::new("api_why_lake", 1, History::Folder)?;
    let places: Vec<String> = (0..6).map(|n| geo(n, "Peru")).collect();
    let pins: Vec<String> = (0..6).map(|n| pin(n, "art")).collect();
    case.send("geo", 0, &places)?;
    case.send("pin", 0, &pins)?;
    // the lake has the first four of each
    case.archive("geo", 0, &places[..4])?;
    case.archive("pin", 0, &pins[..4])?;
    let producer = Producer::new(&case.kafka.bootstrap())?;
    let delete = Message {
        partition: Some(0),
        key: Some(b"2"),
        value: None,
    };
    producer.send(&case.topic("geo"), delete)?;
    producer.flush()?;
    let (run, address) = start(&case, &[])?;
    wait_for(&case, &address, &[("pin", 6), ("geo", 7)])?;
    let path = "/api/why/popular_category_by_country?country=eq.Peru&category=eq.art";
    let why = ask_json(&address, path)?;
    let sources: Vec<(i64, Vec<&str>)> = why["posts"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|post| {
            let records = post["records"].as_array().into_iter().flatten();
            (
                post["ind"].as_i64().unwrap_or(-1),
                records.filter_map(|record| record["source"].as_str()).collect(),
            )
        })
        .collect();
    let expected = [0, 1, 3, 4, 5].map(|ind| (ind, vec![if ind < 4 { "lake" } else { "kafka" }; 2]));
    ensure!(sources == expected, "{why}");
    let geos = case.topic("geo");
    let lineage = |offset: i64, more: &str| ask_json(&address, &format!("/api/lineage/{geos}/0/{offset}{more}"));
    for given in ["", "?ind=2"] {
        let deleted = lineage(2, given)?;
        ensure!(
            deleted["state"] == "deleted" && deleted["replaced_by"]["offset"] == 6,
            "{deleted}"
        );
    }
    let delete = lineage(6, "")?;
    ensure!(delete["state"] == "deleted" && delete["ind"] == 2, "{delete}");
    // a record that Kafka holds no more says of which post it is in the lake
    case.kafka.delete_records(&geos, 0, 4)?;
    let deleted = lineage(2, "")?;
    ensure!(
        deleted["state"] == "deleted" && deleted["ind"] == 2 && deleted["replaced_by"]["offset"] == 6,
        "{deleted}"
    );
    // the object that holds a record is named; what Kafka alone holds has none
    let objects: Vec<&Value> = why["posts"][0]["records"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|record| &record["object"])
        .collect();
    ensure!(
        objects.len() == 2
            && objects
                .iter()
                .all(|object| object.as_str().is_some_and(|key| key.contains("+0+0000000000"))),
        "{why}"
    );
    ensure!(why["posts"][4]["records"][0]["object"] == Value::Null, "{why}");
    stop(run)
}
