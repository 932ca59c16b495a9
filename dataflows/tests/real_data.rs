//! Real records give the recorded answers of other people's pipelines, cell for cell, through the engine and
//! through the oracle.

mod common;

use common::{Tables, assert_same, at, data, number, plain, run};
use dataflows::{Decoder, Event, Kind, Options, Raw, Results, State};
use operators::{Ind, Row, Value};
use serde_json::{Map, Value as Json};
use std::collections::{BTreeMap, BTreeSet, HashMap};

const ALL: Options = Options { top: 0 };

/// Decodes records in their order.
#[derive(Default)]
struct Input {
    decoder: Decoder,
    state: State,
    events: Vec<Event>,
}

impl Input {
    fn send(&mut self, kind: Kind, value: &Json) {
        let text = value.to_string();
        let raw = Raw {
            kind,
            position: at(self.events.len()),
            key: None,
            value: Some(text.as_bytes()),
        };
        self.events.push(
            self.decoder
                .decode(raw)
                .unwrap_or_else(|reason| panic!("{reason}: {text}")),
        );
        self.state.apply(self.decoder.decode_with_row(raw).unwrap());
    }

    /// The tables, which engine and oracle agree on after each of a few epochs.
    fn tables(mut self, options: Options) -> (Tables, State) {
        assert_eq!(self.decoder.take_unreadable(), [], "real records are readable");
        let expected = self.state.results(&Results::built_in(&options));
        assert_same(&plain::results(&self.state, options.top), &expected, "the oracle");
        let half = self.events.len() / 2;
        let late = self.events.split_off(half);
        let tables = run(2, vec![self.events, late], options).pop().unwrap();
        assert_same(&tables, &expected, "real data");
        (tables, self.state)
    }
}

/// The source tables by index, as producers send their rows.
fn source(name: &str, numbers: &[&str]) -> Option<HashMap<i64, Json>> {
    let text = data(name)?;
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let names: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let row = |record: csv::StringRecord| {
        let fields = names.iter().zip(&record).skip(1).map(|(name, text)| {
            let number = numbers.contains(&name.as_str());
            (
                name.clone(),
                if number {
                    serde_json::from_str(text).unwrap()
                } else {
                    Json::from(text)
                },
            )
        });
        let fields: Map<String, Json> = fields.collect();
        (fields["ind"].as_i64().unwrap(), Json::Object(fields))
    };
    Some(reader.records().map(|record| row(record.unwrap())).collect())
}

fn geo_and_user() -> Option<[HashMap<i64, Json>; 2]> {
    let geo = source("geolocation_data.csv.gz", &["ind", "latitude", "longitude"])?;
    Some([geo, source("user_data.csv.gz", &["ind", "age"])?])
}

// ---- recorded notebooks ------------------------------------------------------------------------------------------

struct Notebook {
    tables: Vec<Json>,
}

impl Notebook {
    fn open(name: &str) -> Option<Notebook> {
        let mut notebook: Map<String, Json> = serde_json::from_str(&data(name)?).unwrap();
        let Json::Array(tables) = notebook.remove("tables").unwrap() else {
            panic!("no tables")
        };
        Some(Notebook { tables })
    }

    /// The rows of the last table of this role, as objects.
    fn rows(&self, role: &str) -> Vec<Map<String, Json>> {
        let table = self
            .tables
            .iter()
            .rfind(|table| table["role"] == role)
            .unwrap_or_else(|| panic!("no {role}"));
        let columns: Vec<&str> = table["columns"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c.as_str().unwrap())
            .collect();
        let row = |row: &Json| {
            let values = row.as_array().unwrap().iter();
            columns
                .iter()
                .map(|column| column.to_string())
                .zip(values.cloned())
                .collect()
        };
        table["rows"].as_array().unwrap().iter().map(row).collect()
    }

    /// The last recorded answer to a task, its columns in the given order, as sorted lines.
    fn answer(&self, role: &str, columns: &[&str]) -> Vec<String> {
        let rows = self.rows(role);
        sorted(rows.iter().map(|row| {
            let cell = |column: &&str| match &row[*column] {
                Json::String(text) if text == "+50" => "50+".to_owned(),
                Json::String(text) => text.clone(),
                number => number.as_f64().unwrap().to_string(),
            };
            columns.iter().map(cell).collect::<Vec<_>>().join("|")
        }))
    }
}

fn sorted(lines: impl Iterator<Item = String>) -> Vec<String> {
    let lines: BTreeSet<String> = lines.collect();
    lines.into_iter().collect()
}

