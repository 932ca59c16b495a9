//! The bytes of a record, as a lake holds them: compact JSON, UTF-8, characters beyond the basic plane as two escapes.
//!
//! Contents follow the distributions of the real tables: sorted categories, a few countries and posters far ahead of
//! the rest, ages and join dates that thin out, sentinels where the scraper found nothing.

use super::event::{Event, Form};
use super::names::{CATEGORIES, COUNTRIES, FIRST, LAST_ENDS, LAST_STEMS};
use super::random::Random;
use super::words::{OF_CATEGORY, OF_DESCRIPTIONS, OF_POSTERS, OF_TITLES, UNUSUAL};
use std::io::Write;

/// Distinct posters at most.
const POSTERS: u64 = 49_152;
/// 2017-10-19 15:00:00 and 2022-10-19 18:00:00 in seconds: the time stamps of places.
const PLACES: (u64, u64) = (1_508_425_200, 1_666_202_400);
/// 2015-10-21 00:00:00 and 2017-10-20 11:00:00 in seconds: when users joined.
const JOINED: (u64, u64) = (1_445_385_600, 1_508_497_200);

// tags of the random streams, so that no two kinds of things share one; 4 is that of `event`, 5 that of `sequence`
const POST: u64 = 1;
const POSTER: u64 = 2;
const PERSON: u64 = 3;

/// Writes records.
#[derive(Clone, Debug)]
pub struct Renderer {
    seed: u64,
    /// The country of each share of the weights.
    countries: Vec<u8>,
    /// The category of each index, modulo their number.
    categories: Vec<u8>,
    /// The age of each share of the weights.
    ages: Vec<u8>,
}

impl Renderer {
    /// A writer of this seed's records.
    pub fn new(seed: u64) -> Renderer {
        let spread = |weights: &mut dyn Iterator<Item = u32>| -> Vec<u8> {
            weights
                .enumerate()
                .flat_map(|(index, weight)| std::iter::repeat_n(index as u8, weight as usize))
                .collect()
        };
        // 20 is by far the most frequent age, then 21; from 22 to 60 the frequency falls to a sixth
        let ages = (20..=60).map(|age: u32| match age {
            20 => 2100,
            21 => 1200,
            age => 90 + 510 * (60 - age) * (60 - age) / (38 * 38),
        });
        Renderer {
            seed,
            countries: spread(&mut COUNTRIES.iter().map(|(_, weight)| *weight)),
            categories: spread(&mut CATEGORIES.iter().map(|(_, width)| *width)),
            ages: spread(&mut ages.into_iter())
                .into_iter()
                .map(|index| index + 20)
                .collect(),
        }
    }

    /// Appends the record of an event, without a line end.
    pub fn write(&self, event: &Event, out: &mut Vec<u8>) {
        match event.form {
            Form::Delete => write_to(out, format_args!("{{\"ind\":{},\"__deleted\":true}}", event.ind)),
            Form::Plain => self.plain(event, out),
            Form::Odd(number) => self.odd(event, number, out),
        }
    }

