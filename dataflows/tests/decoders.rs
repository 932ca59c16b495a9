//! Two decoders, one meaning: whatever the fast one accepts, the reference reads in the same way and notes nothing.

mod common;

use common::{at, data};
use dataflows::{Block, Chunk, Decoder, Kind, Marks, Raw, Reason};
use proptest::prelude::*;
use proptest::sample::Index;

/// Records as producers send them, for when no real data is at hand, and a few odd ones.
const RECORDS: &[(Kind, &str)] = &[
    (
        Kind::Pin,
        r#"{"index":7528,"unique_id":"fbe53c66-3442-4773-b19e-d3ec6f54dddf","title":"No Title Data Available","description":"No description available Story format","poster_name":"User Info Error","follower_count":"User Info Error","tag_list":"N,o, ,T,a,g,s, ,A,v,a,i,l,a,b,l,e","is_image_or_video":"multi-video(story page format)","image_src":"Image src error.","downloaded":0,"save_location":"Local save in /data/mens-fashion","category":"mens-fashion"}"#,
    ),
    (
        Kind::Pin,
        r#"{"index": 2863, "title": "25 Super Fun \"Summer\" Crafts", "description": "Keep the kids busy\u2026 \ud83c\udf89", "poster_name": "Of Life \u0026 Lis\u00e4", "follower_count": "124k", "downloaded": true, "category": "diy-and-crafts"}"#,
    ),
    (
        Kind::Pin,
        r#"{"index":1,"follower_count":"1.2M","poster_name":null,"category":"art"}"#,
    ),
    (
        Kind::Pin,
        r#"{"index":1,"follower_count":15000,"poster_name":"Ünï 🎉","category":"","title":null}"#,
    ),
    (
        Kind::Geo,
        r#"{"ind":7528,"timestamp":"2020-08-28 03:52:47","latitude":-89.9787,"longitude":-173.293,"country":"Albania"}"#,
    ),
    (
        Kind::Geo,
        r#"{"ind":2863,"timestamp":"2020-04-27T13:34:16","latitude":-5,"longitude":0.5,"country":"C\u00f4te d'Ivoire"}"#,
    ),
    (
        Kind::Geo,
        r#"{"ind":"12","timestamp":"08/28/2020, 03:52:47","latitude":null,"longitude":"1.5","country":"Guam"}"#,
    ),
    (
        Kind::User,
        r#"{"ind":7528,"first_name":"Abigail","last_name":"Ali","age":20,"date_joined":"2015-10-24 11:23:51"}"#,
    ),
    (
        Kind::User,
        r#"{"index":7528,"first_name":"Zo\u00eb","last_name":"O\"Neil\\","age":"36","date_joined":"2015-10-24T11:23:51.5+02:00"}"#,
    ),
    (
        Kind::User,
        r#"{"ind":1,"first_name":"A","last_name":null,"age":null,"date_joined":null}"#,
    ),
    (Kind::User, r#"[{"value":{"ind":1,"age":17}}]"#),
    (Kind::User, r#"{"ind":1,"__deleted":true}"#),
];

/// Pieces that make a record odd.
const PIECES: &[&str] = &[
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    " ",
    "\t",
    "\n",
    "0",
    "1",
    "-",
    ".",
    "e5",
    "E+1",
    "null",
    "true",
    "fals",
    "\\u0000",
    "\\u0041",
    "\\ud83d",
    "\\ude00",
    "\\ud83d\\ude00",
    "\\n",
    "\\x",
    "\\u12",
    "\u{0}",
    "\u{1}",
    "\u{7f}",
    "é",
    "🎉",
    "\"ind\":5,",
    "\"index\":7528,",
    "\"index\":\"7528\",",
    "\"age\":300,",
    "\"age\":99999999999,",
    "\"age\":\"x\",",
    "\"age\":1.0,",
    "\"follower_count\":\"12K\",",
    "\"follower_count\":12.5,",
    "\"follower_count\":-5,",
    "\"category\":5,",
    "\"title\":[1],",
    "\"title\":{\"a\":{}},",
    "\"country\":\"\\u0000\",",
    "\"timestamp\":\"2020-02-30\",",
    "\"date_joined\":12,",
    "\"__deleted\":\"true\",",
    "\"__deleted\":false,",
    "\"value\":1,",
    "\"extra\":1e400,",
    "\"extra\":-0,",
    "\"extra\":00,",
    "\"extra\":9999999999999999999999,",
    "\"\\u0069nd\":9,",
    "\"poster_name\":\"\",",
    "\"latitude\":\"x\",",
    "\"latitude\":1e3,",
    "99999999999999999999",
    "007",
    "-0",
    "User Info Error",
    "12k",
    "1.2345k",
];

#[derive(Clone, Debug)]
enum Mutation {
    Insert(Index, Index),
    Remove(Index, u8),
    Double(Index, Index),
    Long(Index, u16),
}

fn mutate(text: &str, mutations: &[Mutation]) -> String {
    let mut text: Vec<char> = text.chars().collect();
    for mutation in mutations {
        let length = text.len() + 1;
        match mutation {
            Mutation::Insert(place, piece) => {
                // often where a field may begin, so that the piece is more than a syntax error
                let place = place.index(length);
                let comma = text[..place]
                    .iter()
                    .rposition(|c| *c == ',')
                    .map_or(1, |comma| comma + 1);
                let piece = PIECES[piece.index(PIECES.len())];
                let place = if piece.ends_with(',') {
                    comma.min(text.len())
                } else {
                    place
                };
                text.splice(place..place, piece.chars());
            }
            Mutation::Remove(place, count) => {
                let start = place.index(length);
                let end = (start + *count as usize % 20).min(text.len());
                text.drain(start..end);
            }
            Mutation::Double(start, end) => {
                let (a, b) = (start.index(length), end.index(length));
                let part = text[a.min(b)..a.max(b)].to_vec();
                text.splice(a..a, part);
            }
            Mutation::Long(place, count) => {
                let place = place.index(length);
                text.splice(place..place, std::iter::repeat_n('x', *count as usize % 600));
            }
        }
    }
    text.into_iter().collect()
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        4 => (any::<Index>(), any::<Index>()).prop_map(|(place, piece)| Mutation::Insert(place, piece)),
        2 => (any::<Index>(), any::<u8>()).prop_map(|(place, count)| Mutation::Remove(place, count)),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(start, end)| Mutation::Double(start, end)),
        1 => (any::<Index>(), any::<u16>()).prop_map(|(place, count)| Mutation::Long(place, count)),
    ]
}

