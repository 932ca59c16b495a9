//! Which worker a record goes to.
//!
//! Workers of several processes must agree, so a route is computed from what a key *means* and never from
//! something that only this process knows (a [`Symbol`]'s identifier, a random seed). Tables inside an operator
//! hash with other, seeded functions, so that the records one worker receives do not crowd into a part of them.

use differential_dataflow::ExchangeData;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, Ordering};
use values::tuple::pairs;
use values::{Position, Symbol, Tuple};

/// Whether all workers are known to live in this process.
static ALONE: AtomicBool = AtomicBool::new(false);

/// Declares that all workers live in this one process, so that names may be routed by identifier, which spares
/// the look at their texts.
///
/// Call it before the first worker starts, or never: routes must not change while a dataflow runs. Without it
/// names are routed by text, which is right for any number of processes.
pub fn single_process() {
    ALONE.store(true, Ordering::Relaxed);
}

/// A hash that is the same in every process and has all its bits well mixed: `Exchange` uses the lowest.
///
/// Equal values must have equal routes.
pub trait Route {
    /// The value's route; a worker's share is this modulo the number of workers.
    fn route(&self) -> u64;
}

/// What operators ask of keys and groups: sortable and sendable data that can be hashed and routed.
pub trait Key: ExchangeData + Hash + Route {}

impl<T: ExchangeData + Hash + Route> Key for T {}

/// A folded multiplication: every bit of the input reaches every bit of the output.
fn mix(bits: u64) -> u64 {
    // constants: digits of pi, as in foldhash
    let product = u128::from(bits ^ 0x243f_6a88_85a3_08d3) * u128::from(0x1319_8a2e_0370_7345_u64);
    (product >> 64) as u64 ^ product as u64
}

/// The route of a pair, from those of its parts.
pub(crate) fn join(left: u64, right: u64) -> u64 {
    mix(left.rotate_left(23) ^ right)
}

macro_rules! integers {
    ($($integer:ty),*) => {$(
        impl Route for $integer {
            fn route(&self) -> u64 {
                mix(*self as u64)
            }
        }
    )*};
}

integers!(u8, u16, u32, u64, usize, i8, i16, i32, i64, isize, bool);

impl Route for Symbol {
    fn route(&self) -> u64 {
        if ALONE.load(Ordering::Relaxed) {
            mix(self.id().into())
        } else {
            self.stable_hash()
        }
    }
}

impl Route for Position {
    fn route(&self) -> u64 {
        join(
            join(self.offset().route(), self.partition().route()),
            self.generation().route(),
        )
    }
}

impl<const S: usize, const P: usize> Route for Tuple<S, P> {
    fn route(&self) -> u64 {
        let route = self.names.iter().fold(0, |route, name| join(route, name.route()));
        pairs(&self.plain).fold(route, join)
    }
}

impl<T: Route> Route for Option<T> {
    fn route(&self) -> u64 {
        match self {
            None => mix(1),
            Some(value) => join(2, value.route()),
        }
    }
}

impl Route for () {
    fn route(&self) -> u64 {
        0
    }
}

macro_rules! tuples {
    ($first:ident $(, $rest:ident)*) => {
        impl<$first: Route $(, $rest: Route)*> Route for ($first, $($rest,)*) {
            #[allow(non_snake_case)]
            fn route(&self) -> u64 {
                let ($first, $($rest,)*) = self;
                let route = $first.route();
                $(let route = join(route, $rest.route());)*
                route
            }
        }
    };
}

tuples!(A);
tuples!(A, B);
tuples!(A, B, C);
tuples!(A, B, C, D);
tuples!(A, B, C, D, E);
tuples!(A, B, C, D, E, F);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tuples_have_equal_routes_where_they_are_equal(
            a in prop::array::uniform4(0..3u32),
            b in prop::array::uniform4(0..3u32),
        ) {
            let tuple = |[first, second, third, fourth]: [u32; 4]| {
                let name = |n: u32| (n > 0).then(|| Symbol::new(&format!("part {n}")));
                Tuple { names: [name(first), name(second)], plain: [third, fourth] }
            };
            let words = |[first, second, third, fourth]: [u32; 4]| Tuple { names: [], plain: [first, second, third, fourth] };
            let names = |all: [u32; 4]| Tuple { names: tuple(all).names, plain: [] };
            let odd = |[first, .., third, fourth]: [u32; 4]| Tuple { names: [None, None, None], plain: [first, third, fourth] };
            prop_assert_eq!(tuple(a).route() == tuple(b).route(), a == b);
            prop_assert_eq!(words(a).route() == words(b).route(), a == b);
            prop_assert_eq!(names(a).route() == names(b).route(), names(a) == names(b));
            prop_assert_eq!(odd(a).route() == odd(b).route(), odd(a) == odd(b));
        }
    }

    /// Pinned, as the routes of other keys are: two processes may run different builds of the same version.
    #[test]
    fn routes_of_tuples_are_fixed_and_spread_evenly() {
        let tuple = Tuple {
            names: [Some(Symbol::new("video")), None],
            plain: [1, 2, 3],
        };
        assert_eq!(tuple.route(), 0x6a26d84e8282bbc8);
        assert_eq!(Tuple::<0, 0>::EMPTY.route(), 0);
        for workers in [2u64, 3, 4, 7] {
            let mut shares = vec![0i64; workers as usize];
            for word in 0..10_000u32 {
                let (names, plain) = ([Some(Symbol::new("video"))], [word % 100, word / 100]);
                shares[(Tuple { names, plain }.route() % workers) as usize] += 1;
            }
            let fair = 10_000 / workers as i64;
            let even = shares.iter().all(|share| (share - fair).abs() < fair / 5);
            assert!(even, "{workers} workers: {shares:?}");
        }
    }

    /// Pinned: two processes may run different builds of the same version, and must still agree.
    #[test]
    fn routes_are_fixed() {
        assert_eq!(7i64.route(), 7u8.route());
        assert_eq!(1i64.route(), 0xcd796654af483bef);
        assert_eq!((1i64, 2u8).route(), 0xfd8e9f502eb6db0c);
        assert_eq!(
            Symbol::new("Côte d'Ivoire").route(),
            Symbol::new("Côte d'Ivoire").stable_hash()
        );
        assert_ne!((1i64, 2i64).route(), (2i64, 1i64).route());
        assert_ne!(Some(1i64).route(), None::<i64>.route());
    }

    #[test]
    fn consecutive_keys_spread_evenly() {
        for workers in [2u64, 3, 4, 7] {
            let mut shares = vec![0i64; workers as usize];
            for key in 0..10_000i64 {
                shares[(key.route() % workers) as usize] += 1;
            }
            let fair = 10_000 / workers as i64;
            assert!(
                shares.iter().all(|share| (share - fair).abs() < fair / 5),
                "{workers} workers: {shares:?}"
            );
        }
    }
}
