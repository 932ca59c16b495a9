//! Nanoseconds a record of the two decoders, on generated pin, geo and user records as a lake holds them.
//!
//! `cargo bench -p dataflows`. A table on stdout; no statistics beyond the best of several rounds.

use dataflows::{Block, Chunk, Decoder, Kind, Limits, Marked, Marks, Options, Raw, Results, State};
use operators::{Offset, Partition, Position};
use std::fmt::Write;
use std::hint::black_box;
use std::sync::LazyLock;
use std::time::Instant;

const RECORDS: usize = 100_000;
/// Records of a chunk, which stays in the second-level cache.
const CHUNK: usize = 500;
/// Passes over all records in one round: the clock ticks every few milliseconds.
const PASSES: usize = 4;
const ROUNDS: usize = 5;

const WORDS: &[&str] = &[
    "Summer",
    "Crafts",
    "for",
    "Kids",
    "Christmas",
    "Porch",
    "decorating",
    "ideas",
    "the",
    "best",
    "of",
    "Holiday",
    "décor",
    "and",
    "Minimalist",
    "Tattoo",
    "Designs",
    "that",
    "you",
    "will",
    "love",
    "Travel",
    "Guide",
    "–",
    "Home",
];
const CATEGORIES: &[&str] = &[
    "art",
    "beauty",
    "christmas",
    "diy-and-crafts",
    "education",
    "event-planning",
    "finance",
];

/// A linear congruential generator: the same records in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % limit
    }

    fn words(&mut self, count: usize) -> String {
        let words: Vec<&str> = (0..count).map(|_| WORDS[self.below(WORDS.len())]).collect();
        words.join(" ")
    }
}

fn generate(kind: Kind, numbers: &mut Numbers, ind: usize) -> String {
    match kind {
        Kind::Pin => {
            let category = CATEGORIES[numbers.below(CATEGORIES.len())];
            let (title, description, tags) = (numbers.words(8), numbers.words(26), numbers.words(17).replace(' ', ","));
            let (poster, followers) = (numbers.below(50_000), numbers.below(900));
            let escape = if numbers.below(8) == 0 { "\\u2026 \\\"x\\\"" } else { "" };
            format!(
                "{{\"index\":{ind},\"unique_id\":\"fbe53c66-3442-4773-b19e-d3ec6f54dddf\",\"title\":\"{title}\",\
                 \"description\":\"{description}{escape}\",\"poster_name\":\"Poster {poster}\",\
                 \"follower_count\":\"{followers}k\",\"tag_list\":\"{tags}\",\"is_image_or_video\":\"image\",\
                 \"image_src\":\"https://i.pinimg.com/originals/b3/bc/e2/b3bce2964e8c8975387b39660eed5f16.jpg\",\
                 \"downloaded\":1,\"save_location\":\"Local save in /data/{category}\",\"category\":\"{category}\"}}"
            )
        }
        Kind::Geo => format!(
            "{{\"ind\":{ind},\"timestamp\":\"20{:02}-{:02}-{:02} 03:52:47\",\"latitude\":-{}.9787,\
             \"longitude\":{}.293,\"country\":\"Country {}\"}}",
            17 + numbers.below(6),
            1 + numbers.below(12),
            1 + numbers.below(28),
            numbers.below(90),
            numbers.below(180),
            numbers.below(243)
        ),
        Kind::User => format!(
            "{{\"ind\":{ind},\"first_name\":\"First{}\",\"last_name\":\"Last{}\",\"age\":{},\
             \"date_joined\":\"2015-10-{:02} 11:23:{:02}\"}}",
            ind / 2 % 300,
            ind / 600 % 20,
            20 + ind / 2 % 40,
            1 + ind / 2 % 28,
            ind / 16_800 % 60
        ),
    }
}

