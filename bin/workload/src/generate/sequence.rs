//! Which records come one after another: every post's pin, place and user in turn, and between them earlier records
//! again, unchanged or corrected, and deletes.
//!
//! Each step depends on the seed and its number alone, so a stream can begin anywhere: the live stream of the demo
//! goes on where its history ended.

use super::event::{Event, Form, Record, choose_form};
use super::random::{Random, share};
use super::record::Renderer;

/// An iterator over events; endless unless [`Generator::posts`] ends it.
#[derive(Clone, Debug)]
pub struct Generator {
    seed: u64,
    duplicates: u64,
    dirty: u64,
    deletes: u64,
    post: u64,
    end: u64,
    /// Events of the current step that have not been taken, the next one last.
    pending: Vec<Event>,
}

const STEP: u64 = 5;

impl Generator {
    /// Plain records of posts 0, 1, 2, … without end.
    pub fn new(seed: u64) -> Generator {
        Generator {
            seed,
            duplicates: 0,
            dirty: 0,
            deletes: 0,
            post: 0,
            end: u64::MAX,
            pending: Vec::with_capacity(12),
        }
    }

    /// Ends after this many posts, counted from post 0.
    pub fn posts(mut self, posts: u64) -> Generator {
        self.end = posts;
        self
    }

    /// Begins at this post. Earlier posts are sent again and deleted all the same.
    pub fn starting_at(mut self, post: u64) -> Generator {
        self.post = post;
        self
    }

    /// Records sent again per record, half of them unchanged, half corrected.
    pub fn duplicates(mut self, probability: f64) -> Generator {
        self.duplicates = share(probability);
        self
    }

    /// The share of records in odd forms, half of them dead letters.
    pub fn dirty(mut self, probability: f64) -> Generator {
        self.dirty = share(probability);
        self
    }

    /// Deletes of earlier records per record.
    pub fn deletes(mut self, probability: f64) -> Generator {
        self.deletes = share(probability);
        self
    }

    /// The events with their bytes.
    pub fn records(self) -> impl Iterator<Item = Record> {
        let renderer = Renderer::new(self.seed);
        self.map(move |event| Record {
            kind: event.kind,
            ind: event.ind,
            json: renderer.json(&event),
        })
    }

    fn step(&mut self) {
        let post = self.post;
        let mut random = Random::of([self.seed, STEP, post, 0]);
        for kind in 0..3u8 {
            let form = choose_form(self.seed, post << 2 | u64::from(kind), self.dirty);
            self.pending.push(Event {
                kind,
                ind: post,
                version: 0,
                form,
            });
        }
        for kind in 0..3u8 {
            if random.chance(self.duplicates) {
                let version = if random.below(2) == 0 {
                    0
                } else {
                    random.next_u64() as u32 | 1
                };
                let ind = earlier(post, &mut random);
                self.pending.push(Event {
                    kind,
                    ind,
                    version,
                    form: Form::Plain,
                });
            }
            if random.chance(self.deletes) {
                let ind = earlier(post, &mut random);
                self.pending.push(Event {
                    kind,
                    ind,
                    version: 0,
                    form: Form::Delete,
                });
            }
        }
        self.pending.reverse();
        self.post += 1;
    }
}

/// An earlier post or this one: half of the time a recent one.
fn earlier(post: u64, random: &mut Random) -> u64 {
    let back = if random.below(2) == 0 { post.min(999) } else { post };
    post - random.below_wide(back + 1)
}

impl Iterator for Generator {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if self.pending.is_empty() {
            if self.post >= self.end {
                return None;
            }
            self.step();
        }
        self.pending.pop()
    }
}
