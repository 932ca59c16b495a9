//! The page at `/`, in Chromium: what it shows is what PostgreSQL holds at the same commit, in every state that a run can
//! be in, for people who see it and for those who do not. Pictures of all states are written to `target/page`.

use anyhow::{Context, Result, ensure};
use pinflow_tests::api_client::{ask, ask_json};
use pinflow_tests::case::{Case, History, SOON, geo, pin, send_through, stop, user};
use pinflow_tests::{Browser, Fault, Producer, Program, eventually, long, write_private};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Records are hostile: these are texts, on the page as everywhere.
const CATEGORIES: [&str; 3] = ["art", "<img src=x onerror=alert(1)>", "a & \"b\" </td>"];
const COUNTRIES: [&str; 4] = ["Albania", "Côte d'Ivoire", "Peru", "Niue"];
const BY_COUNTRY: &str = "popular_category_by_country";
/// What the console says where nothing listens: the one error that a page cannot keep from it.
const NO_ANSWER: &str = "net::ERR_";

/// The rows that are in view, as texts, and the commit that the page names beside them.
const SHOWN: &str = "const table = document.querySelector('.table'); \
    const rows = [...document.querySelectorAll('.grid tbody tr:not([aria-hidden])')]; \
    const text = (cell) => [...cell.firstElementChild.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data).join('') \
      .replace(/^\\d{1,3}(,\\d{3})+$/, (number) => number.replaceAll(',', '')); \
    return {commit: Number(table?.dataset.commit), rows: rows.map((row) => [...row.cells].map(text))}";

/// Starts `run` with the API at an address; where it listens.
fn start(case: &Case, listen: &str, args: &[&str]) -> Result<(Program, String)> {
    let mut run = case.command("run").args(["--listen", listen]).args(args).start()?;
    let said = run.wait_for("on http://", SOON)?;
    let address = said.split("http://").nth(1).context("no address")?.trim().to_owned();
    Ok((run, address))
}

/// Waits until the page says so in its sentence.
fn says(browser: &Browser, text: &str) -> Result<()> {
    eventually(&format!("the sentence `{text}`"), SOON, || {
        Ok(browser.text(".sentence")?.contains(text))
    })
    .with_context(|| format!("it says `{}`", browser.text(".sentence").unwrap_or_default()))
}

/// Fails unless the console is empty; requests without an answer are allowed where the engine is gone.
fn is_quiet(browser: &Browser, is_gone: bool) -> Result<()> {
    let mut lines = browser.console()?;
    lines.retain(|line| !(is_gone && line.contains(NO_ANSWER)));
    ensure!(lines.is_empty(), "the console says {lines:#?}");
    Ok(())
}

/// A picture in light and in dark at each width, and what axe finds in both.
fn looks_good(browser: &Browser, state: &str, widths: &[u32]) -> Result<()> {
    for (dark, theme) in [(false, "light"), (true, "dark")] {
        for width in widths {
            browser.picture(&format!("{state}-{width}-{theme}"), *width, dark)?;
            let wide = browser.run("return document.documentElement.scrollWidth - innerWidth", json!([]))?;
            ensure!(
                wide.as_i64() <= Some(0),
                "{state} is {wide} pixels wider than a window of {width}"
            );
        }
        let found = browser.axe()?;
        ensure!(found.is_empty(), "{state} in {theme}: {found:#?}");
    }
    browser.look(1440, 1000, false)
}

/// Posts with their places and users, from `first` on.
fn send(case: &Case, producer: &Producer, first: i64, count: i64) -> Result<()> {
    let numbers = || first..first + count;
    let places: Vec<String> = numbers().map(|n| geo(n, COUNTRIES[n as usize % 4])).collect();
    let pins: Vec<String> = numbers().map(|n| pin(n, CATEGORIES[(n / 2) as usize % 3])).collect();
    let users: Vec<String> = numbers().map(user).collect();
    for (kind, values) in [("geo", &places), ("pin", &pins), ("user", &users)] {
        send_through(producer, &case.topic(kind), 0, values)?;
    }
    Ok(())
}

/// Rows in an order that does not depend on where they are from: that of the page follows their values with a delay, so
/// that they do not jump.
fn sorted(rows: &Value) -> Value {
    let mut rows = rows.as_array().cloned().unwrap_or_default();
    rows.sort_by_key(Value::to_string);
    json!(rows)
}

