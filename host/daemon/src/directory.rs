//! Who runs here, readable without a lock: the control loop swaps whole maps, calls only read.

use arc_swap::ArcSwap;
use host_runtime::Actor;
use lattice_protocol::ActorId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The running actors of this host.
#[derive(Default)]
pub struct Directory {
    actors: ArcSwap<BTreeMap<ActorId, Arc<Actor>>>,
}

impl Directory {
    /// The actor, if it runs here.
    #[must_use]
    pub fn get(&self, id: &ActorId) -> Option<Arc<Actor>> {
        self.actors.load().get(id).cloned()
    }
    /// All of them.
    #[must_use]
    pub fn all(&self) -> Arc<BTreeMap<ActorId, Arc<Actor>>> {
        self.actors.load_full()
    }
    /// Adds or replaces one. Only the control loop writes, so read-copy-update loses nothing.
    pub(crate) fn insert(&self, id: ActorId, actor: Arc<Actor>) {
        let mut next = BTreeMap::clone(&self.actors.load());
        next.insert(id, actor);
        self.actors.store(Arc::new(next));
    }
    /// Takes one away.
    pub(crate) fn remove(&self, id: &ActorId) -> Option<Arc<Actor>> {
        let mut next = BTreeMap::clone(&self.actors.load());
        let gone = next.remove(id);
        self.actors.store(Arc::new(next));
        gone
    }
    /// Takes all away.
    pub(crate) fn clear(&self) {
        self.actors.store(Arc::new(BTreeMap::new()));
    }
}
