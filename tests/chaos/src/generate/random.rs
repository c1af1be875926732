//! Choices from a seed.

use lattice_protocol::seeded::Seeded;

/// See the module.
#[derive(Debug, Clone)]
pub struct Random(Seeded);

impl Random {
    /// The same seed gives the same choices.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Seeded::new(seed))
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0.number()
    }

    /// One below the bound; 0 when there is none.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    /// A place in a list of that length.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or_default()
    }

    /// Eight of its bits.
    pub fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap_or_default()
    }

    /// One of a list.
    pub fn choose<T: Clone>(&mut self, list: &[T]) -> Option<T> {
        let at = self.index(list.len());
        list.get(at).cloned()
    }

    /// One of a list, out of it.
    pub fn take<T>(&mut self, list: &mut Vec<T>) -> Option<T> {
        let at = self.index(list.len());
        (at < list.len()).then(|| list.swap_remove(at))
    }
}