fn cell(value: &Value) -> String {
    match value {
        Value::Int(int) => int.to_string(),
        Value::Float(float) => float.to_string(),
        other => other.as_str().unwrap().to_owned(),
    }
}

/// These columns of a table's rows, as sorted lines; of a ranked table only the leaders, if asked.
fn computed(tables: &Tables, name: &str, columns: &[&str], leaders: bool) -> Vec<String> {
    let number = number(name);
    let names = plain::definitions()[number].table.columns;
    let place = |column: &str| names.iter().position(|c| c.name == column).unwrap();
    let rows = tables[number]
        .iter()
        .filter(|row| !leaders || row[place("rank")] == Value::Int(1));
    sorted(rows.map(|row| {
        columns
            .iter()
            .map(|column| cell(&row[place(column)]))
            .collect::<Vec<_>>()
            .join("|")
    }))
}

/// A cleaned row of a notebook next to ours.
fn json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Int(int) => Json::from(*int),
        Value::Float(float) => Json::from(*float),
        Value::Floats(floats) => Json::from(floats.to_vec()),
        other => Json::from(other.as_str().unwrap()),
    }
}

/// Compares our cleaned rows with a notebook's, field by field; times by their text, names without spaces (one
/// notebook joined them without).
fn compare_cleaned(state: &State, notebook: &Notebook, kind: Kind, role: &str) {
    let rows: HashMap<Ind, &Row> = state.cleaned(kind).map(|(ind, _, row)| (ind, row)).collect();
    let recorded = notebook.rows(role);
    assert_eq!(recorded.len(), rows.len(), "{role}");
    for record in recorded {
        let ours = rows[&Ind(record["ind"].as_i64().unwrap())];
        for (column, ours) in dataflows::CLEANED[kind as usize].columns.iter().zip(ours) {
            let theirs = &record[column.name];
            let same = match column.name {
                "timestamp" | "date_joined" => {
                    Value::from(dataflows::cleaning::micros(theirs.as_str().unwrap())) == *ours
                }
                "user_name" => ours.as_str().unwrap().replace(' ', "") == theirs.as_str().unwrap().replace(' ', ""),
                // these notebooks knew one sentinel of the two
                "description" if theirs == "No description available" => ours.is_null(),
                _ => json(ours) == *theirs,
            };
            assert!(same, "{role} {}: {ours:?} is not {theirs}", column.name);
        }
    }
}

fn notebook_input(notebook: &Notebook, geo: &[i64], user: &[i64]) -> Option<Input> {
    let [geos, users] = geo_and_user()?;
    let mut input = Input::default();
    notebook
        .rows("raw_pin")
        .into_iter()
        .for_each(|row| input.send(Kind::Pin, &Json::Object(row)));
    geo.iter().for_each(|ind| input.send(Kind::Geo, &geos[ind]));
    user.iter().for_each(|ind| input.send(Kind::User, &users[ind]));
    Some(input)
}

fn inds(notebook: &Notebook, role: &str) -> Vec<i64> {
    notebook
        .rows(role)
        .iter()
        .map(|row| row["ind"].as_i64().unwrap())
        .collect()
}

#[test]
fn wilson_redman_all_nine_tasks() {
    let Some(notebook) = Notebook::open("golden_WilsonRedman.json.gz") else {
        return;
    };
    let Some(input) = notebook_input(&notebook, &inds(&notebook, "clean_geo"), &inds(&notebook, "clean_user")) else {
        return;
    };
    let (tables, state) = input.tables(Options::default());
    for (kind, role) in Kind::ALL.into_iter().zip(["clean_pin", "clean_geo", "clean_user"]) {
        compare_cleaned(&state, &notebook, kind, role);
    }
    let check = |role, theirs: &[&str], table, ours: &[&str], leaders| {
        assert_eq!(
            computed(&tables, table, ours, leaders),
            notebook.answer(role, theirs),
            "{role}"
        );
    };
    let category = ["country", "category", "category_count"];
    check("T4", &category, "popular_category_by_country", &category, true);
    let of_year = ["post_year", "category", "category_count"];
    check(
        "T5",
        &["year", "category", "category_count"],
        "popular_category_by_year",
        &of_year,
        true,
    );
    let poster = ["country", "poster_name", "follower_count"];
    check("T6a", &poster, "top_poster_by_country", &poster, true);
    let country = ["country", "follower_count"];
    check("T6b", &country, "country_of_top_poster", &country, false);
    let age = ["age_group", "category", "category_count"];
    check("T7", &age, "popular_category_by_age_group", &age, true);
    let median = ["age_group", "median_follower_count"];
    check("T8", &median, "median_followers_by_age_group", &median, false);
    check(
        "T9",
        &["join_year", "number_users_joined"],
        "users_joined_by_year",
        &["join_year", "user_records"],
        false,
    );
    let median = ["join_year", "median_follower_count"];
    check("T10", &median, "median_followers_by_join_year", &median, false);
    let median = ["join_year", "age_group", "median_follower_count"];
    check(
        "T11",
        &median,
        "median_followers_by_join_year_and_age_group",
        &median,
        false,
    );
}

