//! What history costs: a million posts of three records each, through `latest` and through each operator after it.
//!
//! `cargo bench -p operators` prints a line for each dataflow: CPU time, CPU time per record, memory per post, and what
//! one record costs after history, each in an epoch of its own (the median of [`LIVE`] of them). The first dataflow only
//! makes the records: what it takes is part of every other line. Behind some stands the same result with differential's
//! own operators. Arguments: `-- [workers [posts]]`.
//! Each dataflow runs in a process of its own, so that none inherits another's memory.

mod differential;

use differential_dataflow::VecCollection;
use operators::ordered::{Percentile, ordered};
use operators::top::{Order, Place, PlaceKind, top};
use operators::{
    Event, Keep, Name, Offset, Packed64, Partition, Position, Routing, Slots, Symbol, count, distinct_count, greatest,
    latest, median, rank,
};
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::cmp::Ordering;
use std::rc::Rc;
use std::time::{Duration, Instant};
use timely::dataflow::operators::generic::operator::source;
use timely::dataflow::operators::{Inspect, Probe};
use timely::dataflow::{ProbeHandle, Stream};

const COUNTRIES: u64 = 200;
const CATEGORIES: u64 = 16;
const POSTERS: u64 = 700_000;
const FOLLOWERS: u64 = 11_000;
/// Records of 1,000 posts beyond three each: later versions.
const AGAIN: u64 = 160;

/// As in one process.
const ROUTING: Routing = Routing::OneProcess;

/// Records after history.
const LIVE: u64 = 200;
/// Different years of joining that medians look at.
const YEARS: u16 = 4;

/// Behind the name of a dataflow: with differential's own operators.
const BASELINE: &str = " (differential)";

const DATAFLOWS: [&str; 15] = [
    "nothing",
    "latest",
    "latest, 1 count",
    "latest, 1 count (differential)",
    "latest, 4 counts",
    "latest, 4 counts, ranks",
    "latest, 4 counts, ranks (differential)",
    "latest, greatest, rank",
    "latest, greatest, rank (differential)",
    "latest, greatest, top",
    "latest, distinct count",
    "latest, 3 medians",
    "latest, 3 medians (differential)",
    "latest, 3 ordered",
    "all",
];

/// 44 bytes, as the real thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Post {
    followers: Packed64,
    joined: Packed64,
    poster: Option<Symbol>,
    country: Option<Symbol>,
    category: Option<Symbol>,
    /// A name of two parts and an age: nothing here looks at them.
    other: [u32; 3],
    year: u16,
    age: u8,
    slots: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Payload {
    Pin {
        poster: Symbol,
        category: Symbol,
        followers: i64,
    },
    Geo {
        country: Symbol,
        year: u16,
    },
    User {
        age: u8,
        joined: i64,
    },
}

impl Slots for Post {
    const SLOTS: usize = 3;
    type Payload = Payload;
    type Shape = ();

    fn set(&mut self, _: &(), slot: u8, payload: Option<&Payload>) {
        self.slots = self.slots & !(1 << slot) | u8::from(payload.is_some()) << slot;
        match payload {
            Some(&Payload::Pin {
                poster,
                category,
                followers,
            }) => {
                (self.poster, self.category, self.followers) = (Some(poster), Some(category), followers.into());
            }
            Some(&Payload::Geo { country, year }) => (self.country, self.year) = (Some(country), year),
            Some(&Payload::User { age, joined }) => (self.age, self.joined) = (age, joined.into()),
            None => {}
        }
    }

    fn is_empty(&self, _: &()) -> bool {
        self.slots == 0
    }
}

impl Post {
    fn group(&self) -> u8 {
        self.age / 15
    }

    fn joined_year(&self) -> u16 {
        (self.joined.get() >> 20) as u16
    }
}

/// Names by a number, the greatest first: what `rank` does, of `top`.
struct ByNumber;

impl Order<(Symbol, i64)> for ByNumber {
    fn terms(&self) -> usize {
        2
    }

    fn compare(&self, a: &(Symbol, i64), b: &(Symbol, i64), terms: usize) -> Ordering {
        let number = if terms > 0 { b.1.cmp(&a.1) } else { Ordering::Equal };
        number.then_with(|| if terms > 1 { a.0.cmp(&b.0) } else { Ordering::Equal })
    }

