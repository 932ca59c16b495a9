//! A post: what the results need of the latest pin, geo and user record of one `ind`, in 44 bytes.
//!
//! The three records share their key, so the join is the row. Wide text never gets here: names are four-byte
//! symbols, and times are years unless a result needs more of them.

use crate::cleaning;
use operators::latest::Slots;
use operators::{Packed64, Route, Symbol};
use serde::{Deserialize, Serialize};

/// One record on its way into the posts.
pub type Event = operators::latest::Event<Payload>;

/// Stands for "no year": years run from 1 to 9999.
const NO_YEAR: i16 = 0;
/// Stands for "no time", for the same reason; all times are far from an integer's ends.
const NO_TIME: i64 = i64::MIN / 2;

const PIN: u32 = 1;
const GEO: u32 = 2;
const USER: u32 = 4;
const FOLLOWERS: u32 = 8;

/// An age group: 18–24, 25–35, 36–50, over 50.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AgeGroup(u8);

impl AgeGroup {
    /// The group of an age; none below 18.
    pub fn of(age: i32) -> Option<AgeGroup> {
        match age {
            i32::MIN..18 => None,
            18..=24 => Some(AgeGroup(1)),
            25..=35 => Some(AgeGroup(2)),
            36..=50 => Some(AgeGroup(3)),
            51.. => Some(AgeGroup(4)),
        }
    }

    /// The group's name in the tables.
    pub fn label(self) -> &'static str {
        ["none", "18-24", "25-35", "36-50", "50+"][self.0 as usize]
    }
}

impl Route for AgeGroup {
    fn route(&self) -> u64 {
        self.0.route()
    }
}

/// A user's name, cut at its first space: a few hundred parts make a million names, so that the dictionary of
/// symbols holds, and a lookup touches, far less than with whole names. Made by `Decoder`, which makes the cut so
/// that two are equal exactly when the whole names are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UserName(pub(crate) Symbol, pub(crate) Symbol);

/// A distinct person: user_name, age and date_joined, nulls counting as equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Person {
    /// The time of joining, doubled, plus one when the age is known.
    joined_aged: Packed64,
    name: Option<UserName>,
    /// 0 when unknown.
    age: i32,
}

impl Person {
    fn new(joined: i64, name: Option<UserName>, age: Option<i32>) -> Person {
        Person {
            joined_aged: (joined << 1 | i64::from(age.is_some())).into(),
            name,
            age: age.unwrap_or(0),
        }
    }

    fn joined(&self) -> i64 {
        self.joined_aged.get() >> 1
    }

    fn age(&self) -> Option<i32> {
        (self.joined_aged.get() & 1 != 0).then_some(self.age)
    }

    /// The UTC year of joining.
    pub fn join_year(&self) -> i16 {
        cleaning::year(self.joined())
    }
}

impl Route for Person {
    fn route(&self) -> u64 {
        let name = self.name.map(|UserName(first, rest)| (first, rest));
        (self.joined(), name, self.age()).route()
    }
}

/// What the results need of one record. The unknown is spelled out, where `Option` would take eight bytes to say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Payload {
    /// Of a pin record.
    Pin {
        /// `follower_count`, cleaned; 0 when unknown.
        followers: i64,
        /// Whether `followers` is known.
        counted: bool,
        /// `category`.
        category: Option<Symbol>,
        /// `poster_name`, cleaned.
        poster: Option<Symbol>,
    },
    /// Of a geo record.
    Geo {
        /// `country`.
        country: Option<Symbol>,
        /// The UTC year of `timestamp`; 0 when there is none.
        year: i16,
    },
    /// Of a user record.
    User {
        /// `date_joined` in microseconds of UTC since 1970; `i64::MIN / 2` when unknown.
        joined: i64,
        /// `user_name`.
        name: Option<UserName>,
        /// `age`; 0 when unknown.
        age: i32,
        /// Whether `age` is known.
        aged: bool,
    },
}

impl Payload {
    /// Of a pin record.
    pub fn pin(followers: Option<i64>, category: Option<Symbol>, poster: Option<Symbol>) -> Payload {
        Payload::Pin {
            followers: followers.unwrap_or(0),
            counted: followers.is_some(),
            category,
            poster,
        }
    }

