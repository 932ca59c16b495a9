//! The engine against the oracle: random records in random order and random epochs, on one to three workers, give
//! at every closed epoch the tables that a plain recomputation gives.

mod common;

use common::{Tables, assert_same, plain, run, run_dataflow};
use dataflows::{Decoder, Event, Kind, Options, Raw, Results, State};
use operators::{Ind, Offset, Partition, Position, Routing, Row};
use proptest::prelude::*;

/// Few posts and few names, so that posts are corrected, groups are left empty and values tie.
#[derive(Clone, Debug)]
struct Record {
    kind: Kind,
    ind: i64,
    /// Not unique: an equal position is a record sent again.
    offset: i64,
    partition: i32,
    body: String,
}

fn pick(values: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(values)
}

fn body() -> impl Strategy<Value = (Kind, String)> {
    let pin = (
        pick(&[
            "\"art\"",
            "\"art\"",
            "\"travel\"",
            "\"Zoo\"",
            "\"éducation\"",
            "null",
            "\"\"",
            "7",
        ]),
        pick(&[
            "\"9GAG\"",
            "\"a\"",
            "\"Z\"",
            "\"User Info Error\"",
            "null",
            "\"p\\u0000q\"",
        ]),
        pick(&[
            "\"1k\"",
            "\"1000\"",
            "1000",
            "\"3\"",
            "2",
            "\"2M\"",
            "\"0\"",
            "\"12K\"",
            "\"User Info Error\"",
            "null",
        ]),
    );
    let geo = (
        pick(&[
            "\"Albania\"",
            "\"Côte d'Ivoire\"",
            "\"C\\u00f4te d'Ivoire\"",
            "\"albania\"",
            "null",
            "\"\"",
        ]),
        pick(&[
            "\"2020-08-28 03:52:47\"",
            "\"2020-12-31T23:59:59\"",
            "\"2020-12-31T23:30:00-01:00\"",
            "\"08/28/2017, 03:52:47\"",
            "\"x\"",
            "null",
        ]),
    );
    let user = (
        pick(&["\"Abigail\"", "\"Adam\"", "\"Adam B\"", "null"]),
        pick(&["\"Ali\"", "\"B Ali\"", "\"\""]),
        pick(&["17", "18", "24", "25", "\"35\"", "36", "50", "51", "\"abc\"", "null"]),
        pick(&[
            "\"2015-10-24 11:23:51\"",
            "\"2015-10-24T11:23:51Z\"",
            "\"2016-01-01\"",
            "\"2016-01-01T00:00:00+01:00\"",
            "null",
            "5",
        ]),
    );
    prop_oneof![
        5 => pin.prop_map(|(category, poster, followers)| {
            (Kind::Pin, format!("\"category\":{category},\"poster_name\":{poster},\"follower_count\":{followers}"))
        }),
        5 => geo.prop_map(|(country, time)| (Kind::Geo, format!("\"country\":{country},\"timestamp\":{time}"))),
        5 => user.prop_map(|(first, last, age, joined)| {
            let names = format!("\"first_name\":{first},\"last_name\":{last}");
            (Kind::User, format!("{names},\"age\":{age},\"date_joined\":{joined}"))
        }),
        3 => (0..3u8).prop_map(|kind| (Kind::from(kind), "\"__deleted\":true".to_owned())),
    ]
}

fn record() -> impl Strategy<Value = Record> {
    (body(), 0i64..12, 0i64..60, 0i32..2).prop_map(|((kind, body), ind, offset, partition)| Record {
        kind,
        ind,
        offset,
        partition,
        body,
    })
}

