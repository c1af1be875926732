//! The ledger while one plan is made: with each host as it is seen now, and what the plan gives away
//! taken down at once, so that what one actor was given is not given to the next.

use super::Group;
use super::account::Account;
use super::books::{Books, Claim, Held};
use super::ledger::{Ledger, Slot};
use crate::observed::HostView;
use lattice_protocol::heartbeat::{ActorStatus, Load};
use lattice_protocol::manifest::Resources;
use lattice_protocol::{ActorId, HostId};
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

/// One host and what is left of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HostRoom<'r, 'seen> {
    pub(crate) view: &'r HostView<'seen>,
    account: &'r Account,
}

impl<'r> HostRoom<'r, '_> {
    pub(super) fn books(&self) -> Books {
        self.account.books
    }
    pub(crate) fn fits(&self, actor: &ActorId, need: &Resources) -> bool {
        self.account.has_room(actor, need)
    }

    /// Can it run a provider of this kind? One that does not say is believed to.
    pub(super) fn runs(&self, kind: &str) -> bool {
        let kinds = &self.view.heartbeat.kinds;
        kinds.is_empty() || kinds.iter().any(|have| have == kind)
    }
    /// Has it the artifact whose digest has this hash?
    pub(super) fn has_artifact(&self, artifact: u64) -> bool {
        self.account.has_artifact(artifact)
    }
    pub(super) fn holds(&self, actor: &ActorId) -> bool {
        self.account.held(actor).is_some()
    }
    pub(super) fn has_lesser(&self, priority: u8) -> bool {
        self.account.has_lesser(priority)
    }
    /// Actors placed there by us, with what they hold.
    pub(super) fn held(&self) -> impl Iterator<Item = (&'r ActorId, &'r Held)> {
        self.account.all_held()
    }
    /// Replicas of an actor there.
    pub(super) fn replicas(&self, actor: &ActorId) -> u32 {
        self.account.held(actor).map_or(0, Held::replicas)
    }
    /// Seed 004's score; see [`Account::score`].
    pub(crate) fn score(&self) -> u64 {
        self.account.score()
    }
    pub(super) fn reserved(&self) -> u64 {
        self.account.reserved()
    }
    pub(super) fn reserved_with(&self, need: &Resources, is_new: bool) -> u64 {
        self.account.reserved_with(need, is_new)
    }

    /// What is free, thousandths of a core and MiB.
    pub(super) fn free(&self) -> (u64, u64) {
        let free = self.account.books.capacity.minus(self.account.books.busy());
        (free.cpu, free.memory)
    }

    /// The load as it is now, for people.
    pub(crate) fn load(&self) -> Load {
        let narrow = |wide: u64| u32::try_from(wide).unwrap_or(u32::MAX);
        let (capacity, busy) = (self.account.books.capacity, self.account.books.busy());
        Load {
            cpu_millis: narrow(capacity.cpu),
            cpu_used_millis: narrow(busy.cpu),
            memory_mib: narrow(capacity.memory),
            memory_used_mib: narrow(busy.memory),
        }
    }
}

type Statuses<'seen> = BTreeMap<&'seen ActorId, &'seen ActorStatus>;

/// Every host that was ever heard of.
#[derive(Debug)]
pub(crate) struct Room<'run, 'seen> {
    ledger: &'run mut Ledger,
    /// By the index of their slot.
    hosts: Vec<(HostView<'seen>, OnceCell<Statuses<'seen>>)>,
}

impl<'run, 'seen> Room<'run, 'seen> {
    /// Of views with their indices.
    pub(super) fn new(ledger: &'run mut Ledger, views: Vec<HostView<'seen>>, indices: &[usize]) -> Self {
        let mut hosts: Vec<(usize, HostView<'seen>)> = indices.iter().copied().zip(views).collect();
        hosts.sort_unstable_by_key(|(index, _)| *index);
        Self { ledger, hosts: hosts.into_iter().map(|(_, view)| (view, OnceCell::new())).collect() }
    }

    pub(crate) fn get(&self, host: &HostId) -> Option<HostRoom<'_, 'seen>> {
        self.at(self.ledger.slot(host)?)
    }
    pub(super) fn slot(&self, host: &HostId) -> Option<Slot> {
        self.ledger.slot(host)
    }
    pub(super) fn at(&self, slot: Slot) -> Option<HostRoom<'_, 'seen>> {
        let (view, _) = self.hosts.get(slot.index)?;
        Some(HostRoom { view, account: self.ledger.account(slot)? })
    }
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> {
        self.ledger.slots()
    }
    /// Every host, by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = HostRoom<'_, 'seen>> {
        self.ledger.slots().filter_map(|slot| self.at(slot))
    }
    pub(super) fn len(&self) -> usize {
        self.ledger.len()
    }
    pub(super) fn floor(&self) -> Option<u8> {
        self.ledger.floor()
    }
    pub(super) fn stacked(&self) -> Vec<ActorId> {
        self.ledger.stacked().cloned().collect()
    }
    /// Has an actor more than one replica on some host?
    pub(super) fn is_stacked(&self, actor: &ActorId) -> bool {
        self.ledger.is_stacked(actor)
    }

    /// Hosts by load, the least loaded first, after one that was given before.
    pub(super) fn least_loaded(&self, after: Option<(u64, Slot)>) -> impl Iterator<Item = (u64, Slot)> {
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        self.ledger.by_load.range((from, std::ops::Bound::Unbounded)).copied()
    }
    /// The other way round: the most loaded first, before one that was given before.
    pub(super) fn most_loaded(&self, before: Option<(u64, Slot)>) -> impl Iterator<Item = (u64, Slot)> {
        let to = before.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        self.ledger.by_load.range((std::ops::Bound::Unbounded, to)).rev().copied()
    }

    /// The hosts with the rarest of a group's labels, besides this one, if they are not more than
    /// `most`; `None` as well when the group has no label that hosts carry literally.
    pub(super) fn labelled(
        &self,
        group: &Group,
        besides: Option<(&str, &str)>,
        most: usize,
    ) -> Option<Vec<Slot>> {
        let of_group = group.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let literal = of_group.chain(besides).filter(|(key, _)| !matches!(*key, "arch" | "hostcore.arch"));
        let lists = literal.map(|(key, value)| self.ledger.labelled(key, value));
        let rarest = lists.min_by_key(|list| list.map_or(0, BTreeSet::len))?;
        let rarest = rarest.into_iter().flatten();
        (rarest.clone().count() <= most).then(|| rarest.copied().collect())
    }

    /// Reserves for so many replicas of an actor on a host, whatever was reserved before.
    pub(super) fn set(&mut self, host: &HostId, (actor, claim): (&ActorId, &Claim), count: u32) {
        let Some(slot) = self.slot(host) else { return };
        let have = self.ledger.account(slot).and_then(|account| account.held(actor));
        if have.map_or(count == 0, |have| have.replicas() == count && have.claim() == *claim) {
            return;
        }
        let Some((view, statuses)) = self.hosts.get(slot.index) else { return };
        let statuses = statuses
            .get_or_init(|| view.heartbeat.actors.iter().map(|status| (&status.id, status)).collect());
        self.ledger.set(slot.index, (actor, claim), count, statuses.get(actor).copied());
    }
    /// Reserves for one replica more.
    pub(super) fn add(&mut self, slot: Slot, actor: &ActorId, claim: &Claim) {
        self.ledger.add(slot.index, actor, claim);
    }
    /// Gives back what one replica held.
    pub(super) fn remove(&mut self, slot: Slot, actor: &ActorId) {
        self.ledger.remove(slot.index, actor);
    }
}