/// Whether the fast decoder accepts; when it does, the reference must agree, with and without a row.
fn agree(decoder: &mut Decoder, kind: Kind, text: &str) -> bool {
    let fast = decoder.decode_fast(kind, at(1), text);
    assert_eq!(decoder.take_unreadable(), [], "the fast decoder notes nothing: {text}");
    let reference = decoder.decode_reference(kind, at(1), text);
    let notes = decoder.take_unreadable();
    let raw = Raw {
        kind,
        position: at(1),
        key: None,
        value: Some(text.as_bytes()),
    };
    let with_row = decoder.decode_with_row(raw).map(|(event, _)| event);
    assert_eq!(with_row, reference, "{text}");
    assert_eq!(decoder.take_unreadable(), notes, "{text}");
    assert_eq!(decoder.decode(raw), reference, "{text}");
    decoder.take_unreadable();
    let (mut block, mut emitted) = (Block::default(), Vec::new());
    let decoded = decoder.decode_into(&mut block, raw, &mut |event| emitted.push(event));
    decoder.finish(&mut block, &mut |event| emitted.push(event));
    assert_eq!(
        decoded.map(|()| emitted),
        reference.clone().map(|event| vec![event]),
        "{text}"
    );
    assert_eq!(decoder.take_unreadable(), notes, "{text}");
    // the same anywhere in a chunk, whatever stands around it
    let before = "{\"é\\\n".repeat(text.len() % 20);
    let chunk = format!("{before}{text}\"}}\n");
    let (mut marks, mut emitted) = (Marks::default(), Vec::new());
    let part = Chunk::new(chunk.as_bytes(), &mut marks)
        .part(before.len()..before.len() + text.len())
        .unwrap();
    let decoded = decoder.decode_text_into(&mut block, kind, at(1), part, &mut |event| emitted.push(event));
    decoder.finish(&mut block, &mut |event| emitted.push(event));
    assert_eq!(
        decoded.map(|()| emitted),
        reference.clone().map(|event| vec![event]),
        "{text}"
    );
    assert_eq!(decoder.take_unreadable(), notes, "{text}");
    let accepts = fast.is_some();
    if let Some(fast) = fast {
        assert_eq!(Ok(fast), reference, "{text}");
        assert_eq!(notes, [], "{text}");
    }
    accepts
}

