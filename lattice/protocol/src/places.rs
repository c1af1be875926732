//! Replicas by host: where one actor is placed. Most actors are on one host or two, and a large
//! lattice has a million of them, so this is a sorted list and not a tree.

use crate::name::HostId;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Replicas by host, in the order of hosts; each host once. In JSON an object.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Places(Vec<(HostId, u32)>);

impl Places {
    /// Nowhere.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// How many hosts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// On no host at all?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Replicas on a host, if it is listed.
    #[must_use]
    pub fn get(&self, host: &HostId) -> Option<&u32> {
        self.0.get(self.find(host).ok()?).map(|(_, count)| count)
    }

    /// The same, to change.
    pub fn get_mut(&mut self, host: &HostId) -> Option<&mut u32> {
        let at = self.find(host).ok()?;
        self.0.get_mut(at).map(|(_, count)| count)
    }

    /// Is this host listed?
    #[must_use]
    pub fn contains_key(&self, host: &HostId) -> bool {
        self.find(host).is_ok()
    }

    /// Lists a host with so many replicas. What it was listed with before.
    pub fn insert(&mut self, host: HostId, count: u32) -> Option<u32> {
        match self.find(&host) {
            Ok(at) => self.0.get_mut(at).map(|(_, have)| std::mem::replace(have, count)),
            Err(at) => {
                // One place, most often: no room for three more.
                if self.0.len() < 4 {
                    self.0.reserve_exact(1);
                }
                self.0.insert(at, (host, count));
                None
            }
        }
    }

    /// So many more on a host.
    pub fn add(&mut self, host: &HostId, count: u32) {
        match self.get_mut(host) {
            Some(have) => *have = have.saturating_add(count),
            None => drop(self.insert(host.clone(), count)),
        }
    }

    /// One less on a host; without any it is not listed.
    pub fn take_one(&mut self, host: &HostId) {
        let Ok(at) = self.find(host) else { return };
        let Some((_, count)) = self.0.get_mut(at) else { return };
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.0.remove(at);
        }
    }

    /// Lists a host no more.
    pub fn remove(&mut self, host: &HostId) -> Option<u32> {
        let at = self.find(host).ok()?;
        Some(self.0.remove(at).1)
    }

    /// Keeps what is wanted.
    pub fn retain(&mut self, mut is_wanted: impl FnMut(&HostId, u32) -> bool) {
        self.0.retain(|(host, count)| is_wanted(host, *count));
    }

    /// Every host with its replicas.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&HostId, &u32)> + ExactSizeIterator + Clone {
        self.0.iter().map(pair as fn(&(HostId, u32)) -> (&HostId, &u32))
    }

    /// The same, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&HostId, &mut u32)> {
        self.0.iter_mut().map(|(host, count)| (&*host, count))
    }

    /// Every host.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &HostId> + ExactSizeIterator + Clone {
        self.iter().map(|(host, _)| host)
    }

    /// Replicas of each host.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &u32> + ExactSizeIterator + Clone {
        self.iter().map(|(_, count)| count)
    }

    /// Replicas on all hosts.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.values().map(|count| u64::from(*count)).sum()
    }

    fn find(&self, host: &HostId) -> Result<usize, usize> {
        self.0.binary_search_by(|(have, _)| have.cmp(host))
    }
}

fn pair((host, count): &(HostId, u32)) -> (&HostId, &u32) {
    (host, count)
}

impl fmt::Debug for Places {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.iter()).finish()
    }
}

impl FromIterator<(HostId, u32)> for Places {
    /// Of a host that comes twice the last counts.
    fn from_iter<I: IntoIterator<Item = (HostId, u32)>>(places: I) -> Self {
        let mut all = Self::new();
        all.extend(places);
        all
    }
}

impl Extend<(HostId, u32)> for Places {
    fn extend<I: IntoIterator<Item = (HostId, u32)>>(&mut self, places: I) {
        for (host, count) in places {
            self.insert(host, count);
        }
    }
}

impl<const N: usize> From<[(HostId, u32); N]> for Places {
    fn from(places: [(HostId, u32); N]) -> Self {
        places.into_iter().collect()
    }
}

impl IntoIterator for Places {
    type Item = (HostId, u32);
    type IntoIter = std::vec::IntoIter<(HostId, u32)>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Places {
    type Item = (&'a HostId, &'a u32);
    type IntoIter =
        std::iter::Map<std::slice::Iter<'a, (HostId, u32)>, fn(&(HostId, u32)) -> (&HostId, &u32)>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(pair as fn(&(HostId, u32)) -> (&HostId, &u32))
    }
}

impl Serialize for Places {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self)
    }
}

impl<'de> Deserialize<'de> for Places {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Places;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("replicas by host")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Places, A::Error> {
                let mut places = Places::new();
                while let Some((host, count)) = map.next_entry()? {
                    places.insert(host, count);
                }
                Ok(places)
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn host(number: u8) -> HostId {
        format!("H{number}").parse().unwrap()
    }

    proptest! {
        #[test]
        fn it_is_a_map_and_reads_back_as_it_is_written(
            changes in proptest::collection::vec((0u8..12, 0u32..4, 0u8..4), 0..60),
        ) {
            let (mut places, mut map) = (Places::new(), BTreeMap::new());
            for (number, count, what) in changes {
                let id = host(number);
                match what {
                    0 => prop_assert_eq!(places.insert(id.clone(), count), map.insert(id, count)),
                    1 => prop_assert_eq!(places.remove(&id), map.remove(&id)),
                    2 => {
                        places.add(&id, count);
                        *map.entry(id).or_default() += count;
                    }
                    _ => {
                        places.take_one(&id);
                        map.get_mut(&id).into_iter().for_each(|have| *have = have.saturating_sub(1));
                        if map.get(&id) == Some(&0) {
                            map.remove(&id);
                        }
                    }
                }
            }
            prop_assert!(places.iter().eq(map.iter()));
            prop_assert!((0..12).all(|number| places.get(&host(number)) == map.get(&host(number))));
            let json = serde_json::to_string(&places).unwrap();
            prop_assert_eq!(&json, &serde_json::to_string(&map).unwrap());
            prop_assert_eq!(serde_json::from_str::<Places>(&json).unwrap(), places);
        }
    }
}
