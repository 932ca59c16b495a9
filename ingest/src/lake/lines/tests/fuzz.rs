//! Lines of any bytes, and of gzip members however they are cut, damaged or mixed up.

use super::*;
use crate::byte_fuzz::{Random, Target};
use crate::lake::open::decoder;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::{BufReader, Write};

/// What objects may hold once they are decompressed.
const DECODED: usize = 16 << 10;

/// Limits, and how many bytes come at a time.
fn conditions(random: &mut Random) -> (Limits, Vec<usize>) {
    let chunk_bytes = 16 + random.below(200) as usize;
    let record_bytes = chunk_bytes + random.below(200) as usize;
    let steps = (0..3).map(|_| 1 + random.zipf(8) as usize).collect();
    let limits = Limits {
        decoded_bytes: DECODED as u64,
        ..limits(chunk_bytes, record_bytes)
    };
    (limits, steps)
}

/// The lines of an object that is stored compressed, and whether all of it was sound.
fn cut_compressed(stored: &[u8], checksum: Option<u64>, random: &mut Random) -> (Vec<Line>, usize, io::Result<()>) {
    let (limits, steps) = conditions(random);
    let source = Dribble {
        content: stored,
        steps: steps.iter().cycle(),
    };
    let source = BufReader::with_capacity(1 + random.below(100) as usize, source);
    let mut source = match decoder("key", source) {
        Ok(source) => source,
        Err(error) => return (Vec::new(), limits.record_bytes, Err(error.into())),
    };
    let (outcome, result) = cut_from(&mut source, stored.len() as u64, limits, checksum);
    (outcome.lines, limits.record_bytes, result)
}

/// The content of all members, one after the other; what there was before the damage, where there is some.
fn members(mut stored: &[u8]) -> Result<Vec<u8>, Vec<u8>> {
    let mut content = Vec::new();
    while !stored.is_empty() {
        let mut member = flate2::bufread::GzDecoder::new(&mut stored);
        let mut bytes = [0; 64];
        loop {
            match member.read(&mut bytes) {
                Ok(0) => break,
                Ok(length) => content.extend_from_slice(&bytes[..length]),
                Err(_) => return Err(content),
            }
            if content.len() > DECODED {
                return Err(content);
            }
        }
    }
    Ok(content)
}

/// The content in members, as another writer might have cut it.
fn compressed(content: &[u8], random: &mut Random) -> Vec<u8> {
    let mut stored = Vec::new();
    let mut rest = content;
    loop {
        let (now, later) = rest.split_at(random.below(rest.len() as u64 + 1) as usize);
        let now = if random.chance(1 << 31) { rest } else { now };
        let mut member = GzEncoder::new(&mut stored, Compression::new(random.below(10) as u32));
        member.write_all(now).and_then(|()| member.finish().map(drop)).unwrap();
        if now.len() == rest.len() {
            return stored;
        }
        rest = later;
    }
}

/// Damages bytes, or does not.
fn damage(stored: &mut Vec<u8>, random: &mut Random) {
    let place = random.below(stored.len() as u64) as usize;
    let end = stored.len().min(place + 1 + random.zipf(5) as usize);
    match random.below(6) {
        0 => stored.truncate(place),
        1 => stored[place] ^= 1 << random.below(8),
        2 => drop(stored.drain(place..end)),
        3 => stored.insert(place, random.next_u64() as u8),
        4 => stored.extend_from_within(place..end),
        _ => {}
    }
}

#[rustfmt::skip]
const TOKENS: &[&[u8]] = &[
    b"\n", b"\r\n", b"\n\n", b"\xef\xbb\xbf", b"\x1f\x8b\x08", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff",
    b"\x00\x00\x00\x00", b"\x01\x00\x00\xff\xff", b"\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00", b"\xff",
];

#[test]
fn lines_are_those_of_the_content_and_damage_is_an_error() {
    let target = Target {
        name: "lines",
        tokens: TOKENS,
        bytes: 2_400_000,
    };
    target.run(|input, random| {
        // as it is
        let (limits, steps) = conditions(random);
        let outcome = cut(input, &steps, limits, None).unwrap();
        assert_eq!(outcome.lines, naive(input, limits.record_bytes));
        assert_eq!(outcome.counted, outcome.lines.len() as u64);

        // as what is stored
        let expected = members(input);
        let (lines, record_bytes, result) = cut_compressed(input, None, random);
        assert_eq!(result.is_ok(), expected.is_ok(), "{result:?}");
        let content = expected.as_ref().unwrap_or_else(|before| before);
        let mut of_content = naive(content, record_bytes);
        if result.is_ok() {
            assert_eq!(lines, of_content);
        } else {
            // the line in which the damage was met; it may be met a little later, or sooner, by larger reads
            of_content.pop();
            let is_same = lines.iter().zip(&of_content).all(|(found, expected)| found == expected);
            assert!(is_same, "{lines:?}, and not {of_content:?}");
        }

        // as an object whose writer recorded a checksum
        let mut stored = compressed(input, random);
        let sound = stored.clone();
        damage(&mut stored, random);
        let (lines, record_bytes, result) = cut_compressed(&stored, Some(checksum(input)), random);
        match result {
            Ok(()) => assert_eq!(lines, naive(input, record_bytes), "damage that nobody saw"),
            Err(error) => assert!(stored != sound, "{error}"),
        }
        expected.is_ok()
    });
}
