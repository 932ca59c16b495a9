//! Records, a line each, of any kind.

use super::byte_fuzz::{Random, Target};
use super::reference::{self, Record};
use dataflows::{Block, Chunk, Decoder, Event, Kind, Marks, Raw, Reason};
use operators::{Offset, Partition, Position};
use std::cell::RefCell;

#[rustfmt::skip]
const TOKENS: &[&[u8]] = &[
    b"\"ind\":", b"\"index\":", b"\"ind\":\"ind\",", b"\"\\u0069nd\":7,", b"\"value\":", b"{\"value\":", b"[", b"]",
    b"{", b"}", b"\"__deleted\":true,", b"\"__deleted\":\"true\",", b"\"age\":", b"\"date_joined\":",
    b"\"first_name\":", b"\"last_name\":", b"\"timestamp\":", b"\"latitude\":", b"\"country\":",
    b"\"follower_count\":", b"\"poster_name\":", b"\"category\":", b"\"title\":",
    b"\"save_location\":\"Local save in \",", b"\"x\":[[[[1]]]],", b"\"x\":{\"ind\":5},", b"null", b"true",
    b"\"User Info Error\"", b"\"12k\"", b"\"1.5M\"", b"\"2020-02-30\"", b"\"9999-12-31T23:59:59-01:00\"", b"\"\"",
    b"1.0", b"-0", b"1e3", b"1e400", b"007", b"18446744073709551615", b"\\u0000", b"\\ud83d", b"\\ude00",
    b"\\ud83d\\ude00", b"\\u0041", b"\\n", b"\\/", b"\\x", b"\"", b"\\", b",", b":", b"\t", b"\r\n", b"\n", b"\x0c",
    b"\x7f", b"\xc3\xa9", b"\xf0\x9f\x8e\x89", b"\xed\xa0\xbd", b"\xc0\x80", b"\xff", b"\xef\xbb\xbf",
];

fn at(line: usize) -> Position {
    Position::new(1, Offset(line as i64), Partition(0)).unwrap()
}

/// What one line is read as, in every way that it can be read alone.
fn read(decoder: &mut Decoder, kind: Kind, line: &[u8], number: usize) -> Result<Event, Reason> {
    let position = at(number);
    let raw = Raw {
        kind,
        position,
        key: None,
        value: Some(line),
    };
    let with_row = decoder.decode_with_row(raw);
    let notes = decoder.take_unreadable();
    let text = std::str::from_utf8(line);
    let fast = text.ok().and_then(|text| decoder.decode_fast(kind, position, text));
    let event = with_row
        .as_ref()
        .map(|(event, _)| event.clone())
        .map_err(|reason| *reason);
    assert!(fast.is_none_or(|fast| Ok(fast) == event), "read in place: {event:?}");
    assert_eq!(decoder.take_unreadable(), []);
    assert_eq!(decoder.decode(raw), event);
    assert_eq!(decoder.take_unreadable(), notes);
    match (with_row, reference::record(kind, line)) {
        (Ok((event, row)), Ok(expected)) => {
            assert_eq!((event.slot, event.payload.is_some()), (kind as u8, row.is_some()));
            let mut altered: Vec<_> = notes.iter().map(|note| (note.field, note.why.as_str())).collect();
            altered.sort();
            let found = Record {
                key: event.key,
                row: row.map(|(key, row)| {
                    assert_eq!(key.0, event.key);
                    row
                }),
                altered,
            };
            let mut expected = expected;
            expected.altered.sort();
            assert_eq!(found, expected);
        }
        (Err(reason), Err(reasons)) => assert!(reasons.contains(&reason), "{reason} is none of {reasons:?}"),
        (found, expected) => panic!("{found:?}, and not {expected:?}"),
    }
    event
}

/// The same lines as one chunk, in blocks, and parts of it that end anywhere.
fn read_chunk(decoder: &mut Decoder, chunk: &[u8], kinds: &[Kind], events: Vec<Event>, random: &mut Random) {
    let mut marks = Marks::default();
    let chunk_of_lines = Chunk::new(chunk, &mut marks);
    let (mut block, mut emitted) = (Block::default(), Vec::new());
    let mut lines = 0;
    for (number, line) in chunk_of_lines.lines().enumerate() {
        lines += 1;
        if let Ok(line) = line {
            let emit = &mut |event| emitted.push(event);
            // a reason is known from the line alone
            let _ = decoder.decode_text_into(&mut block, kinds[number], at(number), line, emit);
        }
    }
    assert_eq!(lines, kinds.len());
    decoder.finish(&mut block, &mut |event| emitted.push(event));
    emitted.sort_by_key(|event: &Event| event.position);
    assert_eq!(emitted, events, "as a chunk");
    for _ in 0..2 {
        let (a, b) = (
            random.below(chunk.len() as u64 + 1),
            random.below(chunk.len() as u64 + 1),
        );
        let range = a.min(b) as usize..a.max(b) as usize;
        let bytes = &chunk[range.clone()];
        let kind = *random.pick(&Kind::ALL);
        match chunk_of_lines.part(range) {
            Err(found) => {
                assert_eq!(found, bytes);
                // nothing at all, in the middle of a character, is no text either
                let is_text = !bytes.is_empty() && std::str::from_utf8(bytes).is_ok();
                assert!(!is_text, "text is taken for bytes");
            }
            Ok(part) => {
                assert_eq!(part.text.as_bytes(), bytes);
                let mut emitted = Vec::new();
                let decoded = decoder.decode_text_into(&mut block, kind, at(0), part, &mut |event| emitted.push(event));
                decoder.finish(&mut block, &mut |event| emitted.push(event));
                let expected = decoder.decode_reference(kind, at(0), part.text);
                assert_eq!(
                    decoded.map(|()| emitted),
                    expected.map(|event| vec![event]),
                    "as a part"
                );
            }
        }
    }
    decoder.take_unreadable();
}

#[test]
fn records_are_read_as_serde_json_reads_them() {
    let decoder = RefCell::new(Decoder::default());
    let target = Target {
        name: "records",
        tokens: TOKENS,
        bytes: 30_000_000,
    };
    target.run(|input, random| {
        let decoder = &mut decoder.borrow_mut();
        // what a check that failed has left
        decoder.take_unreadable();
        let mut lines: Vec<&[u8]> = input.split(|byte| *byte == b'\n').collect();
        if lines.last().is_some_and(|line| line.is_empty()) {
            lines.pop();
        }
        let kinds: Vec<Kind> = lines.iter().map(|_| *random.pick(&Kind::ALL)).collect();
        let numbered = lines.iter().zip(&kinds).enumerate();
        let events = numbered.filter_map(|(number, (line, kind))| read(decoder, *kind, line, number).ok());
        let events: Vec<Event> = events.collect();
        let accepted = !events.is_empty();
        read_chunk(decoder, input, &kinds, events, random);
        accepted
    });
}