fn real_records() -> Vec<(Kind, String)> {
    let mut records: Vec<_> = RECORDS.iter().map(|(kind, text)| (*kind, text.to_string())).collect();
    for line in data("seed100_first2525.jsonl.gz").unwrap_or_default().lines() {
        let turn: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
        records.extend(Kind::ALL.map(|kind| (kind, turn[kind.name()].to_string())));
    }
    records
}

#[test]
fn real_records_are_read_fast_and_alike() {
    let mut decoder = Decoder::default();
    let records = real_records();
    let accepted = records
        .iter()
        .filter(|(kind, text)| agree(&mut decoder, *kind, text))
        .count();
    assert!(
        records.len() - accepted <= 3,
        "{accepted} of {} are read fast",
        records.len()
    );
    // Python's producers escape everything that is not ASCII, which must not cost the fast path
    for (kind, text) in &records {
        let escape = |c: char| {
            let mut units = [0; 2];
            if c.is_ascii() {
                c.to_string()
            } else {
                c.encode_utf16(&mut units)
                    .iter()
                    .map(|u| format!("\\u{u:04x}"))
                    .collect()
            }
        };
        let escaped: String = text.chars().map(escape).collect();
        let before = decoder.decode_fast(*kind, at(1), text);
        agree(&mut decoder, *kind, &escaped);
        assert_eq!(decoder.decode_fast(*kind, at(1), &escaped), before, "{escaped}");
    }
}

#[test]
fn a_block_gives_every_record_its_own_names() {
    let records = real_records();
    let mut decoder = Decoder::default();
    let lines: String = records.iter().map(|(_, text)| format!("{text}\n")).collect();
    let mut marks = Marks::default();
    let lines = Chunk::new(lines.as_bytes(), &mut marks).lines();
    let (mut block, mut emitted, mut expected) = (Block::default(), Vec::new(), Vec::new());
    for (number, ((kind, text), line)) in records.iter().zip(lines).enumerate() {
        let position = at(number + 1);
        expected.extend(decoder.decode_reference(*kind, position, text));
        let emit = &mut |event| emitted.push(event);
        let _ = decoder.decode_text_into(&mut block, *kind, position, line.unwrap(), emit);
    }
    assert_eq!(expected.len(), records.len());
    decoder.finish(&mut block, &mut |event| emitted.push(event));
    emitted.sort_by_key(|event| event.position);
    assert_eq!(emitted, expected);
}

/// Spread thin over many cases: most mutations only break the syntax.
#[test]
fn mutated_records_are_read_alike() {
    let records = real_records();
    let accepted = std::cell::Cell::new(0u32);
    let refused = std::cell::Cell::new(0u32);
    let decoder = std::cell::RefCell::new(Decoder::default());
    let cases = (
        any::<Index>(),
        any::<Index>(),
        any::<bool>(),
        prop::collection::vec(mutation(), 0..4),
    );
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 20_000,
        ..ProptestConfig::default()
    });
    runner
        .run(&cases, |(record, kind, as_sent, mutations)| {
            // the constants have more variety than the real ones: every second case is one of them
            let short = record.index(2 * RECORDS.len());
            let (own, text) = if short < RECORDS.len() {
                &records[short]
            } else {
                &records[record.index(records.len())]
            };
            let kind = if as_sent { *own } else { Kind::ALL[kind.index(3)] };
            let counter = if agree(&mut decoder.borrow_mut(), kind, &mutate(text, &mutations)) {
                &accepted
            } else {
                &refused
            };
            counter.set(counter.get() + 1);
            Ok(())
        })
        .unwrap();
    assert!(
        accepted.get() > 4_000 && refused.get() > 4_000,
        "{} accepted, {} not",
        accepted.get(),
        refused.get()
    );
}

fn decode(kind: Kind, text: &str) -> Result<i64, Reason> {
    let raw = Raw {
        kind,
        position: at(1),
        key: None,
        value: Some(text.as_bytes()),
    };
    Decoder::default().decode(raw).map(|event| event.key)
}

