//! Results are the files of a folder: they come, change and go with it, PostgreSQL finds nothing wrong with any of them,
//! and processes with different files refuse each other.

use anyhow::{Context, Result, ensure};
use dataflows::sql::SqlFile;
use dataflows::{Options, Results};
use pinflow_tests::case::{Case, History, SOON, geo, pin, stop, user};
use pinflow_tests::{Pinflow, eventually, get};
use std::fs;
use std::path::PathBuf;

/// What may be asked of posts with places: text keys, a share with decimals, percentiles, a HAVING.
const SHARES: &str = "-- shares: how much of each country's posts is of a category that begins with a\n\
    SELECT geo.country, count(*) AS posts,\n\
           round(100.0 * count(*) FILTER (WHERE pin.category LIKE 'a%') / count(*), 1) AS percent,\n\
           percentile_cont(0.9) WITHIN GROUP (ORDER BY pin.follower_count) AS followers_p90\n\
    FROM pin_table AS pin JOIN geo_table AS geo USING (ind)\n\
    WHERE geo.country IS NOT NULL GROUP BY geo.country HAVING count(*) >= 2";
const COUNTRIES: &str = "-- countries: places in each country\n\
    SELECT country, count(*) AS places FROM geo_table WHERE country IS NOT NULL GROUP BY country";
/// Reads another result.
const LARGEST: &str = "-- largest: the countries with the most places\n\
    SELECT country, places, place FROM (\n\
      SELECT country, places, rank() OVER (ORDER BY places DESC) AS place FROM countries) AS ranked\n\
    WHERE place <= 1";

/// The most frequent category of each country: two operators, one of which reads the other.
const USUAL: &str = "-- usual: the most frequent category of each country\n\
    SELECT geo.country, mode() WITHIN GROUP (ORDER BY pin.category COLLATE \"C\") AS category\n\
    FROM pin_table AS pin JOIN geo_table AS geo USING (ind) WHERE geo.country IS NOT NULL GROUP BY 1";

/// A folder of results.
struct Folder(PathBuf);

impl Folder {
    fn new(case: &Case, name: &str, files: &[(&str, &str)]) -> Result<Folder> {
        let folder = Folder(case.folder().join(name));
        fs::create_dir_all(&folder.0)?;
        files.iter().try_for_each(|(name, sql)| folder.write(name, sql))?;
        Ok(folder)
    }

    fn write(&self, name: &str, sql: &str) -> Result<()> {
        fs::write(self.0.join(format!("{name}.sql")), sql).with_context(|| format!("writing {name}.sql"))
    }

    fn remove(&self, name: &str) -> Result<()> {
        fs::remove_file(self.0.join(format!("{name}.sql"))).with_context(|| format!("removing {name}.sql"))
    }

    fn flags(&self) -> [&str; 2] {
        [
            "--results",
            self.0.to_str().expect("a temporary folder's name is UTF-8"),
        ]
    }
}

/// Twelve posts with their places in three countries, and some users.
fn begin(case: &Case) -> Result<()> {
    let countries = ["Peru", "Niue", "Peru", "Chad", "Peru", "Niue"];
    let places: Vec<String> = (0..12).map(|n| geo(n, countries[n as usize % 6])).collect();
    let pins: Vec<String> = (0..12)
        .map(|n| pin(n, ["art", "travel", "animals"][n as usize % 3]))
        .collect();
    case.send("geo", 0, &places)?;
    case.send("pin", 0, &pins)?;
    case.send("user", 0, &[user(1), user(2)])
}

fn rows(case: &Case, sql: &str) -> Result<Vec<String>> {
    rows_in(case, &case.name, sql)
}

fn rows_in(case: &Case, schema: &str, sql: &str) -> Result<Vec<String>> {
    let row = |row: Vec<Option<String>>| {
        row.into_iter()
            .map(Option::unwrap_or_default)
            .collect::<Vec<_>>()
            .join("|")
    };
    let database = case.database()?;
    database.run(&format!("SET search_path TO {schema}"))?;
    Ok(database.rows(sql)?.into_iter().map(row).collect())
}