/// Commits with the rows of the table at each, as the page writes them, read one snapshot after the other, once at least.
fn in_postgres(case: &Case, until: &AtomicBool) -> Result<BTreeMap<i64, Value>> {
    let database = case.database()?;
    let schema = &case.name;
    let mut states = BTreeMap::new();
    loop {
        let rows = database.rows(&format!(
            "SELECT (SELECT commits FROM {schema}.progress), (SELECT json_agg(json_build_array(country, category, \
             category_count::text, rank::text)) FROM {schema}.{BY_COUNTRY})"
        ))?;
        let text = |column: usize| rows[0][column].clone().context("null");
        states.insert(text(0)?.parse()?, sorted(&serde_json::from_str(&text(1)?)?));
        if until.load(Ordering::Relaxed) {
            return Ok(states);
        }
        std::thread::sleep(Duration::from_millis(15));
    }
}

/// While records flow: states that the page showed, each compared with PostgreSQL's at the same commit.
fn compare(case: &Case, browser: &Browser, producer: &Producer, first: i64, limit: Duration) -> Result<(usize, i64)> {
    let (done, mut shown, mut sent) = (AtomicBool::new(false), BTreeMap::new(), first);
    // the driver keeps some bytes of every question: an hour of them would be more than what the page keeps
    let between = if limit > Duration::from_secs(60) { 50 } else { 1 };
    let stored = std::thread::scope(|scope| -> Result<_> {
        let reading = scope.spawn(|| in_postgres(case, &done));
        let watched = (|| -> Result<()> {
            let deadline = Instant::now() + limit;
            while Instant::now() < deadline {
                for _ in 0..between {
                    send(case, producer, sent, 2)?;
                    sent += 2;
                    std::thread::sleep(Duration::from_millis(20));
                }
                let state = browser.run(SHOWN, json!([]))?;
                shown.insert(state["commit"].as_i64().context("no commit")?, sorted(&state["rows"]));
            }
            Ok(())
        })();
        done.store(true, Ordering::Relaxed);
        let stored = reading.join().map_err(|_| anyhow::anyhow!("the reader panicked"))?;
        watched?;
        stored
    })?;
    let mut compared = 0;
    for (commit, rows) in &shown {
        let Some(expected) = stored.get(commit) else { continue };
        ensure!(
            rows == expected,
            "commit {commit}: {rows} on the page, {expected} in PostgreSQL"
        );
        compared += 1;
    }
    Ok((compared, sent))
}

#[test]
fn it_shows_what_postgres_holds_while_records_flow_and_over_a_restart() -> Result<()> {
    let case = Case::new("page_flow", 1, History::Nowhere)?;
    let producer = Producer::new(&case.kafka.bootstrap())?;
    send(&case, &producer, 0, 200)?;
    send_through(
        &producer,
        &case.topic("pin"),
        0,
        &["{\"not\": <b>a record</b>".to_owned()],
    )?;
    let (mut run, address) = start(&case, "127.0.0.1:0", &["--pace", "100ms"])?;
    let browser = Browser::start()?;
    browser.open(&format!("http://{address}/#result={BY_COUNTRY}"))?;
    says(&browser, "Exact up to commit")?;
    eventually("the rows", SOON, || {
        Ok(browser.run(SHOWN, json!([]))?["rows"].as_array().map(Vec::len) == Some(12))
    })?;
    is_quiet(&browser, false)?;

    eventually("the graph and the settings", SOON, || {
        let said = browser.text("main")?;
        Ok(said.contains("posts") && said.contains("postgres.url") && said.contains("records per second"))
    })?;

    // what data says is text: the page has no element that it did not make itself
    let made = browser.run(
        "return document.querySelectorAll('main img, main b b, main script').length",
        json!([]),
    )?;
    ensure!(made == 0, "{made} elements came from records");

    let (compared, sent) = compare(&case, &browser, &producer, 200, Duration::from_secs(4))?;
    ensure!(compared >= 5, "{compared} states were compared");
    let faded = browser.run("return document.querySelectorAll('.grid .changed').length", json!([]))?;
    ensure!(faded.as_i64() > Some(0), "no cell shows that it changed");

    // memory: the same before and after updates, once what is bounded has had time to fill
    let (settle, watch) = if long() { (620, 3600) } else { (1, 8) };
    let (_, sent) = compare(&case, &browser, &producer, sent, Duration::from_secs(settle))?;
    let before = browser.heap()?;
    let (compared, sent) = compare(&case, &browser, &producer, sent, Duration::from_secs(watch))?;
    let grown = browser.heap()? - before;
    ensure!(compared >= 5, "{compared} states were compared");
    ensure!(grown < 1.0e6, "the heap has grown by {grown} bytes in {watch} s");

    looks_good(&browser, "live", &[1440, 768, 375])?;
    is_quiet(&browser, false)?;
    asks_why(&case, &browser, &address)?;

    // gone, and back: at the same address, with what came in between
    run.kill()?;
    says(&browser, "last seen")?;
    looks_good(&browser, "gone", &[1440, 375])?;
    send(&case, &producer, sent, 20)?;
    is_quiet(&browser, true)?;
    let (run, _) = start(&case, &address, &["--pace", "100ms"])?;
    says(&browser, "Exact up to commit")?;
    browser.console()?;
    let once = AtomicBool::new(true);
    eventually("the state after the restart", SOON, || {
        let shown = sorted(&browser.run(SHOWN, json!([]))?["rows"]);
        Ok(in_postgres(&case, &once)?.values().next() == Some(&shown))
    })?;
    let (compared, _) = compare(&case, &browser, &producer, sent + 20, Duration::from_secs(3))?;
    ensure!(compared >= 3, "{compared} states were compared after the restart");
    is_quiet(&browser, false)?;
    stop(run)
}