#[test]
fn reasons() {
    use Reason::*;
    let nested = |depth: usize| format!("{{\"ind\":1,\"x\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
    let cases = [
        (r#"{"ind":1}"#, Ok(1)),
        (r#"{"index":"007"}"#, Ok(7)),
        (r#"{"ind":-5}"#, Ok(-5)),
        (r#"{"ind":9223372036854775807}"#, Ok(i64::MAX)),
        (r#"{"ind":1,"index":1}"#, Ok(1)),
        (r#"{"ind":1,"index":null}"#, Ok(1)),
        (r#"{"ind":1,"index":"abc"}"#, Ok(1)),
        (r#"{"ind":2,"ind":1}"#, Ok(1)),
        (r#"{"ind":1,"index":2,"index":1}"#, Ok(1)),
        (" {\"ind\" :\t1 }\r\n", Ok(1)),
        (r#"[{"value":{"ind":1}}]"#, Ok(1)),
        (r#"{"value":[[{"ind":1}]]}"#, Ok(1)),
        (r#"{"value":5,"value":{"ind":1}}"#, Ok(1)),
        (r#"{"v\u0061lue":{"ind":1}}"#, Ok(1)),
        (r#"{"ind":1,"value":{"ind":2}}"#, Ok(1)),
        (r#"{"ind":1,"index":2}"#, Err(KeyConflict)),
        (r#"{"ind":1,"index":"2"}"#, Err(KeyConflict)),
        (r#"{"ind":"ind","age":"age"}"#, Err(HeaderRow)),
        (r#"{"index":"index","ind":5}"#, Err(HeaderRow)),
        (r#"{"ind":"index"}"#, Err(NoKey)),
        (r#"{"ind":1.0}"#, Err(NoKey)),
        (r#"{"ind":1e3}"#, Err(NoKey)),
        (r#"{"ind":9223372036854775808}"#, Err(NoKey)),
        (r#"{"ind":"-5"}"#, Err(NoKey)),
        (r#"{"ind":" 5"}"#, Err(NoKey)),
        (r#"{"ind":""}"#, Err(NoKey)),
        (r#"{"ind":true}"#, Err(NoKey)),
        (r#"{"index":{"index":5168}}"#, Err(NoKey)),
        (r#"{"IND":5}"#, Err(NoKey)),
        ("{}", Err(NoKey)),
        // three wrappings come off, a fourth is an object without a key, or none at all
        (r#"[{"value":[{"value":{"ind":1}}]}]"#, Err(NoKey)),
        (r#"[[[[{"ind":1}]]]]"#, Err(NotObject)),
        (r#"[{"ind":1},{"ind":2}]"#, Err(NotObject)),
        ("[]", Err(NotObject)),
        ("null", Err(NotObject)),
        ("12", Err(NotObject)),
        ("true", Err(NotObject)),
        (r#"{"value":5}"#, Err(NotObject)),
        (r#""{\"ind\":1}""#, Err(JsonString)),
        (r#"[{"value":"x"}]"#, Err(JsonString)),
        (r#""""#, Err(Empty)),
        (r#"{"value":""}"#, Err(Empty)),
        ("", Err(Empty)),
        (" \n", Err(Empty)),
        ("{", Err(NotJson)),
        (r#"{"ind":1,}"#, Err(NotJson)),
        (r#"{"ind":1} x"#, Err(NotJson)),
        (r#"{"ind":01}"#, Err(NotJson)),
        (r#"{'ind':1}"#, Err(NotJson)),
        (r#"{"ind":NaN}"#, Err(NotJson)),
        ("{\"ind\":1,\"t\":\"\t\"}", Err(NotJson)),
        (r#"{"ind":1,"x":1e400}"#, Err(NotJson)),
        (r#"{"ind":1,"x":"\ud83d"}"#, Err(BadUtf8)),
        (r#"{"ind":1,"x":"\ud83dx"}"#, Err(BadUtf8)),
        (r#"{"ind":1,"x":"\ud83d\n"}"#, Err(BadUtf8)),
        (r#"{"ind":1,"x":"\ude00"}"#, Err(BadUtf8)),
        (r#"{"ind":1,"x":"\ud83d\u0041"}"#, Err(BadUtf8)),
        (r#"{"ind":1,"x":{"\ud83d":[]}}"#, Err(BadUtf8)),
        (r#"{"ind":1,"x":"\ud83d\ude00"}"#, Ok(1)),
        (&nested(63), Ok(1)),
        (&nested(64), Err(TooDeep)),
        (&nested(10_000), Err(TooDeep)),
    ];
    for (text, expected) in cases {
        for kind in Kind::ALL {
            assert_eq!(decode(kind, text), expected, "{kind} {text}");
        }
    }
    let raw = |value| Raw {
        kind: Kind::Pin,
        position: at(1),
        key: None,
        value: Some(value),
    };
    assert_eq!(
        Decoder::default().decode(raw(b"{\"ind\":1,\"x\":\"\xff\"}")),
        Err(BadUtf8)
    );
    let limits = dataflows::Limits {
        record_bytes: 9,
        depth: 64,
    };
    assert_eq!(
        Decoder::new(limits).decode(raw(br#"{"ind":1}"#)).map(|event| event.key),
        Ok(1)
    );
    assert_eq!(Decoder::new(limits).decode(raw(br#"{"ind":10}"#)), Err(TooLarge));
    assert_eq!(
        Decoder::new(limits).decode_with_row(raw(br#"{"ind":10}"#)),
        Err(TooLarge)
    );
    let deep = dataflows::Limits {
        record_bytes: 1 << 20,
        depth: usize::MAX,
    };
    let (deepest, deeper) = (nested(126), nested(127));
    assert_eq!(
        Decoder::new(deep)
            .decode(raw(deepest.as_bytes()))
            .map(|event| event.key),
        Ok(1)
    );
    assert_eq!(Decoder::new(deep).decode(raw(deeper.as_bytes())), Err(TooDeep));
}

#[test]
fn deletes() {
    let mut decoder = Decoder::default();
    let mut delete = |key: Option<&str>, value: Option<&str>| {
        let raw = Raw {
            kind: Kind::Geo,
            position: at(1),
            key: key.map(str::as_bytes),
            value: value.map(str::as_bytes),
        };
        let event = decoder.decode(raw);
        assert_eq!(
            decoder.decode_with_row(raw).map(|(event, row)| (event, row.is_none())),
            event.clone().map(|event| (event.clone(), event.payload.is_none()))
        );
        event.map(|event| (event.key, event.slot, event.payload.is_none()))
    };
    for key in ["5", "005", "\"5\"", " 5 ", "{\"ind\":5}", "{\"index\":\"5\",\"x\":[1]}"] {
        assert_eq!(delete(Some(key), None), Ok((5, 1, true)), "{key}");
    }
    assert_eq!(delete(Some("-5"), None), Ok((-5, 1, true)));
    for key in [
        "",
        "x",
        "5.0",
        "\"x\"",
        "\"\"",
        "null",
        "[5]",
        "{}",
        "{\"ind\":1,\"index\":2}",
        "{\"ind\":\"ind\"}",
        "5 6",
    ] {
        assert_eq!(delete(Some(key), None), Err(Reason::TombstoneKey), "{key}");
    }
    assert_eq!(delete(None, None), Err(Reason::TombstoneKey));
    for deleted in ["true", "\"true\""] {
        let line = format!("{{\"ind\":5,\"country\":\"Guam\",\"__deleted\":{deleted}}}");
        assert_eq!(delete(Some("7"), Some(&line)), Ok((5, 1, true)));
    }
    for kept in ["false", "\"false\"", "null", "1", "\"TRUE\""] {
        let line = format!("{{\"ind\":5,\"__deleted\":{kept}}}");
        assert_eq!(delete(Some("7"), Some(&line)), Ok((5, 1, false)), "{kept}");
    }
    assert_eq!(delete(None, Some("{\"__deleted\":true}")), Err(Reason::NoKey));
}

#[test]
fn altered_fields_are_counted() {
    let mut decoder = Decoder::default();
    let long = "x".repeat(513);
    let records = [
        (
            Kind::User,
            r#"{"ind":1,"age":"abc","date_joined":"yesterday"}"#.to_owned(),
        ),
        (Kind::User, r#"{"ind":1,"age":2147483648,"first_name":5}"#.to_owned()),
        // the last of two counts, and the empty text is null, not unreadable
        (
            Kind::User,
            r#"{"ind":1,"age":"abc","age":20,"date_joined":""}"#.to_owned(),
        ),
        (
            Kind::Geo,
            format!(r#"{{"ind":1,"country":"{long}","latitude":"north","timestamp":1598586767}}"#),
        ),
        (
            Kind::Pin,
            r#"{"index":1,"title":"a\u0000b","follower_count":"12K","category":["art"]}"#.to_owned(),
        ),
        (
            Kind::Pin,
            r#"{"index":1,"title":"a\u0000b","follower_count":"User Info Error"}"#.to_owned(),
        ),
    ];
    for (kind, text) in &records {
        agree(&mut decoder, *kind, text);
    }
    for (kind, text) in &records {
        let raw = Raw {
            kind: *kind,
            position: at(1),
            key: None,
            value: Some(text.as_bytes()),
        };
        decoder.decode(raw).unwrap();
    }
    let notes = decoder.take_unreadable().into_iter();
    let notes: Vec<_> = notes
        .map(|note| format!("{}.{} {} {}", note.kind, note.field, note.why.as_str(), note.count))
        .collect();
    let expected = [
        "pin.title nul 2",
        "pin.follower_count unreadable 1",
        "pin.category unreadable 1",
        "geo.timestamp unreadable 1",
        "geo.latitude unreadable 1",
        "geo.country too_long 1",
        "user.first_name unreadable 1",
        "user.age unreadable 2",
        "user.date_joined unreadable 1",
    ];
    assert_eq!(notes, expected);
    assert_eq!(decoder.take_unreadable(), []);
}

#[test]
fn chunks_yield_their_lines() {
    let lines = |chunk: &'static [u8]| -> Vec<Result<&str, &[u8]>> {
        let marks = Box::leak(Box::default());
        let lines = Chunk::new(chunk, marks).lines();
        lines.map(|line| line.map(|line| line.text)).collect()
    };
    assert_eq!(lines(b""), []);
    assert_eq!(lines(b"a\n\nb"), [Ok("a"), Ok(""), Ok("b")]);
    assert_eq!(lines(b"a\n"), [Ok("a")]);
    assert_eq!(lines(b"\n"), [Ok("")]);
    assert_eq!(lines(b"\xc3\xa9\n\xff\nb\n"), [Ok("é"), Err(&b"\xff"[..]), Ok("b")]);
}

#[test]
fn a_part_that_cuts_a_character_is_no_text() {
    let mut marks = Marks::default();
    let chunk = Chunk::new("aé".as_bytes(), &mut marks);
    assert_eq!(chunk.part(0..2).map(|part| part.text), Err(&b"a\xc3"[..]));
    assert_eq!(chunk.part(2..3).map(|part| part.text), Err(&b"\xa9"[..]));
    assert_eq!(chunk.part(1..3).map(|part| part.text), Ok("é"));
}

#[test]
fn malformed_records_end_in_an_answer_or_a_reason() {
    let Some(text) = data("malformed_records.jsonl.gz") else {
        return;
    };
    let mut decoder = Decoder::default();
    let mut outcomes = std::collections::BTreeMap::<String, usize>::new();
    for line in text.lines() {
        let record: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
        let value = ["raw_line", "data_decoded"]
            .iter()
            .find_map(|name| record.get(*name)?.as_str().map(str::to_owned));
        let value = value.unwrap_or_else(|| record["record"].to_string());
        let kind = dataflows::kind_of_fields(value.as_bytes());
        let raw = Raw {
            kind: kind.unwrap_or(Kind::Pin),
            position: at(1),
            key: None,
            value: Some(value.as_bytes()),
        };
        let outcome = match decoder.decode(raw) {
            Ok(event) => {
                assert!(event.payload.is_some(), "{value}");
                format!("a {} record", kind.expect("accepted, so it has fields"))
            }
            Err(reason) => reason.to_string(),
        };
        let what: String = record["kind"].as_str().unwrap().chars().take(40).collect();
        *outcomes.entry(format!("{what}… → {outcome}")).or_default() += 1;
    }
    let outcomes: Vec<String> = outcomes
        .into_iter()
        .map(|(outcome, count)| format!("{count} × {outcome}"))
        .collect();
    let expected = [
        "25 × Kinesis record whose data is a list [{\"v… → a geo record",
        "50 × Kinesis record whose data is the JSON em… → empty",
        "50 × Kinesis record wrapped as {\"value\":{...}… → a user record",
        "1 × hand-made test record with only some pin… → a pin record",
        "66 × lake object whose whole line is a JSON *… → json_string",
        "1 × tutorial test message sent to the live s… → a user record",
        "10 × user record keyed \"index\" instead of \"in… → a user record",
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(
        decoder.take_unreadable(),
        [],
        "every field of the accepted ones is readable"
    );
}
