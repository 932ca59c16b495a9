//! Any bytes, and any content in members that are cut, flushed and damaged anywhere.

use super::*;
use crate::byte_fuzz::{Random, Target};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use std::io::Read as _;

/// What comes out of an input that arrives in such pieces, and how it ends.
fn gunzip(input: &[u8], mut piece: impl FnMut() -> usize) -> (Vec<u8>, Result<(), GzipError>) {
    let (mut gunzip, mut content) = (Gunzip::new(), Vec::new());
    let mut rest = input;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(piece().clamp(1, rest.len()));
        let mut now = Bytes::copy_from_slice(now);
        loop {
            match gunzip.next(&mut now) {
                Ok(Some(bytes)) => content.extend_from_slice(&bytes),
                Ok(None) => break,
                Err(error) => return (content, Err(error)),
            }
        }
        rest = later;
    }
    let end = gunzip.finish();
    (content, end)
}

/// The content in members, some of them flushed here and there.
fn gzip(content: &[u8], random: &mut Random) -> Vec<u8> {
    let mut compressed = Vec::new();
    let mut rest = content;
    loop {
        let level = Compression::new(random.below(10) as u32);
        let mut encoder = GzEncoder::new(compressed, level);
        let (now, later) = rest.split_at(rest.len().min(random.zipf(11) as usize));
        for part in now.chunks(1 + random.zipf(9) as usize) {
            encoder.write_all(part).unwrap();
            if random.chance(1 << 30) {
                encoder.flush().unwrap();
            }
        }
        compressed = encoder.finish().unwrap();
        rest = later;
        if rest.is_empty() {
            return compressed;
        }
    }
}

#[rustfmt::skip]
const TOKENS: &[&[u8]] = &[
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff", b"\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\xffn\x00", b"\x03\x00",
    b"\x00\x00\x00\x00\x00\x00\x00\x00", b"\x4b\xaa\x05\x00", b"\x01\x01\x00\xfe\xffx", b"\x00\x00\x00\xff\xff",
    b"\x1f\x8b", b"\xff", b"\x00", b"{\"value\":{\"data\":1}}",
];

#[test]
fn what_comes_out_is_what_flate2_reads_wherever_the_body_is_cut() {
    let target = Target {
        name: "gzip",
        tokens: TOKENS,
        bytes: 1_000_000,
    };
    target.run(|input, random: &mut Random| {
        let compressed = match input.first() {
            // what begins like gzip is taken as it is
            Some(0x1f) => input.to_vec(),
            _ => {
                let mut compressed = gzip(input, random);
                if random.chance(1 << 31) {
                    let at = random.below(compressed.len() as u64) as usize;
                    match random.below(3) {
                        0 => compressed.truncate(at),
                        1 => compressed[at] ^= 1 << random.below(8),
                        _ => compressed.insert(at, random.below(256) as u8),
                    }
                }
                compressed
            }
        };
        let (content, end) = gunzip(&compressed, || compressed.len());
        // of what is damaged more comes out where the damage comes later
        let is_same = |(other, otherwise): (Vec<u8>, Result<(), GzipError>)| match end {
            Ok(()) => otherwise == Ok(()) && other == content,
            Err(_) => otherwise.is_err(),
        };
        assert!(is_same(gunzip(&compressed, || 1)), "byte by byte");
        assert!(is_same(gunzip(&compressed, || random.zipf(7) as usize)), "cut anywhere");
        let mut expected = Vec::new();
        let read = MultiGzDecoder::new(&compressed[..]).read_to_end(&mut expected);
        match read {
            _ if compressed.is_empty() => assert_eq!((content.len(), end), (0, Ok(()))),
            Ok(_) => assert_eq!((content, end), (expected, Ok(()))),
            Err(_) => assert!(end.is_err(), "{end:?}, and not {read:?}"),
        }
        end.is_ok()
    });
}