/// Plainly and by a replay.
fn verify_tables(case: &Case, folder: &Folder) -> Result<()> {
    let verify = || case.command("verify").args(folder.flags());
    let said = verify().succeed(SOON)?;
    ensure!(said.contains("tables agree"), "{said}");
    verify().args(["--replay"]).succeed(SOON).map(drop)
}

/// What a start would do says all of these lines, by their beginnings, and no other. Where it would be refused, so is the
/// plan.
fn planned(case: &Case, folder: &Folder, drop: &[&str], lines: &[&str]) -> Result<()> {
    let plan = Pinflow::new("results").args(["plan"]).postgres(case.postgres);
    let plan = plan.args(["--schema", &case.name]).args(folder.flags()).args(drop);
    let is_refused = lines.iter().any(|line| line.starts_with("refused"));
    let mut run = plan.start()?;
    run.expect(if is_refused { 2 } else { 0 }, SOON)?;
    let said = run.stdout();
    let mut said = said.lines();
    for line in lines {
        let found = said.next().unwrap_or_default();
        ensure!(found.starts_with(line), "{found} instead of {line}");
    }
    let last = said.next();
    if is_refused {
        ensure!(
            last.is_none() && run.stderr().contains("a start would be refused"),
            "{}",
            run.tail()
        )
    } else {
        ensure!(
            last.is_some_and(|last| last.starts_with("a start replays history first")),
            "{}",
            run.tail()
        )
    }
    Ok(())
}

/// Ends with exit code 2 and these words, and leaves the tables alone.
fn refused(command: &Pinflow, words: &[&str]) -> Result<()> {
    let mut run = command.start()?;
    run.expect(2, SOON)?;
    let said = run.tail();
    for word in words {
        ensure!(said.contains(word), "`{word}` is not in: {said}");
    }
    Ok(())
}

/// What the operators of a result keep, by what `results explain` says of them, for so many posts, groups and ranked
/// rows: what several results are made of counts for each in equal parts.
fn explained(results: &Results, name: &str, entries: &[(&str, &[usize])]) -> Result<usize> {
    let explanation = results.explain(name).with_context(|| format!("no result {name}"))?;
    let bytes = explanation.parts.iter().map(|part| {
        let found = entries.iter().find(|(operator, _)| *operator == part.step.operator);
        let (_, entries) = found.with_context(|| format!("unexpected {}", part.step.operator))?;
        Ok(part.step.bytes(entries) / (1 + part.shared_with.len()))
    });
    bytes.sum()
}

#[test]
fn what_results_take_is_shown() -> Result<()> {
    let case = Case::new("taken", 1, History::Nowhere)?;
    begin(&case)?;
    let files = [("countries", COUNTRIES), ("largest", LARGEST), ("usual", USUAL)];
    let folder = Folder::new(&case, "results", &files)?;
    let compiled = files.map(|(name, sql)| SqlFile {
        path: format!("{name}.sql"),
        text: sql.to_owned(),
    });
    let compiled = Results::compile(&compiled, &Options::default());
    let compiled = compiled.map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    for workers in ["1", "3"] {
        let flags = ["--listen", "127.0.0.1:0", "-w", workers];
        let mut run = case.command("run").args(folder.flags()).args(&flags).start()?;
        let listening = run.wait_for("http://", SOON)?;
        let address = listening.split("http://").nth(1).unwrap_or_default();
        let address = address.split('/').next().unwrap_or_default().trim().to_owned();
        let metric = |name: &str, result: &str| -> Result<f64> {
            let metrics = get(&address, "/metrics")?;
            let name = format!("pinflow_result_{name}{{result=\"{result}\"}} ");
            let value = metrics.lines().find_map(|line| line.strip_prefix(&name));
            Ok(value.with_context(|| format!("no {name}in {metrics}"))?.parse()?)
        };
        // a country more, which is the largest then, and the first live record
        case.send("geo", 0, &(12..30).map(|n| geo(n, "Fiji")).collect::<Vec<_>>())?;
        eventually("the live records", SOON, || {
            ensure!(run.is_running()?, "it ended: {}", run.tail());
            // at first there is no such table
            Ok(rows(&case, "SELECT country FROM largest").is_ok_and(|rows| rows == ["Fiji"]))
        })?;
        // posts; groups and ranked rows of countries; categories of countries, with those that are not the first
        let of_countries: &[(&str, &[usize])] = &[("latest", &[30]), ("count", &[4]), ("rank", &[1, 4])];
        let of_usual: &[(&str, &[usize])] = &[
            ("latest", &[30]),
            ("fold", &[3]),
            ("count", &[6]),
            ("greatest", &[3, 3]),
            ("gather", &[3]),
        ];
        for (result, entries) in [
            ("countries", of_countries),
            ("largest", of_countries),
            ("usual", of_usual),
        ] {
            ensure!(metric("busy_seconds_total", result)? > 0.0, "{result}");
            if workers == "1" {
                let (found, explained) = (metric("state_bytes", result)?, explained(&compiled, result, entries)?);
                ensure!(found == explained as f64, "{result}: {found}, {explained} explained");
            }
        }
        stop(run)?;
    }
    Ok(())
}