    fn quick(&self) -> usize {
        1
    }

    fn identity(&self, a: &(Symbol, i64), b: &(Symbol, i64)) -> Ordering {
        a.0.identity().cmp(&b.0.identity())
    }
}

struct Names {
    countries: Vec<Symbol>,
    categories: Vec<Symbol>,
    posters: Vec<Symbol>,
}

impl Names {
    fn new() -> Names {
        let names = |kind: &str, n: u64| {
            (0..n)
                .map(|n| Symbol::new(&format!("{:x} {kind}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24)))
                .collect()
        };
        Names {
            countries: names("country", COUNTRIES),
            categories: names("category", CATEGORIES),
            posters: names("poster", POSTERS),
        }
    }

    /// The `n`-th record: posts in bursts, a post's three records near each other.
    fn record(&self, n: u64, posts: u64) -> Event<Payload> {
        let (key, slot) = if n < 3 * posts {
            (n / 3, n % 3)
        } else {
            ((n * 7919) % posts, n % 3)
        };
        let random = (key + 1)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
            .wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let random = random ^ random >> 31 ^ u64::from(n >= 3 * posts);
        // what comes after history changes all of a record
        let random = if n >= history(posts) {
            random.rotate_left(27)
        } else {
            random
        };
        // the square of a uniform number: some are much more frequent
        let skewed = |shift: u32, bound: u64| ((((random >> shift) & 0xffff).pow(2) * bound) >> 32) as usize;
        let payload = match slot {
            0 => Payload::Pin {
                poster: self.posters[(random % POSTERS) as usize],
                category: self.categories[skewed(3, CATEGORIES)],
                followers: (skewed(7, FOLLOWERS) * 1000) as i64,
            },
            1 => Payload::Geo {
                country: self.countries[skewed(23, COUNTRIES)],
                year: 2018 + (random >> 50) as u16 % 5,
            },
            _ => Payload::User {
                age: (18 + (random >> 40) % 42) as u8,
                joined: (random >> 42) as i64,
            },
        };
        Event {
            key: key as i64,
            position: Position::new(1, Offset(n as i64), Partition(0)).expect("an offset"),
            slot: slot as u8,
            payload: Some(payload),
        }
    }
}

/// The number of records in history.
fn history(posts: u64) -> u64 {
    3 * posts + posts * AGAIN / 1000
}

type Posts<'s> = VecCollection<'s, u64, Post, isize>;

fn probe<'s, D: differential_dataflow::Data>(collection: VecCollection<'s, u64, D, isize>, probe: &ProbeHandle<u64>) {
    collection
        .inner
        .inspect_batch(|_, updates| _ = std::hint::black_box(updates.len()))
        .probe_with(probe);
}

fn popular<'s, G: operators::Key>(
    posts: &Posts<'s>,
    group: impl Fn(&Post) -> Option<G> + 'static,
    ranked: bool,
    done: &ProbeHandle<u64>,
) {
    let counts = count(
        posts
            .clone()
            .flat_map(move |post| Some((group(&post)?, post.category?))),
        "count",
        ROUTING,
    );
    if ranked {
        probe(
            rank(
                counts.map(|((group, category), n)| (group, (category, n))),
                "rank",
                ROUTING,
                Keep::Top(10),
            ),
            done,
        );
    } else {
        probe(counts, done);
    }
}

fn build(dataflow: &str, events: Stream<'_, u64, Vec<Event<Payload>>>, done: &ProbeHandle<u64>) {
    if dataflow == "nothing" {
        events
            .inspect_batch(|_, events| _ = std::hint::black_box(events.len()))
            .probe_with(done);
        return;
    }
    let posts = latest::<Post>(events, "latest", ());
    if let Some(dataflow) = dataflow.strip_suffix(BASELINE) {
        differential::build(dataflow, posts, done);
        return;
    }
    let (all, ranked) = (dataflow == "all", dataflow == "all" || dataflow.ends_with("ranks"));
    if dataflow == "latest, 1 count" {
        popular(&posts, |post| post.country, false, done);
    }
    if all || dataflow.contains("4 counts") {
        popular(&posts, |post| post.country, ranked, done);
        popular(&posts, |post| (post.year > 0).then_some(post.year), ranked, done);
        popular(
            &posts,
            |post| (post.year > 0).then_some((post.country?, post.year)),
            ranked,
            done,
        );
        popular(&posts, |post| (post.age > 0).then_some(post.group()), ranked, done);
    }
    if all || dataflow.contains("greatest") {
        let posters = posts
            .clone()
            .flat_map(|post| Some(((post.country?, post.poster?), post.followers.get())));
        if dataflow.ends_with("top") {
            let place = |kind, terms| Place { kind, terms };
            let bounds = vec![(place(PlaceKind::RowNumber, 2), 10), (place(PlaceKind::Rank, 1), 1)];
            let rows = greatest(posters, "greatest", ROUTING).map(|((group, name), n)| (group, (name, n)));
            let shown = |group: &Symbol, row: &(Symbol, i64), places: &[i64]| (*group, *row, places[0]);
            let keep = operators::top::Keep::Within(bounds);
            probe(
                top(
                    rows,
                    "top",
                    ROUTING,
                    ByNumber,
                    keep,
                    &[place(PlaceKind::Rank, 1)],
                    shown,
                ),
                done,
            );
            probe(posts, done);
            return;
        }
        let tops = rank(
            greatest(posters, "greatest", ROUTING).map(|((group, name), n)| (group, (name, n))),
            "rank",
            ROUTING,
            Keep::Top(10),
        );
        probe(tops.clone(), done);
        let leaders = tops.filter(|(.., rank)| *rank == 1);
        probe(
            rank(
                leaders.map(|(country, name, n, _)| ((), ((country, name), n))),
                "leaders",
                ROUTING,
                Keep::Leaders,
            ),
            done,
        );
    }
    if all || dataflow.contains("distinct") {
        let users = |post: Post| {
            (post.age > 0).then(|| (post.joined_year(), (post.poster, post.age, post.joined.get() as u32)))
        };
        probe(
            distinct_count(posts.clone().flat_map(users), "distinct", ROUTING, |(year, _)| *year),
            done,
        );
    }
    if all || dataflow.contains("medians") {
        let known = posts.clone().filter(|post| post.age > 0 && post.followers.get() > 0);
        probe(
            median(
                known.clone().map(|post| (post.group(), post.followers.get())),
                "median",
                ROUTING,
            ),
            done,
        );
        probe(
            median(
                known
                    .clone()
                    .map(|post| (post.joined_year() % YEARS, post.followers.get())),
                "median",
                ROUTING,
            ),
            done,
        );
        probe(
            median(
                known.map(|post| ((post.joined_year() % YEARS, post.group()), post.followers.get())),
                "median",
                ROUTING,
            ),
            done,
        );
    }
    if dataflow.contains("ordered") {
        let (fraction, descending) = (0.5, false);
        let percentiles = vec![
            Percentile::Disc { fraction, descending },
            Percentile::Cont { fraction, descending },
        ];
        let known = posts.clone().filter(|post| post.age > 0 && post.followers.get() > 0);
        let by_age = known.clone().map(|post| (post.group(), post.followers.get()));
        let by_year = known
            .clone()
            .map(|post| (post.joined_year() % YEARS, post.followers.get()));
        let by_both = known.map(|post| ((post.joined_year() % YEARS, post.group()), post.followers.get()));
        probe(ordered(by_age, "ordered", ROUTING, percentiles.clone()), done);
        probe(ordered(by_year, "ordered", ROUTING, percentiles.clone()), done);
        probe(ordered(by_both, "ordered", ROUTING, percentiles), done);
    }
    probe(posts, done);
}

fn field(file: &str, wanted: impl Fn(&str) -> Option<f64>) -> f64 {
    wanted(&std::fs::read_to_string(file).unwrap_or_default()).unwrap_or(f64::NAN)
}

/// CPU seconds of this process, to the hundredth.
fn cpu() -> f64 {
    field("/proc/self/stat", |text| {
        let times: Vec<&str> = text.rsplit(')').next()?.split_whitespace().collect();
        Some((times.get(11)?.parse::<f64>().ok()? + times.get(12)?.parse::<f64>().ok()?) / 100.0)
    })
}

/// Bytes of this process in memory now (`VmRSS`) or at most (`VmHWM`).
fn memory(name: &str) -> f64 {
    field("/proc/self/status", |text| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim_matches(|c: char| !c.is_ascii_digit()).parse::<f64>().ok()? * 1024.0)
    })
}

