//! The account of one host: what it has, and who holds how much of it.

use super::books::{Amount, Books, Held};
use super::coin;
use super::ledger::{Seen, Slot};
use crate::sorted::Sorted;
use lattice_protocol::heartbeat::{ActorStatus, Heartbeat};
use lattice_protocol::manifest::Resources;
use lattice_protocol::{ActorId, AppName};
use std::collections::{BTreeMap, BTreeSet};

/// One host.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) slot: Slot,
    pub(super) seen: Seen,
    pub(super) books: Books,
    /// Actors there that are not ours to place.
    others: u64,
    pub(super) foreign: BTreeSet<AppName>,
    pub(super) held: Sorted<(ActorId, Held)>,
    /// Running replicas that this plan has taken away: how many, and what one uses in fact. One that comes
    /// back uses it again.
    pub(super) gone: BTreeMap<ActorId, (u32, Amount)>,
    /// By priority: how many actors there could give way.
    lesser: BTreeMap<u8, usize>,
    pub(super) labels: BTreeMap<String, String>,
    /// Artifacts that it has, by the hash of their digest, sorted.
    artifacts: Vec<u64>,
}

impl Account {
    pub(super) fn new(slot: Slot) -> Self {
        Self {
            slot,
            seen: Seen::default(),
            books: Books::default(),
            others: 0,
            foreign: BTreeSet::new(),
            held: Sorted::default(),
            gone: BTreeMap::new(),
            lesser: BTreeMap::new(),
            labels: BTreeMap::new(),
            artifacts: Vec::new(),
        }
    }

    /// Has it the artifact whose digest has this hash?
    pub(super) fn has_artifact(&self, artifact: u64) -> bool {
        self.artifacts.binary_search(&artifact).is_ok()
    }

    /// Is there room for one replica more of an actor?
    pub(super) fn has_room(&self, actor: &ActorId, need: &Resources) -> bool {
        let mut books = self.books;
        if let Some((_, used)) = self.gone.get(actor) {
            books.freed = books.freed.minus(*used);
        }
        books.fits(need)
    }

    pub(super) fn held(&self, actor: &ActorId) -> Option<&Held> {
        self.held.get(actor)
    }

    /// Everything that is held of it.
    pub(super) fn all_held(&self) -> impl Iterator<Item = (&ActorId, &Held)> {
        self.held.iter().map(|(actor, held)| (actor, held))
    }

    /// Is there anybody less important who could give way?
    pub(super) fn has_lesser(&self, priority: u8) -> bool {
        self.lesser.keys().next().is_some_and(|least| *least < priority)
    }

    /// Seed 004's score, in thousandths: CPU % + memory % + number of actors. Less is better.
    pub(super) fn score(&self) -> u64 {
        self.weigh(self.books.busy())
    }

    /// The same of what is reserved alone: it moves with replicas at once, not with the next
    /// heartbeat, so that moving until it is even comes to an end.
    pub(super) fn reserved(&self) -> u64 {
        self.weigh(self.books.reserved())
    }

    /// What one replica of an actor adds to [`Account::reserved`].
    pub(super) fn reserved_with(&self, need: &Resources, is_new: bool) -> u64 {
        let taken = self.books.reserved().plus(Amount::of(need, 1));
        self.weigh(taken).saturating_add(if is_new { 10 } else { 0 })
    }

    fn weigh(&self, taken: Amount) -> u64 {
        let part = |busy: u64, capacity: u64| busy.saturating_mul(1_000) / capacity.max(1);
        let actors = self.others.saturating_add(u64::try_from(self.held.len()).unwrap_or(u64::MAX));
        part(taken.cpu, self.books.capacity.cpu)
            .saturating_add(part(taken.memory, self.books.capacity.memory))
            .saturating_add(actors.saturating_mul(10))
    }

    /// Takes what the host says now.
    pub(super) fn hear(&mut self, beat: &Heartbeat, is_ours: &dyn Fn(&AppName) -> bool) {
        self.books.measure(&beat.load);
        let statuses: BTreeMap<&ActorId, &ActorStatus> =
            beat.actors.iter().map(|status| (&status.id, status)).collect();
        for (actor, held) in self.held.values_mut() {
            self.books.strike(held);
            *held = Held::new(&held.claim(), held.replicas(), statuses.get(actor).copied());
            self.books.enter(held);
        }
        let others = beat.actors.iter().filter(|status| !is_ours(&status.id.app));
        self.foreign = others.clone().map(|status| status.id.app.clone()).collect();
        self.others = u64::try_from(others.count()).unwrap_or(u64::MAX);
        let digests = beat.actors.iter().map(|status| status.digest.as_str());
        let digests = digests.chain(beat.cached.iter().map(String::as_str));
        self.artifacts = digests.map(|digest| coin(0, digest)).collect();
        self.artifacts.sort_unstable();
    }
}

impl Account {
    pub(super) fn count(&mut self, held: Option<&Held>, more: bool) {
        let priority = held.filter(|held| !held.pinned).map(|held| held.priority);
        count(&mut self.lesser, priority, more);
    }
}

/// Counts one more, or one less, of something; of what there is none there is no entry.
pub(super) fn count<K: Ord>(counts: &mut BTreeMap<K, usize>, of: Option<K>, more: bool) {
    let Some(key) = of else { return };
    if more {
        *counts.entry(key).or_default() += 1;
    } else if let Some(have) = counts.get_mut(&key) {
        *have -= 1;
        if *have == 0 {
            counts.remove(&key);
        }
    }
}
