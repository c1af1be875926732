//! Room for the more important: replicas of less important actors give way when that, and nothing
//! less, makes room for one replica that has found none.
//!
//! Of the hosts where it would help, the one is taken where the most important of those that give
//! way matters least, then where the fewest do. On that host everybody less important is set
//! aside, and from the most important down each is taken back who still fits: what is left cannot
//! be made smaller. Those that gave way are filled later in the same run, elsewhere if they fit.
//!
//! Invariants: only a higher priority evicts; nobody is evicted in vain; a plan evicts at most
//! what its allowance says and looks at a bounded number of hosts.

use super::books::Held;
use super::fill::Filling;
use super::fit::{refusal, tier};
use super::ledger::Slot;
use super::{Group, Task, choose};
use crate::observed::HostView;
use lattice_protocol::ActorId;
use std::cmp::Reverse;

/// Hosts that are looked at for one replica.
const MAX_HOSTS: usize = 512;
/// Replicas of one plan for which room is sought by eviction.
const MAX_SEARCHES: u32 = 256;

/// Evicts what stands in the way of one replica, on `only` this host or on the best. Returns where
/// there is room now.
pub(super) fn make_room<'seen>(
    task: &Task<'seen>,
    group: &Group,
    only: Option<Slot>,
    filling: &mut Filling<'_, 'seen>,
) -> Option<Slot> {
    let priority = task.manifest.placement.priority;
    let pointless = filling.left.evictions == 0
        || filling.searches >= MAX_SEARCHES
        || filling.room.floor().is_none_or(|floor| floor >= priority);
    if pointless {
        return None;
    }
    filling.searches += 1;
    let room = &filling.room;
    let helps = |slot: &Slot| room.at(*slot).is_some_and(|host| host.has_lesser(priority));
    let places: Vec<Slot> = match only {
        Some(slot) => vec![slot],
        None => room.slots().filter(helps).take(MAX_HOSTS).collect(),
    };
    let best = places.into_iter().filter_map(|slot| cost((task, group), slot, filling)).min()?;
    for actor in &best.evicted {
        evict(&task.id, actor, best.slot, filling)?;
    }
    Some(best.slot)
}

/// What room on one host would cost. Ordered: less is better.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    highest: u8,
    count: usize,
    tier: u8,
    rank: choose::Rank,
    slot: Slot,
    /// Actors, once for each replica.
    evicted: Vec<ActorId>,
}

fn cost((task, group): (&Task<'_>, &Group), slot: Slot, filling: &Filling<'_, '_>) -> Option<Cost> {
    let host = filling.room.at(slot)?;
    if refusal(task, group, &host, filling.input).is_some() {
        return None;
    }
    let need = &task.manifest.placement.resources;
    let mut books = host.books();
    let mut aside: Vec<(&ActorId, Held, Held)> = Vec::new();
    // Who is pinned by its state cannot give way: it could go nowhere else.
    let lesser = |held: &Held| held.priority < task.manifest.placement.priority && !held.pinned;
    for (actor, held) in host.held().filter(|(_, held)| lesser(held)) {
        let (before, mut left) = (*held, *held);
        for _ in 0..held.replicas() {
            books.give_back(&mut left);
        }
        aside.push((actor, before, left));
    }
    if !books.fits(need) {
        return None;
    }
    // Whoever still fits comes back, the most important first.
    aside.sort_by_key(|(_, before, _)| Reverse(before.priority));
    let mut evicted = Vec::new();
    let mut highest = 0;
    for (actor, before, left) in &mut aside {
        for _ in 0..before.replicas() {
            let (books_without, left_without) = (books, *left);
            books.take_again(left, before);
            if !books.fits(need) {
                (books, *left) = (books_without, left_without);
                highest = highest.max(before.priority);
                evicted.push((*actor).clone());
            }
        }
    }
    let allowed = evicted.len() <= usize::try_from(filling.left.evictions).unwrap_or(usize::MAX);
    (allowed && !evicted.is_empty()).then(|| Cost {
        highest,
        count: evicted.len(),
        tier: tier(&task.manifest.placement, host.view),
        rank: choose::rank(task, &host),
        slot,
        evicted,
    })
}

/// Takes one replica away from a host. `None` when there is no such actor.
fn evict(by: &ActorId, actor: &ActorId, slot: Slot, filling: &mut Filling<'_, '_>) -> Option<()> {
    let index = filling.index(actor)?;
    let HostView { id, heartbeat: beat, .. } = *filling.room.at(slot)?.view;
    let victim = filling.open(index)?;
    let group =
        victim.groups.iter().zip(&mut victim.kept).find(|(group, kept)| **kept > 0 && group.admits(beat));
    if let Some((_, kept)) = group {
        *kept -= 1;
    }
    victim.placed.take_one(id);
    victim.excused.insert(id.clone());
    filling.room.remove(slot, actor);
    filling.left.evictions -= 1;
    filling.notes.preempted(actor, id, by);
    Some(())
}
