//! Three pages are generated from the program, so that they cannot become outdated: every key, every result with its
//! SQL, and every metric. A further page contains output of the program, and the table of faults and phases is drawn from
//! the page on faults. `UPDATE_DOCS=1 cargo test -p pinflow --test docs` writes them. Two more pages name functions of the
//! source and of the tests, which must exist.

mod program;

use pinflow::config::keys::KEYS;
use pinflow::metrics::documented;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

fn path(page: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(page)
}

fn check(page: &str, text: &str) {
    let path = path(page);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == text,
        "docs/{page} is outdated: UPDATE_DOCS=1 cargo test -p pinflow --test docs"
    );
}

#[test]
fn every_key_is_documented() {
    let mut page = String::from(
        "# Configuration\n\n\
         Every setting has a key in the configuration file (`--config FILE`, TOML) and an environment variable; most have a\n\
         flag: `lake.url` is `url` in `[lake]`, `PINFLOW__LAKE__URL`, and `--lake`. A variable that ends in `_FILE` names a\n\
         file that contains the value, for example `PINFLOW__POSTGRES__PASSWORD_FILE`; in the configuration file,\n\
         `{ file = PATH }` does the same for passwords, connection strings and Kafka properties\n\
         ([secrets](security.md#secrets)). A flag overrides a variable, a variable the file, and the file the default.\n\
         Unknown keys and invalid values are usage errors with exit code 2; the message names the key and the line.\n\
         `pinflow config check` checks the configuration, `pinflow config print` prints the effective values with secrets\n\
         masked.\n\n\
         Changes of results are announced by `NOTIFY` on the channel `SCHEMA_commits` with\n\
         `{\"commit\":…,\"epoch\":…,\"tables\":[…]}`, in the transaction that makes them. While the server's queue of\n\
         notifications is full, commits are made without them.\n\n\
         | key | flag | default | meaning |\n|---|---|---|---|\n",
    );
    for key in KEYS {
        let flag = match (key.flag, key.short) {
            ("", _) => String::new(),
            (flag, Some(short)) => format!("`--{flag} {}`, `-{short}`", key.value).replace(" `", "`"),
            (flag, None) => format!("`--{flag} {}`", key.value).replace(" `", "`"),
        };
        let flag = flag.replace('|', "\\|").replace(",`-", ", `-");
        let default = key.default.map_or(String::new(), |default| format!("`{default}`"));
        let help = key.help.replace('|', "\\|");
        writeln!(page, "| `{}` | {flag} | {default} | {help} |", key.path).unwrap();
    }
    check("configuration.md", &page);
}

#[test]
fn every_result_is_documented() {
    let mut page = String::from(
        "# Results\n\n\
         The ten built-in result tables. Each is defined by its SQL over the cleaned tables `pin_table`, `geo_table` and\n\
         `user_table`; `pinflow verify` runs this SQL. `{top}` is `--top` (default 10, 0 keeps all rows). Ranked tables\n\
         contain, for each group, the first `{top}` rows by value descending and name ascending by bytes, and all rows with\n\
         rank 1; `rank` is SQL `RANK()`, so `WHERE rank = 1` selects the most popular, including ties. Medians are exact:\n\
         `median_follower_count` is `percentile_cont(0.5)`, `lower_median_follower_count` is `percentile_disc(0.5)`, and\n\
         `post_count` is the number of values. Years are UTC calendar years; age groups are `18-24`, `25-35`, `36-50`\n\
         and `50+` (over 50).\n",
    );
    let results = dataflows::Results::built_in(&dataflows::Options::default());
    // in the order of the list of files, which groups related results
    for file in dataflows::sql::built_in() {
        let of_file = |result: &&dataflows::Definition| result.table.name == file.name();
        let table = results
            .definitions()
            .iter()
            .find(of_file)
            .expect("each file is a table")
            .table;
        write!(
            page,
            "\n## {}\n\n{}. Primary key: the first {}.\n\n",
            table.name,
            capital(table.comment),
            columns(table.key)
        )
        .unwrap();
        page.push_str("| column | type | meaning |\n|---|---|---|\n");
        for column in table.columns {
            writeln!(
                page,
                "| `{}` | {} | {} |",
                column.name,
                column.ty.name(),
                column.comment
            )
            .unwrap();
        }
        write!(page, "\n```sql\n{}\n```\n", file.text.trim()).unwrap();
    }
    check("results.md", &page);
}

