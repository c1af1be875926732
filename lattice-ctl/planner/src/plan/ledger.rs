//! What is known of every host, and who holds how much of it: kept from one plan to the next.
//!
//! Hosts stand in the order of their load as well, so that the best of many is found without looking
//! at all of them. Invariants: `by_load` holds every host once, under its score; what is derived of
//! an account (`lesser`, `floors`, `stacked`) is what its `held` says; a slot's order is its host's
//! id's, whenever the host joined, so that ties do not depend on history.

use super::account::{Account, count};
use super::books::{Amount, Claim, Held};
use super::coin;
use crate::observed::{HostView, Unfit};
use lattice_protocol::desired::Verdict;
use lattice_protocol::heartbeat::{ActorStatus, Heartbeat};
use lattice_protocol::{ActorId, AppName, HostId};
use std::collections::{BTreeMap, BTreeSet};

/// A host's place in the ledger. Slots are in the order of the hosts' ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot {
    order: u64,
    pub(super) index: usize,
}

/// Distance of two slots when hosts join in the order of their ids.
const GAP: u64 = 1 << 32;

/// Every host that was ever heard of.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    accounts: Vec<Account>,
    slots: BTreeMap<HostId, Slot>,
    pub(super) by_load: BTreeSet<(u64, Slot)>,
    by_label: BTreeMap<String, BTreeMap<String, BTreeSet<Slot>>>,
    /// By priority: how many actors hold something of a host, once for each host.
    floors: BTreeMap<u8, usize>,
    /// Actors with more than one replica on a host: on how many hosts.
    stacked: BTreeMap<ActorId, usize>,
    /// Hosts on which the last plan has freed something.
    freed: BTreeSet<usize>,
    /// Hosts that run actors of applications that nobody here knows.
    foreign: BTreeMap<AppName, BTreeSet<usize>>,
}

/// What of a host was seen when it was looked at last. What stays and what may come depends on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen {
    word: u64,
    verdict: Option<Verdict>,
    refusals: u64,
    labels: u64,
    unfit: Option<Unfit>,
    /// Its kinds of providers, and its distances.
    means: u64,
}

/// What is otherwise than before.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Hosts on which something may have to move.
    pub(super) standing: BTreeSet<usize>,
    /// Hosts that were never heard of before.
    pub(super) joined: Vec<HostId>,
    /// Some host may take what it could not before, or the other way round.
    pub(super) fitness: bool,
}

impl Ledger {
    pub(super) fn len(&self) -> usize {
        self.accounts.len()
    }
    pub(super) fn slot(&self, host: &HostId) -> Option<Slot> {
        self.slots.get(host).copied()
    }
    pub(super) fn account(&self, slot: Slot) -> Option<&Account> {
        self.accounts.get(slot.index)
    }
    pub(super) fn at(&self, index: usize) -> Option<&Account> {
        self.accounts.get(index)
    }
    /// Every slot, by host.
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> {
        self.slots.values().copied()
    }
    /// The lowest priority of anybody who holds something.
    pub(super) fn floor(&self) -> Option<u8> {
        self.floors.keys().next().copied()
    }
    /// Actors with more than one replica on some host.
    pub(super) fn stacked(&self) -> impl Iterator<Item = &ActorId> {
        self.stacked.keys()
    }
    pub(super) fn is_stacked(&self, actor: &ActorId) -> bool {
        self.stacked.contains_key(actor)
    }
    /// The hosts with a label; none, if no host has it.
    pub(super) fn labelled(&self, key: &str, value: &str) -> Option<&BTreeSet<Slot>> {
        self.by_label.get(key)?.get(value)
    }

