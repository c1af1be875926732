//! The second and third pass for one actor: place what is missing where it fits best, then hold
//! what fits nowhere on the hosts that are lost.

use super::explain::{Added, Notes};
use super::keep::is_preferred;
use super::room::HostRoom;
use super::{Group, Input, Room, Task, words};
use lattice_protocol::HostId;
use lattice_protocol::desired::Verdict;
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// What filling reads and writes besides the actor itself.
pub(super) struct Filling<'run, 'seen> {
    pub(super) input: &'run Input<'seen>,
    pub(super) room: &'run mut Room<'seen>,
    pub(super) notes: &'run mut Notes,
}

pub(super) fn fill(task: &mut Task<'_>, filling: &mut Filling<'_, '_>) {
    if !task.has_artifact {
        let why = words::no_artifact(task);
        filling.notes.unplaced(task, why.clone());
        task.unplaced = Some(why);
        return;
    }
    let mut added = Added::new();
    let mut reasons = Vec::new();
    for (group, kept) in task.groups.clone().iter().zip(task.kept.clone()) {
        let missing = match group.count {
            Some(count) => on_best_hosts(task, group, count.saturating_sub(kept), (filling, &mut added)),
            None => on_every_host(task, group, (filling, &mut added)),
        };
        if missing > 0 {
            let held = hold(task, group, missing, filling);
            let reason = words::shortage(task, group, (missing, held), filling);
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
    }
    filling.notes.placed(task, added);
    if !reasons.is_empty() {
        let why = reasons.join("; ");
        filling.notes.unplaced(task, why.clone());
        task.unplaced = Some(why);
    }
}

type Place<'p, 'run, 'seen> = (&'p mut Filling<'run, 'seen>, &'p mut Added);

/// May this host get a replica of the actor that it does not have? Room is another question.
pub(super) fn is_candidate(task: &Task<'_>, group: &Group, host: &HostRoom<'_>, input: &Input<'_>) -> bool {
    matches(task, group, host)
        && host.view.unfit.is_none()
        && !input.observed.has_refused(host.view.id, &task.id, input.now_ms)
}

/// Is this host one that the rule names, whatever its health?
pub(super) fn matches(task: &Task<'_>, group: &Group, host: &HostRoom<'_>) -> bool {
    let hosts = &task.manifest.placement.hosts;
    (hosts.is_empty() || hosts.contains(host.view.id)) && group.admits(&host.view.heartbeat.labels)
}

/// Places up to `missing` replicas, each where it fits best by then. Returns how many found none.
fn on_best_hosts(task: &mut Task<'_>, group: &Group, missing: u32, place: Place<'_, '_, '_>) -> u32 {
    let (filling, added) = place;
    let mut order: BTreeSet<(Rank, HostId)> = filling
        .room
        .iter()
        .filter(|host| is_candidate(task, group, host, filling.input))
        .map(|host| (rank(task, host, filling.input.seed), host.view.id.clone()))
        .collect();
    let mut missing = missing;
    while missing > 0 {
        let Some((_, id)) = order.pop_first() else { break };
        if add(task, &id, filling.room, added) {
            missing -= 1;
            if let Some(host) = filling.room.get(&id) {
                order.insert((rank(task, host, filling.input.seed), id));
            }
        }
    }
    missing
}

/// Places one replica on each host of the group that has none. Returns for how many there was no
/// room.
fn on_every_host(task: &mut Task<'_>, group: &Group, place: Place<'_, '_, '_>) -> u32 {
    let (filling, added) = place;
    let hosts: Vec<HostId> = filling
        .room
        .iter()
        .filter(|host| is_candidate(task, group, host, filling.input))
        .map(|host| host.view.id.clone())
        .filter(|id| !task.placed.contains_key(id))
        .collect();
    let full = hosts.iter().filter(|id| !add(task, id, filling.room, added)).count();
    let refused = words::refusing(task, group, filling).len();
    u32::try_from(full + refused).unwrap_or(u32::MAX)
}

/// Places one replica if there is room for it.
fn add(task: &mut Task<'_>, id: &HostId, room: &mut Room<'_>, added: &mut Added) -> bool {
    let need = &task.manifest.placement.resources;
    let Some(host) = room.get_mut(id).filter(|host| host.fits(need)) else { return false };
    let load = host.load();
    host.add(&task.id, need);
    let placed = task.placed.entry(id.clone()).or_default();
    *placed = placed.saturating_add(1);
    added.entry(id.clone()).or_insert((0, load)).0 += 1;
    true
}

/// Lower is better: the preferred region first, then few replicas of this actor (or many, to fill
/// hosts up), then little load (or much), then a coin that always falls the same way.
type Rank = (bool, i64, Result<u64, Reverse<u64>>, u64);

fn rank(task: &Task<'_>, host: &HostRoom<'_>, seed: u64) -> Rank {
    let rule = &task.manifest.placement;
    let away = !is_preferred(&rule.preferred_region, &host.view.heartbeat.labels);
    let replicas = task.placed.get(host.view.id).copied().unwrap_or(0);
    let coin = coin(seed, &task.id.to_string(), host.view.id.as_str());
    if rule.pack {
        (away, -i64::from(replicas), Err(Reverse(host.score())), coin)
    } else {
        (away, replicas.into(), Ok(host.score()), coin)
    }
}

/// FNV-1a over the seed and the names, so that different actors break ties differently.
fn coin(seed: u64, actor: &str, host: &str) -> u64 {
    let bytes = actor.bytes().chain([0]).chain(host.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325 ^ seed, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Leaves up to `missing` replicas on lost hosts: they may still run there, and nothing is gained
/// by forbidding it. Returns how many.
fn hold(task: &mut Task<'_>, group: &Group, missing: u32, filling: &Filling<'_, '_>) -> u32 {
    let Filling { input, room, .. } = filling;
    let mut left = missing;
    for (id, displaced) in &mut task.displaced {
        let lost = input.observed.judge(id, input.now_ms) == Verdict::Lost;
        let in_group = room.get(id).is_none_or(|host| group.admits(&host.view.heartbeat.labels));
        if lost && in_group {
            let held = left.min(*displaced);
            left -= held;
            *displaced -= held;
            if held > 0 {
                let placed = task.placed.entry(id.clone()).or_default();
                *placed = placed.saturating_add(held);
            }
        }
    }
    missing - left
}
