//! Sets and maps that are kept by the thousand and hold a few things, or a hundred: sorted lists, which
//! take half the memory of trees.

/// Things in order, each once, by their key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sorted<T>(Vec<T>);

impl<T> Default for Sorted<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Sorted<T> {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    fn insert_at(&mut self, at: usize, value: T) {
        // Room for an eighth more, not for as much again.
        if self.0.len() == self.0.capacity() {
            self.0.reserve_exact(self.0.len() / 8 + 1);
        }
        self.0.insert(at, value);
    }
}

impl<T: Ord> Sorted<T> {
    /// Adds one, if it is not there.
    pub(crate) fn insert(&mut self, value: T) {
        if let Err(at) = self.0.binary_search(&value) {
            self.insert_at(at, value);
        }
    }

    /// The one that is there and equal to this.
    pub(crate) fn find(&self, value: &T) -> Option<&T> {
        self.0.get(self.0.binary_search(value).ok()?)
    }

    pub(crate) fn remove(&mut self, value: &T) {
        if let Ok(at) = self.0.binary_search(value) {
            self.0.remove(at);
        }
    }
}

impl<K: Ord, V> Sorted<(K, V)> {
    fn place_of(&self, key: &K) -> Result<usize, usize> {
        self.0.binary_search_by(|(have, _)| have.cmp(key))
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.0.get(self.place_of(key).ok()?).map(|(_, value)| value)
    }

    pub(crate) fn put(&mut self, key: &K, value: V)
    where
        K: Clone,
    {
        match self.place_of(key) {
            Ok(at) => {
                if let Some((_, have)) = self.0.get_mut(at) {
                    *have = value;
                }
            }
            Err(at) => self.insert_at(at, (key.clone(), value)),
        }
    }

    pub(crate) fn take(&mut self, key: &K) {
        if let Ok(at) = self.place_of(key) {
            self.0.remove(at);
        }
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.0.iter_mut().map(|(key, value)| (&*key, value))
    }

    /// From the first for which this does not hold, as it does for all before it.
    pub(crate) fn after(&self, is_before: impl Fn(&K) -> bool) -> impl Iterator<Item = &(K, V)> {
        let first = self.0.partition_point(|(key, _)| is_before(key));
        self.0.iter().skip(first)
    }
}

impl<T: Ord> FromIterator<T> for Sorted<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut all: Vec<T> = values.into_iter().collect();
        all.sort_unstable();
        all.dedup();
        all.shrink_to_fit();
        Self(all)
    }
}

impl<'a, T> IntoIterator for &'a Sorted<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<T> IntoIterator for Sorted<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    proptest! {
        #[test]
        fn it_is_a_set_and_a_map(
            changes in proptest::collection::vec((0u8..20, 0u8..3, proptest::bool::ANY), 0..80),
        ) {
            let (mut set, mut map) = (Sorted::default(), Sorted::default());
            let (mut tree_set, mut tree_map) = (BTreeSet::new(), BTreeMap::new());
            for (key, value, goes) in changes {
                if goes {
                    set.remove(&key);
                    tree_set.remove(&key);
                    map.take(&key);
                    tree_map.remove(&key);
                } else {
                    set.insert(key);
                    tree_set.insert(key);
                    map.put(&key, value);
                    tree_map.insert(key, value);
                }
            }
            prop_assert!(set.iter().eq(tree_set.iter()));
            prop_assert!(map.iter().map(|(key, value)| (key, value)).eq(tree_map.iter()));
            prop_assert!((0..20).all(|key| map.get(&key) == tree_map.get(&key)));
            let is_same = |from: u8| {
                let after = map.after(|key| *key < from).map(|(key, _)| key);
                after.eq(tree_map.range(from..).map(|(key, _)| key))
            };
            prop_assert!((0..20).all(is_same));
            prop_assert_eq!(tree_set.iter().rev().copied().collect::<Sorted<u8>>(), set);
        }
    }
}