#[test]
fn adam_breeze() {
    let Some(notebook) = Notebook::open("golden_AdamBreeze1.json.gz") else {
        return;
    };
    let mut input = Input::default();
    for (kind, role) in Kind::ALL.into_iter().zip(["raw_pin", "raw_geo", "raw_user"]) {
        notebook
            .rows(role)
            .into_iter()
            .for_each(|row| input.send(kind, &Json::Object(row)));
    }
    let (tables, state) = input.tables(ALL);
    for (kind, role) in Kind::ALL.into_iter().zip(["clean_pin", "clean_geo", "clean_user"]) {
        compare_cleaned(&state, &notebook, kind, role);
    }
    let check = |role, theirs: &[&str], table, ours: &[&str], leaders| {
        assert_eq!(
            computed(&tables, table, ours, leaders),
            notebook.answer(role, theirs),
            "{role}"
        );
    };
    let category = ["country", "category", "category_count"];
    check("T4", &category, "popular_category_by_country", &category, false);
    let of_year = ["post_year", "category", "category_count"];
    // the notebook narrows the years to 2018 to 2022
    let mut by_year = computed(&tables, "popular_category_by_year", &of_year, false);
    by_year.retain(|row| !row.starts_with("2017|"));
    assert_eq!(
        by_year,
        notebook.answer("T5", &["year_joined", "category", "category_count"]),
        "T5"
    );
    let age = ["age_group", "category", "category_count"];
    check("T7", &age, "popular_category_by_age_group", &age, true);
    // this notebook took medians by Spark's percentile_approx, which is the lower one
    let ours = ["age_group", "lower_median_follower_count"];
    check(
        "T8",
        &["age_group", "median_follower_count"],
        "median_followers_by_age_group",
        &ours,
        false,
    );
    check(
        "T9",
        &["year_joined", "number_users_joined"],
        "users_joined_by_year",
        &["join_year", "user_records"],
        false,
    );
    let ours = ["join_year", "lower_median_follower_count"];
    check(
        "T10",
        &["year_joined", "median_follower_count"],
        "median_followers_by_join_year",
        &ours,
        false,
    );
    let ours = ["join_year", "age_group", "lower_median_follower_count"];
    let theirs = ["year_joined", "age_group", "median_follower_count"];
    check(
        "T11",
        &theirs,
        "median_followers_by_join_year_and_age_group",
        &ours,
        false,
    );
}

#[test]
fn prg48_whole_tables() {
    let Some(notebook) = Notebook::open("golden_prg48.json.gz") else {
        return;
    };
    let (Some([geo, user]), Some(categories)) = (geo_and_user(), data("category_by_index.json")) else {
        return;
    };
    let categories: Json = serde_json::from_str(&categories).unwrap();
    let mut input = Input::default();
    for range in categories["ranges"].as_array().unwrap() {
        for index in range["first_index"].as_i64().unwrap()..=range["last_index"].as_i64().unwrap() {
            input.send(
                Kind::Pin,
                &serde_json::json!({"index": index, "category": range["category"]}),
            );
        }
    }
    geo.values().for_each(|row| input.send(Kind::Geo, row));
    user.values().for_each(|row| input.send(Kind::User, row));
    let (tables, state) = input.tables(Options { top: 1 });

    for (role, table, group) in [
        ("T4", "popular_category_by_country", "country"),
        ("T5", "popular_category_by_year", "post_year"),
        ("T7", "popular_category_by_age_group", "age_group"),
    ] {
        let columns = [group, "category", "category_count"];
        assert_eq!(
            computed(&tables, table, &columns, true),
            notebook.answer(role, &columns),
            "{role}"
        );
    }
    let persons: i64 = tables[number("users_joined_by_year")]
        .iter()
        .map(|row| cell(&row[1]).parse::<i64>().unwrap())
        .sum();
    assert_eq!(persons, 5_307, "distinct persons of the full table");

    // T9 there counts each name once, by its earliest join: not a table of ours, but our cleaned rows answer it
    let mut earliest: BTreeMap<String, i64> = BTreeMap::new();
    for (_, _, row) in state.cleaned(Kind::User) {
        let Value::Int(joined) = row[3] else { panic!("{row:?}") };
        let first = earliest.entry(cell(&row[1])).or_insert(joined);
        *first = joined.min(*first);
    }
    let mut years: BTreeMap<i16, u32> = BTreeMap::new();
    earliest
        .values()
        .for_each(|joined| *years.entry(dataflows::cleaning::year(*joined)).or_default() += 1);
    let years = sorted(years.iter().map(|(year, names)| format!("{year}|{names}")));
    assert_eq!(years, notebook.answer("T9", &["post_year", "number_users_joined"]));
}