#[test]
fn results_come_change_and_go_with_their_files() -> Result<()> {
    let case = Case::new("files", 1, History::Nowhere)?;
    begin(&case)?;
    let folder = Folder::new(&case, "results", &[("countries", COUNTRIES), ("shares", SHARES)])?;
    planned(&case, &folder, &[], &["new      countries", "new      shares"])?;
    case.update("files", &folder.flags())?;
    let tables = "SELECT name FROM results ORDER BY 1";
    ensure!(rows(&case, tables)? == ["countries", "shares"]);
    let shares = || rows(&case, "SELECT * FROM shares ORDER BY 1");
    let countries = || rows(&case, "SELECT *, xmin FROM countries ORDER BY 1");
    ensure!(
        shares()? == ["Chad|2|100.0|12000", "Niue|4|50.0|12000", "Peru|6|66.7|12000"],
        "{:?}",
        shares()?
    );
    verify_tables(&case, &folder)?;
    // nobody else's tables
    refused(
        &case.command("verify"),
        &[
            "the given results differ",
            "shares",
            "popular_category_by_year",
            "--results DIR",
        ],
    )?;
    refused(&case.command("run"), &["countries", "shares", "--drop"])?;

    // another one, which reads the first; live records reach both
    folder.write("largest", LARGEST)?;
    planned(
        &case,
        &folder,
        &[],
        &["same     countries", "new      largest", "same     shares"],
    )?;
    let before = countries()?;
    let mut run = case.command("run").args(folder.flags()).start()?;
    eventually("the new table", SOON, || {
        ensure!(run.is_running()?, "it ended: {}", run.tail());
        Ok(rows(&case, tables)?.len() == 3)
    })?;
    ensure!(countries()? == before, "rows were written that are as they were");
    ensure!(rows(&case, "SELECT * FROM largest")? == ["Peru|6|1"]);
    case.send(
        "geo",
        0,
        &[geo(20, "Chad"), geo(21, "Chad"), geo(22, "Chad"), geo(23, "Chad")],
    )?;
    eventually("live records in a result of a result", SOON, || {
        Ok(rows(&case, "SELECT * FROM largest ORDER BY 1")? == ["Chad|6|1", "Peru|6|1"])
    })?;
    stop(run)?;
    verify_tables(&case, &folder)?;

    // another meaning, the same columns
    folder.write("countries", &COUNTRIES.replace("IS NOT NULL", "<> 'Peru'"))?;
    let lines = ["changed  countries", "changed  largest", "same     shares"];
    planned(&case, &folder, &[], &lines)?;
    case.update("files", &folder.flags())?;
    ensure!(rows(&case, "SELECT * FROM countries ORDER BY 1")? == ["Chad|6", "Niue|4"]);
    ensure!(rows(&case, "SELECT * FROM largest")? == ["Chad|6|1"]);
    verify_tables(&case, &folder)?;

    // names of a schema's own tables, views and indexes
    let taken = Folder::new(
        &case,
        "taken",
        &[("frontier_pkey", COUNTRIES), ("dead_letters", COUNTRIES)],
    )?;
    refused(
        &case.command("run").args(taken.flags()),
        &["frontier_pkey.sql:1:1: ", "dead_letters.sql:1:1: ", "reserved name"],
    )?;

    // other columns, a file that is gone: not unasked
    folder.write(
        "shares",
        &SHARES.replace("count(*) AS posts", "sum(pin.follower_count) AS followers"),
    )?;
    folder.remove("largest")?;
    let shown = shares()?;
    let drop = ["--drop", "shares", "--drop", "largest"];
    let lines = [
        "same     countries",
        "refused  shares: column followers",
        "refused  largest: defined",
    ];
    planned(&case, &folder, &[], &lines)?;
    let lines = [
        "same     countries",
        "new      shares: its table is dropped",
        "dropped  largest",
    ];
    planned(&case, &folder, &drop, &lines)?;
    refused(
        &case.command("run").args(folder.flags()),
        &["shares", "largest", "--drop"],
    )?;
    ensure!(shares()? == shown);
    case.update("files", &[&folder.flags()[..], &drop].concat())?;
    ensure!(rows(&case, tables)? == ["countries", "shares"]);
    ensure!(
        shares()?
            == [
                "Chad|24000|100.0|12000",
                "Niue|48000|50.0|12000",
                "Peru|72000|66.7|12000"
            ],
        "{:?}",
        shares()?
    );
    ensure!(rows(&case, "SELECT to_regclass('files.largest')")? == [""]);
    verify_tables(&case, &folder)
}