#[test]
fn every_metric_is_documented() {
    let mut page = String::from(
        "# Metrics\n\n\
         `run`, `archive`, `gateway` and `bridge` serve these at `/metrics` in the OpenMetrics format, where they listen (`--listen`).\n\
         Names follow Prometheus' conventions: base units, the unit last, `_total` for counters. A histogram has the series\n\
         `_bucket`, `_sum` and `_count`. Counters begin at 0 when the process does. Of several processes of a run, process 0\n\
         knows about commits and partitions, and each about its own workers.\n\n\
         [deploy/prometheus/rules.yml](../deploy/prometheus/rules.yml) contains alerts,\n\
         [deploy/grafana/pinflow.json](../deploy/grafana/pinflow.json) a dashboard.\n",
    );
    for (who, metrics) in documented() {
        let title = match who {
            "all" => "Of every process",
            who => &format!("`pinflow {who}`"),
        };
        write!(
            page,
            "\n## {title}\n\n| metric | type | unit | labels | meaning |\n|---|---|---|---|---|\n"
        )
        .unwrap();
        for metric in metrics {
            let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let (name, kind, unit, help) = (metric.name, metric.kind, metric.unit, metric.help.replace('|', "\\|"));
            writeln!(page, "| `{name}` | {kind} | {unit} | {} | {help} |", labels.join(", ")).unwrap();
        }
    }
    check("metrics.md", &page);
}

/// The words of a text that name a metric of ours or of the process.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with("pinflow_") || word.starts_with("process_"))
        .collect()
}

