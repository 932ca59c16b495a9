//! Which keys have a row in a join of kinds by their key, and what is seen in it.

/// A set of sets of kinds: for which combinations of kinds that have a record of a key something holds. Kind `k` is
/// bit `k` of the number of a combination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Presence(u64);

impl Presence {
    /// Never.
    pub const NEVER: Presence = Presence(0);

    /// Where the kind has a record.
    pub fn of(kind: usize) -> Presence {
        Presence(
            (0..64)
                .filter(|set| set >> kind & 1 == 1)
                .fold(0, |sets, set| sets | 1 << set),
        )
    }

    /// Where both hold.
    pub fn and(self, other: Presence) -> Presence {
        Presence(self.0 & other.0)
    }

    /// Where either holds.
    pub fn or(self, other: Presence) -> Presence {
        Presence(self.0 | other.0)
    }

    /// Whether it holds for the kinds whose bits are set in `present`.
    pub fn holds(self, present: u8) -> bool {
        self.0 >> (present & 63) & 1 == 1
    }
}

/// Kinds joined by their key. Every kind has at most one record of a key, so a join is a condition on which are there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Join {
    /// Where the key has a row.
    pub rows: Presence,
    /// For each kind of the schema: where its fields are seen. Elsewhere they are null, though there may be a record:
    /// in `(a LEFT JOIN b) FULL JOIN c` a key with records of b and c alone has a row of c's fields only. Implies
    /// `rows`; never, of a kind that is not in the join.
    pub seen: Vec<Presence>,
}

/// How another kind is joined to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JoinType {
    /// `JOIN`.
    Inner,
    /// `LEFT JOIN`.
    Left,
    /// `RIGHT JOIN`.
    Right,
    /// `FULL JOIN`.
    Full,
}

impl Join {
    /// One kind of `kinds` alone.
    pub fn one(kind: usize, kinds: usize) -> Join {
        let mut seen = vec![Presence::NEVER; kinds];
        seen[kind] = Presence::of(kind);
        Join {
            rows: Presence::of(kind),
            seen,
        }
    }

    /// This, joined with one more kind.
    pub fn join(&self, how: JoinType, kind: usize) -> Join {
        let (left, right) = (self.rows, Presence::of(kind));
        let (left_kept, right_kept, rows) = match how {
            JoinType::Inner => (right, left, left.and(right)),
            JoinType::Left => (left, left, left),
            JoinType::Right => (right, right, right),
            JoinType::Full => (left, right, left.or(right)),
        };
        let mut seen: Vec<_> = self.seen.iter().map(|seen| seen.and(left_kept)).collect();
        seen[kind] = right.and(right_kept);
        Join { rows, seen }
    }

    /// Whether the kind is seen in every row.
    pub fn always_seen(&self, kind: usize) -> bool {
        self.seen[kind] == self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of a join as lists of the kinds seen in each, computed by the definition of the joins.
    fn plain(first: usize, more: &[(JoinType, usize)], present: u8) -> Option<u8> {
        let has = |kind: usize| present >> kind & 1 == 1;
        let mut row = has(first).then_some(1u8 << first);
        for (how, kind) in more {
            let other = has(*kind).then_some(1u8 << kind);
            row = match (how, row, other) {
                (_, Some(left), Some(right)) => Some(left | right),
                (JoinType::Left | JoinType::Full, Some(left), None) => Some(left),
                (JoinType::Right | JoinType::Full, None, Some(right)) => Some(right),
                _ => None,
            };
        }
        row
    }

    #[test]
    fn presence_is_what_the_joins_say() {
        use JoinType::{Full, Inner, Left, Right};
        let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        for [a, b, c] in orders {
            for first in [Inner, Left, Right, Full] {
                for second in [Inner, Left, Right, Full] {
                    let join = Join::one(a, 3).join(first, b).join(second, c);
                    for present in 0..8 {
                        let row = plain(a, &[(first, b), (second, c)], present);
                        assert_eq!(join.rows.holds(present), row.is_some());
                        let seen = (0..3).fold(0, |seen, kind| seen | u8::from(join.seen[kind].holds(present)) << kind);
                        assert_eq!(seen, row.unwrap_or(0), "{a}{b}{c} {first:?} {second:?} {present:03b}");
                    }
                }
            }
        }
    }
}