    /// The record of an event on its own.
    pub fn json(&self, event: &Event) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024);
        self.write(event, &mut out);
        out
    }

    fn plain(&self, event: &Event, out: &mut Vec<u8>) {
        let mut random = Random::of([
            self.seed,
            POST + (u64::from(event.kind) << 8),
            event.ind,
            u64::from(event.version),
        ]);
        match event.kind {
            0 => self.pin(event.ind, &mut random, out),
            1 => self.geo(event.ind, &mut random, out),
            _ => self.user(event.ind, &mut random, out),
        }
    }

    fn pin(&self, ind: u64, random: &mut Random, out: &mut Vec<u8>) {
        let category = usize::from(self.categories[(ind % self.categories.len() as u64) as usize]);
        let name = CATEGORIES[category].0;
        let empty = random.per_mille(8);
        let story = empty || random.per_mille(68);
        out.extend_from_slice(b"{\"index\":");
        number(out, ind);
        out.extend_from_slice(b",\"unique_id\":\"");
        unique_id(random, out);
        out.extend_from_slice(b"\",\"title\":\"");
        if empty {
            out.extend_from_slice(b"No Title Data Available");
        } else {
            title(category, random, out);
        }
        out.extend_from_slice(b"\",\"description\":\"");
        if story {
            out.extend_from_slice(b"No description available Story format");
        } else if random.per_mille(16) {
            out.extend_from_slice(b"No description available");
        } else {
            description(category, random, out);
        }
        out.extend_from_slice(b"\",\"poster_name\":\"");
        if empty {
            out.extend_from_slice(b"User Info Error\",\"follower_count\":\"User Info Error");
        } else {
            let poster = if random.per_mille(450) {
                random.zipf(15)
            } else {
                random.below(POSTERS)
            };
            self.poster(poster, out);
        }
        out.extend_from_slice(b"\",\"tag_list\":\"");
        if empty || random.per_mille(8) {
            out.extend_from_slice(b"N,o, ,T,a,g,s, ,A,v,a,i,l,a,b,l,e");
        } else {
            tags(category, random, out);
        }
        let source = !empty && !random.per_mille(17);
        let kind: &[u8] = if story {
            b"multi-video(story page format)"
        } else if random.per_mille(31) {
            b"video"
        } else {
            b"image"
        };
        out.extend_from_slice(b"\",\"is_image_or_video\":\"");
        out.extend_from_slice(kind);
        out.extend_from_slice(b"\",\"image_src\":\"");
        if source {
            image_source(random, out);
        } else {
            out.extend_from_slice(b"Image src error.");
        }
        out.extend_from_slice(b"\",\"downloaded\":");
        out.push(b'0' + u8::from(source));
        out.extend_from_slice(b",\"save_location\":\"Local save in /data/");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\",\"category\":\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\"}");
    }

    /// Name and follower count: both belong to the poster, not to the post.
    fn poster(&self, poster: u64, out: &mut Vec<u8>) {
        let mut random = Random::of([self.seed, POSTER, poster, 0]);
        match random.below(4) {
            0 => {
                out.extend_from_slice(random.pick(FIRST).as_bytes());
                out.push(b' ');
                last_name(&mut random, out);
            }
            1 => {
                out.extend_from_slice(b"The ");
                let words = random.pick(&OF_CATEGORY);
                out.extend_from_slice(random.pick(words).as_bytes());
                out.push(b' ');
                last_name(&mut random, out);
            }
            _ => {
                last_name(&mut random, out);
                out.push(b' ');
                let words = random.pick(&OF_CATEGORY);
                out.extend_from_slice(random.pick(words).as_bytes());
            }
        }
        out.extend_from_slice(random.pick(&OF_POSTERS).as_bytes());
        out.extend_from_slice(b"\",\"follower_count\":\"");
        match random.below(1000) {
            0..80 => {
                // the very top is rare, so that few posters lead all countries
                let millions = if random.per_mille(1) {
                    15
                } else {
                    *random.pick(&[2, 2, 2, 2, 1, 1, 5, 5, 4, 3, 8, 6, 7])
                };
                number(out, millions);
                out.push(b'M');
            }
            80..256 => {
                let bound = *random.pick(&[10, 100, 100, 1000, 1000, 1000]);
                number(out, random.below(bound));
            }
            _ => {
                let bound = *random.pick(&[9, 99, 99, 999, 999]);
                number(out, 1 + random.below(bound));
                out.push(b'k');
            }
        }
    }

    fn geo(&self, ind: u64, random: &mut Random, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"ind\":");
        number(out, ind);
        out.extend_from_slice(b",\"timestamp\":\"");
        time(out, PLACES.0 + random.below(PLACES.1 - PLACES.0), b' ');
        out.extend_from_slice(b"\",\"latitude\":");
        coordinate(out, random.below(1_800_001) as i64 - 900_000);
        out.extend_from_slice(b",\"longitude\":");
        coordinate(out, random.below(3_600_001) as i64 - 1_800_000);
        out.extend_from_slice(b",\"country\":\"");
        out.extend_from_slice(COUNTRIES[usize::from(*random.pick(&self.countries))].0.as_bytes());
        out.extend_from_slice(b"\"}");
    }

    /// A person: about half of the users are one of few, the others are themselves.
    fn user(&self, ind: u64, random: &mut Random, out: &mut Vec<u8>) {
        let person = if random.per_mille(600) {
            random.zipf(14)
        } else {
            1 << 40 | random.next_u64() >> 24
        };
        let mut random = Random::of([self.seed, PERSON, person, 0]);
        out.extend_from_slice(b"{\"ind\":");
        number(out, ind);
        out.extend_from_slice(b",\"first_name\":\"");
        out.extend_from_slice(random.pick(FIRST).as_bytes());
        out.extend_from_slice(b"\",\"last_name\":\"");
        last_name(&mut random, out);
        if random.per_mille(250) {
            out.push(b'-');
            last_name(&mut random, out);
        }
        out.extend_from_slice(b"\",\"age\":");
        number(out, u64::from(*random.pick(&self.ages)));
        out.extend_from_slice(b",\"date_joined\":\"");
        // the lesser of two: more joined at the beginning
        let span = JOINED.1 - JOINED.0;
        let joined = JOINED.0 + random.below(span).min(random.below(span));
        time(out, joined, b' ');
        out.extend_from_slice(b"\"}");
    }

    /// The forms that real streams contain beside the plain one: [`Form::ACCEPTED`] of them are accepted as records,
    /// the others are dead letters.
    fn odd(&self, event: &Event, form: u8, out: &mut Vec<u8>) {
        let start = out.len();
        self.plain(event, out);
        let plain = out.split_off(start);
        let text = std::str::from_utf8(&plain).expect("records are UTF-8");
        let key = if event.kind == 0 { "index" } else { "ind" };
        let other_key = if event.kind == 0 { "ind" } else { "index" };
        let head = format!("{{\"{key}\":{}", event.ind);
        let tail = &text[head.len()..];
        match form {
            0 => write_to(out, format_args!("{{\"value\":{text}}}")),
            1 => write_to(out, format_args!("[{text}]")),
            2 => write_to(out, format_args!("{{\"{other_key}\":{}{tail}", event.ind)),
            3 => write_to(out, format_args!("{{\"{key}\":\"{}\"{tail}", event.ind)),
            4 => write_to(
                out,
                format_args!("{head},\"sender\":{{\"version\":[1,2],\"host\":\"a\"}}{tail}"),
            ),
            // a field that cannot be read: null, and the record lives on
            5 => write_to(
                out,
                format_args!("{head},\"age\":\"abc\",\"timestamp\":\"yesterday\",\"follower_count\":\"many\"}}"),
            ),
            // dead letters from here on
            6 => out.extend_from_slice(&plain[..plain.len() / 2]),
            7 => write_to(out, format_args!("{}", serde_json::Value::from(text))),
            8 => out.extend_from_slice(b"\"\""),
            9 => write_to(out, format_args!("{{\"value\":1{tail}")),
            10 => write_to(out, format_args!("{{\"{key}\":\"{key}\"{tail}")),
            11 => write_to(out, format_args!("[{},2,3]", event.ind)),
            _ => write_to(out, format_args!("{head},\"{other_key}\":{}{tail}", event.ind + 1)),
        }
    }
}

