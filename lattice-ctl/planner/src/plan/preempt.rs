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

use super::fill::{Filling, Site};
use super::fit::{refusal, tier};
use super::room::{Held, Slot};
use super::{Task, choose};
use lattice_protocol::HostId;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Hosts that are looked at for one replica.
const MAX_HOSTS: usize = 512;
/// Replicas of one plan for which room is sought by eviction.
const MAX_SEARCHES: u32 = 256;

/// Who could give way: for each host, the positions in the order of filling of the actors there.
#[derive(Debug, Default)]
pub(super) struct Victims {
    /// The position of the actor that is being filled.
    pub(super) position: usize,
    /// The lowest priority of an actor that has something placed.
    pub(super) floor: Option<u8>,
    by_host: Option<BTreeMap<Slot, Vec<usize>>>,
    searches: u32,
}

impl Victims {
    /// `floor`: see there; `None` when nothing is placed.
    pub(super) fn new(floor: Option<u8>) -> Self {
        Self { floor, ..Self::default() }
    }

    fn index(&mut self, lower: &[&mut Task<'_>], slot_of: impl Fn(&HostId) -> Option<Slot>) {
        if self.by_host.is_some() {
            return;
        }
        let mut by_host: BTreeMap<Slot, Vec<usize>> = BTreeMap::new();
        // Who is pinned by its state cannot give way: it could go nowhere else.
        let movable = |(_, task): &(usize, &&mut Task<'_>)| !super::keep::is_pinned(task);
        for (offset, task) in lower.iter().enumerate().filter(movable) {
            for slot in task.placed.keys().filter_map(&slot_of) {
                by_host.entry(slot).or_default().push(self.position + 1 + offset);
            }
        }
        self.by_host = Some(by_host);
    }
}

/// Evicts what stands in the way of one replica, on `only` this host or on the best. Returns where
/// there is room now.
pub(super) fn make_room<'seen>(
    task: &Task<'seen>,
    only: Option<Slot>,
    site: &mut Site<'_, '_, 'seen>,
    filling: &mut Filling<'_, 'seen>,
) -> Option<Slot> {
    let priority = task.manifest.placement.priority;
    let pointless = filling.left.evictions == 0
        || filling.victims.searches >= MAX_SEARCHES
        || filling.victims.floor.is_none_or(|floor| floor >= priority);
    if pointless {
        return None;
    }
    filling.victims.searches += 1;
    let room = &*filling.room;
    filling.victims.index(site.lower, |host| room.slot(host));
    let places: Vec<Slot> = match (only, &filling.victims.by_host) {
        (Some(slot), _) => vec![slot],
        (None, by_host) => by_host.iter().flat_map(BTreeMap::keys).copied().take(MAX_HOSTS).collect(),
    };
    let best = places.into_iter().filter_map(|slot| cost(task, slot, site, filling)).min()?;
    for position in &best.evicted {
        evict(task, *position, best.slot, (site, filling));
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
    /// Positions, once for each replica.
    evicted: Vec<usize>,
}

fn cost<'seen>(
    task: &Task<'seen>,
    slot: Slot,
    site: &Site<'_, '_, 'seen>,
    filling: &Filling<'_, 'seen>,
) -> Option<Cost> {
    let host = filling.room.at(slot)?;
    if refusal(task, site.group, host, filling.input).is_some() {
        return None;
    }
    let need = &task.manifest.placement.resources;
    let mut books = host.books;
    let mut aside: Vec<(u8, usize, Held, Held)> = Vec::new();
    for position in filling.victims.by_host.as_ref()?.get(&slot)? {
        let Some(other) = at(site.lower, filling.victims.position, *position) else { continue };
        let lesser = other.manifest.placement.priority < task.manifest.placement.priority;
        let Some(held) = host.held(&other.id).filter(|_| lesser) else { continue };
        let (before, mut left) = (*held, *held);
        for _ in 0..evictable(other, host.view.id) {
            books.give_back(&mut left);
        }
        aside.push((other.manifest.placement.priority, *position, before, left));
    }
    if !books.fits(need) {
        return None;
    }
    // Whoever still fits comes back, the most important first.
    aside.sort_by_key(|(priority, position, ..)| (Reverse(*priority), *position));
    let mut evicted = Vec::new();
    let mut highest = 0;
    for (priority, position, before, left) in &mut aside {
        let Some(other) = at(site.lower, filling.victims.position, *position) else { continue };
        for _ in 0..evictable(other, host.view.id) {
            let (books_without, left_without) = (books, *left);
            books.take_again(left, before);
            if !books.fits(need) {
                (books, *left) = (books_without, left_without);
                highest = highest.max(*priority);
                evicted.push(*position);
            }
        }
    }
    let allowed = evicted.len() <= usize::try_from(filling.left.evictions).unwrap_or(usize::MAX);
    (allowed && !evicted.is_empty()).then(|| Cost {
        highest,
        count: evicted.len(),
        tier: tier(&task.manifest.placement, &host.view),
        rank: choose::rank(task, host),
        slot,
        evicted,
    })
}

fn at<'t, 'seen>(lower: &'t [&mut Task<'seen>], current: usize, position: usize) -> Option<&'t Task<'seen>> {
    lower.get(position.checked_sub(current + 1)?).map(|task| &**task)
}

/// Replicas of an actor on a host that were kept there.
fn evictable(task: &Task<'_>, host: &HostId) -> u32 {
    task.placed.get(host).copied().unwrap_or(0)
}

fn evict<'seen>(
    task: &Task<'seen>,
    position: usize,
    slot: Slot,
    (site, filling): (&mut Site<'_, '_, 'seen>, &mut Filling<'_, 'seen>),
) {
    let offset = position.checked_sub(filling.victims.position + 1);
    let Some(victim) = offset.and_then(|offset| site.lower.get_mut(offset)) else { return };
    let Some(host) = filling.room.at(slot) else { return };
    let (id, beat) = (host.view.id.clone(), host.view.heartbeat);
    let group =
        victim.groups.iter().zip(&mut victim.kept).find(|(group, kept)| **kept > 0 && group.admits(beat));
    if let Some((_, kept)) = group {
        *kept -= 1;
    }
    if let Some(count) = victim.placed.get_mut(&id) {
        *count -= 1;
        if *count == 0 {
            victim.placed.remove(&id);
        }
    }
    victim.excused.insert(id.clone());
    filling.room.remove(&id, &victim.id);
    filling.left.evictions -= 1;
    filling.notes.preempted(&victim.id, &id, &task.id);
}
