//! The built-in results by a plain scan of the latest cleaned rows: written from their description, not from their SQL.
//!
//! It shares with the engine what a cleaned row is, and nothing else: no plan, no operator, no year or rank computed by
//! the same code.

use dataflows::{Definition, Kind, Options, Results, State};
use jiff::SignedDuration;
use jiff::civil::{self, date};
use operators::{Ind, Row, Value};
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

/// The built-in results with the default options.
pub static RESULTS: LazyLock<Results> = LazyLock::new(|| Results::built_in(&Options::default()));

/// Their tables, which are the same whatever the options are.
pub fn definitions() -> &'static [Definition] {
    RESULTS.definitions()
}

/// Places of columns in the cleaned tables.
mod column {
    pub const FOLLOWERS: usize = 4;
    pub const POSTER: usize = 5;
    pub const CATEGORY: usize = 10;
    pub const COUNTRY: usize = 1;
    pub const TIMESTAMP: usize = 3;
    pub const AGE: usize = 2;
    pub const JOINED: usize = 3;
}

/// The rows of every built-in result, in the order of [`definitions`], each sorted; `top` is that of
/// [`dataflows::Options`].
pub fn results(state: &State, top: usize) -> Vec<Vec<Row>> {
    let of_kind = |kind| -> HashMap<Ind, &Row> { state.cleaned(kind).map(|(ind, _, row)| (ind, row)).collect() };
    let (geos, users) = (of_kind(Kind::Geo), of_kind(Kind::User));
    let mut by_country: Counts = HashMap::new();
    let mut by_year: Counts = HashMap::new();
    let mut by_country_and_year: Counts = HashMap::new();
    let mut by_age_group: Counts = HashMap::new();
    let mut posters: Counts = HashMap::new();
    let mut of_age_group: Values = HashMap::new();
    let mut of_join_year: Values = HashMap::new();
    let mut of_both: Values = HashMap::new();

    for (ind, _, pin) in state.cleaned(Kind::Pin) {
        let category = some(&pin[column::CATEGORY]);
        let poster = some(&pin[column::POSTER]);
        let followers = int(&pin[column::FOLLOWERS]);
        if let Some(geo) = geos.get(&ind) {
            let country = some(&geo[column::COUNTRY]);
            let year = year(&geo[column::TIMESTAMP]);
            add(&mut by_country, country.map(|country| vec![country.clone()]), category);
            add(&mut by_year, year.map(|year| vec![year.into()]), category);
            let both = country
                .zip(year)
                .map(|(country, year)| vec![country.clone(), year.into()]);
            add(&mut by_country_and_year, both, category);
            if let (Some(country), Some(poster), Some(followers)) = (country, poster, followers) {
                let greatest = posters
                    .entry((vec![country.clone()], poster.clone()))
                    .or_insert(followers);
                *greatest = followers.max(*greatest);
            }
        }
        if let Some(user) = users.get(&ind) {
            let age_group = int(&user[column::AGE]).and_then(age_group);
            let year = year(&user[column::JOINED]);
            add(&mut by_age_group, age_group.map(|group| vec![group.into()]), category);
            push(&mut of_age_group, age_group.map(|group| vec![group.into()]), followers);
            push(&mut of_join_year, year.map(|year| vec![year.into()]), followers);
            let both = year.zip(age_group).map(|(year, group)| vec![year.into(), group.into()]);
            push(&mut of_both, both, followers);
        }
    }

    let most = posters.values().max().copied();
    let leaders = posters.iter().filter(|(_, followers)| Some(**followers) == most);
    let country_of_top_poster: Vec<Row> = leaders
        .map(|((country, name), count)| [&country[..], &[name.clone(), (*count).into()]].concat())
        .collect();
    let mut results = HashMap::from([
        ("popular_category_by_country", ranked(by_country, top)),
        ("popular_category_by_year", ranked(by_year, top)),
        ("popular_category_by_country_and_year", ranked(by_country_and_year, top)),
        ("popular_category_by_age_group", ranked(by_age_group, top)),
        ("top_poster_by_country", ranked(posters, top)),
        ("country_of_top_poster", country_of_top_poster),
        ("median_followers_by_age_group", medians(of_age_group)),
        ("users_joined_by_year", users_joined(state)),
        ("median_followers_by_join_year", medians(of_join_year)),
        ("median_followers_by_join_year_and_age_group", medians(of_both)),
    ]);
    results.values_mut().for_each(|rows| rows.sort());
    let of = |result: &Definition| {
        results
            .remove(result.table.name)
            .expect("every built-in result is here")
    };
    definitions().iter().map(of).collect()
}