fn write_to(out: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).expect("writing to a Vec");
}

fn number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// A number of so many ten thousandths.
fn coordinate(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    let value = value.unsigned_abs();
    number(out, value / 10_000);
    out.push(b'.');
    for divisor in [1000, 100, 10, 1] {
        out.push(b'0' + (value / divisor % 10) as u8);
    }
}

fn two_digits(out: &mut Vec<u8>, number: u64) {
    out.push(b'0' + (number / 10) as u8);
    out.push(b'0' + (number % 10) as u8);
}

/// A time in seconds since 1970 as `2020-08-28 03:52:47`.
fn time(out: &mut Vec<u8>, seconds: u64, separator: u8) {
    let (day, second) = (seconds / 86_400, seconds % 86_400);
    // civil from days (Hinnant), years from March so that leap days come last
    let day = day + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    number(out, year + era * 400 + u64::from(month <= 2));
    out.push(b'-');
    two_digits(out, month);
    out.push(b'-');
    two_digits(out, day);
    out.push(separator);
    two_digits(out, second / 3600);
    out.push(b':');
    two_digits(out, second / 60 % 60);
    out.push(b':');
    two_digits(out, second % 60);
}

fn hex(out: &mut Vec<u8>, mut bits: u64, digits: usize) {
    for _ in 0..digits {
        out.push(b"0123456789abcdef"[(bits & 15) as usize]);
        bits >>= 4;
    }
}