    /// Of a geo record; `time` in microseconds of UTC since 1970.
    pub fn geo(country: Option<Symbol>, time: Option<i64>) -> Payload {
        Payload::Geo {
            country,
            year: time.map_or(NO_YEAR, cleaning::year),
        }
    }

    /// Of a user record; `joined` in microseconds of UTC since 1970.
    pub fn user(name: Option<UserName>, age: Option<i32>, joined: Option<i64>) -> Payload {
        Payload::User {
            joined: joined.unwrap_or(NO_TIME),
            name,
            age: age.unwrap_or(0),
            aged: age.is_some(),
        }
    }
}

/// The latest records of one `ind`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Post {
    followers: Packed64,
    person: Person,
    category: Option<Symbol>,
    poster: Option<Symbol>,
    country: Option<Symbol>,
    /// The years of posting and of joining, and which parts there are.
    years: Years,
}

const _: () = assert!(size_of::<Post>() == 44 && size_of::<Payload>() <= 24 && size_of::<Option<Payload>>() <= 24);

/// Two years of 14 bits each, and four flags.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Years(u32);

/// Where in [`Years`] the year of posting is.
const POSTED: u32 = 4;
/// Where the year of joining is.
const JOINED: u32 = 18;

impl Years {
    fn year(self, at: u32) -> Option<i16> {
        let year = (self.0 >> at & 0x3fff) as i16;
        (year != NO_YEAR).then_some(year)
    }

    fn set_year(&mut self, at: u32, year: i16) {
        debug_assert!((0..1 << 14).contains(&year));
        self.0 = self.0 & !(0x3fff << at) | (year as u32) << at;
    }

    fn has(self, flag: u32) -> bool {
        self.0 & flag != 0
    }

    fn flag(&mut self, flag: u32, on: bool) {
        self.0 = if on { self.0 | flag } else { self.0 & !flag };
    }
}

/// The pin part of a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The category, if known.
    pub category: Option<Symbol>,
    /// The poster's name, if known.
    pub poster: Option<Symbol>,
    /// The poster's followers, if known.
    pub followers: Option<i64>,
}

/// The geo part of a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geo {
    /// The country, if known.
    pub country: Option<Symbol>,
    /// The UTC year of the post, if known.
    pub year: Option<i16>,
}

/// The user part of a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// The distinct person; known when the time of joining is.
    pub person: Option<Person>,
    /// The UTC year of joining, if known.
    pub join_year: Option<i16>,
    /// The age group, if in one.
    pub age_group: Option<AgeGroup>,
}

impl Default for Post {
    fn default() -> Self {
        Post {
            followers: 0.into(),
            person: Person::new(NO_TIME, None, None),
            category: None,
            poster: None,
            country: None,
            years: Years::default(),
        }
    }
}

impl Post {
    /// The pin record's part, if there is such a record.
    pub fn pin(&self) -> Option<Pin> {
        self.years.has(PIN).then(|| Pin {
            category: self.category,
            poster: self.poster,
            followers: self.years.has(FOLLOWERS).then_some(self.followers.get()),
        })
    }

    /// The geo record's part, if there is such a record.
    pub fn geo(&self) -> Option<Geo> {
        self.years.has(GEO).then(|| Geo {
            country: self.country,
            year: self.years.year(POSTED),
        })
    }

    /// The user record's part, if there is such a record.
    pub fn user(&self) -> Option<User> {
        let join_year = self.years.year(JOINED);
        self.years.has(USER).then(|| User {
            person: join_year.is_some().then_some(self.person),
            join_year,
            age_group: self.person.age().and_then(AgeGroup::of),
        })
    }
}

impl std::fmt::Debug for Post {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Post")
            .field(&self.pin())
            .field(&self.geo())
            .field(&self.user())
            .finish()
    }
}

impl Slots for Post {
    const SLOTS: usize = 3;
    type Payload = Payload;
    type Shape = ();

