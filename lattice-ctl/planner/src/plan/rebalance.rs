//! The last pass, when the allowance says so: a few replicas move to hosts that have less, so that
//! a host that has just joined gets its part.
//!
//! Two kinds of moves. *Evenness*: an actor has two or more replicas more on one host than it
//! would have on another. *Load*: one host has reserved much more than another, and an actor has
//! more replicas there. Only actors that spread and have at least two replicas move, so that one
//! serves while the other is on its way; nobody moves to a worse class of host, or away from an
//! actor it is linked to.
//!
//! Before that, by an allowance of its own ([`part_kinds`]): a kind of persistent actors of which a host
//! counts for several replicas. The host runs the kind once, and so do as many hosts less than were asked
//! for: nothing stops where the surplus goes from, and what was asked for is there again. A host that is held
//! after its return gives too, and to another held one if need be: where every host flaps, one of them would
//! otherwise be all that the kind has until its hold is over. A fit host gives to fit ones only.
//!
//! It ends: an evenness move lowers the sum of squares of an actor's counts; a load move does not
//! raise it, and lowers the larger of two hosts' reservations. Reservations move with the decision
//! and not with the next heartbeat, so there is nothing to chase.

use super::Task;
use super::choose::Hunt;
use super::fill::Filling;
use super::fit::{refusal, tier, tiers};
use super::ledger::Slot;
use super::room::{HostRoom, Room};
use super::tasks::{Turn, turn};
use crate::observed::HostView;
use lattice_protocol::{ActorId, HostId};
use std::collections::BTreeSet;

/// Hosts that may get something, and hosts that may give something, in one run.
const MAX_HOSTS: usize = 8;
/// Difference of two hosts' loads that is worth a move, thousandths.
const WORTH: u64 = 200;

/// Kinds whose replicas are not each on a host of its own are parted, as far as other hosts may have them.
pub(super) fn part_kinds(filling: &mut Filling<'_, '_>, kinds: &BTreeSet<ActorId>) {
    if filling.left.parts == 0 {
        return;
    }
    let stacked = kinds.iter().filter(|kind| filling.room.is_stacked(kind)).cloned().collect();
    for (_, index) in in_turn(stacked, filling) {
        with(index, filling, |task, filling| {
            let targets = could_have(task, filling);
            let level = Level { targets: &targets, most_there: 0, gives: |view| view.barred().is_none() };
            while filling.left.parts > 0 && even_out(task, &level, filling) {
                filling.left.parts -= 1;
            }
        });
    }
}

/// Hosts that could have a replica of an actor, as when one is missing.
fn could_have(task: &Task<'_>, filling: &Filling<'_, '_>) -> Vec<Slot> {
    let near = |actor: &ActorId, most: usize| filling.homes(actor, most);
    let seen = (filling.input, &filling.room);
    let of_group = |group| {
        tiers(&task.manifest.placement).flat_map(move |tier| {
            let mut hunt = Hunt::new(task, group, tier, (&filling.room, &near));
            hunt.next((task, group), seen, MAX_HOSTS)
        })
    };
    task.groups.iter().flat_map(of_group).map(|candidate| candidate.slot).collect()
}

pub(super) fn rebalance(filling: &mut Filling<'_, '_>) {
    if filling.left.moves == 0 {
        return;
    }
    let targets = places(&filling.room, &mut filling.room.least_loaded(None));
    let sources = places(&filling.room, &mut filling.room.most_loaded(None));
    let level = Level { targets: &targets, most_there: u32::MAX, gives: |view| view.unfit.is_none() };
    // Only who has two replicas on one host can be made more even.
    for (_, index) in in_turn(filling.room.stacked(), filling) {
        with(index, filling, |task, filling| {
            while filling.left.moves > 0 && even_out(task, &level, filling) {
                filling.left.moves -= 1;
            }
        });
    }
    for target in &targets {
        for source in sources.iter().filter(|source| *source != target) {
            relieve((*source, *target), filling);
        }
    }
}

/// The first few of these hosts that may be given something, or give it.
fn places(room: &Room<'_, '_>, walk: &mut dyn Iterator<Item = (u64, Slot)>) -> Vec<Slot> {
    let fit = |slot: &Slot| room.at(*slot).is_some_and(|host| host.view.unfit.is_none());
    walk.map(|(_, slot)| slot).filter(fit).take(MAX_HOSTS).collect()
}

/// The tasks of these actors, the most important first.
fn in_turn(actors: Vec<ActorId>, filling: &mut Filling<'_, '_>) -> BTreeSet<(Turn, usize)> {
    let indices: Vec<usize> = actors.iter().filter_map(|actor| filling.index(actor)).collect();
    indices.into_iter().filter_map(|index| Some((turn(filling.open(index)?), index))).collect()
}