fn unique_id(random: &mut Random, out: &mut Vec<u8>) {
    let (first, second) = (random.next_u64(), random.next_u64());
    hex(out, first, 8);
    out.push(b'-');
    hex(out, first >> 32, 4);
    out.extend_from_slice(b"-4");
    hex(out, first >> 48, 3);
    out.push(b'-');
    out.push(b"89ab"[(first >> 60 & 3) as usize]);
    hex(out, second, 3);
    out.push(b'-');
    hex(out, second >> 12, 12);
}

fn image_source(random: &mut Random, out: &mut Vec<u8>) {
    let (first, second) = (random.next_u64(), random.next_u64());
    out.extend_from_slice(b"https://i.pinimg.com/originals/");
    for shift in [0, 8, 16] {
        hex(out, first >> shift, 2);
        out.push(b'/');
    }
    hex(out, first, 16);
    hex(out, second, 16);
    out.extend_from_slice(if second >> 60 == 0 { b".png" } else { b".jpg" });
}

fn last_name(random: &mut Random, out: &mut Vec<u8>) {
    out.extend_from_slice(random.pick(LAST_STEMS).as_bytes());
    out.extend_from_slice(random.pick(LAST_ENDS).as_bytes());
}

/// Words until about `length` bytes are reached.
fn title(category: usize, random: &mut Random, out: &mut Vec<u8>) {
    let length = 12 + random.below(38) as usize + random.below(38) as usize;
    let start = out.len();
    if random.per_mille(150) {
        number(out, 3 + random.below(98));
        out.push(b' ');
    }
    loop {
        let word = match random.below(2) {
            0 => random.pick(&OF_CATEGORY[category]),
            _ => random.pick(&OF_TITLES),
        };
        out.extend_from_slice(word.as_bytes());
        if out.len() - start >= length {
            break;
        }
        out.push(b' ');
    }
    match random.below(100) {
        0..9 => {
            out.push(b' ');
            out.extend_from_slice(random.pick(&UNUSUAL).as_bytes());
        }
        9 => out.extend_from_slice(b" \\\"Wow\\\""),
        _ => {}
    }
}

fn description(category: usize, random: &mut Random, out: &mut Vec<u8>) {
    // most are cut at 180 characters, with an ellipsis and a hard space
    let cut = random.per_mille(420);
    let length = if cut { 172 } else { 30 + random.below(146) as usize };
    let start = out.len();
    loop {
        let word = match random.below(4) {
            0 => random.pick(&OF_CATEGORY[category]),
            _ => random.pick(&OF_DESCRIPTIONS),
        };
        out.extend_from_slice(word.as_bytes());
        if out.len() - start >= length {
            break;
        }
        out.push(b' ');
    }
    match random.below(100) {
        0..6 => {
            out.push(b' ');
            out.extend_from_slice(random.pick(&UNUSUAL).as_bytes());
        }
        6..8 => out.extend_from_slice(b"\\nMore on the blog"),
        _ => {}
    }
    if cut {
        out.extend_from_slice("…\u{a0}".as_bytes());
    }
}

fn tags(category: usize, random: &mut Random, out: &mut Vec<u8>) {
    let count = 8 + random.below(3);
    for index in 0..count {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(random.pick(&OF_CATEGORY[category]).as_bytes());
        out.push(b' ');
        out.extend_from_slice(random.pick(&OF_CATEGORY[category]).as_bytes());
        if random.per_mille(150) {
            out.push(b' ');
            out.extend_from_slice(random.pick(&OF_TITLES).as_bytes());
        }
    }
}