/// The whole stream that the emulator sends, turn by turn, in many epochs.
#[test]
fn seed_100_stream() {
    let Some(text) = data("seed100_first2525.jsonl.gz") else {
        return;
    };
    let turns: Vec<Map<String, Json>> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(turns.len(), 2_525);
    let (mut decoder, mut state) = (Decoder::default(), State::new());
    let (mut epochs, mut expected) = (Vec::new(), Vec::new());
    let mut seen = BTreeSet::new();
    let mut leaders: Vec<(usize, Vec<String>)> = Vec::new();
    for (number, turns) in turns.chunks(97).enumerate() {
        let mut events = Vec::new();
        for (place, turn) in turns.iter().enumerate() {
            seen.insert(turn["row"].as_i64().unwrap());
            for kind in Kind::ALL {
                let text = turn[kind.name()].to_string();
                let position = at(number * 97 + place);
                let raw = Raw {
                    kind,
                    position,
                    key: None,
                    value: Some(text.as_bytes()),
                };
                events.push(decoder.decode(raw).unwrap());
                state.apply(decoder.decode_with_row(raw).unwrap());
            }
        }
        epochs.push(events);
        expected.push(plain::results(&state, 10));
        leaders.push((seen.len(), Vec::new()));
    }
    for (epoch, (found, expected)) in run(3, epochs, Options::default()).iter().zip(&expected).enumerate() {
        assert_same(found, expected, &format!("epoch {epoch}"));
        let columns = ["country", "poster_name", "follower_count"];
        leaders[epoch].1 = computed(found, "country_of_top_poster", &columns, false);
    }
    assert_eq!(seen.len(), 2_259);
    for (distinct, leaders) in leaders {
        if distinct >= 1_746 {
            assert_eq!(leaders, ["Anguilla|We Heart It|15000000"], "{distinct} distinct rows");
        } else if distinct > 214 {
            assert_eq!(
                leaders,
                ["American Samoa|Mamas Uncut|8000000", "Angola|Tastemade|8000000"],
                "{distinct}"
            );
        }
    }
}

/// Payloads exactly as a stream delivered them, and objects of the older layout.
#[test]
fn odd_payloads_and_older_objects() {
    let mut decoder = Decoder::default();
    let mut decode = |kind: Option<Kind>, value: &[u8]| {
        let raw = Raw {
            kind: kind.unwrap_or(Kind::Pin),
            position: at(1),
            key: None,
            value: Some(value),
        };
        match decoder.decode_with_row(raw) {
            Ok(_) => kind.map_or("without a kind", Kind::name),
            Err(reason) => reason.as_str(),
        }
    };
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    for line in data("kinesis_data_strings.sample.jsonl.gz").unwrap_or_default().lines() {
        let line: Map<String, Json> = serde_json::from_str(line).unwrap();
        let value = line["data"].as_str().unwrap().as_bytes();
        *outcomes
            .entry(format!("stream: {}", decode(dataflows::kind_of_fields(value), value)))
            .or_default() += 1;
    }
    for line in data("fastapi_era_objects.jsonl.gz").unwrap_or_default().lines() {
        let line: Map<String, Json> = serde_json::from_str(line).unwrap();
        for part in dataflows::split_values(line["bytes"].as_str().unwrap().as_bytes()) {
            let outcome = part.map_or_else(
                |reason| reason.as_str(),
                |part| decode(dataflows::kind_of_fields(part), part),
            );
            *outcomes.entry(format!("object: {outcome}")).or_default() += 1;
        }
    }
    if outcomes.is_empty() {
        return;
    }
    let outcomes: Vec<String> = outcomes
        .into_iter()
        .map(|(outcome, count)| format!("{count} × {outcome}"))
        .collect();
    // some objects are a consumer's whole record as an array, ["topic", 0, 2759, …, {pin}, [], null, …]: the pin is
    // found among it
    let expected = [
        "50 × object: json_string",
        "3 × object: not_json",
        "40 × object: not_object",
        "417 × object: pin",
        "252 × stream: geo",
        "40 × stream: no_key",
        "142 × stream: pin",
        "134 × stream: user",
    ];
    assert_eq!(outcomes, expected);
}