/// Decodes each record once; the first of two records at one position decides, and later ones are its replays.
fn decode(epochs: &[Vec<Record>]) -> Vec<Vec<(Event, Option<(Ind, Row)>)>> {
    let mut decoder = Decoder::default();
    let mut sent = std::collections::HashMap::new();
    let mut decode = |record: &Record| {
        let place = (record.kind, record.offset, record.partition);
        let record = sent.entry(place).or_insert_with(|| record.clone());
        let text = format!("{{\"ind\":{},{}}}", record.ind, record.body);
        let position = Position::new(1, Offset(record.offset), Partition(record.partition)).unwrap();
        let raw = Raw {
            kind: record.kind,
            position,
            key: None,
            value: Some(text.as_bytes()),
        };
        let decoded = decoder.decode_with_row(raw).unwrap();
        // the engine is given what the hot path makes of the record
        (decoder.decode(raw).unwrap(), decoded.1)
    };
    epochs
        .iter()
        .map(|records| records.iter().map(&mut decode).collect())
        .collect()
}

/// The same over payloads that the layout makes of cleaned rows, and not the decoder of a record's bytes.
fn of_rows(results: Results, epochs: &[Vec<(Event, Option<(Ind, Row)>)>], workers: usize) -> Vec<Tables> {
    let layout = results.layout();
    assert_eq!(layout.size(), (5, 6), "44 bytes a row");
    let event = |(event, row): &(Event, Option<(Ind, Row)>)| Event {
        payload: row.as_ref().map(|(_, row)| layout.pack(event.slot.into(), row)),
        ..event.clone()
    };
    let epochs = epochs.iter().map(|epoch| epoch.iter().map(event).collect()).collect();
    let count = results.definitions().len();
    run_dataflow(workers, epochs, count, move |events| {
        results.build(events, Routing::default()).0
    })
}