/// Wherever a run dies that makes, drops, reshapes and changes results at once, all of them are as they were or as they
/// will be, and the next run goes on.
#[test]
fn a_run_that_dies_while_results_change_leaves_all_or_none() -> Result<()> {
    let case = Case::new("dies", 1, History::Nowhere)?;
    begin(&case)?;
    let before = Folder::new(
        &case,
        "before",
        &[("countries", COUNTRIES), ("largest", LARGEST), ("shares", SHARES)],
    )?;
    let places = COUNTRIES.replace("countries", "places");
    let changed = COUNTRIES.replace("IS NOT NULL", "<> 'Peru'");
    let reshaped = SHARES.replace("count(*) AS posts", "sum(pin.follower_count) AS followers");
    let after = Folder::new(
        &case,
        "after",
        &[("countries", &changed), ("places", &places), ("shares", &reshaped)],
    )?;
    let drop = ["--drop", "shares", "--drop", "largest"];
    let flags = [&after.flags()[..], &drop].concat();
    let state = |schema: &str| -> Result<Vec<String>> {
        let tables = rows_in(&case, schema, "SELECT name FROM results ORDER BY 1")?;
        let mut state = Vec::new();
        for table in &tables {
            state.push(format!("{table}:"));
            state.extend(rows_in(&case, schema, &format!("SELECT * FROM {table} ORDER BY 1"))?);
        }
        Ok(state)
    };
    case.update("dies_before", &before.flags())?;
    case.update("dies_after", &after.flags())?;
    let (old, new) = (state("dies_before")?, state("dies_after")?);
    ensure!(old != new);
    for (point, wanted) in [
        ("after_begin", &old),
        ("after_drop", &old),
        ("after_delete", &old),
        ("before_commit", &old),
        ("after_commit", &new),
    ] {
        let schema = format!("dies_{point}");
        case.update(&schema, &before.flags())?;
        let run = case
            .command_in(&schema, "run")
            .args(&flags)
            .env("PINFLOW_FAILPOINT", point);
        let mut run = run.start()?;
        let code = run.wait(SOON)?;
        ensure!(
            code.is_none() && run.tail().contains(point),
            "{point}: {code:?} {}",
            run.tail()
        );
        ensure!(state(&schema)? == *wanted, "{point}: {:?}", state(&schema)?);
        case.update(&schema, &flags)?;
        ensure!(state(&schema)? == new, "{point}, then again: {:?}", state(&schema)?);
        let verify = case.command_in(&schema, "verify").args(after.flags());
        verify.succeed(SOON).with_context(|| point.to_owned())?;
    }
    Ok(())
}

