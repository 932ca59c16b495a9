//! Gaps and sets of offsets as texts, a line each.

use super::*;
use crate::byte_fuzz::Target;

fn number(text: &str) -> Option<i64> {
    text.parse()
        .ok()
        .filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// `FROM..TO` with something in it.
fn offsets(text: &str) -> Option<(i64, i64)> {
    let dots = text.find("..")?;
    let (from, to) = (number(&text[..dots])?, number(&text[dots + 2..])?);
    (from < to).then_some((from, to))
}

/// `TOPIC/PARTITION:FROM..TO`: the numbers hold neither a colon nor a slash.
fn gap(text: &str) -> Option<AcceptGap> {
    if text == "all" {
        return Some(AcceptGap::All);
    }
    let colon = text.rfind(':')?;
    let slash = text[..colon].rfind('/').filter(|slash| *slash > 0)?;
    let partition = number(&text[slash + 1..colon])?;
    let (from, to) = offsets(&text[colon + 1..])?;
    Some(AcceptGap::One(Gap {
        topic: text[..slash].to_owned(),
        partition: Partition(partition.try_into().ok()?),
        from: Offset(from),
        to: Offset(to),
    }))
}

/// Ranges with white space between them, sorted and joined where they meet.
fn ranges(text: &str) -> Option<Vec<(i64, i64)>> {
    let mut ranges: Vec<(i64, i64)> = text.split_whitespace().map(offsets).collect::<Option<_>>()?;
    ranges.sort();
    let mut joined: Vec<(i64, i64)> = Vec::new();
    for (from, to) in ranges {
        match joined.last_mut() {
            Some((_, end)) if from <= *end => *end = to.max(*end),
            _ => joined.push((from, to)),
        }
    }
    Some(joined)
}

#[rustfmt::skip]
const TOKENS: &[&[u8]] = &[
    b"..", b":", b"/", b" ", b"all", b"pin/0:", b"+", b"-1", b"0..0", b"5..3", b"9223372036854775807", b"...", b"\t",
    b"\n", b"\xc2\xa0", b"\xd9\xa3", b"gap ", b",",
];

#[test]
fn texts_of_gaps_and_ranges_are_read_as_written_or_refused() {
    let target = Target {
        name: "gaps",
        tokens: TOKENS,
        bytes: 6_000_000,
    };
    target.run(|input, _| {
        let texts = input.split(|byte| *byte == b'\n');
        let texts = texts.filter_map(|text| std::str::from_utf8(text).ok());
        texts.fold(false, |accepted, text| {
            let found: Option<AcceptGap> = text.parse().ok();
            assert_eq!(found, gap(text), "{text:?}");
            if let Some(found) = &found {
                assert_eq!(found.to_string().parse::<AcceptGap>().as_ref(), Ok(found), "{text:?}");
            }
            let set: Option<RangeSet> = text.parse().ok();
            let pairs = |set: &RangeSet| set.iter().map(|range| (range.start.0, range.end.0)).collect::<Vec<_>>();
            assert_eq!(set.as_ref().map(pairs), ranges(text), "{text:?}");
            if let Some(set) = &set {
                assert_eq!(set.to_string().parse::<RangeSet>().as_ref(), Ok(set), "{text:?}");
            }
            accepted | found.is_some() | set.is_some_and(|set| !set.is_empty())
        })
    });
}