/// Does something with a task that may move.
fn with<'seen>(
    index: usize,
    filling: &mut Filling<'_, 'seen>,
    act: impl FnOnce(&mut Task<'seen>, &mut Filling<'_, 'seen>),
) {
    let Some(mut task) = filling.tasks.take(index, &mut filling.room) else { return };
    if may_move(&task) {
        act(&mut task, filling);
    }
    filling.tasks.put(index, task);
}

fn may_move(task: &Task<'_>) -> bool {
    let total: u64 = task.placed.values().map(|count| u64::from(*count)).sum();
    let is_daemon = task.groups.iter().all(|group| group.count.is_none());
    total >= 2 && !task.manifest.placement.pack && !is_daemon && task.unplaced.is_none()
}

fn count(task: &Task<'_>, host: &HostId) -> u32 {
    task.placed.get(host).copied().unwrap_or(0)
}

/// Between which hosts one replica goes.
struct Level<'hosts> {
    /// Those that may get it.
    targets: &'hosts [Slot],
    /// Replicas that the one which gets it may have.
    most_there: u32,
    /// May this host be the one it leaves?
    gives: fn(&HostView<'_>) -> bool,
}

/// Moves one replica of an actor from where it has most to where it has least; false when that makes it no more
/// even.
fn even_out(task: &mut Task<'_>, level: &Level<'_>, filling: &mut Filling<'_, '_>) -> bool {
    let room = &filling.room;
    let most = task
        .placed
        .iter()
        .filter_map(|(host, count)| Some((*count, room.slot(host)?)))
        .filter(|(_, slot)| room.at(*slot).is_some_and(|host| (level.gives)(host.view)))
        .max_by_key(|(count, slot)| (*count, std::cmp::Reverse(*slot)));
    let Some((most, source)) = most else { return false };
    let Some(from) = room.at(source) else { return false };
    let target = level
        .targets
        .iter()
        .filter_map(|slot| Some((count(task, room.at(*slot)?.view.id), *slot)))
        .filter(|(least, _)| *least <= level.most_there && least.saturating_add(2) <= most)
        .filter(|(_, slot)| room.at(*slot).is_some_and(|to| admits(task, &from, &to, filling)))
        .min();
    let Some((_, target)) = target else { return false };
    relocate(task, (source, target), filling);
    true
}

/// Moves replicas from one host to another while that makes the two more equal.
fn relieve((source, target): (Slot, Slot), filling: &mut Filling<'_, '_>) {
    while filling.left.moves > 0 {
        let Some(index) = relief((source, target), filling) else { return };
        with(index, filling, |task, filling| {
            relocate(task, (source, target), filling);
            filling.left.moves -= 1;
        });
    }
}

/// The first actor of the source whose move makes the two more equal.
fn relief((source, target): (Slot, Slot), filling: &mut Filling<'_, '_>) -> Option<usize> {
    let (from, to) = (filling.room.at(source)?, filling.room.at(target)?);
    if from.reserved() < to.reserved().saturating_add(WORTH) {
        return None;
    }
    let levels = |actor: &ActorId, need: &_| {
        let after = to.reserved_with(need, !to.holds(actor));
        after < from.reserved() && after > to.reserved()
    };
    let candidates: Vec<ActorId> = from
        .held()
        .filter(|(actor, held)| held.replicas() > to.replicas(actor) && levels(actor, &held.need))
        .map(|(actor, _)| actor.clone())
        .collect();
    candidates.into_iter().find_map(|actor| {
        let index = filling.index(&actor)?;
        let task = filling.tasks.take(index, &mut filling.room)?;
        let is_good = (filling.room.at(source).zip(filling.room.at(target)))
            .is_some_and(|(from, to)| may_move(&task) && admits(&task, &from, &to, filling));
        filling.tasks.put(index, task);
        is_good.then_some(index)
    })
}

/// May one replica go from one host to the other?
fn admits(
    task: &Task<'_>,
    from: &HostRoom<'_, '_>,
    to: &HostRoom<'_, '_>,
    filling: &Filling<'_, '_>,
) -> bool {
    let rule = &task.manifest.placement;
    let beside = |host: &HostRoom<'_, '_>| task.partners.iter().filter(|partner| host.holds(partner)).count();
    to.fits(&task.id, &rule.resources)
        && tier(rule, to.view) <= tier(rule, from.view)
        && beside(to) >= beside(from)
        && task.groups.iter().any(|group| {
            group.admits(from.view.heartbeat) && refusal(task, group, to, filling.input).is_none()
        })
}

fn relocate(task: &mut Task<'_>, (source, target): (Slot, Slot), filling: &mut Filling<'_, '_>) {
    let id = |slot| filling.room.at(slot).map(|host| host.view.id.clone());
    let (Some(from), Some(to)) = (id(source), id(target)) else { return };
    filling.room.remove(source, &task.id);
    filling.room.add(target, &task.id, &task.claim());
    task.placed.take_one(&from);
    task.placed.add(&to, 1);
    task.excused.insert(from.clone());
    filling.notes.rebalanced(&task.id, from, to);
}