/// CPU time of this thread in nanoseconds, where Linux tells it, so that other load on the machine counts less.
fn now() -> f64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let used = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let used = used.and_then(|text| text.split(' ').next()?.parse().ok());
    used.unwrap_or_else(|| START.elapsed().as_nanos() as f64)
}

/// The best nanoseconds a record of several rounds. As in a run, records come in chunks that were just copied, and
/// a block ends with its chunk.
fn measure<D>(
    chunks: &[String],
    mut decode: impl for<'a> FnMut(&mut Decoder, &mut Block<'a>, Position, Marked<'a>) -> D,
) -> f64 {
    let mut decoder = Decoder::new(Limits::default());
    let (mut buffer, mut marks) = (Vec::new(), Marks::default());
    let mut round = || {
        let start = now();
        for chunk in (0..PASSES).flat_map(|_| chunks) {
            buffer.clear();
            buffer.extend_from_slice(chunk.as_bytes());
            let mut block = Block::default();
            for (offset, line) in Chunk::new(&buffer, &mut marks).lines().enumerate() {
                let position = Position::new(1, Offset(offset as i64), Partition(0)).expect("small");
                black_box(decode(&mut decoder, &mut block, position, line.expect("UTF-8")));
            }
            decoder.finish(&mut block, &mut |event| {
                black_box(event);
            });
        }
        (now() - start) / (PASSES * RECORDS) as f64
    };
    (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min)
}

fn main() {
    println!(
        "nanoseconds a record; `lines` (copy, look over and split a chunk) is part of all; `decode` validates again"
    );
    println!("kind   bytes   lines   block  decode  reference  with row");
    for kind in Kind::ALL {
        let mut numbers = Numbers(7);
        let mut chunks = Vec::new();
        for first in (0..RECORDS).step_by(CHUNK) {
            let mut chunk = String::new();
            for ind in first..first + CHUNK {
                writeln!(chunk, "{}", generate(kind, &mut numbers, ind)).expect("writing to a string");
            }
            chunks.push(chunk);
        }
        let lines = measure(&chunks, |_, _, _, line| line.text.len());
        let block = measure(&chunks, |decoder, block, position, line| {
            let emit = &mut |event| {
                black_box(event);
            };
            decoder
                .decode_text_into(block, kind, position, line, emit)
                .expect("a record");
        });
        let decode = measure(&chunks, |decoder, _, position, line| {
            let raw = Raw {
                kind,
                position,
                key: None,
                value: Some(line.text.as_bytes()),
            };
            decoder.decode(raw).expect("a record")
        });
        let reference = measure(&chunks, |decoder, _, position, line| {
            decoder.decode_reference(kind, position, line.text).expect("a record")
        });
        let row = measure(&chunks, |decoder, _, position, line| {
            decoder
                .decode_text_with_row(kind, position, line.text)
                .expect("a record")
        });
        let bytes = chunks.iter().map(String::len).sum::<usize>() / RECORDS;
        println!("{kind:5} {bytes:6} {lines:7.0} {block:7.0} {decode:7.0} {reference:10.0} {row:9.0}");
    }
    oracle();
}

/// What `verify --replay` pays: the oracle over as many posts.
fn oracle() {
    let results = Results::built_in(&Options::default());
    let (mut decoder, mut state, mut numbers) = (Decoder::default(), State::for_results(&results), Numbers(7));
    let start = now();
    for ind in 0..RECORDS {
        for kind in Kind::ALL {
            let position = Position::new(1, Offset(ind as i64), Partition(0)).expect("small");
            let text = generate(kind, &mut numbers, ind);
            state.apply(decoder.decode_text_with_row(kind, position, &text).expect("a record"));
        }
    }
    let applied = now();
    let rows: usize = state.results(&results).iter().map(Vec::len).sum();
    let (apply, results) = (1e-9 * (applied - start), 1e-9 * (now() - applied));
    println!("oracle, {RECORDS} posts: {apply:.2} s to generate and apply, {results:.2} s for {rows} rows of results");
}
