//! Which of the hosts that may is best. Hosts are ranked by class ([`super::fit::tier`]), then by
//! how many replicas of the actor they have, then by cost: their load, less what it is worth to be
//! beside a linked actor and to have the artifact already; equals by a coin that always falls the
//! same way.
//!
//! Only as many hosts are looked at as matter: those that a rule names or a label picks out, those
//! with linked actors, and otherwise the least loaded (to pack: the most loaded) in batches.

use super::fit::{HELD, refusal, tier};
use super::ledger::Slot;
use super::room::{HostRoom, Room};
use super::{Group, Input, Task};
use lattice_protocol::{ActorId, HostId};
use std::cell::OnceCell;
use std::cmp::Ordering;

/// Hosts that are all ranked; of more, only a batch in the order of their load.
const LISTED: usize = 128;
/// Hosts with replicas of one linked actor that are looked at.
const HOMES: usize = 16;
/// Being beside one linked actor is worth this much load, thousandths; of at most this many.
const BESIDE: i64 = 150;
const MOST_BESIDE: usize = 3;
/// Having the artifact is worth this much load, thousandths.
const CACHED: i64 = 100;

/// Lower is better.
pub(super) type Rank = (i64, i64, u64);

/// What spoke for a host when it was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reasons {
    /// Its class: 0 in the preferred region (or there is none), 1 away, 2 nobody knows how far;
    /// 3 to 5 the same, of a host that is held after its return.
    pub tier: u8,
    /// Does the actor prefer a region at all?
    pub prefers_region: bool,
    /// Replicas of the actor that it had.
    pub replicas: u32,
    /// Linked actors there.
    pub beside: u32,
    /// It has the artifact.
    pub cached: bool,
    /// Its load, thousandths: CPU % + memory % + actors.
    pub load: u64,
}

impl std::fmt::Display for Reasons {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.tier >= HELD {
            formatter.write_str("nobody else could, though it has just come back, ")?;
        }
        match (self.prefers_region, self.tier % HELD) {
            (false, _) => {}
            (true, 0) => formatter.write_str("preferred region, ")?,
            (true, 1) => formatter.write_str("another region, ")?,
            (true, _) => formatter.write_str("another region at an unknown distance, ")?,
        }
        if self.beside > 0 {
            write!(formatter, "beside {} linked, ", self.beside)?;
        }
        if self.cached {
            formatter.write_str("has the artifact, ")?;
        }
        write!(formatter, "load {}.{}", self.load / 10, self.load % 10)?;
        if self.replicas > 0 { write!(formatter, ", {} there already", self.replicas) } else { Ok(()) }
    }
}

pub(super) fn reasons(task: &Task<'_>, host: &HostRoom<'_, '_>) -> Reasons {
    let rule = &task.manifest.placement;
    Reasons {
        tier: tier(rule, host.view),
        prefers_region: rule.preferred_region.as_ref().is_some_and(|region| !region.is_empty()),
        replicas: replicas(task, host),
        beside: beside(task, host),
        cached: is_cached(task, host),
        load: host.score(),
    }
}

/// Replicas of the actor that the host has so far.
fn replicas(task: &Task<'_>, host: &HostRoom<'_, '_>) -> u32 {
    task.placed.get(host.view.id).copied().unwrap_or(0)
}

/// Linked actors there, as many as count.
fn beside(task: &Task<'_>, host: &HostRoom<'_, '_>) -> u32 {
    let there = task.partners.iter().filter(|partner| host.holds(partner)).take(MOST_BESIDE).count();
    u32::try_from(there).unwrap_or(u32::MAX)
}

fn is_cached(task: &Task<'_>, host: &HostRoom<'_, '_>) -> bool {
    task.artifact.is_some_and(|artifact| host.has_artifact(artifact))
}

pub(super) fn rank(task: &Task<'_>, host: &HostRoom<'_, '_>) -> Rank {
    let (first, then) = worth(task, host, host.score());
    (first, then, coin(task.coin, host.view.id.as_str()))
}

/// What comes before the coin, of a host with this score.
fn worth(task: &Task<'_>, host: &HostRoom<'_, '_>, score: u64) -> (i64, i64) {
    let load = i64::try_from(score).unwrap_or(i64::MAX / 4).min(i64::MAX / 4);
    let bonus = i64::from(beside(task, host)) * BESIDE + if is_cached(task, host) { CACHED } else { 0 };
    let replicas = i64::from(replicas(task, host));
    if task.manifest.placement.pack { (-replicas, -load - bonus) } else { (replicas, load - bonus) }
}