/// Each query of the dashboard and of the alerts, and each page that names a metric, names one that there is.
#[test]
fn metrics_that_deployments_and_pages_name_exist() {
    let metrics = documented().into_iter().flat_map(|(_, metrics)| metrics);
    let series: BTreeSet<String> = metrics
        .flat_map(|metric| metric.series().into_iter().chain([metric.name]))
        .collect();
    let read =
        |file: &str| std::fs::read_to_string(path("..").join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    let dashboard: serde_json::Value = serde_json::from_str(&read("deploy/grafana/pinflow.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let queries: Vec<&str> = panels
        .flat_map(|panel| panel["targets"].as_array().into_iter().flatten())
        .map(|target| target["expr"].as_str().unwrap())
        .collect();
    assert!(queries.len() > 30, "{} queries", queries.len());
    for query in queries {
        let named = metrics_in(query);
        assert!(!named.is_empty(), "{query} names no metric");
        for name in named {
            assert!(
                series.contains(name),
                "the dashboard asks for {name}, which no process has: {query}"
            );
        }
    }
    let rules = read("deploy/prometheus/rules.yml");
    assert!(metrics_in(&rules).len() > 8, "{:?}", metrics_in(&rules));
    for name in metrics_in(&rules) {
        assert!(series.contains(name), "an alert asks for {name}, which no process has");
    }
    for page in ["operating.md", "gateway.md", "archive.md", "security.md", "state.md"] {
        let text = std::fs::read_to_string(path(page)).unwrap();
        // a name in backquotes, and not that of a role or a table
        let named = text
            .split('`')
            .skip(1)
            .step_by(2)
            .filter_map(|code| code.split('{').next());
        for name in named.filter(|name| name.starts_with("pinflow_")) {
            let of_a_metric = [
                "_total",
                "_seconds",
                "_bytes",
                "_records",
                "_offset",
                "_offsets",
                "_connections",
                "_count",
            ];
            if of_a_metric.iter().any(|end| name.ends_with(end)) {
                assert!(series.contains(name), "docs/{page} names {name}, which no process has");
            }
        }
    }
}

#[test]
fn an_explanation_is_shown_as_it_is_printed() {
    let command = "$ pinflow results explain top_poster_by_country\n";
    let page = std::fs::read_to_string(path("adding-a-result.md")).unwrap();
    let (before, rest) = page.split_once(command).unwrap();
    let (_, after) = rest.split_once("```").unwrap();
    let printed = program::pinflow(&["results", "explain", "top_poster_by_country"]).stdout;
    let printed = String::from_utf8(printed).unwrap();
    check("adding-a-result.md", &format!("{before}{command}{printed}```{after}"));
}

/// The page on faults names tests, and the page on architecture names the functions on the way of a record and a request:
/// rows of tables with a file and a function in neighbouring cells. Each file must exist and define that function.
#[test]
fn functions_that_the_pages_name_exist() {
    for (page, least) in [("faults.md", 90), ("architecture.md", 20)] {
        let text = std::fs::read_to_string(path(page)).unwrap();
        let named: Vec<(&str, &str)> = text.lines().filter_map(named_function).collect();
        assert!(named.len() >= least, "{page} names {} functions", named.len());
        for (file, function) in named {
            let source = std::fs::read_to_string(path("..").join(file));
            let source = source.unwrap_or_else(|error| panic!("docs/{page} names {file}: {error}"));
            let name = function.rsplit("::").next().unwrap_or(function);
            let defined = ["(", "<"]
                .iter()
                .any(|next| source.contains(&format!("fn {name}{next}")));
            assert!(defined, "docs/{page} names {function}, which {file} does not define");
        }
    }
}

/// The file and the function of a row of a table, if it names both in neighbouring cells.
fn named_function(line: &str) -> Option<(&str, &str)> {
    let cells: Vec<&str> = line.strip_prefix('|')?.split('|').map(str::trim).collect();
    cells.windows(2).find_map(|pair| {
        let file = pair[0].strip_prefix('`')?.strip_suffix('`')?;
        let function = pair[1].strip_prefix('`')?.strip_suffix('`')?;
        file.ends_with(".rs").then_some((file, function))
    })
}

/// What a run can be doing when a fault happens, in the order of a run's life.
const PHASES: [&str; 7] = [
    "between two runs",
    "starting",
    "hydrating",
    "hand-over",
    "idle",
    "steady",
    "shutting down",
];
/// What *all* means in the page on faults.
const ALL: [&str; 5] = ["hydrating", "hand-over", "idle", "steady", "shutting down"];

#[test]
fn the_table_of_faults_and_phases_is_that_of_the_page_on_faults() {
    let faults = std::fs::read_to_string(path("faults.md")).unwrap();
    let mut tests = Vec::new();
    let mut table = format!(
        "| fault | {} |\n|---|{}\n",
        PHASES.join(" | "),
        "---|".repeat(PHASES.len())
    );
    let mut rows: Vec<(String, [String; PHASES.len()])> = Vec::new();
    let draw = |rows: &mut Vec<(String, [String; PHASES.len()])>, table: &mut String| {
        for (fault, cells) in rows.drain(..) {
            writeln!(table, "| {fault} | {} |", cells.join(" | ")).unwrap();
        }
    };
    for line in faults.lines() {
        if let Some(section) = line.strip_prefix("## ") {
            draw(&mut rows, &mut table);
            writeln!(table, "| **{section}** |{}", " |".repeat(PHASES.len())).unwrap();
        }
        let Some((file, function)) = named_function(line) else {
            continue;
        };
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let (fault, phases) = (cells[1], cells[2]);
        let test = format!("`{function}` in `{file}`");
        let number = tests.iter().position(|known| *known == test).unwrap_or_else(|| {
            tests.push(test);
            tests.len() - 1
        });
        let row = rows.iter().position(|(known, _)| known == fault).unwrap_or_else(|| {
            rows.push((fault.to_owned(), Default::default()));
            rows.len() - 1
        });
        for (phase, mark) in phases_of(phases) {
            let place = PHASES.iter().position(|known| *known == phase);
            let place = place.unwrap_or_else(|| panic!("docs/faults.md names a phase that no run has: {phase}"));
            let cell = &mut rows[row].1[place];
            let comma = if cell.is_empty() { "" } else { ", " };
            write!(cell, "{comma}{}{mark}", number + 1).unwrap();
        }
    }
    draw(&mut rows, &mut table);
    let list = tests.iter().enumerate();
    let list: String = list.map(|(at, test)| format!("{}. {test}\n", at + 1)).collect();
    let page = std::fs::read_to_string(path("testing.md")).unwrap();
    let heading = "## Faults and phases\n";
    let (before, _) = page.split_once(heading).unwrap();
    check(
        "testing.md",
        &format!(
            "{before}{heading}\n\
             In which phase of a run a test injects each fault of [faults.md](faults.md), by the number of the test below. `L`\n\
             is in the long version alone, `m` is a model of the log.\n\n{table}\n{list}"
        ),
    );
}

/// The phases that a cell of the page on faults names, with a mark for those that the long version alone covers and those
/// that a model covers.
fn phases_of(cell: &str) -> Vec<(&str, &'static str)> {
    let model = cell.strip_suffix(", in a model");
    let mut phases = Vec::new();
    for named in model.unwrap_or(cell).split([',', ';']) {
        let named = named.trim();
        let (phase, remark) = named.split_once(" (").unwrap_or((named, ""));
        let mark = match (remark, model) {
            (_, Some(_)) => "m",
            ("long)", None) => "L",
            _ => "",
        };
        match phase.strip_prefix("and ").unwrap_or(phase) {
            "all" => phases.extend(ALL.map(|phase| (phase, mark))),
            phase => phases.push((phase, mark)),
        }
    }
    // what a shorter version covers needs no longer one
    let short: Vec<&str> = phases
        .iter()
        .filter(|(_, mark)| mark.is_empty())
        .map(|(phase, _)| *phase)
        .collect();
    phases.retain(|(phase, mark)| *mark != "L" || !short.contains(phase));
    phases
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

fn columns(count: usize) -> String {
    match count {
        1 => "column".to_owned(),
        count => format!("{count} columns"),
    }
}
