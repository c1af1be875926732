//! The second and third pass for one actor: place what is missing where it fits best, then hold
//! what fits nowhere, or may not move yet, on the hosts that are lost.

use super::choose::{Candidate, Hunt, Reasons, reasons};
use super::explain::{Added, Notes};
use super::fit::{refusal, tiers};
use super::ledger::Slot;
use super::tasks::{Tasks, Turn};
use super::{Allowance, Group, Input, Room, Task, preempt, words};
use lattice_protocol::desired::Verdict;
use lattice_protocol::{ActorId, HostId, Places};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Hosts looked at together, at least.
const BATCH: usize = 64;

/// What filling reads and writes besides the actor itself.
pub(super) struct Filling<'run, 'seen> {
    pub(super) input: &'run Input<'seen>,
    pub(super) room: Room<'run, 'seen>,
    pub(super) tasks: Tasks<'run, 'seen>,
    pub(super) notes: Notes,
    pub(super) left: Allowance,
    /// Times that room was sought by eviction.
    pub(super) searches: u32,
}

impl<'seen> Filling<'_, 'seen> {
    /// Everybody's turn, the most important first.
    pub(super) fn fill_all(&mut self) {
        let mut last: Option<Turn> = None;
        while let Some((index, mut task)) = self.tasks.take_next(&mut last, &mut self.room) {
            fill(&mut task, self);
            self.tasks.put(index, task);
        }
    }

    /// The task of an actor that holds something: one that nothing had changed for is drawn in.
    pub(super) fn index(&mut self, actor: &ActorId) -> Option<usize> {
        self.tasks.index(actor, &mut self.room)
    }

    /// The same, to change it.
    pub(super) fn open(&mut self, index: usize) -> Option<&mut Task<'seen>> {
        self.tasks.open(index, &mut self.room)
    }

    /// The first few hosts where an actor has replicas.
    pub(super) fn homes(&self, actor: &ActorId, most: usize) -> Vec<Slot> {
        let decided = || self.input.placements.get(&actor.app)?.actors.get(actor);
        let hosts = self.tasks.placed(actor).or_else(decided);
        let slots = hosts.into_iter().flat_map(Places::keys).filter_map(|host| self.room.slot(host));
        let holds = |slot: &Slot| self.room.at(*slot).is_some_and(|host| host.holds(actor));
        slots.filter(holds).take(most).collect()
    }
}

/// Fills one actor.
fn fill<'seen>(task: &mut Task<'seen>, filling: &mut Filling<'_, 'seen>) {
    if task.artifact.is_none() {
        let why = words::no_artifact(task);
        filling.notes.unplaced(task, why.clone());
        task.unplaced = Some(why);
        return;
    }
    let mut added = Added::default();
    let mut reasons = Vec::new();
    // Taken out and put back: the groups are read while the actor's places change.
    let groups = std::mem::take(&mut task.groups);
    for (index, group) in groups.iter().enumerate() {
        let mut site = Site { group, added: &mut added };
        for reason in fill_group(task, index, &mut site, filling) {
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
    }
    task.groups = groups;
    filling.notes.placed(task, added);
    if !reasons.is_empty() {
        let why = reasons.join("; ");
        filling.notes.unplaced(task, why.clone());
        task.unplaced = Some(why);
    }
}

/// The group at hand, and what has been placed so far.
struct Site<'p> {
    group: &'p Group,
    added: &'p mut Added,
}

/// Places what one group lacks. Returns why something is still missing.
fn fill_group<'seen>(
    task: &mut Task<'seen>,
    index: usize,
    site: &mut Site<'_>,
    filling: &mut Filling<'_, 'seen>,
) -> Vec<String> {
    let group = site.group;
    let Some(count) = group.count else {
        let missing = on_every_host(task, site, filling);
        return if missing > 0 { vec![words::shortage(task, group, (missing, 0), filling)] } else { vec![] };
    };
    let missing = count.saturating_sub(task.kept.get(index).copied().unwrap_or(0));
    // Of what is missing, this much is fail-over, and of that this much may go now.
    let failing = missing.min(lost(task, group, filling));
    let going = failing.min(filling.left.failovers);
    let waiting = failing - going;
    let now = missing - waiting;
    let nowhere = on_best_hosts(task, now, site, filling);
    filling.left.failovers -= going.min(now - nowhere);
    // Where one finds no place another of the same finds none: it does not wait for its turn.
    let (nowhere, waiting) = if nowhere > 0 { (nowhere + waiting, 0) } else { (0, waiting) };
    let mut reasons = Vec::new();
    if nowhere > 0 {
        let held = hold(task, group, nowhere, filling);
        reasons.push(words::shortage(task, group, (nowhere, held), filling));
    }
    if waiting > 0 {
        hold(task, group, waiting, filling);
        reasons.push(format!("failover waits its turn: {waiting} replicas"));
    }
    reasons
}