/// A host that may get a replica, ordered as by [`rank`] and then by slot: the best is the least. The coin
/// is only thrown for those that are equal otherwise.
pub(super) struct Candidate<'seen> {
    pub(super) slot: Slot,
    worth: (i64, i64),
    seed: u64,
    host: &'seen HostId,
    coin: OnceCell<u64>,
}

impl<'seen> Candidate<'seen> {
    /// A host, with its score.
    pub(super) fn new(task: &Task<'_>, slot: Slot, host: &HostRoom<'_, 'seen>, score: u64) -> Self {
        let worth = worth(task, host, score);
        Self { slot, worth, seed: task.coin, host: host.view.id, coin: OnceCell::new() }
    }

    fn coin(&self) -> u64 {
        *self.coin.get_or_init(|| coin(self.seed, self.host.as_str()))
    }
}

impl Ord for Candidate<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_worth = self.worth.cmp(&other.worth);
        by_worth.then_with(|| self.coin().cmp(&other.coin())).then_with(|| self.slot.cmp(&other.slot))
    }
}

impl PartialOrd for Candidate<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate<'_> {}

/// FNV-1a, so that different actors break ties differently.
pub(crate) fn coin(seed: u64, text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325 ^ seed, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Says where an actor has replicas: so many hosts at most.
type Near<'n> = &'n dyn Fn(&ActorId, usize) -> Vec<Slot>;

/// Looks for hosts of one class with room for an actor, a batch at a time.
pub(super) struct Hunt {
    tier: u8,
    /// Hosts to look at first; then, if not all, those in the order of their load.
    listed: Vec<Slot>,
    is_all: bool,
    cursor: Option<(u64, Slot)>,
    /// What was found so far.
    seen: Vec<Slot>,
}

impl Hunt {
    /// `near` are hosts of each linked actor, the first few of them.
    pub(super) fn new(
        task: &Task<'_>,
        group: &Group,
        tier: u8,
        (room, near): (&Room<'_, '_>, Near<'_>),
    ) -> Self {
        let rule = &task.manifest.placement;
        let region =
            rule.preferred_region.as_deref().filter(|region| tier.is_multiple_of(HELD) && !region.is_empty());
        let all = if !rule.hosts.is_empty() {
            Some(rule.hosts.iter().filter_map(|host| room.slot(host)).collect())
        } else if room.len() <= LISTED {
            Some(room.slots().collect())
        } else {
            room.labelled(group, region.map(|region| ("region", region)), LISTED)
        };
        let is_all = all.is_some();
        let near = || task.partners.iter().flat_map(|partner| near(partner, HOMES)).collect();
        let mut listed: Vec<Slot> = all.unwrap_or_else(near);
        listed.sort_unstable();
        listed.dedup();
        Self { tier, listed, is_all, cursor: None, seen: Vec::new() }
    }

    /// The next hosts with room, at least `want` if there are so many; none when there are no more.
    pub(super) fn next<'seen>(
        &mut self,
        (task, group): (&Task<'_>, &Group),
        (input, room): (&Input<'_>, &Room<'_, 'seen>),
        want: usize,
    ) -> Vec<Candidate<'seen>> {
        let rule = &task.manifest.placement;
        let admit = |slot: Slot, score: Option<u64>| {
            let host = room.at(slot).filter(|host| {
                host.fits(&task.id, &rule.resources)
                    && tier(rule, host.view) == self.tier
                    && refusal(task, group, host, input).is_none()
            })?;
            Some(Candidate::new(task, slot, &host, score.unwrap_or_else(|| host.score())))
        };
        let listed = std::mem::take(&mut self.listed);
        let mut found: Vec<Candidate<'seen>> =
            listed.into_iter().filter_map(|slot| admit(slot, None)).collect();
        if self.is_all {
            return found;
        }
        self.seen.extend(found.iter().map(|candidate| candidate.slot));
        self.seen.sort_unstable();
        let walked = found.len();
        let least = (!rule.pack).then(|| room.least_loaded(self.cursor)).into_iter().flatten();
        let most = rule.pack.then(|| room.most_loaded(self.cursor)).into_iter().flatten();
        let mut places = least.chain(most);
        while found.len() < want {
            let Some((score, slot)) = places.next() else {
                self.is_all = true;
                break;
            };
            self.cursor = Some((score, slot));
            if self.seen.binary_search(&slot).is_err() {
                found.extend(admit(slot, Some(score)));
            }
        }
        self.seen.extend(found.iter().skip(walked).map(|candidate| candidate.slot));
        found
    }
}