/// A click on a number, its posts, and what one record did.
fn asks_why(case: &Case, browser: &Browser, address: &str) -> Result<()> {
    browser.click(".grid tbody tr:not([aria-hidden]) td:nth-child(3)")?;
    eventually("the posts", SOON, || {
        Ok(browser.text("dialog")?.contains("The row is made of"))
    })?;
    let said = browser.text("dialog")?;
    let row = browser.run(SHOWN, json!([]))?["rows"][0].clone();
    let (country, category) = (row[0].as_str().unwrap_or_default(), row[1].as_str().unwrap_or_default());
    ensure!(said.contains(country) && said.contains(category), "{row}: {said}");
    let escaped = percent_encoding::utf8_percent_encode(category, percent_encoding::NON_ALPHANUMERIC);
    let why = ask_json(
        address,
        &format!("/api/why/{BY_COUNTRY}?country=eq.{country}&category=eq.{escaped}&limit=1"),
    )?;
    // the page groups digits
    let plain = said.replace(',', "");
    ensure!(plain.contains(&format!("{} posts", why["count"])), "{why}: {said}");
    looks_good(browser, "why", &[1440, 375])?;
    browser.click("dialog .posts button.record")?;
    eventually("the record", SOON, || {
        Ok(browser.text("dialog")?.contains("It is the latest record of its post"))
    })?;
    let said = browser.text("dialog")?;
    ensure!(
        said.contains(&case.topic("pin")) && said.contains(category),
        "{category}: {said}"
    );
    looks_good(browser, "record", &[1440])?;
    // the link keeps the view
    let url = browser.run("return location.href", json!([]))?;
    browser.open("about:blank")?;
    browser.open(url.as_str().context("no address")?)?;
    eventually("the record", SOON, || {
        Ok(browser.text("dialog")?.contains("It is the latest record of its post"))
    })?;
    browser.click("dialog .ends button:last-child")?;
    eventually("the end of the question", SOON, || {
        Ok(browser.run("return document.querySelector('dialog[open]') === null", json!([]))? == true)
    })?;
    is_quiet(browser, false)
}

