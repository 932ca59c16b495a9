use super::*;
use crate::lake::{BYTE_ORDER_MARK, checksum};
use proptest::prelude::*;

mod fuzz;

/// Gives as many bytes at a time as it is told to.
struct Dribble<'a> {
    content: &'a [u8],
    steps: std::iter::Cycle<std::slice::Iter<'a, usize>>,
}

impl Read for Dribble<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self
            .steps
            .next()
            .copied()
            .unwrap_or(1)
            .min(out.len())
            .min(self.content.len());
        out[..n].copy_from_slice(&self.content[..n]);
        self.content = &self.content[n..];
        Ok(n)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Line {
    Text(Vec<u8>),
    TooLarge(Vec<u8>, u64),
}

/// What the contract says, without chunks.
fn naive(content: &[u8], record_bytes: usize) -> Vec<Line> {
    let content = content.strip_prefix(BYTE_ORDER_MARK).unwrap_or(content);
    let line = |line: &[u8]| {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        if text.len() > record_bytes {
            Line::TooLarge(text[..PREFIX_BYTES.min(text.len())].to_vec(), text.len() as u64)
        } else {
            Line::Text(line.to_vec())
        }
    };
    content.split_inclusive(|b| *b == b'\n').map(line).collect()
}

struct Outcome {
    lines: Vec<Line>,
    counted: u64,
    bytes: u64,
    largest: usize,
}

fn cut(content: &[u8], steps: &[usize], limits: Limits, check: Option<u64>) -> io::Result<Outcome> {
    let mut source = Dribble {
        content,
        steps: steps.iter().cycle(),
    };
    let (outcome, result) = cut_from(&mut source, content.len() as u64, limits, check);
    result.map(|()| outcome)
}

/// What is handed out of a source of about so many bytes, and whether that is all.
fn cut_from(source: &mut dyn Read, bytes: u64, limits: Limits, check: Option<u64>) -> (Outcome, io::Result<()>) {
    // One chunk: whoever holds a buffer while waiting for another would hang.
    let pool = Pool::new(limits.chunk_bytes, 1, 1);
    let mut outcome = Outcome {
        lines: Vec::new(),
        counted: 0,
        bytes: 0,
        largest: 0,
    };
    let mut carry = Vec::new();
    let mut opened = false;
    let mut counted = 0;
    let mut out = |fetched: Fetched| {
        counted += fetched.lines();
        match fetched {
            Fetched::Opened { .. } => assert!(!std::mem::replace(&mut opened, true), "opened twice"),
            Fetched::Lines { bytes, .. } => {
                assert!(opened && !bytes.is_empty());
                outcome.largest = outcome.largest.max(bytes.capacity());
                outcome.lines.extend(
                    bytes
                        .split_inclusive(|b| *b == b'\n')
                        .map(|line| Line::Text(line.to_vec())),
                );
                pool.give(bytes);
            }
            Fetched::TooLarge { prefix, bytes, .. } => outcome.lines.push(Line::TooLarge(prefix, bytes)),
            other => panic!("{other:?}"),
        }
        true
    };
    let mut cutter = Cutter {
        id: 7,
        key: "key",
        pool: &pool,
        limits,
        out: &mut out,
        carry: &mut carry,
        metadata: None,
        digest: check.map(|_| Xxh3::new()),
        expected: check,
        handed_out: false,
        bytes: 0,
    };
    let result = cutter.lines(source, pool.size_for(bytes));
    outcome.bytes = cutter.bytes;
    outcome.counted = counted;
    (outcome, result)
}

fn limits(chunk_bytes: usize, record_bytes: usize) -> Limits {
    Limits {
        record_bytes,
        whole_bytes: 1 << 20,
        decoded_bytes: 1 << 20,
        chunk_bytes,
    }
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![8 => 0usize..20, 2 => 15usize..70, 1 => 60usize..300];
    let lines = prop::collection::vec(line, 0..30);
    (lines, any::<bool>(), any::<bool>()).prop_map(|(lines, mark, newline)| {
        let mut content = if mark { BYTE_ORDER_MARK.to_vec() } else { Vec::new() };
        for (n, length) in lines.into_iter().enumerate() {
            content.extend(std::iter::repeat_n(b'a' + (n % 26) as u8, length));
            content.push(b'\n');
        }
        if !newline {
            content.pop();
        }
        content
    })
}

proptest! {
    #[test]
    fn chunks_hold_the_lines(
        content in content(),
        chunk_bytes in 16usize..80,
        more in 0usize..120,
        steps in prop::collection::vec(1usize..40, 1..6),
    ) {
        let record_bytes = chunk_bytes + more;
        let outcome = cut(&content, &steps, limits(chunk_bytes, record_bytes), Some(checksum(&content))).unwrap();
        let expected = naive(&content, record_bytes);
        prop_assert_eq!(outcome.counted, expected.len() as u64);
        prop_assert_eq!(outcome.bytes, content.len() as u64);
        prop_assert!(outcome.largest <= record_bytes + 1, "held {} bytes", outcome.largest);
        prop_assert_eq!(outcome.lines, expected);
    }
}

/// The boundaries at which a full buffer, a limit and a newline meet.
#[test]
fn every_length_around_the_limits() {
    for record_bytes in [16, 17, 31, 32, 33, 48] {
        for length in 0..100 {
            for tail in ["", "\n", "\nx", "\nx\n"] {
                let content = [vec![b'l'; length], tail.as_bytes().to_vec()].concat();
                let outcome = cut(&content, &[5], limits(16, record_bytes), None).unwrap();
                assert_eq!(
                    outcome.lines,
                    naive(&content, record_bytes),
                    "{length} {tail:?} {record_bytes}"
                );
            }
        }
    }
}

/// A small buffer that turns out too small gives way to a large one.
#[test]
fn an_object_larger_than_listed() {
    let content = [vec![b'x'; 40_000], b"\ny\n".to_vec()].concat();
    let limits = limits(32 << 10, 64 << 10);
    let pool = Pool::new(limits.chunk_bytes, 1, 1);
    assert_eq!(pool.size_for(100), Size::Small);
    let mut lines = Vec::new();
    let mut out = |fetched| {
        match fetched {
            Fetched::Opened { .. } => {}
            Fetched::Lines { bytes, .. } => {
                lines.extend_from_slice(&bytes);
                pool.give(bytes);
            }
            other => panic!("{other:?}"),
        }
        true
    };
    let mut cutter = Cutter {
        id: 0,
        key: "key",
        pool: &pool,
        limits,
        out: &mut out,
        carry: &mut Vec::new(),
        metadata: None,
        digest: None,
        expected: None,
        handed_out: false,
        bytes: 0,
    };
    cutter.lines(&mut content.as_slice(), Size::Small).unwrap();
    assert_eq!(lines, content);
}

#[test]
fn a_wrong_checksum_holds_the_last_chunk_back() {
    let Err(error) = cut(b"one\ntwo\n", &[3], limits(64, 64), Some(1)) else {
        panic!("accepted")
    };
    assert!(causes::with_causes(&error).contains("checksum"), "{error}");
}

#[test]
fn a_bomb_is_stopped() {
    let content = vec![b'\n'; 5000];
    let limits = Limits {
        decoded_bytes: 4096,
        ..limits(64, 64)
    };
    let Err(error) = cut(&content, &[64], limits, None) else {
        panic!("accepted")
    };
    assert!(error.to_string().contains("larger than 4096"), "{error}");
}