/// Blue and green by hand: another engine with other results in another schema, beside the first one.
#[test]
fn another_schema_has_other_results() -> Result<()> {
    let case = Case::new("blue", 1, History::Nowhere)?;
    begin(&case)?;
    let mut blue = case.command("run").start()?;
    case.reaches(&mut blue, "geo", 0, 12)?;
    let folder = Folder::new(&case, "results", &[("countries", COUNTRIES)])?;
    case.update("green", &folder.flags())?;
    let database = case.database()?;
    ensure!(database.number("SELECT count(*) FROM green.countries")? == 3);
    ensure!(database.number("SELECT count(*) FROM green.results")? == 1);
    ensure!(database.number("SELECT count(*) FROM blue.results")? == 10);
    stop(blue)?;
    case.verify_tables()
}

#[test]
fn what_is_wrong_with_the_files_is_said_at_once_and_nothing_is_written() -> Result<()> {
    let case = Case::new("wrong", 1, History::Nowhere)?;
    let files = [
        ("countries", COUNTRIES),
        ("frontier", COUNTRIES),
        (
            "cast",
            "-- cast: c\nSELECT country, count(*)::integer AS n FROM geo_table\nWHERE country = 'a' GROUP BY country",
        ),
        (
            "text",
            "-- text: c\nSELECT title, count(*) AS n FROM pin_table GROUP BY title",
        ),
    ];
    let folder = Folder::new(&case, "results", &files)?;
    refused(
        &case.command("run").args(folder.flags()),
        &["frontier.sql:1:1: ", "cast.sql:2:", "text.sql:2:", "hint: "],
    )?;
    ensure!(case.database()?.value("SELECT to_regnamespace('wrong')")?.is_none());
    let missing = case.folder().join("none");
    refused(
        &case
            .command("run")
            .args(["--results", missing.to_str().context("UTF-8")?]),
        &["--results: cannot read the folder"],
    )
}

#[test]
fn processes_with_other_files_refuse_each_other_by_name() -> Result<()> {
    let case = Case::new("apart", 1, History::Nowhere)?;
    begin(&case)?;
    let one = Folder::new(&case, "one", &[("countries", COUNTRIES), ("shares", SHARES)])?;
    let two = Folder::new(
        &case,
        "two",
        &[("countries", COUNTRIES), ("shares", &SHARES.replace(">= 2", ">= 3"))],
    )?;
    let hosts = case.folder().join("hosts");
    let ports = [servers::free_port()?, servers::free_port()?];
    fs::write(&hosts, ports.map(|port| format!("127.0.0.1:{port}")).join("\n"))?;
    let hosts = hosts.to_str().context("UTF-8")?.to_owned();
    let start = |process: &str, folder: &Folder| {
        let flags = ["-n", "2", "-p", process, "-h", &hosts, "-w", "2"];
        case.command("run").args(folder.flags()).args(flags).start()
    };
    let mut both = [start("0", &one)?, start("1", &two)?];
    for process in &mut both {
        process.expect(2, SOON)?;
        let said = process.tail();
        ensure!(said.contains("have different definitions: shares differ;"), "{said}");
    }
    ensure!(case.database()?.value("SELECT to_regclass('apart.shares')")?.is_none());
    let mut both = [start("0", &one)?, start("1", &one)?];
    case.reaches(&mut both[0], "geo", 0, 12)?;
    both[0].terminate()?;
    both.iter_mut().try_for_each(|process| process.expect(0, SOON))?;
    verify_tables(&case, &one)
}