fn users_joined(state: &State) -> Vec<Row> {
    let mut years: HashMap<i64, (HashSet<&[Value]>, i64)> = HashMap::new();
    for (_, _, user) in state.cleaned(Kind::User) {
        if let Some(year) = year(&user[column::JOINED]) {
            let (persons, records) = years.entry(year).or_default();
            persons.insert(&user[1..]);
            *records += 1;
        }
    }
    let row = |(year, (persons, records)): (i64, (HashSet<&[Value]>, i64))| {
        vec![year.into(), (persons.len() as i64).into(), records.into()]
    };
    years.into_iter().map(row).collect()
}

/// A number for each (group, name).
type Counts = HashMap<(Row, Value), i64>;
/// Numbers of each group.
type Values = HashMap<Row, Vec<i64>>;

fn add(counts: &mut Counts, group: Option<Row>, name: Option<&Value>) {
    if let (Some(group), Some(name)) = (group, name) {
        *counts.entry((group, name.clone())).or_insert(0) += 1;
    }
}

fn push(values: &mut Values, group: Option<Row>, value: Option<i64>) {
    if let (Some(group), Some(value)) = (group, value) {
        values.entry(group).or_default().push(value);
    }
}

/// group…, name, value, rank; in each group the first `top` by (value descending, name) and all that lead.
fn ranked(counts: Counts, top: usize) -> Vec<Row> {
    let mut counts: Vec<((Row, Value), i64)> = counts.into_iter().collect();
    counts.sort_by(|((group_a, name_a), a), ((group_b, name_b), b)| {
        group_a.cmp(group_b).then(b.cmp(a)).then(name_a.cmp(name_b))
    });
    let mut rows = Vec::new();
    for group in counts.chunk_by(|((a, _), _), ((b, _), _)| a == b) {
        let mut rank = 0;
        for (place, ((columns, name), value)) in group.iter().enumerate() {
            if place == 0 || *value < group[place - 1].1 {
                rank = place + 1;
            }
            if top == 0 || place < top || rank == 1 {
                rows.push([&columns[..], &[name.clone(), (*value).into(), (rank as i64).into()]].concat());
            }
        }
    }
    rows
}

/// group…, median, lower median, number of values.
fn medians(values: Values) -> Vec<Row> {
    let row = |(group, mut values): (Row, Vec<i64>)| {
        values.sort_unstable();
        let (lower, upper) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        let mean = lower as f64 + 0.5 * (upper as f64 - lower as f64);
        [&group[..], &[mean.into(), lower.into(), (values.len() as i64).into()]].concat()
    };
    values.into_iter().map(row).collect()
}

fn some(value: &Value) -> Option<&Value> {
    (!value.is_null()).then_some(value)
}

fn int(value: &Value) -> Option<i64> {
    match value {
        Value::Int(int) => Some(*int),
        _ => None,
    }
}

fn year(time: &Value) -> Option<i64> {
    let since_1970 = SignedDuration::from_micros(int(time)?);
    let time = date(1970, 1, 1)
        .to_datetime(civil::Time::midnight())
        .checked_add(since_1970);
    Some(time.expect("cleaned times are within jiff's years").year().into())
}

fn age_group(age: i64) -> Option<&'static str> {
    let groups = [
        (18..25, "18-24"),
        (25..36, "25-35"),
        (36..51, "36-50"),
        (51..i64::MAX, "50+"),
    ];
    groups
        .into_iter()
        .find(|(ages, _)| ages.contains(&age))
        .map(|(_, label)| label)
}