fn run(dataflow: &'static str, workers: usize, posts: u64) {
    let records = history(posts);
    let names = Names::new();
    let (cpu_before, before, start) = (cpu(), memory("VmRSS:"), Instant::now());
    let names = std::sync::Arc::new(names);
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let done = ProbeHandle::new();
        let (index, peers, names) = (worker.index() as u64, worker.peers() as u64, names.clone());
        // the last epoch whose record may be sent
        let live = Rc::new(Cell::new(0));
        let sent = Rc::clone(&live);
        let wake = worker.dataflow::<u64, _, _>(|scope| {
            let mut wake = None;
            let events = source(scope, "Records", |capability, info| {
                wake = Some(scope.activator_for(Rc::clone(&info.address)));
                let again = scope.activator_for(info.address);
                let (mut capability, mut next) = (Some(capability), index);
                move |output| {
                    let Some(open) = &mut capability else { return };
                    let epoch = *open.time();
                    if epoch > 0 || next >= records {
                        // the epoch closes, 0 with all of history; the dataflow stays, with its state
                        if epoch > sent.get() {
                            return;
                        }
                        if epoch > 0 && index == 0 {
                            output.session(open).give(names.record(records + epoch, posts));
                        }
                        open.downgrade(&(epoch + 1));
                        if epoch == LIVE {
                            capability = None;
                        }
                        return;
                    }
                    let mut batch: Vec<_> = (next..records)
                        .step_by(peers as usize)
                        .take(2048)
                        .map(|n| names.record(n, posts))
                        .collect();
                    next += batch.len() as u64 * peers;
                    output.session(open).give_container(&mut batch);
                    again.activate();
                }
            });
            build(dataflow, events, &done);
            wake.expect("the source has been built")
        });
        while done.less_than(&1) {
            worker.step();
        }
        let end = (cpu(), memory("VmRSS:"), memory("VmHWM:"));
        let mut took: Vec<Duration> = Vec::new();
        for epoch in 1..=LIVE {
            let start = Instant::now();
            live.set(epoch);
            wake.activate();
            while done.less_than(&(epoch + 1)) {
                worker.step();
            }
            took.push(start.elapsed());
        }
        took.sort_unstable();
        for dataflow in worker.installed_dataflows() {
            worker.drop_dataflow(dataflow);
        }
        (end, took[took.len() / 2])
    });
    let ends: Vec<_> = guards
        .expect("workers")
        .join()
        .into_iter()
        .map(|end| end.expect("a worker"))
        .collect();
    let wall = start.elapsed().as_secs_f64();
    let at = ends.iter().map(|(end, _)| end.0).fold(0.0, f64::max) - cpu_before;
    let rest = ends.iter().map(|(end, _)| end.1).fold(0.0, f64::max) - before;
    let peak = ends.iter().map(|(end, _)| end.2).fold(0.0, f64::max) - before;
    let live = ends.iter().map(|(_, live)| *live).max().unwrap_or_default();
    println!(
        "{dataflow:41} {at:6.2} s CPU {:6.0} ns/record {wall:6.2} s  {:5.0} B/post, at most {:5.0}, {:7.1} µs/change",
        at * 1e9 / records as f64,
        rest / posts as f64,
        peak / posts as f64,
        live.as_secs_f64() * 1e6,
    );
}

fn main() {
    let mut numbers = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.parse::<u64>() {
            Ok(number) => numbers.push(number),
            Err(_) => {
                if let Some(dataflow) = DATAFLOWS.into_iter().find(|dataflow| *dataflow == argument) {
                    run(dataflow, numbers[0] as usize, numbers[1]);
                    return;
                }
            }
        }
    }
    let workers = numbers.first().copied().unwrap_or(1).to_string();
    let posts = numbers.get(1).copied().unwrap_or(1_000_000).to_string();
    let this = std::env::current_exe().expect("this program");
    for dataflow in DATAFLOWS {
        let status = std::process::Command::new(&this)
            .args([&workers, &posts, dataflow])
            .status();
        assert!(status.is_ok_and(|status| status.success()), "{dataflow} failed");
    }
}
