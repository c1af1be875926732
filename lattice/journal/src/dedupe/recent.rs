//! Command ids in order, each with what became of it. Ids carry their time, so the next one belongs at the
//! end nearly always, and what goes, goes from the front: a ring, which both touch at one place.

use super::First;
use crate::command::CommandId;
use std::collections::VecDeque;

/// Sorted by id, each once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recent(VecDeque<(CommandId, First)>);

impl Recent {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(CommandId, First)> {
        self.0.iter()
    }

    pub(super) fn get(&self, id: CommandId) -> Option<&First> {
        let (_, first) = self.0.get(self.find(id).ok()?)?;
        Some(first)
    }

    /// What was there under this id.
    pub(super) fn insert(&mut self, id: CommandId, first: First) -> Option<First> {
        match self.find(id) {
            Ok(at) => self.0.get_mut(at).map(|(_, have)| std::mem::replace(have, first)),
            Err(at) => {
                self.0.insert(at, (id, first));
                None
            }
        }
    }

    pub(super) fn front(&self) -> Option<&(CommandId, First)> {
        self.0.front()
    }

    pub(super) fn pop_front(&mut self) {
        self.0.pop_front();
    }

    fn find(&self, id: CommandId) -> Result<usize, usize> {
        match self.0.back() {
            Some((last, _)) if *last >= id => self.0.binary_search_by_key(&id, |(have, _)| *have),
            _ => Err(self.0.len()),
        }
    }
}

impl FromIterator<(CommandId, First)> for Recent {
    fn from_iter<I: IntoIterator<Item = (CommandId, First)>>(all: I) -> Self {
        let mut recent = Self(VecDeque::new());
        for (id, first) in all {
            recent.insert(id, first);
        }
        recent.0.shrink_to_fit();
        recent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ActorSeq;
    use bytes::Bytes;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_is_a_map_in_order(ids in proptest::collection::vec((0u64..40, any::<bool>()), 0..120)) {
            let (mut recent, mut tree) = (Recent::default(), BTreeMap::new());
            for (seq, (time, goes)) in (0..).zip(ids) {
                let (id, seq) = (CommandId::new(time, [0; 10]), ActorSeq(seq));
                let first = First { seq, digest: [0; 8], reply: Bytes::new() };
                prop_assert_eq!(recent.get(id), tree.get(&id));
                if goes {
                    recent.pop_front();
                    tree.pop_first();
                }
                prop_assert_eq!(recent.insert(id, first.clone()), tree.insert(id, first));
                prop_assert!(recent.iter().map(|(id, first)| (id, first)).eq(&tree));
            }
            prop_assert_eq!(tree.into_iter().collect::<Recent>(), recent);
        }
    }
}