/// As many as a large team may write: each with a meaning of its own, and several operators of its own.
#[test]
fn a_hundred_results_at_once() -> Result<()> {
    let case = Case::new("hundred", 1, History::Nowhere)?;
    begin(&case)?;
    let folder = Folder::new(&case, "results", &[])?;
    for n in 0..100 {
        let sql = match n % 4 {
            0 => SHARES
                .replace(">= 2", &format!("> {}", n / 50))
                .replace("'a%'", &format!("'%{}%'", n % 7)),
            1 => COUNTRIES.replace("IS NOT NULL", &format!("<> 'C{n}'")),
            2 => format!(
                "-- x: x\nSELECT pin.category, max(pin.follower_count) AS most, count(DISTINCT geo.country) AS countries\n\
                 FROM pin_table AS pin LEFT JOIN geo_table AS geo USING (ind)\n\
                 WHERE pin.category IS NOT NULL AND pin.follower_count <> {n} GROUP BY pin.category"
            ),
            _ => format!(
                "-- x: x\nSELECT country, n, place FROM (SELECT country, n, row_number() OVER (ORDER BY n DESC, country \
                 COLLATE \"C\") AS place FROM (SELECT country, count(*) AS n FROM geo_table WHERE country <> 'C{n}' GROUP \
                 BY country) AS counted) AS ranked WHERE place <= {}",
                1 + n / 40
            ),
        };
        let (_, query) = sql.split_once('\n').context("a first line")?;
        folder.write(&format!("result_{n}"), &format!("-- result_{n}: a result\n{query}"))?;
    }
    let mut run = case.command("run").args(folder.flags()).start()?;
    case.reaches(&mut run, "geo", 0, 12)?;
    case.send("geo", 0, &[geo(3, "Niue"), geo(30, "Fiji")])?;
    case.send("pin", 0, &[pin(30, "art"), pin(4, "zoo")])?;
    case.reaches(&mut run, "geo", 0, 14)?;
    case.reaches(&mut run, "pin", 0, 14)?;
    stop(run)?;
    ensure!(rows(&case, "SELECT count(*) FROM results")? == ["100"]);
    verify_tables(&case, &folder)
}

/// Characters that look alike are told apart by their bytes, in keys, in ties and in `ORDER BY`; PostgreSQL's collation here
/// orders as people do.
#[test]
fn values_that_look_alike_are_different_groups_in_every_phase() -> Result<()> {
    let case = Case::new("alike", 1, History::Folder)?;
    // composed and decomposed, a ligature, two forms of one emoji, a joined family, and no-break space
    let categories = [
        "caf\u{e9}",
        "cafe\u{301}",
        "\u{fb01}n",
        "fin",
        "\u{2764}",
        "\u{2764}\u{fe0f}",
    ];
    let countries = [
        "\u{c5}land",
        "A\u{30a}land",
        "\u{1f468}\u{200d}\u{1f469}",
        "a\u{a0}b",
        "a b",
        "\u{212b}land",
    ];
    let records = |begin: usize, end: usize| -> (Vec<String>, Vec<String>) {
        let of = |n: usize| (geo(n as i64, countries[n % 6]), pin(n as i64, categories[n / 6 % 6]));
        (begin..end).map(of).unzip()
    };
    let (geos, pins) = records(0, 36);
    case.archive("geo", 0, &geos)?;
    case.archive("pin", 0, &pins)?;
    case.send("geo", 0, &geos)?;
    case.send("pin", 0, &pins)?;
    let folder = Folder::new(&case, "files", &[("countries", COUNTRIES), ("usual", USUAL)])?;
    let mut run = case.command("run").args(folder.flags()).start()?;
    case.reaches(&mut run, "geo", 0, 36)?;
    let (geos, pins) = records(36, 72);
    case.send("geo", 0, &geos)?;
    case.send("pin", 0, &pins)?;
    case.catches_up(&mut run, "alike")?;
    stop(run)?;
    let found = rows(
        &case,
        "SELECT country, places FROM countries ORDER BY country COLLATE \"C\"",
    )?;
    let mut expected: Vec<String> = countries.iter().map(|country| format!("{country}|12")).collect();
    expected.sort();
    ensure!(found == expected, "{found:?}");
    // each country has each category twice: the tie is the first by bytes
    let least = categories.iter().min().context("categories")?;
    let found = rows(&case, "SELECT DISTINCT category FROM usual")?;
    ensure!(found == [*least], "{found:?}");
    verify_tables(&case, &folder)
}
