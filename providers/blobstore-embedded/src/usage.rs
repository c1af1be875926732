//! What is used, against the limits. Pure.

use std::collections::BTreeMap;

/// Objects of one container: what one listing may give.
pub(crate) const MAX_OBJECTS: usize = 10_000;
/// Containers of one store.
pub(crate) const MAX_CONTAINERS: usize = 1_000;

/// Over a limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OverLimit {
    /// All bytes together.
    #[error("blob store is full (got {got} bytes, limit {limit}); delete objects or raise max_bytes")]
    Bytes {
        /// With what was to be written.
        got: u64,
        /// The limit.
        limit: u64,
    },
    /// Objects of one container.
    #[error("container is full (limit {MAX_OBJECTS} objects); use another one")]
    Objects,
    /// Containers.
    #[error("too many containers (limit {MAX_CONTAINERS}); delete one")]
    Containers,
}

/// Sizes of all objects, by the encoded names of container and object.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    containers: BTreeMap<String, BTreeMap<String, u64>>,
    bytes: u64,
    max_bytes: u64,
}

impl Usage {
    /// Nothing used, of so much.
    pub(crate) fn new(max_bytes: u64) -> Self {
        Self { max_bytes, ..Self::default() }
    }
    /// Is there such a container?
    pub(crate) fn has(&self, container: &str) -> bool {
        self.containers.contains_key(container)
    }
    /// May there be one more container?
    pub(crate) fn check_container(&self) -> Result<(), OverLimit> {
        if self.containers.len() >= MAX_CONTAINERS { Err(OverLimit::Containers) } else { Ok(()) }
    }
    /// There is such a container now.
    pub(crate) fn add_container(&mut self, container: &str) {
        self.containers.entry(container.to_owned()).or_default();
    }
    /// There is none any more.
    pub(crate) fn remove_container(&mut self, container: &str) {
        let objects = self.containers.remove(container).unwrap_or_default();
        self.bytes -= objects.values().sum::<u64>();
    }
    /// May an object of this size be written?
    pub(crate) fn check(&self, container: &str, object: &str, size: u64) -> Result<(), OverLimit> {
        let objects = self.containers.get(container);
        let before = objects.and_then(|objects| objects.get(object)).copied();
        if before.is_none() && objects.is_some_and(|objects| objects.len() >= MAX_OBJECTS) {
            return Err(OverLimit::Objects);
        }
        let got = self.bytes - before.unwrap_or(0) + size;
        // What makes it smaller is always welcome.
        if got > self.max_bytes && size > before.unwrap_or(0) {
            return Err(OverLimit::Bytes { got, limit: self.max_bytes });
        }
        Ok(())
    }
    /// It was written.
    pub(crate) fn add(&mut self, container: &str, object: &str, size: u64) {
        let objects = self.containers.entry(container.to_owned()).or_default();
        let before = objects.insert(object.to_owned(), size).unwrap_or(0);
        self.bytes = self.bytes - before + size;
    }
    /// It was deleted.
    pub(crate) fn remove(&mut self, container: &str, object: &str) {
        let before = self.containers.get_mut(container).and_then(|objects| objects.remove(object));
        self.bytes -= before.unwrap_or(0);
    }
    /// All bytes together.
    #[cfg(test)]
    fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_once_and_given_back() {
        let mut usage = Usage::new(100);
        usage.add_container("c");
        usage.add("c", "a", 60);
        assert_eq!(usage.check("c", "b", 41), Err(OverLimit::Bytes { got: 101, limit: 100 }));
        assert_eq!(usage.check("c", "a", 100), Ok(()), "over itself");
        usage.add("c", "a", 100);
        assert_eq!(usage.check("c", "b", 0), Ok(()));
        usage.add("c", "a", 10);
        usage.add("d", "a", 20);
        usage.remove("c", "a");
        usage.remove("c", "none");
        assert_eq!(usage.bytes(), 20);
        usage.remove_container("d");
        assert_eq!((usage.bytes(), usage.has("d"), usage.has("c")), (0, false, true));
    }

    #[test]
    fn a_container_and_the_store_hold_so_many() {
        let mut usage = Usage::new(100);
        for n in 0..MAX_OBJECTS {
            usage.add("c", &n.to_string(), 0);
        }
        assert_eq!(usage.check("c", "more", 0), Err(OverLimit::Objects));
        assert_eq!(usage.check("c", "0", 1), Ok(()));
        for n in 1..MAX_CONTAINERS {
            usage.add_container(&n.to_string());
        }
        assert_eq!(usage.check_container(), Err(OverLimit::Containers));
    }
}