    /// Takes what hosts are now, given by id. What a plan has freed is forgotten. `None` when a host is gone
    /// that was known: then nothing here is worth anything any more.
    pub(super) fn look(
        &mut self,
        views: &[HostView<'_>],
        is_ours: &dyn Fn(&AppName) -> bool,
        (appeared, is_any_gone): (&BTreeSet<AppName>, bool),
    ) -> Option<(Vec<usize>, Changes)> {
        for index in std::mem::take(&mut self.freed) {
            self.change(index, |account| {
                account.books.freed = Amount::default();
                account.gone.clear();
            });
        }
        let strangers: BTreeSet<usize> =
            appeared.iter().filter_map(|app| self.foreign.get(app)).flatten().copied().collect();
        let mut changes = Changes::default();
        let mut indices = Vec::with_capacity(views.len());
        for view in views {
            let slot = match self.slot(view.id) {
                Some(slot) => slot,
                None => {
                    changes.joined.push(view.id.clone());
                    self.join(view.id)
                }
            };
            indices.push(slot.index);
            let is_foreign = strangers.contains(&slot.index)
                || (is_any_gone && view.heartbeat.actors.iter().any(|status| !is_ours(&status.id.app)));
            self.look_at(slot, view, is_foreign, is_ours, &mut changes);
        }
        (views.len() == self.accounts.len()).then_some((indices, changes))
    }

    /// A slot for a new host, between those of its neighbours.
    fn join(&mut self, host: &HostId) -> Slot {
        let before = self.slots.range::<HostId, _>(..host).next_back().map(|(_, slot)| slot.order);
        let after = self.slots.range::<HostId, _>(host..).next().map(|(_, slot)| slot.order);
        let order = match (before, after) {
            (None, None) => Some(u64::MAX / 2),
            (Some(before), None) => before.checked_add(GAP),
            (None, Some(after)) => after.checked_sub(GAP),
            (Some(before), Some(after)) => {
                Some(before + (after - before) / 2).filter(|middle| *middle > before)
            }
        };
        let index = self.accounts.len();
        let slot = Slot { order: order.unwrap_or(0), index };
        self.accounts.push(Account::new(slot));
        self.slots.insert(host.clone(), slot);
        if order.is_none() {
            self.renumber();
        }
        let slot = self.slot(host).unwrap_or(slot);
        if let Some(account) = self.accounts.get(index) {
            self.by_load.insert((account.score(), slot));
        }
        slot
    }

    /// There is no place between two neighbours: all get new ones.
    fn renumber(&mut self) {
        self.by_load.clear();
        self.by_label.clear();
        let mut order = u64::MAX / 4;
        for slot in self.slots.values_mut() {
            order = order.saturating_add(GAP);
            slot.order = order;
            let Some(account) = self.accounts.get_mut(slot.index) else { continue };
            account.slot = *slot;
            self.by_load.insert((account.score(), *slot));
            for (key, value) in &account.labels {
                let values = self.by_label.entry(key.clone()).or_default();
                values.entry(value.clone()).or_default().insert(*slot);
            }
        }
    }

    fn look_at(
        &mut self,
        slot: Slot,
        view: &HostView<'_>,
        is_foreign: bool,
        is_ours: &dyn Fn(&AppName) -> bool,
        changes: &mut Changes,
    ) {
        let Some(account) = self.accounts.get(slot.index) else { return };
        let before = account.seen;
        let mut seen = Seen {
            word: view.word(),
            verdict: Some(view.verdict),
            refusals: view.refused().fold(0, |sum, (actor, runs)| {
                coin(coin(sum, actor.app.as_str()), actor.name.as_str()) ^ u64::from(runs)
            }),
            unfit: view.unfit,
            ..before
        };
        if seen.word != before.word || is_foreign || before.verdict.is_none() {
            let beat = view.heartbeat;
            seen.labels =
                beat.labels.iter().fold(coin(1, &beat.arch), |sum, (key, value)| coin(coin(sum, key), value));
            let kinds = beat.kinds.iter().fold(2, |sum, kind| coin(sum, kind));
            seen.means =
                beat.latency_ms.iter().fold(kinds, |sum, (region, ms)| coin(sum, region) ^ u64::from(*ms));
            if seen.labels != before.labels {
                self.relabel(slot, &beat.labels);
            }
            self.hear(slot.index, beat, is_ours);
        }
        if seen == before {
            return;
        }
        let stands = |seen: &Seen| (seen.verdict, seen.refusals, seen.labels);
        if stands(&seen) != stands(&before) {
            changes.standing.insert(slot.index);
        }
        changes.fitness |=
            stands(&seen) != stands(&before) || (seen.unfit, seen.means) != (before.unfit, before.means);
        if let Some(account) = self.accounts.get_mut(slot.index) {
            account.seen = seen;
        }
    }

    fn relabel(&mut self, slot: Slot, labels: &BTreeMap<String, String>) {
        let Some(account) = self.accounts.get_mut(slot.index) else { return };
        for (key, value) in std::mem::replace(&mut account.labels, labels.clone()) {
            let Some(values) = self.by_label.get_mut(&key) else { continue };
            if let Some(slots) = values.get_mut(&value) {
                slots.remove(&slot);
                if slots.is_empty() {
                    values.remove(&value);
                }
            }
        }
        for (key, value) in labels {
            let values = self.by_label.entry(key.clone()).or_default();
            values.entry(value.clone()).or_default().insert(slot);
        }
    }

    fn hear(&mut self, index: usize, beat: &Heartbeat, is_ours: &dyn Fn(&AppName) -> bool) {
        let before = self.at(index).map(|account| account.foreign.clone()).unwrap_or_default();
        self.change(index, |account| account.hear(beat, is_ours));
        let after = self.at(index).map(|account| account.foreign.clone()).unwrap_or_default();
        for app in before.difference(&after) {
            if let Some(hosts) = self.foreign.get_mut(app) {
                hosts.remove(&index);
                if hosts.is_empty() {
                    self.foreign.remove(app);
                }
            }
        }
        for app in after.difference(&before) {
            self.foreign.entry(app.clone()).or_default().insert(index);
        }
    }

    /// From now on an actor holds so many replicas of a host: none, when that is 0.
    pub(super) fn set(
        &mut self,
        index: usize,
        (actor, claim): (&ActorId, &Claim),
        count: u32,
        status: Option<&ActorStatus>,
    ) {
        self.hold(index, actor, |account, held| {
            if let Some(held) = &held {
                account.books.strike(held);
            }
            let held = Held::new(claim, count, status);
            account.books.enter(&held);
            Some(held)
        });
    }

    /// One replica more.
    pub(super) fn add(&mut self, index: usize, actor: &ActorId, claim: &Claim) {
        self.hold(index, actor, |account, held| {
            let mut held = held.unwrap_or_else(|| Held::new(claim, 0, None));
            account.books.take(&mut held);
            if let Some((count, used)) = account.gone.get_mut(actor) {
                account.books.freed = account.books.freed.minus(*used);
                *count -= 1;
                if *count == 0 {
                    account.gone.remove(actor);
                }
            }
            Some(held)
        });
    }

    /// One replica less: what it uses in fact will be free.
    pub(super) fn remove(&mut self, index: usize, actor: &ActorId) {
        self.freed.insert(index);
        self.hold(index, actor, |account, held| {
            let mut held = held?;
            let before = account.books.freed;
            account.books.give_back(&mut held);
            if account.books.freed != before {
                account.gone.entry(actor.clone()).or_insert((0, Amount::of(&held.used, 1))).0 += 1;
            }
            Some(held)
        });
    }

    /// All that an application holds of a host.
    pub(super) fn forget(&mut self, index: usize, app: &AppName) {
        let Some(account) = self.at(index) else { return };
        // Its actors stand together.
        let from_app_on = account.held.after(|actor| actor.app < *app);
        let of_app = from_app_on.map(|(actor, _)| actor).take_while(|actor| actor.app == *app);
        let actors: Vec<ActorId> = of_app.cloned().collect();
        for actor in actors {
            self.hold(index, &actor, |account, held| {
                if let Some(held) = &held {
                    account.books.strike(held);
                }
                None
            });
        }
    }

    /// Changes what one actor holds of a host, and all that follows from it.
    fn hold(
        &mut self,
        index: usize,
        actor: &ActorId,
        change: impl FnOnce(&mut Account, Option<Held>) -> Option<Held>,
    ) {
        let mut both = (None, None);
        self.change(index, |account| {
            let before = account.held.get(actor).copied();
            let after = change(account, before).filter(|held| held.replicas() > 0);
            both = (before, after);
            match after {
                Some(held) => account.held.put(actor, held),
                None => account.held.take(actor),
            }
            account.count(before.as_ref(), false);
            account.count(after.as_ref(), true);
        });
        let (before, after) = both;
        count(&mut self.floors, before.map(|held| held.priority), false);
        count(&mut self.floors, after.map(|held| held.priority), true);
        let stacks = |held: Option<Held>| held.is_some_and(|held| held.replicas() > 1);
        if stacks(before) != stacks(after) {
            count(&mut self.stacked, Some(actor.clone()), stacks(after));
        }
    }

    fn change(&mut self, index: usize, change: impl FnOnce(&mut Account)) {
        let Some(account) = self.accounts.get_mut(index) else { return };
        let before = account.score();
        change(account);
        let (after, slot) = (account.score(), account.slot);
        if before != after {
            self.by_load.remove(&(before, slot));
            self.by_load.insert((after, slot));
        }
    }
}
