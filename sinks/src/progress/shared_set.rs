//! A set that most commits leave as it is.

use std::collections::{BTreeSet, btree_set};
use std::ops::Deref;
use std::sync::Arc;

/// An ordered set whose copies share its memory: as long as they do, to copy and to compare them takes the same time
/// whatever their size. Every commit does both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedSet<T>(Arc<BTreeSet<T>>);

impl<T: Ord + Clone> SharedSet<T> {
    /// Adds an item.
    pub fn insert(&mut self, item: T) {
        Arc::make_mut(&mut self.0).insert(item);
    }

    /// Items that the other set lacks, in order.
    pub(crate) fn beyond<'a>(&'a self, other: &'a SharedSet<T>) -> Vec<&'a T> {
        if Arc::ptr_eq(&self.0, &other.0) {
            return Vec::new();
        }
        self.0.difference(&other.0).collect()
    }

    /// Takes in the items of another set, and becomes a copy of it where that is all there is then.
    pub(crate) fn take_in(&mut self, other: &SharedSet<T>) {
        if Arc::ptr_eq(&self.0, &other.0) {
            return;
        }
        if self.0.is_subset(&other.0) {
            self.0 = Arc::clone(&other.0);
        } else if !other.0.is_subset(&self.0) {
            Arc::make_mut(&mut self.0).extend(other.0.iter().cloned());
        }
    }

    /// Leaves out the other items.
    pub(crate) fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        Arc::make_mut(&mut self.0).retain(keep);
    }
}

impl<T> Default for SharedSet<T> {
    fn default() -> SharedSet<T> {
        SharedSet(Arc::default())
    }
}

impl<T> Deref for SharedSet<T> {
    type Target = BTreeSet<T>;
    fn deref(&self) -> &BTreeSet<T> {
        &self.0
    }
}

impl<T: Ord> FromIterator<T> for SharedSet<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> SharedSet<T> {
        SharedSet(Arc::new(items.into_iter().collect()))
    }
}

impl<T: Ord, const N: usize> From<[T; N]> for SharedSet<T> {
    fn from(items: [T; N]) -> SharedSet<T> {
        items.into_iter().collect()
    }
}

impl<'a, T> IntoIterator for &'a SharedSet<T> {
    type Item = &'a T;
    type IntoIter = btree_set::Iter<'a, T>;
    fn into_iter(self) -> btree_set::Iter<'a, T> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(items: &[u8]) -> SharedSet<u8> {
        items.iter().copied().collect()
    }

    fn share(one: &SharedSet<u8>, other: &SharedSet<u8>) -> bool {
        Arc::ptr_eq(&one.0, &other.0)
    }

    #[test]
    fn a_set_that_takes_in_all_of_another_shares_its_memory_where_it_can() {
        let step = set(&[1, 2, 3]);
        let mut known = set(&[2]);
        assert_eq!(step.beyond(&known), [&1, &3]);
        known.take_in(&step);
        assert!(share(&known, &step) && step.beyond(&known).is_empty());

        // what only the known set has stays
        let mut more = set(&[9, 2]);
        more.take_in(&step);
        assert_eq!(more, set(&[1, 2, 3, 9]));
        assert!(!share(&more, &step) && step.beyond(&more).is_empty());
        let before = more.clone();
        more.take_in(&step);
        assert!(share(&more, &before), "nothing was new");
    }

    #[test]
    fn a_change_is_not_seen_by_the_copies() {
        let mut one = set(&[1, 2]);
        let other = one.clone();
        one.insert(3);
        one.retain(|item| *item != 1);
        assert_eq!((one, other), (set(&[2, 3]), set(&[1, 2])));
    }
}