/// Places up to `missing` replicas, each where it fits best by then. Returns how many found none.
fn on_best_hosts<'seen>(
    task: &mut Task<'seen>,
    missing: u32,
    site: &mut Site<'_>,
    filling: &mut Filling<'_, 'seen>,
) -> u32 {
    let mut missing = missing;
    for tier in tiers(&task.manifest.placement) {
        if missing > 0 {
            missing = of_tier(task, (tier, missing), site, filling);
        }
    }
    while missing > 0
        && let Some(slot) = preempt::make_room(task, site.group, None, filling)
        && add(task, slot, site, filling)
    {
        missing -= 1;
        // What gave way may have held more than one replica needs.
        while missing > 0 && add(task, slot, site, filling) {
            missing -= 1;
        }
    }
    missing
}

/// The part of it among hosts of one class.
fn of_tier<'seen>(
    task: &mut Task<'seen>,
    (tier, missing): (u8, u32),
    site: &mut Site<'_>,
    filling: &mut Filling<'_, 'seen>,
) -> u32 {
    let mut missing = missing;
    let near = |actor: &ActorId, most: usize| filling.homes(actor, most);
    let mut hunt = Hunt::new(task, site.group, tier, (&filling.room, &near));
    let mut order = BinaryHeap::new();
    loop {
        // Four hosts for each replica: enough for every replica to have one of its own.
        let want = usize::try_from(missing).unwrap_or(usize::MAX).saturating_mul(4).max(BATCH);
        let batch = hunt.next((task, site.group), (filling.input, &filling.room), want);
        if batch.is_empty() {
            return missing;
        }
        order.extend(batch.into_iter().map(Reverse));
        while missing > 0 {
            let Some(Reverse(Candidate { slot, .. })) = order.pop() else { break };
            if add(task, slot, site, filling) {
                missing -= 1;
                let again = filling.room.at(slot).filter(|_| missing > 0);
                order.extend(again.map(|host| Reverse(Candidate::new(task, slot, &host, host.score()))));
            }
        }
        if missing == 0 {
            return 0;
        }
    }
}

/// Places one replica on each host of the group that has none. Returns for how many there was no
/// room.
fn on_every_host<'seen>(
    task: &mut Task<'seen>,
    site: &mut Site<'_>,
    filling: &mut Filling<'_, 'seen>,
) -> u32 {
    let hosts: Vec<HostId> = filling
        .room
        .iter()
        .filter(|host| !task.placed.contains_key(host.view.id))
        .filter(|host| refusal(task, site.group, host, filling.input).is_none())
        .map(|host| host.view.id.clone())
        .collect();
    let mut full = 0u32;
    for slot in hosts.iter().filter_map(|host| filling.room.slot(host)).collect::<Vec<_>>() {
        let placed = add(task, slot, site, filling)
            || (preempt::make_room(task, site.group, Some(slot), filling).is_some()
                && add(task, slot, site, filling));
        full = full.saturating_add(u32::from(!placed));
    }
    let refused = words::refusing(task, site.group, filling).len();
    full.saturating_add(u32::try_from(refused).unwrap_or(u32::MAX))
}

/// Places one replica if there is room for it.
fn add(task: &mut Task<'_>, slot: Slot, site: &mut Site<'_>, filling: &mut Filling<'_, '_>) -> bool {
    let need = &task.manifest.placement.resources;
    let Some(host) = filling.room.at(slot).filter(|host| host.fits(&task.id, need)) else { return false };
    let (id, load) = (host.view.id.clone(), host.load());
    let why: Reasons = reasons(task, &host);
    filling.room.add(slot, &task.id, &task.claim());
    task.placed.add(&id, 1);
    site.added.push(id, load, why);
    true
}

/// Replicas that a group had on hosts that are lost.
fn lost(task: &Task<'_>, group: &Group, filling: &Filling<'_, '_>) -> u32 {
    let on_lost = task.displaced.iter().filter(|(id, _)| is_lost(id, group, filling));
    on_lost.fold(0, |sum, (_, count)| sum.saturating_add(*count))
}

fn is_lost(id: &HostId, group: &Group, filling: &Filling<'_, '_>) -> bool {
    filling.input.observed.judge(id, filling.input.now_ms) == Verdict::Lost
        && filling.room.get(id).is_none_or(|host| group.admits(host.view.heartbeat))
}

/// Leaves up to `missing` replicas on lost hosts: they may still run there, and nothing is gained
/// by forbidding it. Returns how many.
fn hold(task: &mut Task<'_>, group: &Group, missing: u32, filling: &Filling<'_, '_>) -> u32 {
    let mut left = missing;
    for (id, displaced) in task.displaced.iter_mut() {
        let held = if is_lost(id, group, filling) { left.min(*displaced) } else { 0 };
        left -= held;
        *displaced -= held;
        if held > 0 {
            task.placed.add(id, held);
        }
    }
    missing - left
}
