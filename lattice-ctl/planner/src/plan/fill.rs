//! The second and third pass for one actor: place what is missing where it fits best, then hold
//! what fits nowhere, or may not move yet, on the hosts that are lost.

use super::choose::{Hunt, Reasons, rank, reasons};
use super::explain::{Added, Notes};
use super::fit::{refusal, tiers};
use super::preempt::{self, Victims};
use super::room::Slot;
use super::{Allowance, Group, Input, Room, Task, words};
use lattice_protocol::HostId;
use lattice_protocol::desired::Verdict;
use std::collections::BTreeSet;

/// Hosts looked at together, at least.
const BATCH: usize = 64;

/// What filling reads and writes besides the actor itself.
pub(super) struct Filling<'run, 'seen> {
    pub(super) input: &'run Input<'seen>,
    pub(super) room: &'run mut Room<'seen>,
    pub(super) notes: Notes,
    pub(super) left: Allowance,
    pub(super) victims: Victims,
}

/// Fills one actor. `lower` are those that come after it.
pub(super) fn fill<'seen>(
    task: &mut Task<'seen>,
    lower: &mut [&mut Task<'seen>],
    filling: &mut Filling<'_, 'seen>,
) {
    if !task.has_artifact {
        let why = words::no_artifact(task);
        filling.notes.unplaced(task, why.clone());
        task.unplaced = Some(why);
        return;
    }
    let mut added = Added::new();
    let mut reasons = Vec::new();
    // Taken out and put back: the groups are read while the actor's places change.
    let groups = std::mem::take(&mut task.groups);
    for (index, group) in groups.iter().enumerate() {
        let mut site = Site { group, lower: &mut *lower, added: &mut added };
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

/// The group at hand, who may have to give way, and what has been placed so far.
pub(super) struct Site<'p, 'q, 'seen> {
    pub(super) group: &'p Group,
    pub(super) lower: &'p mut [&'q mut Task<'seen>],
    added: &'p mut Added,
}

/// Places what one group lacks. Returns why something is still missing.
fn fill_group<'seen>(
    task: &mut Task<'seen>,
    index: usize,
    site: &mut Site<'_, '_, 'seen>,
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
    site: &mut Site<'_, '_, 'seen>,
    filling: &mut Filling<'_, 'seen>,
) -> u32 {
    let mut missing = missing;
    for tier in tiers(&task.manifest.placement) {
        if missing > 0 {
            missing = of_tier(task, (tier, missing), site, filling);
        }
    }
    while missing > 0
        && preempt::make_room(task, None, site, filling).is_some_and(|slot| add(task, slot, site, filling))
    {
        missing -= 1;
    }
    missing
}

/// The part of it among hosts of one class.
fn of_tier<'seen>(
    task: &mut Task<'seen>,
    (tier, missing): (u8, u32),
    site: &mut Site<'_, '_, 'seen>,
    filling: &mut Filling<'_, 'seen>,
) -> u32 {
    let mut missing = missing;
    let mut hunt = Hunt::new(task, site.group, tier, filling.room);
    let mut order = BTreeSet::new();
    loop {
        // Four hosts for each replica: enough for every replica to have one of its own.
        let want = usize::try_from(missing).unwrap_or(usize::MAX).saturating_mul(4).max(BATCH);
        let batch = hunt.next((task, site.group), (filling.input, filling.room), want);
        if batch.is_empty() {
            return missing;
        }
        let ranked = |slot: Slot| Some((rank(task, filling.room.at(slot)?), slot));
        order.extend(batch.into_iter().filter_map(ranked));
        while missing > 0 {
            let Some((_, slot)) = order.pop_first() else { break };
            if add(task, slot, site, filling) {
                missing -= 1;
                order.extend(filling.room.at(slot).map(|host| (rank(task, host), slot)));
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
    site: &mut Site<'_, '_, 'seen>,
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
            || (preempt::make_room(task, Some(slot), site, filling).is_some()
                && add(task, slot, site, filling));
        full = full.saturating_add(u32::from(!placed));
    }
    let refused = words::refusing(task, site.group, filling).len();
    full.saturating_add(u32::try_from(refused).unwrap_or(u32::MAX))
}

/// Places one replica if there is room for it.
fn add(task: &mut Task<'_>, slot: Slot, site: &mut Site<'_, '_, '_>, filling: &mut Filling<'_, '_>) -> bool {
    let need = &task.manifest.placement.resources;
    let Some(host) = filling.room.at(slot).filter(|host| host.fits(need)) else { return false };
    let (id, load) = (host.view.id.clone(), host.load());
    let why: Reasons = reasons(task, host);
    filling.room.add(&id, &task.id, need);
    let placed = task.placed.entry(id.clone()).or_default();
    *placed = placed.saturating_add(1);
    site.added.entry(id).or_insert((0, load, why)).0 += 1;
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
    for (id, displaced) in &mut task.displaced {
        let held = if is_lost(id, group, filling) { left.min(*displaced) } else { 0 };
        left -= held;
        *displaced -= held;
        if held > 0 {
            let placed = task.placed.entry(id.clone()).or_default();
            *placed = placed.saturating_add(held);
        }
    }
    missing - left
}
