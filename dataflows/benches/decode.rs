//! Nanoseconds a record of the two decoders, on generated pin, geo and user records as a lake holds them.
//!
//! `cargo bench -p dataflows`. A table on stdout; no statistics beyond the best of several rounds.

use dataflows::{Decoder, Kind, Limits, Options, Raw, naive::State};
use operators::Position;
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

/// The best nanoseconds a record of several rounds. As in a run, records come in chunks that were just copied.
fn measure(chunks: &[String], mut decode: impl FnMut(&mut Decoder, Position, &str)) -> f64 {
    let mut decoder = Decoder::new(Limits::default());
    let mut buffer = Vec::new();
    let mut round = || {
        let start = now();
        for chunk in (0..PASSES).flat_map(|_| chunks) {
            buffer.clear();
            buffer.extend_from_slice(chunk.as_bytes());
            for (offset, line) in dataflows::lines(&buffer).enumerate() {
                let position = Position::new(1, offset as i64, 0).expect("small");
                decode(&mut decoder, position, line.expect("UTF-8"));
            }
        }
        (now() - start) / (PASSES * RECORDS) as f64
    };
    (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min)
}

fn main() {
    println!(
        "nanoseconds a record; `lines` (copy, validate and split a chunk) is part of all; `decode` validates again"
    );
    println!("kind   bytes   lines    fast    text  decode  reference  with row");
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
        let lines = measure(&chunks, |_, _, line| {
            black_box(line);
        });
        let fast = measure(&chunks, |decoder, position, line| {
            black_box(decoder.decode_fast(kind, position, line)).expect("the usual shape");
        });
        let text = measure(&chunks, |decoder, position, line| {
            black_box(decoder.decode_text(kind, position, line)).expect("a record");
        });
        let decode = measure(&chunks, |decoder, position, line| {
            let raw = Raw {
                kind,
                position,
                key: None,
                value: Some(line.as_bytes()),
            };
            black_box(decoder.decode(raw)).expect("a record");
        });
        let reference = measure(&chunks, |decoder, position, line| {
            black_box(decoder.decode_reference(kind, position, line)).expect("a record");
        });
        let row = measure(&chunks, |decoder, position, line| {
            black_box(decoder.decode_text_with_row(kind, position, line)).expect("a record");
        });
        let bytes = chunks.iter().map(String::len).sum::<usize>() / RECORDS;
        println!("{kind:5} {bytes:6} {lines:7.0} {fast:7.0} {text:7.0} {decode:7.0} {reference:10.0} {row:9.0}");
    }
    oracle();
}

/// What `verify --replay` pays: the oracle over as many posts.
fn oracle() {
    let (mut decoder, mut state, mut numbers) = (Decoder::default(), State::for_results(), Numbers(7));
    let start = now();
    for ind in 0..RECORDS {
        for kind in Kind::ALL {
            let position = Position::new(1, ind as i64, 0).expect("small");
            let text = generate(kind, &mut numbers, ind);
            state.apply(decoder.decode_text_with_row(kind, position, &text).expect("a record"));
        }
    }
    let applied = now();
    let rows: usize = state.results(&Options::default()).iter().map(Vec::len).sum();
    let (apply, results) = (1e-9 * (applied - start), 1e-9 * (now() - applied));
    println!("oracle, {RECORDS} posts: {apply:.2} s to generate and apply, {results:.2} s for {rows} rows of results");
}
