//! Which worker a record goes to.
//!
//! Workers of several processes must agree, so a route is computed from what a key *means* and never from
//! something that only this process knows (a [`Symbol`]'s identifier, a random seed). Tables inside an operator
//! hash with other, seeded functions, so that the records one worker receives do not crowd into a part of them.

use differential_dataflow::ExchangeData;
use std::hash::Hash;
use values::tuple::pairs;
use values::{Position, Symbol, Tuple};

/// Which processes have to agree on routes. Given to every operator that exchanges records; it must not change while a
/// dataflow runs, and be the same for all operators and workers of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Routing {
    /// Any number of processes: names are routed by their texts.
    #[default]
    ManyProcesses,
    /// All workers live in this one process, so names are routed by identifier, which spares the look at their texts.
    OneProcess,
}

/// A hash that is the same in every process and has all its bits well mixed: `Exchange` uses the lowest.
///
/// Equal values must have equal routes.
pub trait Route {
    /// The value's route; a worker's share is this modulo the number of workers.
    fn route(&self, routing: Routing) -> u64;
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
            #[inline]
            fn route(&self, _: Routing) -> u64 {
                mix(*self as u64)
            }
        }
    )*};
}

integers!(u8, u16, u32, u64, usize, i8, i16, i32, i64, isize, bool);

impl Route for Symbol {
    #[inline]
    fn route(&self, routing: Routing) -> u64 {
        match routing {
            Routing::OneProcess => mix(self.id().into()),
            Routing::ManyProcesses => self.stable_hash(),
        }
    }
}

impl Route for Position {
    fn route(&self, routing: Routing) -> u64 {
        join(
            join(self.offset().0.route(routing), self.partition().0.route(routing)),
            self.generation().route(routing),
        )
    }
}

impl<const S: usize, const P: usize> Route for Tuple<S, P> {
    fn route(&self, routing: Routing) -> u64 {
        let route = self
            .names
            .iter()
            .fold(0, |route, name| join(route, name.route(routing)));
        pairs(&self.plain).fold(route, join)
    }
}

impl<T: Route> Route for Option<T> {
    fn route(&self, routing: Routing) -> u64 {
        match self {
            None => mix(1),
            Some(value) => join(2, value.route(routing)),
        }
    }
}

impl Route for () {
    fn route(&self, _: Routing) -> u64 {
        0
    }
}

macro_rules! tuples {
    ($first:ident $(, $rest:ident)*) => {
        impl<$first: Route $(, $rest: Route)*> Route for ($first, $($rest,)*) {
            #[allow(non_snake_case)]
            fn route(&self, routing: Routing) -> u64 {
                let ($first, $($rest,)*) = self;
                let route = $first.route(routing);
                $(let route = join(route, $rest.route(routing));)*
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
    use std::collections::BTreeSet;
    use values::{Offset, Partition};

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
            prop_assert_eq!(tuple(a).route(Routing::ManyProcesses) == tuple(b).route(Routing::ManyProcesses), a == b);
            prop_assert_eq!(words(a).route(Routing::ManyProcesses) == words(b).route(Routing::ManyProcesses), a == b);
            prop_assert_eq!(names(a).route(Routing::ManyProcesses) == names(b).route(Routing::ManyProcesses), names(a) == names(b));
            prop_assert_eq!(odd(a).route(Routing::ManyProcesses) == odd(b).route(Routing::ManyProcesses), odd(a) == odd(b));
        }
    }

    /// Pinned, as the routes of other keys are: two processes may run different builds of the same version.
    #[test]
    fn routes_of_tuples_are_fixed_and_spread_evenly() {
        let tuple = Tuple {
            names: [Some(Symbol::new("video")), None],
            plain: [1, 2, 3],
        };
        assert_eq!(tuple.route(Routing::ManyProcesses), 0x6a26d84e8282bbc8);
        assert_eq!(Tuple::<0, 0>::EMPTY.route(Routing::ManyProcesses), 0);
        for workers in [2u64, 3, 4, 7] {
            let mut shares = vec![0i64; workers as usize];
            for word in 0..10_000u32 {
                let (names, plain) = ([Some(Symbol::new("video"))], [word % 100, word / 100]);
                shares[(Tuple { names, plain }.route(Routing::ManyProcesses) % workers) as usize] += 1;
            }
            let fair = 10_000 / workers as i64;
            let even = shares.iter().all(|share| (share - fair).abs() < fair / 5);
            assert!(even, "{workers} workers: {shares:?}");
        }
    }

    /// Pinned: two processes may run different builds of the same version, and must still agree.
    #[test]
    fn routes_are_fixed() {
        assert_eq!(7i64.route(Routing::ManyProcesses), 7u8.route(Routing::ManyProcesses));
        assert_eq!(1i64.route(Routing::ManyProcesses), 0xcd796654af483bef);
        assert_eq!((1i64, 2u8).route(Routing::ManyProcesses), 0xfd8e9f502eb6db0c);
        assert_eq!(
            Symbol::new("Côte d'Ivoire").route(Routing::ManyProcesses),
            Symbol::new("Côte d'Ivoire").stable_hash()
        );
        // within one process names need no text
        let name = Symbol::new("Côte d'Ivoire");
        assert_eq!(
            name.route(Routing::OneProcess),
            u64::from(name.id()).route(Routing::OneProcess)
        );
        assert_ne!(
            (1i64, 2i64).route(Routing::ManyProcesses),
            (2i64, 1i64).route(Routing::ManyProcesses)
        );
        assert_ne!(
            Some(1i64).route(Routing::ManyProcesses),
            None::<i64>.route(Routing::ManyProcesses)
        );
    }

    /// Each part of a position and of a tuple counts, and its place does.
    #[test]
    fn routes_of_different_keys_differ() {
        let at = |generation, offset, partition| {
            let position = Position::new(generation, Offset(offset), Partition(partition)).unwrap();
            position.route(Routing::ManyProcesses)
        };
        let six = |first: u8, last: u8| (first, 0u8, 0u8, 0u8, 0u8, last).route(Routing::ManyProcesses);
        let routes = [
            [at(1, 2, 3), at(1, 3, 2), at(2, 1, 3), at(1, 2, 4)],
            [six(0, 0), six(0, 1), six(1, 0), six(1, 1)],
            [
                Some(0u8).route(Routing::ManyProcesses),
                Some(1u8).route(Routing::ManyProcesses),
                None::<u8>.route(Routing::ManyProcesses),
                Some(2u8).route(Routing::ManyProcesses),
            ],
        ];
        for routes in routes {
            let different: BTreeSet<u64> = routes.into();
            assert_eq!(different.len(), routes.len(), "{routes:x?}");
        }
        assert_eq!(().route(Routing::ManyProcesses), 0);
        // pinned, as above
        assert_eq!(at(1, 2, 3), 0x4571f55388cd77f4);
    }

    #[test]
    fn consecutive_keys_spread_evenly() {
        for workers in [2u64, 3, 4, 7] {
            let mut shares = vec![0i64; workers as usize];
            for key in 0..10_000i64 {
                shares[(key.route(Routing::ManyProcesses) % workers) as usize] += 1;
            }
            let fair = 10_000 / workers as i64;
            assert!(
                shares.iter().all(|share| (share - fair).abs() < fair / 5),
                "{workers} workers: {shares:?}"
            );
        }
    }
}
