//! The posts as a collection, and what several results need of them, built once.

use super::Options;
use crate::post::Post;
use differential_dataflow::{AsCollection, Data, VecCollection};
use operators::Symbol;
use operators::greatest::greatest;
use operators::rank::{Keep, rank};
use std::cell::OnceCell;
use std::rc::Rc;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::rc::SharedStream;

/// The posts of one dataflow, and the options of the results made of them.
pub struct Posts<'s> {
    /// Shared: ten results read the same batches, and none needs a copy of its own.
    all: Stream<'s, u64, Rc<Vec<(Post, u64, isize)>>>,
    options: Options,
    top_posters: OnceCell<VecCollection<'s, u64, TopPoster, isize>>,
}

/// (country, poster_name, follower_count, rank): see [`Posts::top_posters`].
pub type TopPoster = (Symbol, Symbol, i64, i64);

impl<'s> Posts<'s> {
    /// `all` holds the post of each `ind` once.
    pub fn new(all: VecCollection<'s, u64, Post, isize>, options: Options) -> Posts<'s> {
        Posts {
            all: all.inner.shared(),
            options,
            top_posters: OnceCell::new(),
        }
    }

    /// What `take` finds in each post.
    pub fn find<D: Data>(&self, take: impl Fn(&Post) -> Option<D> + 'static) -> VecCollection<'s, u64, D, isize> {
        let found = self.all.clone().unary(Pipeline, "Find", |_, _| {
            move |input, output| {
                input.for_each(|time, posts| {
                    let mut found = Vec::with_capacity(posts.len());
                    found.extend(
                        posts
                            .iter()
                            .filter_map(|(post, at, diff)| Some((take(post)?, *at, *diff))),
                    );
                    if !found.is_empty() {
                        output.session(&time).give_container(&mut found);
                    }
                });
            }
        });
        found.as_collection()
    }

    /// Which rows of a group a ranked table keeps.
    pub fn keep(&self) -> Keep {
        Keep::Top(self.options.top)
    }

    /// The posters of each country, ranked by their greatest number of followers: the rows of
    /// `top_poster_by_country`. Every poster with a country is state here, so the two results that need it share it.
    pub fn top_posters(&self) -> VecCollection<'s, u64, TopPoster, isize> {
        let build = || {
            let followers = self.find(|post| {
                let (pin, geo) = (post.pin()?, post.geo()?);
                Some(((geo.country?, pin.poster?), pin.followers?))
            });
            let posters = greatest(followers).map(|((country, poster), followers)| (country, (poster, followers)));
            rank(posters, self.keep())
        };
        self.top_posters.get_or_init(build).clone()
    }
}