    /// # Panics
    /// When the payload is not of the slot's kind.
    fn set(&mut self, _: &(), slot: u8, payload: Option<&Payload>) {
        match (slot, payload.copied()) {
            (
                0,
                Some(Payload::Pin {
                    followers,
                    counted,
                    category,
                    poster,
                }),
            ) => {
                self.years.flag(PIN, true);
                self.years.flag(FOLLOWERS, counted);
                (self.followers, self.category, self.poster) = (followers.into(), category, poster);
            }
            (0, None) => {
                self.years.flag(PIN | FOLLOWERS, false);
                (self.followers, self.category, self.poster) = (0.into(), None, None);
            }
            (1, Some(Payload::Geo { country, year })) => {
                self.years.flag(GEO, true);
                self.years.set_year(POSTED, year);
                self.country = country;
            }
            (1, None) => {
                self.years.flag(GEO, false);
                self.years.set_year(POSTED, NO_YEAR);
                self.country = None;
            }
            (
                2,
                Some(Payload::User {
                    joined,
                    name,
                    age,
                    aged,
                }),
            ) => {
                let year = if joined == NO_TIME {
                    NO_YEAR
                } else {
                    cleaning::year(joined)
                };
                self.years.flag(USER, true);
                self.years.set_year(JOINED, year);
                self.person = Person::new(joined, name, aged.then_some(age));
            }
            (2, None) => {
                self.years.flag(USER, false);
                self.years.set_year(JOINED, NO_YEAR);
                self.person = Person::new(NO_TIME, None, None);
            }
            (slot, payload) => panic!("slot {slot} cannot hold {payload:?}"),
        }
    }

    fn is_empty(&self, _: &()) -> bool {
        !self.years.has(PIN | GEO | USER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_set_and_taken_back_one_by_one() {
        let name = |text| Some(Symbol::new(text));
        let person = UserName(Symbol::new("Ada"), Symbol::new("Byron"));
        let day = 86_400_000_000;
        let pin = Payload::pin(Some(0), name("art"), name("9GAG"));
        let geo = Payload::geo(name("Albania"), Some(18_300 * day));
        let user = Payload::user(Some(person), Some(20), Some(16_500 * day));
        let mut post = Post::default();
        assert!(post.is_empty(&()));
        post.set(&(), 0, Some(&pin));
        post.set(&(), 1, Some(&geo));
        post.set(&(), 2, Some(&user));
        let full = post;
        assert_eq!(
            post.pin(),
            Some(Pin {
                category: name("art"),
                poster: name("9GAG"),
                followers: Some(0)
            })
        );
        assert_eq!(
            post.geo(),
            Some(Geo {
                country: name("Albania"),
                year: Some(2020)
            })
        );
        assert_eq!(
            post.user(),
            Some(User {
                person: Some(Person::new(16_500 * day, Some(person), Some(20))),
                join_year: Some(2015),
                age_group: AgeGroup::of(24)
            })
        );
        for (slot, payload) in [pin, geo, user].iter().enumerate() {
            let slot = slot as u8;
            post.set(&(), slot, None);
            assert_ne!(post, full);
            post.set(&(), slot, Some(payload));
            assert_eq!(post, full);
        }
        // a record of nulls is a record all the same
        let nulls = Payload::pin(None, None, None);
        let mut other = Post::default();
        other.set(&(), 0, Some(&nulls));
        assert!(!other.is_empty(&()));
        assert_eq!(
            other.pin(),
            Some(Pin {
                category: None,
                poster: None,
                followers: None
            })
        );
        for slot in 0..3 {
            post.set(&(), slot, None);
        }
        assert_eq!(post, Post::default());
    }

    #[test]
    fn age_groups_have_the_edges_of_the_definition() {
        let label = |age| AgeGroup::of(age).map_or("", AgeGroup::label);
        let edges = [
            (i32::MIN, ""),
            (17, ""),
            (18, "18-24"),
            (24, "18-24"),
            (25, "25-35"),
            (35, "25-35"),
            (36, "36-50"),
        ];
        for (age, expected) in edges.into_iter().chain([(50, "36-50"), (51, "50+"), (i32::MAX, "50+")]) {
            assert_eq!(label(age), expected, "age {age}");
        }
    }
}