#[test]
fn a_hundred_results_are_a_list_and_fifty_thousand_rows_scroll() -> Result<()> {
    const POSTS: i64 = 50_000;
    let case = Case::new("page_large", 1, History::Nowhere)?;
    let pins: Vec<String> = (0..POSTS).map(|n| pin(n, CATEGORIES[n as usize % 3])).collect();
    case.send("pin", 0, &pins)?;
    let results = case.folder().join("results");
    std::fs::create_dir(&results)?;
    let write = |name: &str, select: &str| {
        let text = format!(
            "-- {name}: posts\nSELECT {select} AS part, count(*) AS post_count -- number of posts\nFROM pin_table AS pin\nWHERE {select} IS NOT NULL\nGROUP BY 1\n"
        );
        std::fs::write(results.join(format!("{name}.sql")), text)
    };
    for number in 1..100 {
        write(&format!("posts_by_category_{number:02}"), "pin.category")?;
    }
    write("posts_by_poster", "pin.poster_name")?;
    let results = results.to_str().context("a path")?;
    let (run, address) = start(&case, "127.0.0.1:0", &["--results", results, "--allow-missing-topic"])?;
    let browser = Browser::start()?;
    browser.open(&format!("http://{address}/#result=posts_by_poster"))?;
    eventually("all rows", SOON, || {
        Ok(browser.run("return document.querySelector('.table')?.dataset.rows ?? ''", json!([]))? == "50000")
    })?;
    is_quiet(&browser, false)?;

    // in the order of the key, wherever one scrolls to; and few of them are in the document
    let mut expected: Vec<String> = (0..POSTS).map(|n| format!("p{n}")).collect();
    expected.sort();
    for share in [0.0, 0.31, 0.5, 0.999, 1.0, 0.07] {
        let found = browser.run(
            "const box = document.querySelector('.grid'); \
             box.scrollTop = arguments[0] * (box.scrollHeight - box.clientHeight); \
             await new Promise((wake) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(wake, 50)))); \
             const view = box.getBoundingClientRect(); const rows = [...box.querySelectorAll('tbody tr:not([aria-hidden])')]; \
             const seen = rows.filter((row) => { const at = row.getBoundingClientRect(); return at.bottom > view.top + 46 && at.top < view.bottom; }); \
             return {made: rows.length, seen: seen.map((row) => [Number(row.getAttribute('aria-rowindex')) - 2, row.cells[0].innerText])}",
            json!([share]),
        )?;
        let seen = found["seen"].as_array().context("no rows")?;
        ensure!(
            seen.len() >= 14 && found["made"].as_u64() < Some(60),
            "at {share}: {found}"
        );
        for row in seen {
            let place = usize::try_from(row[0].as_u64().context("no place")?)?;
            ensure!(
                row[1] == expected[place].as_str(),
                "at {share}: {row}, expected {}",
                expected[place]
            );
        }
        let place = (share * POSTS as f64) as usize;
        let first = seen[0][0].as_u64().context("no place")? as usize;
        ensure!(first.abs_diff(place) < 40, "at {share} the first row is {first}");
    }
    // by keyboard to the end, and by search to one
    browser.run(
        "const cell = document.querySelector('.grid [data-active]'); cell.focus(); \
         cell.dispatchEvent(new KeyboardEvent('keydown', {key: 'End', ctrlKey: true, bubbles: true}))",
        json!([]),
    )?;
    eventually("the last row", SOON, || {
        Ok(browser
            .run(
                "return document.activeElement.closest('tr')?.innerText.trim() ?? ''",
                json!([]),
            )?
            .as_str()
            .is_some_and(|row| row.starts_with("p9999")))
    })?;
    browser.enter(".tools input", "p4321")?;
    eventually("the row", SOON, || {
        Ok(browser.text(".tools .note")?.starts_with("11 of 50,000 rows"))
    })?;
    looks_good(&browser, "large", &[1440, 375])?;

    // one of a hundred, and one stream
    let listed = browser.run("return document.querySelectorAll('.results li').length", json!([]))?;
    ensure!(listed == 100, "{listed} results are listed");
    browser.run(
        "const ask = fetch; window.streams = []; \
         window.fetch = (path, options) => { if (path.includes('changes')) streams.push([path, options.signal]); return ask(path, options); }",
        json!([]),
    )?;
    for number in ["42", "43"] {
        // as if it were typed: what the page does not know of, it takes back with its next state
        browser.run(
            "const box = document.querySelector('.results input'); box.value = ''; \
             box.dispatchEvent(new Event('input', { bubbles: true }))",
            json!([]),
        )?;
        browser.enter(".results input", &format!("category_{number}"))?;
        eventually("one result", SOON, || {
            Ok(browser.run("return document.querySelectorAll('.results li').length", json!([]))? == 1)
        })?;
        browser.click(".results li button")?;
        eventually("its rows", SOON, || {
            let rows = browser.run(SHOWN, json!([]))?["rows"].as_array().map(Vec::len);
            Ok(browser.text(".about h3")? == format!("posts_by_category_{number}") && rows == Some(3))
        })?;
    }
    let streams = browser.run(
        "return streams.map(([path, signal]) => [path.match(/\\d\\d/)[0], signal.aborted])",
        json!([]),
    )?;
    ensure!(streams == json!([["42", true], ["43", false]]), "{streams}");
    is_quiet(&browser, false)?;
    stop(run)
}