fn check(epochs: &[Vec<Record>], workers: usize, top: usize) {
    let epochs = decode(epochs);
    let options = Options { top };
    let results = Results::built_in(&options);
    let (mut whole, mut narrow) = (State::new(), State::for_results(&results));
    let mut expected: Vec<Tables> = Vec::new();
    for epoch in &epochs {
        for decoded in epoch {
            whole.apply(decoded.clone());
            narrow.apply(decoded.clone());
        }
        expected.push(plain::results(&whole, top));
        for state in [&whole, &narrow] {
            let found = state.results(&results);
            assert_same(
                &found,
                expected.last().unwrap(),
                &format!("SQL by plain loops, top {top}"),
            );
        }
    }
    for (epoch, (found, expected)) in of_rows(results, &epochs, workers).iter().zip(&expected).enumerate() {
        let context = format!("cleaned rows, {workers} workers, top {top}, epoch {epoch}");
        assert_same(found, expected, &context);
    }
    let events = epochs
        .into_iter()
        .map(|epoch| epoch.into_iter().map(|(event, _)| event).collect())
        .collect();
    for (epoch, (found, expected)) in run(workers, events, options).iter().zip(&expected).enumerate() {
        assert_same(found, expected, &format!("{workers} workers, top {top}, epoch {epoch}"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn engine_equals_recomputation(
        epochs in prop::collection::vec(prop::collection::vec(record(), 0..40), 1..8),
        workers in 1usize..4,
        top in 0usize..3,
    ) {
        check(&epochs, workers, top);
    }
}

/// What the random test must meet to mean something: ties cut by `top`, groups that vanish, distinct persons below
/// user records, all tables filled.
#[test]
fn by_hand() {
    let record = |kind, ind, offset, body: &str| Record {
        kind,
        ind,
        offset,
        partition: 0,
        body: body.to_owned(),
    };
    let pin = |ind, offset, category: &str, poster: &str, followers: &str| {
        let body =
            format!("\"category\":\"{category}\",\"poster_name\":\"{poster}\",\"follower_count\":\"{followers}\"");
        record(Kind::Pin, ind, offset, &body)
    };
    let geo = |ind, offset, country: &str, time: &str| {
        record(
            Kind::Geo,
            ind,
            offset,
            &format!("\"country\":\"{country}\",\"timestamp\":\"{time}\""),
        )
    };
    let user = |ind, offset, age: i32| {
        let body = format!("\"first_name\":\"A\",\"last_name\":\"B\",\"age\":{age},\"date_joined\":\"2015-10-24\"");
        record(Kind::User, ind, offset, &body)
    };
    let epochs = [
        vec![
            pin(1, 0, "art", "x", "1k"),
            pin(2, 1, "zoo", "y", "2k"),
            pin(3, 2, "art", "x", "4"),
            geo(1, 0, "Guam", "2020-01-01"),
            geo(2, 1, "Guam", "2020-01-01"),
            geo(3, 2, "Niue", "2021-01-01"),
            user(1, 0, 20),
            user(2, 1, 20),
            user(3, 2, 60),
        ],
        // the leader of all is corrected away, a country vanishes, a record comes again
        vec![
            pin(2, 9, "zoo", "y", "1k"),
            geo(3, 3, "Guam", "2020-01-01"),
            pin(1, 0, "other", "never", "9M"),
        ],
        vec![
            record(Kind::Pin, 1, 11, "\"__deleted\":true"),
            record(Kind::Geo, 2, 10, "\"__deleted\":true"),
        ],
    ];
    let options = Options { top: 1 };
    let decoded = decode(&epochs);
    let events = decoded
        .iter()
        .map(|epoch| epoch.iter().map(|(event, _)| event.clone()).collect())
        .collect();
    let tables = run(2, events, options);
    let show = |epoch: usize, name: &str| -> Vec<String> {
        let value = |value: &operators::Value| value.as_str().map_or_else(|| format!("{value:?}"), str::to_owned);
        let rows = tables[epoch][common::number(name)].iter();
        rows.map(|row| {
            row.iter()
                .map(value)
                .collect::<Vec<_>>()
                .join(" ")
                .replace("Int(", "")
                .replace("Float(", "")
                .replace(')', "")
        })
        .collect()
    };
    assert_eq!(
        show(0, "popular_category_by_country"),
        ["Guam art 1 1", "Guam zoo 1 1", "Niue art 1 1"]
    );
    assert_eq!(
        show(0, "popular_category_by_year"),
        ["2020 art 1 1", "2020 zoo 1 1", "2021 art 1 1"]
    );
    assert_eq!(
        show(0, "popular_category_by_age_group"),
        ["18-24 art 1 1", "18-24 zoo 1 1", "50+ art 1 1"]
    );
    assert_eq!(show(0, "top_poster_by_country"), ["Guam y 2000 1", "Niue x 4 1"]);
    assert_eq!(show(0, "country_of_top_poster"), ["Guam y 2000"]);
    assert_eq!(
        show(0, "median_followers_by_age_group"),
        ["18-24 1500.0 1000 2", "50+ 4.0 4 1"]
    );
    assert_eq!(show(0, "users_joined_by_year"), ["2015 2 3"]);
    assert_eq!(show(0, "median_followers_by_join_year"), ["2015 1000.0 1000 3"]);
    assert_eq!(
        show(0, "median_followers_by_join_year_and_age_group"),
        ["2015 18-24 1500.0 1000 2", "2015 50+ 4.0 4 1"]
    );
    assert_eq!(show(1, "popular_category_by_country_and_year"), ["Guam 2020 art 2 1"]);
    assert_eq!(show(1, "top_poster_by_country"), ["Guam x 1000 1", "Guam y 1000 1"]);
    assert_eq!(show(1, "country_of_top_poster"), ["Guam x 1000", "Guam y 1000"]);
    assert_eq!(show(2, "top_poster_by_country"), ["Guam x 4 1"]);
    assert_eq!(show(2, "users_joined_by_year"), ["2015 2 3"]);
    assert_eq!(show(2, "median_followers_by_join_year"), ["2015 502.0 4 2"]);
    for workers in 1..=3 {
        for top in [0, 1, 10] {
            check(&epochs, workers, top);
        }
    }
    assert!(
        tables[0].iter().all(|table| !table.is_empty()),
        "a result of {} without rows",
        plain::definitions().len()
    );
}

#[test]
fn no_records_no_rows() {
    let empty = vec![Vec::new(); plain::definitions().len()];
    for tables in run(2, vec![Vec::new(), Vec::new()], Options::default()) {
        assert_same(&tables, &empty, "nothing");
    }
    assert_eq!(State::new().results(&plain::RESULTS), empty);
}
