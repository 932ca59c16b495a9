//! The same results with differential's own operators: `count_total`, and `reduce` over a whole group.
//!
//! Written as a reader of differential's documentation would, with one concession to speed: names are ordered by their
//! identifiers in arrangements, and compared as texts only where two rows of one value are shown.

use crate::{Post, Posts, YEARS, probe};
use differential_dataflow::operators::CountTotal;
use differential_dataflow::{ExchangeData, VecCollection};
use operators::{Median, Symbol};
use serde::{Deserialize, Serialize};
use std::cmp::{Ordering, Reverse};
use std::hash::Hash;
use timely::dataflow::ProbeHandle;

/// A name in the order of identifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct ById(Symbol);

impl Ord for ById {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.id().cmp(&other.0.id())
    }
}

impl PartialOrd for ById {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What is shown of a group: name, value, rank.
type Shown = (ById, i64, i64);

pub fn build(dataflow: &str, posts: Posts<'_>, done: &ProbeHandle<u64>) {
    let ranked = dataflow.ends_with("ranks");
    match dataflow {
        "latest, 1 count" => popular(&posts, |post| post.country.map(ById), false, done),
        "latest, 4 counts" | "latest, 4 counts, ranks" => {
            popular(&posts, |post| post.country.map(ById), ranked, done);
            popular(&posts, |post| (post.year > 0).then_some(post.year), ranked, done);
            popular(
                &posts,
                |post| (post.year > 0).then_some((post.country.map(ById)?, post.year)),
                ranked,
                done,
            );
            popular(&posts, |post| (post.age > 0).then_some(post.group()), ranked, done);
        }
        "latest, greatest, rank" => {
            let followers = |post: Post| Some(((ById(post.country?), ById(post.poster?)), post.followers.get()));
            let greatest = posts.clone().flat_map(followers).reduce(|_, values, output| {
                output.extend(values.last().map(|(value, _)| (**value, 1isize)));
            });
            let tops = rank(greatest.map(|((country, name), n)| (country, (Reverse(n), name))), 10);
            probe(tops.clone(), done);
            let leaders = tops.filter(|(_, (.., rank))| *rank == 1);
            let leaders = leaders.map(|(country, (name, n, _))| ((), (Reverse(n), (country, name))));
            let first = leaders.reduce(|_, rows, output| {
                let greatest = rows.first().map(|((value, _), _)| *value);
                let leaders = rows.iter().take_while(|((value, _), _)| Some(*value) == greatest);
                output.extend(leaders.map(|(row, _)| (**row, 1isize)));
            });
            probe(first, done);
        }
        "latest, 3 medians" => {
            let known = posts.clone().filter(|post| post.age > 0 && post.followers.get() > 0);
            probe(
                median(known.clone().map(|post| (post.group(), post.followers.get()))),
                done,
            );
            let year = |post: &Post| post.joined_year() % YEARS;
            probe(
                median(known.clone().map(move |post| (year(&post), post.followers.get()))),
                done,
            );
            probe(
                median(known.map(move |post| ((year(&post), post.group()), post.followers.get()))),
                done,
            );
        }
        other => unreachable!("{other} has no baseline"),
    }
    probe(posts, done);
}

fn popular<'s, G: ExchangeData + Hash>(
    posts: &Posts<'s>,
    group: impl Fn(&Post) -> Option<G> + 'static,
    ranked: bool,
    done: &ProbeHandle<u64>,
) {
    let keys = posts
        .clone()
        .flat_map(move |post| Some((group(&post)?, ById(post.category?))));
    let counts = keys.count_total();
    if ranked {
        probe(
            rank(
                counts.map(|((group, category), n)| (group, (Reverse(n as i64), category))),
                10,
            ),
            done,
        );
    } else {
        probe(counts, done);
    }
}

/// The first `top` rows of each group and all of rank 1.
fn rank<'s, G: ExchangeData + Hash>(
    rows: VecCollection<'s, u64, (G, (Reverse<i64>, ById)), isize>,
    top: usize,
) -> VecCollection<'s, u64, (G, Shown), isize> {
    rows.reduce(move |_, rows, output| {
        let mut above = 0;
        for class in rows.chunk_by(|a, b| a.0.0 == b.0.0) {
            if above >= top {
                break;
            }
            let mut names: Vec<ById> = class.iter().map(|((_, name), _)| *name).collect();
            names.sort_unstable_by_key(|name| name.0);
            let shown = if above == 0 { names.len() } else { top - above };
            let Reverse(value) = class[0].0.0;
            let row = |name: &ById| ((*name, value, above as i64 + 1), 1isize);
            output.extend(names.iter().take(shown).map(row));
            above += names.len();
        }
    })
}

/// The median of each group.
fn median<'s, G: ExchangeData + Hash>(
    values: VecCollection<'s, u64, (G, i64), isize>,
) -> VecCollection<'s, u64, (G, Median), isize> {
    values.reduce(|_, values, output| {
        let count: isize = values.iter().map(|(_, count)| count).sum();
        let at = |index: isize| {
            let mut upto = 0;
            let found = values.iter().find(|(_, count)| {
                upto += count;
                upto > index
            });
            found.map_or(0, |(value, _)| **value)
        };
        let (lower, upper) = (at((count - 1) / 2), at(count / 2));
        let mean = lower as f64 + 0.5 * (upper as f64 - lower as f64);
        let median = Median {
            lower,
            mean,
            count: count as i64,
        };
        output.push((median, 1isize));
    })
}