/// How long a start takes that pictures are taken of: some browsers may be busy beside this one.
const START: Duration = Duration::from_secs(15);

#[test]
fn every_state_of_a_start_is_told() -> Result<()> {
    let case = Case::new("page_states", 1, History::S3)?;
    for (kind, values) in [
        (
            "pin",
            (0..300).map(|n| pin(n, CATEGORIES[n as usize % 3])).collect::<Vec<_>>(),
        ),
        ("geo", (0..300).map(|n| geo(n, COUNTRIES[n as usize % 4])).collect()),
    ] {
        for (part, lines) in values.chunks(100).enumerate() {
            case.archive(kind, 100 * part as i64, lines)?;
        }
        case.send(kind, 0, &values)?;
    }
    let s3 = case.s3.as_ref().context("no S3 server")?;
    let browser = Browser::start()?;

    // a token is asked for
    let token = case.folder().join("tokens");
    write_private(&token, "reading-token-001 scopes=read\n")?;
    let token = token.to_str().context("a path")?;
    let is_slow = Arc::new(AtomicBool::new(true));
    let slow = Arc::clone(&is_slow);
    // the lists are answered late, and the last objects are not there before the pictures are taken
    s3.set_faults(move |seen| {
        let is_slow = slow.load(Ordering::Relaxed);
        match (seen.is_list(), seen.is_get() && seen.key.contains("+0000000200")) {
            (true, _) if seen.before == 0 => Fault::delay(START),
            (_, true) if is_slow => Fault::Status(503),
            _ => Fault::None,
        }
    });
    let (run, address) = start(&case, "127.0.0.1:0", &["--token-file", token])?;
    browser.open(&format!("http://{address}/"))?;
    says(&browser, "asks for a token")?;
    looks_good(&browser, "token", &[1440, 375])?;
    let said = browser.console()?;
    // asked once, and not again before there is one
    ensure!(said.len() == 1 && said[0].contains("status of 401"), "{said:#?}");
    browser.enter(".token input", "reading-token-001")?;
    browser.click(".token button")?;
    says(&browser, "Starting")?;
    looks_good(&browser, "starting", &[1440, 375])?;
    says(&browser, "Replaying: ")?;
    looks_good(&browser, "replaying", &[1440, 768, 375])?;
    ensure!(
        browser.text(".sentence")?.starts_with("Replaying: "),
        "{}",
        browser.text(".sentence")?
    );
    is_slow.store(false, Ordering::Relaxed);
    says(&browser, "Exact up to commit").with_context(|| run.tail())?;
    is_quiet(&browser, false)?;
    // the lake holds what Kafka has: an audit says so when it is asked for
    browser.click("#rejects .quiet")?;
    eventually("the audit", SOON, || {
        Ok(browser.text("#rejects")?.contains("The lake is complete"))
    })?;
    let audit = ask(&address, "/api/audit", &[("authorization", "Bearer reading-token-001")])?.json()?;
    ensure!(audit["ok"] == true && audit["partitions"][0]["objects"] == 3, "{audit}");
    // every result has a picture that suits its columns
    for (result, kind) in [
        (BY_COUNTRY, "heat"),
        ("popular_category_by_year", "lines"),
        ("top_poster_by_country", "bars"),
        ("median_followers_by_age_group", ""),
    ] {
        browser.run("location.hash = `result=${arguments[0]}`", json!([result]))?;
        eventually(&format!("{result} as {kind}"), SOON, || {
            let drawn = "return document.querySelector('.about h3')?.innerText + ' ' + \
                         (document.querySelector('.picture')?.dataset.kind ?? '')";
            Ok(browser.run(drawn, json!([]))? == format!("{result} {kind}"))
        })?;
        browser.picture(&format!("result-{result}"), 1440, false)?;
    }
    ensure!(
        browser.text(".grid.empty")?.contains("no rows yet"),
        "{}",
        browser.text(".grid.empty")?
    );
    looks_good(&browser, "empty", &[1440])?;
    is_quiet(&browser, false)?;
    stop(run)
}
