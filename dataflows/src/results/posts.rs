//! The posts as a collection, and what several results need of them, built once.

use super::Options;
use crate::post::Post;
use differential_dataflow::VecCollection;
use operators::Symbol;
use operators::greatest::greatest;
use operators::rank::{Keep, rank};
use std::cell::OnceCell;

/// The posts of one dataflow, and the options of the results made of them.
pub struct Posts<'s> {
    all: VecCollection<'s, u64, Post, isize>,
    options: Options,
    top_posters: OnceCell<VecCollection<'s, u64, TopPoster, isize>>,
}

/// (country, poster_name, follower_count, rank): see [`Posts::top_posters`].
pub type TopPoster = (Symbol, Symbol, i64, i64);

impl<'s> Posts<'s> {
    /// `all` holds the post of each `ind` once.
    pub fn new(all: VecCollection<'s, u64, Post, isize>, options: Options) -> Posts<'s> {
        Posts {
            all,
            options,
            top_posters: OnceCell::new(),
        }
    }

    /// What `take` finds in each post.
    pub fn find<D: Clone + 'static>(
        &self,
        take: impl Fn(Post) -> Option<D> + 'static,
    ) -> VecCollection<'s, u64, D, isize> {
        self.all.clone().flat_map(take)
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
